"""Serves the viewer as a local app: upload a radiograph in a browser and view its prediction.

xr2mri serve --port=8765 [--model=DIR] [--keep=FOLDER] [--upload_mb=64]

Only this machine can connect. Uploads and results are removed, unless --keep names a folder.
"""

from absl import flags

from xr2mri_jax.errors import InputError
from xr2mri_jax.runtime import command_line

_PORT = flags.DEFINE_integer(
    "port", 8765, "TCP port on 127.0.0.1; 0: any free port", lower_bound=0, upper_bound=65535
)
_MODEL = flags.DEFINE_string(
    "model", "", "workdir of a trained generator or joint stage; default: the shipped model"
)
_KEEP = flags.DEFINE_string(
    "keep", None, "folder that keeps the results of every upload; default: nothing is kept"
)
_UPLOAD_MB = flags.DEFINE_float(
    "upload_mb", 64, "maximum size of an upload in MB", lower_bound=0.001, upper_bound=2000
)


def main() -> None:
    """Serves until it is interrupted."""
    try:
        from xr2mri_jax.serving.run import serve
    except ModuleNotFoundError as error:
        if error.name not in ("flask", "waitress"):
            raise
        raise InputError(
            f"the package {error.name} is missing: in the clone, pip install '.[serve]'"
        ) from error
    from xr2mri_jax.runtime import compilation_cache

    compilation_cache.use()
    serve(_PORT.value, _MODEL.value, _KEEP.value, _UPLOAD_MB.value)


def run() -> None:
    """The command line."""
    command_line.run(main)
