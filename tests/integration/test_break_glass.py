"""Breaking the glass, attacked and narrated.

A hospital's emergency department asks for somebody whom another hospital knows, under the law of
Massachusetts: nothing is shared without consent, HIV results and psychotherapy notes never.
"""

import asyncio
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import event

from hie.kernel.clock import SECOND_US
from hie.kernel.errors import HieError
from hie.tasks.model import TaskFilter, TaskKind
from tests.conftest import START_US
from tests.support import asked_hub as told
from tests.support.made_once import with_tables
from tests.support.staff_api import Console

HOUR_US = 3600 * SECOND_US
BGH, SAMC = "urn:oid:2.16.840.1.113883.19.100.1", "https://saint-aurelia.example/mrn"
REASONS = "urn:hie:emergency-reason"
ASK = "user/*.rs emergency/access.ask"
URGENT: dict[str, Any] = {
    "scope": ASK,
    "organization": "saint-aurelia",
    "purpose": "BTG",
    "user": "dr.grey",
    "amr": ("pwd", "otp"),
    "ttl_seconds": 24 * 3600,
}
HORTENSIA = {
    "resourceType": "Patient",
    "identifier": [{"system": BGH, "value": "B1"}],
    "name": [{"family": "Quillfeather", "given": ["Hortensia"]}],
    "gender": "female",
    "birthDate": "1951-04-12",
}


class Clock:
    """Stands still until moved."""

    def __init__(self) -> None:
        self.us = START_US

    def now_us(self) -> int:
        return self.us


class Ward(told.World):
    """Bayside knows Hortensia and Ike; Saint Aurelia, which asks, knows neither."""

    def __init__(self, home: Path, clock: Clock, **more: str) -> None:
        super().__init__(home, config=None, clock=clock, tag=None, **more)
        self.time = clock
        self.ids: dict[str, str] = {}

    async def fill(self) -> None:
        await self.token("BAYSIDE", organization="bayside-general")
        await self.token("TREAT", organization="saint-aurelia", user="dr.grey")
        await self.token("GREY", **URGENT)
        record = await self.post("BAYSIDE", told.patient("B1", BGH.removeprefix("urn:")))
        other = await self.post("BAYSIDE", told.zebulon("B2", BGH.removeprefix("urn:")))
        self.ids |= {"record": record, "other record": other}
        self.ids["person"] = await self.person_of("BAYSIDE", record)
        self.ids["other"] = await self.person_of("BAYSIDE", other)
        for name, made in (
            ("glucose", told.observation(record)),
            ("hiv", told.observation(record, told.HIV_RNA)),
            ("notes", labelled(told.observation(record), "PSYTHPN")),
            ("part2", labelled(told.observation(record), "42CFRPart2")),
            ("ike's", told.observation(other)),
        ):
            self.ids[name] = await self.post("BAYSIDE", made)

    async def ask_for(self, who: str, patient: Any = None, **stated: Any) -> tuple[int, bytes]:
        """An existence question; `code` and `text` are the reason."""
        parameters: list[Any] = [{"name": "resource", "resource": patient or HORTENSIA}]
        if stated:
            coding = {"system": REASONS, "code": stated["code"]}
            concept = {"coding": [coding], "text": stated.get("text", "")}
            parameters.append({"name": "reason", "valueCodeableConcept": concept})
        body = {"resourceType": "Parameters", "parameter": parameters}
        status, _, answer = await self.ask(who, "POST", "Patient/$match", body)
        return status, answer

    async def open(self, who: str, person: str = "") -> tuple[int, bytes]:
        path = f"Patient/{person or self.ids['person']}/$break-glass"
        status, _, answer = await self.ask(who, "POST", path, {"resourceType": "Parameters"})
        return status, answer

    async def break_glass(self, who: str = "GREY", code: str = "unresponsive") -> None:
        assert (await self.ask_for(who, code=code, text="found on the road"))[0] == 200
        status, body = await self.open(who)
        assert status == 200, body

    async def sees(self, who: str) -> dict[str, int]:
        """Status of a read of everything there is."""
        names = ("glucose", "hiv", "notes", "part2", "ike's")
        return {n: await self.status(who, f"Observation/{self.ids[n]}") for n in names}

    async def rows(self) -> int:
        """Audit rows so far."""
        count = 0
        async for _ in self.hub.audit.export():
            count += 1
        return count


def labelled(resource: Any, code: str) -> Any:
    return resource | {"meta": {"security": [{"system": told.ACT_CODE, "code": code}]}}


