"""What a reader may ask who wants to know what is hidden: every way in, every parameter.

`{name}` in a question is the id of what a feed calls so (`tests/support/twin_feeds.py`); a hidden
one is asked for by its id, which nobody else could know.
"""

from collections.abc import Awaitable, Callable
from functools import partial

from tests.support.asked_hub import GLUCOSE, HEMOGLOBIN, HIV_RNA, Fhir, observation, patient
from tests.support.queries import pdq, pix
from tests.support.twins import Answer, Twin

#: Of single resources, by id, version and condition.
OF_ONE = (
    *("Patient/{person}", "Patient/{person}/_history", "Patient/{alpha}", "Patient/{mine}"),
    *("Observation/{result}", "Observation/{result}/_history", "Observation/{result}/_history/1"),
    *("Observation/{result}/_history?_count=1", "Observation/{derived}", "Encounter/{ward}"),
    *("DiagnosticReport/{report}", "DiagnosticReport/{bare_report}", "CarePlan/{plan}"),
    *("DiagnosticReport/{report}/_history", "List/{list}", "List/{bare_list}"),
    *("DocumentReference/{note}", "DocumentReference/{document}", "Binary/{binary}"),
    *("Composition/{composition}", "Provenance/{provenance}", "Consent/{consent}"),
    *("Observation/{result}/$meta", "Group/{panel}", "Organization/{house}"),
    *("DiagnosticReport/{report}?_elements=result", "List/{list}?_summary=true"),
)
#: Of types and of everything, with totals, order and pages.
OF_MANY = (
    *("Patient", "Patient?_summary=count", "Patient?_total=accurate&_count=1"),
    *("Patient?_sort=-_lastUpdated", "Patient?_sort=_id&_count=1", "Patient/_history"),
    *("Patient?_id={person}", "Patient?identifier=urn:beta|B1", "Patient?identifier=B1"),
    *("Patient?identifier:not=B1", "Patient?name=Quill", "Patient?family:exact=Oldname"),
    *("Patient?telecom=4135550100", "Patient?telecom:missing=false", "Patient?gender:not=male"),
    *("Patient?telecom:missing=true", "Patient?birthdate=1951-04-12", "Patient?birthdate=1951-04"),
    *("Patient?birthdate=ne1951", "Patient?birthdate=gt1951-04-12", "Patient?active:missing=true"),
    *("Patient?_lastUpdated=gt2020-01-01", "Patient?organization.name=Beta"),
    *("Patient?death-date=ge2020-01-01T10:00:00Z", "ValueSet?url=http://hl7.org/fhir/ValueSet/x"),
    *("Patient?organization:missing=true", "Patient?phonetic=Oldname", "Patient?general=x"),
    *("Observation", "Observation?_total=accurate&_count=1", "Observation?_summary=count"),
    *("Observation?patient={person}&_sort=-date", "Observation?patient={person}&_sort=code"),
    *("Observation?code:not=2345-7", "Observation?value-quantity:missing=true"),
    *("Observation?_lastUpdated=gt2020-01-01&_count=2", "Observation?date=ge2020&_sort=date"),
    *("Observation?_elements=code", "Observation?_summary=text", "Observation?_summary=data"),
    *("Observation?_tag=urn:tags|hidden", "Observation?_profile=urn:p:h", "Observation?_tag:not=x"),
    *("Observation?_security=HIV", "Observation?_security:not=R", "Observation?code:text=viral"),
    *("Observation?code:in=http://hl7.org/fhir/ValueSet/observation-codes",),
    *(f"Observation?code-value-quantity={HEMOGLOBIN}$gt1", f"Observation?code={HIV_RNA}"),
    *("Observation?encounter={visit}", "Observation?encounter:missing=true&_sort=_id"),
    *("Observation?derived-from:missing=true", "Observation?derived-from:missing=false"),
    *("Observation?has-member:missing=false", "Observation?identifier=X-1", "Observation/_history"),
    *("Observation/_history?_count=1&_since=2020-01-01", "DiagnosticReport/_history", "List"),
    *(
        "DiagnosticReport",
        "DiagnosticReport?result:missing=true",
        "Condition",
        "Condition?code=B20",
    ),
    *("DiagnosticReport?result:missing=false", "DiagnosticReport?_summary=count", "CarePlan"),
    *("DiagnosticReport?_has:Provenance:target:recorded=gt2020", "CarePlan?condition:missing=true"),
    *("List?item:missing=true", "List?item:missing=false", "Encounter", "Encounter?_sort=-date"),
    *("Encounter?diagnosis:missing=true", "Encounter?status=planned", "Composition", "Consent"),
    *("DocumentReference", "DocumentReference?relatesto:missing=true", "Binary", "Provenance"),
    *("DocumentReference?encounter:missing=false", "Provenance?target:missing=true", "Group"),
    *("Composition?entry:missing=true", "Provenance?recorded=gt2020-01-01&_total=accurate"),
    *("MedicationRequest", "MedicationRequest?_summary=count", "AuditEvent", "Subscription"),
    *("AuditEvent?patient={person}", "Practitioner", "Organization?name=Beta", "Group?_count=1"),
    *(
        "?_type=Patient,Observation,Consent",
        "?_type=Observation,Encounter&_count=1",
    ),
    *("?_type=Observation,Encounter&_sort=_lastUpdated&_count=3&_total=accurate", "metadata"),
)
#: Through references: chains, `_has`, includes, compartments, whole records.
THROUGH = (
    *("Observation?patient.name=Oldname", "Observation?patient.name=Quill&_summary=count"),
    *("Observation?subject.identifier=urn:beta|B1", "Observation?patient.telecom:missing=true"),
    *("Observation?patient.organization.name=Beta", "Observation?encounter.status=planned"),
    *("Observation?encounter.status:not=planned", "Observation?encounter.service-provider.name=B"),
    *("Observation?derived-from:Observation.status=final", "List?item:Condition.code=E66.9"),
    *(
        "Observation?derived-from:Observation._lastUpdated=gt2020",
        "List?item:Observation.code:not=x",
    ),
    *("DiagnosticReport?result.code=2823-3", f"DiagnosticReport?result.code={GLUCOSE}"),
    *("Encounter?diagnosis:Condition.code=E66.9", "CarePlan?condition.code=E66.9"),
    *("DocumentReference?relatesto:DocumentReference.type=68609-7",),
    *("Composition?entry:Observation.status=final", "Provenance?target:Observation.status=final"),
    *(f"Patient?_has:Observation:patient:code={HIV_RNA}", "Patient?_has:List:item:status=current"),
    *(
        f"Patient?_has:Observation:patient:code={GLUCOSE}",
        "Patient?_has:Condition:patient:code=B20",
    ),
    *(
        "Patient?_has:Observation:patient:encounter.status=planned",
        "Patient?_has:Group:member:_id=x",
    ),
    *("Patient?_has:MedicationRequest:patient:status=active", "Patient?_has:Consent:patient:_id=x"),
    *("Organization?_has:Patient:organization:name=Quill",),
    *("Organization?_has:Patient:organization:_has:Observation:patient:status=final",),
    *("Organization?_has:Encounter:service-provider:status=finished",),
    *("Observation?_has:DiagnosticReport:result:status=final", "Observation?_list={list}"),
    *("Observation?_has:Observation:has-member:status=final", "Condition?_list={bare_list}"),
    *("Condition?_has:Encounter:diagnosis:status=finished", "Observation?_in=Group/{panel}"),
    *("Observation?_include=*&_revinclude=Provenance:target", "Observation?_include=*&_count=1"),
    *("Observation?_include=Observation:patient&_include:iterate=Patient:organization",),
    *("Observation?_include=Observation:derived-from&_include=Observation:has-member",),
    *("DiagnosticReport?_include=DiagnosticReport:result&_revinclude=List:item",),
    *("List?_include=List:item", "List?_include=*", "Encounter?_include=Encounter:diagnosis"),
    *("Composition?_include=Composition:entry", "DocumentReference?_include=*&_revinclude=*"),
    *("Patient?_revinclude=Observation:patient&_sort=-_lastUpdated", "Patient?_revinclude=*"),
    *("Encounter?_revinclude=Observation:encounter&_revinclude=Condition:encounter",),
    *("CarePlan?_include=CarePlan:condition", "Provenance?_include=Provenance:target"),
    *("Patient/{person}/Observation", "Patient/{person}/List", "Patient/{person}/*?_count=7"),
    *("Patient/{person}/Observation?encounter.status=finished", "Encounter/{visit}/Observation"),
    *("Encounter/{visit}/Condition", "Patient/{person}/$everything"),
    *("Patient/{person}/$everything?_count=2", "Encounter/{visit}/$everything"),
    *("Patient/{person}/$everything?_type=Observation,Practitioner,Binary&_since=2020-01-01",),
    *("Patient/{person}/$everything?start=2019-01-01&end=2020-01-01", "Patient/{person}/$summary"),
    *("Observation/$lastn?patient={person}&category=laboratory",),
    *("Observation/$lastn?patient={person}&category=laboratory&max=10", "Condition/$meta"),
    *("DocumentReference/$docref?patient={person}", "Observation/$meta", "DocumentReference/$meta"),
    *("DocumentReference/$docref?patient={person}&start=2000", "List/{list}/$validate"),
    *("DiagnosticReport/{report}/$validate", "Patient/$ihe-pix?sourceIdentifier=urn:alpha|A1"),
    *("Patient/$ihe-pix?sourceIdentifier=urn:beta|B1", "Subscription/$status"),
    *("Patient/$ihe-pix?sourceIdentifier=urn:beta|B2", "Subscription/$topics"),
    *("Patient/$ihe-pix?sourceIdentifier=urn:alpha|A1&targetSystem=urn:beta",),
    *("Observation?bad=1", "Observation?date=never", "Nothing", "Patient/{person}/$nothing"),
)
#: Of each hidden resource, `{kind}` and `{id}` filled in.
OF_HIDDEN = (
    *("{kind}/{id}", "{kind}/{id}/_history", "{kind}/{id}/_history/1", "{kind}?_id={id}"),
    *("{kind}/{id}/$meta", "{kind}/{id}/$validate", "Provenance?target={kind}/{id}"),
)
#: Of some of them besides.
BY_ID = (
    *("Observation?patient={hidden_patient}", "Observation?patient={hidden_person}&_summary=count"),
    *("Patient/{hidden_patient}/$everything", "Patient/{hidden_person}/$everything"),
    *("Patient/{hidden_person}/$summary", "Encounter/{hidden_visit}/$everything"),
    *("Encounter/{hidden_visit}/Observation", "Patient/{hidden_person}/Condition"),
    *("Observation?encounter={hidden_visit}", "Observation?encounter._id={hidden_stay}"),
    *("Observation?encounter={hidden_stay}", "Observation?_has:List:item:_id={hidden_list}"),
    *("Observation?_list={hidden_list}", "Observation?_in=Group/{hidden_group}"),
    *("Observation?derived-from={hidden_result}", "DiagnosticReport?result={hidden_result}"),
    *("DiagnosticReport?result={hidden_result}&_summary=count", "List?item={hidden_condition}"),
    *("Observation?has-member={hidden_result}", "CarePlan?condition={hidden_condition}"),
    *("Encounter?diagnosis={hidden_condition}", "DocumentReference?encounter={hidden_stay}"),
    *("DocumentReference?relatesto={hidden_letter}", "Composition?entry={hidden_result}"),
    *("DocumentReference?relation=appends", "DocumentReference?relatesto:missing=false"),
    *(
        "Observation/$lastn?patient={hidden_person}&category=laboratory",
        "Patient?_id={hidden_person}",
    ),
    *("DocumentReference/$docref?patient={hidden_person}", "Group?member={hidden_patient}"),
    *("Patient?organization={house}&_id={person}", "Patient?link={hidden_patient}"),
    *("Patient?_has:Observation:patient:_id={hidden_blood}", "AuditEvent?entity={hidden_blood}"),
)

