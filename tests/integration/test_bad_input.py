"""Bad input, end to end: through real sockets into a running hub.

HL7 v2 gets an answer that says which field and why, FHIR an OperationOutcome; whatever is
sent, the hub goes on, and nothing of what it refused is stored.
"""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator

import aiohttp
import pytest
import pytest_asyncio
from sqlalchemy import text

from adapters.hl7v2.frame import frame
from adapters.message import State
from hie.app import Hub
from hie.settings import load_settings
from tests.support.ports import free_port

pytestmark = pytest.mark.asyncio(loop_scope="module")
MRN = "https://saint-aurelia.example/mrn"
ANSWER_SECONDS = 60.0
MESSAGE_BYTES = 200_000


def adt(control_id="C1", *, event="ADT^A01^ADT_A01", born="19800102", name="DOE^JANE", charset=""):
    """A good message of a registered source."""
    head = f"MSH|^~\\&|MEDIHOST|STAUR|HIE|MA|20260101120000||{event}|{control_id}|P|2.5.1"
    return "\r".join(
        [
            f"{head}||||||{charset}",
            "EVN||20260101120000",
            f"PID|1||1001^^^SAMC^MR||{name}||{born}|F",
            "PV1|1|I|W^1^2",
            "",
        ]
    )


def without(message, what, other=""):
    assert what in message
    return message.replace(what, other)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def running(tmp_path_factory) -> AsyncIterator[Hub]:
    settings = load_settings(
        {
            "HIE_HOME": str(tmp_path_factory.mktemp("home")),
            "HIE_HTTP_PORT": str(free_port()),
            "HIE_MLLP_PORT": "0",
            "HIE_MESSAGE_BYTES": str(MESSAGE_BYTES),
            "HIE_BODY_BYTES": str(MESSAGE_BYTES),
        }
    )
    async with Hub(settings) as hub:
        await hub.start()
        yield hub


@pytest_asyncio.fixture(loop_scope="module")
async def hub(running) -> Hub:
    """The hub with an empty journal."""
    await running.worker.idle()
    async with running.db.transaction() as conn:
        await conn.execute(text("DELETE FROM inbound_message"))
    return running  # type: ignore[no-any-return]  # of the fixture


async def said(hub, sent, *, ends=False):
    """What comes back on a connection of its own: until an answer is whole, or to its end."""
    reader, writer = await asyncio.open_connection("127.0.0.1", hub.receivers[0].port)
    try:
        writer.write(sent)
        if ends:
            writer.write_eof()
        async with asyncio.timeout(ANSWER_SECONDS):
            return await (reader.read() if ends else reader.readuntil(b"\x1c\r"))
    finally:
        writer.close()


async def answer(hub, payload):
    """MSA-1, MSA-2 and the places and codes of ERR-2 and ERR-3."""
    raw = (await said(hub, frame(payload.encode() if isinstance(payload, str) else payload)))[1:-2]
    segments = [line.split("|") for line in raw.decode("utf-8", "replace").split("\r") if line]
    msa = next(s for s in segments if s[0] == "MSA")
    faults = [(s[2], s[3].partition("^")[0]) for s in segments if s[0] == "ERR"]
    return msa[1], msa[2], faults


async def states(hub):
    async with hub.db.reading() as conn:
        rows = await conn.execute(text("SELECT state, count(*) FROM inbound_message GROUP BY 1"))
        return dict(tuple(row) for row in rows)


async def stored(hub):
    async with hub.db.reading() as conn:
        rows = await conn.execute(text("SELECT count(*) FROM resource_version"))
        return int(rows.scalar_one())


# --- MLLP ---------------------------------------------------------------------------------------


async def test_garbage_before_a_frame_is_dropped_and_the_message_behind_it_answered(hub):
    assert b"MSA|AA|C1" in await said(hub, b"junk\x00\xff\r\n" * 50 + frame(adt().encode()))