@contextmanager
def statements(ward: Ward) -> Iterator[list[str]]:
    """The statements of requests meanwhile, jobs of the hub left aside; keys may be remembered."""
    found: list[str] = []

    def note(_conn: Any, _cursor: Any, statement: str, *_: Any) -> None:
        task = asyncio.current_task()
        is_request = task is not None and "RequestHandler" in repr(task.get_coro())
        if is_request and "FROM data_key" not in statement:
            found.append(statement)

    engines = {ward.hub.db._reader.sync_engine, ward.hub.db._writer.sync_engine}
    for engine in engines:
        event.listen(engine, "before_cursor_execute", note)
    yield found
    for engine in engines:
        event.remove(engine, "before_cursor_execute", note)


HIDDEN = {"glucose": 403, "hiv": 403, "notes": 403, "part2": 403, "ike's": 403}
OPENED = {"glucose": 200, "hiv": 404, "notes": 404, "part2": 200, "ike's": 404}


@pytest.fixture
async def ward(tmp_path: Path, database_url: str):
    if not database_url:
        await with_tables(tmp_path / "home" / "hub.db")
    async with Ward(tmp_path / "home", Clock(), HIE_DATABASE_URL=database_url) as made:
        await made.fill()
        yield made


@pytest.fixture
async def small_ward(tmp_path: Path):
    await with_tables(tmp_path / "home" / "hub.db")
    async with Ward(tmp_path / "home", Clock()) as made:
        await made.fill()
        yield made


async def test_a_glass_opens_one_person_to_one_token_for_a_time(ward: Ward):
    person = ward.ids["person"]
    # Before: nothing for the purpose alone, nothing for a reason that is none.
    assert await ward.sees("GREY") == HIDDEN
    assert json.loads((await ward.ask_for("TREAT"))[1])["total"] == 0
    assert (await ward.ask_for("GREY"))[0] == 400
    assert (await ward.ask_for("GREY", code=""))[0] == 400
    assert (await ward.ask_for("GREY", code="curious"))[0] == 400
    assert (await ward.ask_for("GREY", code="other-emergency", text="  "))[0] == 400
    assert (await ward.open("GREY"))[0] == 404, "nobody asked whether the person is known"
    # The person is known: an id and nothing more; nothing is open yet.
    status, body = await ward.ask_for("GREY", code="life-threat")
    (entry,) = json.loads(body)["entry"]
    assert status == 200
    assert entry["resource"] == {"resourceType": "Patient", "id": person}
    assert set(entry["search"]) == {"extension", "mode"}
    assert await ward.sees("GREY") == HIDDEN
    # Nobody else opens what this token was told of.
    await ward.token("SAME", **URGENT)
    await ward.token("OTHER", **URGENT | {"user": "dr.house"})
    unknown = (await ward.open("GREY", "nobody"))[1]
    for who in ("SAME", "OTHER"):
        assert await ward.open(who) == (404, unknown)
    assert (await ward.open("TREAT"))[0] == 403
    # Open: that person, as far as the law goes; and to this token.
    assert (await ward.open("GREY"))[0] == 200
    assert (await ward.open("GREY"))[0] == 200, "asked twice it stays as it is"
    assert await ward.sees("GREY") == OPENED
    assert (await ward.get("GREY", "Observation?_summary=count"))["total"] == 2
    assert (await ward.get("GREY", f"Patient/{person}"))["birthDate"] == "1951-04-12"
    assert await ward.status("GREY", f"Patient/{ward.ids['other']}") == 404
    for who in ("SAME", "OTHER"):
        assert await ward.sees(who) == HIDDEN
    assert set((await ward.sees("TREAT")).values()) == {404}
    export = await ward.ask("GREY", "GET", "$export", Prefer="respond-async")
    assert export[0] == 403
    assert (await ward.ask("GREY", "POST", "Observation", told.observation("x")))[0] == 403
    # Over, by time; and what was asked an hour ago opens nothing again.
    ward.time.us += HOUR_US
    assert await ward.sees("GREY") == HIDDEN
    assert (await ward.open("GREY"))[0] == 404
    # Over, by its user.
    await ward.break_glass()
    assert await ward.sees("GREY") == OPENED
    path = f"Patient/{person}/$end-break-glass"
    assert (await ward.ask("GREY", "POST", path, {"resourceType": "Parameters"}))[0] == 200
    assert await ward.sees("GREY") == HIDDEN
    assert (await ward.open("GREY"))[0] == 404
    await _holds_without_a_byte_of_what_is_hidden(ward)


