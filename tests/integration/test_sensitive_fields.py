"""What a sender says of who may see something, end to end: raised, held, told, never lowered."""

from pathlib import Path

import pytest
from sqlalchemy import text

from hie.flow.lowering import Lowering
from hie.kernel.errors import Category, HieError
from hie.store.marks import Marks
from hie.tasks.model import StaffTask, TaskFilter, TaskKind
from tests.support.running_hub import RunningHub, running_hub

OWN, OTHER = "saint-aurelia", "bayside-general"
ORGANIZATION = "https://hie.example/organization|"
_numbers = iter(range(1, 10_000))


def message(event: str, *lines: str, minute: int = 0) -> bytes:
    head = (
        f"MSH|^~\\&|MEDIHOST|STAUR|HIE|MA|2026010112{minute:02}00||{event}|"
        f"C{next(_numbers)}|P|2.5.1"
    )
    return "\r".join([head, f"EVN||2026010112{minute:02}00", *lines, ""]).encode()


def pid(number: str = "1001") -> str:
    return f"PID|1||{number}^^^SAMC^MR||DOE^JANE||19800102|F"


def pv1(vip: str = "") -> str:
    fields = [""] * 46
    fields[0], fields[1], fields[2], fields[16], fields[19] = "PV1", "1", "I", vip, "V77^^^SAMC^VN"
    return "|".join(fields)


AL1 = "AL1|1|DA|70618^Penicillin^RXNORM"
DG1 = "DG1|1||I10^Hypertension^I10|||A"
OBR = "OBR|1|P1|F1|2345-7^Glucose^LN|||20260101120000|||||||||||||||20260101130000|||F"
OBX = "OBX|1|NM|2345-7^Glucose^LN||95|mg/dL|||||F"


@pytest.fixture(params=["sqlite", "postgresql"])
async def hub(request: pytest.FixtureRequest, tmp_path: Path):
    url = "" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    async with running_hub(tmp_path, HIE_DATABASE_URL=url) as running:
        yield running


async def labels(hub: RunningHub, kind: str) -> list[set[str]]:
    """The security codes of each resource of a type, as the source itself sees them."""
    token = await hub.token(ORGANIZATION + OWN)
    _, found = await hub.ask(token, f"{kind}?_count=50")
    return [
        {coding["code"] for coding in entry["resource"]["meta"]["security"]}
        for entry in found.get("entry", [])
    ]


async def consent_tasks(hub: RunningHub) -> list[StaffTask]:
    async with hub.hub.db.reading() as conn:
        return await hub.hub.tasks.listed(conn, TaskFilter(kind=TaskKind.CONSENT))


async def test_a_vip_visit_labels_everything_of_the_message_and_of_the_visit(hub: RunningHub):
    adt = "ADT^A01^ADT_A01"
    await hub.send(message(adt, pid(), pv1(), DG1))
    assert await labels(hub, "Condition") == [{"N"}]
    await hub.send(message("ADT^A08^ADT_A01", pid(), pv1("VIP"), AL1, minute=1))
    vip = {"R", "CEL"}
    assert await labels(hub, "Encounter") == [vip]
    assert await labels(hub, "AllergyIntolerance") == [vip]
    assert await labels(hub, "Condition") == [vip], "what the visit had before carries it too"
    assert await labels(hub, "Patient") == [{"N"}], "the visit is sensitive, not who it is"
    await hub.send(message("ORU^R01^ORU_R01", pid(), pv1(), OBR, OBX, minute=2))
    assert await labels(hub, "Observation") == [vip], "what comes of the visit carries it"
    await hub.send(message("ADT^A08^ADT_A01", pid(), pv1("N"), DG1, minute=3))
    assert await labels(hub, "Encounter") == [vip], "and nothing lowers it"
    assert await labels(hub, "Condition") == [vip]
    assert await consent_tasks(hub) == []
    txa = "TXA|1|CN|TX|20260101||||||||D1^SAMC|||||AU|V"
    note = message("MDM^T02^MDM_T02", pid(), pv1(), txa, "OBX|1|TX|1^Note||Hello", minute=4)
    await hub.send(note)
    assert await labels(hub, "DocumentReference") == [{"V", "CEL"}], "TXA-18 labels the document"
    await taken_back_by_an_officer(hub)