@pytest.mark.parametrize(
    "sent",
    [b"\x0b" + adt().encode()[:90], b"\x0b" + adt().encode(), bytes(range(128, 256)) * 20],
    ids=["half", "whole but not ended", "no frame"],
)
async def test_what_is_no_whole_frame_is_never_acknowledged(hub, sent):
    assert b"MSA|AA" not in await said(hub, sent, ends=True)
    assert await states(hub) == {}


async def test_a_frame_that_begins_inside_another_ends_it(hub):
    sent = b"\x0b" + adt("HALF").encode()[:90] + frame(adt("WHOLE").encode())
    assert b"MSA|AA|WHOLE" in await said(hub, sent)
    assert sum((await states(hub)).values()) == 1


async def test_a_browser_on_the_mllp_port_is_told_so_and_sent_away(hub):
    request = b"POST /hl7v2 HTTP/1.1\r\nHost: x\r\n\r\n" + adt().encode()
    assert (await said(hub, request, ends=True)).startswith(b"HTTP/1.1 400 ")
    assert await states(hub) == {}


async def test_a_message_of_20_mb_is_answered_and_not_kept(hub):
    long = adt("BIG").encode() + b"NTE|1||" + b"x" * 20_000_000
    assert await answer(hub, long) == ("AR", "BIG", [("", "104")])
    async with hub.db.reading() as conn:
        rows = await conn.execute(text("SELECT length(payload) FROM inbound_message"))
        assert max(rows.scalars()) < 100_000
    assert (await answer(hub, adt("NEXT")))[0] == "AA"


async def test_empty_frames_are_probes_and_nothing_is_kept_of_them(hub):
    assert b"MSA|AA|C1" in await said(hub, frame(b"") * 3 + frame(b"\r\n") + frame(adt().encode()))
    await hub.worker.idle()
    assert await states(hub) == {"processed": 1}
    assert hub.receivers[0].counts.empty == 4


@pytest.mark.parametrize(
    ("payload", "code", "control_id", "fault"),
    [
        (adt(name="DO\0E^JANE"), "AE", "C1", ("PID^1", "102")),
        (b"PID|1||1001\r", "AE", "", ("", "100")),
        (b"MSH", "AE", "", ("", "100")),
        (b'{"resourceType": "Patient"}', "AE", "", ("", "100")),
        (adt(""), "AE", "", ("MSH^1^10", "101")),
        (adt("X" * 300), "AR", "X" * 250, ("MSH^1^10", "104")),
        (adt(event=""), "AE", "C1", ("MSH^1^9", "101")),
        (adt(born="19801399"), "AE", "C1", ("PID^1^7^1", "102")),
        (without(adt(), "20260101120000||ADT", "today||ADT"), "AE", "C1", ("MSH^1^7^1", "102")),
        (adt() + adt("C2"), "AE", "C1", ("MSH^2", "100")),
        (without(adt(), "|P|2.5.1", "|Q|2.5.1"), "AR", "C1", ("MSH^1^11", "202")),
    ],
    ids=[
        *("nul", "no MSH", "MSH alone", "JSON", "empty MSH-10", "long MSH-10"),
        *("no type", "birth date that is none", "MSH-7", "two messages", "processing id"),
    ],
)
async def test_a_bad_message_is_refused_by_place_and_journaled(
    hub, payload, code, control_id, fault
):
    assert await answer(hub, payload) == (code, control_id, [fault])
    assert await states(hub) == {"refused": 1}


@pytest.mark.parametrize(
    "payload",
    [
        adt(name="MÜLLER^JÖRG", charset="UNICODE UTF-8").encode("latin-1"),
        adt(name="MÜLLER^JÖRG", charset="8859/1").encode(),
        adt(charset="KLINGON").encode(),
        adt().encode("utf-16"),
        b"\xef\xbb\xbf" + adt().replace("\r", "\r\n").encode(),
        (adt() + "NTE|1||" + "\\.sp99999\\" * 1000 + "\r").encode(),
    ],
    ids=["not UTF-8", "not 8859/1", "unknown", "UTF-16", "BOM and CRLF", "escapes"],
)
async def test_what_can_be_read_is_taken_with_a_remark_and_processed(hub, payload):
    raw = await said(hub, frame(payload))
    assert b"MSA|AA|C1" in raw.replace(b"\0", b"")
    await hub.worker.idle()
    assert await states(hub) == {"processed": 1}


