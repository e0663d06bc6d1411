"""Who may see in whose place, on a running hub: parents, guardians, agents, proxies."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from hie.auth.standing import Standing
from hie.consents.content import SUPERSEDES
from hie.flow.decisions import Merge, Steward
from hie.kernel.clock import micros
from hie.kernel.errors import Category, HieError
from hie.kernel.ids import PersonId
from tests.conftest import SteppedClock
from tests.support.asked_hub import (
    CONFIDENTIALITY,
    Fhir,
    World,
    actor,
    consent,
    deny,
    observation,
    patient,
    permit,
)
from tests.support.subscribers import said, subscription

CHLAMYDIA = "21190-4"
LAB = "http://terminology.hl7.org/CodeSystem/observation-category"
LABORATORY = [{"coding": [{"system": LAB, "code": "laboratory"}]}]
GONORRHEA = {"system": "http://hl7.org/fhir/sid/icd-10-cm", "code": "A54.9"}


class Family(World):
    """A hub, a child and two parents, and the desk where papers are filed."""

    def __init__(self, home: Path) -> None:
        self.now = SteppedClock()
        super().__init__(home, clock=self.now)
        self.keys = 0
        #: The persons of records.
        self.ids: dict[str, str] = {}

    async def person(self, name: str, born: str, **more: Any) -> str:
        """Somebody whom ALPHA knows; the record's id."""
        body = patient(name, "alpha", identifier=[{"system": "urn:alpha", "value": name}])
        body |= {"name": [{"family": "Quinlan", "given": [name]}], "birthDate": born, **more}
        record = await self.post("ALPHA", body)
        self.ids[name] = await self.person_of("ALPHA", record)
        return record

    async def staff(self, role: str, method: str, path: str, body: Fhir | None = None, **h: str):
        """Status and body of one request of the privacy office."""
        who = f"staff/privacy.{role}"
        if who not in self.tokens:
            await self.token(who, scope=who, user=f"{role}-ruiz", purpose="HOPERAT")
        self.keys += 1
        headers = {"Idempotency-Key": f"family-{self.keys:06}", **h}
        base = self.base.removesuffix("fhir/")
        async with self.http.request(
            method,
            f"{base}staff/v1/privacy/{path}",
            json=body,
            headers={"Authorization": f"Bearer {self.tokens[who]}", **headers},
        ) as got:
            return got.status, json.loads(await got.read())

    async def related(self, child: str, parent: str, **more: Any) -> str:
        """A relationship filed by a clerk, with a token of the parent's by its name."""
        body = {"person": self.ids[child], "proxy": self.ids[parent], "name": parent, **more}
        status, made = await self.staff("clerk", "POST", "proxies", {"kind": "parent", **body})
        assert status == 201, made
        await self.token(parent, **self.terms(child, made["id"]))
        return str(made["id"])

    def terms(self, child: str, relationship: str) -> Fhir:
        """Of a token that opens a child's record by a relationship."""
        user = f"RelatedPerson/{relationship}"
        return {"scope": "patient/*.cruds", "patient": self.ids[child], "user": user}

    async def changed(self, relationship: str, change: str, **more: Any) -> Fhir:
        """What an officer did."""
        status, told = await self.tried(relationship, change, **more)
        assert status == 200, told
        return told

    async def outgrown(self, relationship: str, change: str, **more: Any) -> None:
        """An officer is refused a change, and told why and what to record instead."""
        status, refused = await self.tried(relationship, change, **more)
        assert status == 422, (change, more, refused)
        for said_so in ("is of age", "only be ended or stopped", "$appoint", "`agent`"):
            assert said_so in json.dumps(refused), refused

    async def tried(self, relationship: str, change: str, **more: Any) -> tuple[int, Fhir]:
        """What came of an officer's wish."""
        _, seen = await self.staff("officer", "GET", f"proxies/{relationship}")
        headers = {} if change == "stop" else {"If-Match": f'"{seen["version"]}"'}
        path = f"proxies/{relationship}/{change}"
        body = {"reason": "order of the court", **more}
        status, told = await self.staff("officer", "POST", path, body, **headers)
        return status, told

    async def events(self, who: str, address: str) -> tuple[list[int], list[str]]:
        """Numbers and resources of what a subscription told, once there is any."""
        async with asyncio.timeout(60):
            while True:
                told = said(await self.get(who, f"{address}/$events"))
                if told["events"]:
                    return told["events"], told["focus"]
                await asyncio.sleep(0.02)

    async def until(self, at_us: int) -> None:
        """Move on; who works here signs in again."""
        self.now.step(us=at_us - self.now.now_us())
        self.tokens = {name: each for name, each in self.tokens.items() if "staff" not in name}
        await self.token("ALPHA", organization="ALPHA")

    async def types(self, who: str, child: str) -> list[str]:
        """What of a child's record somebody sees, as types."""
        bundle = await self.get(who, f"Patient/{self.ids[child]}/$everything")
        return sorted(entry["resource"]["resourceType"] for entry in bundle["entry"])


