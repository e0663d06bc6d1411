"""Index values as rows of the `sp_*` tables; patient data as keyed hashes only (pure)."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

from sqlalchemy import BigInteger, String, Table, bindparam, delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from hie.crypto import KeyRing
from hie.inserts import Values, insert
from hie.kernel.fhir import FhirJson, objects, split_reference
from hie.padding import padded
from hie.store import blind
from hie.store.index import IndexValue, SearchIndex
from hie.store.tables import (
    sp_composite,
    sp_date,
    sp_number,
    sp_place,
    sp_quantity,
    sp_ref,
    sp_string,
    sp_text,
    sp_token,
    sp_uri,
)

INDEX_TABLES: Final = (
    sp_token,
    sp_date,
    sp_string,
    sp_number,
    sp_quantity,
    sp_uri,
    sp_ref,
    sp_composite,
    sp_place,
)
#: `sp_token.param_id` of codes that no parameter of the type reads: a deny by code sees them.
BEYOND: Final = 0
#: `sp_ref.param_id` of what a resource refers to outside every patient's compartment.
SUPPORTING: Final = 0
#: Of what an earlier version of it referred to as its content: that stays hidden with it.
FORMER: Final = -1

#: The parameter whose values may stand in `resource.label_mask` instead.
SECURITY: Final = "_security"

#: Rows by table, each once: values in the order of the table's columns.
Rows = defaultdict[Table, dict[Values, None]]

_CHUNK: Final = 500
#: Keyed hashes of texts remembered as kept, some 5 MB; then it begins anew.
_TEXTS_KEPT: Final = 50_000
# Built once: building a statement takes as long as running it.
_KNOWN_TEXTS: Final = select(sp_text.c.key).where(
    sp_text.c.key.in_(bindparam("keys", type_=String, expanding=True)),
    sp_text.c.text == sp_text.c.key,
)
_GONE: Final = {
    table: delete(table).where(
        table.c.resource_pk.in_(bindparam("pks", type_=BigInteger, expanding=True)),
        # But for what earlier versions held.
        *([sp_ref.c.param_id != FORMER] if table is sp_ref else []),
    )
    for table in INDEX_TABLES
}


async def clear_rows(conn: AsyncConnection, pks: Sequence[int]) -> None:
    """Delete the index rows of resources, but for what earlier versions held."""
    for start in range(0, len(pks), _CHUNK):
        part = padded(pks[start : start + _CHUNK])
        for gone in _GONE.values():
            await conn.execute(gone, {"pks": part})


class _Made(NamedTuple):
    """What all rows of one resource have, and where they go."""

    pk: int
    type_id: int
    owners: Sequence[str]
    rows: Rows
    texts: dict[str, str]


class IndexRows:
    """Makes the index rows of a resource.

    Args:
        is_label: whether a security coding is held by `resource.label_mask`; `_security` has
            rows of the sender's others alone.
    """

    def __init__(
        self, index: SearchIndex, ring: KeyRing, is_label: Callable[[FhirJson], bool]
    ) -> None:
        self._index = index
        self._ring = ring
        self._is_label = is_label
        # A few thousand texts, what codes mean, are most of all.
        self._text_hash = lru_cache(maxsize=8192)(self._hash_of_text)
        self._kept: set[str] = set()
        self._written: dict[str, AsyncConnection] = {}
        self._by_kind: dict[str, Callable[[IndexValue, _Made], None]] = {
            "token": _token,
            "date": _date,
            "string": _string,
            "uri": _uri,
            "number": _number,
            "quantity": _quantity,
            "ref": self._reference,
            "text": self._text,
            "blind": self._blind,
            "place": _place,
        }

    def add(
        self,
        rows: Rows,
        pk: int,
        type_name: str,
        resource: FhirJson,
        persons: Sequence[str],
        texts: dict[str, str],
    ) -> None:
        """Add every row of a resource.

        Args:
            rows: gains them.
            pk: the resource's key.
            type_name: its FHIR type.
            resource: references resolved to hub ids.
            persons: in whose compartments the resource is.
            texts: gains the texts that rows name, by keyed hash, for `keep_texts`.
        """
        owners = list(dict.fromkeys(persons)) or [""]
        made = _Made(pk, self._index.type_id(type_name), owners, rows, texts)
        codes: set[tuple[str, str]] = set()
        composites: dict[IndexValue, None] = {}
        for value in self._index.found(resource):
            if value.kind == "composite":
                composites[value] = None
                continue
            if value.kind == "token":
                if value.param == SECURITY and self._is_label(_coding(value)):
                    continue
                codes.add((value.system, value.code))
            self._by_kind[value.kind](value, made)
        self._combined(composites, made)
        self._beyond(resource, codes, made)

    def _beyond(self, resource: FhirJson, codes: set[tuple[str, str]], made: _Made) -> None:
        """What no search parameter reads: codes a Consent may name, and supporting resources."""
        tokens = made.rows[sp_token]
        for element in objects(resource):
            code, system = element.get("code"), element.get("system")
            if type(code) is str and type(system) is str and (system, code) not in codes:
                codes.add((system, code))
                for person in made.owners:
                    row = (made.pk, BEYOND, system[:200], code[:200], made.type_id, person)
                    tokens[row] = None
            reference, url = element.get("reference"), element.get("url")
            if type(reference) is str:
                self._supporting(reference, made)
            if type(url) is str and url.startswith("Binary/"):
                self._supporting(url, made)  # the content of a document

    def _supporting(self, reference: str, made: _Made) -> None:
        target = split_reference(reference)
        if target is not None and self._index.has_type(target[0]):
            target_type_id = self._index.type_id(target[0])
            if target_type_id in self._index.supporting_type_ids:
                row = (made.pk, SUPPORTING, target_type_id, target[1], made.type_id)
                made.rows[sp_ref][row] = None

    def _blind(self, value: IndexValue, made: _Made) -> None:
        number = str(value.param_id)
        for key in value.keys:
            _hashed(value.param_id, self._ring.blind("sp", number, key), made)

    def _text(self, value: IndexValue, made: _Made) -> None:
        _hashed(value.param_id, self._named(value.value, made.texts), made)

    def _named(self, text: str, texts: dict[str, str]) -> str:
        """The keyed hash that names a text, which is then to be kept."""
        named = self._text_hash(text)
        texts[named] = text
        return named

    def _hash_of_text(self, text: str) -> str:
        return self._ring.blind(blind.TEXTS, blind.text_own_key(text))

    def _reference(self, value: IndexValue, made: _Made) -> None:
        if value.target is not None:
            target_type_id = self._index.type_id(value.target[0])
            row = (made.pk, value.param_id, target_type_id, value.target[1], made.type_id)
            made.rows[sp_ref][row] = None

    def _combined(self, values: Iterable[IndexValue], made: _Made) -> None:
        """The rows of composites, numbered within their parameter."""
        groups: Counter[int] = Counter()
        for value in values:
            number = groups[value.param_id]
            groups[value.param_id] += 1
            first, second, *third = value.parts
            lo2, hi2 = (third[0].lo, third[0].hi) if third else (None, None)
            system, code, *ranges = self._second(second, made.texts)
            row = (
                *(made.pk, value.param_id, number, made.type_id, first.system, first.code),
                *(system, code, *ranges, lo2, hi2),
            )
            made.rows[sp_composite][row] = None

    def _second(self, value: IndexValue, texts: dict[str, str]) -> tuple[Any, ...]:
        """System, code, lo, hi, lo_us and hi_us of the second part of a composite."""
        if value.kind == "text":
            return "", self._named(value.value, texts), None, None, None, None
        if value.target:
            return *value.target, None, None, None, None
        if value.kind == "date":
            return "", "", None, None, value.lo_us, value.hi_us
        return value.system, value.code or value.value, value.lo, value.hi, None, None

    async def keep_texts(self, conn: AsyncConnection, texts: Mapping[str, str]) -> None:
        """Let texts be asked for: their rows of `sp_text`, where they have none yet.

        Args:
            conn: an open transaction, for a text must not be known before it is kept.
            texts: by keyed hash, as `of` found them.
        """
        hashes = [text for text in texts if text not in self._kept]
        for start in range(0, len(hashes), _CHUNK):
            part = hashes[start : start + _CHUNK]
            known = set(await conn.scalars(_KNOWN_TEXTS, {"keys": padded(part)}))
            self._remember(conn, known, part)
            rows = [
                (self._ring.blind(blind.TEXTS, key), text)
                for text in part
                if text not in known
                for key in blind.text_keys(texts[text])
            ]
            if rows:
                await insert(conn, {sp_text: rows})

    def _remember(self, conn: AsyncConnection, known: set[str], asked: Sequence[str]) -> None:
        """What need not be asked for again: what was found, unless this transaction wrote it.

        It might yet be rolled back.
        """
        if len(self._kept) + len(self._written) > _TEXTS_KEPT:
            self._kept.clear()
            self._written.clear()
        for text in asked:
            if text not in known:
                self._written[text] = conn
            elif self._written.get(text) is not conn:
                self._kept.add(text)
                self._written.pop(text, None)


def _hashed(param_id: int, code: str, made: _Made) -> None:
    rows = made.rows[sp_token]
    for person in made.owners:
        rows[made.pk, param_id, "", code, made.type_id, person] = None


def _token(value: IndexValue, made: _Made) -> None:
    rows = made.rows[sp_token]
    for person in made.owners:
        rows[made.pk, value.param_id, value.system, value.code, made.type_id, person] = None


def _date(value: IndexValue, made: _Made) -> None:
    rows = made.rows[sp_date]
    for person in made.owners:
        rows[made.pk, value.param_id, value.lo_us, value.hi_us, made.type_id, person] = None


def _string(value: IndexValue, made: _Made) -> None:
    made.rows[sp_string][made.pk, value.param_id, value.value[:300], made.type_id] = None


def _uri(value: IndexValue, made: _Made) -> None:
    made.rows[sp_uri][made.pk, value.param_id, value.value, made.type_id] = None


def _number(value: IndexValue, made: _Made) -> None:
    made.rows[sp_number][made.pk, value.param_id, value.lo, value.hi, made.type_id] = None


def _quantity(value: IndexValue, made: _Made) -> None:
    measured = (value.system, value.code, value.lo, value.hi)
    made.rows[sp_quantity][made.pk, value.param_id, *measured, made.type_id] = None


def _place(value: IndexValue, made: _Made) -> None:
    if value.at is not None:
        made.rows[sp_place][made.pk, value.param_id, made.type_id, *value.at] = None


def _coding(value: IndexValue) -> FhirJson:
    return {"system": value.system, "code": value.code}
