"""Accountings of disclosures of a person: gathered from the trail, on record themselves."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from hie.audit.account import Account, Names, as_csv, as_html, grouped, is_listed, lines_of
from hie.audit.event import AuditRecord
from hie.audit.search import Asked
from hie.audit.words import AuditWords
from hie.db import Database
from hie.disclosure import Disclosures
from hie.kernel.clock import SECOND_US, instant
from hie.kernel.context import RequestContext
from hie.kernel.errors import Category, HieError
from hie.pdf import pdf_of
from hie.trail import Trail, View

YEAR_US: Final = 31_557_600 * SECOND_US
#: Lines that are set as pages; more are for a spreadsheet.
MOST_PRINTED: Final = 5_000
_AT_ONCE: Final = 500


class Medium(StrEnum):
    """What an accounting is written as."""

    PDF = "application/pdf"
    CSV = "text/csv"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """Which accounting is asked for.

    Attributes:
        form: name of a form of `config/audit/forms.toml`.
        since_us, until_us: half-open; None = as far back as the form goes, until now.
        is_whole: whether what the form leaves out by purpose, or as the person's own, is listed.
    """

    person_id: str
    form: str = "patient"
    since_us: int | None = None
    until_us: int | None = None
    is_whole: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Whose:
    """What the index and the directory say.

    Attributes:
        is_person: whether an id is a person's.
        users: users as people call them, of those that are references.
        organization: name and address by id.
    """

    is_person: Callable[[AsyncConnection, str], Awaitable[bool]]
    users: Callable[[AsyncConnection, Sequence[str]], Awaitable[Mapping[str, str]]]
    organization: Callable[[str], tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What the law's data say of purposes and labels."""

    subsumed: Callable[[str], frozenset[str]]
    mask: Callable[[Sequence[str]], int]


class Accountings:
    """Makes accountings for whoever may see the trail of the person."""

    def __init__(
        self,
        db: Database,
        trail: Trail,
        disclosures: Disclosures,
        words: AuditWords,
        rules: Rules,
        whose: Whose,
    ) -> None:
        self._db = db
        self._trail = trail
        self._disclosures = disclosures
        self._words = words
        self._rules = rules
        self._whose = whose

    async def make(self, ctx: RequestContext, wanted: Wanted) -> Account:
        """The accounting, on record before it is given.

        Raises:
            HieError: INVALID for an unknown form; NOT_FOUND for nobody, and for whose trail the
                caller may not see; FORBIDDEN for a token that opens no part of the trail.
        """
        form = self._words.forms.get(wanted.form)
        if form is None:
            text = f"`form`: expected one of {', '.join(sorted(self._words.forms))}"
            raise HieError(Category.INVALID, text)
        until_us = ctx.now_us if wanted.until_us is None else wanted.until_us
        earliest = max(0, until_us - form.years * YEAR_US) if form.years else 0
        since_us = earliest if wanted.since_us is None else wanted.since_us
        if since_us >= until_us:
            # An empty accounting would say that nobody was told anything.
            raise HieError(Category.INVALID, "expected a period that begins before it ends")
        records = await self._records(ctx, wanted.person_id, since_us, until_us)
        mask = self._rules.mask(form.labels)
        listed_by = replace(form, leaves_out=(), leaves_out_own=False) if wanted.is_whole else form
        listed = [r for r in records if is_listed(r, listed_by, self._rules.subsumed, mask)]
        async with self._db.reading() as conn:
            users = [record.user for record in listed if record.user]
            called = await self._whose.users(conn, list(dict.fromkeys(users)))
        names = Names(
            organization=self._whose.organization, person=lambda user: called.get(user, user)
        )
        lines = lines_of(listed, self._words, names)
        await self._disclosures.record(
            ctx,
            "E",
            "operation",
            {wanted.person_id},
            "AuditEvent",
            detail={"query": f"accounting {form.name} from {instant(since_us)[:10]}"},
        )
        return Account(
            form=form,
            person_id=wanted.person_id,
            made_us=ctx.now_us,
            since_us=since_us,
            until_us=until_us,
            lines=grouped(lines) if form.groups else tuple(lines),
        )

    async def _records(
        self, ctx: RequestContext, person_id: str, since_us: int, until_us: int
    ) -> list[AuditRecord]:
        """The person's events as the caller may see them, the newest first."""
        if self._trail.view(ctx.caller, "s") is View.ASKED:
            text = "an accounting is for the patient's own token, or for staff"
            raise HieError(Category.FORBIDDEN, text)
        async with self._db.reading() as conn:
            is_person = await self._whose.is_person(conn, person_id)
        is_other = ctx.caller.patient is not None and ctx.caller.patient != person_id
        if not is_person or is_other:
            await self._disclosures.refuse(ctx, "operation", "AuditEvent", person_id)
        after: int | None = None
        records: list[AuditRecord] = []
        while True:
            asked = Asked(
                persons=frozenset({person_id}), since_us=since_us, until_us=until_us, after=after
            )
            found = await self._trail.page(ctx, asked, _AT_ONCE)
            records += [row.record for row in found.rows if not row.is_erased]
            if found.next_after is None:
                return records
            after = found.next_after


async def written(account: Account, medium: Medium) -> bytes:
    """The accounting as a file.

    Raises:
        HieError: BUSINESS_RULE for more lines than are set as pages; FAULT where the machine
            makes no PDF.
    """
    if medium is Medium.CSV:
        return as_csv(account)
    if len(account.lines) > MOST_PRINTED:
        text = f"more than {MOST_PRINTED} lines: ask for CSV, or a shorter time"
        raise HieError(Category.BUSINESS_RULE, text)
    identifier = f"{account.form.name} {account.person_id} {account.made_us}"
    return await asyncio.to_thread(pdf_of, as_html(account), identifier)
