"""Reads for those who ask over HL7 v2: through the door, as their organisation, on record.

A query's sender is believed to be its source by `adapters.hl7v2.query_desk`; here it gets the
rights of that source's organisation and nothing more.
"""

import base64
import binascii
import hashlib
import json
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Final

import orjson

from adapters.hl7v2.query_desk import Found, Unfound
from adapters.hl7v2.questions import Question, Wanted
from adapters.sources import Source
from hie.access import Door
from hie.crypto import DataKey
from hie.flow.directory import Directory
from hie.identities import CrossReferences, Identities, Unknown
from hie.kernel.clock import SECOND_US, Clock
from hie.kernel.context import Caller, RequestContext, Scope
from hie.kernel.errors import Category, HieError, Issue
from hie.kernel.fhir import FhirJson
from hie.store import blind, dates
from hie.store import query as q
from hie.store.index import SearchIndex, SearchParam

_SEX: Final = "http://hl7.org/fhir/administrative-gender"
_UNFOUND: Final = MappingProxyType(
    {
        Unknown.SOURCE_DOMAIN: Unfound.SOURCE_DOMAIN,
        Unknown.TARGET_DOMAIN: Unfound.TARGET_DOMAIN,
        Unknown.IDENTIFIER: Unfound.IDENTIFIER,
        # Several persons carry it: it identifies nobody, and no more may be said of them.
        Unknown.AMBIGUOUS: Unfound.IDENTIFIER,
    }
)
#: Pages read for one answer before the asker is given a pointer.
_PAGES: Final = 8


class Askers:
    """The senders of queries, as callers."""

    def __init__(self, directory: Directory) -> None:
        self._directory = directory

    def caller(self, source: Source, purpose: str = "") -> Caller:
        """The organisation of a source, reading Patients; for the purpose of its file."""
        self._directory.learn(source.id)
        organization = self._directory.organization_id(source.organization)
        return Caller(
            token_id="",
            organization=organization,
            grantees=self._directory.grantees(organization),
            sources=self._directory.sources_of(organization) | {source.id},
            user=f"hl7v2:{source.id}",
            purpose=purpose or source.query_purpose,
            scopes=(Scope("system", "Patient", "rs"),),
        )


class QueryReader:
    """Reads what a query asks for.

    Args:
        sealer: seals continuation pointers.
        notices: what must be told beside what was read for a request.
        pointer_seconds: how long one holds.
    """

    def __init__(  # noqa: PLR0913 - joined once
        self,
        askers: Askers,
        door: Door,
        identities: Identities,
        index: SearchIndex,
        clock: Clock,
        sealer: DataKey,
        *,
        notices: Callable[[RequestContext], Sequence[Issue]],
        pointer_seconds: int,
    ) -> None:
        self._askers = askers
        self._door = door
        self._identities = identities
        self._index = index
        self._clock = clock
        self._notices = notices
        self._sealer = sealer
        self._pointer_us = pointer_seconds * SECOND_US

    async def answer(self, source: Source, question: Question, control_id: str) -> Found:
        """What the organisation of a source may know; on record before it is given.

        Raises:
            HieError: it cannot be told now.
        """
        ctx = RequestContext(
            caller=self._askers.caller(source),
            # What is found for it is kept by this id: a sender may repeat its own.
            request_id=f"{source.id} {control_id}"[:200] + f"~{secrets.token_hex(16)}",
            now_us=self._clock.now_us(),
        )
        if question.identifier is not None:
            crossed = await self._identities.cross_references(
                ctx, question.identifier, question.targets
            )
            found = _crossed(crossed)
        else:
            found = await self._described(ctx, source, question)
        return replace(found, notices=tuple(issue.text for issue in self._notices(ctx)))

    async def _described(self, ctx: RequestContext, source: Source, question: Question) -> Found:
        place = f"{source.id} {_digest(question)}"
        try:
            cursor = self._opened(question.pointer, place, ctx.now_us)
        except HieError:
            return Found(unfound=Unfound.POINTER)
        criteria = tuple(self._criterion(wanted) for wanted in question.wanted)
        patients: list[FhirJson] = []
        for _ in range(_PAGES):
            query = q.Query(
                type="Patient",
                criteria=criteria,
                count=question.limit - len(patients),
                cursor=cursor,
            )
            page = await self._door.search(ctx, query, _in_domain(question.targets))
            patients += [json.loads(served.body) for served in page.matches]
            cursor = page.next_cursor
            if cursor is None or len(patients) >= question.limit:
                break
        pointer = "" if cursor is None else self._sealed(cursor, place, ctx.now_us)
        return Found(patients=tuple(patients), pointer=pointer)

    # Continuation

    def _sealed(self, cursor: str, place: str, now_us: int) -> str:
        plain = orjson.dumps([cursor, now_us + self._pointer_us])
        sealed = self._sealer.seal(plain, table="query", column="pointer", row=place)
        return base64.urlsafe_b64encode(sealed).decode().rstrip("=")

    def _opened(self, pointer: str, place: str, now_us: int) -> str | None:
        """Where a pointer points.

        Raises:
            HieError: INVALID; it is not this question's, or too old.
        """
        if not pointer:
            return None
        try:
            sealed = base64.b64decode(pointer + "=" * (-len(pointer) % 4), altchars=b"-_")
            plain = self._sealer.open(sealed, table="query", column="pointer", row=place)
            cursor, until_us = orjson.loads(plain)
        except (HieError, binascii.Error, ValueError) as error:
            raise HieError(Category.INVALID, "`DSC-1` is not this query's pointer") from error
        if until_us < now_us:
            raise HieError(Category.INVALID, "`DSC-1` is too old")
        return str(cursor)

    # Criteria

    def _criterion(self, wanted: Wanted) -> q.Criterion:
        param = self._index.param("Patient", wanted.name)
        if param is None:
            text = f"queries.toml: `{wanted.name}` is no search parameter of Patient"
            raise HieError(Category.FAULT, text)
        return _CRITERIA.get(wanted.name, _text)(param, wanted)


