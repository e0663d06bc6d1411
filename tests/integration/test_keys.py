"""Rotation of the key that wraps all others, beside writers, on both databases."""

from pathlib import Path

import pytest

from hie import keystore
from hie.crypto import KeyRing
from hie.db import Database
from hie.kernel.clock import Clock
from hie.kernel.errors import HieError
from hie.key_provider import provider_of
from hie.keystore import KeyKind, KeyStore
from hie.rewrap import KEPT_US, Rewrap

OWNERS = [f"record{number}" for number in range(1_200)]
PLACE = {"table": "t", "column": "c", "row": "1"}


class Process:
    """One process of a hub: its own ring and cache over the common database and key file."""

    def __init__(self, database: Database, clock: Clock, path: Path) -> None:
        self.db = database
        self.ring = KeyRing(provider_of("file", path))
        self.keys = KeyStore(database, self.ring)
        self.rewrap = Rewrap(database, self.ring, clock, [keystore.COLUMN])

    async def seal(self, owners: list[str]) -> dict[str, bytes]:
        async with self.db.transaction() as conn:
            keys = await self.keys.for_owners(conn, KeyKind.RECORD, owners)
        return {owner: key.seal(owner.encode(), **PLACE) for owner, key in keys.items()}

    async def opens(self, sealed: dict[str, bytes]) -> bool:
        async with self.db.reading() as conn:
            keys = await self.keys.for_owners(conn, KeyKind.RECORD, list(sealed))
        return all(
            keys[owner].open(one, **PLACE) == owner.encode() for owner, one in sealed.items()
        )

    async def by_key(self) -> dict[str, int]:
        return (await self.rewrap.counts())["data keys"]


async def test_every_data_key_is_wrapped_anew_beside_a_writer_and_opens_as_before(
    database, clock, tmp_path
) -> None:
    path = tmp_path / "kek.json"
    operator, writer = Process(database, clock, path), Process(database, clock, path)
    sealed = await writer.seal(OWNERS)
    assert await operator.rewrap.begin() == "k2"
    # A new record comes while the rotation stands still in the middle.
    stopped = await operator.rewrap.work(0)
    assert (stopped.done, stopped.total, stopped.is_over) == (0, len(OWNERS), False)
    sealed |= await writer.seal(["newcomer"])
    assert await operator.by_key() == {"k1": len(OWNERS), "k2": 1}
    # Begun again it goes on; it makes no third key while rows wait.
    assert await operator.rewrap.begin() == "k2"
    told: list[tuple[int, int]] = []
    done = await operator.rewrap.work(60, lambda n, total: told.append((n, total)))
    assert (done.done, done.is_over, told[-1]) == (len(OWNERS), True, (1_200, 1_200))
    assert await operator.by_key() == {"k1": 0, "k2": len(OWNERS) + 1}
    assert await writer.opens(sealed)
    assert await Process(database, clock, path).opens(sealed)


async def test_a_key_goes_only_when_nothing_needs_it(database, clock, tmp_path) -> None:
    path = tmp_path / "kek.json"
    operator = Process(database, clock, path)
    sealed = await operator.seal(OWNERS[:3])
    await operator.rewrap.begin()
    for key_id, reason in (("k9", "no key"), ("k2", "is current"), ("k1", "3 rows")):
        with pytest.raises(HieError, match=reason):
            await operator.rewrap.retire(key_id)
    await operator.rewrap.work(60)
    with pytest.raises(HieError, match="too new"):
        await operator.rewrap.retire("k1")
    clock.step(us=KEPT_US)
    await operator.rewrap.retire("k1")
    assert list(operator.ring.since) == ["k2"]
    assert await Process(database, clock, path).opens(sealed)


async def test_rows_whose_key_is_lost_are_counted_and_left_as_they_are(
    database, clock, tmp_path
) -> None:
    path = tmp_path / "kek.json"
    operator = Process(database, clock, path)
    await operator.seal(OWNERS[:2])
    operator.ring.provider.add(clock.now_us())
    operator.ring.provider.drop("k1")
    assert await operator.by_key() == {"k2": 0, "?": 2}
    done = await operator.rewrap.work(60)
    assert (done.done, done.total, done.is_over) == (0, 0, True)
    assert await operator.by_key() == {"k2": 0, "?": 2}
