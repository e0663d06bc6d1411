"""An unmapped code, end to end: kept, counted, asked about, answered, mapped again once."""

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import text

from adapters.terminology import Concept
from hie.kernel.errors import HieError
from hie.kernel.fhir import FhirJson
from hie.kernel.ids import MessageId
from hie.services import Services
from hie.tasks.model import StaffTask, TaskFilter, TaskKind, TaskState
from tests.support.running_hub import RunningHub, running_hub

SENDER = (
    "MSH|^~\\&|MEDIHOST|STAUR|HIE|MA|2026010112{minute:02}00||ADT^A08^ADT_A01|{control}|P|2.5.1"
)


def adt(control: str, *, marital: str, number: str = "1001", minute: int = 0) -> bytes:
    """An update of one patient with a marital status."""
    lines = [
        SENDER.format(control=control, minute=minute),
        f"EVN||2026010112{minute:02}00",
        f"PID|1||{number}^^^SAMC^MR||DOE^JANE||19800102|F||||||||{marital}",
        "PV1|1|I|W^1^2",
        "",
    ]
    return "\r".join(lines).encode()


@pytest.fixture(name="url", params=["sqlite", "postgresql"])
def _url(request: pytest.FixtureRequest) -> str:
    """The address of an empty database of each kind; "" = the hub's own SQLite file."""
    return "" if request.param == "sqlite" else request.getfixturevalue("postgres_url")


@pytest.fixture
async def hub(url: str, tmp_path: Path):
    async with running_hub(tmp_path, HIE_DATABASE_URL=url) as running:
        yield running


async def patient(hub: RunningHub, number: str = "1001") -> FhirJson:
    token = await hub.token("https://hie.example/organization|saint-aurelia")
    _, found = await hub.ask(token, f"Patient?identifier={number}")
    (entry,) = found["entry"]
    resource: FhirJson = entry["resource"]
    return resource


async def versions(hub: RunningHub) -> int:
    """How many versions the source's own record of the patient has."""
    async with hub.hub.db.reading() as conn:
        query = text("SELECT max(version) FROM resource WHERE source_id = 'saint-aurelia'")
        return int((await conn.execute(query)).scalar_one())


async def tasks(hub: RunningHub, state: TaskState | None = TaskState.OPEN) -> list[StaffTask]:
    async with hub.hub.db.reading() as conn:
        wanted = TaskFilter(kind=TaskKind.UNMAPPED_CODE, state=state)
        return await hub.hub.tasks.listed(conn, wanted)


async def answer(hub: RunningHub, task: StaffTask, concept: Concept) -> int:
    async with hub.hub.db.transaction() as conn:
        done = await hub.hub.codes.answer(conn, task.id, concept, actor="mira")
    hub.hub.worker.notify()
    await hub.hub.worker.idle()
    return done.reopened


async def test_a_code_is_answered_and_what_waited_is_mapped_again_once(hub: RunningHub):
    await hub.send(adt("C1", marital="QQ^In two minds"), adt("C2", marital="QQ", number="1002"))
    before = await patient(hub)
    assert before["maritalStatus"]["text"] == "In two minds"
    (task,) = await tasks(hub)
    assert (task.source_id, task.topic, task.count, task.messages) == (
        "saint-aurelia",
        "marital-status",
        2,
        2,
    )
    assert dict(task.detail) == {"code": "QQ", "text": "In two minds"}

    assert await answer(hub, task, Concept(target="U")) == 2

    after = await patient(hub)
    assert after["maritalStatus"]["coding"][0]["code"] == "U"
    assert await tasks(hub) == []
    assert await versions(hub) == 2
    await hub.send(adt("C3", marital="qq", number="1003"))
    assert (await patient(hub, "1003"))["maritalStatus"]["coding"][0]["code"] == "U"
    assert await tasks(hub) == []


async def test_an_answer_given_beside_the_hub_holds_without_a_restart(hub: RunningHub):
    await hub.send(adt("C1", marital="QQ"))
    (task,) = await tasks(hub)
    beside = Services(hub.hub.settings)
    async with beside, beside.db.transaction() as conn:
        await beside.codes.answer(conn, task.id, Concept(target="M"), actor="mira")
    hub.hub.worker.notify()
    await hub.hub.worker.idle()
    assert (await patient(hub))["maritalStatus"]["coding"][0]["code"] == "M"
    await hub.send(adt("C2", marital="QQ", number="1002"))
    assert (await patient(hub, "1002"))["maritalStatus"]["coding"][0]["code"] == "M"


