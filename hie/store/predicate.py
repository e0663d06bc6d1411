"""The residual as one SQL predicate on an alias of `resource`.

What it means is the formula of `hie.store.residual`. It is written as SQL text, once per
shape of residual (which ways of seeing there are, which bits are hard, what the regime
permits); the request's values are bound when a statement runs. Built as an expression tree
for each request it cost 100 ms; as text it costs nothing. Only the repository uses this file.
"""

# ruff: noqa: S608 - the text is made of constants, aliases and whole numbers; values are bound
from collections.abc import Collection, Mapping
from dataclasses import replace
from functools import cache
from typing import Any, Final

from sqlalchemy import BigInteger, String, TextClause, bindparam, text

from hie.padding import padded
from hie.store.index import SearchIndex
from hie.store.owed import NUMBERS, Owed, bound_of, gained, owed_by
from hie.store.residual import (
    DIRECTORY_TYPES,
    DOCUMENT_TYPES,
    WHOEVER,
    DefaultRule,
    Denials,
    Residual,
)
from hie.store.speaking import ASKED, exists, lifted, speaks

#: The type that is seen with the documents which refer to it.
CONTENT: Final = "Binary"
#: The type that is seen with what it is of.
WITNESS: Final = "Provenance"
#: Bits a label mask may use; the complement of a mask must stay a positive 64-bit number.
ALL_BITS: Final = (1 << 62) - 1
_NOBODY: Final = ("",)  # an IN list must not be empty; no grantee, purpose or source is ""

#: What a rule asks of a resource's content; only the current one's is in the index.
_LOOKS_INSIDE: Final = """(x.code_set IS NOT NULL OR x.author IS NOT NULL
  OR x.encounter IS NOT NULL OR x.date_lo_us IS NOT NULL OR x.date_hi_us IS NOT NULL)"""

_TEXTS: Final = ("v_action", "v_self")
_LISTS: Final = ("v_grantees", "v_purposes", "v_own_sources", "v_only_persons")

#: What of a residual decides the predicate's text: own sources, what is withheld of the own
#: record (None = asks for none), steward, hard bits, defaults, whether it is about some persons
#: only, which denials count, what is pending, and how long its padded lists are.
Shape = tuple[
    *tuple[bool, int | None, bool, tuple[int, ...], tuple[DefaultRule, ...]],
    *tuple[bool, Denials, Owed | None, tuple[int, ...]],
]


def shape_of(residual: Residual) -> Shape:
    """The residual's shape: statements of one shape differ in their bound values only."""
    return (
        bool(residual.own_sources),
        None if residual.self_person is None else residual.withheld_mask,
        residual.sees_source_records,
        residual.hard_bits,
        residual.defaults,
        residual.only_persons is not None,
        residual.denials,
        owed_by(residual),
        tuple(len(values) for values in _lists(residual)),
    )


def _lists(residual: Residual) -> list[list[str]]:
    only = residual.only_persons or frozenset()
    grantees = residual.grantees | {WHOEVER}
    found = (grantees, residual.purposes, residual.own_sources, only)
    return [padded(sorted(values) or _NOBODY) for values in found]


def bound(residual: Residual) -> Mapping[str, Any]:
    """The values a statement with this residual's predicate is run with."""
    values: dict[str, Any] = {"v_action": residual.action, "v_now_us": residual.now_us}
    unasked = {
        "v_own_sources": not residual.own_sources,
        "v_only_persons": residual.only_persons is None,
    }
    for name, listed in zip(_LISTS, _lists(residual), strict=True):
        if not unasked.get(name):
            values |= {f"{name}_{n}": value for n, value in enumerate(listed)}
    if residual.self_person is not None:
        values["v_self"] = residual.self_person
    if owed_by(residual):
        values |= bound_of(residual.pending)
    return values


def visibility_of(index: SearchIndex) -> "Visibility":
    """The predicate over the types and parameters of a hub."""
    targets = index.param(WITNESS, "target")
    public = {name for name in index.types if index.is_directory(name)}
    return Visibility(
        {name: index.type_id(name) for name in index.types},
        targets.param_ids if targets else (),
        {index.type_id(name) for name in public | {"Patient"}},
    )


