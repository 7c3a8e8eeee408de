"""The routes of the local app: page, upload, state, data of the viewer, downloads."""

import functools
import math
from importlib import resources
from typing import Any

from flask import Flask, Response, abort, jsonify, request, send_file
from werkzeug.exceptions import HTTPException

from xr2mri_jax.geometry import SIDES
from xr2mri_jax.presentation import pages
from xr2mri_jax.presentation.statement import MEANING
from xr2mri_jax.serving import guard
from xr2mri_jax.serving.jobs import Job, Jobs, one_line

MEGABYTE = 1_000_000
_FORM_BYTES = 100_000  # maximum size of an upload request without the file
STYLE, UPLOAD = "page.css", "upload.js"
STATIC = (STYLE, UPLOAD, *pages.SCRIPTS, pages.NIIVUE, *pages.LICENCES)


def make_app(jobs: Jobs, hosts: frozenset[str], most_mb: float) -> Flask:
    """Creates the app.

    Args:
      jobs: the uploads.
      hosts: see `guard.protect`.
      most_mb: maximum upload size in MB.
    """
    app = Flask(__name__, static_folder=None)
    app.config.update(
        MAX_CONTENT_LENGTH=int(most_mb * MEGABYTE) + _FORM_BYTES,
        MAX_FORM_MEMORY_SIZE=_FORM_BYTES,
        MAX_FORM_PARTS=8,
    )
    token = guard.protect(app, hosts)

    @app.get("/")
    def page() -> str:
        return pages.from_template(
            "serve.html", token=token, most_mb=f"{most_mb:g}", scripts=(*pages.SCRIPTS, UPLOAD),
            style=STYLE, niivue=pages.NIIVUE, meaning=MEANING,
        )  # fmt: skip

    @app.get("/static/<path:name>")
    def static_file(name: str) -> Response:
        if name not in STATIC:
            abort(404, "found no such file")
        kind = {"css": "text/css", "js": "text/javascript"}.get(name.rpartition(".")[2])
        return Response(_static(name), mimetype=kind or "text/plain")

    _add_jobs(app, jobs, most_mb)
    _add_files(app, jobs)
    app.register_error_handler(HTTPException, _refused)
    return app


def _add_jobs(app: Flask, jobs: Jobs, most_mb: float) -> None:
    @app.post("/jobs")
    def upload() -> tuple[Response, int]:
        given = request.files.get("radiograph")
        if given is None or not given.filename:
            abort(400, "found no file, expected a radiograph")
        side, spacing = _side(request.form), _spacing(request.form)
        job = jobs.new(guard.file_name(given.filename), side, spacing)
        if job is None:
            abort(503, "found too many waiting uploads; try again in a minute")
        try:
            given.save(job.upload)
        except OSError as error:
            jobs.remove(job.name)
            abort(500, f"the upload cannot be stored ({error.strerror}); nothing of it is kept")
        size = job.upload.stat().st_size
        if not 0 < size <= most_mb * MEGABYTE:
            jobs.remove(job.name)
            abort(400, f"found a file of {size} bytes, expected 1 byte to {most_mb:g} MB")
        jobs.start(job)
        return jsonify(job=job.name), 202

    @app.get("/jobs/<name>")
    def state(name: str) -> Response:
        return jsonify(_known(jobs, name).state())

    @app.delete("/jobs/<name>")
    def remove(name: str) -> tuple[str, int]:
        jobs.remove(_known(jobs, name).name)
        return "", 204


def _add_files(app: Flask, jobs: Jobs) -> None:
    @app.get("/jobs/<name>/cases/<case>.js")
    def case_data(name: str, case: str) -> Response:
        job = _known(jobs, name)
        if case not in job.cases:
            abort(404, "found no such knee")
        return send_file(job.folder / pages.CASES / f"{case}.js", mimetype="text/javascript")

    @app.get("/jobs/<name>/files/<case>/<file>")
    def download(name: str, case: str, file: str) -> Response:
        job = _known(jobs, name)
        if file not in job.downloads.get(case, ()):
            abort(404, "found no such file")
        path = job.folder / "files" / case / file
        stem = job.file.partition(".")[0] or "radiograph"
        side = case.rpartition("-")[2]
        return send_file(path, as_attachment=True, download_name=f"{stem}_{side}_{file}")


def _known(jobs: Jobs, name: str) -> Job:
    job = jobs.find(name)
    return job if job is not None else abort(404, "found no such upload; it may have been removed")


def _side(form: Any) -> str | None:
    side = form.get("side", "")
    if side not in ("", *SIDES):
        abort(400, f"side: found {one_line(repr(side))[:40]}, expected left, right or nothing")
    return side or None


def _spacing(form: Any) -> float | None:
    text = form.get("spacing", "").strip()
    if not text:
        return None
    try:
        spacing = float(text)
    except ValueError:
        spacing = math.nan
    if not 0.01 <= spacing <= 5:
        abort(400, f"spacing: found {one_line(repr(text))[:40]}, expected 0.01 to 5 mm per pixel")
    return spacing


def _refused(error: HTTPException) -> tuple[Response, int]:
    return jsonify(error=one_line(error.description or error.name)), error.code or 500


@functools.cache
def _static(name: str) -> bytes:
    return resources.files("xr2mri_jax.presentation").joinpath("static", name).read_bytes()
