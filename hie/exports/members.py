"""Whose records an export is of: a Group's members, the patients that were named.

Who is hidden from the caller is as if absent, in a Group as well as by name.
"""

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from sqlalchemy.ext.asyncio import AsyncConnection

from hie.exports.model import Asked
from hie.kernel.context import RequestContext
from hie.kernel.errors import Category, HieError, Issue
from hie.kernel.fhir import FhirJson
from hie.kernel.ids import PersonId
from hie.sight import Sight
from hie.store.extract import date_span
from hie.store.query import Served
from hie.store.repository import ResourceRepository
from hie.store.residual import Residual


class Members:
    """Finds them with a caller's eyes."""

    def __init__(self, repository: ResourceRepository, sight: Sight) -> None:
        self._repository = repository
        self._sight = sight

    async def group(
        self, conn: AsyncConnection, ctx: RequestContext, residual: Residual, group_id: str
    ) -> Served | None:
        """A Group that the caller may see; None = hidden or absent."""
        group = await self._repository.read(conn, residual, "Group", group_id)
        if group is None or group.is_deleted:
            return None
        await self._sight.recheck(conn, ctx, [group])
        return group

    async def of(
        self,
        conn: AsyncConnection,
        residual: Residual,
        ctx: RequestContext,
        asked: Asked,
        group: Served | None,
        is_lenient: bool,
    ) -> tuple[str, ...] | None:
        """The persons whose data is listed, in order; None = everybody."""
        members = None if group is None else _members_of(group, ctx.now_us)
        if asked.patients is None:
            return None if members is None else tuple(sorted(members))
        found: set[str] = set()
        faults: list[Issue] = []
        for number, named in enumerate(asked.patients):
            person = await self._person(conn, ctx, residual, named)
            if person is not None and (members is None or person in members):
                found.add(person)
            else:
                text = f"`patient[{number}]` is no Patient that this export can be of"
                faults.append(Issue(text=text, code="not-found"))
        if faults and not is_lenient:
            raise HieError(Category.INVALID, faults[0].text, faults)
        return tuple(sorted(found))

    async def _person(
        self, conn: AsyncConnection, ctx: RequestContext, residual: Residual, named: str
    ) -> PersonId | None:
        """The person that an id means, if the caller may see them."""
        patient = await self._sight.patient(conn, ctx, residual, named)
        if patient is None or patient.is_deleted:
            return None
        return PersonId(patient.person_id)


def _members_of(group: Served, now_us: int) -> set[str]:
    """The persons a Group counts now; a description of a group counts nobody."""
    content: FhirJson = json.loads(group.body, parse_float=Decimal)
    if content.get("actual") is not True:
        return set()
    found = set()
    for member in content.get("member", ()):
        kind, _, person = str(member.get("entity", {}).get("reference", "")).partition("/")
        if kind == "Patient" and person and _counts(member, now_us):
            found.add(person)
    return found


def _counts(member: Mapping[str, Any], now_us: int) -> bool:
    span = date_span(member.get("period", {}))
    is_now = span is None or span[0] <= now_us < span[1]
    return is_now and member.get("inactive") is not True
