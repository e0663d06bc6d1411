"""Cases of disclosure, told as they happen, over a running hub under each of two regimes.

ALPHA is a clinic with a laboratory, BETA a hospital, GAMMA a practice where the patient is new.
Law: M.G.L. c. 111 §70F (HIV results), 42 CFR part 2 (substance use disorders), DESIGN D10.
"""

import base64
import itertools
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from hie.kernel.errors import HieError
from tests.conftest import SteppedClock
from tests.support.asked_hub import (
    ACT_CODE,
    ACT_REASON,
    GLUCOSE,
    HIV_RNA,
    Fhir,
    World,
    consent,
    observation,
    patient,
    permit,
)
from tests.support.exported import begin, complete, fetch
from tests.support.hub_process import exchange
from tests.support.queries import arrival, pdq, pix, read
from tests.support.subscribers import Hook, encounter, subscription

pytestmark = pytest.mark.asyncio(loop_scope="module")

PART2 = b"42 CFR part 2 prohibits unauthorized use or disclosure of these records."
HIV_LAW = b"State law prohibits further disclosure of HIV test results"
YEARS = 3 * 366 * 24 * 3600
ICD = "http://hl7.org/fhir/sid/icd-10-cm"


KEYS = itertools.count(1)


class Town(World):
    """A hub and the people who come to it."""

    _number = 0

    def __init__(self, home: Path, regime: str) -> None:
        self.now = SteppedClock()
        super().__init__(home, clock=self.now, HIE_REGIME=regime)

    async def admitted(self, who: str, born: str = "") -> str:
        """Somebody new whom an organisation knows."""
        await self.token(who, organization=who)
        await self.token("GAMMA", organization="GAMMA")
        Town._number += 1
        letters = chr(ord("a") + Town._number)
        name = [{"family": f"Story{letters * 4}", "given": [f"Person{letters * 3}"]}]
        number = [{"system": f"urn:{who.lower()}", "value": f"S-{Town._number}"}]
        born = born or f"19{40 + Town._number}-02-{Town._number:02d}"
        return await self.post(who, patient("", "", name=name, identifier=number, birthDate=born))

    async def agrees(self, record: str, provision: Fhir) -> str:
        """A consent that the patient signed at ALPHA."""
        return await self.post("ALPHA", consent(record, provision))

    async def takes_back(self, wish: str) -> None:
        assert (await self.ask("ALPHA", "DELETE", f"Consent/{wish}"))[0] == 204

    async def office(self, path: str, body: Fhir | None = None) -> Any:
        """What the privacy office is answered over the staff API."""
        terms = {"user": "OLIVEIRA", "purpose": "HOPERAT"}
        await self.token("OFFICE", scope="staff/privacy.officer", **terms)
        url = self.base.replace("/fhir/", "/staff/v1/privacy/") + path
        sent = {"Authorization": f"Bearer {self.tokens['OFFICE']}"}
        sent["Idempotency-Key"] = f"story-{next(KEYS):08d}"
        method = "GET" if body is None else "POST"
        async with self.http.request(method, url, json=body, headers=sent) as got:
            assert got.status in (200, 201), await got.read()
            return await got.json()

    async def told(self, *queries: bytes) -> list[bytes]:
        """What HL7 v2 queries are answered."""
        answers: list[bytes] = []
        await exchange(self.mllp_port, list(queries), answers)
        return answers

    async def exported(self, who: str, path: str) -> dict[str, list[bytes]]:
        """The lines of a bulk export, by type."""
        address = await begin(self, who, path)
        self.now.step(seconds=2)
        manifest = await complete(self, who, address)
        return {o["type"]: await fetch(self, who, o["url"]) for o in manifest["output"]}

    async def total(self, who: str, search: str) -> int:
        """How many an organisation, or somebody, is told there are."""
        return int((await self.get(who, f"{search}&_summary=count"))["total"])

    async def sees(self, who: str, *names: str) -> list[bool]:
        """Which of some resources an organisation is shown; what is not is not there for it."""
        found = [await self.status(who, name) for name in names]
        assert set(found) <= {200, 403, 404}
        return [status == 200 for status in found]


