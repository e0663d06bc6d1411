"""The FHIR API on aiohttp: one table of routes, and the rim around their handlers.

The rim does in this order: request id, token, format, type, scope, body; then the handler
decides and reads through the door. Whatever is raised becomes an OperationOutcome here.
Spec: https://hl7.org/fhir/R4/http.html
"""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final, Protocol, TypedDict, Unpack
from urllib.parse import parse_qsl

from aiohttp import hdrs, web

from fhir_server import cors, negotiate, outcome, streaming
from fhir_server.capability import capability_statement
from fhir_server.emergencies import Emergencies
from fhir_server.exchange import (
    Answer,
    Call,
    Door,
    Edge,
    FhirWriter,
    Identities,
    Judge,
    NoNotices,
    Notices,
    Records,
    Subscriptions,
)
from fhir_server.exports import Exports
from fhir_server.inner import InnerReads, require_scope
from fhir_server.previews import Previews
from fhir_server.relationships import Relationships
from fhir_server.responses import refused, respond
from fhir_server.search.compartments import Compartments
from fhir_server.search.cursor import Sealer
from fhir_server.search.subset import Subsets
from fhir_server.settings import FhirSettings
from fhir_server.summary.plan import NO_SUMMARY, SummaryPlan
from fhir_server.table import ROUTES, Route
from fhir_server.terminology.vocabulary import Vocabulary
from fhir_server.trail import Accountings, AuditTrail
from hie.db import AWAY, is_away
from hie.kernel.clock import Clock
from hie.kernel.context import Caller, RequestContext, TokenChecker
from hie.kernel.errors import Category, HieError, Issue
from hie.log import frames_of
from hie.store.index import SearchIndex
from hie.web import REQUEST_ID, bearer_token, request_id_of

LOG: Final = logging.getLogger(__name__)
PREFIX: Final = "/fhir"
CHUNK_BYTES: Final = 64 * 1024
MAX_FORM_FIELDS: Final = 500
PROTECTED: Final[Mapping[str, str]] = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Vary": "Accept, Accept-Encoding, Authorization",
}

#: The caller of a request, once known; for whoever watches refusals.
CALLER: Final = web.RequestKey("caller", Caller)


class Watcher(Protocol):
    """Is told of refused requests, so that attacks leave a trace as well as successes."""

    async def refused(
        self, *, request_id: str, caller: Caller | None, interaction: str, status: int
    ) -> None:
        """A request ended in 401 or 403; `interaction` is the route's, "" if unknown."""
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


class Offers(TypedDict, total=False):
    """What a server may lack: each is answered as unsupported where it is not there."""

    exports: Exports | None
    relationships: Relationships | None
    emergencies: Emergencies | None
    trail: AuditTrail | None
    accountings: Accountings | None
    previews: Previews | None


def setup(  # noqa: PLR0913 - what the composition root has made
    app: web.Application,
    *,
    door: Door,
    records: Records,
    identities: Identities,
    writer: FhirWriter,
    token_checker: TokenChecker,
    index: SearchIndex,
    settings: FhirSettings,
    clock: Clock,
    sealer: Sealer,
    judge: Judge,
    watcher: Watcher | None = None,
    subsets: Subsets | None = None,
    compartments: Compartments | None = None,
    vocabulary: Vocabulary | None = None,
    notices: Notices | None = None,
    summary: SummaryPlan | None = None,
    subscriptions: Subscriptions | None = None,
    profiles: Mapping[str, Sequence[str]] | None = None,
    **offers: Unpack[Offers],
) -> web.Application:
    """Add the API to an application under `/fhir`; the sub-application."""
    edge = Edge(
        inner=InnerReads(ROUTES, watcher),
        door=door,
        records=records,
        identities=identities,
        writer=writer,
        index=index,
        settings=settings,
        sealer=sealer,
        subsets=subsets or Subsets({}),
        compartments=compartments or Compartments(index, {}),
        vocabulary=vocabulary or Vocabulary((), ()),
        judge=judge,
        notices=notices or NoNotices(),
        summary=summary or NO_SUMMARY,
        offered=subscriptions,
        **offers,
    )
    metadata = capability_statement(
        ROUTES, index, settings, clock.now_us(), edge.compartments.names, profiles
    )
    sub = _routed(Rim(edge, token_checker, clock, watcher), metadata)
    cors.allow(sub, settings.cors_origins)
    app.add_subapp(PREFIX, sub)
    return sub


