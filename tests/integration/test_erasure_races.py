"""Questions about a person that come to the trail while the person's erasure ends."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from hie.audit.event import AuditRecord, Description
from hie.erased import ErasedList
from hie.kernel.context import RequestContext
from tests.support.erasures import officer, quick
from tests.support.running_hub import RunningHub, running_hub

REGISTERED = (
    "MSH|^~\\&|MEDIHOST|STAUR|HIE|MA|20260105120000||ADT^A28|{control}|P|2.5.1\r"
    "EVN||20260105113000\r"
    "PID|1||{control}^^^SAMC^MR||{family}^NORA||19710308|F|||14 ORCHARD ST^^CONCORD^MA^01742\r"
)
FAMILY = "QUILLFEATHER"


@pytest.fixture(params=["sqlite", "postgresql"])
async def hub(request: pytest.FixtureRequest, tmp_path: Path):
    url = "" if request.param == "sqlite" else request.getfixturevalue("postgres_url")
    async with running_hub(tmp_path / "home", HIE_DATABASE_URL=url) as running:
        yield running


async def registered(hub: RunningHub, token: str) -> str:
    """Nora and her person's id; the numbers have letters, so that no id or hash has them."""
    await hub.send(REGISTERED.format(control="QX700", family=FAMILY).encode())
    status, found = await hub.ask(token, f"Patient?family={FAMILY}")
    assert status == 200
    return str(found["entry"][0]["resource"]["id"])


def question(ctx: RequestContext, words: str) -> AuditRecord:
    """One that met nobody."""
    return AuditRecord(
        recorded_us=ctx.now_us,
        action="E",
        subtype="search-type",
        resource_type="Patient",
        detail={"query": Description(words)},
    )


async def readable(hub: RunningHub) -> list[str]:
    """The questions that open, with keys of this database alone."""
    hub.hub.keys._by_id.clear()
    async with hub.hub.db.reading() as conn:
        found, _ = await hub.hub.audit.questions(conn, after=-1, limit=100)
    return [one.text for one in found]


async def until_somebody_waits(hub: RunningHub) -> None:
    """Until one transaction waits for the lock that another shares."""
    waits = (
        "SELECT 1 FROM pg_locks w JOIN pg_locks h USING (locktype, database, classid, objid) "
        "WHERE locktype = 'advisory' AND NOT w.granted AND h.granted AND h.mode = 'ShareLock' "
        "AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    for _ in range(1_500):
        async with hub.hub.db.reading() as conn:
            if (await conn.execute(text(waits))).first() is not None:
                return
        await asyncio.sleep(0.02)
    raise TimeoutError("nobody waits for a lock")


async def test_a_question_that_commits_behind_the_end_of_an_erasure_goes_too(
    tmp_path: Path, postgres_url: str
):
    """It is on the trail before the erasure ends, but not committed: nobody sees it yet."""
    async with running_hub(tmp_path / "home", HIE_DATABASE_URL=postgres_url) as hub:
        token = await hub.token("saint-aurelia")
        nora = await registered(hub, token)
        ctx = officer(hub)
        async with hub.hub.db.transaction() as asking:
            about = [question(ctx, f"family={word}") for word in (FAMILY, "Winterbottom")]
            await hub.hub.audit.append(asking, about)
            erasing = asyncio.create_task(
                quick(hub.hub.erasure).erase(ctx, nora, reason="a court said so")
            )
            await until_somebody_waits(hub)
            assert not erasing.done()
            # Nor does whoever asks meanwhile stand in the erasure's way, or it in theirs.
            assert (await hub.ask(token, f"Patient/{nora}"))[0] == 404, "she is gone by now"
        await erasing
        assert await readable(hub) == ["family=Winterbottom"]
        await hub.hub.sequencer.close(hub.hub.clock.now_us())
        assert (await hub.hub.verifier.verify()).is_whole


async def test_what_readers_write_down_after_the_person_is_gone_goes_too(hub: RunningHub):
    """They had read before: what they asked by is on the trail only after the commit."""
    token = await hub.token("saint-aurelia")
    nora = await registered(hub, token)
    erasure = quick(hub.hub.erasure)
    look_again = erasure._look_again
    ctx = officer(hub)

    async def after_the_commit(*args: Any) -> None:
        assert (await hub.ask(token, f"Patient/{nora}"))[0] == 404
        async with hub.hub.db.transaction() as conn:
            await hub.hub.audit.append(conn, [question(ctx, f"family={FAMILY}")])
        assert f"family={FAMILY}" in await readable(hub)
        await look_again(*args)

    erasure._look_again = after_the_commit  # type: ignore[method-assign, assignment]
    await erasure.erase(ctx, nora, reason="a court said so")
    assert [words for words in await readable(hub) if FAMILY in words] == []
    # A backup from between the two is held to the second as well; nothing else is taken with it.
    first, second = await ErasedList(
        Path(hub.hub.settings.key_file).with_name("erased.jsonl")
    ).read()
    assert first.records
    assert (second.records, len(second.keys), second.keeps_trail) == ((), 1, True)


async def test_a_database_that_is_away_for_the_last_look_is_waited_for(hub: RunningHub):
    token = await hub.token("saint-aurelia")
    nora = await registered(hub, token)
    erasure = quick(hub.hub.erasure)
    look, ctx, looks = erasure._last_look, officer(hub), 0

    async def away_at_first(*args: Any) -> None:
        nonlocal looks
        looks += 1
        if looks == 1:
            async with hub.hub.db.transaction() as conn:
                await hub.hub.audit.append(conn, [question(ctx, f"family={FAMILY}")])
        if looks <= 6:  # more than one transaction is tried
            raise ConnectionRefusedError
        await look(*args)

    erasure._last_look = away_at_first  # type: ignore[method-assign, assignment]
    await erasure.erase(ctx, nora, reason="a court said so")
    assert [words for words in await readable(hub) if FAMILY in words] == []