@pytest_asyncio.fixture(scope="module", loop_scope="module", params=["massachusetts", "part2"])
async def town(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Town]:
    home = tmp_path_factory.mktemp(f"stories-{request.param}")
    async with Town(home, request.param) as made:
        yield made


def about(*labels: str) -> dict[str, Any]:
    """That a provision names what it is about."""
    return {"securityLabel": [{"system": ACT_CODE, "code": label} for label in labels]}


async def test_a_general_permission_releases_no_hiv_result_and_one_for_it_does(town: Town) -> None:
    # At ALPHA a woman has her sugar measured, and the virus counted that she lives with.
    she = await town.admitted("ALPHA")
    sugar = f"Observation/{await town.post('ALPHA', observation(she, GLUCOSE))}"
    virus = f"Observation/{await town.post('ALPHA', observation(she, HIV_RNA))}"
    assert await town.sees("GAMMA", sugar, virus) == [False, False]

    # She signs that GAMMA may see everything in order to treat her. That is no consent to
    # release HIV results, however wide it is.
    everything = await town.agrees(she, permit("GAMMA"))
    assert await town.sees("GAMMA", sugar, virus) == [True, False]
    assert await town.sees("BETA", sugar, virus) == [False, False]

    # Nor is one that names HIV and nobody in particular, or GAMMA for another purpose.
    nobody = await town.agrees(she, permit(**about("HIV")))
    to_bill = [{"system": ACT_REASON, "code": "HPAYMT"}]
    await town.agrees(she, permit("GAMMA", purpose=to_bill, **about("HIV")))
    assert await town.sees("GAMMA", sugar, virus) == [True, False]

    # She signs for this release: these results, to GAMMA, to be treated.
    release = await town.agrees(she, permit("GAMMA", **about("HIV")))
    assert await town.sees("GAMMA", sugar, virus) == [True, True]
    assert await town.sees("BETA", virus) == [False]
    # What GAMMA gets says that it must not be passed on; her sugar says nothing.
    assert HIV_LAW in (await town.ask("GAMMA", "GET", virus))[2]
    assert HIV_LAW not in (await town.ask("GAMMA", "GET", sugar))[2]

    # She thinks better of it. From the next request on the result is not there for GAMMA; her
    # general permission stands.
    await town.takes_back(release)
    assert await town.sees("GAMMA", sugar, virus) == [True, False]
    await town.takes_back(everything)
    await town.takes_back(nobody)
    assert await town.sees("GAMMA", sugar, virus) == [False, False]