async def _holds_without_a_byte_of_what_is_hidden(ward: Ward) -> None:
    """The answer before the glass is broken; and which consents hold when it is."""
    await ward.token("BAYSIDE", organization="bayside-general")

    async def answers() -> list[Any]:
        before = await ward.rows()
        with statements(ward) as work:
            found: list[Any] = [await ward.ask_for("GREY", code="life-threat")]
        found.append(work)
        found.append(
            await ward.ask_for(
                "GREY", told.zebulon("B2", BGH.removeprefix("urn:")), code="life-threat"
            )
        )
        return [*found, await ward.rows() - before]

    plain = await answers()
    assert any("emergency_access" in text for text in plain[1])
    record = ward.ids["record"]
    deny = {"type": "deny"}
    consent = await ward.post("BAYSIDE", told.consent(record, deny))
    await ward.post("BAYSIDE", told.observation(record, told.HIV_RNA))
    assert await answers() == plain
    permit = told.permit(purpose=[{"system": told.ACT_REASON, "code": "TREAT"}])
    await ward.put("BAYSIDE", f"Consent/{consent}", told.consent(record, permit))
    assert await answers() == plain
    # A consent for treatment is none for emergencies; a denial in general does not hold in one.
    assert await ward.sees("GREY") == HIDDEN
    await ward.put("BAYSIDE", f"Consent/{consent}", told.consent(record, deny))
    await ward.break_glass()
    assert await ward.sees("GREY") == OPENED
    # One that names the emergency does.
    named = deny | {"purpose": [{"system": told.ACT_REASON, "code": "BTG"}]}
    await ward.put("BAYSIDE", f"Consent/{consent}", told.consent(record, named))
    assert set((await ward.sees("GREY")).values()) == {404}
    assert await answers() == plain


async def test_neither_a_page_link_nor_a_merge_nor_a_stranger_opens_more(small_ward: Ward):
    ward = small_ward
    await _tells_who_may_not_why_and_not_whom(ward)
    await ward.break_glass()
    first = await ward.get("GREY", "Observation?_count=1")
    (following,) = [link["url"] for link in first["link"] if link["relation"] == "next"]
    assert await ward.status("GREY", following) == 200
    await ward.token("OTHER", **URGENT | {"user": "dr.house"})
    assert (await ward.ask_for("OTHER", code="unresponsive"))[0] == 200
    # Two humans become one while the glass is broken: it was opened to one of them.
    await ward.token("STEWARD", scope="staff/identity.steward", user="kim", purpose="HOPERAT")
    at: Any = SimpleNamespace(base=ward.base.rstrip("/"))
    merge = {"decision": "merge", "kept": ward.ids["person"], "gone": ward.ids["other"]}
    steward = Console(at, ward.http, ward.tokens["STEWARD"])
    assert (await steward.do("/mpi/decisions", merge | {"reason": "one card"})).status == 200
    assert await ward.sees("GREY") == HIDDEN
    assert await ward.status("GREY", following) == 403
    assert (await ward.open("OTHER"))[0] == 404, "it asked about one human"


async def _tells_who_may_not_why_and_not_whom(small_ward: Ward) -> None:
    stranger = HORTENSIA | {"birthDate": "1990-02-02", "identifier": [{"value": "B9"}]}
    for terms, expected in (
        ({"amr": ("pwd",)}, b"second factor"),
        ({"organization": "commonwealth-lab"}, b"no source file"),
        ({"organization": "ALPHA"}, b"no source file"),
    ):
        await small_ward.token("ASKER", **URGENT | terms)
        status, body = await small_ward.ask_for("ASKER", code="life-threat")
        assert (status, expected in body) == (403, True), terms
        for other in (stranger, {"resourceType": "Patient"}):
            asked = await small_ward.ask_for("ASKER", other, code="life-threat")
            assert asked == (status, body)
        assert (await small_ward.open("ASKER"))[0] == 403
    no_tokens: list[dict[str, Any]] = [
        *({"user": ""}, {"organization": ""}, {"purpose": "TREAT"}),
        *({"scope": "user/*.rs"}, {"scope": f"system/*.rs {ASK}"}, {"scope": f"user/*.u {ASK}"}),
    ]
    for terms in no_tokens:
        with pytest.raises(HieError):
            await small_ward.token("ASKER", **URGENT | terms)