Told = dict[str, list[Answer]]
#: Questions yet to be asked, by name.
Plan = dict[str, Callable[[], Awaitable[list[Answer]]]]


async def asked(twin: Twin, hidden: dict[str, str], step: int = 1) -> Told:
    """Every answer GAMMA gets, by question.

    Args:
        twin: asked.
        hidden: ids of what is hidden, as the whole twin has them.
        step: 1 = every question, n = each n-th of every kind.
    """
    ids = {**hidden, **twin.ids}
    told = {}
    reads = (_reads(twin, ids), _of_hidden(twin, hidden), _beside(twin, ids))
    for plan in (*reads, _exports(twin, ids), _queries(twin), _writes(twin, ids)):
        for name in list(plan)[::step]:
            told[name] = await plan[name]()
    return told


def _reads(twin: Twin, ids: dict[str, str]) -> Plan:
    questions = (*THROUGH, *OF_ONE, *OF_MANY, *BY_ID)
    return {one: partial(twin.told, "GAMMA", "GET", one.format(**ids)) for one in questions}


def _of_hidden(twin: Twin, hidden: dict[str, str]) -> Plan:
    plan: Plan = {}
    for name, key in hidden.items():
        kind = KINDS[name.removeprefix("hidden_")]
        for question in OF_HIDDEN:
            path = question.format(kind=kind, id=key)
            plan[f"{question} of {name}"] = partial(twin.told, "GAMMA", "GET", path)
    return plan