def midnight(written: str) -> int:
    """When a winter's day begins in Boston."""
    return micros(datetime.fromisoformat(written).replace(hour=5, tzinfo=UTC))


@pytest.fixture
async def family(tmp_path: Path) -> AsyncIterator[Family]:
    async with Family(tmp_path) as world:
        yield world


async def test_a_minor_s_own_care_is_hidden_from_the_parent(family: Family):
    """Noah is nine. He was treated for an infection that the law lets him consent to alone."""
    record = await family.person("Noah", "2016-05-17")
    await family.person("Nora", "1981-03-08")
    subject = {"subject": {"reference": f"Patient/{record}"}}
    seen = await family.post("ALPHA", observation(record))
    infection = {"resourceType": "Condition", "code": {"coding": [GONORRHEA]}, **subject}
    hidden = await family.post("ALPHA", infection)

    # His mother is on file, and sees his record but for that.
    mother = await family.related("Noah", "Nora", custody="joint")
    assert await family.types("Nora", "Noah") == ["Observation", "Patient", "RelatedPerson"]
    assert await family.status("Nora", f"Observation/{seen}") == 200
    for path in (f"Condition/{hidden}", f"Condition/{hidden}/_history", "Condition/nothing"):
        assert await family.status("Nora", path) == 404
    count = await family.get("Nora", "Condition?_summary=count")
    assert count["total"] == 0

    # The office may count what she would see, and reads none of it.
    status, counted = await family.staff("clerk", "POST", f"proxies/{mother}/preview", {})
    assert status == 200
    assert counted["types"] == {"Observation": 1, "Patient": 1, "RelatedPerson": 1}
    assert (await family.staff("read", "POST", f"proxies/{mother}/preview", {}))[0] == 403
    assert (await family.staff("clerk", "POST", f"proxies/{mother}/stop", {"reason": "x"}))[
        0
    ] == 403

    # Of what is new she is told what she may see, numbered as if there were nothing else.
    wish = subscription("observation-available", content="id-only")
    status, _, told = await family.ask("Nora", "POST", "Subscription", wish)
    assert status == 201, told
    address = f"Subscription/{json.loads(told)['id']}"
    await family.post("ALPHA", observation(record, CHLAMYDIA, category=LABORATORY))
    news = await family.post("ALPHA", observation(record, category=LABORATORY))
    assert await family.events("Nora", address) == ([1], [f"{family.base}Observation/{news}"])
    # It is hers, not his: each is told of their own.
    await family.token("Noah", scope="patient/*.cruds", patient=family.ids["Noah"])
    assert await family.status("Noah", address) == 404

    # He sees it himself.
    assert await family.status("Noah", f"Condition/{hidden}") == 200

    # Of a visit he says: hide it. What belongs to it is hidden too, also what comes later.
    stay: Fhir = {"resourceType": "Encounter", "status": "finished", "class": {"code": "AMB"}}
    visit = await family.post("ALPHA", {**stay, **subject})
    at_visit: Fhir = {"encounter": {"reference": f"Encounter/{visit}"}}
    early = await family.post("ALPHA", observation(record, **at_visit))
    assert await family.status("Nora", f"Encounter/{visit}") == 200
    refused = await family.ask("Nora", "POST", f"Encounter/{visit}/$hide-from-proxies")
    assert refused[0] == 403
    done = await family.ask("Noah", "POST", f"Encounter/{visit}/$hide-from-proxies")
    assert done[0] == 200, done
    late = await family.post("ALPHA", observation(record, **at_visit))
    for path in (f"Encounter/{visit}", f"Observation/{early}", f"Observation/{late}"):
        assert await family.status("Nora", path) == 404, path
        assert await family.status("Noah", path) == 200, path


