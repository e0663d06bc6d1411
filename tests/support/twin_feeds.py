"""What two twins are fed: a chart GAMMA may see, and what of it is hidden from GAMMA.

A hidden resource comes last, after everything seen, or before it where what is seen names it:
the plain twin was sent the same without that name. Each step has a second of its own, which
passes in the plain twin even where it is sent nothing, so ids and times stay the same.
"""

import base64

from hie.kernel.clock import SECOND_US
from tests.conftest import START_US
from tests.support.asked_hub import (
    ACT_CODE,
    CONFIDENTIALITY,
    GLUCOSE,
    HEMOGLOBIN,
    HIV_RNA,
    LOINC,
    Fhir,
    actor,
    consent,
    deny,
    observation,
    patient,
    permit,
    zebulon,
)
from tests.support.queries import arrival
from tests.support.twins import Twin

ICD = "http://hl7.org/fhir/sid/icd-10-cm"
RXNORM = "http://www.nlm.nih.gov/research/umls/rxnorm"
TYPES = "http://hl7.org/fhir/resource-types"
LABORATORY = [
    {
        "coding": [
            {
                "system": "http://terminology.hl7.org/CodeSystem/observation-category",
                "code": "laboratory",
            }
        ]
    }
]
#: When all questions begin.
FED_US = START_US + 600 * SECOND_US
#: Denied to GAMMA by these codes.
POTASSIUM, OBESITY, LETTER = (LOINC, "2823-3"), (ICD, "E66.9"), (LOINC, "68609-7")
PAST = {"start": "2019-01-01", "end": "2020-12-31"}
SUMMARY = (LOINC, "34133-9")


def reference(kind: str, key: str) -> Fhir:
    return {"reference": f"{kind}/{key}"}


def concept(system: str, code: str, **more: str) -> Fhir:
    return {"coding": [{"system": system, "code": code, **more}]}


REPORT: Fhir = {
    "resourceType": "DiagnosticReport",
    "status": "final",
    "category": [concept("http://terminology.hl7.org/CodeSystem/v2-0074", "LAB")],
    "code": concept(LOINC, "24323-8"),
    "effectiveDateTime": "2025-03-04",
}
LIST: Fhir = {"resourceType": "List", "status": "current", "mode": "working"}
WARD: Fhir = {
    "resourceType": "Encounter",
    "status": "finished",
    "class": {"code": "EMER"},
    "period": {"start": "2025-01-01", "end": "2025-01-02"},
}
NOTE: Fhir = {
    "resourceType": "DocumentReference",
    "status": "current",
    "type": concept(LOINC, "11506-3"),
    "content": [{"attachment": {"title": "Progress note"}}],
}
PLAN: Fhir = {"resourceType": "CarePlan", "status": "active", "intent": "plan"}
COMPOSITION: Fhir = {
    "resourceType": "Composition",
    "status": "final",
    "type": concept(LOINC, "60591-5"),
    "date": "2025-03-05",
    "title": "Summary",
}


class Feed:
    """Sends one twin its part."""

    def __init__(self, twin: Twin) -> None:
        self.twin = twin
        self.ids = twin.ids

    async def seen(self, name: str, who: str, body: Fhir) -> str:
        """Something that both twins are sent."""
        self.ids[name] = made = await self.twin.post(who, body)
        return made

    async def hidden(self, name: str, who: str, body: Fhir) -> str:
        """Something that only the whole twin is sent; its second passes in both."""
        if not self.twin.is_whole:
            self.twin.now.step(seconds=1)
            return ""
        self.ids[name] = made = await self.twin.post(who, body)
        return made

    def about(self, record: str = "alpha") -> Fhir:
        return {"subject": reference("Patient", self.ids.get(record, ""))}

    def naming(self, kind: str, name: str) -> list[Fhir]:
        """A reference to something hidden, which the plain twin is not sent."""
        return [reference(kind, self.ids[name])] if self.twin.is_whole else []


async def fed(twin: Twin) -> None:
    """Everything, the hidden last."""
    feed = Feed(twin)
    await _chart(feed)
    await _rules(feed)
    await _named(feed)
    await _naming(feed)
    await _hidden_of_alpha(feed)
    await _hidden_of_beta(feed)
    twin.now.step(us=FED_US - twin.now.now_us())


