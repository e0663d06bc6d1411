"""Labels that a sender raised by mistake, taken back by a privacy officer; and put back.

A sender's label is never lowered by a message. An officer may, for a resource, a visit with all
of it, or a patient's record: with a reason, audited, and undone by its number. What the content
of a resource brings stays; what a sender says again later is raised again.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace

from sqlalchemy.ext.asyncio import AsyncConnection

from consent.labels import Labeller
from hie.audit.event import AuditRecord
from hie.audit.repository import AuditLog
from hie.db import Database
from hie.flow.afresh import Afresh
from hie.flow.belongings import belonging
from hie.kernel.clock import Clock
from hie.kernel.errors import Category, HieError
from hie.raised import repository as raised
from hie.store.loader import ResourceLoader
from hie.store.marks import Marked, Marks, Name

#: From what is raised to what is to be.
_Change = Callable[[int], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Lowered:
    """What came of it.

    Attributes:
        number: to undo it by.
        resources: how many have other labels now.
    """

    number: int
    resources: int


class Lowering:
    """Takes raised labels back, and puts them back."""

    def __init__(
        self,
        db: Database,
        labeller: Labeller,
        loader: ResourceLoader,
        marks: Marks,
        audit: AuditLog,
        clock: Clock,
    ) -> None:
        self._db = db
        self._table = labeller.table
        self._labeller = labeller
        self._loader = loader
        self._marks = marks
        self._afresh = Afresh(labeller, marks)
        self._audit = audit
        self._clock = clock

    async def take_back(
        self, target: Name, labels: Sequence[str], *, reason: str, user: str
    ) -> Lowered:
        """Take labels from what was raised on a resource; of a visit or patient, on all of it.

        Args:
            target: (type, id); a Patient by the id of its source record.
            labels: codes of labels or of levels of confidentiality.
            reason: why; kept sealed in the audit trail.
            user: who.

        Raises:
            HieError: INVALID for a label the hub does not know or a reason that is missing,
                NOT_FOUND where there is no such resource of a patient.
        """
        mask = self._asked(labels, reason, user)
        async with self._db.transaction() as conn:
            record, person = await self._owner(conn, target)
            changed = await self._change(conn, record, target, lambda old: self._without(old, mask))
            number, now_us = self._db.next_pk(), self._clock.now_us()
            name = "/".join(target)
            await raised.take_back(conn, number, record, name, mask, now_us)
            detail = {"labels": list(self._table.codes(mask)), "taken_back": str(number)}
            await self._note(conn, target, person, user, reason, detail)
        return Lowered(number=number, resources=changed)

    async def put_back(self, number: int, *, reason: str, user: str) -> Lowered:
        """Undo it: what was taken back is raised again on all that is concerned now.

        Raises:
            HieError: NOT_FOUND for a number of nothing, CONFLICT where it was undone before.
        """
        _require(reason, user)
        async with self._db.transaction() as conn:
            known = await raised.taken_back(conn, number)
            if known is None:
                raise HieError(Category.NOT_FOUND, "nothing was taken back under this number")
            if known.is_undone:
                raise HieError(Category.CONFLICT, "this was put back already")
            kind, _, key = known.target.partition("/")
            record, person = await self._owner(conn, (kind, key))
            mask = known.mask
            changed = await self._change(conn, record, (kind, key), lambda old: old | mask)
            await raised.undo(conn, number, self._clock.now_us())
            detail = {"labels": list(self._table.codes(mask)), "put_back": str(number)}
            await self._note(conn, (kind, key), person, user, reason, detail)
        return Lowered(number=number, resources=changed)

    def _asked(self, labels: Sequence[str], reason: str, user: str) -> int:
        _require(reason, user)
        codings = [{"code": code} for code in labels]
        if not codings or not self._table.knows(codings):
            text = "`--label`: expected codes of config/sensitivity/labels.toml"
            raise HieError(Category.INVALID, text)
        return self._table.mask_of(codings)

    def _without(self, old: int, mask: int) -> int:
        """What stays raised, each label with the confidentiality it implies."""
        left = old & ~mask
        return left | self._table.raised(self._table.codes(left))

    async def _owner(self, conn: AsyncConnection, target: Name) -> tuple[str, str]:
        stored = (await self._loader.load(conn, [target])).get(target)
        if stored is None or not stored.source_record_id:
            raise HieError(Category.NOT_FOUND, "no such resource of a patient")
        return stored.source_record_id, stored.person_id or ""

    async def _change(
        self, conn: AsyncConnection, record: str, target: Name, change: _Change
    ) -> int:
        """Change what is raised on all that is concerned; how many resources are labelled anew."""
        names = await self._concerned(conn, record, target)
        known = (await raised.load(conn, [record])).get(record, {})
        held = {"/".join(name) for name in names}
        if target[0] == "Patient":
            held.add("")  # what is raised on all of the record
        new = {name: change(mask) for name, mask in known.items() if name in held}
        await raised.set_masks(conn, record, new)
        changed = 0
        found = [self._changed(one, change) for one in await self._marks.held(conn, names)]
        for one in found:
            own = {v.version: v.raised_mask or 0 for v in one.versions if v.resource is not None}
            await self._marks.keep_raised(conn, one, own)
        rank = self._labeller.takes.rank
        # What takes labels over comes behind what it takes them from.
        for step in sorted({rank(one.type) for one in found}):
            part = [one for one in found if rank(one.type) == step]
            for one, mask, versions in await self._afresh.labelled(conn, part, is_ahead=False):
                await self._marks.keep(conn, one, mask, versions)
                changed += mask != one.label_mask
        return changed

    def _changed(self, one: Marked, change: _Change) -> Marked:
        """The resource with other raised labels; of a version nobody knows them of, all are."""
        versions = tuple(
            replace(v, raised_mask=change(self._raised(one, v.version))) for v in one.versions
        )
        return replace(one, versions=versions)

    def _raised(self, one: Marked, version: int) -> int:
        found = next(v for v in one.versions if v.version == version)
        if found.raised_mask is not None or found.resource is None:
            return found.raised_mask or 0
        return found.label_mask

    async def _concerned(
        self, conn: AsyncConnection, record: str, target: Name
    ) -> Collection[Name]:
        if target[0] not in ("Encounter", "Patient"):
            return [target]
        stored = await self._loader.of_record(conn, record)
        resources = {(s.type, s.id): s.resource for s in stored}
        return resources.keys() if target[0] == "Patient" else belonging({target}, resources)

    async def _note(
        self,
        conn: AsyncConnection,
        target: Name,
        person: str,
        user: str,
        reason: str,
        detail: Mapping[str, object],
    ) -> None:
        record = AuditRecord(
            recorded_us=self._clock.now_us(),
            action="U",
            subtype="amend",
            person_id=person or None,
            user=user,
            purpose="HOPERAT",
            resource_type=target[0],
            resource_id=target[1],
            detail={"reason": reason, **detail},
        )
        await self._audit.append(conn, [record])


def _require(reason: str, user: str) -> None:
    if not reason.strip() or not user.strip():
        text = "`--reason` and `--user`: expected why, in your words, and who asks"
        raise HieError(Category.INVALID, text)
