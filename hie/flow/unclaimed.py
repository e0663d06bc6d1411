"""Messages at rest that nobody found the owner of, and that tell of a person who is to be erased.

What was refused when it came in, parked before it was identified, or kept unread is under no
record's key. By their number those are found that could be read so far (`adapters.erasing`);
here all others are opened once, and each whose patients all have surname, first name and birth
date of the person is theirs.
"""

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.erasing import JournalErasure
from hie.db import Database
from hie.flow.questions import Sought
from hie.kernel.clock import SECOND_US
from hie.kernel.fhir import FhirJson
from hie.store.blind import fold

#: Messages opened at once.
PAGE: Final = 200
_APART: Final = re.compile(r"[^\w-]+|_")
_DAY_DIGITS: Final = 8
#: A patient of an HL7 v2 message.
_PID: Final = re.compile(r"(?:\A|[\r\n])(PID\W[^\r\n]*)")
#: Clocks of processes differ.
_OVERLAP_US: Final = 30 * SECOND_US


class Unclaimed:
    """Finds them."""

    def __init__(self, db: Database, journal: JournalErasure) -> None:
        self._db = db
        self._journal = journal

    async def about(self, sought: Sought) -> list[int]:
        """The messages, a page at a time on connections of their own."""
        found: list[int] = []
        after = -1
        while True:
            async with self._db.reading() as conn:
                page = await self._journal.unclaimed(conn, after=after, limit=PAGE)
            if not page:
                return found
            found += _theirs(sought, page)
            after = page[-1][0]

    async def since(self, conn: AsyncConnection, sought: Sought, began_us: int) -> list[int]:
        """Those that came to rest since an erasure began, in the open transaction."""
        found: list[int] = []
        after, since_us = -1, began_us - _OVERLAP_US
        while page := await self._journal.unclaimed(
            conn, after=after, limit=PAGE, since_us=since_us
        ):
            found += _theirs(sought, page)
            after = page[-1][0]
        return found


def _theirs(sought: Sought, page: Iterable[tuple[int, bytes]]) -> list[int]:
    return [pk for pk, payload in page if tells_of(sought, payload.decode("utf-8", "replace"))]


def tells_of(sought: Sought, text: str) -> bool:
    """Whether a message tells of somebody and of nobody else.

    It was acknowledged: what is in it of others, who may wait for it to be put right, stays.
    """
    return all(says_name_and_birth(sought, each) for each in _patients(text))


def says_name_and_birth(sought: Sought, text: str) -> bool:
    """Whether a text has surname, first name and whole birth date of somebody among its words.

    Without the first name a twin's message, acknowledged and waiting for staff, would go too.
    """
    found = _APART.split(text)
    # A date is one word without its hyphens, a double name two.
    words = {fold(word) for one in found for word in (one, *one.split("-"))}
    days = {one.birth_date.replace("-", "") for one in sought.demographics}
    has_birth = any(len(day) == _DAY_DIGITS and day in words for day in days)
    return (
        has_birth
        and any(words.issuperset(surname.split()) for surname in sought.known.surnames)
        and any(words.issuperset(given.split()) for given in _first_names(sought))
    )


def _first_names(sought: Sought) -> set[str]:
    """As folded words; an empty one, which any text has, where none is known."""
    known = {
        fold(_APART.sub(" ", str(given)))
        for _, patient in sought.patients
        for name in patient.get("name") or ()
        for given in (name.get("given") or ())[:1]
    }
    return known or {""}


def _patients(text: str) -> list[str]:
    """What a message says of each of its patients; all of it, where none can be made out."""
    head, _, body = text.partition("\n")
    if not head.startswith("{"):
        return _PID.findall(text) or [text]
    try:
        sent = json.loads(body)
    except ValueError:
        return [text]
    return [json.dumps(one, ensure_ascii=False) for one in _within(sent)] or [text]


def _within(sent: Any) -> Iterator[FhirJson]:
    """The Patients of a FHIR write."""
    if not isinstance(sent, dict):
        return
    if sent.get("resourceType") == "Patient":
        yield sent
    entries = sent.get("entry")
    for entry in entries if isinstance(entries, list) else ():
        if isinstance(entry, dict):
            yield from _within(entry.get("resource"))