#: Types of what is hidden, by the name its feed gives it.
KINDS = {
    **dict.fromkeys(("result", "virus", "raised", "tagged", "coded", "gone"), "Observation"),
    **dict.fromkeys(("blood", "member", "far"), "Observation"),
    **dict.fromkeys(("stay", "visit"), "Encounter"),
    **dict.fromkeys(("origin", "provenance"), "Provenance"),
    **dict.fromkeys(("patient", "stranger", "person"), "Patient"),
    **dict.fromkeys(("condition", "illness"), "Condition"),
    **dict.fromkeys(("document", "letter"), "DocumentReference"),
    **dict.fromkeys(("binary", "page"), "Binary"),
    "order": "MedicationRequest",
    "report": "DiagnosticReport",
    "list": "List",
    "group": "Group",
    "consent": "Consent",
}


def _beside(twin: Twin, ids: dict[str, str]) -> Plan:
    """Questions that are no plain GET: conditions, descriptions, batches, panels."""
    plan: Plan = {}
    for name, etag in (("result", 'W/"2"'), ("result", 'W/"1"'), ("hidden_virus", 'W/"1"')):
        path, headers = f"Observation/{ids[name]}", {"If-None-Match": etag}
        plan[f"{name} if not {etag}"] = partial(twin.told, "GAMMA", "GET", path, None, **headers)
    since = {"If-Modified-Since": "Sat, 31 Jan 2026 09:31:00 GMT"}
    for kind, name in (("Patient", "person"), ("DiagnosticReport", "report")):
        path = f"{kind}/{ids[name]}"
        plan[f"{kind} if changed"] = partial(twin.told, "GAMMA", "GET", path, None, **since)
    for name, person in PEOPLE.items():
        for option in ("explain", "onlyCertainMatches"):
            body = _parameters(person, option)
            told = partial(twin.told, "GAMMA", "POST", "Patient/$match", body)
            plan[f"$match {name} {option}"] = told
    urls = [f"Observation/{ids['hidden_virus']}", f"Patient/{ids['person']}/Observation"]
    urls += [f"Patient/{ids['hidden_person']}/*", "Observation?_summary=count"]
    plan["batch"] = partial(twin.told, "GAMMA", "POST", "", _batch(urls))
    rows: Fhir = {"resourceType": "Parameters", "parameter": [{"name": "name", "valueString": "p"}]}
    rows["parameter"] = [*rows["parameter"], *(_row(*one) for one in PEOPLE.items())]
    plan["$load-panel"] = partial(twin.told, "GAMMA", "POST", "Group/$load-panel", rows)
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    path = "Observation/_search?code=718-7"
    plan["_search"] = partial(twin.told, "GAMMA", "POST", path, None, **form)
    return plan