async def test_an_unknown_trigger_is_kept_and_the_feed_goes_on(hub):
    assert await answer(hub, adt("K1", event="ADT^Z99^ADT_Z99")) == ("AA", "K1", [])
    assert (await answer(hub, adt("K2")))[0] == "AA"
    await hub.worker.idle()
    assert await states(hub) == {"kept": 1, "processed": 1}


async def test_a_repeat_is_answered_alike_and_stored_once(hub):
    first = await said(hub, frame(adt().encode()))
    assert await said(hub, frame(adt().encode())) == first
    assert (await answer(hub, adt(name="DOE^JANET")))[0] == "AA"
    assert sum((await states(hub)).values()) == 2


async def test_a_message_that_fails_after_its_answer_is_parked_and_replayed(hub, monkeypatch):
    identify = hub.placer.identify

    async def broken(*_, **__):
        raise RuntimeError("DOE")

    monkeypatch.setattr(hub.placer, "identify", broken)
    assert (await answer(hub, adt()))[0] == "AA"
    await hub.worker.idle()
    assert await states(hub) == {"parked": 1}
    async with hub.db.transaction() as conn:
        (parked,) = await hub.journal.listed(conn, State.PARKED, 10)
        assert (parked.stage, parked.reason) == ("store", "RuntimeError")
        monkeypatch.setattr(hub.placer, "identify", identify)
        assert await hub.replay.reopen(conn, [parked.id], "mended", "test") == 1
    hub.worker.notify()
    await hub.worker.idle()
    assert await states(hub) == {"processed": 1}


# --- FHIR ---------------------------------------------------------------------------------------

PATIENT = {
    "resourceType": "Patient",
    "identifier": [{"system": MRN, "value": "F1"}],
    "name": [{"family": "Doe"}],
}
OBSERVATION = {
    "resourceType": "Observation",
    "status": "final",
    "code": {"text": "x"},
    "subject": {"reference": f"Patient?identifier={MRN}|F1"},
}


@pytest_asyncio.fixture(loop_scope="module")
async def post(hub):
    """POST below the FHIR base as the source; status and body."""
    token = await hub.issue_token(scope="system/*.cruds", organization="saint-aurelia")
    base = f"http://127.0.0.1:{hub.site.port}"
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/fhir+json"}

    async with aiohttp.ClientSession(base, headers=headers) as session:

        async def send(path, body, **more):
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            async with session.post(path, data=data, headers=more) as got:
                return got.status, await got.json(content_type=None)

        assert (await send("/fhir/Patient", PATIENT))[0] in (200, 201)
        yield send


def entry(resource, full_url=""):
    made = {"resource": resource, "request": {"method": "POST", "url": resource["resourceType"]}}
    return {**made, "fullUrl": full_url} if full_url else made


def bundle(kind, *resources):
    return {"resourceType": "Bundle", "type": kind, "entry": [entry(r) for r in resources]}


