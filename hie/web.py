"""What every HTTP surface shares: request ids, bearer tokens, access log, headers, health, metrics.

The access log and the metrics know a request by its route's template: neither its path nor
its query string, which may name a patient, is written anywhere. A label holds templates,
names and codes that the hub makes; anything else becomes `other`, and so does everything
beyond a fixed number of series.
Spec: https://prometheus.io/docs/instrumenting/exposition_formats/
"""

import asyncio
import json
import re
import secrets
import time
from bisect import bisect_left
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Final, TypeVar

import structlog
from aiohttp import hdrs, web

from hie.kernel.errors import Category, HieError
from hie.refusals import HEADERS, SERVER, Refusals

REQUEST_ID: Final = web.RequestKey("hie request id", str)
CHECK_SECONDS: Final = 2.0
UNMATCHED: Final = "unmatched"
_ID: Final = re.compile(r"^[A-Za-z0-9._-]{1,64}\Z")
#: Random bytes of an id.
_ID_BYTES: Final = 16
_QUIET: Final = frozenset({"/health/live", "/health/ready", "/metrics"})
_HSTS: Final = "max-age=31536000"

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
#: Whether a part of the hub can do its work.
Check = Callable[[], Awaitable[bool]]
MOST_SERIES: Final = 1_000
#: Upper bounds of durations, in seconds.
SECONDS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_BEARER: Final = re.compile(r"^Bearer +(?P<token>[A-Za-z0-9\-._~+/]+=*)$", re.IGNORECASE)
_SAFE: Final = re.compile(r"^[A-Za-z0-9_./{}:$^|*-]{0,120}$")
_OTHER: Final = "other"
Labels = tuple[str, ...]
_log = structlog.get_logger(__name__)


class Counter:
    """A number that only grows, one for each combination of labels."""

    kind = "counter"

    def __init__(self, name: str, text: str, labels: Sequence[str] = ()) -> None:
        self.name = name
        self.text = text
        self._labels = tuple(labels)
        self._values: dict[Labels, float] = {}

    def inc(self, *labels: str, by: float = 1) -> None:
        """Count; one label value for each label name."""
        key = _key(self._labels, labels, self._values)
        self._values[key] = self._values.get(key, 0) + by

    def samples(self) -> Iterator[str]:
        """The lines of the series."""
        for key, value in self._values.items():
            yield f"{self.name}{_braces(self._labels, key)} {value:.15g}"


class Gauge:
    """A number asked for when the metrics are read."""

    kind = "gauge"

    def __init__(self, name: str, text: str, read: Callable[[], float]) -> None:
        self.name = name
        self.text = text
        self._read = read

    def samples(self) -> Iterator[str]:
        """The one line."""
        yield f"{self.name} {self._read():.15g}"


class Family:
    """Numbers asked for when the metrics are read, one for each combination of labels."""

    def __init__(
        self,
        name: str,
        text: str,
        labels: Sequence[str],
        read: Callable[[], Mapping[Labels, float]],
        kind: str = "gauge",
    ) -> None:
        self.name = name
        self.text = text
        self.kind = kind
        self._labels = tuple(labels)
        self._read = read

    def samples(self) -> Iterator[str]:
        """The lines of the series."""
        values: dict[Labels, float] = {}
        for labels, value in self._read().items():
            key = _key(self._labels, labels, values)
            values[key] = values.get(key, 0) + value
        for key, value in values.items():
            yield f"{self.name}{_braces(self._labels, key)} {value:.15g}"


class Histogram:
    """How long things took, in seconds, in fixed buckets."""

    kind = "histogram"

    def __init__(self, name: str, text: str, labels: Sequence[str] = ()) -> None:
        self.name = name
        self.text = text
        self._labels = tuple(labels)
        self._counts: dict[Labels, list[int]] = {}
        self._sums: dict[Labels, float] = {}

    def observe(self, seconds: float, *labels: str) -> None:
        """Count one duration."""
        key = _key(self._labels, labels, self._counts)
        counts = self._counts.setdefault(key, [0] * (len(SECONDS) + 1))
        counts[bisect_left(SECONDS, seconds)] += 1
        self._sums[key] = self._sums.get(key, 0.0) + seconds

    def samples(self) -> Iterator[str]:
        """Cumulative buckets, sum and count of each series."""
        names = (*self._labels, "le")
        for key, counts in self._counts.items():
            total = 0
            for bound, count in zip((*map(repr, SECONDS), "+Inf"), counts, strict=True):
                total += count
                yield f"{self.name}_bucket{_braces(names, (*key, bound))} {total}"
            yield f"{self.name}_sum{_braces(self._labels, key)} {self._sums[key]:.6f}"
            yield f"{self.name}_count{_braces(self._labels, key)} {total}"


