"""Whether the links of late still look as the model expects: levels seen beside its m.

The evidence of every automatic link is kept with its decision; over many, the levels of a
comparison should come in the shares that the model calls m. Where they do not, sources send
something else than they did, or the model was learnt elsewhere: time to train anew.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy.ext.asyncio import AsyncConnection

from mpi.find import Finder
from mpi.levels import COMPARISONS
from mpi.model import DecisionKind
from mpi.repository import models
from mpi.settings import LinkageModel

#: Links of late that are counted; each is opened, so that more cost time.
MOST_LINKS = 2_000
#: With fewer links that show a comparison its shares say more about chance.
FEWEST = 50
#: Added to every count, so that a level never seen does not make the index infinite.
_HALF = 0.5

#: Comparison, then level, to how often it was seen.
Seen = Mapping[str, Mapping[str, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class LevelShare:
    """A level among the links of late.

    Attributes:
        seen: share of the links that show the comparison.
        expected: the model's m, as a share of those of its comparison.
    """

    level: str
    seen: float
    expected: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonDrift:
    """How far the levels of a comparison are from the model.

    Attributes:
        links: that show the comparison.
        index: population stability index: below 0.1 nothing to see, above 0.25 look into it.
            Links without a human agree more than all pairs of one person do, so a model that
            fits perfectly is not at 0: watch how it changes.
    """

    comparison: str
    links: int
    index: float
    levels: tuple[LevelShare, ...]


class Drift:
    """Counts levels of recent links."""

    def __init__(self, finder: Finder, model: LinkageModel) -> None:
        self._finder = finder
        self._model = model

    async def measure(
        self, conn: AsyncConnection, most: int = MOST_LINKS
    ) -> tuple[ComparisonDrift, ...]:
        """The drift of every comparison that enough of the newest automatic links show.

        Reads and opens explanations, which hold no demographics; on a reading connection.
        """
        return drift(await self.seen(conn, most), self._model)

    async def seen(self, conn: AsyncConnection, most: int = MOST_LINKS) -> Seen:
        """How often each level was seen in the newest links that this model made."""
        sealed = await models.newest_explanations(
            conn, DecisionKind.LINK.value, self._model.version, most
        )
        keys = await self._finder.data_keys(conn, {one.key_id for one in sealed})
        seen: dict[str, Counter[str]] = defaultdict(Counter)
        for one in sealed:
            if one.key_id not in keys:
                continue
            opened = keys[one.key_id].open(
                one.explanation, table="identity_decision", column="explanation", row=str(one.id)
            )
            for comparison, level in _evidence(orjson.loads(opened)):
                seen[comparison][level] += 1
        return seen


def _evidence(explanation: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Comparison and level of the record that fits the person best."""
    for person in explanation.get("persons", [])[:1]:
        for record in person.get("records", [])[:1]:
            for comparison, level, *_ in record.get("evidence", []):
                yield comparison, level


def drift(seen: Seen, model: LinkageModel) -> tuple[ComparisonDrift, ...]:
    """Levels seen beside those expected; comparisons that too few links show are left out."""
    return tuple(
        _drift(comparison, seen[comparison], model)
        for comparison in COMPARISONS
        if sum(seen.get(comparison, {}).values()) >= FEWEST
    )


def _drift(comparison: str, counts: Mapping[str, int], model: LinkageModel) -> ComparisonDrift:
    levels = model.levels[comparison]
    total, whole = sum(counts.values()), sum(level.m for level in levels.values())
    shares = tuple(
        LevelShare(level=name, seen=counts.get(name, 0) / total, expected=level.m / whole)
        for name, level in levels.items()
    )
    return ComparisonDrift(
        comparison=comparison, links=total, index=_index(shares, total), levels=shares
    )


def _index(shares: Iterable[LevelShare], total: int) -> float:
    """The population stability index of some shares."""
    found = 0.0
    for share in shares:
        seen = (share.seen * total + _HALF) / (total + 1)
        expected = (share.expected * total + _HALF) / (total + 1)
        found += (seen - expected) * math.log(seen / expected)
    return found
