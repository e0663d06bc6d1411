"""Which rules of a person speak of a resource, as SQL text on rows of `consent_rule` (pure).

Spelled out in `hie.store.residual`; only `hie.store.predicate` uses this file.
"""

# ruff: noqa: S608 - the text is made of constants, aliases and whole numbers; values are bound
from typing import Final

#: Ends what is asked of one row: an OFFSET forbids PostgreSQL to turn it around (`exists`).
_ONE: Final = " LIMIT 1 OFFSET 0"

#: Whether a rule is about who asks.
ASKED: Final = """
{rule}.grantee IN :v_grantees
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
  WHERE t.resource_pk = {r}.pk AND k.code_set = {rule}.code_set LIMIT 1 OFFSET 0))
AND ({rule}.author IS NULL OR EXISTS (SELECT 1 FROM sp_ref f
  WHERE f.resource_pk = {r}.pk AND {rule}.author LIKE '%/' || f.target_id LIMIT 1 OFFSET 0))
AND ({rule}.encounter IS NULL OR {rule}.encounter LIKE '%/' || {r}.id
  OR EXISTS (SELECT 1 FROM sp_ref f
    WHERE f.resource_pk = {r}.pk AND {rule}.encounter LIKE '%/' || f.target_id
    LIMIT 1 OFFSET 0))
AND (({rule}.date_lo_us IS NULL AND {rule}.date_hi_us IS NULL)
  OR (({r}.clinical_lo_us IS NULL AND {r}.clinical_hi_us IS NULL) AND {undated})
  OR (({r}.clinical_lo_us IS NOT NULL OR {r}.clinical_hi_us IS NOT NULL)
    AND ({rule}.date_lo_us IS NULL OR {r}.clinical_hi_us IS NULL
      OR {r}.clinical_hi_us >= {rule}.date_lo_us)
    AND ({rule}.date_hi_us IS NULL OR {r}.clinical_lo_us IS NULL
      OR {r}.clinical_lo_us <= {rule}.date_hi_us)))"""

_PERMIT_LABELS: Final = (
    "({rule}.label_mask IS NULL OR ({r}.label_mask & {rule}.label_mask) = {r}.label_mask)"
)
_DENY_LABELS: Final = "({rule}.label_mask IS NULL OR ({r}.label_mask & {rule}.label_mask) <> 0)"


def exists(rows: str) -> str:
    """EXISTS that is asked of each row by itself.

    PostgreSQL would otherwise make a list of all rows of everybody, once, where it expects to
    ask often: a hub's codes, for the one rule of one person that names some.
    """
    return f"EXISTS ({rows}{_ONE})"


def lifted(person: str, r: str, bit: int) -> str:
    """Whether a resource has not a hard label, or a rule lifts it."""
    lifts = (
        "SELECT 1 FROM consent_rule l"
        f" WHERE l.person_id = {person} AND l.effect = 'lift' AND (l.label_mask & {bit}) <> 0"
        f" AND {ASKED.format(rule='l')} AND {_about('l', person, r, '1 = 0')}"
    )
    return f"(({r}.label_mask & {bit}) = 0 OR {exists(lifts)})"


def speaks(person: str, r: str, effect: str, *, is_named: bool = False) -> str:
    """Whether a rule of that effect matches and none below it in its consent does.

    `is_named`: a rule that names the purpose, or is stricter than it was written.
    """
    named = "(a.purpose IS NOT NULL OR a.note <> '') AND " if is_named else ""
    below = (
        # Of one consent by the index of a person's rules, whose second column is the effect.
        f"SELECT 1 FROM consent_rule d WHERE d.person_id = {person}"
        " AND d.effect IN ('permit', 'spare', 'deny') AND d.consent_id = a.consent_id"
        " AND d.path <> a.path AND d.path LIKE a.path || '%'"
        f" AND (d.effect <> 'deny' AND {_matches('d', person, r, 'permit')}"
        f" OR d.effect = 'deny' AND {_matches('d', person, r, 'deny')})"
    )
    return exists(
        f"SELECT 1 FROM consent_rule a WHERE a.person_id = {person}"
        f" AND a.effect = '{effect}' AND {named}{_matches('a', person, r, effect)}"
        f" AND NOT {exists(below)}"
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
        ASKED.format(rule=rule),
        _about(rule, person, r, undated),
    )
    return "\nAND ".join(parts)
