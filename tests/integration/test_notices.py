"""Receivers are told of changes of identity: ADT^A31, A40, A37 and webhooks, to real listeners."""

import asyncio
import copy
import hashlib
import hmac
import json
import os
import shutil
from argparse import Namespace
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from sqlalchemy import text

from adapters.hl7v2.tls import TlsSettings, server_context
from adapters.source_files import load_sources
from hie.commands.notices import notices
from hie.flow.decisions import Merge, Steward
from hie.kernel.envelope import SourceIdentifier
from hie.kernel.ids import PersonId, SourceId
from hie.notify.deliver import Pace
from hie.notify.repository import State
from hie.settings import load_settings
from hie.telling import Telling
from hie.web import Metrics
from tests.support.asked_hub import World, actor, consent, deny
from tests.support.certificates import Authority
from tests.support.hub_process import HubProcess, exchange
from tests.support.launcher import ROOT
from tests.support.made_once import config_of
from tests.support.mllp_listener import MllpListener
from tests.support.ports import free_port
from tests.support.queries import arrival, message

FAST = Pace(first_seconds=0.05, poll_seconds=0.02, processing_id="T")
SOURCE = """
name = "{who} hospital"
time_zone = "America/New_York"
own_authority = "urn:oid:1.2.840.{number}"
[match]
application = "{who}"
[organization]
system = "urn:hie:test"
value = "{who}"
name = "{who} hospital"
[authorities]
{who} = "urn:oid:1.2.840.{number}"
"""


class Told(World):
    """A hub of three hospitals, of which some want to be told."""

    metrics: Metrics

    async def tell(self, *messages: bytes) -> None:
        answers: list[bytes] = []
        await exchange(self.mllp_port, list(messages), answers)
        assert all(b"MSA|AA|" in answer for answer in answers), answers
        await self.hub.worker.idle()

    async def record(self, who: str, number: str) -> str:
        """The source record of a number."""
        return (await self._row(who, number))[0]

    async def person(self, who: str, number: str) -> str:
        return (await self._row(who, number))[1]

    async def _row(self, who: str, number: str) -> tuple[str, str]:
        system = {"ALPHA": "1", "BETA": "2", "GAMMA": "3"}[who]
        identifier = SourceIdentifier(system=f"urn:oid:1.2.840.{system}", value=number)
        async with self.hub.db.reading() as conn:
            record = await self.hub.mpi.find_record(conn, SourceId(who.lower()), identifier)
            assert record is not None
            return record, (await self.hub.mpi.person_of(conn, [record]))[record]

    async def merge(self, kept: str, gone: str) -> int:
        asked = Merge(kept=PersonId(kept), gone=PersonId(gone))
        done = await self.hub.stewards.decide(steward(), asked)
        return done.decision_id

    async def settled(self) -> None:
        """Nothing is left to publish or to send."""
        async with asyncio.timeout(90):
            while True:
                async with self.hub.db.reading() as conn:
                    waiting = await conn.scalar(
                        text(
                            "SELECT (SELECT count(*) FROM notice WHERE state = 'waiting')"
                            " + (SELECT count(*) FROM identity_event WHERE published_us IS NULL)"
                        )
                    )
                if not waiting:
                    return
                await asyncio.sleep(0.02)


def steward() -> Steward:
    return Steward(name="steward:test", reason="looked at both charts")


@asynccontextmanager
async def told_world(folder: Path, url: str = "", **notify: str) -> AsyncIterator[Told]:
    """A hub over a database; `notify` gives what stands in the files of its hospitals."""
    sources = folder / "sources"
    sources.mkdir(exist_ok=True)
    for number, who in enumerate(("ALPHA", "BETA", "GAMMA"), start=1):
        content = SOURCE.format(who=who, number=number) + notify.get(who.lower(), "")
        (sources / f"{who.lower()}.toml").write_text(content)
    config = copy.copy(config_of(load_settings({"HIE_REGIME": "hipaa-treatment"})))
    config.sources = load_sources(sources, allow_adhoc=True)
    more = {"HIE_DATABASE_URL": url} if url else {}
    world = Told(
        folder / "home", config=config, clock=None, tag=None, HIE_REGIME="hipaa-treatment", **more
    )
    world.metrics = Metrics()
    world.hub.telling = Telling(world.hub, world.metrics, FAST)
    async with world:
        yield world


def adt(port: int, more: str = "") -> str:
    return f'\n[notify.adt]\nto = "127.0.0.1:{port}"\n{more}\n'


