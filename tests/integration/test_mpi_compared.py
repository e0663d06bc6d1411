"""Both sides of a question, compared as the index compares them."""

import pytest

from hie.db import Database
from tests.support.mpi import SETTINGS, Index, patient

PEOPLE = ("Ada", "Berta", "Carla", "Dora", "Erna", "Frida", "Gerda", "Hanna", "Ida", "Jana")


@pytest.fixture
def index(sqlite_database: Database) -> Index:
    return Index(sqlite_database)


async def levels(index: Index) -> dict[str, str]:
    """How the sides of the first task compare, by comparison."""
    task = min(await index.tasks(), key=lambda one: one.id)
    others = [candidate.person_id for candidate in task.candidates]
    async with index.db.reading() as conn:
        found = await index.mpi.comparisons.of(
            conn, task.person_id, others, record_id=task.record_id or ""
        )
    _, score = found[others[0]]
    return {e.comparison: e.level for e in score.pairs[0].score.evidence}


async def test_a_telephone_that_many_share_is_no_evidence_to_a_steward_either(index: Index):
    await index.see(patient(), "1")
    await index.see(patient(line="9 Quarry Road", zip5="02138"), "2")
    assert (await levels(index))["household"] == "phone"
    most = int(SETTINGS.defaults.shared["phone"])
    for number in range(most + 1):
        name = f"{PEOPLE[number % 10]}{'abcdefghij'[number // 10]}"
        other = patient(
            given=[name],
            family=f"Wild{name}",
            born=f"19{40 + number % 50}-0{1 + number % 9}-11",
            line=f"{number + 1} Mill Lane",
            zip5="01002",
        )
        await index.see(other, f"X{number}", "clinic")
    assert (await levels(index))["household"] != "phone"


async def test_who_is_compared_with_nobody_is_left_out(index: Index):
    first = await index.see(patient(), "1")
    async with index.db.reading() as conn:
        assert await index.mpi.comparisons.of(conn, first.person_id, [first.person_id]) == {}
