"""Orders, results, documents and vaccinations through the whole write path."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from adapters.message import State
from hie.kernel.fhir import FhirJson
from tests.support.feeding import Feeding, feeding

GOLDEN = Path(__file__).parents[1] / "golden" / "hl7v2"
FAMILIES = ("orm", "omg", "oml", "oru", "oul", "mdm", "vxu")
PID = "PID|1||B1^^^BGH^MR||Grebe^Ada||19620714|F"


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Feeding]:
    async with feeding(tmp_path / "home") as fed:
        yield fed


def message(trigger: str, control: str, at: str, *segments: str) -> bytes:
    msh = f"MSH|^~\\&|CLINWORKS|BAYSIDE|HIE|ST|{at}||{trigger}|{control}|P|2.5.1"
    return "\r".join([msh, PID, *segments, ""]).encode()


def mdm(event: str, at: str, number: str, parent: str = "", text: str = "") -> bytes:
    content = (f"OBX|1|TX|18842-5^Summary^LN||{text}||||||F",) if text else ()
    txa = f"TXA|1|DS|TX|||||||||{number}^BGH|{parent}||||AU||AV"
    return message(f"MDM^{event}", f"{event}-{at}", at, f"EVN||{at}", txa, *content)


async def of_kind(hub: Feeding, kind: str) -> list[FhirJson]:
    return [found for found in (await hub.stored(kind)).values() if found is not None]


def reference(resource: FhirJson, path: str) -> list[str]:
    return [entry["reference"] for entry in resource.get(path, ())]


async def test_every_reviewed_message_is_stored(hub: Feeding) -> None:
    files = [path for name in FAMILIES for path in sorted(GOLDEN.glob(f"{name}_*.hl7"))]
    settled = await hub.send(*(path.read_bytes() for path in files))
    failed = [
        (path.name, found.stage, found.reason)
        for path, found in zip(files, settled, strict=True)
        if found.state is not State.PROCESSED
    ]
    assert failed == []


async def test_a_result_completes_its_order_and_takes_nothing_away(hub: Feeding) -> None:
    order = message(
        "OML^O21^OML_O21",
        "1",
        "20250301080000",
        "ORC|NW|O1^BGH||||||20250301080000",
        "OBR|1|O1^BGH||24331-1^Lipid panel^LN||||||||||||||||||||||||||||Z13^Screening^I10C",
        "OBX|1|CWE|49541-6^Fasting^LN||Y^Yes^HL70136||||||O",
    )
    result = message(
        "ORU^R01^ORU_R01",
        "2",
        "20250301100000",
        "ORC|RE|O1^BGH|F1^LAB",
        f"OBR|1|O1^BGH|F1^LAB|24331-1^Lipid panel^LN{'|' * 18}20250301095900|||F",
        "OBX|1|NM|2093-3^Cholesterol^LN||212|mg/dL|<200|H|||F",
    )
    await hub.send(order, result)
    (found,) = await of_kind(hub, "ServiceRequest")
    assert found["status"] == "completed"
    assert found["supportingInfo"]
    (report,) = await of_kind(hub, "DiagnosticReport")
    ((_, order_id),) = await hub.stored("ServiceRequest")
    assert reference(report, "basedOn") == [f"ServiceRequest/{order_id}"]


async def test_a_printed_report_leads_to_its_content(hub: Feeding) -> None:
    await hub.send(
        message(
            "ORU^R01^ORU_R01",
            "1",
            "20250301100000",
            "OBR|1|O1^BGH|F1^LAB|58410-2^CBC^LN|||||||||||||||||||||F",
            "OBX|1|ED|PDF^Printed^99L||LAB^application^pdf^Base64^JVBERi0xLjQ=||||||F",
        )
    )
    ((_, binary),) = await hub.stored("Binary")
    ((_, document),) = await hub.stored("DocumentReference")
    (report,) = await of_kind(hub, "DiagnosticReport")
    (kept,) = await of_kind(hub, "DocumentReference")
    (content,) = await of_kind(hub, "Binary")
    assert report["presentedForm"][0]["url"] == f"Binary/{binary}"
    assert kept["content"][0]["attachment"]["url"] == f"Binary/{binary}"
    assert content["securityContext"] == {"reference": f"DocumentReference/{document}"}


async def test_a_child_result_and_its_parent_lead_to_each_other(hub: Feeding) -> None:
    await hub.send(
        message(
            "ORU^R01^ORU_R01",
            "1",
            "20250301100000",
            "ORC|RE|O1^BGH|F1^LAB",
            f"OBR|1|O1^BGH|F1^LAB|600-7^Culture^LN{'|' * 18}20250301095900||MB|F",
            "OBX|1|CWE|600-7^Bacteria^LN|1|112283007^E. coli^SCT||||||F",
            "ORC|RE|O1^BGH|F2^LAB",
            f"OBR|2|O1^BGH|F2^LAB|50545-3^Susceptibility^LN{'|' * 18}20250301095900||MB|F"
            "|600-7&Bacteria&LN^1|||O1&BGH^F1&LAB",
            "OBX|1|SN|28-1^Ampicillin^LN||>^16|ug/mL||R|||F",
        )
    )
    found = {
        resource["code"]["coding"][0]["code"]: (f"Observation/{key[1]}", resource)
        for key, resource in (await hub.stored("Observation")).items()
        if resource is not None
    }
    organism, ampicillin = found["600-7"], found["28-1"]
    assert reference(organism[1], "hasMember") == [ampicillin[0]]
    assert reference(ampicillin[1], "derivedFrom") == [organism[0]]


@pytest.mark.parametrize("order", ["in order", "the replacement first"])
async def test_a_replaced_document_does_not_become_current_again(hub: Feeding, order: str) -> None:
    first = mdm("T02", "20250301080000", "D1", text="first")
    second = mdm("T10", "20250301090000", "D2", parent="D1^BGH", text="second")
    again = mdm("T03", "20250301083000", "D1")
    await hub.send(*((first, second, again) if order == "in order" else (second, again, first)))
    statuses = {
        document["masterIdentifier"]["value"]: document["status"]
        for document in await of_kind(hub, "DocumentReference")
    }
    assert statuses == {"D1": "superseded", "D2": "current"}


async def test_what_is_told_of_a_document_leaves_its_content(hub: Feeding) -> None:
    await hub.send(
        mdm("T02", "20250301080000", "D1", text="first"), mdm("T03", "20250301090000", "D1")
    )
    (document,) = await of_kind(hub, "DocumentReference")
    assert document["content"][0]["attachment"]["url"].startswith("Binary/")
    await hub.send(mdm("T11", "20250301100000", "D1"))
    (document,) = await of_kind(hub, "DocumentReference")
    assert (document["status"], document["docStatus"]) == ("entered-in-error", "entered-in-error")


async def test_a_deleted_vaccination_stays_deleted(hub: Feeding) -> None:
    def vxu(control: str, at: str, action: str) -> bytes:
        rxa = f"RXA|0|1|20250301||08^Hep B^CVX|999||||||||||||||CP|{action}"
        return message("VXU^V04^VXU_V04", control, at, "ORC|RE||I1^BGH", rxa)

    await hub.send(vxu("2", "20250301090000", "D"), vxu("1", "20250301080000", "A"))
    (found,) = await of_kind(hub, "Immunization")
    assert found["status"] == "entered-in-error"