@pytest.fixture
async def listener() -> AsyncIterator[MllpListener]:
    made = MllpListener()
    await made.start()
    yield made
    await made.stop()


def pid_3(message) -> list[str]:
    return [one.raw for one in message.first("PID").reps(3)]


A1 = "A1^^^ALPHA&1.2.840.1&ISO^MR"
B1 = "B1^^^BETA&1.2.840.2&ISO^MR"
#: Somebody whom only a steward takes for the same.
OTHER = {
    "name": "PENHALIGON^MORWENNA",
    "born": "19880229",
    "ssn": "",
    "more": "||7 HARBOR RD^^LYNN^MA^01901||7815550107",
}


async def test_a_receiver_hears_which_numbers_its_patient_has_elsewhere(tmp_path, listener) -> None:
    async with told_world(tmp_path, alpha=adt(listener.port)) as world:
        await world.tell(arrival("ALPHA", "A1"))
        await world.settled()
        assert not listener.taken, "a number that only the receiver has is no news"
        await world.tell(arrival("BETA", "B1"))
        await listener.until(1)
        await world.settled()
        (told,) = listener.taken
        assert (told.trigger, told.get("MSH-9.3"), told.get("MSH-12")) == (
            "ADT^A31",
            "ADT_A05",
            "2.5",
        )
        assert (told.get("MSH-5"), told.get("MSH-11")) == ("ALPHA", "T")
        assert [s.name for s in told.segments] == ["MSH", "EVN", "PID", "PV1"]
        assert pid_3(told) == [A1, B1]
        assert told.first("PID").field(5) == "~^^^^^^S"
        assert not any(told.first("PID").field(n) for n in (6, 7, 8, 11, 13, 19))
        conformance = world.hub.config.conformer.conform(told, None)
        assert [f.rule for f in conformance.findings if f.severity.value == "error"] == []
        person = await world.person("ALPHA", "A1")
        rows = [json.loads(line) async for line in world.hub.audit.export()]
        disclosed = [r for r in rows if r["subtype"][0]["code"] == "disclose"]
        assert [f"Patient/{person}" in str(r["entity"]) for r in disclosed] == [True]
        await world.tell(arrival("BETA", "B1", event="A08"))
        await world.settled()
        assert len(listener.taken) == 1, "nothing changed for it"


async def test_an_unmerge_is_told_to_whoever_was_told_of_the_merge(tmp_path, listener) -> None:
    other = MllpListener()
    await other.start()
    quiet = adt(other.port, 'domains = ["urn:oid:1.2.840.3"]')
    async with told_world(tmp_path, alpha=adt(listener.port), beta=quiet) as world:
        await world.tell(arrival("ALPHA", "A1"), arrival("BETA", "B1", **OTHER))
        kept, gone = await world.person("ALPHA", "A1"), await world.person("BETA", "B1")
        assert kept != gone
        decision = await world.merge(kept, gone)
        await listener.until(1)
        assert pid_3(listener.taken[0]) == [A1, B1]
        undone = await world.hub.stewards.undo(steward(), decision)
        await listener.until(2)
        await world.settled()
        assert pid_3(listener.taken[1]) == [A1], "the link is withdrawn by its absence"
        misled = await world.hub.stewards.corrections(steward(), undone.decision_id)
        assert [(one.interaction, one.is_mixed) for one in misled] == [("disclose", True)]
        assert not other.taken, "no domain it asked for changed"
        ids = [message.control_id for message in listener.taken]
        assert len(set(ids)) == 2
        assert all(len(one) <= 20 for one in ids)
    await other.stop()


async def test_a_merge_taken_back_before_it_was_told_is_never_told(tmp_path) -> None:
    late = MllpListener()
    async with told_world(tmp_path, alpha=adt(late.port, "merges = true")) as world:
        await world.tell(arrival("ALPHA", "A1"), arrival("BETA", "B1", **OTHER))
        kept, gone = await world.person("ALPHA", "A1"), await world.person("BETA", "B1")
        decision = await world.merge(gone, kept)
        await asyncio.sleep(0.2)  # it is tried, and nobody is there
        await world.hub.stewards.undo(steward(), decision)
        await late.start()
        await world.settled()
        assert not late.taken
        found = await world.hub.telling.book.listed(tuple(State), "", 10)
        assert {one.state for one in found} == {State.NO_NEWS}
    await late.stop()