def _exports(twin: Twin, ids: dict[str, str]) -> Plan:
    """Bulk exports, with their manifests and files."""
    paths = (f"Group/{ids['panel']}/$export", "Patient/$export", "$export?_since=2020-01-01")
    return {path.partition("/")[0]: partial(twin.exported, "GAMMA", path) for path in paths}


#: Descriptions: the human of both sources, one whom the hidden source alone has, and nobody.
PEOPLE = {
    "known": patient("x", "x", identifier=[]),
    "by hidden number": {**patient("B1", "beta"), "name": [{"family": "Oldname"}]},
    "stranger": {
        "resourceType": "Patient",
        "name": [{"family": "Zebulon", "given": ["Ike"]}],
        "gender": "male",
        "birthDate": "1980-01-01",
    },
    "nobody": {
        "resourceType": "Patient",
        "name": [{"family": "Nonesuch", "given": ["Ada"]}],
        "birthDate": "1933-03-03",
    },
}


def _parameters(person: Fhir, option: str) -> Fhir:
    person = {name: value for name, value in person.items() if value}
    told: list[Fhir] = [{"name": "resource", "resource": person}]
    return {
        "resourceType": "Parameters",
        "parameter": [*told, {"name": option, "valueBoolean": True}],
    }


def _row(name: str, person: Fhir) -> Fhir:
    person = {key: value for key, value in person.items() if value}
    parts = [{"name": "id", "valueString": name}, {"name": "patient", "resource": person}]
    return {"name": "row", "part": parts}