async def taken_back_by_an_officer(hub: RunningHub) -> None:
    """A visit that was no VIP's: the officer's word lowers it, with a reason, and is undone."""
    vip, plain = {"R", "CEL"}, [{"N"}]
    services = hub.hub
    marks = Marks(services.keys, services.config.index)
    lowering = Lowering(
        services.db,
        services.labeller,
        services.repository,
        marks,
        services.audit,
        services.clock,
    )
    _, found = await hub.ask(await hub.token(ORGANIZATION + OWN), "Encounter")
    target = ("Encounter", found["entry"][0]["resource"]["id"])
    for labelled, reason in ((["CEL"], " "), (["GOSSIP"], "a mistake"), ([], "a mistake")):
        with pytest.raises(HieError) as caught:
            await lowering.take_back(target, labelled, reason=reason, user="officer")
        assert caught.value.category is Category.INVALID
    done = await lowering.take_back(target, ["CEL"], reason="wrong patient", user="officer")
    assert await labels(hub, "Encounter") == plain
    assert await labels(hub, "Condition") == plain
    assert await labels(hub, "Observation") == plain
    assert await labels(hub, "DocumentReference") == [{"V"}], "what else was raised stays"
    await hub.send(message("ADT^A08^ADT_A01", pid(), pv1(), DG1, minute=5))
    assert await labels(hub, "Encounter") == plain, "nobody raised it again"
    async with services.db.reading() as conn:
        rows = await conn.execute(text("SELECT * FROM audit_event WHERE subtype = 'amend'"))
        assert "wrong patient" not in repr(rows.all()), "the reason is sealed"
    put_back = await lowering.put_back(done.number, reason="it was right", user="officer")
    assert put_back.resources >= done.resources
    assert await labels(hub, "Encounter") == [vip]
    assert await labels(hub, "Condition") == [vip]
    with pytest.raises(HieError, match="put back already"):
        await lowering.put_back(done.number, reason="again", user="officer")


async def test_a_protected_patient_is_withheld_at_once_and_told_to_an_officer(hub: RunningHub):
    await hub.send(message("ADT^A04^ADT_A01", pid(), pv1(), AL1))
    await share(hub)
    assert len(await seen(hub)) == 1
    protected = "PD1" + "|" * 12 + "Y"
    await hub.send(message("ADT^A08^ADT_A01", pid(), protected, pv1(), minute=1))
    assert await seen(hub) == [], "a wish not to share holds at once"
    assert await labels(hub, "Patient") == [{"R"}]
    (task,) = await consent_tasks(hub)
    assert (task.source_id, task.topic, task.detail["PD1-12"]) == (OWN, "PD1", "Y")
    open_again = protected[:-1] + "N"
    await hub.send(message("ADT^A08^ADT_A01", pid(), open_again, pv1(), minute=2))
    assert await seen(hub) == [], "and is not taken back by a field"
    assert await labels(hub, "Patient") == [{"R"}]
    assert len(await consent_tasks(hub)) == 2
    await hub.send(message("ADT^A08^ADT_A01", pid(), protected, pv1(), minute=3))
    assert len(await consent_tasks(hub)) == 2, "the same wish is counted, not asked again"


@pytest.mark.parametrize(("status", "is_withheld"), [("R", True), ("A", False)])
async def test_a_consent_statement_is_a_task_and_never_widens(
    hub: RunningHub, status: str, is_withheld: bool
):
    await hub.send(message("ADT^A04^ADT_A01", pid(), pv1(), AL1))
    if is_withheld:
        await share(hub)
    before = len(await seen(hub))
    assert before == (1 if is_withheld else 0)
    con = f"CON|1|001^Release^HL70496|FORM-1204|||||||{'|'}{status}||20260101"
    document = "TXA|1|DS|TX|20260101|||||||||D1^SAMC|||||AU"
    await hub.send(
        message("MDM^T02^MDM_T02", pid(), pv1(), document, con, "OBX|1|TX|1^Note||Hello")
    )
    assert await seen(hub) == []
    (task,) = await consent_tasks(hub)
    told = (task.topic, task.detail["CON-3"], task.detail["CON-11"])
    assert told == ("CON", "FORM-1204", status)
    async with hub.hub.db.reading() as conn:
        rows = (await conn.execute(text("SELECT * FROM staff_task"))).all()
    assert "FORM-1204" not in repr(rows)


async def test_a_merged_record_takes_over_what_was_raised(hub: RunningHub):
    protected = "PD1" + "|" * 12 + "Y"
    restriction = "ARV|1|A|HIV^HIV^HL70717"
    await hub.send(message("ADT^A04^ADT_A01", pid(), protected, restriction, pv1()))
    await hub.send(message("ADT^A04^ADT_A01", pid("1002"), minute=1))
    mrg = "MRG|1001^^^SAMC^MR"
    await hub.send(message("ADT^A40^ADT_A39", pid("1002"), mrg, minute=2))
    await hub.send(message("ADT^A08^ADT_A01", pid("1002"), AL1, minute=3))
    (found,) = await labels(hub, "AllergyIntolerance")
    assert {"R", "HIV"} <= found


async def share(hub: RunningHub) -> None:
    """The patient's own word, recorded by the source: everybody may see everything."""
    token = await hub.token(ORGANIZATION + OWN)
    status, _ = await hub.ask(
        token,
        "Consent",
        {
            "resourceType": "Consent",
            "status": "active",
            "scope": {
                "coding": [
                    {
                        "system": "http://terminology.hl7.org/CodeSystem/consentscope",
                        "code": "patient-privacy",
                    }
                ]
            },
            "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
            "patient": {
                "identifier": {"system": "https://saint-aurelia.example/mrn", "value": "1001"}
            },
            "policy": [{"uri": "https://example.org/policy"}],
            "provision": {"type": "permit"},
            "verification": [{"verified": True}],
        },
    )
    assert status == 201


async def seen(hub: RunningHub) -> list[str]:
    """The allergies another organisation sees."""
    token = await hub.token(ORGANIZATION + OTHER)
    _, found = await hub.ask(token, "AllergyIntolerance")
    return [entry["resource"]["id"] for entry in found.get("entry", [])]
