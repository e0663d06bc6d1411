"""The staff API on aiohttp: token, role, fields, version, key - then the handler.

Whatever is raised becomes a problem document here. Nothing is kept by browsers or caches, and
no address names anybody.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, Protocol

import orjson
from aiohttp import hdrs, web

from hie.db import AWAY, is_away
from hie.kernel.clock import Clock
from hie.kernel.context import Caller, RequestContext, TokenChecker
from hie.kernel.errors import Category, HieError
from hie.log import frames_of
from hie.staff import checks, openapi, page, problem, render
from hie.staff.api import PREFIX, ROUTES
from hie.staff.edge import Edge
from hie.staff.model import Answer, Call, Needs, Route
from hie.staff.once import Once
from hie.web import REQUEST_ID, bearer_token, request_id_of

LOG: Final = logging.getLogger(__name__)
MAX_BODY_BYTES: Final = 128 * 1024
_TOLD: Final = ("WWW-Authenticate", "Retry-After", "Allow")
_PROTECTED: Final[Mapping[str, str]] = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Vary": "Accept, Authorization",
}
_CALLER: Final = web.RequestKey("staff caller", Caller)
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Watcher(Protocol):
    """Is told of refused requests, so that attacks leave a trace as well as successes."""

    async def refused(
        self, *, request_id: str, caller: Caller | None, interaction: str, status: int
    ) -> None:
        """A request ended in 401 or 403."""
        ...

    async def settled(
        self,
        *,
        request_id: str,
        caller: Caller | None,
        interaction: str,
        type_name: str,
        resource_id: str,
        status: int,
    ) -> None:
        """A request is about to be answered: it leaves a trace where nothing else of it did."""
        ...


def setup(
    app: web.Application,
    *,
    edge: Edge,
    once: Once,
    token_checker: TokenChecker,
    clock: Clock,
    watcher: Watcher,
) -> web.Application:
    """Add the API to an application under `/staff/v1`; the sub-application."""
    rim = Rim(edge, once, token_checker, clock, watcher)
    sub = web.Application(middlewares=[rim.answer_errors])
    document = openapi.document(ROUTES)
    sub.router.add_get("/openapi.json", _given(document, "application/json"))
    shown = page.html(ROUTES)
    policy = page.policy(shown)
    for path in ("", "/"):
        sub.router.add_get(path, _given(shown, "text/html", {"Content-Security-Policy": policy}))
    for route in ROUTES:
        sub.router.add_route(route.method, route.path, rim.handle(route))
    app.add_subapp(PREFIX, sub)
    return sub


class Rim:
    """Turns HTTP requests into calls and answers into HTTP responses."""

    def __init__(
        self,
        edge: Edge,
        once: Once,
        checker: TokenChecker,
        clock: Clock,
        watcher: Watcher,
    ) -> None:
        self._edge = edge
        self._once = once
        self._checker = checker
        self._clock = clock
        self._watcher = watcher

    def handle(self, route: Route) -> Handler:
        """The aiohttp handler of a route."""

        async def handled(request: web.Request) -> web.StreamResponse:
            _require_json_accepted(request.headers.get(hdrs.ACCEPT, "*/*"))
            call, key, content = await self._call(route, request)

            async def do() -> Answer:
                return await route.handler(self._edge, call)

            answer = await (self._once.answer(call, key, content, do) if key else do())
            await self._settled(request, answer.status)
            body = render.dump(answer.content)
            return _response(answer.status, answer.headers, body, "application/json")

        handled.__name__ = route.name
        return handled

    @web.middleware
    async def answer_errors(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answers what is raised; names the request in every response."""
        request_id = request.get(REQUEST_ID) or request_id_of("")
        request[REQUEST_ID] = request_id
        try:
            response = await handler(request)
        except HieError as error:
            response = await self._refused(request, request_id, error)
        except web.HTTPException as error:
            told = problem.http_refusal(error.status, request_id)
            response = _response(error.status, _kept(error.headers), told, problem.CONTENT_TYPE)
        except Exception as error:  # noqa: BLE001 - the rim answers whatever happens inside
            response = _broken(request_id, error)
        response.headers["X-Request-Id"] = request_id
        for name, value in _PROTECTED.items():
            response.headers.setdefault(name, value)
        return response

    async def _settled(self, request: web.Request, status: int) -> None:
        await self._watcher.settled(
            request_id=request[REQUEST_ID],
            caller=request.get(_CALLER),
            interaction=request.match_info.handler.__name__,
            type_name="",
            resource_id=request.match_info.get("id", ""),
            status=status,
        )

    async def _refused(
        self, request: web.Request, request_id: str, error: HieError
    ) -> web.Response:
        try:
            return await self._told(request, request_id, error)
        except Exception as broken:  # noqa: BLE001 - what cannot be put on record is not answered
            return _broken(request_id, broken)

    async def _told(self, request: web.Request, request_id: str, error: HieError) -> web.Response:
        told = problem.refusal(error, request_id)
        if told.status in (401, 403):
            await self._watcher.refused(
                request_id=request_id,
                caller=request.get(_CALLER),
                interaction=request.match_info.handler.__name__,
                status=told.status,
            )
        await self._settled(request, told.status)
        return _response(told.status, told.headers, told.body, problem.CONTENT_TYPE)

    async def _call(self, route: Route, request: web.Request) -> tuple[Call, str, bytes]:
        """The call, the key it must happen once by, and what was sent."""
        caller = await self._caller(request)
        checks.require_role(route, caller)
        ctx = RequestContext(
            caller=caller, request_id=request[REQUEST_ID], now_us=self._clock.now_us()
        )
        ids = checks.ids_of(request.match_info)
        version = checks.version_of(route, request.headers)
        key = checks.key_of(route, request.headers)
        args = checks.query_of(route, tuple(request.query.items()))
        content = b""
        if request.method == hdrs.METH_POST:
            content = await _body(request, route.most_bytes or MAX_BODY_BYTES)
            args |= checks.body_of(route.body, _parsed(request, route, content))
        call = Call(ctx=ctx, route=route, ids=ids, args=args, version=version)
        return call, key if Needs.KEY in route.needs else "", content

    async def _caller(self, request: web.Request) -> Caller:
        caller = await self._checker.check(bearer_token(request))
        request[_CALLER] = caller
        return caller