async def _chart(feed: Feed) -> None:
    """What ALPHA, and GAMMA itself, know of a person whom GAMMA may see."""
    npi = [{"system": "http://hl7.org/fhir/sid/us-npi", "value": "1234567893"}]
    await feed.seen("house", "BETA", {"resourceType": "Organization", "name": "Beta House"})
    await feed.seen("doctor", "ALPHA", {"resourceType": "Practitioner", "identifier": npi})
    alpha = await feed.seen("alpha", "ALPHA", patient("A1", "alpha"))
    feed.ids["person"] = await feed.twin.person_of("ALPHA", alpha)
    visit = {
        "resourceType": "Encounter",
        "status": "finished",
        "class": {"code": "IMP"},
        "period": {"start": "2025-03-01", "end": "2025-03-05"},
    }
    await feed.seen("visit", "ALPHA", {**visit, **feed.about()})
    at_visit = {"encounter": reference("Encounter", feed.ids["visit"])}
    by = {"performer": [reference("Practitioner", feed.ids["doctor"])]}
    for name, more in (
        ("result", {"category": LABORATORY, **at_visit, **by}),
        ("early", {"effectiveDateTime": "2024-01-01", "category": LABORATORY}),
        ("tagged", {"meta": {"tag": [{"system": "urn:tags", "code": "urgent"}]}}),
    ):
        await feed.seen(name, "ALPHA", observation(alpha, **more))
    changed = observation(alpha, GLUCOSE, **at_visit, **by, category=LABORATORY)
    await feed.twin.put("ALPHA", f"Observation/{feed.ids['result']}", changed)
    hypertension = {"resourceType": "Condition", "code": concept(ICD, "I10")}
    await feed.seen("condition", "ALPHA", {**hypertension, **feed.about()})
    await _document(feed, "document", "binary", {"title": "Discharge summary"})
    await feed.seen("provenance", "ALPHA", _provenance("Observation", feed.ids["result"]))
    await feed.seen("mine", "GAMMA", patient("G1", "gamma"))
    await feed.seen("own", "GAMMA", observation(feed.ids["mine"], identifier=[{"value": "G-1"}]))
    members = [{"entity": reference("Patient", feed.ids["mine"])}]
    group = {"resourceType": "Group", "type": "person", "actual": True, "member": members}
    await feed.seen("panel", "GAMMA", group)
    await feed.twin.send(arrival("GAMMA", "G7", name="OAKLEAF^ROWENA", born="19600202", ssn=""))


async def _document(
    feed: Feed, name: str, content: str, attachment: Fhir, kind: tuple[str, str] = SUMMARY
) -> None:
    """A document with its content; hidden where its name says so."""
    send = feed.hidden if name.startswith("hidden") else feed.seen
    note = base64.b64encode(b"Seen today.").decode()
    made = {"resourceType": "Binary", "contentType": "text/plain", "data": note}
    key = await send(content, "ALPHA", made)
    url = {"url": f"Binary/{key}", **attachment}
    body = {
        "resourceType": "DocumentReference",
        "status": "current",
        "type": concept(*kind),
        "content": [{"attachment": url}],
        **feed.about(),
    }
    await send(name, "ALPHA", body)


def _provenance(kind: str, key: str) -> Fhir:
    agent = {"who": {"display": "the registry"}}
    target = [reference(kind, key)]
    made = {"target": target, "recorded": "2026-01-01T10:00:00Z", "agent": [agent]}
    return {"resourceType": "Provenance", **made}


async def _rules(feed: Feed) -> None:
    """GAMMA may see what ALPHA has, but for some types, codes and years, and nothing of BETA's."""
    gamma = actor("GAMMA")
    codes = [concept(*one) for one in (POTASSIUM, OBESITY, LETTER)]
    silence = [
        deny(gamma, actor("BETA", "SOURCE")),
        deny(gamma, **_of("MedicationRequest")),
        deny(gamma, code=codes),
        deny(gamma, **_of("Observation", "Encounter"), dataPeriod=PAST),
    ]
    wish = permit("GAMMA", provision=silence)
    await feed.seen("consent", "ALPHA", consent(feed.ids["alpha"], wish))