async def test_part_2_records_carry_their_notice_with_every_disclosure(town: Town) -> None:
    # ALPHA's programme treats a man for his opioid use; it marks what it sends as Part 2.
    he = await town.admitted("ALPHA")
    marked = {"meta": {"security": [{"system": ACT_CODE, "code": "42CFRPart2"}]}}
    diagnosis: Fhir = {
        "resourceType": "Condition",
        "code": {"coding": [{"system": ICD, "code": "F11.20"}]},
        "subject": {"reference": f"Patient/{he}"},
        **marked,
    }
    problem = f"Condition/{await town.post('ALPHA', diagnosis)}"
    sugar = f"Observation/{await town.post('ALPHA', observation(he, GLUCOSE))}"

    # A permission to treat him releases the sugar. The programme's records need his Part 2
    # consent, which may be for all future treatment.
    await town.agrees(he, permit("GAMMA"))
    assert await town.sees("GAMMA", sugar, problem) == [True, False]
    await town.agrees(he, permit("GAMMA", **about("42CFRPart2", "OPIOIDUD", "SUD")))
    assert await town.sees("GAMMA", sugar, problem) == [True, True]
    person = await town.person_of("ALPHA", he)

    # However GAMMA asks, the record brings the notice of 42 CFR 2.32 with it.
    for path in (
        problem,
        f"{problem}/_history",
        f"Condition?patient={person}",
        f"Patient/{person}/$everything",
        f"Condition?patient={person}&_elements=code",
        f"Patient?_id={person}&_revinclude=Condition:patient",
    ):
        status, _, body = await town.ask("GAMMA", "GET", path)
        assert status == 200
        assert PART2 in body, path
    lines = await town.exported("GAMMA", "Patient/$export?_type=Condition,Observation")
    assert [PART2 in line for line in lines["Condition"]] == [True]
    assert lines["Observation"]
    assert not any(PART2 in line for line in lines["Observation"])

    # A letter of the programme is handed out as a file; the notice stands beside it.
    letter = f"Binary/{await _letter(town, he, marked)}"
    status, headers, body = await town.ask("GAMMA", "GET", letter, Accept="text/plain")
    assert (status, body) == (200, b"He is doing well.")
    assert PART2 in headers["X-Disclosure-Notice"].encode()

    # So does what GAMMA subscribed to: the next visit to the programme.
    async with Hook() as hook:
        asked = subscription("encounter-start", endpoint=hook.url)
        name = await town.post("GAMMA", asked)
        await hook.heard(1, "handshake")
        await town.post("ALPHA", {**encounter(he), **marked})
        await hook.heard(1)
        assert PART2 in hook.bodies[-1]
        assert (await town.ask("GAMMA", "DELETE", f"Subscription/{name}"))[0] in (200, 204)

    # Notes of his counselling are apart: the consent that released the rest does not name them.
    kept = {"meta": {"security": [{"system": ACT_CODE, "code": "PSYTHPN"}]}}
    notes = f"Observation/{await town.post('ALPHA', {**observation(he), **kept})}"
    assert await town.sees("GAMMA", problem, notes) == [True, False]
    await town.agrees(he, permit("GAMMA", **about("PSYTHPN")))
    assert await town.sees("GAMMA", problem, notes) == [True, True]


async def test_who_asks_over_hl7_v2_is_told_the_notice_too(town: Town) -> None:
    # That he is known to ALPHA's programme is a Part 2 record itself.
    he = await town.admitted("ALPHA")
    known = await town.get("ALPHA", f"Patient/{he}")
    known["meta"] = {"security": [{"system": ACT_CODE, "code": "42CFRPart2"}]}
    await town.put("ALPHA", f"Patient/{he}", {**known, "resourceType": "Patient"})
    (number,) = [n["value"] for n in known["identifier"] if n["system"] == "urn:alpha"]
    asked = pdq("GAMMA", f"@PID.3.1^{number}")

    # Of the Patient of its own records alone the programme is no recipient: it is the discloser.
    own = await town.person_of("ALPHA", he)
    for path in (f"Patient/{own}", f"Patient?identifier={number}", f"Patient/{own}/$everything"):
        status, headers, _ = await town.ask("ALPHA", "GET", path)
        assert (status, headers.get("X-Disclosure-Notice")) == (200, None), path

    # Without his consent GAMMA is told of nobody, and of no law.
    (answer,) = await town.told(asked)
    assert (read(answer).get("QAK-2"), read(answer).all("ERR")) == ("NF", ())

    # With it, the number leaves with the notice, which is no fault: severity I, code 0.
    await town.agrees(he, permit("GAMMA", **about("42CFRPart2")))
    # So it does where only that he is known leaves: he has no other number.
    of_number = pix("GAMMA", f"{number}^^^&urn:alpha&URI")
    for query, found in ((asked, "OK"), (of_number, "NF")):
        (answer,) = await town.told(query)
        message = read(answer)
        assert (message.get("MSA-1"), message.get("QAK-2")) == ("AA", found), answer
        (notice,) = message.all("ERR")
        assert [notice.value(n) for n in (3, 4)] == ["0", "I"]
        assert notice.field(8).encode().startswith(PART2)
    # Who asks for persons with a number of their own is told of nobody, and again of no law.
    await town.send(arrival("GAMMA", "G1", name="ELSE^SOMEBODY", ssn=""))
    (answer,) = await town.told(pdq("GAMMA", f"@PID.3.1^{number}", domains="^^^GAMMA"))
    assert (read(answer).get("QAK-2"), read(answer).all("ERR")) == ("NF", ()), answer
    status, headers, body = await town.ask("GAMMA", "GET", f"Patient?identifier={number}")
    assert (status, PART2 in body) == (200, True)
    assert PART2 in headers["X-Disclosure-Notice"].encode()


