"""What a minor hides changes no byte of any answer to a parent, on both databases.

Two hubs are told the same of a child of nine, and a parent is on file in both. One of them holds
besides what the child consented to alone, or hid: results, a visit and what belongs to it, an
appointment, a letter, a Consent. Then the parent asks by every way in.
"""

from pathlib import Path
from typing import Any

import pytest

from hie.flow.relationships import Wanted
from hie.kernel.clock import SECOND_US
from hie.kernel.context import Caller, RequestContext
from tests.conftest import IS_LONG, START_US
from tests.support.asked_hub import ACT_CODE, LOINC, Fhir, consent, observation, patient, permit
from tests.support.twin_feeds import ICD, LABORATORY, LIST, REPORT, Feed, concept, reference
from tests.support.twins import Answer, Twin, differences

CHLAMYDIA = "21190-4"
FED_US = START_US + 900 * SECOND_US
TEEN = {"meta": {"security": [{"system": ACT_CODE, "code": "ADOL"}]}}
#: One of each way in.
QUESTIONS = (
    *("Patient/{child}", "Patient?_summary=count", "Patient/{child}/$everything?_count=3"),
    *("Patient/{child}/$summary", "Patient/{child}/*", "Encounter/{visit}/$everything"),
    *("Observation?_total=accurate&_count=2", "Observation?_summary=count", "Observation/_history"),
    *(f"Observation?code={CHLAMYDIA}", "Observation?_security:not=R", "Observation/$meta"),
    *("Observation?_sort=-date&_include=*&_revinclude=*", "Observation/{panel}", "List/{list}"),
    *("Observation/$lastn?patient={child}&category=laboratory&max=9", "Appointment?date=ge2026"),
    *(f"Observation?has-member.code={CHLAMYDIA}", "Condition?_summary=count", "Consent"),
    *("Patient?_has:Condition:patient:code=A54.9", "Appointment?_summary=count", "Binary"),
    *("DocumentReference/$docref?patient={child}", "DiagnosticReport", "MedicationRequest"),
    *("Provenance", "AuditEvent?patient={child}", "Patient/{child}/$proxies"),
)
#: The same in other words; asked in the long form.
MORE = (
    *("Patient/{child}/_history", "Patient", "Patient/{child}/$everything", "?_type=Condition"),
    *("Patient/{child}/$everything?_since=2020-01-01", "Patient/{child}/Observation"),
    *("Observation", "Observation?_sort=code&_count=1", "Observation?code:not=2345-7"),
    *("Observation?_security=ADOL", "Observation?encounter={visit}", "Observation/{result}"),
    *("Observation?_lastUpdated=gt2020&_count=2", "Observation?has-member:missing=false"),
    *("DiagnosticReport/{report}", "DiagnosticReport?_include=DiagnosticReport:result"),
    *(f"DiagnosticReport?result.code={CHLAMYDIA}", "DiagnosticReport?result:missing=true"),
    *("DiagnosticReport/{report}/_history", "List", "List?item:missing=true", "Condition"),
    *("Condition?code=A54.9", "Patient?_has:Appointment:patient:status=booked"),
    *(f"Patient?_has:Observation:patient:code={CHLAMYDIA}", "Patient?_revinclude=*"),
    *("Appointment", "Encounter", "Encounter?_summary=count", "Encounter?status=planned"),
    *("DocumentReference", "Consent?_summary=count", "Provenance?target:missing=false"),
    *("RelatedPerson", "AuditEvent", "AuditEvent?_summary=count", "Practitioner"),
)
OF_HIDDEN = ("{kind}/{id}", "{kind}/{id}/_history/1", "{kind}?_id={id}", "{kind}/{id}/$meta")
ASKED = (*QUESTIONS, *MORE) if IS_LONG else QUESTIONS
ASKED_OF_HIDDEN = OF_HIDDEN if IS_LONG else OF_HIDDEN[:1]
KINDS = {
    "condition": "Condition",
    "result": "Observation",
    "report": "DiagnosticReport",
    "visit": "Encounter",
    "member": "Observation",
    "appointment": "Appointment",
    "letter": "DocumentReference",
    "binary": "Binary",
    "consent": "Consent",
    "origin": "Provenance",
    "order": "MedicationRequest",
}