class Visibility:
    """Builds `visible(resource)`.

    Args:
        type_ids: the small ids of resource types.
        targets: numbers of the parameter that says what a Provenance is of; () = not looked at.
        aside: types that make no Provenance one of something.
    """

    def __init__(
        self,
        type_ids: Mapping[str, int],
        targets: Collection[int] = (),
        aside: Collection[int] = (),
    ) -> None:
        self._directory = ", ".join(str(type_ids[name]) for name in sorted(DIRECTORY_TYPES))
        self._patient = type_ids["Patient"]
        self._content = type_ids[CONTENT]
        self._documents = ", ".join(str(type_ids[name]) for name in sorted(DOCUMENT_TYPES))
        self._witness = type_ids[WITNESS]
        self._type_ids = dict(type_ids)
        self._targets = _listed(targets)
        self._aside = _listed([*aside, -1])
        # Seen with others themselves: no statement is to nest one more predicate for them.
        self._unasked = _listed([*aside, self._content, self._witness])
        self.visible = cache(self._visible)

    def _visible(self, shape: Shape, r: str, v: str = "", type_name: str = "") -> TextClause:
        """Whether the caller may know that a resource, or a version of it, exists.

        Args:
            shape: of the caller's residual.
            r: the alias of `resource` it is put on.
            v: the alias of `resource_version`, whose labels then count as well. Of an older
                body no codes, dates and references are kept to judge it by: where a rule about
                the caller looks at those, it is hidden.
            type_name: the one type the alias is held to, if so: what concerns other types is
                left out, for statements that nest predicates grow too deep to be parsed.
        """
        shape = self._numbered(shape)
        sql = self._seen(shape, r)
        if type_name in ("", CONTENT):
            sql = f"({sql}\nAND {self._document_seen(shape, r)})"
        if type_name in ("", WITNESS) and self._targets:
            sql = f"({sql}\nAND {self._witness_seen(shape, r)})"
        if v:
            older = gained(shape[-2], r, v)
            sql = sql.replace(f"{r}.label_mask", f"({r}.label_mask | {v}.label_mask{older})")
            sql = f"({sql}\nAND {_is_judged_alike(shape, r, v)})"
        return _bindable(sql, shape)

    def _numbered(self, shape: Shape) -> Shape:
        """The shape with the types of the regime's rules as their numbers."""
        defaults = tuple(
            rule if rule.types is None else replace(rule, types=self._numbers(rule.types))
            for rule in shape[4]
        )
        return (*shape[:4], defaults, *shape[5:])

    def _numbers(self, types: frozenset[str]) -> frozenset[str]:
        return frozenset(str(self._type_ids[name]) for name in types if name in self._type_ids)

    def _document_seen(self, shape: Shape, r: str) -> str:
        """What documents refer to as their content is seen with one of them, never alone.

        What they referred to once and do so no more (parameter -1) is its source's.
        """
        documents = (
            "SELECT 1 FROM sp_ref held JOIN resource doc ON doc.pk = held.resource_pk"
            f" WHERE held.target_id = {r}.id AND held.target_type_id = {self._content}"
            f" AND held.param_id IN (0, -1) AND doc.type_id IN ({self._documents})"
            f" AND doc.source_id = {r}.source_id"  # another source's word hides nothing
        )
        seen = self._seen(shape, "doc", is_shared=False)
        own = f" OR {r}.source_id IN :v_own_sources" if shape[0] else ""
        return (
            f"({r}.type_id <> {self._content}{own} OR NOT {exists(documents)}"
            f"\nOR {exists(f'{documents} AND held.param_id = 0 AND {seen}')})"
        )

    def _witness_seen(self, shape: Shape, r: str) -> str:
        """A Provenance is seen with something it is of, if it is of more than a Patient."""
        targets = (
            "SELECT 1 FROM sp_ref w{} WHERE w.resource_pk = {}.pk"
            f" AND w.param_id IN ({self._targets}) AND w.target_type_id NOT IN ({{}})"
        )
        joined = " JOIN resource tgt ON tgt.type_id = w.target_type_id AND tgt.id = w.target_id"
        seen = self._seen(shape, "tgt", is_shared=False)
        own = f" OR {r}.source_id IN :v_own_sources" if shape[0] else ""
        return (
            f"({r}.type_id <> {self._witness}{own}"
            f" OR NOT {exists(targets.format('', r, self._aside))}"
            f"\nOR {exists(f'{targets.format(joined, r, self._unasked)} AND {seen}')})"
        )

    def _seen(self, shape: Shape, r: str, *, is_shared: bool = True) -> str:
        """Whether the caller may know of a resource by what it is itself.

        `is_shared`: what is about several persons is seen where all of them allow it; else by
        its source alone. SQLite reads no text of more than some hundred open ends, and the
        content of such documents would need more.
        """
        has_own, withheld, is_steward, *_ = shape
        ways = [f"({r}.person_id IS NULL AND {r}.type_id IN ({self._directory}))"]
        if has_own:
            ways.append(f"{r}.source_id IN :v_own_sources")
        if is_steward:
            ways.append(f"{r}.type_id = {self._patient}")
        others = f"SELECT 1 FROM compartment o WHERE o.resource_pk = {r}.pk"
        if withheld is not None:
            own = _is_own(withheld, f"{r}.person_id", r)
            ways.append(f"({own} AND NOT {exists(others)})")
        if is_shared:
            others = f"{others} AND NOT {_person_permits(shape, 'o.person_id', r)}"
        ways.append(
            f"{r}.person_id IS NOT NULL AND {_person_permits(shape, f'{r}.person_id', r)}"
            f" AND NOT {exists(others)}"
        )
        sql = "(" + "\nOR ".join(ways) + ")"
        if more := gained(shape[-2], r):
            sql = sql.replace(f"{r}.label_mask", f"({r}.label_mask{more})")
        return sql