def _of(*types: str) -> Fhir:
    """What a provision about types names."""
    return {"class": [{"system": TYPES, "code": one} for one in types]}


async def _named(feed: Feed) -> None:
    """What the patient denies, and what is seen later names.

    What the law keeps would bring its label to a report or a document that names it.
    """
    at_visit = {"encounter": reference("Encounter", feed.ids["visit"])}
    result = observation(feed.ids["alpha"], POTASSIUM[1], category=LABORATORY, **at_visit)
    await feed.hidden("hidden_result", "ALPHA", {**result, "identifier": [{"value": "X-1"}]})
    illness = {"resourceType": "Condition", "code": concept(*OBESITY)}
    await feed.hidden("hidden_condition", "ALPHA", {**illness, **feed.about(), **at_visit})
    stay = {"resourceType": "Encounter", "status": "planned", "class": {"code": "AMB"}}
    await feed.hidden("hidden_stay", "ALPHA", {**stay, "period": PAST, **feed.about()})
    await _document(feed, "hidden_letter", "hidden_page", {"title": "Letter"}, LETTER)


async def _naming(feed: Feed) -> None:
    """What is seen, and names something hidden beside what may be seen, or that alone."""
    about, seen = feed.about(), [reference("Observation", feed.ids["result"])]
    result = feed.naming("Observation", "hidden_result")
    illness = feed.naming("Condition", "hidden_condition")
    stay = feed.naming("Encounter", "hidden_stay")
    letter = feed.naming("DocumentReference", "hidden_letter")
    named: dict[str, Fhir] = {
        "report": {**REPORT, "result": [*seen, *result]},
        "bare_report": {**REPORT, **({"result": result} if result else {})},
        "list": {**LIST, "entry": [{"item": one} for one in (*seen, *illness, *result)]},
        "bare_list": {**LIST, **({"entry": [{"item": one} for one in illness]} if stay else {})},
        "derived": {
            **observation(feed.ids["alpha"], hasMember=[*seen, *result]),
            **({"derivedFrom": result, "encounter": stay[0]} if result else {}),
        },
        "ward": {**WARD, **({"diagnosis": [{"condition": illness[0]}]} if illness else {})},
        "note": {
            **NOTE,
            "context": {"encounter": [reference("Encounter", feed.ids["visit"]), *stay]},
            **({"relatesTo": [{"code": "appends", "target": letter[0]}]} if letter else {}),
        },
        "plan": {**PLAN, **({"addresses": illness, "text": _told_of(feed)} if illness else {})},
        "composition": {
            **COMPOSITION,
            "author": [reference("Practitioner", feed.ids["doctor"])],
            "section": [{"title": "Results", "entry": [*seen, *result]}],
        },
    }
    for name, body in named.items():
        await feed.seen(name, "ALPHA", {**body, **about})


def _told_of(feed: Feed) -> Fhir:
    """A narrative that links to something hidden."""
    link = f'<a href="Condition/{feed.ids["hidden_condition"]}">the problem</a>'
    return {
        "status": "generated",
        "div": f'<div xmlns="http://www.w3.org/1999/xhtml">About {link}.</div>',
    }