def _routed(rim: "Rim", metadata: bytes) -> web.Application:
    """An application of all addresses; a HEAD is answered as the GET it stands for."""
    sub = web.Application(middlewares=[rim.answer_errors])
    sub.router.add_get("/metadata", rim.static(metadata))
    sub.router.add_get("/.well-known/{name}", rim.undescribed)
    for route in ROUTES:
        sub.router.add_route(route.method, route.path, rim.handle(route))
        if route.method == hdrs.METH_GET:
            sub.router.add_route(hdrs.METH_HEAD, route.path, rim.handle(route))
    return sub


class Rim:
    """Turns HTTP requests into calls and answers into HTTP responses."""

    def __init__(
        self, edge: Edge, checker: TokenChecker, clock: Clock, watcher: Watcher | None
    ) -> None:
        self._edge = edge
        self._checker = checker
        self._clock = clock
        self._watcher = watcher

    def static(self, body: bytes) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """A handler that gives the same body to everybody."""

        async def give(request: web.Request) -> web.StreamResponse:
            negotiate.require_json_accepted(
                request.headers.get("Accept"), request.query.get("_format")
            )
            return await respond(request, Answer(body=body))

        return give

    @staticmethod
    async def undescribed(_: web.Request) -> web.StreamResponse:
        """Tell apps that look for an authorization server, before they have a token, of none.

        Raises:
            HieError: NOT_FOUND, always.
        """
        text = "nothing is described here; `rest.security` of `metadata` tells of tokens"
        raise HieError(Category.NOT_FOUND, text, [Issue(text=text, code="not-found")])

    def handle(self, route: Route) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
        """The aiohttp handler of a route."""

        async def handled(request: web.Request) -> web.StreamResponse:
            call = await self._call(route, request)
            answer = await route.handler(self._edge, call)
            await self._settled(request, answer.status)
            if told := self._edge.notices.headers(call.ctx):
                answer = replace(answer, headers={**answer.headers, **told})
            if answer.stream is not None:
                named = {"X-Request-Id": request[REQUEST_ID], **PROTECTED}
                return await streaming.stream(request, answer, named)
            return await respond(request, answer)

        handled.__name__ = route.interaction
        return handled

    @web.middleware
    async def answer_errors(
        self,
        request: web.Request,
        handler: Callable[[web.Request], Awaitable[web.StreamResponse]],
    ) -> web.StreamResponse:
        """Answers what is raised; names the request in every response."""
        request_id = request.get(REQUEST_ID) or request_id_of(
            request.headers.get("X-Request-Id", "")
        )
        request[REQUEST_ID] = request_id
        try:
            response = await handler(request)
        except HieError as error:
            response = await self._refused(request, request_id, error)
        except web.HTTPException as error:
            response = refused(
                request, error.status, error.headers, outcome.http_refusal(error.status)
            )
        except Exception as error:  # noqa: BLE001 - the rim answers whatever happens inside
            response = self._broken(request, request_id, error)
        response.headers["X-Request-Id"] = request_id
        response.headers.update(PROTECTED)
        return response

    async def _settled(self, request: web.Request, status: int) -> None:
        if self._watcher is not None:
            found = request.match_info
            await self._watcher.settled(
                request_id=request[REQUEST_ID],
                caller=request.get(CALLER),
                interaction=found.handler.__name__,
                type_name=found.get("type", ""),
                resource_id=found.get("id", ""),
                status=status,
            )

    @staticmethod
    def _broken(request: web.Request, request_id: str, error: Exception) -> web.Response:
        # The text of an unforeseen error may hold data; its type and place do not.
        told = {"error": type(error).__name__, "frames": frames_of(error)}
        if is_away(error):
            LOG.warning("fhir.database_away", extra={"request_id": request_id, **told})
            refusal = outcome.refusal(HieError(Category.BUSY, AWAY), request_id)
            return refused(request, refusal.status, refusal.headers, refusal.body)
        LOG.error("fhir.fault", extra={"request_id": request_id, **told})
        return refused(request, 500, {}, outcome.fault(request_id))

    async def _refused(
        self, request: web.Request, request_id: str, error: HieError
    ) -> web.StreamResponse:
        try:
            return await self._told(request, request_id, error)
        except Exception as broken:  # noqa: BLE001 - what cannot be put on record is not answered
            return self._broken(request, request_id, broken)

    async def _told(
        self, request: web.Request, request_id: str, error: HieError
    ) -> web.StreamResponse:
        refusal = outcome.refusal(error, request_id)
        if self._watcher is not None and refusal.status in (401, 403):
            await self._watcher.refused(
                request_id=request_id,
                caller=request.get(CALLER),
                interaction=request.match_info.handler.__name__,
                status=refusal.status,
            )
        await self._settled(request, refusal.status)
        headers = dict(refusal.headers)
        is_bearer = request.headers.get(hdrs.AUTHORIZATION, "").lower().startswith("bearer ")
        if refusal.status == 401 and is_bearer:  # RFC 6750, section 3.1: who sent none has no error
            headers[hdrs.WWW_AUTHENTICATE] += ', error="invalid_token"'
        return refused(request, refusal.status, headers, refusal.body)

    async def _call(self, route: Route, request: web.Request) -> Call:
        found = request.match_info
        ctx = RequestContext(
            caller=await self._caller(request),
            request_id=request[REQUEST_ID],
            now_us=self._clock.now_us(),
        )
        call = Call(
            ctx=ctx,
            interaction=route.interaction,
            method=route.method,
            type=route.of_type or found.get("type", ""),
            id=found.get("id", ""),
            compartment=found.get("compartment", ""),
            version=found.get("version", ""),
            params=tuple(request.query.items()),
            headers=request.headers,
        )
        _require_operation(request.method, call)
        require_scope(self._edge.index, route.action, call)
        if request.method in (hdrs.METH_POST, hdrs.METH_PUT, hdrs.METH_PATCH):
            body = await self._body(request)
            is_search = route.interaction.startswith("search-")
            call = (
                replace(call, params=(*call.params, *_form(call, body)))
                if is_search
                else (replace(call, body=body))
            )
        formats = [value for name, value in call.params if name == "_format"]
        negotiate.require_json_accepted(
            request.headers.get("Accept"), formats[-1] if formats else None, route.gives
        )
        return call

    async def _caller(self, request: web.Request) -> Caller:
        caller = await self._checker.check(bearer_token(request))
        request[CALLER] = caller
        return caller

    async def _body(self, request: web.Request) -> bytes:
        limit = self._edge.settings.max_body_bytes
        negotiate.require_known_encoding(request.headers.get("Content-Encoding"))
        declared = request.content_length
        if declared is not None and declared > limit:
            raise _too_large(limit)
        parts, size = [], 0
        try:
            async for part in request.content.iter_chunked(CHUNK_BYTES):
                size += len(part)
                if size > limit:
                    raise _too_large(limit)
                parts.append(part)
        except web.RequestPayloadError as error:
            text = "the body is not compressed as `Content-Encoding` says"
            raise HieError(Category.INVALID, text) from error
        except OSError as error:  # whoever sends went away; the database did not
            raise HieError(Category.INVALID, "the body broke off") from error
        return b"".join(parts)


