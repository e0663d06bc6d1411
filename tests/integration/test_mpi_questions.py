"""What the index answers to a caller: computed from the records that caller may see alone."""

import pytest

from hie.db import Database
from mpi.ask import Fit
from mpi.levels import MatchGrade
from tests.support.mpi import MODEL, START_US, THRESHOLDS, Index, Patient, patient, steward

LATER_US = START_US + 86_400_000_000


async def ask(index: Index, described: Patient, hidden: frozenset[str] = frozenset()) -> list[Fit]:
    """Who fits a description, where records of these sources are hidden."""
    questions = index.mpi.questions
    asked = questions.asked(described, LATER_US)
    async with index.db.reading() as conn:
        under = await questions.under(conn, asked)
        named = {record for found in under.values() for record in found}
        persons = await index.mpi.person_of(conn, named)
        visible: dict[str, str] = {r: p for r, p in persons.items() if r not in hidden}
        ranked = questions.ranked(asked, under, visible)
        theirs: dict[str, str] = {
            record: person
            for person in ranked.persons
            for record in await index.mpi.records_of(conn, person)
            if record not in hidden
        }
        return list(await questions.fits(conn, ranked, theirs))


@pytest.fixture
def index(sqlite_database: Database) -> Index:
    return Index(sqlite_database)


async def test_a_hidden_record_adds_no_person_no_bit_and_no_reason(index: Index):
    seen = await index.see(patient(), "1")
    before = await ask(index, patient())
    hidden = [
        await index.see(patient(family="Abernathy"), "2", source="lab"),
        await index.see(patient(given=["Norma"], birth_order=2), "3", source="lab"),
        await index.see(patient(suffix="Jr", born="1941-03-08"), "4", source="lab"),
    ]
    assert {h.person_id for h in hidden} - {seen.person_id}
    assert await ask(index, patient()) != before
    assert await ask(index, patient(), frozenset(h.source_record_id for h in hidden)) == before


async def test_a_number_is_shared_by_many_only_among_persons_one_may_see(index: Index):
    await index.see(patient(line=None, zip5=None), "1")
    described = patient(line=None, zip5=None)
    before = await ask(index, described)
    crowd = []
    for n in range(30):
        other = patient(given=[f"Pat{n}"], family=f"Other{n}", born=f"19{60 + n}-05-05", line=None)
        found = await index.see(other, f"L{n}", source="lab")
        crowd.append(found.source_record_id)
    assert await ask(index, described, frozenset(crowd)) == before
    (open_to_all,) = await ask(index, described)
    assert open_to_all.best.strength < before[0].best.strength


async def test_a_full_key_hides_nobody_who_was_there_or_came_later(index: Index):
    cap = MODEL.key_cap
    first = await index.see(patient(phone=None, line=None, zip5=None), "1")
    crowd = [
        (await index.see(crowded(n), f"L{n}", source="lab")).source_record_id for n in range(cap)
    ]
    late = await index.see(patient(given=["Zoe"], phone=None, line=None, zip5=None), "2")
    for one, given in ((first, "Nora"), (late, "Zoe")):
        described = patient(given=[given], phone=None, line=None, zip5=None, gender=None)
        found = await ask(index, described, frozenset(crowd))
        assert found[0].person_id == one.person_id


def crowded(n: int) -> Patient:
    """Somebody born the same day, of another name and home."""
    return patient(given=[f"P{n:03d}"], family=f"Crowd{n:03d}", phone=None, line=None, zip5=None)


async def test_nobody_is_certain_whom_another_comes_close_to(index: Index):
    await index.see(patient(), "1")
    (alone,) = await ask(index, patient())
    assert (alone.grade, alone.reason) == (MatchGrade.CERTAIN, "")
    # The same human again, whom a steward holds apart: two persons fit equally well.
    again = await index.see(patient(), "2", source="lab")
    async with index.db.transaction() as conn:
        await index.mpi.steward.unlink(conn, again.source_record_id, steward())
    found = await ask(index, patient())
    assert [(fit.grade, fit.reason) for fit in found] == [(MatchGrade.PROBABLE, "margin")] * 2


async def test_whom_the_guard_doubts_comes_behind_whom_it_does_not(index: Index):
    await index.see(patient(birth_order=1), "1")
    await index.see(patient(given=["Nina"], birth_order=2), "2")
    best, twin = await ask(index, patient(birth_order=1))
    assert best.grade is MatchGrade.CERTAIN
    assert (twin.grade, twin.score <= 0.5) == (MatchGrade.POSSIBLE, True)
    assert twin.reason in {veto.value for veto in twin.best.vetoes}


async def test_a_score_is_the_probability_of_its_bits(index: Index):
    await index.see(patient(), "1")
    (fit,) = await ask(index, patient())
    assert fit.bits >= THRESHOLDS.certain
    assert fit.score == 1.0
    (less,) = await ask(index, patient(phone=None, line=None, zip5=None, gender=None))
    assert less.score == round(1 / (1 + 2**-less.bits), 4)
    assert less.score < 1.0 or less.bits > 13
