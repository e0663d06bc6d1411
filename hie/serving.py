"""The HTTP site of the hub: FHIR, HL7 v2 over HTTP, health and metrics on one port."""

import asyncio
import contextlib
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final

import structlog
from aiohttp import StreamReader, hdrs, web
from aiohttp.http_exceptions import LineTooLong

from adapters.fhir.body import Limits as BodyLimits
from adapters.fhir.bundle import Planner
from adapters.fhir.plan import NEVER_STORED, PlanSettings
from adapters.fhir.receive import FhirReceiver
from adapters.hl7v2.batch_intake import BatchIntake
from adapters.hl7v2.http import READS_FOR, SPEAKS_FOR, WRITES_FOR, Handler, hl7_handler
from adapters.pressure import Gate
from consent.carried import Told
from fhir_server import routes
from fhir_server.exports import Exports
from fhir_server.negotiate import FHIR_JSON
from fhir_server.outcome import http_refusal
from fhir_server.settings import FhirSettings
from hie.auditing import Auditing
from hie.breaking import Breaking
from hie.flow.previews import Previews
from hie.flow.writer import SourceWriter
from hie.kernel.context import Caller
from hie.kernel.errors import HieError
from hie.kernel.ids import SourceId
from hie.key_care import KeyCare
from hie.proxying import Proxying
from hie.refusals import Form, Refusals
from hie.services import Services
from hie.staff import problem, rim
from hie.staff.api import PREFIX
from hie.staff.edge import Edge
from hie.staff.once import Once
from hie.staff.runs import Runs
from hie.subscribing import WEBSOCKET_PATH, Subscribing
from hie.web import Metrics
from hie.web import setup as setup_web

VERSION = "0.1.0"
_FHIR_FORM: Final = Form(content_type=FHIR_JSON, body=http_refusal)
_STAFF_FORM: Final = Form(
    content_type=problem.CONTENT_TYPE, body=lambda status: problem.http_refusal(status, "")
)
#: Who sends no HTTP most often meant FHIR.
REFUSALS: Final = Refusals({routes.PREFIX: _FHIR_FORM, PREFIX: _STAFF_FORM}, unread=_FHIR_FORM)
#: How long a client may go on sending what was answered already.
_READ_ON_SECONDS: Final = 10
_log = structlog.get_logger(__name__)


class Connection(web.RequestHandler):
    """One connection of a client: what is refused before any handler is told in our words."""

    __slots__ = ("_refusals",)

    def __init__(self, server: web.Server, refusals: Refusals) -> None:
        options: dict[str, Any] = {
            "access_log": None,  # addresses name patients
            "lingering_time": 0,  # see `_read_on`
        }
        super().__init__(server, loop=asyncio.get_running_loop(), **options)
        self._refusals = refusals

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to what is no HTTP, or to a handler that nobody caught.

        `message` repeats what was sent: it is passed over.

        Raises:
            ConnectionError: an answer is under way already.
        """
        if request.writer.output_size > 0:
            raise ConnectionError("an answer is under way already")
        _log.info("http.refused", status=status, error=type(exc).__name__)
        return self._refusals.malformed(_status(status, exc))

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send an answer; what aiohttp raised before any middleware is worded first."""
        if isinstance(resp, web.HTTPException):
            resp = self._refusals.answer(request.path, resp)
        if _is_left_packed(request):
            resp.force_close()  # of such a body the parser may see no end
        sent = await super().finish_response(request, resp, start_time)
        if not request.content.is_eof():
            await self._read_on(request.content)
        return sent

    async def _read_on(self, body: StreamReader) -> None:
        """Read what is left of a body after the answer, and drop it.

        Closed at once, the client might lose the answer; aiohttp itself calls a body that is
        not compressed as it says an error of the server's. What does not end is closed by it.
        """
        try:
            for _ in range(_READ_ON_SECONDS):
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(1):
                        while not body.is_eof():
                            await body.readany()
                if body.is_eof() or self.transport is None:
                    return
        except web.RequestPayloadError:
            self.force_close()


