"""Restricts requests to the local app: only pages of this machine's own address, with a token."""

import hmac
import re
import secrets
from pathlib import PurePosixPath, PureWindowsPath

from flask import Flask, Request, Response, abort, request

TOKEN_HEADER = "X-CSRF-Token"
LONGEST_NAME = 80
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data: blob:; connect-src 'self'; form-action 'none'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}


def protect(app: Flask, hosts: frozenset[str]) -> str:
    """Rejects foreign requests to `app` and adds headers to its responses.

    Args:
      app: the app.
      hosts: allowed values of the Host header; another value indicates a host name that was rebound
        to this machine (DNS rebinding).

    Returns:
      The token that requests other than GET and HEAD must send in TOKEN_HEADER.
    """
    token = secrets.token_urlsafe(32)

    @app.before_request
    def check() -> None:
        if request.host not in hosts:
            abort(403, "found another Host header, expected this machine's own address")
        if request.method not in ("GET", "HEAD") and not _is_own(request, token):
            abort(403, "found no valid token, expected a request of this server's own page")

    @app.after_request
    def add_headers(response: Response) -> Response:
        response.headers.update(HEADERS)
        return response

    return token


def _is_own(asked: Request, token: str) -> bool:
    """Whether a request comes from a page that this server sent."""
    origin = asked.headers.get("Origin")
    if origin is not None and origin != f"http://{asked.host}":
        return False
    if asked.headers.get("Sec-Fetch-Site", "same-origin") not in ("same-origin", "none"):
        return False
    given = asked.headers.get(TOKEN_HEADER, "")
    return hmac.compare_digest(given.encode(), token.encode())


def file_name(given: str | None) -> str:
    """A safe name for an upload: the last part of the given path, in plain characters."""
    name = PureWindowsPath(PurePosixPath(given or "").name).name
    plain = re.sub(r"[^A-Za-z0-9._-]+", "_", name).lstrip(".")
    return plain[-LONGEST_NAME:].lstrip(".") or "radiograph"
