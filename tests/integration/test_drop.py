"""A watched drop folder: every file answered once, whatever happens in the middle."""

import asyncio
import os
import re
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from random import Random

import pytest
from sqlalchemy import func, select

from adapters.drop import DropFolder, DropSettings
from adapters.port import Journaled, JournalEntry, Wire
from adapters.tables import inbound_batch, inbound_message
from hie.kernel.ids import SourceId
from tests.support.hl7_shapes import Shape
from tests.support.hub_process import HubProcess
from tests.support.running_hub import RunningHub, running_hub

ADT = Shape("ADT^A01", "EVN PID PV1", "2.5.1", end=b"\r")
CODES = re.compile(rb"(?:\r|\A)MSA\|([A-Z]{2})\|([^\r|]*)")


def batch(*control_ids: str) -> bytes:
    inside = b"".join(ADT.payload(control_id) for control_id in control_ids)
    return b"FHS|^~\\&|FEED|HOSP\rBHS|^~\\&|FEED|HOSP\r%sBTS|%d\rFTS|1\r" % (
        inside,
        len(control_ids),
    )


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[RunningHub]:
    async with running_hub(tmp_path / "hub") as running:
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    found = tmp_path / "drop"
    found.mkdir()
    return found


def watcher(
    hub: RunningHub, folder: Path, source: SourceId | None = None, file_bytes: int = 1_000_000
) -> DropFolder:
    settings = DropSettings(folder=folder, source_id=source, seconds=0.05, file_bytes=file_bytes)
    return DropFolder(hub.hub.intake, settings)


async def look_twice(watch: DropFolder) -> int:
    """The first look sees a file, the second takes what did not change meanwhile."""
    return await watch.look() + await watch.look()


def answers(path: Path) -> list[tuple[bytes, bytes]]:
    return CODES.findall(path.read_bytes())


async def stored(hub: RunningHub) -> int:
    async with hub.hub.db.reading() as conn:
        return int(
            (await conn.execute(select(func.count()).select_from(inbound_message))).scalar_one()
        )


async def test_a_batch_file_is_taken_and_answered_beside(hub: RunningHub, folder: Path):
    (folder / "monday.hl7").write_bytes(batch("C-1", "C-2"))
    assert await look_twice(watcher(hub, folder)) == 1
    assert answers(folder / "done" / "monday.hl7.ack") == [(b"AA", b"C-1"), (b"AA", b"C-2")]
    assert (folder / "done" / "monday.hl7").read_bytes() == batch("C-1", "C-2")
    assert list((folder / "working").iterdir()) == []
    async with hub.hub.db.reading() as conn:
        row = (await conn.execute(select(inbound_batch))).one()
        wires = (await conn.execute(select(inbound_message.c.wire).distinct())).scalars().all()
    assert (row.messages, row.refused, row.wire, wires) == (2, 0, "drop", ["drop"])


async def test_a_single_message_and_several_without_envelope_are_taken(
    hub: RunningHub, folder: Path
):
    (folder / "one").write_bytes(ADT.payload("C-1"))
    (folder / "two").write_bytes(ADT.payload("C-2") + ADT.payload("C-3"))
    assert await look_twice(watcher(hub, folder)) == 2
    assert answers(folder / "done" / "one.ack") == [(b"AA", b"C-1")]
    assert answers(folder / "done" / "two.ack") == [(b"AA", b"C-2"), (b"AA", b"C-3")]


async def test_a_file_with_a_refused_message_stands_among_the_refused(
    hub: RunningHub, folder: Path
):
    bad = ADT.payload("C-2").replace(b"|C-2|", b"||")
    (folder / "mixed.hl7").write_bytes(ADT.payload("C-1") + bad)
    await look_twice(watcher(hub, folder))
    assert [code for code, _ in answers(folder / "refused" / "mixed.hl7.ack")] == [b"AA", b"AE"]


@pytest.mark.parametrize("name", [".hidden", "a.tmp", "a.hl7.part", "a.filepart", "A.TMP", "a~"])
async def test_a_file_that_is_still_being_written_waits_for_its_name(
    hub: RunningHub, folder: Path, name: str
):
    watch = watcher(hub, folder)
    (folder / name).write_bytes(ADT.payload("C-1"))
    assert await look_twice(watch) == 0
    (folder / name).rename(folder / "final.hl7")
    assert await look_twice(watch) == 1