async def test_a_parent_takes_back_no_denial_of_the_child_s_by_another_consent(family: Family):
    """Leo is seven, and BETA is to see nothing; his mother would rather have it otherwise."""
    record = await family.person("Leo", "2019-01-01")
    await family.person("Nora", "1981-03-08")
    await family.post("ALPHA", observation(record))
    await family.related("Leo", "Nora")
    leo = family.ids["Leo"]
    await family.token("Leo", scope="patient/*.cruds", patient=leo)
    denial = await family.post("Leo", consent(leo, deny(actor("BETA")), is_verified=False))
    normal = [{"system": CONFIDENTIALITY, "code": "N"}]
    wish = consent(leo, permit("BETA", securityLabel=normal), is_verified=False)
    place = {"url": SUPERSEDES, "valueReference": {"reference": f"Consent/{denial}"}}
    assert (await family.ask("Nora", "PUT", f"Consent/{denial}", wish))[0] == 403
    taken = await family.ask("Nora", "POST", "Consent", wish | {"extension": [place]})
    assert taken[0] == 403, taken
    assert (await family.get("Leo", f"Consent/{denial}"))["status"] == "active"
    await family.post("Nora", wish)


async def test_a_preview_counts_nothing_that_a_parent_may_not_read(family: Family):
    """Ada is fourteen: her mother sees vaccines and appointments, and counts no results."""
    record = await family.person("Ada", "2012-01-01")
    await family.person("Nora", "1981-03-08")
    await family.post("ALPHA", observation(record))
    await family.related("Ada", "Nora")
    ada = family.ids["Ada"]
    await family.token("Ada", scope="patient/*.cruds", patient=ada)
    await family.token("app", scope="patient/Patient.r", patient=ada)
    asks = parameters(recipient="ALPHA")
    told = {}
    for who in ("Ada", "Nora", "app"):
        answer = await family.ask(who, "POST", f"Patient/{ada}/$consent-preview", asks)
        assert answer[0] == 200, answer
        told[who] = answer[2]
    assert b"Observation" in told["Ada"]
    assert b"Observation" not in told["Nora"]
    assert b"Observation" not in told["app"]