def _require_operation(method: str, call: Call) -> None:
    """Tell what looks like an operation and came to no route of one.

    Raises:
        HTTPMethodNotAllowed: there is one, by another method.
        HieError: NOT_FOUND for one that there is not.
    """
    if "$" not in (call.type[:1], call.id[:1]):
        return
    is_system = call.type.startswith("$")
    allowed = _methods_of("", call.type) if is_system else _methods_of(call.type, call.id)
    if allowed and method not in allowed:
        raise web.HTTPMethodNotAllowed(method, allowed)
    text = "there is no such operation here; `metadata` lists those there are"
    raise HieError(Category.NOT_FOUND, text, [Issue(text=text, code="not-supported")])


def _methods_of(type_name: str, operation: str) -> tuple[str, ...]:
    """The methods that an operation of a type, `$match`, is asked by; none where there is none."""
    path = f"/{type_name}/{operation}" if type_name else f"/{operation}"
    every = f"/{{type}}/{operation}"
    return tuple(dict.fromkeys(each.method for each in ROUTES if each.path in (path, every)))


def _too_large(limit: int) -> HieError:
    return HieError(Category.TOO_LARGE, f"the request body is larger than {limit} bytes")


def _form(call: Call, body: bytes) -> list[tuple[str, str]]:
    if not body.strip():
        return []
    negotiate.require_form_content(call.headers.get("Content-Type"))
    try:
        return parse_qsl(
            body.decode("utf-8"), keep_blank_values=True, max_num_fields=MAX_FORM_FIELDS
        )
    except ValueError as error:
        text = f"the body is no form of at most {MAX_FORM_FIELDS} fields in UTF-8"
        raise HieError(Category.INVALID, text) from error
