"""The residual as one SQL predicate on an alias of `resource`.

What it means is the formula of `hie.store.residual`. It is written as SQL text, once per
shape of residual (which ways of seeing there are, which bits are hard, what the regime
permits); the request's values are bound when a statement runs. Built as an expression tree
for each request it cost 100 ms; as text it costs nothing. Only the repository uses this file.
"""

# ruff: noqa: S608 - the text is made of constants, aliases and whole numbers; values are bound
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final

from sqlalchemy import BigInteger, String, TextClause, bindparam, text

from hie.store.residual import DIRECTORY_TYPES, DOCUMENT_TYPES, DefaultRule, Residual

#: The type that is seen with the documents which refer to it.
CONTENT: Final = "Binary"
#: Bits a label mask may use; the complement of a mask must stay a positive 64-bit number.
ALL_BITS: Final = (1 << 62) - 1
_NOBODY: Final = ("",)  # an IN list must not be empty; no grantee, purpose or source is ""

_ASKED: Final = """
({rule}.grantee IS NULL OR {rule}.grantee IN :v_grantees)
AND ({rule}.purpose IS NULL OR {rule}.purpose IN :v_purposes)
AND ({rule}.action IS NULL OR {rule}.action = :v_action)
AND ({rule}.valid_from_us IS NULL OR {rule}.valid_from_us <= :v_now_us)
AND ({rule}.valid_to_us IS NULL OR {rule}.valid_to_us > :v_now_us)"""

_ABOUT: Final = """
({rule}.type_id IS NULL OR {rule}.type_id = {r}.type_id)
AND ({rule}.source_id IS NULL OR {rule}.source_id = {r}.source_id)
AND ({rule}.instance IS NULL OR {rule}.instance = {r}.id)
AND ({rule}.record_id IS NULL OR {rule}.record_id = {record})
AND ({rule}.code_set IS NULL OR EXISTS (SELECT 1 FROM sp_token t JOIN consent_code k
  ON k.system = t.system AND k.code = t.code
  WHERE t.resource_pk = {r}.pk AND k.code_set = {rule}.code_set))
AND ({rule}.author IS NULL OR EXISTS (SELECT 1 FROM sp_ref f
  WHERE f.resource_pk = {r}.pk AND {rule}.author LIKE '%/' || f.target_id))
AND ({rule}.encounter IS NULL OR {rule}.encounter LIKE '%/' || {r}.id
  OR EXISTS (SELECT 1 FROM sp_ref f
    WHERE f.resource_pk = {r}.pk AND {rule}.encounter LIKE '%/' || f.target_id))
AND (({rule}.date_lo_us IS NULL AND {rule}.date_hi_us IS NULL)
  OR (({r}.clinical_lo_us IS NULL AND {r}.clinical_hi_us IS NULL) AND {undated})
  OR (({r}.clinical_lo_us IS NOT NULL OR {r}.clinical_hi_us IS NOT NULL)
    AND ({rule}.date_lo_us IS NULL OR {r}.clinical_hi_us IS NULL
      OR {r}.clinical_hi_us >= {rule}.date_lo_us)
    AND ({rule}.date_hi_us IS NULL OR {r}.clinical_lo_us IS NULL
      OR {r}.clinical_lo_us <= {rule}.date_hi_us)))"""

#: What a rule asks of a resource's content; only the current one's is in the index.
_LOOKS_INSIDE: Final = """(x.code_set IS NOT NULL OR x.author IS NOT NULL
  OR x.encounter IS NOT NULL OR x.date_lo_us IS NOT NULL OR x.date_hi_us IS NOT NULL)"""

_PERMIT_LABELS: Final = (
    "({rule}.label_mask IS NULL OR ({r}.label_mask & {rule}.label_mask) = {r}.label_mask)"
)
_DENY_LABELS: Final = "({rule}.label_mask IS NULL OR ({r}.label_mask & {rule}.label_mask) <> 0)"

_TEXTS: Final = ("v_action", "v_self")
_LISTS: Final = ("v_grantees", "v_purposes", "v_own_sources")