# The predicate itself is compared on both databases in tests/property/test_consent_oracle.py.
@pytest.fixture(params=["sqlite", "postgresql"] if IS_LONG else ["sqlite"])
def urls(request: pytest.FixtureRequest) -> tuple[str, str]:
    """The databases of the two hubs, "" = a file of their own."""
    if request.param == "sqlite":
        return "", ""
    names = ("postgres_url", "module_postgres_url")
    one, other = (str(request.getfixturevalue(name)) for name in names)
    return one, other


async def _chart(feed: Feed) -> None:
    """What the parent may see, and the parent."""
    alpha = await feed.seen("alpha", "ALPHA", patient("A1", "alpha", birthDate="2016-05-17"))
    feed.ids["child"] = await feed.twin.person_of("ALPHA", alpha)
    visit = {"resourceType": "Encounter", "status": "finished", "class": {"code": "AMB"}}
    await feed.seen("visit", "ALPHA", {**visit, **feed.about()})
    at_visit = {"encounter": reference("Encounter", feed.ids["visit"])}
    more: Fhir = {"category": LABORATORY, **at_visit}
    await feed.seen("result", "ALPHA", observation(alpha, **more))
    condition = {"resourceType": "Condition", "code": concept(ICD, "J45.20"), **feed.about()}
    await feed.seen("condition", "ALPHA", condition)
    await feed.seen("appointment", "ALPHA", _appointment(alpha, "2026-03-02T10:00:00Z"))
    ctx = RequestContext(
        caller=Caller(token_id="1", user="clerk-ruiz"), request_id="r", now_us=START_US
    )
    wanted = Wanted(person=feed.ids["child"], proxy=None, name="Nora Quinlan", kind="parent")
    filed = await feed.twin.hub.proxying.proxies.record(ctx, wanted)
    user = f"RelatedPerson/{filed.shown.plain.id}"
    scope = "patient/*.cruds system/*.rs"
    await feed.twin.token("PARENT", scope=scope, patient=feed.ids["child"], user=user)


def _appointment(record: str, start: str) -> Fhir:
    who = [{"actor": reference("Patient", record), "status": "accepted"}]
    when = {"start": start, "end": start.replace(":00:00Z", ":30:00Z")}
    return {"resourceType": "Appointment", "status": "booked", **when, "participant": who}


async def _hidden(feed: Feed) -> None:
    """What the child consented to alone, or hid; some of it is named by what is seen."""
    alpha, about = feed.ids["alpha"], feed.about()
    at_visit = {"encounter": reference("Encounter", feed.ids["visit"])}
    result = observation(alpha, CHLAMYDIA, category=LABORATORY, **at_visit)
    await feed.hidden("hidden_result", "ALPHA", result)
    illness = {"resourceType": "Condition", "code": concept(ICD, "A54.9"), **about, **at_visit}
    await feed.hidden("hidden_condition", "ALPHA", illness)
    seen = [reference("Observation", feed.ids["result"])]
    named = feed.naming("Observation", "hidden_result")
    items = [{"item": one} for one in (*seen, *feed.naming("Condition", "hidden_condition"))]
    members = observation(alpha, hasMember=[*seen, *named])
    await feed.seen("panel", "ALPHA", members)
    await feed.seen("report", "ALPHA", {**REPORT, "result": seen, **about})
    whole = {**REPORT, "result": [*seen, *named], **about}
    await feed.hidden("hidden_report", "ALPHA", whole)
    await feed.seen("list", "ALPHA", {**LIST, "entry": items, **about})
    stay = {"resourceType": "Encounter", "status": "planned", "class": {"code": "AMB"}}
    visit = await feed.hidden("hidden_visit", "ALPHA", {**stay, **TEEN, **about})
    inside: Fhir = {"encounter": reference("Encounter", visit), **TEEN}
    await feed.hidden("hidden_member", "ALPHA", observation(alpha, **inside))
    soon = {**_appointment(alpha, "2026-03-09T10:00:00Z"), **TEEN}
    await feed.hidden("hidden_appointment", "ALPHA", soon)
    text: Fhir = {"resourceType": "Binary", "contentType": "text/plain", "data": "aGVsbG8="}
    binary = await feed.hidden("hidden_binary", "ALPHA", text)
    content = [{"attachment": {"url": f"Binary/{binary}", "title": "Clinic letter"}}]
    letter = {"status": "current", "type": concept(LOINC, "34133-9"), "content": content}
    document = {"resourceType": "DocumentReference", **letter, **about, **TEEN}
    await feed.hidden("hidden_letter", "ALPHA", document)
    sensitive = {"securityLabel": [{"system": ACT_CODE, "code": "STD"}]}
    await feed.hidden("hidden_consent", "ALPHA", consent(alpha, permit("GAMMA", **sensitive)))
    target = [reference("Condition", feed.ids.get("hidden_condition", ""))]
    agent = [{"who": {"display": "the registry"}}]
    origin = {"target": target, "recorded": "2026-01-01T10:00:00Z", "agent": agent}
    await feed.hidden("hidden_origin", "ALPHA", {"resourceType": "Provenance", **origin})
    pill = {"meta": {"security": [{"system": ACT_CODE, "code": "SEX"}]}}
    order = {"status": "active", "intent": "order", "medicationCodeableConcept": {"text": "pill"}}
    await feed.hidden(
        "hidden_order", "ALPHA", {"resourceType": "MedicationRequest", **order, **about, **pill}
    )


