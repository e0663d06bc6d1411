"""Primary keys that are made without asking the database."""

import random

import pytest

from hie.db import KeySource
from tests.conftest import SteppedClock


def test_one_tag_and_one_clock_give_the_same_keys_again():
    keys = [KeySource(SteppedClock(), tag=7) for _ in range(2)]
    # More than one millisecond holds, so that the next one is borrowed from.
    first, second = ([source.next() for _ in range(5_000)] for source in keys)
    assert first == second == sorted(set(first))
    assert KeySource(SteppedClock(), tag=8).next() not in first


def test_two_processes_that_drew_one_tag_count_from_places_of_their_own(
    monkeypatch: pytest.MonkeyPatch,
):
    drawn = iter([7, 100, 7, 1_900])
    chance = random.SystemRandom()
    monkeypatch.setattr(chance, "getrandbits", lambda _: next(drawn))
    monkeypatch.setattr("hie.db.random.SystemRandom", lambda: chance)
    one, other = KeySource(SteppedClock()), KeySource(SteppedClock())
    keys = [source.next() for source in (one, other) for _ in range(1_500)]
    assert len(set(keys)) == len(keys)
    # What no longer fits into a millisecond is drawn from the next, and goes on rising.
    more = [other.next() for _ in range(5_000)]
    assert more == sorted(set(more))
