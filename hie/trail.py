"""The audit trail as callers may see it.

Patients see their own access log, organisations what they asked themselves, privacy officers all.
What leaves is put on record like any read. A search tells of hidden things as little as any
other: an organisation is told only of what it was told before, and not on whose consent; who asks
in a patient's place is not told of what is withheld from them, as if it had never been shown.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final, NoReturn

from sqlalchemy.ext.asyncio import AsyncConnection

from hie.audit.event import SUBTYPES, AuditRecord, Description, Hub, agent_names
from hie.audit.repository import Recorded, pk_of
from hie.audit.search import Asked, AuditSearch, Found
from hie.audit.words import AuditWords
from hie.db import Database
from hie.disclosure import Disclosures
from hie.emergencies.waiting import Waiting
from hie.kernel.clock import instant
from hie.kernel.context import Caller, RequestContext
from hie.kernel.errors import Category, HieError
from hie.kernel.fhir import FhirJson
from hie.sight import Sight
from hie.store.residual import Residual

TYPE: Final = "AuditEvent"
_STAFF: Final = ("staff", "privacy")
#: What an organisation is told of: what it asked and was told, not what became of records.
_ACCESSES: Final = frozenset({"R", "E"})
_NOT_ACCESSES: Final = frozenset(SUBTYPES) - {"disclose", "ITI-71", "110137", "110126"}
#: What of an event an organisation is not told.
_BASIS: Final = frozenset({"consents", "grounds", "labels"})
#: What descriptions have in them that earlier releases put on record without a mark.
_WORDED: Final = ("$match {", "$ihe-pix ", "identifier=", '"keys": [', '"mode": "')
#: How the trail names a patient who asked.
_SELF: Final = "Patient/"
#: Rows looked at together for who asks in a patient's place, and how many times for a page.
_AT_ONCE: Final = 200
_LOOKS: Final = 10
#: Types that somebody in a patient's place is told of without a look at each resource.
_PLAIN: Final = frozenset({"", "Patient", TYPE})

#: Which of some `Type/id` a caller may know of.
Seen = Callable[[AsyncConnection, Residual, set[str]], Awaitable[set[str]]]
#: The ids that mean a person now and meant one before it was merged into this one.
Aliases = Callable[[AsyncConnection, str], Awaitable[Sequence[str]]]


class View(StrEnum):
    """Whose events a caller may see."""

    OWN = "own"  # about the own record
    ASKED = "asked"  # what the own organisation asked
    ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """An event as a caller may see it.

    Attributes:
        row: without what is kept from this caller.
        resource: the AuditEvent.
    """

    row: Recorded
    resource: FhirJson


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page of events; `next_after` as in `hie.audit.search.Found`."""

    events: tuple[Told, ...]
    next_after: int | None


