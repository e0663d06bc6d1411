"""Index values as rows of the `sp_*` tables; patient data as keyed hashes only (pure)."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from sqlalchemy import Delete, String, Table, bindparam, delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from hie.crypto import KeyRing
from hie.kernel.fhir import FhirJson, objects, split_reference
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

Rows = Iterator[tuple[Table, dict[str, Any]]]

_CHUNK: Final = 500
#: Keyed hashes of texts remembered as kept, some 5 MB; then it begins anew.
_TEXTS_KEPT: Final = 50_000
# Built once: building a statement takes as long as running it.
_KNOWN_TEXTS: Final = select(sp_text.c.key).where(
    sp_text.c.key.in_(bindparam("keys", type_=String, expanding=True)),
    sp_text.c.text == sp_text.c.key,
)
#: Columns of `sp_composite` that a row may leave empty.
_NOTHING: Final[dict[str, Any]] = {
    "value_system": "",
    "value_code": "",
    **dict.fromkeys(("lo", "hi", "lo_us", "hi_us", "lo2", "hi2")),
}


def without_rows(table: Table, pks: Sequence[int]) -> Delete:
    """Deletes the index rows of resources in a table, but for what earlier versions held."""
    gone = delete(table).where(table.c.resource_pk.in_(pks))
    return gone.where(table.c.param_id != FORMER) if table is sp_ref else gone


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
        self._by_kind: dict[str, Callable[[IndexValue, Sequence[str]], Rows]] = {
            "token": _token,
            "date": _date,
            "string": lambda v, _: iter([(sp_string, {"value": (v.value or "")[:300]})]),
            "uri": lambda v, _: iter([(sp_uri, {"value": v.value or ""})]),
            "number": lambda v, _: iter([(sp_number, {"lo": v.lo, "hi": v.hi})]),
            "quantity": _quantity,
            "ref": self._reference,
            "text": self._text,
            "place": lambda v, _: iter([(sp_place, dict(zip("xyz", v.at or (), strict=False)))]),
        }

    def of(
        self, type_name: str, resource: FhirJson, persons: Sequence[str], texts: dict[str, str]
    ) -> Rows:
        """Every row but for its `resource_pk`, once each.

        Args:
            type_name: its FHIR type.
            resource: references resolved to hub ids.
            persons: in whose compartments the resource is.
            texts: gains the texts that rows name, by keyed hash, for `keep_texts`.
        """
        owners = list(dict.fromkeys(persons)) or [""]
        type_id = self._index.type_id(type_name)
        seen: set[tuple[Any, ...]] = set()
        for table, row in self._rows(resource, owners, texts):
            identity = (table, *row.values())
            if identity not in seen:
                seen.add(identity)
                row["type_id"] = type_id
                yield table, row

    def _rows(self, resource: FhirJson, owners: Sequence[str], texts: dict[str, str]) -> Rows:
        codes: set[tuple[str, str]] = set()
        groups: Counter[int] = Counter()
        for value in self._index.values(resource):
            if value.kind == "composite":
                row = {"param_id": value.param_id, "group_no": groups[value.param_id]}
                groups[value.param_id] += 1
                yield sp_composite, row | self._combined(value.parts, texts)
                continue
            if value.kind == "text":
                texts[self._text_hash(value.value)] = value.value
            elif value.kind == "token":
                if value.param == SECURITY and self._is_label(_coding(value)):
                    continue
                codes.add((value.system, value.code))
            build = self._blind if value.is_blind else self._by_kind[value.kind]
            for table, row in build(value, owners):
                row["param_id"] = value.param_id
                yield table, row
        yield from self._beyond(resource, owners, codes)

    def _beyond(
        self, resource: FhirJson, owners: Sequence[str], codes: set[tuple[str, str]]
    ) -> Rows:
        """What no search parameter reads: codes a Consent may name, and supporting resources."""
        for element in objects(resource):
            code, system = element.get("code"), element.get("system")
            if type(code) is str and type(system) is str and (system, code) not in codes:
                codes.add((system, code))
                for person in owners:
                    row = {"system": system[:200], "code": code[:200], "person_id": person}
                    yield sp_token, {**row, "param_id": BEYOND}
            reference, url = element.get("reference"), element.get("url")
            if type(reference) is str:
                yield from self._supporting(reference)
            if type(url) is str and url.startswith("Binary/"):
                yield from self._supporting(url)  # the content of a document

    def _supporting(self, reference: str) -> Rows:
        target = split_reference(reference)
        if target is not None and self._index.has_type(target[0]):
            target_type_id = self._index.type_id(target[0])
            if target_type_id in self._index.supporting_type_ids:
                row = {"target_type_id": target_type_id, "target_id": target[1]}
                yield sp_ref, {**row, "param_id": SUPPORTING}

    def _blind(self, value: IndexValue, owners: Sequence[str]) -> Rows:
        for key in value.keys:
            code = self._ring.blind("sp", str(value.param_id), key)
            for person in owners:
                yield sp_token, {"system": "", "code": code, "person_id": person}

    def _text(self, value: IndexValue, owners: Sequence[str]) -> Rows:
        code = self._text_hash(value.value)
        for person in owners:
            yield sp_token, {"system": "", "code": code, "person_id": person}

    def _hash_of_text(self, text: str) -> str:
        return self._ring.blind(blind.TEXTS, blind.text_own_key(text))

    def _combined(self, parts: Sequence[IndexValue], texts: dict[str, str]) -> dict[str, Any]:
        """The columns of a composite row."""
        first, second, *third = parts
        row = _NOTHING | {"system": first.system, "code": first.code}
        if second.kind == "text":
            row["value_code"] = self._text_hash(second.value)
            texts[row["value_code"]] = second.value
        elif second.target:
            row["value_system"], row["value_code"] = second.target
        elif second.kind == "date":
            row["lo_us"], row["hi_us"] = second.lo_us, second.hi_us
        else:
            row["value_system"], row["value_code"] = second.system, second.code or second.value
            row["lo"], row["hi"] = second.lo, second.hi
        if third:
            row["lo2"], row["hi2"] = third[0].lo, third[0].hi
        return row

    async def keep_texts(self, conn: AsyncConnection, texts: Mapping[str, str]) -> None:
        """Let texts be asked for: their rows of `sp_text`, where they have none yet.

        Args:
            conn: an open transaction, for a text must not be known before it is kept.
            texts: by keyed hash, as `of` found them.
        """
        hashes = [text for text in texts if text not in self._kept]
        for start in range(0, len(hashes), _CHUNK):
            part = hashes[start : start + _CHUNK]
            known = set(await conn.scalars(_KNOWN_TEXTS, {"keys": part}))
            self._remember(conn, known, part)
            rows = [
                {"key": self._ring.blind(blind.TEXTS, key), "text": text}
                for text in part
                if text not in known
                for key in blind.text_keys(texts[text])
            ]
            if rows:
                await conn.execute(sp_text.insert(), rows)

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

    def _reference(self, value: IndexValue, _: Sequence[str]) -> Rows:
        if value.target is not None:
            target_type, target_id = value.target
            target_type_id = self._index.type_id(target_type)
            yield sp_ref, {"target_type_id": target_type_id, "target_id": target_id}


def _token(value: IndexValue, owners: Sequence[str]) -> Rows:
    for person in owners:
        row = {"system": (value.system or "")[:200], "code": (value.code or "")[:200]}
        yield sp_token, {**row, "person_id": person}


def _date(value: IndexValue, owners: Sequence[str]) -> Rows:
    for person in owners:
        yield sp_date, {"lo_us": value.lo_us, "hi_us": value.hi_us, "person_id": person}


def _quantity(value: IndexValue, _: Sequence[str]) -> Rows:
    row = {"system": value.system or "", "code": (value.code or "")[:100]}
    yield sp_quantity, {**row, "lo": value.lo, "hi": value.hi}


def _coding(value: IndexValue) -> FhirJson:
    return {"system": value.system, "code": value.code}
