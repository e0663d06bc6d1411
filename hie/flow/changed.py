"""What was written, for those who are to be told of it, and how it is read for that."""

import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from sqlalchemy.ext.asyncio import AsyncConnection

from hie.kernel.fhir import FhirJson
from hie.store.query import Served
from hie.store.repository import ResourceRepository
from hie.store.residual import Residual
from hie.store.writer import NewVersion, Written


@dataclass(frozen=True, slots=True, kw_only=True)
class Changed:
    """A version that was written, or source records that moved.

    Attributes:
        pk: 0 before it is kept.
        id, version: of the resource; "" and 0 for records that moved, whose type is `Patient`.
        records: the source records that moved; `was`: the persons they were of, in that order.
    """

    pk: int = 0
    type: str
    id: str = ""
    version: int = 0
    source_id: str = ""
    happened_us: int
    records: tuple[str, ...] = ()
    was: tuple[str, ...] = ()


#: Told of what changed, in the transaction that changes it.
OnChanged = Callable[[AsyncConnection, Sequence[Changed]], Awaitable[None]]


async def nobody(_conn: AsyncConnection, _changed: Sequence[Changed]) -> None:
    """Told of what changed, and tells nobody."""


def changed(
    versions: Sequence[NewVersion], written: Sequence[Written], now_us: int
) -> list[Changed]:
    """What of a batch makes a new version; a deletion is no news of a resource."""
    return [
        Changed(
            type=done.type,
            id=done.id,
            version=done.version,
            source_id=new.source_id,
            happened_us=now_us,
        )
        for new, done in zip(versions, written, strict=True)
        if done.is_changed and not new.is_deleted
    ]


class VersionPairs:
    """Reads a version and the one before it; for the hub itself, nothing of it leaves."""

    def __init__(self, repository: ResourceRepository) -> None:
        self._repository = repository

    async def of(
        self, conn: AsyncConnection, one: Changed
    ) -> tuple[FhirJson | None, FhirJson | None]:
        """The version before, and the version; None where there is none, or it was deleted."""
        found = await self._repository.versions(
            conn,
            Residual(own_sources=frozenset({one.source_id})),
            one.type,
            one.id,
            before=one.version + 1,
            count=2,
        )
        by_number = {int(served.version): served for served in found}
        return _content(by_number.get(one.version - 1)), _content(by_number.get(one.version))


def _content(served: Served | None) -> FhirJson | None:
    if served is None or served.is_deleted:
        return None
    content: FhirJson = json.loads(served.body)
    return content