def _is_judged_alike(shape: Shape, r: str, v: str) -> str:
    """Whether what the rules say of a resource as it is now holds for a version of it."""
    has_own, withheld, *_ = shape
    others = f"SELECT o.person_id FROM compartment o WHERE o.resource_pk = {r}.pk"
    ways = [f"{v}.body_version = {r}.body_version"]
    if has_own:
        ways.append(f"{r}.source_id IN :v_own_sources")
    if withheld is not None:
        own = _is_own(withheld, f"{r}.person_id", r)
        ways.append(f"({own} AND NOT {exists(others)})")
    rules = (
        f"SELECT 1 FROM consent_rule x WHERE (x.person_id = {r}.person_id"
        f" OR x.person_id IN ({others})) AND {ASKED.format(rule='x')}\nAND {_LOOKS_INSIDE}"
    )
    ways.append(f"NOT {exists(rules)}")
    return "(" + "\nOR ".join(ways) + ")"


def _listed(numbers: Collection[int]) -> str:
    return ", ".join(str(number) for number in sorted(numbers))


def _bindable(sql: str, shape: Shape) -> TextClause:
    """The text with its lists spelled out, and the type of every parameter."""
    names = {name: String for name in _TEXTS if f":{name}" in sql}
    for name, length in zip(_LISTS, shape[-1], strict=True):
        if f":{name}" in sql:
            each = [f"{name}_{n}" for n in range(length)]
            sql = sql.replace(f":{name}", f"({', '.join(f':{one}' for one in each)})")
            names |= dict.fromkeys(each, String)
    texts: list[Any] = [bindparam(name, type_=kind) for name, kind in names.items()]
    texts += [bindparam(name, type_=BigInteger) for name in NUMBERS if f":{name}" in sql]
    return text(sql).bindparams(*texts, bindparam("v_now_us", type_=BigInteger))


def _person_permits(shape: Shape, person: str, r: str) -> str:
    _, withheld, _, hard_bits, defaults, is_confined, denials, *_ = shape
    only = f"{person} IN :v_only_persons AND " if is_confined else ""
    unheld = "".join(f"{lifted(person, r, bit)}\nAND " for bit in hard_bits)
    permitted = (
        f"{only}{unheld}{_undenied(person, r, denials)}"
        f"({_default_permits(defaults, r)} OR {speaks(person, r, 'permit')})"
    )
    own = "" if withheld is None else f"{_is_own(withheld, person, r)} OR "
    return f"({own}{permitted})"


def _undenied(person: str, r: str, denials: Denials) -> str:
    """Whether no denial speaks, of those that count; ends where another condition may follow."""
    if denials == "none":
        return ""
    return f"NOT {speaks(person, r, 'deny', is_named=denials == 'named')}\nAND "


def _is_own(withheld: int, person: str, r: str) -> str:
    """Whether who asks sees it as the own record, or as far as they may in another's place."""
    own = f"{person} = :v_self"
    return f"({own} AND ({r}.label_mask & {withheld}) = 0)" if withheld else own


def _default_permits(defaults: tuple[DefaultRule, ...], r: str) -> str:
    permits = [_default(rule, r) for rule in defaults if rule.effect == "permit"]
    denies = [_default(rule, r) for rule in defaults if rule.effect == "deny"]
    if not permits:
        return "1 = 0"
    refused = f" AND NOT ({' OR '.join(denies)})" if denies else ""
    return f"(({' OR '.join(permits)}){refused})"


def _default(rule: DefaultRule, r: str) -> str:
    """Whether a rule of the regime is about a resource; its types are numbers here."""
    parts = []
    if rule.label_mask is not None and rule.effect == "permit":
        parts.append(f"({r}.label_mask & {ALL_BITS & ~rule.label_mask}) = 0")
    elif rule.label_mask is not None:
        parts.append(f"({r}.label_mask & {rule.label_mask}) <> 0")
    if rule.types is not None:
        parts.append(f"{r}.type_id IN ({', '.join(sorted(rule.types)) or 'NULL'})")
    if rule.sources is not None:
        # Names of sources as the settings take them: letters, digits, dots, dashes.
        names = ", ".join(f"'{name}'" for name in sorted(rule.sources)) or "NULL"
        parts.append(f"{r}.source_id IN ({names})")
    return f"({' AND '.join(parts)})" if parts else "1 = 1"
