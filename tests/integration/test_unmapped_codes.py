"""An unmapped code, end to end: kept, counted, asked about, answered, mapped again once."""

from pathlib import Path

import pytest
from sqlalchemy import text

from adapters.terminology import Concept
from hie.tasks.model import StaffTask, TaskFilter, TaskKind, TaskState
from tests.support.running_hub import RunningHub, running_hub

SENDER = "MSH|^~\\&|MEDIHOST|STAUR|HIE|MA|2026010112{minute:02}00||ADT^A08^ADT_A01|{control}|P|2.5.1"


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
    return "" if request.param == "sqlite" else request.getfixturevalue("empty_postgres_url")


@pytest.fixture
async def hub(url: str, tmp_path: Path):
    async with running_hub(tmp_path, HIE_DATABASE_URL=url) as running:
        yield running


async def patient(hub: RunningHub, number: str = "1001") -> dict:
    token = await hub.token("https://hie.example/organization|saint-aurelia")
    _, found = await hub.ask(token, f"Patient?identifier={number}")
    (entry,) = found["entry"]
    return entry["resource"]


async def versions(hub: RunningHub) -> int:
    """How many versions the source's own record of the patient has."""
    async with hub.hub.db.reading() as conn:
        query = text("SELECT max(version) FROM resource WHERE source_id = 'saint-aurelia'")
        return (await conn.execute(query)).scalar_one()


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