async def test_a_file_that_grows_is_not_taken(hub: RunningHub, folder: Path):
    watch, path = watcher(hub, folder), folder / "growing.hl7"
    for n in range(4):
        with path.open("ab") as file:
            file.write(ADT.payload(f"C-{n}"))
        assert await watch.look() == 0
    assert await watch.look() == 1
    assert len(answers(folder / "done" / "growing.hl7.ack")) == 4


async def test_the_same_file_again_stores_nothing_and_keeps_both_answers(
    hub: RunningHub, folder: Path
):
    watch = watcher(hub, folder)
    for _ in range(2):
        (folder / "daily.hl7").write_bytes(batch("C-1", "C-2"))
        await look_twice(watch)
    names = sorted(path.name for path in (folder / "done").iterdir())
    assert len(names) == 4
    found = [answers(folder / "done" / name) for name in names if name.endswith(".ack")]
    assert found == [[(b"AA", b"C-1"), (b"AA", b"C-2")]] * 2
    assert await stored(hub) == 2


def make_link(path: Path) -> None:
    secret = path.parent.parent / "secret"
    secret.write_bytes(ADT.payload("C-9"))
    path.symlink_to(secret)


ODD: dict[str, Callable[[Path], object]] = {
    "link": make_link,
    "link to nothing": lambda path: path.symlink_to("/nowhere/at/all"),
    "pipe": os.mkfifo,
    "too long": lambda path: path.write_bytes(ADT.payload("C-1") + b"x" * 10_000),
    "empty": lambda path: path.write_bytes(b""),
    "not HL7": lambda path: path.write_bytes(b"PK\x03\x04" + Random(1).randbytes(2_000)),
}


@pytest.mark.parametrize("make", ODD.values(), ids=ODD)
async def test_what_is_no_file_of_messages_is_refused_with_an_answer(
    hub: RunningHub, folder: Path, make: Callable[[Path], object]
):
    make(folder / "odd")
    async with asyncio.timeout(60):
        await look_twice(watcher(hub, folder, file_bytes=5_000))
    (code,) = [code for code, _ in answers(folder / "refused" / "odd.ack")]
    assert code in (b"AE", b"AR")
    assert "odd" in {path.name for path in (folder / "refused").iterdir()}
    assert await stored(hub) == 0


async def test_a_folder_whose_places_are_links_is_left_alone(hub: RunningHub, folder: Path):
    (folder / "done").symlink_to(folder.parent)
    (folder / "one.hl7").write_bytes(ADT.payload("C-1"))
    with pytest.raises(NotADirectoryError):
        await look_twice(watcher(hub, folder))
    assert (folder / "one.hl7").exists()


async def test_a_name_of_any_bytes_and_length_is_kept(hub: RunningHub, folder: Path):
    names = [b"\xff\xfe odd\n.hl7", b"x" * 255]
    for number, name in enumerate(names):
        (folder / os.fsdecode(name)).write_bytes(ADT.payload(f"C-{number}"))
    assert await look_twice(watcher(hub, folder)) == 2
    done = {os.fsencode(path.name) for path in (folder / "done").iterdir()}
    assert {names[0], names[0] + b".ack"} <= done
    assert len(done) == 4


async def test_a_sources_own_folder_takes_nobody_elses_messages(hub: RunningHub, folder: Path):
    other = ADT.payload("C-2")
    own = ADT.payload("C-1").replace(b"|FEED|HOSP|", b"|CLINWORKS|BAYSIDE|")
    (folder / "one.hl7").write_bytes(own + other)
    await look_twice(watcher(hub, folder, SourceId("bayside-general")))
    assert answers(folder / "refused" / "one.hl7.ack") == [(b"AA", b"C-1"), (b"AR", b"C-2")]