Metric = Counter | Gauge | Family | Histogram
M = TypeVar("M", Counter, Gauge, Family, Histogram)


class Metrics:
    """The metrics of one process, in the order made."""

    def __init__(self) -> None:
        self._metrics: list[Metric] = []

    def counter(self, name: str, text: str, *labels: str) -> Counter:
        """A new counter; names end in `_total`."""
        return self._added(Counter(name, text, labels))

    def histogram(self, name: str, text: str, *labels: str) -> Histogram:
        """A new histogram; names end in `_seconds`."""
        return self._added(Histogram(name, text, labels))

    def gauge(self, name: str, text: str, read: Callable[[], float]) -> Gauge:
        """A new gauge."""
        return self._added(Gauge(name, text, read))

    def family(
        self,
        name: str,
        text: str,
        labels: Sequence[str],
        read: Callable[[], Mapping[Labels, float]],
        *,
        kind: str = "gauge",
    ) -> Family:
        """A new family of gauges, or of counters that somebody else keeps."""
        return self._added(Family(name, text, labels, read, kind))

    def render(self) -> str:
        """Prometheus' text format 0.0.4."""
        lines: list[str] = []
        for metric in self._metrics:
            lines += [f"# HELP {metric.name} {metric.text}", f"# TYPE {metric.name} {metric.kind}"]
            lines += metric.samples()
        return "\n".join(lines) + "\n"

    def _added(self, metric: M) -> M:
        self._metrics.append(metric)
        return metric


def _key(names: Labels, values: Labels, known: Mapping[Labels, object]) -> Labels:
    if len(names) != len(values):
        raise ValueError(f"expected {len(names)} label values")
    key = tuple(value if _SAFE.match(value) else _OTHER for value in values)
    if key in known or len(known) < MOST_SERIES:
        return key
    return (_OTHER,) * len(names)


def _braces(names: Labels, values: Labels) -> str:
    if not names:
        return ""
    pairs = ",".join(f'{name}="{value}"' for name, value in zip(names, values, strict=True))
    return f"{{{pairs}}}"


def setup(
    app: web.Application,
    metrics: Metrics,
    checks: Mapping[str, Check],
    refusals: Refusals | None = None,
) -> None:
    """Add middleware, headers, `/health/live`, `/health/ready` and `/metrics`.

    Args:
        app: the outermost application, before it starts; run it with `access_log=None`.
        metrics: rendered at `/metrics`; gains the counts of requests.
        checks: what must hold for the hub to be ready, by name.
        refusals: words what no handler answers.
    """
    app.middlewares.insert(0, Observer(metrics, refusals or Refusals()).observe)
    app.on_response_prepare.append(add_headers)
    health = Health(metrics, checks)
    app.router.add_get("/health/live", health.live)
    app.router.add_get("/health/ready", health.ready)
    app.router.add_get("/metrics", health.metrics)


def request_id_of(sent: str) -> str:
    """An id that no other request has: the client's own, and something of the hub's.

    What a request did is put on record by its id. Were it the client's word alone, of two that
    share one what the one did would count for the other.

    Args:
        sent: `X-Request-Id`; what is no id of 64 letters, digits, `.`, `_` or `-` is left out.
    """
    own = secrets.token_hex(_ID_BYTES)
    return f"{sent}~{own}" if _ID.match(sent) else own