async def _of(twin: Twin, path: str) -> list[Answer]:
    """An answer as it is: compressed, one with a random secret is of another length each time."""
    plain: dict[str, Any] = {"Accept-Encoding": "identity"}
    return await twin.told("PARENT", "GET", path, **plain)


async def _asked(twin: Twin, hidden: dict[str, str]) -> dict[str, list[Answer]]:
    ids = {**hidden, **twin.ids}
    told = {}
    for question in ASKED:
        told[question] = await _of(twin, question.format(**ids))
    for name, key in hidden.items():
        kind = KINDS[name.removeprefix("hidden_")]
        for question in ASKED_OF_HIDDEN:
            path = question.format(kind=kind, id=key)
            told[f"{question} of {name}"] = await _of(twin, path)
    # Compressed, what holds a random name is of another length each time.
    told["$export"] = [
        (status, {name: value for name, value in sent.items() if name != "Content-Length"}, text)
        for status, sent, text in await twin.exported("PARENT", "Patient/$export")
    ]
    for name, body in (("match", {"resourceType": "Parameters"}), ("hide", None)):
        path = "Patient/$match" if name == "match" else f"Condition/{ids['hidden_condition']}"
        path += "/$hide-from-proxies" if name == "hide" else ""
        told[name] = await twin.told("PARENT", "POST", path, body)
    wide = consent(twin.ids["alpha"], permit("GAMMA"))
    told["widen"] = await twin.told("PARENT", "POST", "Consent", wide)
    put = f"Consent/{ids['hidden_consent']}"
    told["revoke"] = await twin.told("PARENT", "PUT", put, {**wide, "status": "inactive"})
    return told


async def _told(
    home: Path, keys: Path, url: str, hidden: dict[str, str] | None
) -> tuple[dict[str, list[Answer]], dict[str, str]]:
    async with Twin(home, keys, is_whole=hidden is None, HIE_DATABASE_URL=url) as twin:
        feed = Feed(twin)
        await _chart(feed)
        await _hidden(feed)
        twin.now.step(us=FED_US - twin.now.now_us())
        if hidden is None:
            hidden = {n: key for n, key in twin.ids.items() if n.startswith("hidden_")}
        return await _asked(twin, hidden), hidden


async def test_what_a_minor_hides_changes_no_byte_of_what_a_parent_is_told(
    tmp_path: Path, urls: tuple[str, str]
):
    keys = tmp_path / "keys.json"
    whole, hidden = await _told(tmp_path / "whole", keys, urls[0], None)
    plain, _ = await _told(tmp_path / "plain", keys, urls[1], hidden)
    found = differences(whole, plain)
    assert not found, "\n".join(f"{name}\n  {what}" for name, what in found.items())
    assert whole["widen"][0][0] == 403
    assert whole["revoke"][0][0] == 404
    seen = [name for name, pages in whole.items() if b'"entry"' in pages[0][2]]
    assert len(seen) > len(QUESTIONS) / 3, "most questions must be about something"