async def test_a_relationship_holds_as_long_as_its_reasons_do(family: Family):
    """Stopped, restored, ended; the children grow up, and one of them is taken for another."""
    record = await family.person("Ada", "2013-02-03")
    await family.person("Nora", "1981-03-08")
    vaccine = {"coding": [{"system": "http://hl7.org/fhir/sid/cvx", "code": "141"}]}
    shot: Fhir = {"status": "completed", "occurrenceDateTime": "2025-10-01"}
    shot |= {"patient": {"reference": f"Patient/{record}"}, "vaccineCode": vaccine}
    await family.post("ALPHA", {"resourceType": "Immunization", **shot})
    result = await family.post("ALPHA", observation(record))
    mother = await family.related("Ada", "Nora")
    patient_path = f"Patient/{family.ids['Ada']}"

    # Both are told how it stands; nobody else is.
    await family.token("herself", scope="patient/*.cruds", patient=family.ids["Nora"])
    acting = await family.get("herself", f"Patient/{family.ids['Nora']}/$acting-for")
    parts = {part["name"]: part for part in acting["parameter"][0]["part"]}
    assert parts["opens"]["valueBoolean"] is True
    assert parts["band"]["valueCode"] == "child"
    assert parts["relatedPerson"]["resource"]["patient"] == {"reference": patient_path}
    assert (await family.get("Nora", f"{patient_path}/$proxies"))["parameter"]
    for who in ("Nora", "ALPHA"):
        assert await family.status(who, f"{patient_path}/$acting-for") == 404

    # A stop holds from the next request of every session, and for what outlives a request.
    caller = await family.hub.tokens.check(family.tokens["Nora"])
    rights = Standing(family.hub.db, family.hub.directory, family.now, family.hub.stand_ins)
    held = await rights.now(caller)
    assert held is not None
    assert held.withheld_mask == caller.withheld_mask != 0
    await family.changed(mother, "stop")
    assert await rights.now(caller) is None
    assert await family.hub.tokens.standing(caller.token_id) is None
    assert (await family.ask("Nora", "GET", patient_path))[0] == 401
    assert (await family.get("herself", f"Patient/{family.ids['Nora']}/$acting-for"))["parameter"]
    with pytest.raises(HieError) as refused:
        await family.hub.issue_token(**family.terms("Ada", mother))
    assert refused.value.category is Category.FORBIDDEN
    await family.changed(mother, "restore")
    assert (await family.ask("Nora", "GET", patient_path))[0] == 401, "that session is over"
    await family.token("Nora", **family.terms("Ada", mother))

    # Thirteen: limited from midnight in Boston on, without any job.
    await family.until(midnight("2026-02-03") - 1)
    await family.token("Nora", **family.terms("Ada", mother))
    assert await family.status("Nora", f"Observation/{result}") == 200
    family.now.step(us=1)
    assert await family.types("Nora", "Ada") == ["Immunization", "Patient", "RelatedPerson"]
    assert await family.status("Nora", f"Observation/{result}") == 403
    for path in ("Patient?_has:Observation:patient:status=final", "Observation?_summary=count"):
        assert await family.status("Nora", path) == 403, path
    assert await family.hub.proxying.birthdays.tell() == 1
    assert await family.hub.proxying.birthdays.tell() == 0

    # Merged with somebody else's record: nothing, until somebody looks, or it is taken back.
    await family.person("Zoe", "2013-02-03", gender="male")
    await family.token("Nora", **family.terms("Ada", mother))
    steward = Steward(name="kim")
    kept, gone = PersonId(family.ids["Ada"]), PersonId(family.ids["Zoe"])
    merged = await family.hub.stewards.decide(steward, Merge(kept=kept, gone=gone))
    assert (await family.ask("Nora", "GET", patient_path))[0] == 401
    _, seen = await family.staff("read", "GET", f"proxies/{mother}")
    assert seen["opens"] is None
    assert "look at who they are" in seen["why_not"]
    undone = await family.hub.stewards.undo(steward, merged.decision_id)
    await family.token("Nora", **family.terms("Ada", mother))
    assert await family.status("Nora", patient_path) == 200
    await family.hub.stewards.undo(steward, undone.decision_id)
    assert (await family.changed(mother, "review"))["opens"]["band"] == "teen"
    await family.token("Nora", **family.terms("Ada", mother))
    assert await family.status("Nora", patient_path) == 200

    # Eighteen: over, between two requests of one session.
    await family.until(midnight("2031-02-03") - 1)
    await family.token("Nora", **family.terms("Ada", mother))
    assert await family.status("Nora", patient_path) == 200
    family.now.step(us=1)
    assert (await family.ask("Nora", "GET", patient_path))[0] == 401
    _, shown = await family.staff("read", "GET", f"persons/{family.ids['Ada']}/proxies")
    assert [one["why_not"] for one in shown["relationships"]] == ["the patient is of age"]