async def test_what_a_receiver_may_not_see_is_no_news_to_it(tmp_path, listener) -> None:
    async with told_world(tmp_path, alpha=adt(listener.port, "merges = true")) as world:
        await world.tell(arrival("ALPHA", "A1"), arrival("BETA", "B1", **OTHER))
        record = await world.record("BETA", "B1")
        await world.token("BETA-ORG", organization="BETA", scope="system/*.cruds")
        wish = deny(
            {
                "role": actor("X")["role"],
                "reference": {
                    "type": "Organization",
                    "identifier": {"system": "urn:hie:test", "value": "ALPHA"},
                },
            }
        )
        await world.post("BETA-ORG", consent(record, wish))
        kept, gone = await world.person("ALPHA", "A1"), await world.person("BETA", "B1")
        decision = await world.merge(kept, gone)
        await world.hub.stewards.undo(steward(), decision)
        await world.settled()
        assert not listener.taken, "a hidden hospital was told of, or its time"
        found = await world.hub.telling.book.listed(tuple(State), "", 10)
        assert {one.state for one in found} == {State.NO_NEWS}
        rows = [json.loads(line) async for line in world.hub.audit.export()]
        assert not [r for r in rows if r["subtype"][0]["code"] == "disclose"]


async def test_who_asks_for_merges_hears_of_the_hubs_ids_and_of_their_end(
    tmp_path, listener
) -> None:
    more = "identifiers = false\nmerges = true"
    async with told_world(tmp_path, alpha=adt(listener.port, more)) as world:
        await world.tell(arrival("ALPHA", "A1"), arrival("BETA", "B1", **OTHER))
        gone, kept = await world.person("ALPHA", "A1"), await world.person("BETA", "B1")
        decision = await world.merge(kept, gone)
        await listener.until(1)
        merged = listener.taken[0]
        assert (merged.trigger, merged.get("MSH-9.3")) == ("ADT^A40", "ADT_A39")
        assert [one.value(1) for one in merged.first("PID").reps(3)] == [kept, "A1"]
        assert merged.get("MRG-1") == gone
        await world.hub.stewards.undo(steward(), decision)
        await listener.until(2)
        apart = listener.taken[1]
        assert (apart.trigger, apart.get("MSH-9.3")) == ("ADT^A37", "ADT_A37")
        first, second = apart.all("PID")
        assert [one.value(1) for one in first.reps(3)] == [gone, "A1"]
        assert second.value(3) == kept


async def test_each_receiver_is_told_in_order_however_it_answers(tmp_path, listener) -> None:
    says = iter(["AR", b"\x0brubbish\x1c\r", None, "AE", "AA", "AA"])
    listener.answer = lambda _message: next(says)
    async with told_world(tmp_path, alpha=adt(listener.port)) as world:
        await world.tell(arrival("ALPHA", "A1"), arrival("BETA", "B1", **OTHER))
        kept, gone = await world.person("ALPHA", "A1"), await world.person("BETA", "B1")
        decision = await world.merge(kept, gone)
        await listener.until(4)
        await world.settled()
        assert {message.control_id for message in listener.taken} == {listener.taken[0].control_id}
        (parked,) = await world.hub.telling.book.listed([State.PARKED], "alpha", 10)
        assert parked.reason == "the listener answered AE"
        async with world.hub.db.reading() as conn:
            tasks = await world.hub.tasks.counts(conn)
        assert tasks[("alpha", "notice", "identifiers")] == 1
        assert await world.hub.telling.book.again([parked.pk]) == 1
        await listener.until(5)
        await world.hub.stewards.undo(steward(), decision)
        await listener.until(6)
        await world.settled()
        assert [pid_3(m) for m in listener.taken[3:]] == [[A1, B1], [A1, B1], [A1]]


async def test_two_processes_tell_one_receiver_once_and_in_order(
    tmp_path, listener, postgres_url
) -> None:
    to_alpha = adt(listener.port, "merges = true")
    async with told_world(tmp_path, postgres_url, alpha=to_alpha) as world:
        other = Telling(world.hub, Metrics(), FAST)
        other.start()
        await world.tell(arrival("ALPHA", "A1"), arrival("BETA", "B1", **OTHER))
        gone, kept = await world.person("ALPHA", "A1"), await world.person("BETA", "B1")
        for _ in range(2):
            decision = await world.merge(kept, gone)
            await world.settled()
            await world.hub.stewards.undo(steward(), decision)
            await world.settled()
        await other.stop()
    told = [one for one in listener.taken if one.trigger == "ADT^A31"]
    assert [len(pid_3(one)) for one in told] == [2, 1, 2, 1]
    ids = [one.trigger for one in listener.taken if one.trigger != "ADT^A31"]
    assert ids == ["ADT^A40", "ADT^A37"] * 2