async def _letter(town: Town, record: str, marked: Fhir) -> str:
    """The content of a document that the programme wrote."""
    text = base64.b64encode(b"He is doing well.").decode()
    content = {"resourceType": "Binary", "contentType": "text/plain", "data": text}
    key = await town.post("ALPHA", content)
    document: Fhir = {
        "resourceType": "DocumentReference",
        "status": "current",
        "subject": {"reference": f"Patient/{record}"},
        "content": [{"attachment": {"url": f"Binary/{key}"}}],
        **marked,
    }
    await town.post("ALPHA", document)
    return key


IN_MASSACHUSETTS = pytest.mark.parametrize("town", ["massachusetts"], indirect=True)


@IN_MASSACHUSETTS
async def test_an_emergency_opens_a_record_tells_of_it_and_is_looked_at(town: Town) -> None:
    # ALPHA knows a man and his allergy; he has HIV. He agreed to nothing with anybody.
    he = await town.admitted("ALPHA")
    allergy: Fhir = {"resourceType": "AllergyIntolerance", "code": {"text": "Penicillin"}}
    nuts = await town.post("ALPHA", {**allergy, "patient": {"reference": f"Patient/{he}"}})
    virus = f"Observation/{await town.post('ALPHA', observation(he, HIV_RNA))}"
    nuts, person = f"AllergyIntolerance/{nuts}", await town.person_of("ALPHA", he)
    described = await town.get("ALPHA", f"Patient/{he}")
    description = {name: described[name] for name in ("name", "birthDate", "gender", "identifier")}

    # He is brought to Saint Aurelia and cannot speak. The doctor signed in with a second factor.
    doctor = {"organization": "saint-aurelia", "user": "DR-OKAFOR", "purpose": "BTG"}
    rights = "user/*.rs emergency/access.ask"
    await town.token("DOCTOR", **doctor, scope=rights, amr=("pwd", "otp"), ttl_seconds=4 * 3600)
    assert await town.sees("DOCTOR", nuts, virus, f"Patient/{person}") == [False] * 3

    # She says why she asks, and is told that he is known: an id, and not a word of him.
    known = await town.ask("DOCTOR", "POST", "Patient/$match", asking(description))
    (entry,) = json.loads(known[2])["entry"]
    assert entry["resource"] == {"resourceType": "Patient", "id": person}
    assert await town.sees("DOCTOR", nuts) == [False]

    # She opens his record. What the law keeps even then stays closed, to her and all others.
    opened = await town.ask("DOCTOR", "POST", f"Patient/{person}/$break-glass", EMPTY)
    assert opened[0] == 200, opened
    assert await town.sees("DOCTOR", nuts, f"Patient/{person}", virus) == [True, True, False]
    assert await town.sees("GAMMA", nuts) == [False]

    # The privacy office is alerted at once; he reads of it in his own record.
    waiting = (await town.office("emergencies?reviewed=false"))["emergencies"]
    (access,) = [one for one in waiting if one["person"] == person]
    assert (access["state"], access["user"], access["code"]) == (
        "open",
        "DR-OKAFOR",
        "unresponsive",
    )
    assert access["task"]
    await town.token("PATIENT", patient=person, scope="patient/*.rs", ttl_seconds=4 * 3600)
    told = json.loads((await town.ask("PATIENT", "GET", f"Patient/{person}/$emergency-notices"))[2])
    assert "DR-OKAFOR" in json.dumps(told["entry"])

    # An hour later the record is closed again.
    town.now.step(seconds=3601)
    assert await town.sees("DOCTOR", nuts) == [False]

    # The officer looks at what was seen, finds it was not needed, and stops the doctor.
    seen = await town.office(f"emergencies/{access['id']}")
    assert seen["seen"]["resources"]["AllergyIntolerance"] >= 1
    verdict = {"verdict": "not-justified", "reason": "he was awake", "suspend_user": True}
    judged = await town.office(f"emergencies/{access['id']}/review", verdict)
    assert (judged["verdict"], judged["reviewed_by"]) == ("not-justified", "OLIVEIRA")
    again = await town.ask("DOCTOR", "POST", "Patient/$match", asking(description))
    assert again[0] == 403