@pytest.mark.parametrize(
    ("change", "places"),
    [
        ({"foo": 1, "bar": {"x": 2}}, ["Observation.foo", "Observation.bar"]),
        ({"status": ["final"]}, ["Observation.status"]),
        ({"status": "bogus"}, ["Observation.status"]),
        ({"effectiveDateTime": "2026-13-99"}, ["Observation.effective.ofType(dateTime)"]),
        ({"valueQuantity": {"value": "1"}}, ["Observation.value.ofType(Quantity).value"]),
        ({"subject": {"reference": "Patient/nobody"}}, ["Observation.subject"]),
        ({"subject": {"reference": f"Patient?identifier={MRN}|F2"}}, ["Observation.subject"]),
        ({"subject": {"reference": f"urn:uuid:{uuid.UUID(int=1)}"}}, ["Observation.subject"]),
        ({"subject": {"reference": "Encounter/1"}}, ["Observation.subject.reference"]),
        ({"encounter": {"reference": "Encounter/none"}}, ["Observation.encounter"]),
    ],
)
async def test_a_bad_resource_is_refused_by_place_alone_and_in_a_transaction(
    hub, post, change, places
):
    before = await stored(hub)
    bad = {**OBSERVATION, **change}
    status, outcome = await post("/fhir/Observation", bad)
    assert (status, outcome["resourceType"]) == (422, "OperationOutcome")
    assert [i["expression"] for i in outcome["issue"]] == [[place] for place in places]
    status, outcome = await post("/fhir", bundle("transaction", OBSERVATION, bad))
    inside = [p.replace("Observation", "Bundle.entry[1].resource", 1) for p in places]
    assert status == 422
    assert [i["expression"] for i in outcome["issue"]] == [[place] for place in inside]
    assert await stored(hub) == before


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{nope", 400),
        (b"[]", 400),
        (b'{"status": "final"}', 400),
        (b'{"resourceType": "Condition"}', 400),
        (json.dumps(OBSERVATION).encode().replace(b'"x"', b'"\xff"'), 400),
        (json.dumps(OBSERVATION).encode().replace(b'"x"', b'"\\u0000"'), 400),
        (json.dumps(OBSERVATION).encode().replace(b'"x"', b'"x", "text": "y"'), 400),
        (b'{"resourceType":"Observation","x":' + b"[" * 50_000 + b"]" * 50_000 + b"}", 400),
        (b" " * (MESSAGE_BYTES + 1), 413),
    ],
    ids=[
        *("empty", "broken", "array", "no type", "other type", "not UTF-8"),
        *("nul", "twice", "deep", "long"),
    ],
)
async def test_a_body_that_cannot_be_read_is_answered_with_an_outcome(post, body, status):
    answered, outcome = await post("/fhir/Observation", body)
    assert (answered, outcome["resourceType"]) == (status, "OperationOutcome")


async def test_a_batch_stores_its_good_entries_and_names_the_bad_one(hub, post):
    before = await stored(hub)
    bad = {**OBSERVATION, "status": 7}
    status, answered = await post("/fhir", bundle("batch", OBSERVATION, bad, OBSERVATION))
    codes = [e["response"]["status"][:3] for e in answered["entry"]]
    assert (status, codes) == (200, ["201", "422", "201"])
    assert await stored(hub) == before + 2


async def test_a_repeat_with_its_request_id_gets_the_first_answer(hub, post):
    sent = bundle("transaction", OBSERVATION)
    first = await post("/fhir", sent, **{"X-Request-Id": "r1"})
    before = await stored(hub)
    assert await post("/fhir", sent, **{"X-Request-Id": "r1"}) == first
    assert await stored(hub) == before


async def test_http_is_the_same_door_as_mllp_and_each_judges_alike(hub):
    url = f"http://127.0.0.1:{hub.site.port}/hl7v2"

    async def over_http(body, kind="application/hl7-v2"):
        async with aiohttp.request("POST", url, data=body, headers={"Content-Type": kind}) as got:
            return got.status, await got.read()

    assert (await over_http(b""))[0] == 400
    assert (await over_http(adt().encode(), "application/xml"))[0] == 415
    status, answered = await over_http(adt("").encode())
    assert (status, b"MSA|AE|" in answered) == (200, True)
    status, answered = await over_http(adt("H1").encode())
    assert (status, b"MSA|AA|H1" in answered) == (200, True)
    assert (await answer(hub, adt("H1")))[0] == "AA"
    await hub.worker.idle()
    assert await states(hub) == {"processed": 2, "refused": 1}