class Trail:
    """Reads the trail for callers."""

    def __init__(  # noqa: PLR0913, PLR0917 - joined once, in services.py
        self,
        db: Database,
        search: AuditSearch,
        sight: Sight,
        seen: Seen,
        aliases: Aliases,
        disclosures: Disclosures,
        words: AuditWords,
        hub: Hub,
        organization: Callable[[str], tuple[str, str]],
        waiting: Waiting,
    ) -> None:
        self._db = db
        self._search = search
        self._sight = sight
        self._seen = seen
        self._aliases = aliases
        self._disclosures = disclosures
        self._words = words
        self._hub = hub
        self._organization = organization
        self._waiting = waiting

    async def search(self, ctx: RequestContext, asked: Asked, count: int) -> Page:
        """A page of what the caller may see of a search.

        Raises:
            HieError: FORBIDDEN for a token that opens no part of the trail.
        """
        found = await self.page(ctx, asked, count)
        await self._record(ctx, "E", "search-type", found.rows)
        told = tuple(map(self._told_to(self.view(ctx.caller, "s")), found.rows))
        return Page(events=told, next_after=found.next_after)

    async def page(self, ctx: RequestContext, asked: Asked, count: int) -> Found:
        """Rows as the caller may see them, for who puts on record himself what he makes of them.

        Raises:
            HieError: FORBIDDEN for a token that opens no part of the trail.
        """
        view = self.view(ctx.caller, "s")
        async with self._db.reading() as conn:
            return await self._page(conn, ctx, view, asked, count)

    async def read(self, ctx: RequestContext, name: str) -> Told:
        """One event by its id.

        Raises:
            HieError: NOT_FOUND when it is not the caller's to see, or none; FORBIDDEN for a
                token that opens no part of the trail.
        """
        view = self.view(ctx.caller, "r")
        pk = pk_of(name)
        if pk is None:
            await self._refuse(ctx, name)
        async with self._db.reading() as conn:
            found = await self._page(conn, ctx, view, Asked(pks=frozenset({pk})), 1)
        if not found.rows:
            await self._refuse(ctx, name)
        await self._record(ctx, "R", "read", found.rows, name)
        return self._told_to(view)(found.rows[0])

    @staticmethod
    def view(caller: Caller, action: str) -> View:
        """Whose events a caller may see; `action` is the SMART action it needs.

        Raises:
            HieError: FORBIDDEN for a token that opens no part of the trail.
        """
        is_staff = any((s.level, s.resource) == _STAFF for s in caller.scopes)
        if is_staff and caller.patient is None and (caller.user or "").strip():
            return View.ALL
        if caller.may(TYPE, action):
            if caller.patient is not None:
                return View.OWN
            if caller.organization is not None:
                return View.ASKED
        text = f"the token has no scope for `{action}` on {TYPE}"
        raise HieError(Category.FORBIDDEN, text)

    async def _within(
        self, conn: AsyncConnection, caller: Caller, view: View, asked: Asked
    ) -> Asked | None:
        """The search within what the caller may see; None where nothing of it is."""
        if view is View.ASKED:
            own = frozenset({str(caller.organization)})
            if asked.organizations is not None and not own <= asked.organizations:
                return None
            keep = asked.keep
            return replace(
                asked,
                organizations=own,
                actions=_ACCESSES if asked.actions is None else _ACCESSES & asked.actions,
                leaves_out=_NOT_ACCESSES,
                keep=None if keep is None else (lambda record: keep(_stripped(record))),
            )
        if view is View.OWN:
            return await self._own(conn, str(caller.patient), asked)
        if asked.persons is not None:
            wanted = [one for p in sorted(asked.persons) for one in await self._aliases(conn, p)]
            return replace(asked, persons=frozenset(wanted))
        return asked

    async def _own(self, conn: AsyncConnection, patient: str, asked: Asked) -> Asked | None:
        """The search within a patient's own log; a filter sees a row as the patient does."""
        mine = frozenset(await self._aliases(conn, patient))
        if asked.persons is not None and not asked.persons & mine:
            return None
        filters = asked.keep
        if filters is None:
            return replace(asked, persons=mine)
        return replace(asked, persons=mine, keep=lambda record: filters(_undescribed(record)))

    async def _page(
        self, conn: AsyncConnection, ctx: RequestContext, view: View, asked: Asked, count: int
    ) -> Found:
        """A page, without what of its rows is kept from the caller.

        What is kept is not searched either: a filter sees a row as the caller does.
        """
        within = await self._within(conn, ctx.caller, view, asked)
        if within is None:
            return Found(rows=())
        if view is View.OWN:
            within = await self._without_waiting(conn, within, ctx.now_us)
        if view is View.OWN and ctx.caller.withheld_mask:
            return await self._gathered(conn, ctx, within, count)
        found = await self._search.page(conn, within, count)
        if view is View.ALL:
            return found
        told = _stripped if view is View.ASKED else _undescribed
        rows = tuple(replace(row, record=told(row.record)) for row in found.rows)
        return replace(found, rows=rows)

    async def _without_waiting(self, conn: AsyncConnection, asked: Asked, now_us: int) -> Asked:
        """The search without emergency accesses of which the patient is not told yet."""
        hidden = await self._waiting.tokens(conn, asked.persons or frozenset(), now_us)
        if not hidden:
            return asked
        keep = asked.keep
        return replace(
            asked,
            keep=lambda record: record.token_id not in hidden and (keep is None or keep(record)),
        )

    async def _gathered(
        self, conn: AsyncConnection, ctx: RequestContext, within: Asked, count: int
    ) -> Found:
        """A page as full as if what is withheld had never been there."""
        keep, here, kept = within.keep, replace(within, keep=None), list[Recorded]()
        for _ in range(_LOOKS):
            found = await self._search.page(conn, here, _AT_ONCE)
            fitting = await self._unwithheld(conn, ctx, found.rows)
            kept += [row for row in fitting if keep is None or keep(row.record)]
            if len(kept) > count:
                return Found(rows=tuple(kept[:count]), next_after=kept[count - 1].pk)
            if found.next_after is None:
                return Found(rows=tuple(kept))
            here = replace(here, after=found.next_after)
        return Found(rows=tuple(kept), next_after=here.after)

    async def _unwithheld(
        self, conn: AsyncConnection, ctx: RequestContext, rows: Sequence[Recorded]
    ) -> list[Recorded]:
        """For who asks in a patient's place: as if what is withheld had never been shown."""
        named = {name for row in rows for name in _named(row.record)}
        seen = await self._seen(conn, self._sight.residual(ctx), named) if named else set()
        fitting = (_narrowed(row, seen) for row in rows)
        return [row for row in fitting if row is not None]

    def _told_to(self, view: View) -> Callable[[Recorded], Told]:
        def told(row: Recorded) -> Told:
            resource = agent_names(row.to_fhir(self._hub), self._name)
            resource["meta"] = {"versionId": "1", "lastUpdated": instant(row.record.recorded_us)}
            if view is View.OWN and not row.is_erased:
                resource["text"] = {"status": "generated", "div": _div(self.sentence(row.record))}
            return Told(row=row, resource=resource)

        return told

    def sentence(self, record: AuditRecord) -> str:
        """An event in plain words: when, who, what kind of data, why."""
        name = self._name(record.organization or "")
        who = ", ".join(part for part in (record.user, name) if part) or "The exchange"
        why = f", for: {self._words.why(record.purpose)}" if record.purpose else ""
        failed = "" if record.outcome == "0" else " (this was refused or failed)"
        when = instant(record.recorded_us)[:16].replace("T", " ")
        return f"{when} UTC: {who} {self._words.done(record)}{why}{failed}."

    def _name(self, organization: str) -> str:
        return self._organization(organization)[0] if organization else ""

    async def _record(
        self,
        ctx: RequestContext,
        action: str,
        subtype: str,
        rows: Sequence[Recorded],
        name: str = "",
    ) -> None:
        persons = {row.record.person_id for row in rows if row.record.person_id}
        await self._disclosures.record(ctx, action, subtype, persons, TYPE, name)

    async def _refuse(self, ctx: RequestContext, name: str) -> NoReturn:
        await self._disclosures.refuse(ctx, "read", TYPE, name)