async def test_of_a_relationship_that_was_outgrown_only_its_end_is_taken(family: Family):
    """Nor is that taken back: it would open nothing, and what to record instead is said."""
    await family.person("Ada", "2013-02-03")
    await family.person("Nora", "1981-03-08")
    mother = await family.related("Ada", "Nora")
    await family.changed(mother, "amend", custody="joint")
    await family.until(midnight("2031-02-03"))
    later = {"to": "2040-01-01T05:00:00Z"}
    for change, more in (("amend", {"custody": "sole"}), ("amend", later), ("review", {})):
        await family.outgrown(mother, change, **more)
    await family.changed(mother, "stop")
    await family.outgrown(mother, "restore")
    assert (await family.changed(mother, "amend", custody="ended"))["custody"] == "ended"
    # Of a period that is over it is history, which may be put right.
    assert (await family.changed(mother, "amend", to="2030-01-01T05:00:00Z"))["to"]
    await family.outgrown(mother, "amend", **later)
    await family.changed(mother, "end")
    _, seen = await family.staff("read", "GET", f"proxies/{mother}")
    done = [each["action"] for each in seen["history"]]
    assert done[-4:] == ["stop", "amend", "amend", "end"], "what was refused changed nothing"


async def _no_parent_of_an_adult(family: Family) -> None:
    """The desk takes none: it would open nothing. What was over once is history."""
    filed = {"person": family.ids["Ida"], "proxy": family.ids["Rose"], "name": "Rose"}
    status, refused = await family.staff(
        "clerk", "POST", "proxies", {"kind": "parent", "scope": "everything", **filed}
    )
    assert status == 422, refused
    for said_so in ("of age", "Massachusetts: ends at 18 years", "$appoint", "`agent`"):
        assert said_so in json.dumps(refused), refused
    history = {"kind": "parent", "to": "1997-09-09T04:00:00Z", **filed}
    status, over = await family.staff("clerk", "POST", "proxies", history)
    assert status == 201, over