async def test_a_receiver_that_answers_nothing_holds_up_nobody_else(tmp_path, listener) -> None:
    slow = MllpListener()
    slow.answer = lambda _message: b""
    await slow.start()
    async with told_world(tmp_path, alpha=adt(slow.port), beta=adt(listener.port)) as world:
        await world.tell(arrival("ALPHA", "A1"), arrival("BETA", "B1"))
        await listener.until(1)
        await slow.until(1)
        assert pid_3(listener.taken[0]) == [B1, A1]
        async with asyncio.timeout(90):
            while await world.hub.telling.book.listed([State.WAITING], "beta", 10):  # noqa: ASYNC110 - it settles after its answer
                await asyncio.sleep(0.02)
        assert len(await world.hub.telling.book.listed([State.WAITING], "alpha", 10)) == 1
    await slow.stop()


async def test_what_was_not_answered_before_a_crash_is_sent_again_as_the_same(tmp_path) -> None:
    listener = MllpListener()
    listener.answer = lambda _message: b""  # it has it, and the hub will never know
    await listener.start()
    notify = {"alpha": adt(listener.port)}
    async with told_world(tmp_path, **notify) as world:
        await world.tell(arrival("ALPHA", "A1"), arrival("BETA", "B1"))
        await listener.until(1)
        # Leaving the block cancels the delivery between its first byte and its answer.
    listener.answer = lambda _message: "AA"
    async with told_world(tmp_path, **notify) as world:
        await listener.until(2)
        await world.settled()
        first, again = listener.taken
        assert first.control_id == again.control_id
        assert pid_3(first) == pid_3(again) == [A1, B1]
    await listener.stop()


async def test_a_receiver_that_left_is_a_task_for_staff(tmp_path, listener, capsys) -> None:
    async with told_world(tmp_path, alpha=adt(listener.port)) as world:
        await world.tell(arrival("ALPHA", "A1"), arrival("BETA", "B1", **OTHER))
        kept, gone = await world.person("ALPHA", "A1"), await world.person("BETA", "B1")
        decision = await world.merge(kept, gone)
        await listener.until(1)
        await world.settled()
    async with told_world(tmp_path) as world:
        await world.hub.stewards.undo(steward(), decision)
        await world.settled()
        (parked,) = await world.hub.telling.book.listed([State.PARKED], "", 10)
        assert "names no way" in parked.reason
        asked = {"source": "", "all": False, "limit": 10}
        settings = world.hub.settings
        assert await notices(settings, Namespace(again=None, **asked)) == 0
        listed = capsys.readouterr().out
        assert f"{parked.pk}  " in listed
        assert "alpha  identifiers  parked  attempts 1  its file names no way" in listed
        assert await notices(settings, Namespace(again=[], **asked)) == 2
        assert await notices(settings, Namespace(again=[parked.pk], **asked)) == 0
        assert "1 tried again" in capsys.readouterr().out
        await world.settled()
        figures = world.metrics.render()
        assert 'hie_notices_total{source="alpha",channel="identifiers",outcome="parked"}' in figures


async def test_notices_travel_over_tls_to_a_listener_that_proves_itself(tmp_path) -> None:
    authority = Authority(tmp_path)
    issued = authority.issue("localhost")
    listener = MllpListener()
    await listener.start(
        server_context(TlsSettings(certificate=issued.certificate, private_key=issued.private_key))
    )
    trusted = f'tls = true\nauthorities = "{authority.certificate}"\nserver_name = "localhost"'
    async with told_world(tmp_path, alpha=adt(listener.port, trusted)) as world:
        await world.tell(arrival("ALPHA", "A1"), arrival("BETA", "B1"))
        await listener.until(1)
        assert pid_3(listener.taken[0]) == [A1, B1]
    await listener.stop()


