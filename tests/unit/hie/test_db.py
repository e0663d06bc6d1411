"""Primary keys that are made without asking the database."""

from hie.db import KeySource
from tests.conftest import SteppedClock


def test_one_tag_and_one_clock_give_the_same_keys_again():
    keys = [KeySource(SteppedClock(), tag=7) for _ in range(2)]
    # More than one millisecond holds, so that the next one is borrowed from.
    first, second = ([source.next() for _ in range(5_000)] for source in keys)
    assert first == second == sorted(set(first))
    assert KeySource(SteppedClock(), tag=8).next() not in first