async def test_adults_appoint_and_either_side_ends_it(family: Family):
    """Rose appoints Ida, by a word; Ida sees appointments alone. Attackers try the other ways."""
    record = await family.person("Rose", "1950-05-17")
    await family.person("Ida", "1979-09-09", gender="male")
    await family.person("Kit", "2010-09-09")
    soon: Fhir = {
        "status": "booked",
        "start": "2026-03-02T10:00:00Z",
        "end": "2026-03-02T11:00:00Z",
    }
    who = [{"actor": {"reference": f"Patient/{record}"}, "status": "accepted"}]
    await family.post("ALPHA", {"resourceType": "Appointment", **soon, "participant": who})
    await family.post("ALPHA", observation(record))
    for name in ("Rose", "Ida", "Kit"):
        await family.token(name, scope="patient/*.cruds", patient=family.ids[name])

    appoint = parameters(name="Ida Oak", scope="appointments")
    status, _, told = await family.ask("Rose", "POST", "RelatedPerson/$appoint", appoint)
    assert status == 201, told
    made = {part["name"]: part for part in json.loads(told)["parameter"]}
    relationship, word = made["relatedPerson"]["resource"]["id"], made["word"]["valueString"]
    address = f"RelatedPerson/{relationship}"

    # Neither a minor nor an organisation appoints; no word in an address; no scope that is none.
    for who_asks, body, expected in (
        ("Kit", appoint, 403),
        ("ALPHA", appoint, 403),
        ("Rose", parameters(name="Ida", scope="all"), 400),
        ("Rose", parameters(scope="appointments"), 400),
        ("Rose", parameters(name="Ida", label="NONE"), 400),
    ):
        answer = await family.ask(who_asks, "POST", "RelatedPerson/$appoint", body)
        assert answer[0] == expected, answer
    said = await family.ask("Rose", "POST", "RelatedPerson/$appoint?name=Ida", parameters())
    assert said[0] == 400

    await _no_parent_of_an_adult(family)

    # Nothing is open before it is accepted, by another word, or by herself.
    with pytest.raises(HieError):
        await family.hub.issue_token(**family.terms("Rose", relationship))
    right, wrong = parameters(word=word), parameters(word="0" * 20)
    tried: list[tuple[str, Fhir | None, str]] = [
        ("Ida", wrong, f"{address}/$accept"),
        ("Rose", right, f"{address}/$accept"),
        ("Ida", right, "RelatedPerson/nobody/$accept"),
        ("Kit", None, f"{address}/$end"),
    ]
    for who_asks, sent, path in tried:
        assert (await family.ask(who_asks, "POST", path, sent))[0] == 404, path
    assert (await family.ask("Ida", "POST", f"{address}/$accept", right))[0] == 200
    assert (await family.ask("Ida", "POST", f"{address}/$accept", right))[0] == 404, "once"

    await family.token("for Rose", **family.terms("Rose", relationship))
    assert await family.types("for Rose", "Rose") == ["Appointment", "Patient", "RelatedPerson"]
    others: list[tuple[str, str, Fhir | None]] = [
        ("GET", "Observation", None),
        ("POST", "Consent", {"resourceType": "Consent"}),
        ("POST", "RelatedPerson/$appoint", appoint),
        ("GET", f"Patient/{family.ids['Ida']}", None),
        ("GET", f"Patient/{family.ids['Kit']}", None),
        ("GET", f"Patient/{family.ids['Rose']}/$acting-for", None),
        ("POST", f"Appointment/{relationship}/$hide-from-proxies", None),
    ]
    for method, path, sent in others:
        assert (await family.ask("for Rose", method, path, sent))[0] in (403, 404), path

    # In another's place nobody has an organisation's feeds, nor an emergency.
    terms = {**family.terms("Rose", relationship), "organization": "ALPHA"}
    await family.token("both", **terms)
    for path in ("Observation", f"Patient/{family.ids['Kit']}"):
        assert await family.status("both", path) in (403, 404), path
    with pytest.raises(HieError):
        await family.hub.issue_token(**{**terms, "purpose": "BTG"})

    # A token for another's record by that relationship, for staff, or for nobody: refused.
    with pytest.raises(HieError):
        await family.hub.issue_token(**family.terms("Kit", relationship))
    with pytest.raises(HieError):
        await family.hub.issue_token(**{**family.terms("Rose", relationship), "patient": ""})

    acting = await family.get("Ida", f"Patient/{family.ids['Ida']}/$acting-for")
    assert len(acting["parameter"]) == 1
    assert (await family.ask("Rose", "POST", f"{address}/$end"))[0] == 200
    for name in ("for Rose", "both"):
        assert (await family.ask(name, "GET", "Appointment"))[0] == 401
    assert (await family.get("Rose", address))["active"] is False
    _, shown = await family.staff("read", "GET", f"proxies/{relationship}")
    assert [one["action"] for one in shown["history"]] == ["record", "accept", "end"]

    # An agent needs the paper; the scan stays what it was.
    agent: Fhir = {"person": family.ids["Rose"], "proxy": family.ids["Ida"], "name": "Ida Oak"}
    agent |= {"kind": "agent", "labels": ["HIV"]}
    assert (await family.staff("clerk", "POST", "proxies", agent))[0] == 400
    paper = {"title": "Health care proxy", "reference": "HCP-7", "content": "aGVsbG8="}
    for wrong_paper in ({**paper, "content": "%"}, {**paper, "issued": "yesterday"}):
        body = {**agent, "document": wrong_paper}
        assert (await family.staff("clerk", "POST", "proxies", body))[0] == 400
    status, filed = await family.staff("clerk", "POST", "proxies", {**agent, "document": paper})
    assert status == 201, filed
    assert filed["opens"] == {"band": None, "types": None, "may_record": []}
    again = await family.staff("clerk", "POST", "proxies", {**agent, "document": paper})
    assert again[0] == 409, "the two stand so already"
    _, scanned = await family.staff("clerk", "GET", f"proxies/{filed['id']}/document")
    assert scanned["content"] == paper["content"]
    assert scanned["sha256"] == filed["documents"][0]["sha256"]
    ended = await family.changed(filed["id"], "amend", custody="ended")
    assert ended["why_not"] == "a court order ended the rights"


def parameters(**values: str) -> Fhir:
    told = [{"name": name, "valueString": value} for name, value in values.items()]
    return {"resourceType": "Parameters", **({"parameter": told} if told else {})}
