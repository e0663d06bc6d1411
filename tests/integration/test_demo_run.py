"""A whole run of the demo against a hub that only pretends: real sockets, TLS and HTTP."""

import asyncio
from collections import Counter
from pathlib import Path

import pytest
from aiohttp import web

from adapters.hl7v2.frame import Framer, Payload, frame
from adapters.hl7v2.tls import TlsSettings, server_context
from hie.demo.parcels import Expected
from hie.demo.run import prepare_tls, run_demo
from hie.demo.scene import set_scene
from hie.demo.summary import Addresses, AuditCheck, MessageCount

CONFIG = Path(__file__).resolve().parents[2] / "config"
HELD = {"resourceType": "Condition", "code": {"coding": [{"code": "B20"}]}}


@pytest.fixture(scope="module")
def scene():
    return set_scene(CONFIG)


class PretendedHub:
    """Answers as the story expects, and shows everybody what wishes allow."""

    def __init__(self, scene, home):
        self.config, self.home, self.scene = CONFIG, home, scene
        self.addresses = Addresses(host="127.0.0.1", http_port=0, mllp_port=0, mllps_port=0)
        self.view = self
        self.is_leaking = False
        self.received = []
        self.shown = []
        self.requests = []
        self._waiting = 2
        self._expected = {p.payload: p for feed in scene.feeds.values() for p in feed}
        self._wishes = {f"p{w.person}": w for w in scene.wishes}
        self._stack = []

    # what run_demo holds

    async def wait_until_ready(self):
        certificates = prepare_tls(self.home, CONFIG)
        server, authority = certificates.server, certificates.authority
        context = server_context(
            TlsSettings(
                certificate=server.certificate,
                private_key=server.private_key,
                authorities=authority,
            )
        )
        plain = await asyncio.start_server(self._mllp, "127.0.0.1", 0)
        tls = await asyncio.start_server(self._mllp, "127.0.0.1", 0, ssl=context)
        app = web.Application()
        app.router.add_post("/fhir", self._post)
        app.router.add_post("/fhir/Consent", self._post)
        app.router.add_get("/fhir/Patient/{id}/$everything", self._everything)
        runner = web.AppRunner(app)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        self._stack = [plain, tls, runner]
        http_port = runner.addresses[0][1]
        ports = [server.sockets[0].getsockname()[1] for server in (plain, tls)]
        self.addresses = Addresses(
            host="127.0.0.1", http_port=http_port, mllp_port=ports[0], mllps_port=ports[1]
        )

    async def close(self):
        plain, tls, runner = self._stack
        for server in (plain, tls):
            server.close()
        await runner.cleanup()

    async def token(self, *, scope, organization=None, patient=None, purpose="TREAT"):
        return f"organization:{organization}" if organization else f"patient:{patient}"

    # what the summary asks

    async def backlog(self):
        self._waiting = max(0, self._waiting - 1)
        return self._waiting

    async def messages_by_type_and_answer(self):
        return [
            MessageCount(wire="mllp", trigger=kind, answer="AA", state="processed", count=count)
            for kind, count in Counter(self.received).items()
        ]

    async def links(self, known):
        return {k.key: f"p{k.person}" for k in known}

    async def review_queue(self):
        return {"twin": 4}

    async def resources_by_type(self):
        return {"Observation": 3}

    async def sources_of(self, references):
        return {r: r.split("/")[1].rsplit(".", 1)[0] for r in references if "Patient" not in r}

    async def verify_audit(self):
        return AuditCheck(events=12, unchained=0)

    # the wires

    async def _mllp(self, reader, writer):
        framer = Framer()
        peer = writer.get_extra_info("ssl_object")
        while data := await reader.read(65536):
            for event in framer.receive(data):
                if isinstance(event, Payload):
                    writer.write(frame(self._answer(event.data, peer)))
            await writer.drain()
        writer.close()

    def _answer(self, payload, peer):
        parcel = self._expected[payload]
        self.received.append(parcel.kind)
        if peer:
            subject = dict(part[0] for part in peer.getpeercert()["subject"])
            self.shown.append((parcel.source, subject["commonName"]))
        code = "AA" if parcel.expected is Expected.ACCEPTED else "AE"
        control_id = "" if parcel.note == "no control id" else parcel.control_id
        return f"MSH|^~\\&|HUB\rMSA|{code}|{control_id}\r".encode()

    async def _post(self, request):
        body = await request.read()
        self.requests.append((request.headers["Authorization"], request.headers["X-Request-Id"]))
        parcel = self._expected.get(body)
        if parcel and parcel.expected is Expected.REFUSED:
            return web.json_response({"issue": [{"diagnostics": "no"}]}, status=422)
        return web.json_response({}, status=200 if parcel else 201)

    async def _everything(self, request):
        kind, _, name = request.headers["Authorization"].removeprefix("Bearer ").partition(":")
        person = request.match_info["id"]
        entries = [{"resource": {"resourceType": "Patient", "id": person, "identifier": [{}]}}]
        for source in self._visible(kind, name, person):
            found = {"resourceType": "Observation", "id": f"{source}.{person}"}
            entries.append({"resource": found})
            if kind == "patient" or source == name:
                entries.append({"resource": HELD | {"id": f"{source}.{person}"}})
        if len(entries) == 1 and kind != "patient":
            return web.json_response({}, status=404)
        half = len(entries) // 2
        if "page" in request.query:
            return web.json_response({"entry": entries[half:]})
        following = str(request.url.update_query(page="2"))
        link = [{"relation": "next", "url": following}]
        return web.json_response({"entry": entries[:half], "link": link})

    def _visible(self, kind, name, person):
        human = self.scene.world.person(int(person[1:]))
        sources = sorted({r.source for r in human.registrations})
        wish = self._wishes.get(person)
        if kind == "patient" or self.is_leaking or (wish and wish.denied != name):
            return sources
        return [source for source in sources if source == name]


@pytest.fixture
async def hub(scene, tmp_path):
    hub = PretendedHub(scene, tmp_path)
    yield hub
    await hub.close()


async def test_a_run_meets_its_own_expectations(hub, capsys):
    assert await run_demo(hub, once=True) == 0
    page = capsys.readouterr().out
    assert "FAILED" not in page
    assert page.count("  ok     ") == 15
    assert "Rosalind Quimby" in page


async def test_every_message_arrives_over_its_own_wire(hub, scene):
    await run_demo(hub, once=False)
    messages = [p for feed in scene.feeds.values() for p in feed]
    wires = Counter(p.wire.value for p in messages)
    assert len(hub.received) == wires["MLLP"]
    assert len(hub.requests) == scene.messages - wires["MLLP"]
    # Each TLS source shows its own certificate.
    assert {source for source, _ in hub.shown} == {
        s.source for s in scene.lists.senders.values() if s.wire == "tls"
    }
    assert all(source == name for source, name in hub.shown)
    # Each FHIR request is the source's own and can be told from every other.
    assert len({request for _, request in hub.requests}) == len(hub.requests)


async def test_a_leak_fails_the_run(hub, capsys):
    hub.is_leaking = True
    assert await run_demo(hub, once=True) == 1
    page = capsys.readouterr().out
    assert "FAILED no organisation without permission sees others' data" in page
    assert "FAILED the organisation she denies" in page


async def test_without_once_nothing_is_judged(hub, capsys):
    hub.is_leaking = True
    assert await run_demo(hub, once=False) == 0
    page = capsys.readouterr().out
    assert "Checks" not in page
    assert "try next" in page
    assert list((hub.home / "demo").glob("*.hl7"))