def _is_left_packed(request: web.BaseRequest) -> bool:
    """Whether a body of another encoding was not read, or not to its end."""
    encoding = request.headers.get(hdrs.CONTENT_ENCODING, "identity")
    return encoding.strip().lower() != "identity" and not request.content.is_eof()


def _status(status: int, exc: BaseException | None) -> int:
    """A line too long has statuses of its own: addresses begin with a slash."""
    if not isinstance(exc, LineTooLong):
        return status
    is_address = bytes(exc.args[0]).startswith(b"/")
    known = HTTPStatus.REQUEST_URI_TOO_LONG, HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
    return known[0] if is_address else known[1]


class Runner(web.AppRunner):
    """Runs an application on such connections."""

    def __init__(self, app: web.Application, refusals: Refusals) -> None:
        super().__init__(app, access_log=None)
        self._refusals = refusals

    async def _make_server(self) -> web.Server:
        return _Server(await super()._make_server(), self._refusals)


class _Server(web.Server):
    def __init__(self, made: web.Server, refusals: Refusals) -> None:
        super().__init__(made.request_handler, request_factory=made.request_factory)
        self._refusals = refusals

    def __call__(self) -> web.RequestHandler:
        return Connection(self, self._refusals)


class Site:
    """The HTTP server of one hub."""

    def __init__(  # noqa: PLR0913, PLR0917 - joined once, in app.py
        self,
        services: Services,
        intake: BatchIntake,
        gate: Gate,
        metrics: Metrics,
        is_working: Callable[[], bool],
        subscribing: Subscribing,
        exports: Exports,
        proxying: Proxying,
        *,
        has_api: bool = True,
        has_intake: bool = True,
    ) -> None:
        """Join the parts.

        Args:
            services: what is served.
            intake: takes HL7 v2 messages and batches.
            gate: closed while no more of them are taken.
            metrics: shown at `/metrics`.
            is_working: whether everything that should run does, for `/health/ready`.
            subscribing: subscriptions and their websockets.
            exports: the desk of bulk exports.
            proxying: who may see in whose place.
            has_api: whether FHIR is served.
            has_intake: whether HL7 v2 is taken over HTTP.
        """
        self._services = services
        self._intake = intake
        self._gate = gate
        self._metrics = metrics
        self._is_working = is_working
        self._subscribing = subscribing
        self._exports = exports
        self._proxying = proxying
        self._has_api = has_api
        self._has_intake = has_intake
        self._runner: web.AppRunner | None = None
        self._runs = Runs()
        self._previews = Previews(services.office.parts)
        self._auditing = Auditing(services)
        self._breaking = Breaking(services, metrics)
        self.once = Once(services.db, services.clock, services.ring)
        self.port = services.settings.listen.http_port

    async def start(self) -> None:
        """Listen.

        Raises:
            OSError: the port is taken.
        """
        settings = self._services.settings
        app = web.Application(client_max_size=settings.limits.body_bytes)
        if self._has_api:
            self._add_api(app)
            self._add_staff(app)
        if self._has_intake:
            self._add_intake(app)
        setup_web(app, self._metrics, {"database": self._check_database}, REFUSALS)
        self._runner = Runner(app, REFUSALS)
        await self._runner.setup()
        site = web.TCPSite(self._runner, settings.listen.host, self.port)
        await site.start()

    def _add_api(self, app: web.Application) -> None:
        services, settings = self._services, self._services.settings
        subscribing = self._subscribing
        base = settings.listen.fhir
        planner = Planner(
            PlanSettings(
                bases=settings.listen.bases,
                # A Subscription is written alone: it is kept apart, with its secrets sealed.
                types=frozenset(services.config.index.types) - {"Subscription"} - NEVER_STORED,
                limits=BodyLimits(body_bytes=settings.limits.body_bytes),
            )
        )
        receiver = FhirReceiver(services.journal, planner, services.carry)
        routes.setup(
            app,
            door=services.door,
            records=services.records,
            identities=services.identities,
            writer=SourceWriter(receiver, base, services.office),
            token_checker=services.tokens,
            index=services.config.index,
            subsets=services.config.subsets,
            vocabulary=services.config.vocabulary,
            profiles=services.config.profiles.by_type(),
            compartments=services.config.compartments,
            judge=services.judge,
            notices=Told(services.consent.carried, services.partial),
            summary=services.config.summary,
            settings=self._presented(),
            clock=services.clock,
            sealer=services.ring.sealing_key("cursor"),
            watcher=services.disclosures,
            subscriptions=subscribing.service,
            exports=self._exports,
            relationships=self._proxying,
            emergencies=self._breaking.desk,
            trail=self._auditing.trail,
            accountings=self._auditing.accountings,
            previews=self._previews,
        )
        app.router.add_get(WEBSOCKET_PATH, subscribing.sockets.serve)

    def _presented(self) -> FhirSettings:
        """How the FHIR API presents itself."""
        services, settings = self._services, self._services.settings
        return FhirSettings(
            base_url=settings.listen.fhir,
            default_count=settings.limits.search_count,
            max_count=settings.limits.search_count_max,
            max_body_bytes=settings.limits.body_bytes,
            software_version=VERSION,
            cors_origins=settings.listen.cors_origins,
            topics=tuple(topic.url for topic in services.config.topics),
            websocket_url=self._subscribing.service.websocket,
            lineage=services.directory.above,
        )

    def _add_staff(self, app: web.Application) -> None:
        services = self._services
        edge = Edge(
            casework=services.casework,
            assignments=services.assignments,
            stewards=services.stewards,
            figures=services.figures,
            disclosures=services.disclosures,
            sealer=services.ring.sealing_key("staff-cursor"),
            runs=self._runs,
            words=services.config.words,
            trail=self._auditing.trail,
            accountings=self._auditing.accountings,
            previews=self._previews,
            proxies=self._proxying.proxies,
            office=services.office,
            emergencies=self._breaking.reviews,
            key_care=KeyCare(services),
            erasure=services.erasure,
        )
        rim.setup(
            app,
            edge=edge,
            once=self.once,
            token_checker=services.tokens,
            clock=services.clock,
            watcher=services.disclosures,
        )

    def _add_intake(self, app: web.Application) -> None:
        settings = self._services.settings
        handler = hl7_handler(
            self._intake,
            message_bytes=settings.limits.message_bytes,
            batches=self._intake,
            batch_bytes=settings.limits.batch_bytes,
            may_take=lambda: self._gate.is_open,
        )
        app.router.add_post("/hl7v2", self._with_token(handler))

    async def stop(self) -> None:
        """Close the port; requests under way are finished. May be called twice."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None
        await self._runs.close()

    def _with_token(self, handler: Handler) -> Handler:
        """In production a message over HTTP needs a source's token: MSH alone proves nobody."""

        async def handle(request: web.Request) -> web.StreamResponse:
            _, _, bearer = request.headers.get("Authorization", "").partition(" ")
            try:
                caller = await self._services.tokens.check(bearer)
                is_source = bool(caller.sources)  # neither a patient nor staff
            except HieError:
                is_source = False
            if not is_source:
                text = "expected a bearer token of a registered source\n"
                return web.Response(status=401, text=text, headers={"WWW-Authenticate": "Bearer"})
            request[READS_FOR] = self._reads_for(caller)
            request[SPEAKS_FOR] = caller.sources
            writes = any({*scope.actions} & {"c", "u"} for scope in caller.scopes)
            request[WRITES_FOR] = caller.sources if writes else frozenset()
            return await handler(request)

        return handle if self._services.settings.is_production else handler

    def _reads_for(self, caller: Caller) -> frozenset[SourceId]:
        """The sources whose queries a token may ask: for the purpose it was given for alone."""
        if not (caller.may("Patient", "r") and caller.may("Patient", "s")):
            return frozenset()
        named = ((each, self._services.config.sources.by_id(each)) for each in caller.sources)
        return frozenset(
            each for each, source in named if source and source.query_purpose == caller.purpose
        )

    async def _check_database(self) -> bool:
        async with self._services.db.reading() as conn:
            await self._services.journal.backlog(conn)
        return self._is_working()
