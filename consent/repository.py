"""The SQL of the compiled consents: replaced per person, read back to recheck and explain."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

from sqlalchemy import Row, Select, String, bindparam, case, delete, func, insert, select
from sqlalchemy.ext.asyncio import AsyncConnection

from consent.model import Code, Directive, Effect
from consent.rules import RuleRow, directives_of
from consent.tables import consent_basis, consent_code, consent_rule
from hie.db import Database
from hie.padding import padded
from hie.store.residual import WHOEVER

_CHUNK = 500


@cache
def _rules_of(count: int) -> Select[Any]:
    """`person_0` and so on: built once, for building takes longer than running."""
    persons = [bindparam(f"person_{n}", type_=String) for n in range(count)]
    found = select(consent_rule).where(consent_rule.c.person_id.in_(persons))
    return found.order_by(consent_rule.c.pk)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """A Consent in effect that ends by itself; `ends_us` is when the last of its rules does."""

    consent_id: str
    version: int
    person_id: str
    ends_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Basis:
    """What rows are compiled by.

    Attributes:
        digest: of `consent.basis`, of every row but those that `doing` has had; "" = unknown.
        doing: by what they are compiled anew; "" = they are not.
        place: the last person who had their turn.
    """

    digest: str
    doing: str = ""
    place: str = ""


class ConsentRepository:
    """Rows of `consent_rule` and `consent_code`.

    Args:
        db: gives the keys.
        type_id: the small id of a resource type; KeyError for what is none.
        type_name: its reverse.
    """

    def __init__(
        self, db: Database, type_id: Callable[[str], int], type_name: Callable[[int], str]
    ) -> None:
        self._db = db
        self._type_id = type_id
        self._type_name = type_name

    async def basis(self, conn: AsyncConnection) -> Basis | None:
        """What every row is compiled by; None where nobody knows."""
        row = (await conn.execute(select(consent_basis))).first()
        return Basis(digest=row.digest, doing=row.doing, place=row.place) if row else None

    async def keep_basis(self, conn: AsyncConnection, basis: Basis) -> None:
        """Keep what every row is compiled by, and how far a compilation is."""
        await conn.execute(delete(consent_basis))
        await conn.execute(insert(consent_basis).values(id=1, **asdict(basis)))

    async def hold(self, conn: AsyncConnection, persons: Iterable[str]) -> None:
        """Keep everybody else from the rows of these persons until the transaction ends."""
        for person in persons:
            await self._db.serialize(conn, f"rules {person}")

    async def replace(self, conn: AsyncConnection, person_id: str, rows: Sequence[RuleRow]) -> None:
        """Make these the person's only rows, in the caller's transaction."""
        for table in (consent_code, consent_rule):
            await conn.execute(delete(table).where(table.c.person_id == person_id))
        sets: dict[frozenset[Code], int] = {}
        values = [self._values(person_id, row, sets) for row in rows]
        codes = [
            {"code_set": number, "system": system, "code": code, "person_id": person_id}
            for found, number in sets.items()
            for system, code in sorted(found)
        ]
        if values:
            await conn.execute(insert(consent_rule), values)
        if codes:
            await conn.execute(insert(consent_code), codes)

    async def load(
        self, conn: AsyncConnection, person_ids: Iterable[str]
    ) -> dict[str, tuple[Directive, ...]]:
        """The directives in effect of each person; a person without any is not in it."""
        wanted = sorted(set(person_ids))
        found: dict[str, list[RuleRow]] = {}
        for start in range(0, len(wanted), _CHUNK):
            persons = wanted[start : start + _CHUNK]
            listed = {f"person_{n}": person for n, person in enumerate(padded(persons))}
            rows = (await conn.execute(_rules_of(len(listed)), listed)).all()
            is_coded = any(row.code_set is not None for row in rows)
            sets = await self._code_sets(conn, persons) if is_coded else {}
            for row in rows:
                found.setdefault(row.person_id, []).append(self._rule_row(row, sets))
        return {person_id: directives_of(rows) for person_id, rows in found.items()}

    async def ending(
        self, conn: AsyncConnection, from_us: int, to_us: int, limit: int
    ) -> list[Ending]:
        """Consents whose last rule ends in [from, to), the soonest first."""
        c = consent_rule.c
        touched = select(c.consent_id).where(c.valid_to_us >= from_us, c.valid_to_us < to_us)
        ends = func.max(c.valid_to_us)
        # A rule without an end is greater than any.
        endless = func.sum(case((c.valid_to_us.is_(None), 1), else_=0))
        rows = await conn.execute(
            select(c.consent_id, c.consent_version, c.person_id, ends.label("ends_us"))
            .where(c.consent_id.in_(touched))
            .group_by(c.consent_id, c.consent_version, c.person_id)
            .having(endless == 0, ends >= from_us, ends < to_us)
            .order_by(ends, c.consent_id)
            .limit(limit)
        )
        return [
            Ending(
                consent_id=row.consent_id,
                version=row.consent_version,
                person_id=row.person_id,
                ends_us=row.ends_us,
            )
            for row in rows
        ]

    async def _code_sets(
        self, conn: AsyncConnection, persons: Sequence[str]
    ) -> Mapping[int, frozenset[Code]]:
        query = select(consent_code).where(consent_code.c.person_id.in_(persons))
        sets: dict[int, set[Code]] = {}
        for row in await conn.execute(query):
            sets.setdefault(row.code_set, set()).add((row.system, row.code))
        return {number: frozenset(codes) for number, codes in sets.items()}

    def _values(
        self, person_id: str, row: RuleRow, sets: dict[frozenset[Code], int]
    ) -> dict[str, Any]:
        if row.codes is not None and row.codes not in sets:
            sets[row.codes] = self._db.next_pk()
        return {
            "pk": self._db.next_pk(),
            "person_id": person_id,
            "consent_id": row.consent_id,
            "consent_version": row.version,
            "path": row.path,
            "effect": row.effect.value,
            "note": row.note or None,
            "grantee": row.grantee or WHOEVER,
            "purpose": row.purpose,
            "action": row.action,
            "type_id": None if row.type is None else self._type_id(row.type),
            "source_id": row.source_id,
            "instance": row.instance,
            "author": row.author,
            "encounter": row.encounter,
            "label_mask": row.label_mask,
            "date_lo_us": row.date_lo_us,
            "date_hi_us": row.date_hi_us,
            "code_set": None if row.codes is None else sets[row.codes],
            "valid_from_us": row.valid_from_us,
            "valid_to_us": row.valid_to_us,
            "record_id": row.record_id,
        }

    def _rule_row(self, row: Row[Any], sets: Mapping[int, frozenset[Code]]) -> RuleRow:
        return RuleRow(
            consent_id=row.consent_id,
            version=row.consent_version,
            path=row.path,
            effect=Effect(row.effect),
            note=row.note or "",
            grantee=row.grantee or None,
            purpose=row.purpose,
            action=row.action,
            type=None if row.type_id is None else self._type_name(row.type_id),
            source_id=row.source_id,
            instance=row.instance,
            author=row.author,
            encounter=row.encounter,
            label_mask=row.label_mask,
            date_lo_us=row.date_lo_us,
            date_hi_us=row.date_hi_us,
            codes=None if row.code_set is None else sets.get(row.code_set, frozenset()),
            record_id=row.record_id,
            valid_from_us=row.valid_from_us,
            valid_to_us=row.valid_to_us,
        )
