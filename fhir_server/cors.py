"""Which web pages of other origins may call the API from a browser: those that are listed.

Tokens go in a header and never in a cookie, so nothing is allowed with credentials. A page that
is not listed gets answers without the headers; its browser keeps them from it.
Spec: https://fetch.spec.whatwg.org/#http-cors-protocol
"""

from collections.abc import Awaitable, Callable
from typing import Final

from aiohttp import hdrs, web
from aiohttp.typedefs import Middleware

#: What a page may send besides what every page may.
_SENT: Final = (
    *("Accept", "Authorization", "Content-Type", "Content-Encoding", "Prefer", "X-Request-Id"),
    *("If-Match", "If-None-Match", "If-Modified-Since", "If-None-Exist"),
    "X-Security-Context",
)
#: What it may read besides the few that every page may.
_SHOWN: Final = (
    *("ETag", "Location", "Content-Location", "Last-Modified", "X-Request-Id"),
    "X-Correlation-Id",
    *("Retry-After", "WWW-Authenticate", "Allow", "X-Progress", "Expires"),
)
_METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
_ASKED_AGAIN_SECONDS: Final = 600

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def allow(app: web.Application, origins: frozenset[str]) -> None:
    """Let pages of these origins call an application; its other answers stay as they are.

    Args:
        app: not started yet.
        origins: as browsers send them, `https://portal.example`; empty = nobody.
    """
    if not origins:
        return
    app.middlewares.insert(0, _preflight(origins))

    async def mark(request: web.Request, response: web.StreamResponse) -> None:
        vary = response.headers.get(hdrs.VARY)
        response.headers[hdrs.VARY] = f"{vary}, Origin" if vary else "Origin"
        origin = request.headers.get(hdrs.ORIGIN, "")
        if origin in origins:
            response.headers[hdrs.ACCESS_CONTROL_ALLOW_ORIGIN] = origin
            response.headers[hdrs.ACCESS_CONTROL_EXPOSE_HEADERS] = ", ".join(_SHOWN)

    app.on_response_prepare.append(mark)


def _preflight(origins: frozenset[str]) -> Middleware:
    """A middleware for browsers that ask before they send."""

    @web.middleware
    async def answer(request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answers a browser that asks before it sends; it has no token yet."""
        is_asked = hdrs.ACCESS_CONTROL_REQUEST_METHOD in request.headers
        if request.method != hdrs.METH_OPTIONS or not is_asked:
            return await handler(request)
        told = {}
        if request.headers.get(hdrs.ORIGIN) in origins:
            told = {
                hdrs.ACCESS_CONTROL_ALLOW_METHODS: ", ".join(_METHODS),
                hdrs.ACCESS_CONTROL_ALLOW_HEADERS: ", ".join(_SENT),
                hdrs.ACCESS_CONTROL_MAX_AGE: str(_ASKED_AGAIN_SECONDS),
            }
        return web.Response(status=204, headers=told)

    return answer