async def _hidden_of_alpha(feed: Feed) -> None:
    """What the law or the patient keeps from GAMMA of what the seen source sent."""
    alpha, about = feed.ids["alpha"], feed.about()
    at_visit = {"encounter": reference("Encounter", feed.ids["visit"])}
    raised = {"meta": {"security": [{"system": ACT_CODE, "code": "PSYTHPN"}]}}
    lowered = {"meta": {"security": [{"system": CONFIDENTIALITY, "code": "U"}]}}
    tagged = {"meta": {"tag": [{"system": "urn:tags", "code": "hidden"}], "profile": ["urn:p:h"]}}
    medication = concept(RXNORM, "197361", display="Amlodipine 5 MG Oral Tablet")
    order: Fhir = {"status": "active", "intent": "order", "medicationCodeableConcept": medication}
    virus: Fhir = {"resourceType": "DiagnosticReport", "code": concept(LOINC, HIV_RNA)}
    illness: Fhir = {"resourceType": "Condition", "code": concept(ICD, "B20")}
    hidden: dict[str, Fhir] = {
        "virus": observation(alpha, HIV_RNA, **lowered, **at_visit, category=LABORATORY),
        "raised": observation(alpha, GLUCOSE, **raised, category=LABORATORY),
        "tagged": observation(alpha, HEMOGLOBIN, **tagged, effectiveDateTime="2019-06-01"),
        "coded": observation(alpha, POTASSIUM[1], effectiveDateTime="2026-01-01", **at_visit),
        "order": {"resourceType": "MedicationRequest", **order, **about},
        "report": {**virus, "status": "final", **about},
        "illness": {**illness, **about, **at_visit},
    }
    for name, body in hidden.items():
        await feed.hidden(f"hidden_{name}", "ALPHA", body)
    gone = await feed.hidden("hidden_gone", "ALPHA", observation(alpha, HIV_RNA))
    await _document(feed, "hidden_document", "hidden_binary", {"title": "HIV clinic letter"})
    of_hidden = _provenance("Observation", feed.ids.get("hidden_virus", ""))
    await feed.hidden("hidden_origin", "ALPHA", of_hidden)
    if feed.twin.is_whole:
        assert (await feed.twin.ask("ALPHA", "DELETE", f"Observation/{gone}"))[0] == 204


async def _hidden_of_beta(feed: Feed) -> None:
    """What a source has whose word is kept from GAMMA: the same human, and another."""
    house = {"managingOrganization": reference("Organization", feed.ids["house"])}
    phone = {"telecom": [{"system": "phone", "value": "4135550100"}]}
    other = patient("B1", "beta", **phone, **house)
    other["name"] = [*other["name"], {"family": "Oldname", "use": "maiden"}]
    beta = await feed.hidden("hidden_patient", "BETA", other)
    stranger = await feed.hidden("hidden_stranger", "BETA", zebulon("B2", "beta"))
    about = feed.about("hidden_patient")
    stay = {"resourceType": "Encounter", "status": "finished", "class": {"code": "AMB"}}
    provider = {"serviceProvider": reference("Organization", feed.ids["house"])}
    visit = await feed.hidden("hidden_visit", "BETA", {**stay, **provider, **about})
    at_visit = {"encounter": reference("Encounter", visit)}
    grams = {"valueQuantity": {"value": 140, "unit": "g/L"}}
    number = {"identifier": [{"system": "urn:beta", "value": "X-2"}]}
    blood = observation(beta, HEMOGLOBIN, **at_visit, **grams, **number, category=LABORATORY)
    key = await feed.hidden("hidden_blood", "BETA", blood)
    members = {"hasMember": [reference("Observation", key)]}
    await feed.hidden("hidden_member", "BETA", observation(beta, GLUCOSE, **members))
    items = [{"item": reference("Observation", key)}, {"item": reference("Patient", beta)}]
    await feed.hidden("hidden_list", "BETA", {**LIST, **about, "entry": items})
    people = [{"entity": reference("Patient", one)} for one in (beta, stranger)]
    group = {"resourceType": "Group", "type": "person", "actual": True, "member": people}
    await feed.hidden("hidden_group", "BETA", group)
    await feed.hidden("hidden_consent", "BETA", consent(beta, permit("DELTA")))
    await feed.hidden("hidden_provenance", "BETA", _provenance("Observation", key))
    await feed.hidden("hidden_far", "BETA", observation(stranger, category=LABORATORY))
    if feed.twin.is_whole:
        whose = await feed.twin.person_of("BETA", beta)
        assert whose == feed.ids["person"], "the attack needs one human"
        feed.ids["hidden_person"] = await feed.twin.person_of("BETA", stranger)
        changed = {**other, "birthDate": "1951-04-13"}
        await feed.twin.put("BETA", f"Patient/{beta}", changed)
        await feed.twin.send(arrival("BETA", "B9", name="ASHGROVE^IKE", born="19700101", ssn=""))
