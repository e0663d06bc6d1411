"""Lists of values padded to few lengths, so that there are few statements, each built once.

An IN list of open length would make the driver rewrite the whole text for every request.
"""

from collections.abc import Sequence
from typing import Any, TypeVar

T = TypeVar("T")


def padded(values: Sequence[T]) -> list[T]:
    """The values, the last one repeated until their number is a power of two."""
    return [*values, *([values[-1]] * (padded_length(values) - len(values)))]


def padded_length(values: Sequence[Any]) -> int:
    """How many they are when padded."""
    return 1 << (len(values) - 1).bit_length()