async def test_an_answer_survives_the_hub_and_is_carried_out_after_its_restart(
    url: str, tmp_path: Path
):
    async with running_hub(tmp_path, HIE_DATABASE_URL=url) as first:
        await first.send(adt("C1", marital="QQ"))
        (task,) = await tasks(first)
        settings = first.hub.settings
    # The hub is down: the answer is committed, nothing is mapped.
    async with Services(settings) as services, services.db.transaction() as conn:
        done = await services.codes.answer(conn, task.id, Concept(target="W"), actor="mira")
        assert done.reopened == 1
    async with running_hub(tmp_path, HIE_DATABASE_URL=url) as second:
        second.hub.worker.notify()
        await second.hub.worker.idle()
        assert (await patient(second))["maritalStatus"]["coding"][0]["code"] == "W"
        assert await versions(second) == 2
        async with second.hub.db.reading() as conn:
            found = await second.hub.tasks.get(conn, task.id)
    assert [(event.action, event.actor) for event in found.events] == [("answered", "mira")]


async def test_a_message_mapped_before_its_answer_is_mapped_again_before_it_is_stored(
    hub: RunningHub,
):
    await hub.send(adt("C1", marital="QQ"))
    (task,) = await tasks(hub)
    ingest = hub.hub.ingest
    # The hub's own worker looks often, and might take the message first.
    hub.hub.worker.stop()
    await asyncio.wait(hub.hub._tasks)
    async with hub.hub.db.reading() as conn:
        (waiting,) = [await hub.hub.journal.get(conn, m) for m in await _messages(hub, task)]
    assert waiting is not None
    late = ingest.prepare(waiting)  # as a worker of another process that read it before
    assert late.submission is not None
    assert late.submission.codes
    async with hub.hub.db.transaction() as conn:
        await hub.hub.codes.answer(conn, task.id, Concept(target="S"), actor="mira")
    async with hub.hub.db.transaction() as conn:
        await ingest.work_off(conn, [late])
    assert (await patient(hub))["maritalStatus"]["coding"][0]["code"] == "S"


async def _messages(hub: RunningHub, task: StaffTask) -> list[MessageId]:
    async with hub.hub.db.reading() as conn:
        return await hub.hub.tasks.messages(conn, task.id)


async def test_an_answer_can_be_taken_back(hub: RunningHub):
    await hub.send(adt("C1", marital="QQ^In two minds"))
    (task,) = await tasks(hub)
    await answer(hub, task, Concept(target="U"))
    await hub.send(adt("C2", marital="QQ^In two minds", number="1002"))
    async with hub.hub.db.transaction() as conn:
        assert await hub.hub.desk.undo(conn, task.id, actor="jon", reason="a mistake") == 2
    hub.hub.worker.notify()
    await hub.hub.worker.idle()
    again = (await patient(hub))["maritalStatus"]
    later = (await patient(hub, "1002"))["maritalStatus"]
    assert all(coding["code"] != "U" for found in (again, later) for coding in found["coding"])
    (reopened,) = await tasks(hub)
    assert (reopened.id, reopened.messages) == (task.id, 2)
    assert await answer(hub, reopened, Concept(target="")) == 2
    assert await tasks(hub) == []
    assert (await patient(hub))["maritalStatus"]["text"] == "In two minds"


async def test_a_target_must_be_one_the_element_can_hold(hub: RunningHub):
    gender = adt("C1", marital="").replace(b"|F|", b"|QQ|")
    await hub.send(gender, adt("C2", marital="QQ", number="1002"))
    by_map = {task.topic: task for task in await tasks(hub)}
    wrong = [
        ("administrative-sex", Concept(target="feminine"), "`--target`: expected one of female"),
        ("marital-status", Concept(target="polyamorous"), "`--system`: expected the URI"),
    ]
    for name, concept, told in wrong:
        with pytest.raises(HieError, match=told):
            async with hub.hub.db.transaction() as conn:
                await hub.hub.codes.answer(conn, by_map[name].id, concept, actor="mira")
    assert len(await tasks(hub)) == 2


async def test_the_metric_counts_by_source_and_map_and_tells_no_code(hub: RunningHub):
    await hub.send(adt("C1", marital="CANARYCODE"), adt("C2", marital="CANARYCODE", number="2"))
    told = hub.hub.metrics.render()
    line = 'hie_unmapped_codes_total{source="saint-aurelia",concept_map="marital-status"} 2'
    assert line in told
    assert "CANARYCODE" not in told
    async with hub.hub.db.reading() as conn:
        for table in ("staff_task", "staff_task_message", "code_translation", "inbound_message"):
            rows = (await conn.execute(text(f"SELECT * FROM {table}"))).all()
            assert "CANARYCODE" not in repr(rows), table