async def test_a_number_its_source_retires_is_told_to_whoever_knew_it(tmp_path, listener) -> None:
    async with told_world(tmp_path, beta=adt(listener.port)) as world:
        await world.tell(arrival("ALPHA", "A1"), arrival("BETA", "B1"))
        await listener.until(1)
        assert pid_3(listener.taken[0]) == [B1, A1]
        await world.tell(arrival("ALPHA", "A2"))
        evn = "EVN|A40|20260102120000"
        pid = "PID|1||A2^^^ALPHA^MR||QUILL^HORTENSIA||19510412|F"
        await world.tell(message("ADT^A40^ADT_A39", "M1", "ALPHA", evn, pid, "MRG|A1^^^ALPHA^MR"))
        await listener.until(2)
        await world.settled()
        assert pid_3(listener.taken[-1]) == [B1, A1.replace("A1^", "A2^", 1)]


class Hook:
    """A receiver's web server."""

    def __init__(self) -> None:
        self.port = free_port()
        self.taken: list[tuple[dict[str, str], bytes]] = []
        self.statuses = [503, 200]

    async def handle(self, request: web.Request) -> web.Response:
        self.taken.append((dict(request.headers), await request.read()))
        return web.Response(status=self.statuses.pop(0) if self.statuses else 200)


async def test_a_webhook_is_signed_and_tells_ids_alone(tmp_path) -> None:
    hook, secret = Hook(), tmp_path / "secret"
    secret.write_bytes(b"k" * 32)
    secret.chmod(0o600)
    app = web.Application()
    app.router.add_post("/told", hook.handle)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", hook.port).start()
    url = f'url = "http://127.0.0.1:{hook.port}/told"\nsecret_file = "{secret}"'
    async with told_world(tmp_path, alpha=f"\n[notify.webhook]\n{url}\n") as world:
        await world.tell(arrival("ALPHA", "A1"), arrival("BETA", "B1", **OTHER))
        gone, kept = await world.person("ALPHA", "A1"), await world.person("BETA", "B1")
        await world.merge(kept, gone)
        await world.settled()
        assert len(hook.taken) == 2, "what the server could not take was not sent again"
        (first, body), (again, same) = hook.taken
        told = json.loads(body)
        assert (told["kind"], told["person"], told["before"]) == (
            "merged", f"Patient/{kept}", f"Patient/{gone}"
        )  # fmt: skip
        assert set(told) == {"id", "kind", "at", "person", "before"}
        assert body == same
        assert first["X-HIE-Event"] == again["X-HIE-Event"] == told["id"]
        signed = hmac.new(
            b"k" * 32, again["X-HIE-Timestamp"].encode() + b"." + same, hashlib.sha256
        )
        assert again["X-HIE-Signature"] == f"sha256={signed.hexdigest()}"
        assert b"QUILL" not in body
        assert b"A1" not in body
    await runner.cleanup()


@pytest.mark.skipif(not os.environ.get("HIE_TEST_LONG"), reason="starts a hub twice: test-long")
async def test_a_kill_loses_no_notice_and_repeats_none_as_another(tmp_path) -> None:
    listener = MllpListener()
    listener.answer = lambda _message: b""  # it has it, and the hub will never know
    await listener.start()
    config = tmp_path / "config"
    shutil.copytree(ROOT / "config", config)
    for number, (who, notify) in enumerate((("ALPHA", adt(listener.port)), ("BETA", "")), start=1):
        content = SOURCE.format(who=who, number=number) + notify
        (config / "sources" / f"{who.lower()}.toml").write_text(content)
    home = tmp_path / "home"
    hub = HubProcess(home, HIE_CONFIG=str(config), HIE_REGIME="hipaa-treatment")
    other = {"name": OTHER["name"], "born": OTHER["born"], "more": OTHER["more"]}
    try:
        await asyncio.to_thread(hub.start)
        answers: list[bytes] = []
        await exchange(hub.mllp_port, [arrival("ALPHA", "A1"), arrival("BETA", "B1")], answers)
        await listener.until(1)
        late = [arrival(who, number, ssn="900112233", **other)
                for who, number in (("ALPHA", "A2"), ("BETA", "B2"))]  # fmt: skip
        await exchange(hub.mllp_port, late, answers)
        await asyncio.to_thread(hub.kill)
        assert len(answers) == 4
        listener.answer = lambda _message: "AA"
        await asyncio.to_thread(hub.start)
        await listener.until(3)
    finally:
        await asyncio.to_thread(hub.kill)
        await listener.stop()
    first, again, second = listener.taken
    assert first.control_id == again.control_id != second.control_id
    assert pid_3(first) == pid_3(again) == [A1, B1]
    assert [one.partition("^")[0] for one in pid_3(second)] == ["A2", "B2"]