class Observer:
    """Names, times, counts and logs each request; answers what nobody else caught."""

    def __init__(self, metrics: Metrics, refusals: Refusals) -> None:
        self._refusals = refusals
        self._requests = metrics.counter(
            "hie_http_requests_total", "HTTP requests answered.", "method", "route", "status"
        )
        self._seconds = metrics.histogram(
            "hie_http_request_seconds", "Time from request to answer.", "method", "route"
        )

    @web.middleware
    async def observe(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """The answer of `handler`, with the request's id on it."""
        sent = request.headers.get("X-Request-Id", "")
        request_id = request[REQUEST_ID] = request_id_of(sent)
        began = time.perf_counter()
        try:
            response = await handler(request)
        except web.HTTPException as refusal:
            response = self._refusals.answer(request.path, refusal)
        except web.RequestPayloadError:  # broken on the way, or not compressed as it says
            response = self._refusals.answer(request.path, web.HTTPBadRequest())
        except Exception:  # noqa: BLE001 - the last to answer; type and place are logged
            _log.exception("request.failed", request_id=request_id, route=route_of(request))
            response = _failed(request_id)
        if not response.prepared:
            response.headers.setdefault("X-Request-Id", request_id)
        self._note(request, response, time.perf_counter() - began)
        return response

    def _note(self, request: web.Request, response: web.StreamResponse, seconds: float) -> None:
        method = request.method if request.method in hdrs.METH_ALL else "other"
        route = route_of(request)
        self._requests.inc(method, route, str(response.status))
        self._seconds.observe(seconds, method, route)
        tell = _log.debug if route in _QUIET else _log.info
        tell(
            "request",
            request_id=response.headers.get("X-Request-Id", request[REQUEST_ID]),
            method=method,
            route=route,
            status=response.status,
            duration_ms=round(seconds * 1000, 2),
            bytes=response.body_length if response.prepared else response.content_length,
        )


def route_of(request: web.Request) -> str:
    """The template of the route, `/fhir/{type}/{id}`."""
    resource = request.match_info.route.resource
    return UNMATCHED if resource is None else resource.canonical


def bearer_token(request: web.Request) -> str:
    """The token a request brings, unchecked (RFC 6750 section 2.1).

    Raises:
        HieError: UNAUTHENTICATED.
    """
    header = request.headers.get(hdrs.AUTHORIZATION)
    if header is None:
        raise HieError(Category.UNAUTHENTICATED, "expected `Authorization: Bearer <token>`")
    found = _BEARER.match(header)
    if found is None:
        raise HieError(Category.UNAUTHENTICATED, "`Authorization`: expected a bearer token")
    return found["token"]


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Give every response the protective headers it does not bring itself, and the client's id.

    Spec: https://hl7.org/fhir/R4/http.html#custom-headers
    """
    for name, value in HEADERS.items():
        response.headers.setdefault(name, value)
    sent = request.headers.get("X-Request-Id", "")
    if _ID.match(sent):
        response.headers.setdefault("X-Correlation-Id", sent)
    if request.secure:
        response.headers.setdefault("Strict-Transport-Security", _HSTS)
    response.headers[hdrs.SERVER] = SERVER


class Health:
    """Tells whether the process lives, is ready, and what it counted."""

    def __init__(self, metrics: Metrics, checks: Mapping[str, Check]) -> None:
        self._metrics = metrics
        self._checks = checks

    async def live(self, _request: web.Request) -> web.Response:
        """200 as long as the process answers at all."""
        return _json(HTTPStatus.OK, {"status": "live"})

    async def ready(self, _request: web.Request) -> web.Response:
        """200 when every check holds within its time, else 503; names what does not."""
        results = await asyncio.gather(
            *(asyncio.wait_for(check(), CHECK_SECONDS) for check in self._checks.values()),
            return_exceptions=True,
        )
        told = {
            name: "ok" if result is True else "failing"
            for name, result in zip(self._checks, results, strict=True)
        }
        if all(state == "ok" for state in told.values()):
            return _json(HTTPStatus.OK, {"status": "ready", "checks": told})
        return _json(HTTPStatus.SERVICE_UNAVAILABLE, {"status": "not ready", "checks": told})

    async def metrics(self, _request: web.Request) -> web.Response:
        """Prometheus' text format."""
        return web.Response(text=self._metrics.render(), content_type="text/plain")


def _failed(request_id: str) -> web.Response:
    return _json(HTTPStatus.INTERNAL_SERVER_ERROR, {"status": "failed", "request_id": request_id})


def _json(status: HTTPStatus, content: Mapping[str, object]) -> web.Response:
    return web.json_response(content, status=status, dumps=json.dumps)