def _broken(request_id: str, error: Exception) -> web.Response:
    # The text of an unforeseen error may hold data; its type and place do not.
    about = {"error": type(error).__name__, "frames": frames_of(error)}
    if is_away(error):
        LOG.warning("staff.database_away", extra={"request_id": request_id, **about})
        refused = problem.refusal(HieError(Category.BUSY, AWAY), request_id)
    else:
        LOG.error("staff.fault", extra={"request_id": request_id, **about})
        refused = problem.refusal(HieError(Category.FAULT, "fault"), request_id)
    return _response(refused.status, refused.headers, refused.body, problem.CONTENT_TYPE)


def _given(body: bytes, content_type: str, headers: Mapping[str, str] | None = None) -> Handler:
    """A handler that gives the same to everybody: it says nothing of anybody."""

    async def give(_: web.Request) -> web.StreamResponse:
        return _response(200, headers or {}, body, content_type)

    return give


def _parsed(request: web.Request, route: Route, content: bytes) -> Any:
    if not content.strip():
        return {}
    if request.content_type != "application/json":
        raise HieError(Category.UNSUPPORTED_MEDIA, "`Content-Type`: expected application/json")
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError as error:
        text = f"the body of `{route.name}` is no JSON in UTF-8"
        raise problem.invalid([problem.at("#/body", text)]) from error


async def _body(request: web.Request, most: int) -> bytes:
    text = f"the request body is larger than {most} bytes"
    if (request.content_length or 0) > most:
        raise HieError(Category.TOO_LARGE, text)
    parts, size = [], 0
    try:
        async for part in request.content.iter_chunked(16 * 1024):
            size += len(part)
            if size > most:
                raise HieError(Category.TOO_LARGE, text)
            parts.append(part)
    except web.RequestPayloadError as error:
        broken = "the body is not compressed as `Content-Encoding` says"
        raise HieError(Category.INVALID, broken) from error
    except OSError as error:  # whoever sends went away; the database did not
        raise HieError(Category.INVALID, "the body broke off") from error
    return b"".join(parts)


def _require_json_accepted(accepted: str) -> None:
    ranges = {one.split(";")[0].strip().lower() for one in accepted.split(",")}
    if not ranges & {"*/*", "application/*", "application/json", ""}:
        raise HieError(Category.NOT_ACCEPTABLE, "`Accept`: expected application/json")


def _kept(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: headers[name] for name in _TOLD if name in headers}


def _response(
    status: int, headers: Mapping[str, str], body: bytes, content_type: str
) -> web.Response:
    charset = "utf-8" if content_type.startswith("text/") else None
    return web.Response(
        status=status, headers=headers, body=body, content_type=content_type, charset=charset
    )