def _stripped(record: AuditRecord) -> AuditRecord:
    """What an organisation is told of: not on whose consent it was."""
    detail = {key: value for key, value in record.detail.items() if key not in _BASIS}
    return replace(record, detail=detail)


def _undescribed(record: AuditRecord) -> AuditRecord:
    """What a patient is told of: not the words of others' questions.

    A question may have meant somebody else, and name several: whom it met by likeness must not
    learn of them. What patients asked themselves they know.
    """
    query = record.detail.get("query", "")
    is_words = isinstance(query, Description) or any(word in query for word in _WORDED)
    if not is_words or (record.user or "").startswith(_SELF):
        return record
    detail = {key: value for key, value in record.detail.items() if key != "query"}
    return replace(record, detail=detail)


def _named(record: AuditRecord) -> set[str]:
    """The resources, as `Type/id`, that an event speaks of one by one."""
    shown: Sequence[Any] = record.detail.get("shown", ())
    named = {f"{kind}/{one}" for _, kind, _, ids in shown if kind not in _PLAIN for one in ids}
    stored = {
        "/".join(name.split("/")[:2])
        for name in record.detail.get("stored", ())
        if name.partition("/")[0] not in _PLAIN
    }
    if record.resource_id and record.resource_type not in _PLAIN:
        named.add(f"{record.resource_type}/{record.resource_id}")
    return named | stored


def _narrowed(row: Recorded, seen: set[str]) -> Recorded | None:
    """A row as if what is not in `seen` had never been shown; None where nothing is left.

    Neither the question nor the reason is told: both may speak of what is withheld.
    """
    record = row.record
    is_of_type = record.resource_type not in _PLAIN and not _named(record)
    if row.is_erased or is_of_type or record.subtype == "AuthZ-Consent":
        return None
    shown = [
        [source, kind, len(left), left]
        for source, kind, _, ids in record.detail.get("shown", ())
        if (left := [one for one in ids if kind in _PLAIN or f"{kind}/{one}" in seen])
    ]
    stored = [
        name
        for name in record.detail.get("stored", ())
        if name.partition("/")[0] in _PLAIN or "/".join(name.split("/")[:2]) in seen
    ]
    is_named = record.resource_id and record.resource_type not in _PLAIN
    if is_named and f"{record.resource_type}/{record.resource_id}" not in seen:
        return None
    if not shown and not stored and (_named(record) or record.detail.get("shown")):
        return None
    detail = {
        **({"address": record.detail["address"]} if "address" in record.detail else {}),
        **({"shown": shown} if shown else {}),
        **({"stored": stored} if stored else {}),
    }
    return replace(row, record=replace(record, detail=detail))


def _div(text: str) -> str:
    clean = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return f'<div xmlns="http://www.w3.org/1999/xhtml">{clean}</div>'