def _text(param: SearchParam, wanted: Wanted) -> q.Criterion:
    if wanted.is_prefix:
        key = blind.string_asked(wanted.value, q.StringMode.STARTS)
    else:
        key = f"f:{blind.fold(wanted.value)}"
    return q.Keyed(param=param.name, param_ids=param.param_ids, keys=(key,))


def _identifier(param: SearchParam, wanted: Wanted) -> q.Criterion:
    key = blind.token_asked(wanted.system or None, wanted.value)
    return q.Keyed(param=param.name, param_ids=param.param_ids, keys=(key,))


def _phone(param: SearchParam, wanted: Wanted) -> q.Criterion:
    key = blind.token_asked(None, blind.contact(wanted.value))
    return q.Keyed(param=param.name, param_ids=param.param_ids, keys=(key,))


def _birth(param: SearchParam, wanted: Wanted) -> q.Criterion:
    span = dates.span(wanted.value)
    keys = blind.date_asked(q.Prefix.EQ, *span) if span else ()
    return q.Keyed(param=param.name, param_ids=param.param_ids, keys=keys)


def _sex(param: SearchParam, wanted: Wanted) -> q.Criterion:
    value = q.TokenValue(system=_SEX, code=wanted.value)
    return q.Token(param=param.name, param_ids=param.param_ids, values=(value,))


_CRITERIA: Final[Mapping[str, Callable[[SearchParam, Wanted], q.Criterion]]] = MappingProxyType(
    {"identifier": _identifier, "phone": _phone, "birthdate": _birth, "gender": _sex}
)


def _crossed(crossed: CrossReferences) -> Found:
    if crossed.unknown is None:
        return Found(identifiers=crossed.identifiers)
    places = tuple(place + 1 for place in crossed.unknown_targets)
    return Found(unfound=_UNFOUND[crossed.unknown], places=places)


def _in_domain(targets: tuple[str, ...]) -> Callable[[q.Served], bool] | None:
    """Whether a person has a number of one of these domains; None = any person will do."""
    if not targets:
        return None

    def has_number(served: q.Served) -> bool:
        numbers = json.loads(served.body).get("identifier", ())
        return any(number.get("system") in targets for number in numbers)

    return has_number


def _digest(question: Question) -> str:
    """What a pointer is bound to: what was asked, not how many at a time."""
    asked = repr((question.wanted, question.targets))
    return hashlib.sha256(asked.encode()).hexdigest()[:32]