def _batch(urls: list[str]) -> Fhir:
    entries = [{"request": {"method": "GET", "url": url}} for url in urls]
    return {"resourceType": "Bundle", "type": "batch", "entry": entries}


def _queries(twin: Twin) -> Plan:
    """HL7 v2 queries of GAMMA's."""
    foreign = "urn:hie:authority:adhoc%3ABETA%7CBETA:BETA"
    asked = {
        "PIX of its own": pix("GAMMA", "G7^^^GAMMA"),
        "PIX of a hidden number": pix("GAMMA", f"B9^^^&{foreign}&URI"),
        "PDQ by a name of both": pdq("GAMMA", "@PID.5.1^QUILLFEATHER", tag="Q1"),
        "PDQ by a hidden name": pdq("GAMMA", "@PID.5.1^ASHGROVE", tag="Q2"),
        "PDQ by a hidden number": pdq("GAMMA", "@PID.3.1^B1", tag="Q3"),
        "PDQ by a hidden birthday": pdq("GAMMA", "@PID.7.1^19510413", tag="Q4"),
    }
    return {name: partial(twin.query, message) for name, message in asked.items()}


def _writes(twin: Twin, ids: dict[str, str]) -> Plan:
    """What GAMMA may try to write, by hidden numbers, ids and references; the last of all."""
    plan: Plan = {}
    mine = observation(ids["mine"])

    def tried(name: str, method: str, path: str, body: Fhir | None, **more: str) -> None:
        plan[name] = partial(twin.told, "GAMMA", method, path, body, **more)

    for condition in ("identifier=X-1", "identifier=urn:beta|X-2", f"_id={ids['hidden_virus']}"):
        ifs = {"If-None-Exist": condition}
        tried(f"create if none {condition}", "POST", "Observation", mine, **ifs)
        tried(f"delete {condition}", "DELETE", f"Observation?{condition}", None)
        tried(f"update {condition}", "PUT", f"Observation?{condition}", mine)
    for name in ("hidden_virus", "hidden_gone", "hidden_blood"):
        path = f"Observation/{ids[name]}"
        tried(f"delete {name}", "DELETE", path, None)
        tried(f"validate {name}", "POST", f"{path}/$validate", mine)
        named = observation(ids["mine"], derivedFrom=[{"reference": path}])
        tried(f"name {name}", "POST", "Observation", named)
        tried(f"update {name} if", "PUT", path, mine, **{"If-Match": 'W/"1"'})
        tried(f"update {name}", "PUT", path, mine)
        tried(f"read own {name}", "GET", path, None)
    for name in ("hidden_patient", "hidden_person", "hidden_stranger"):
        about = observation(ids[name])
        tried(f"about {name}", "POST", "Observation", about)
        tried(f"validate about {name}", "POST", "Observation/$validate", about)
    again = patient("G1", "gamma", telecom=[{"system": "phone", "value": "4135550100"}])
    tried("patient again", "PUT", f"Patient/{ids['mine']}", again)
    tried("patient read", "GET", f"Patient/{ids['person']}", None)
    return plan
