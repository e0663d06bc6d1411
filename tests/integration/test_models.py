"""Which linkage model decides: chosen on record, taken up by every process, taken back."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from hie.kernel.errors import HieError
from mpi.drift import drift
from mpi.model_text import model_text
from mpi.models import Why
from mpi.redecide import NEW, OWN, REVIEW, Redecided
from mpi.repository import decisions
from mpi.settings import Level, LinkageModel, read_model
from tests.support.mpi import MODEL, START_US, Index, patient
from tests.support.running_hub import running_hub

WHY = Why(actor="steward:kim", reason="learnt from a year of records", findings={"gates": {}})
NORA = patient(ssn="213456781")


def model(version: str, **changes: Any) -> LinkageModel:
    """The model in use under another version, as it is read from a file."""
    made = replace(MODEL, version=version, **changes)
    return read_model(model_text(made), version)


async def started(index: Index) -> Index:
    async with index.db.transaction() as conn:
        await index.mpi.start(conn, now_us=START_US)
    return index


async def activate(index: Index, chosen: LinkageModel | None, after_us: int = 1) -> None:
    async with index.db.transaction() as conn:
        await index.mpi.models.activate(conn, chosen, WHY, now_us=START_US + after_us)


async def followed(index: Index) -> bool:
    async with index.db.reading() as conn:
        return await index.mpi.follow(conn)


async def deciding(index: Index) -> list[str]:
    """The versions that decide now, by the table of models."""
    async with index.db.reading() as conn:
        listed = await index.mpi.models.listed(conn)
    return [m.version for m in listed if m.active_from_us and m.active_to_us is None]


async def test_the_file_decides_where_nobody_chose(database):
    index = await started(Index(database))
    assert index.mpi.trials.model.version == MODEL.version
    assert await deciding(index) == [MODEL.version]
    assert not await followed(index)


async def test_an_activated_model_is_taken_up_by_processes_that_run_and_that_start(database):
    index = await started(Index(database))
    await activate(index, model("trained-1", prior_bits=-18.0))
    assert index.mpi.trials.model.version == MODEL.version
    assert await followed(index)
    assert index.mpi.trials.model.version == "trained-1"
    assert index.mpi.trials.model.prior_bits == -18.0
    assert not await followed(index)
    later = await started(index.restarted())
    assert later.mpi.trials.model.version == "trained-1"
    assert await deciding(later) == ["trained-1"]


async def test_decisions_name_the_model_that_made_them(database):
    index = await started(Index(database))
    first = await index.see(NORA, "1")
    await activate(index, model("trained-1"))
    await followed(index)
    second = await index.see(NORA, "2", "other")
    assert second.person_id == first.person_id
    async with index.db.reading() as conn:
        past = await decisions.of_records(
            conn, [first.source_record_id, second.source_record_id], before=None, limit=9
        )
    told = [decision.model_version for decision in past][::-1]
    assert told == [MODEL.version, "trained-1"]


async def test_an_activated_model_weighs_and_the_file_says_where_lines_are_drawn(database):
    index = await started(Index(database))
    thresholds = replace(MODEL.thresholds, auto=99.0)
    keys = MODEL.keys[:1]
    await activate(index, model("trained-1", thresholds=thresholds, keys=keys, prior_bits=-60.0))
    await followed(index)
    in_use = index.mpi.trials.model
    assert in_use.thresholds == MODEL.thresholds
    assert in_use.keys == MODEL.keys
    first = await index.see(patient(), "1")
    second = await index.see(patient(), "2", "other")
    assert second.person_id != first.person_id  # forty bits less


async def test_going_back_restores_the_model_before_and_can_be_gone_back_from(database):
    index = await started(Index(database))
    await activate(index, model("trained-1"), 1)
    await activate(index, model("trained-2"), 2)
    for after_us, version in ((3, "trained-1"), (4, "trained-2"), (5, "trained-1")):
        async with index.db.transaction() as conn:
            went = await index.mpi.models.go_back(conn, WHY, now_us=START_US + after_us)
        assert await followed(index)
        assert went == index.mpi.trials.model.version == version
        assert await deciding(index) == [version]


async def test_going_back_from_the_first_one_leads_to_the_file(database):
    index = await started(Index(database))
    with pytest.raises(HieError, match="no model was ever activated"):
        async with index.db.transaction() as conn:
            await index.mpi.models.go_back(conn, WHY, now_us=START_US)
    await activate(index, model("trained-1"))
    await followed(index)
    async with index.db.transaction() as conn:
        await index.mpi.models.go_back(conn, WHY, now_us=START_US + 2)
    await followed(index)
    assert index.mpi.trials.model.version == MODEL.version
    assert await deciding(index) == [MODEL.version]
    assert (await started(index.restarted())).mpi.trials.model.version == MODEL.version


async def test_a_hub_that_runs_follows_within_seconds(tmp_path):
    async with running_hub(tmp_path) as hub:
        db = hub.hub.db
        async with db.transaction() as conn:
            await hub.hub.mpi.models.activate(conn, model("trained-1"), WHY, now_us=START_US)
        async with asyncio.timeout(60):
            while hub.hub.mpi.trials.model.version != "trained-1":  # noqa: ASYNC110 - it looks when it likes
                await asyncio.sleep(0.1)


async def test_every_choice_stays_on_record(database):
    index = await started(Index(database))
    await activate(index, model("trained-1"), 1)
    await activate(index, None, 2)
    async with index.db.reading() as conn:
        choices = await index.mpi.models.choices(conn)
    assert [choice.version for choice in choices] == [None, "trained-1"]
    assert {choice.actor for choice in choices} == {"steward:kim"}
    assert {choice.reason for choice in choices} == {WHY.reason}


async def test_records_are_decided_again_without_a_trace(database):
    index = await started(Index(database))
    for number in range(3):
        await index.see(patient(family=f"Quin{'abc'[number]}an"), f"a{number}")
        await index.see(patient(family=f"Quin{'abc'[number]}an"), f"b{number}", "other")
    blind = model("blind", prior_bits=-80.0)
    async with index.db.reading() as conn:
        before = await index.mpi.counts(conn)
        same = await index.mpi.trials.redecide(conn, MODEL, 100, 1, lambda *_: None)
        other = await index.mpi.trials.redecide(conn, blind, 100, 1, lambda *_: None)
        few = await index.mpi.trials.redecide(conn, blind, 2, 1, lambda *_: None)
        assert await index.mpi.counts(conn) == before
    assert (same.looked_at, same.changed) == (6, 0)
    assert few.looked_at == 2
    assert other.changed_share > 0.5
    assert {after for _, after in other.moves} <= {NEW, REVIEW}
    assert Redecided(looked_at=6, moves={(OWN, OWN): 6}).changed == 0


async def test_records_are_read_for_training_with_their_persons(database):
    index = await started(Index(database))
    first = await index.see(NORA, "1")
    second = await index.see(NORA, "2", "other")
    async with database.reading() as conn:
        pages = [page async for page in index.mpi.trials.records(conn)]
    found = {o.member.record_id: (o.member.person_id, o.demographics) for p in pages for o in p}
    assert set(found) == {first.source_record_id, second.source_record_id}
    assert {person for person, _ in found.values()} == {first.person_id}
    assert {d.birth_date for _, d in found.values()} == {"1971-03-08"}


async def test_levels_of_recent_links_are_counted(database):
    index = await started(Index(database))
    await index.see(NORA, "1")
    for number in range(2, 5):
        await index.see(NORA | {"birthDate": "1971-03-09"}, str(number), f"s{number}")
    async with database.reading() as conn:
        seen = await index.mpi.drift.seen(conn)
        measured = await index.mpi.drift.measure(conn)
    assert sum(seen["birth"].values()) == 3  # the best record of the person speaks for the link
    assert seen["birth"]["edit"] >= 1
    assert seen["ssn"] == {"exact": 3}
    assert measured == ()  # three links say nothing


def test_drift_grows_with_the_distance_from_the_model():
    levels = {"same": Level(m=0.9, u=0.5), "differs": Level(m=0.1, u=0.5)}
    expecting = replace(MODEL, levels={**MODEL.levels, "sex": levels})
    (near,) = drift({"sex": {"same": 900, "differs": 100}}, expecting)
    (off,) = drift({"sex": {"same": 700, "differs": 300}}, expecting)
    assert near.index == pytest.approx(0.0, abs=1e-4)
    # (.7 - .9) ln(.7 / .9) + (.3 - .1) ln(.3 / .1)
    assert off.index == pytest.approx(0.27, abs=0.01)
    assert [(s.level, s.seen, round(s.expected, 9)) for s in off.levels] == [
        ("same", 0.7, 0.9),
        ("differs", 0.3, 0.1),
    ]
    assert drift({"sex": {"same": 10}}, expecting) == ()