EMPTY = {"resourceType": "Parameters"}


def asking(description: Fhir) -> Fhir:
    """Who is this, and why it is asked."""
    coding = [{"system": "urn:hie:emergency-reason", "code": "unresponsive"}]
    described = {"resourceType": "Patient", **description}
    parameters = [
        {"name": "resource", "resource": described},
        {"name": "reason", "valueCodeableConcept": {"coding": coding}},
    ]
    return {"resourceType": "Parameters", "parameter": parameters}


@IN_MASSACHUSETTS
async def test_what_a_minor_may_decide_alone_stays_hidden_from_the_parent(town: Town) -> None:
    # A girl of fifteen has a day at the dentist, and one she told nobody of at home.
    girl, mother = await town.admitted("ALPHA", "2010-05-05"), await town.admitted("ALPHA")
    teeth = f"Appointment/{await town.post('ALPHA', appointment(girl))}"
    alone = {"meta": {"security": [{"system": ACT_CODE, "code": "SEX"}]}}
    advice = f"Appointment/{await town.post('ALPHA', {**appointment(girl), **alone})}"
    daughter = await town.person_of("ALPHA", girl)
    relation = await town.office(
        "proxies",
        {
            "person": daughter,
            "proxy": await town.person_of("ALPHA", mother),
            "name": "Her mother",
            "kind": "parent",
            "custody": "joint",
        },
    )
    user = f"RelatedPerson/{relation['id']}"
    await town.token("MOTHER", patient=daughter, user=user, scope="patient/*.rs")
    await town.token("GIRL", patient=daughter, scope="patient/*.cruds")

    # Both see the dentist. The other day is not there for her mother: not by its address, not
    # in a list, not in a number, not in the whole record.
    assert await town.sees("GIRL", teeth, advice) == [True, True]
    assert await town.sees("MOTHER", teeth, advice) == [True, False]
    mine = f"Appointment?patient={daughter}"
    assert [await town.total(who, mine) for who in ("GIRL", "MOTHER")] == [2, 1]
    for path in (mine, f"Patient/{daughter}/$everything", "Appointment/_history"):
        told = (await town.ask("MOTHER", "GET", path))[2]
        assert teeth.encode() in told or teeth.partition("/")[2].encode() in told
        assert advice.partition("/")[2].encode() not in told

    # Nor what she hides herself, from then on.
    hidden = {"resourceType": "Parameters"}
    status, _, body = await town.ask("GIRL", "POST", f"{teeth}/$hide-from-proxies", hidden)
    assert status == 200, body
    assert await town.sees("MOTHER", teeth, advice) == [False, False]
    assert [await town.total(who, mine) for who in ("GIRL", "MOTHER")] == [2, 0]

    # When she is eighteen her mother sees nothing more in her place.
    assert await town.status("MOTHER", f"Patient/{daughter}") == 200
    town.now.step(seconds=YEARS)
    await town.token("GIRL", patient=daughter, scope="patient/*.rs")
    assert await town.status("GIRL", f"Patient/{daughter}") == 200
    assert await town.status("MOTHER", f"Patient/{daughter}") == 401
    with pytest.raises(HieError, match="opens no record"):
        await town.token("MOTHER", patient=daughter, user=user, scope="patient/*.rs")


def appointment(record: str) -> Fhir:
    who = {"actor": {"reference": f"Patient/{record}"}, "status": "accepted"}
    return {"resourceType": "Appointment", "status": "booked", "participant": [who]}
