"""The application behind the labelling page: its routes, which decide nothing themselves."""

# No postponed annotations: FastAPI reads those of the routes, and their names are local.
import hashlib
import json
import logging
import re
from base64 import b64encode
from importlib import resources
from typing import Any

from keepers.campaign import Desk
from keepers.errors import KeepersError, MissingExtraError
from keepers.integrations.labelling.clerk import Clerk
from keepers.integrations.labelling.gate import Gate
from keepers.integrations.labelling.votes import Refused

_BODY_LIMIT = 1_000_000
_log = logging.getLogger(__name__)


def create_app(desk: Desk, token: str, *, loopback: bool = True) -> Gate:
    """The labelling page of a campaign, as an ASGI application.

    | route | what it gives |
    |---|---|
    | `GET /` | the page; with `?token=` a cookie, and the way to the page |
    | `GET /api/next?annotator=&limit=` | an annotator's next items, the classes, the progress |
    | `GET /api/item?item=` | one item of a batch again, after an undo |
    | `GET /api/picture?item=` | its picture |
    | `POST /api/votes` | takes votes; the same ones again change nothing |

    Without the token each of them answers 401. The application holds nothing that a restart would
    lose, and writes through `desk.record` alone.

    Args:
        desk: the campaign's items and journal.
        token: what the person's address has to carry; 16 characters or more.
        loopback: whether it is served to this machine alone: then requests under another host
            name are refused.

    Raises:
        MissingExtraError: FastAPI is not installed.
        ParameterError: a token too short to be one.
    """
    try:
        from fastapi import FastAPI, Request, Response
        from fastapi.concurrency import run_in_threadpool
        from fastapi.responses import HTMLResponse, JSONResponse
        from starlette.requests import ClientDisconnect
    except ImportError as error:
        raise MissingExtraError("The labelling page", "ui") from error

    clerk, html = Clerk(desk), read_page()
    # FastAPI's own documentation pages would be loaded from elsewhere.
    application = FastAPI(title="keepers", openapi_url=None, docs_url=None, redoc_url=None)

    def page() -> Response:
        return HTMLResponse(html)

    def next_items(annotator: str = "", limit: str = "10") -> Response:
        return JSONResponse(clerk.next_items(annotator, limit))

    def item(item: str = "") -> Response:
        return JSONResponse(clerk.item(item))

    def picture(item: str = "") -> Response:
        media_type, content = clerk.picture(item)
        return Response(content, media_type=media_type)

    async def votes(request: Request) -> Response:
        try:
            body = await _read_json(request)
        except ClientDisconnect:  # nobody is there to be answered
            return Response(status_code=400)
        return JSONResponse(await run_in_threadpool(clerk.take, body))

    def refused(_: Request, error: Exception) -> Response:
        status = error.status if isinstance(error, Refused) else 422
        return JSONResponse({"error": str(error)}, status)

    def unavailable(_: Request, error: Exception) -> Response:
        # What the error says may name files of this machine: it is for the terminal.
        _log.error("%s", error)
        return JSONResponse({"error": "The campaign cannot be read or written just now"}, 503)

    reading = {"/": page, "/api/next": next_items, "/api/item": item, "/api/picture": picture}
    for path, route in reading.items():
        application.add_api_route(path, route, methods=["GET"], response_model=None)
    application.add_api_route("/api/votes", votes, methods=["POST"], response_model=None)
    application.add_exception_handler(Refused, refused)
    application.add_exception_handler(KeepersError, unavailable)
    return Gate(application, token, policy=content_policy(html), loopback=loopback)


def read_page() -> str:
    """The page: one HTML file with its style and its script."""
    folder = resources.files("keepers.integrations.labelling")
    return (folder / "page.html").read_text(encoding="utf-8")


def content_policy(html: str) -> str:
    """The Content-Security-Policy that runs the script and the style of `html`, and no others.

    >>> content_policy("<style>p{}</style><script>f()</script>").split("; ")[:2]
    ... # doctest: +ELLIPSIS
    ["default-src 'none'", "script-src 'sha256-...='"]
    """
    scripts, styles = (
        " ".join(
            f"'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
            for text in re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
        )
        for tag in ("script", "style")
    )
    return (
        f"default-src 'none'; script-src {scripts}; style-src {styles}; "
        "img-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    )


async def _read_json(request: Any) -> object:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _BODY_LIMIT:
            raise Refused(413, "Send fewer votes at once")
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise Refused(422, "That is not JSON") from None
