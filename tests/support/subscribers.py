"""A subscriber's web server on a real socket, and subscriptions written short."""

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any, Self

from aiohttp import web

from tests.support.ports import free_port

BACKPORT = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/"
Fhir = dict[str, Any]


#: Long: a machine that is busy with others' tests may stand still for a while.
PATIENCE_SECONDS = 180


async def until(is_so: Callable[[], bool]) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(PATIENCE_SECONDS):
        while True:
            if is_so():
                return
            await asyncio.sleep(0.02)


class Hook:
    """Takes notifications; `answer` is the status it gives."""

    def __init__(self) -> None:
        self.answer = 200
        self.bundles: list[Fhir] = []
        self.bodies: list[bytes] = []
        self.headers: list[Mapping[str, str]] = []
        self.connections = 0
        #: While it is clear, whoever tells something waits for the answer.
        self.answers = asyncio.Event()
        self.answers.set()
        # Of no hook before it: what is still owed to one that is gone must not reach this one.
        self.port = free_port()
        self._server: asyncio.Server | None = None
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/told"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen, on the same port each time."""
        app = web.Application()
        app.router.add_post("/told", self._told)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        made = self._runner.server
        assert made is not None

        def connected() -> Any:
            self.connections += 1
            return made()

        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(connected, "127.0.0.1", self.port)

    async def stop(self) -> None:
        """Refuse connections."""
        self.answers.set()
        if self._server is not None:
            self._server.close()
            self._server = None
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def _told(self, request: web.Request) -> web.Response:
        body = await request.read()
        self.headers.append(dict(request.headers))
        await self.answers.wait()
        if self.answer == 200:
            self.bodies.append(body)
            self.bundles.append(json.loads(body))
        return web.Response(status=self.answer)

    async def heard(self, count: int, kind: str = "event-notification") -> list[Fhir]:
        """The notifications of a kind, once there are so many."""
        await until(lambda: len(self.of(kind)) >= count)
        return self.of(kind)

    def of(self, kind: str) -> list[Fhir]:
        return [one for one in self.bundles if said(one)["type"] == kind]


def subscription(topic: str, *filters: str, endpoint: str = "", **more: Any) -> Fhir:
    """A Subscription; without an endpoint of channel websocket."""
    content = more.pop("content", "full-resource")
    extensions = [
        {"url": f"{BACKPORT}backport-{name}", value: more.pop(key)}
        for key, name, value in (
            ("heartbeat", "heartbeat-period", "valueUnsignedInt"),
            ("max_count", "max-count", "valuePositiveInt"),
        )
        if key in more
    ]
    made: Fhir = {
        "resourceType": "Subscription",
        "status": "requested",
        "reason": "to be told",
        "criteria": f"urn:hie:topic:{topic}",
        "channel": {
            "type": "rest-hook" if endpoint else "websocket",
            **({"endpoint": endpoint} if endpoint else {}),
            "payload": "application/fhir+json",
            "_payload": {
                "extension": [{"url": f"{BACKPORT}backport-payload-content", "valueCode": content}]
            },
            **({"extension": extensions} if extensions else {}),
            **({"header": more.pop("header")} if "header" in more else {}),
        },
        **more,
    }
    if filters:
        made["_criteria"] = {
            "extension": [
                {"url": f"{BACKPORT}backport-filter-criteria", "valueString": text}
                for text in filters
            ]
        }
    return made


def said(bundle: Fhir) -> Fhir:
    """The status of a notification, by parameter; `events` are their numbers."""
    found: Fhir = {"events": [], "focus": []}
    for parameter in bundle["entry"][0]["resource"]["parameter"]:
        if parameter["name"] == "notification-event":
            parts = {part["name"]: part for part in parameter["part"]}
            found["events"].append(int(parts["event-number"]["valueString"]))
            if "focus" in parts:
                found["focus"].append(parts["focus"]["valueReference"]["reference"])
        else:
            found[parameter["name"]] = next(v for k, v in parameter.items() if k != "name")
    return found


def encounter(record: str, status: str = "in-progress", code: str = "IMP", **more: Any) -> Fhir:
    act = "http://terminology.hl7.org/CodeSystem/v3-ActCode"
    return {
        "resourceType": "Encounter",
        "status": status,
        "class": {"system": act, "code": code},
        "subject": {"reference": f"Patient/{record}"},
        **more,
    }