#: What of a residual decides the predicate's text: own sources, self, steward, hard bits,
#: defaults, and how long its lists are. Lists are padded, so that there are few lengths; an
#: IN list of open length would make the driver rewrite the whole text for every request.
Shape = tuple[bool, bool, bool, tuple[int, ...], tuple[DefaultRule, ...], tuple[int, ...]]


def shape_of(residual: Residual) -> Shape:
    """The residual's shape: statements of one shape differ in their bound values only."""
    return (
        bool(residual.own_sources),
        residual.self_person is not None,
        residual.sees_source_records,
        residual.hard_bits,
        residual.defaults,
        tuple(len(values) for values in _lists(residual)),
    )


def padded(values: Sequence[str]) -> list[str]:
    """The values, the last one repeated until their number is a power of two."""
    length = 1 << (len(values) - 1).bit_length()
    return [*values, *([values[-1]] * (length - len(values)))]


def _lists(residual: Residual) -> list[list[str]]:
    found = (residual.grantees, residual.purposes, residual.own_sources)
    return [padded(sorted(values) or _NOBODY) for values in found]


def bound(residual: Residual) -> Mapping[str, Any]:
    """The values a statement with this residual's predicate is run with."""
    values: dict[str, Any] = {"v_action": residual.action, "v_now_us": residual.now_us}
    for name, listed in zip(_LISTS, _lists(residual), strict=True):
        if name != "v_own_sources" or residual.own_sources:
            values |= {f"{name}_{n}": value for n, value in enumerate(listed)}
    if residual.self_person is not None:
        values["v_self"] = residual.self_person
    return values


class Visibility:
    """Builds `visible(resource)`.

    Args:
        type_ids: the small ids of resource types.
    """

    def __init__(self, type_ids: Mapping[str, int]) -> None:
        self._directory = ", ".join(str(type_ids[name]) for name in sorted(DIRECTORY_TYPES))
        self._patient = type_ids["Patient"]
        self._content = type_ids[CONTENT]
        self._documents = ", ".join(str(type_ids[name]) for name in sorted(DOCUMENT_TYPES))
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
        sql = self._seen(shape, r)
        if type_name in ("", CONTENT):
            sql = f"({sql}\nAND {self._document_seen(shape, r)})"
        if v:
            sql = sql.replace(f"{r}.label_mask", f"({r}.label_mask | {v}.label_mask)")
            sql = f"({sql}\nAND {_is_judged_alike(shape, r, v)})"
        return _bindable(sql, shape)

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
            f"({r}.type_id <> {self._content}{own} OR NOT EXISTS ({documents})"
            f"\nOR EXISTS ({documents} AND held.param_id = 0 AND {seen}))"
        )

    def _seen(self, shape: Shape, r: str, *, is_shared: bool = True) -> str:
        """Whether the caller may know of a resource by what it is itself.

        `is_shared`: what is about several persons is seen where all of them allow it; else by
        its source alone. SQLite reads no text of more than some hundred open ends, and the
        content of such documents would need more.
        """
        has_own, has_self, is_steward, *_ = shape
        ways = [f"({r}.person_id IS NULL AND {r}.type_id IN ({self._directory}))"]
        if has_own:
            ways.append(f"{r}.source_id IN :v_own_sources")
        if is_steward:
            ways.append(f"{r}.type_id = {self._patient}")
        if has_self:
            alone = f"NOT EXISTS (SELECT 1 FROM compartment o WHERE o.resource_pk = {r}.pk)"
            ways.append(f"({r}.person_id = :v_self AND {alone})")
        ways.append(
            f"{r}.person_id IS NOT NULL AND {_person_permits(shape, f'{r}.person_id', r)}"
            f" AND NOT EXISTS (SELECT 1 FROM compartment o WHERE o.resource_pk = {r}.pk"
            + (f" AND NOT {_person_permits(shape, 'o.person_id', r)})" if is_shared else ")")
        )
        return "(" + "\nOR ".join(ways) + ")"


