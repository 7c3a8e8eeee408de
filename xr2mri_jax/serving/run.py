"""Runs the local app on this machine's own address until a signal."""

import os
import socket
import sys
import threading
from pathlib import Path

from waitress import create_server

from xr2mri_jax import output_paths
from xr2mri_jax.errors import InputError
from xr2mri_jax.inference.predictor import load_predictor
from xr2mri_jax.serving.app import MEGABYTE, make_app
from xr2mri_jax.serving.jobs import Jobs

ADDRESS = "127.0.0.1"  # fixed, so that radiographs stay on this machine
_THREADS = 8


def serve(
    port: int = 8765,
    model: str | os.PathLike[str] | None = None,
    keep: str | os.PathLike[str] | None = None,
    most_mb: float = 64,
) -> None:
    """Serves until a signal ends the process; prints the address when it is ready.

    Args:
      port: TCP port; 0 takes a free one.
      model: as for `load_generator`.
      keep: folder that keeps the results; None: they are removed.
      most_mb: maximum upload size in MB.

    Raises:
      InputError: the port is in use, or the model or the folder cannot be used.
    """
    if keep is not None:
        output_paths.require_writable(Path(keep), "--keep")
    taken = _bound(port)
    port = taken.getsockname()[1]
    print("loading the model, which takes some seconds", file=sys.stderr, flush=True)
    predictor = load_predictor(model)
    predictor.compile()
    hosts = frozenset(f"{name}:{port}" for name in (ADDRESS, "localhost"))
    with Jobs(predictor, None if keep is None else Path(keep)) as jobs:
        app = make_app(jobs, hosts, most_mb)
        server = create_server(
            app,
            sockets=[taken],
            threads=_THREADS,
            ident="",
            max_request_body_size=int(most_mb * MEGABYTE) + MEGABYTE,
            channel_timeout=60,
        )
        # In a separate thread, because the main thread waits for signals.
        threading.Thread(target=server.run, daemon=True).start()
        print(f"ready: http://{ADDRESS}:{port}/ - research only, not for diagnosis", flush=True)
        threading.Event().wait()


def _bound(port: int) -> socket.socket:
    """A socket bound to the port; called before loading the model, which takes seconds."""
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind((ADDRESS, port))
    except (OSError, OverflowError) as error:
        made.close()
        raise InputError(
            f"--port: {port} cannot be used ({error}), expected a free port, or 0 for any"
        ) from error
    return made