async def test_an_emergency_its_alert_and_its_later_review(small_ward: Ward):
    ward = small_ward
    person = ward.ids["person"]
    # In the night somebody is brought in who cannot be asked. The physician breaks the glass.
    await ward.break_glass()
    await ward.get("GREY", f"Patient/{person}")
    await ward.get("GREY", f"Observation/{ward.ids['glucose']}")
    await ward.get("GREY", "Observation")
    # The privacy officer is alerted at once.
    async with ward.hub.db.reading() as conn:
        tasks = await ward.hub.tasks.listed(conn, TaskFilter(kind=TaskKind.EMERGENCY))
    (task,) = tasks
    assert (task.priority, task.detail["user"]) == (1, "dr.grey")
    assert person not in json.dumps(dict(task.detail))
    # The patient is told who, when and why, in plain words; nobody else is.
    await ward.token("PATIENT", scope="patient/*.rs", patient=person)
    address = f"Patient/{person}/$emergency-notices"
    (notice,) = [e["resource"] for e in (await ward.get("PATIENT", address))["entry"]]
    (text,) = [p["contentString"] for p in notice["payload"]]
    assert "dr.grey at Saint Aurelia Medical Center" in text
    assert "because you could not be asked" in text
    assert "found on the road" not in json.dumps(notice)
    for who in ("GREY", "BAYSIDE", "TREAT"):
        assert await ward.status(who, address) in (403, 404)
    # In the morning she looks: who, when, why, what of what kind was seen, no content.
    ward.time.us += 2 * HOUR_US
    await ward.token("OFFICER", scope="staff/privacy.officer", user="ms.ash", purpose="HOPERAT")
    await ward.token("READER", scope="staff/privacy.read", user="mr.fir", purpose="HOPERAT")
    at: Any = SimpleNamespace(base=ward.base.rstrip("/"))
    officer, reader = (Console(at, ward.http, ward.tokens[name]) for name in ("OFFICER", "READER"))
    (row,) = (await officer.get("/privacy/emergencies?reviewed=false"))["emergencies"]
    assert (row["state"], row["user"], row["factors"]) == ("ended", "dr.grey", ["pwd", "otp"])
    one = f"/privacy/emergencies/{row['id']}"
    shown = await officer.get(one)
    assert shown["words"] == "found on the road"
    assert shown["seen"] == {
        "requests": 3,
        "resources": {"Observation": 2, "Patient": 1},
        "is_cut": False,
    }
    # Not justified: nobody was brought in. The token is revoked, the privilege suspended.
    verdict = {
        "verdict": "not-justified",
        "reason": "no such visit",
        "revoke_token": True,
        "suspend_user": True,
    }
    assert (await reader.do(f"{one}/review", verdict)).status == 403
    judged = (await officer.do(f"{one}/review", verdict)).json
    assert judged["verdict"] == "not-justified"
    assert judged["suspension"]["user"] == "dr.grey"
    assert (await officer.do(f"{one}/review", verdict)).status == 409
    assert await ward.status("GREY", f"Patient/{person}") == 401
    await ward.token("AGAIN", **URGENT)
    assert (await ward.ask_for("AGAIN", code="life-threat"))[0] == 403
    async with ward.hub.db.reading() as conn:
        assert not await ward.hub.tasks.listed(conn, TaskFilter(kind=TaskKind.EMERGENCY))
    # The visit is found after all: she takes the verdict back, and the privilege is there again.
    undone = (await officer.do(f"{one}/reopen", {"reason": "filed under another name"})).json
    assert (undone["verdict"], undone["suspension"]) == (None, None)
    done = [event["action"] for event in undone["history"]]
    assert done == ["not-justified", "token-revoked", "suspended", "reopened"]
    await ward.break_glass("AGAIN")
    assert (await officer.do(f"{one}/review", verdict | {"verdict": "justified"})).status == 200
    assert await ward.sees("AGAIN") == HIDDEN, "suspended again, which ends what is open"
    (held,) = (await officer.get("/privacy/emergency-suspensions"))["suspensions"]
    lift = f"/privacy/emergency-suspensions/{held['id']}/lift"
    assert (await officer.do(lift, {"reason": "talked to"})).json["lifted_by"] == "ms.ash"
    await ward.break_glass("AGAIN")
    (row,) = (await officer.get("/privacy/emergencies?state=open"))["emergencies"]
    ended = await officer.do(f"/privacy/emergencies/{row['id']}/end", {"reason": "moved on"})
    assert ended.json["ended_by"] == "staff"
    assert await ward.sees("AGAIN") == HIDDEN
    # Where who reads the patient's mail may be the danger, the notice waits.
    await ward.token("PATIENT", scope="patient/*.rs", patient=person)
    log = f"AuditEvent?patient=Patient/{person}&_count=100"
    before = await ward.get("PATIENT", log)
    await ward.token("CAREFUL", **URGENT)
    await ward.break_glass("CAREFUL", code="abuse-suspected")
    await ward.get("CAREFUL", f"Patient/{person}")
    count = len((await ward.get("PATIENT", address))["entry"])
    told_since = json.dumps((await ward.get("PATIENT", log))["entry"][: -len(before["entry"])])
    assert "BTG" not in told_since, "the log of accesses waits, too"
    assert "found on the road" not in json.dumps(before), "that is for the privacy officer"
    ward.time.us += 72 * HOUR_US
    await ward.token("PATIENT", scope="patient/*.rs", patient=person)
    assert len((await ward.get("PATIENT", address))["entry"]) == count + 1
    assert "BTG" in json.dumps((await ward.get("PATIENT", log))["entry"][:8])
    # The chain of the trail holds, and says that an override began and ended.
    kinds = [json.loads(line)["subtype"][0]["code"] async for line in ward.hub.audit.export()]
    assert {"110127", "110128"} <= set(kinds)