def _is_judged_alike(shape: Shape, r: str, v: str) -> str:
    """Whether what the rules say of a resource as it is now holds for a version of it."""
    has_own, has_self, *_ = shape
    others = f"SELECT o.person_id FROM compartment o WHERE o.resource_pk = {r}.pk"
    ways = [f"{v}.body_version = {r}.body_version"]
    if has_own:
        ways.append(f"{r}.source_id IN :v_own_sources")
    if has_self:
        ways.append(f"({r}.person_id = :v_self AND NOT EXISTS ({others}))")
    ways.append(
        f"NOT EXISTS (SELECT 1 FROM consent_rule x WHERE (x.person_id = {r}.person_id"
        f" OR x.person_id IN ({others})) AND {_ASKED.format(rule='x')}\nAND {_LOOKS_INSIDE})"
    )
    return "(" + "\nOR ".join(ways) + ")"


def _bindable(sql: str, shape: Shape) -> TextClause:
    """The text with its lists spelled out, and the type of every parameter."""
    names = {name: String for name in _TEXTS if f":{name}" in sql}
    for name, length in zip(_LISTS, shape[-1], strict=True):
        if f":{name}" in sql:
            each = [f"{name}_{n}" for n in range(length)]
            sql = sql.replace(f":{name}", f"({', '.join(f':{one}' for one in each)})")
            names |= dict.fromkeys(each, String)
    texts = [bindparam(name, type_=kind) for name, kind in names.items()]
    return text(sql).bindparams(*texts, bindparam("v_now_us", type_=BigInteger))


def _person_permits(shape: Shape, person: str, r: str) -> str:
    _, has_self, _, hard_bits, defaults, _ = shape
    lifted = "".join(f"{_lifted(person, r, bit)}\nAND " for bit in hard_bits)
    permitted = (
        f"{lifted}NOT {_speaks(person, r, 'deny')}\n"
        f"AND ({_default_permits(defaults, r)} OR {_speaks(person, r, 'permit')})"
    )
    return f"({person} = :v_self OR {permitted})" if has_self else f"({permitted})"


def _lifted(person: str, r: str, bit: int) -> str:
    return (
        f"(({r}.label_mask & {bit}) = 0 OR EXISTS (SELECT 1 FROM consent_rule l"
        f" WHERE l.person_id = {person} AND l.effect = 'lift' AND (l.label_mask & {bit}) <> 0"
        f" AND {_ASKED.format(rule='l')} AND {_about('l', person, r, '1 = 0')}))"
    )


def _speaks(person: str, r: str, effect: str) -> str:
    """Whether a rule of that effect matches and none below it in its consent does."""
    return (
        f"EXISTS (SELECT 1 FROM consent_rule a WHERE a.person_id = {person}"
        f" AND a.effect = '{effect}' AND {_matches('a', person, r, effect)}"
        f" AND NOT EXISTS (SELECT 1 FROM consent_rule d WHERE d.person_id = {person}"
        " AND d.consent_id = a.consent_id AND d.path <> a.path AND d.path LIKE a.path || '%'"
        f" AND (d.effect IN ('permit', 'spare') AND {_matches('d', person, r, 'permit')}"
        f" OR d.effect = 'deny' AND {_matches('d', person, r, 'deny')})))"
    )


def _about(rule: str, person: str, r: str, undated: str) -> str:
    # Whose column it is says under which of their records the resource is filed.
    record = person.replace("person_id", "source_record_id")
    return _ABOUT.format(rule=rule, r=r, record=record, undated=undated)


def _matches(rule: str, person: str, r: str, effect: str) -> str:
    labels = _DENY_LABELS if effect == "deny" else _PERMIT_LABELS
    undated = "1 = 1" if effect == "deny" else "1 = 0"
    parts = (
        labels.format(rule=rule, r=r),
        _ASKED.format(rule=rule),
        _about(rule, person, r, undated),
    )
    return "\nAND ".join(parts)


def _default_permits(defaults: tuple[DefaultRule, ...], r: str) -> str:
    permits = [
        "1 = 1"
        if rule.label_mask is None
        else f"({r}.label_mask & {ALL_BITS & ~rule.label_mask}) = 0"
        for rule in defaults
        if rule.effect == "permit"
    ]
    denies = [
        "1 = 1" if rule.label_mask is None else f"({r}.label_mask & {rule.label_mask}) <> 0"
        for rule in defaults
        if rule.effect == "deny"
    ]
    if not permits:
        return "1 = 0"
    refused = f" AND NOT ({' OR '.join(denies)})" if denies else ""
    return f"(({' OR '.join(permits)}){refused})"