async def test_what_cannot_be_stored_waits_and_is_taken_later(hub: RunningHub, folder: Path):
    watch = watcher(hub, folder)
    (folder / "one.hl7").write_bytes(batch(*[f"C-{n}" for n in range(200)]))
    journal = hub.hub.journal
    real, left = journal.write, 90

    async def write(entry: JournalEntry) -> Journaled:
        nonlocal left
        left -= 1
        if left < 0:
            raise OSError
        return await real(entry)

    journal.write = write  # type: ignore[method-assign]  # the disk is full after 90 messages
    assert await look_twice(watch) == 0
    some = await stored(hub)
    assert 0 < some <= 90
    journal.write = real  # type: ignore[method-assign]  # and has room again
    await asyncio.sleep(0.1)
    assert await watch.look() == 1
    found = answers(folder / "done" / "one.hl7.ack")
    assert found == [(b"AA", b"C-%d" % n) for n in range(200)]
    assert await stored(hub) == 200


async def test_two_watchers_of_one_folder_take_each_file_once(hub: RunningHub, folder: Path):
    for n in range(20):
        (folder / f"{n}.hl7").write_bytes(ADT.payload(f"C-{n}"))
    one, two = watcher(hub, folder), watcher(hub, folder)
    taken = 0
    async with asyncio.timeout(60):
        # Where one looks into the place that the other makes, the file waits for a later look.
        while taken < 20:
            taken += sum(await asyncio.gather(one.look(), two.look()))
            await asyncio.sleep(0.02)
    assert taken == 20
    assert len(list((folder / "done").iterdir())) == 40
    assert await stored(hub) == 20


async def test_a_hub_killed_in_the_middle_of_a_file_takes_the_rest_once(tmp_path: Path):
    folder = tmp_path / "drop"
    folder.mkdir()
    settings = {"HIE_DROP_FOLDER": str(folder), "HIE_DROP_SECONDS": "1"}
    number = 3_000
    bad = ADT.payload("B-1").replace(b"|B-1|", b"||")
    messages = b"".join(ADT.payload(f"C-{n}") for n in range(number))
    hub = HubProcess(tmp_path / "hub", **settings)
    hub.start()
    (folder / "big.tmp").write_bytes(b"BHS|^~\\&|FEED|HOSP\r" + bad + messages + b"BTS|3001\r")
    (folder / "big.tmp").rename(folder / "big.hl7")
    answer = folder / "refused" / "big.hl7.ack"

    def is_at_work() -> bool:
        return any(folder.glob("working/*/big.hl7"))

    begun = 0
    for seconds in (0.5, 0.0):
        async with asyncio.timeout(60):
            while not (is_at_work() or answer.exists()):  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.01)
        await asyncio.sleep(seconds)
        hub.kill()
        begun += is_at_work()
        hub.start()
    assert begun
    async with asyncio.timeout(60):
        while not answer.exists() or any((folder / "working").iterdir()):  # noqa: ASYNC110 - another process
            await asyncio.sleep(0.2)
    hub.stop()
    found = answers(answer)
    assert found == [(b"AE", b""), *[(b"AA", b"C-%d" % n) for n in range(number)]]
    assert answer.read_bytes().count(b"\rBTS|3001\r") == 1
    async with running_hub(tmp_path / "hub") as again:
        assert await stored(again) == number + 1
        async with again.hub.db.reading() as conn:
            m = inbound_message.c
            twice = (
                select(m.batch_number).group_by(m.batch_pk, m.batch_number).having(func.count() > 1)
            )
            assert (await conn.execute(twice)).all() == []
            assert (await conn.execute(select(m.wire).distinct())).scalars().all() == [Wire.DROP]


async def test_a_file_that_grows_while_it_is_taken_is_not_done(hub: RunningHub, folder: Path):
    sender = (folder / "slow.hl7").open("ab")
    sender.write(batch("C-1"))
    sender.flush()
    watch = watcher(hub, folder)
    write = hub.hub.journal.write

    more = [batch("C-2")]

    async def late(entry: JournalEntry) -> Journaled:
        if more:  # once, and after the file was read to its end
            await asyncio.sleep(0.5)
            sender.write(more.pop())
            sender.flush()
        return await write(entry)

    hub.hub.journal.write = late  # type: ignore[method-assign]
    try:
        await look_twice(watch)
    finally:
        sender.close()
    assert (folder / "refused" / "slow.hl7").read_bytes() == batch("C-1") + batch("C-2")
    assert not (folder / "done" / "slow.hl7").exists()
    answer = (folder / "refused" / "slow.hl7.ack").read_bytes()
    assert b"MSA|AA|C-1" in answer
    assert b"changed while it was taken" in answer
