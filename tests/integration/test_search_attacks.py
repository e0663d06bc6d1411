"""Attacks through references: what is hidden takes no part in a chain, `_has` or list.

Each question is asked with and without what the caller must not know of; every byte is
compared. Spec: DESIGN §4, D6, D9.
"""

import re
from pathlib import Path
from typing import Any

from tests.support.asked_hub import (
    GLUCOSE,
    HEMOGLOBIN,
    HIV_RNA,
    World,
    actor,
    consent,
    deny,
    observation,
    patient,
    permit,
    zebulon,
)

#: Asked by GAMMA, who may see what ALPHA sent of the person and nothing that BETA did.
QUESTIONS = (
    # The person: by values that BETA alone holds, and by those that all hold.
    *("Observation?patient.name=Oldname", "Observation?patient.name=Quill"),
    "Observation?subject.identifier=urn:beta|B1",
    "Observation?patient.telecom:missing=true",
    *("Observation?patient.organization.name=Beta", "Observation?patient._id={hidden}"),
    *("Patient?organization.name=Beta", "Patient?organization:missing=true", "Patient?name=Quill"),
    # What refers to the person, or to what may be seen.
    f"Patient?_has:Observation:patient:code={HIV_RNA}",
    f"Patient?_has:Observation:patient:code={GLUCOSE}",
    "Patient?_has:Observation:patient:encounter.status=finished",
    "Patient?_has:List:item:status=current",
    "Organization?_has:Patient:organization:name=Quill",
    "Organization?_has:Patient:organization:_has:Observation:patient:status=final",
    "Observation?_has:List:item:_id={list}",
    "Observation?_has:Observation:has-member:status=final",
    "Observation?_list={list}",
    # What visible resources refer to.
    *("Observation?encounter.status=finished", "Observation?encounter.status:not=planned"),
    *("Observation?encounter.service-provider.name=Beta", "Observation?encounter._id={visit}"),
    "Observation?derived-from:Observation.status=final",
    "Observation?derived-from:Observation._lastUpdated=gt2020",
    # By the hub's own labels, texts and composites; with totals.
    *("Observation?_security=HIV", "Observation?_security:not=R"),
    *("Observation?code:text=viral", f"Observation?code-value-quantity={HEMOGLOBIN}$gt1"),
    "Observation?patient.name=Quill&_summary=count",
    "Observation?encounter.status=finished&_total=accurate&_count=1",
    f"Patient?_has:Observation:patient:code={HEMOGLOBIN}&_summary=count",
    # Compartments as addresses.
    *("Patient/{person}/Observation", "Patient/{person}/List"),
    *("Encounter/{visit}/Observation", "Encounter/{visit}/Encounter", "Patient/{hidden}/Condition"),
    "Patient/{person}/Observation?encounter.status=finished",
)


async def _told(world: World, ids: dict[str, str], only: str = "") -> dict[str, Any]:
    told = {}
    for question in QUESTIONS:
        if only not in question:
            continue
        status, headers, body = await world.ask("GAMMA", "GET", question.format(**ids))
        headers.pop("Content-Length", None)
        for name in ("hidden", "visit", "list"):
            body = body.replace(ids[name].encode(), b"")
        told[question] = (status, headers, re.sub(rb"_cursor=[\w-]+", b"", body))
    return told


async def test_nothing_hidden_takes_part_in_a_search_through_references(tmp_path: Path) -> None:
    async with World(tmp_path / "home") as world:
        # What everybody may see, and stays.
        beta_org = await world.post("BETA", {"resourceType": "Organization", "name": "Beta House"})
        alpha = await world.post("ALPHA", patient("A1", "alpha"))
        person = await world.person_of("ALPHA", alpha)
        shown = [await world.post("ALPHA", observation(alpha, code)) for code in (GLUCOSE, "1-8")]
        silence = deny(actor("GAMMA"), actor("BETA", "SOURCE"))
        await world.post("ALPHA", consent(alpha, permit("GAMMA", provision=[silence])))
        ids = {"person": person, "hidden": "z" * 26, "visit": "y" * 26, "list": "x" * 26}
        before = await _told(world, ids)
        assert {status for status, _, _ in before.values()} == {200}, "every question is one"
        assert b'"entry"' in before["Observation?patient.name=Quill"][2]
        assert b'"entry"' in before[f"Patient?_has:Observation:patient:code={GLUCOSE}"][2]

        house = {"reference": f"Organization/{beta_org}"}
        other = patient("B1", "beta", telecom=[{"system": "phone", "value": "4135550100"}])
        other["name"] = [*other["name"], {"family": "Oldname", "use": "maiden"}]
        beta = await world.post("BETA", {**other, "managingOrganization": house})
        assert await world.person_of("BETA", beta) == person, "the attack needs one human"
        stranger = await world.post("BETA", zebulon("B2", "beta"))
        subject = {"subject": {"reference": f"Patient/{beta}"}}
        visit = await world.post(
            "BETA",
            {
                "resourceType": "Encounter",
                "status": "finished",
                "class": {"code": "AMB"},
                "serviceProvider": house,
                **subject,
            },
        )
        at_visit = {"encounter": {"reference": f"Encounter/{visit}"}}
        grams = {"valueQuantity": {"value": 140, "unit": "g/L"}}
        blood = await world.post("BETA", {**observation(beta, HEMOGLOBIN), **at_visit, **grams})
        virus = {
            "coding": [{"system": "http://loinc.org", "code": HIV_RNA, "display": "Viral load"}]
        }
        secret = await world.post("ALPHA", {**observation(alpha), "code": virus})
        members = {"hasMember": [{"reference": f"Observation/{blood}"}]}
        await world.post("BETA", {**observation(beta), **members})
        items = [{"item": {"reference": f"Observation/{name}"}} for name in (blood,)]
        items.append({"item": {"reference": f"Patient/{beta}"}})
        listed = {"resourceType": "List", "status": "current", "mode": "working", **subject}
        found = {
            **ids,
            "list": await world.post("BETA", {**listed, "entry": items}),
            "visit": visit,
        }
        nobody = await world.person_of("BETA", stranger)
        for hidden, only in ((beta, ""), (secret, "{hidden}"), (nobody, "{hidden}")):
            after = await _told(world, {**found, "hidden": hidden}, only)
            changed = [one for one in after if after[one] != before[one]]
            assert not changed, (changed, after[changed[0]], before[changed[0]])
        # The same questions do find them for whoever may see them.
        for question in (
            "Observation?patient.name=Oldname",
            "Observation?encounter.status=finished",
        ):
            assert (await world.get("BETA", question)).get("entry"), question
        mine = f"Observation?_list={found['list']}"
        assert (await world.get("BETA", mine))["entry"][0]["resource"]["id"] == blood
        assert len(shown) == 2
