"""What a search means, one resource after the other: the definition the hub is held against.

A question is made of clauses; each is asked of a parsed resource by a few lines of its own,
which know nothing of tables, indexes or the parser.
"""

from calendar import monthrange
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

from hie.kernel.fhir import FhirJson
from tests.support.consent_worlds import CODES
from tests.support.consents import LOINC
from tests.support.search_worlds import (
    BIRTHS,
    DAYS,
    FAMILIES,
    NAMES,
    STATUSES,
    TAGS,
    TIMES,
    UNITS,
    Held,
)

PREFIXES = ("eq", "ne", "gt", "lt", "ge", "le", "sa", "eb")
UCUM = "http://unitsofmeasure.org"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Param:
    """A parameter: its kind, its values in a resource, and values worth asking for."""

    kind: str
    values: Callable[[FhirJson], list[Any]]
    asked: tuple[str, ...]


def _codings(concept: FhirJson | None) -> list[tuple[str, str]]:
    return [(c.get("system", ""), c["code"]) for c in (concept or {}).get("coding", ())]


def _refs(found: Any) -> list[str]:
    listed = found if isinstance(found, list) else [found] if found else []
    return [one["reference"] for one in listed]


def _code(name: str) -> Param:
    return Param("token", lambda r: [("", r[name])] if name in r else [], STATUSES)


def _true(name: str) -> Param:
    return Param("token", lambda r: [("", str(r[name]).lower())], ("true", "false"))


def _date(name: str) -> Param:
    return Param("date", lambda r: [span(r[name])] if name in r else [], DAYS)


def _period(found: FhirJson) -> tuple[int, int]:
    return span(found["start"])[0], span(found["end"])[1]


CODE = Param("token", lambda r: _codings(r.get("code")), (*CODES, f"{LOINC}|{CODES[0]}", "|x"))
ENCOUNTERS = tuple(f"Encounter/x{n}" for n in (2, 6, 10, 14, 18, 22, 26, 30))
PRACTITIONERS = ("Practitioner/d1", "d2")
PARAMS: dict[str, dict[str, Param]] = {
    "Observation": {
        "status": _code("status"),
        "code": CODE,
        "date": _date("effectiveDateTime"),
        "code-value-quantity": Param(
            "both",
            lambda r: (
                [(code, q["value"]) for _, code in _codings(r.get("code"))]
                if (q := r.get("valueQuantity"))
                else []
            ),
            (f"{CODES[0]}$5", f"{LOINC}|{CODES[1]}$gt5", f"{CODES[0]}$le5.5|{UCUM}|mg/dL"),
        ),
        "value-quantity": Param(
            "quantity",
            lambda r: [(q["value"], q["code"])] if (q := r.get("valueQuantity")) else [],
            ("5", "5.5", f"5|{UCUM}|{UNITS[0]}", "7||mmol/L"),
        ),
        "encounter": Param("ref", lambda r: _refs(r.get("encounter")), ENCOUNTERS),
        "performer": Param("ref", lambda r: _refs(r.get("performer")), PRACTITIONERS),
        "has-member": Param("ref", lambda r: _refs(r.get("hasMember")), ("Observation/x8", "x12")),
    },
    "Encounter": {
        "status": _code("status"),
        "date": Param("date", lambda r: [_period(p)] if (p := r.get("period")) else [], DAYS),
        "service-provider": Param(
            "ref", lambda r: _refs(r.get("serviceProvider")), ("Organization/o0", "o1")
        ),
    },
    "Condition": {
        "code": CODE,
        "onset-date": _date("onsetDateTime"),
        "encounter": Param("ref", lambda r: _refs(r.get("encounter")), ENCOUNTERS),
    },
    "Provenance": {
        "target": Param(
            "ref",
            lambda r: _refs(r["target"]),
            ("Observation/x4", "Encounter/x2", "Condition/x1", "Observation/x16"),
        ),
        "agent": Param("ref", lambda r: [a["who"]["reference"] for a in r["agent"]], PRACTITIONERS),
        "recorded": _date("recorded"),
    },
    "Organization": {
        "name": Param("string", lambda r: [r["name"]], tuple(n[:3] for n in NAMES) + NAMES),
        "active": _true("active"),
        "partof": Param("ref", lambda r: _refs(r.get("partOf")), ("Organization/o0", "o1")),
    },
    "Practitioner": {"active": _true("active")},
    "Patient": {
        "gender": Param("token", lambda r: [("", r["gender"])], ("female", "male")),
        "family": Param("string", lambda r: [r["name"][0]["family"]], ("Quill", "abe", *FAMILIES)),
        "birthdate": Param(
            "day", lambda r: [r["birthDate"]], ("1980", "1980-05", *BIRTHS, "gt1980-05", "le1979")
        ),
        "identifier": Param(
            "token",
            lambda r: [(one["system"], one["value"]) for one in r["identifier"]],
            ("urn:mrn|person0-1", "person1-0", "|person2-0"),
        ),
    },
}
#: Types whose resources are one person's, found by `patient`.
OF_PATIENTS = ("Observation", "Encounter", "Condition", "Provenance")


def span(text: str) -> tuple[int, int]:
    """The microseconds a written date leaves open."""
    parts = text.split("T", maxsplit=1)[0].split("-")
    if "T" in text:
        start = datetime.fromisoformat(text.replace("Z", "+00:00"))
        end = start + timedelta(seconds=1)
    else:
        year, month, day = (*map(int, parts), *(1,) * (3 - len(parts)))
        start = datetime(year, month, day, tzinfo=UTC)
        days = {1: 366 if year % 4 == 0 else 365, 2: monthrange(year, month)[1], 3: 1}
        end = start + timedelta(days=days[len(parts)])
    return tuple((at - EPOCH) // timedelta(microseconds=1) for at in (start, end))  # type: ignore[return-value]  # two


@dataclass(frozen=True)
class Clause:
    """One parameter of a question, and the naive test of a resource."""

    name: str
    text: str
    meets: Callable[[Held], bool]


def a_clause(rng: Random, kind: str) -> Clause:
    """A random clause about one of a type's parameters."""
    name, param = rng.choice(list(PARAMS[kind].items()))
    if rng.random() < 0.15:
        return _general(rng, kind)
    if rng.random() < 0.1:
        flag = rng.choice(["true", "false"])
        return Clause(
            f"{name}:missing",
            flag,
            lambda held: (not param.values(held.resource)) is (flag == "true"),
        )
    asked = rng.sample(param.asked, min(len(param.asked), rng.choice([1, 1, 2])))
    return _MAKERS[param.kind](rng, name, param, asked)


def _general(rng: Random, kind: str) -> Clause:
    """About what resources of every type have."""
    if rng.random() < 0.5 or kind == "Patient":
        prefix, at_us = rng.choice(["gt", "ge", "lt", "le"]), rng.choice(TIMES)
        text = (EPOCH + timedelta(microseconds=at_us)).strftime("%Y-%m-%dT%H:%M:%SZ")
        lo, hi = span(text)
        return Clause(
            "_lastUpdated",
            prefix + text,
            lambda held: compared(prefix, held.updated_us, held.updated_us + 1, lo, hi),
        )
    if rng.random() < 0.4:
        ids = tuple(rng.sample([f"x{n}" for n in range(1, 81)], 20))
        return Clause("_id", ",".join(ids), lambda held: held.id in ids)
    meta = Param("token", lambda r: [(t["system"], t["code"]) for t in _tags(r)], TAGS)
    return _token(rng, "_tag", meta, [rng.choice(TAGS)])


def _tags(resource: FhirJson) -> list[FhirJson]:
    return list(resource.get("meta", {}).get("tag", ()))


def _token(rng: Random, name: str, param: Param, asked: list[str]) -> Clause:
    def has(held: Held) -> bool:
        values = param.values(held.resource)
        for one in asked:
            system, bar, code = one.rpartition("|")
            if any(v[1] == code and (not bar or v[0] == system) for v in values):
                return True
        return False

    if rng.random() < 0.2:
        return Clause(f"{name}:not", ",".join(asked), lambda held: not has(held))
    return Clause(name, ",".join(asked), has)


def _day(_: Random, name: str, param: Param, asked: list[str]) -> Clause:
    """A day kept as keyed hashes: whole years, months and days."""

    def has(held: Held) -> bool:
        return any(_born(one, value) for one in asked for value in param.values(held.resource))

    return Clause(name, ",".join(asked), has)


def _born(asked: str, day: str) -> bool:
    prefix, text = (asked[:2], asked[2:]) if asked[:2].isalpha() else ("eq", asked)
    return compared(prefix, *span(day), *span(text))


def compared(prefix: str, lo: Any, hi: Any, from_: Any, to: Any) -> bool:
    """A stored range [lo, hi) against the asked one, by the table of the standard."""
    inside = from_ <= lo and hi <= to
    return bool(
        {
            "eq": inside,
            "ne": not inside,
            "gt": hi > to,
            "lt": lo < from_,
            "ge": hi > to or inside,
            "le": lo < from_ or inside,
            "sa": lo >= to,
            "eb": hi <= from_,
        }[prefix]
    )


def _dated(rng: Random, name: str, param: Param, asked: list[str]) -> Clause:
    ways = [(rng.choice(PREFIXES), one) for one in asked]
    return Clause(
        name,
        ",".join((prefix if prefix != "eq" else "") + one for prefix, one in ways),
        lambda held: any(
            compared(prefix, value[0], value[1], *span(one))
            for prefix, one in ways
            for value in param.values(held.resource)
        ),
    )


def _quantity(rng: Random, name: str, param: Param, asked: list[str]) -> Clause:
    prefix = rng.choice(["eq", "gt", "lt", "ge", "le"])

    def has(held: Held) -> bool:
        return any(_measured(prefix, one, v) for one in asked for v in param.values(held.resource))

    return Clause(name, ",".join((prefix if prefix != "eq" else "") + one for one in asked), has)


def _measured(prefix: str, asked: str, value: tuple[Any, str]) -> bool:
    number, _, unit = asked.partition("|")
    exact, have = Decimal(number), Decimal(str(value[0]))
    if unit and unit.rpartition("|")[2] != value[1]:
        return False
    half = Decimal("0.5").scaleb(int(exact.as_tuple().exponent))
    return {
        "eq": exact - half <= have < exact + half,
        "gt": have > exact,
        "lt": have < exact,
        "ge": have >= exact,
        "le": have <= exact,
    }[prefix]


def _both(_: Random, name: str, param: Param, asked: list[str]) -> Clause:
    """A code and a quantity of the same element."""

    def has(held: Held) -> bool:
        unit = held.resource.get("valueQuantity", {}).get("code", "")
        return any(
            code == one.partition("$")[0].rpartition("|")[2] and _prefixed(one, (value, unit))
            for one in asked
            for code, value in param.values(held.resource)
        )

    return Clause(name, ",".join(asked), has)


def _prefixed(asked: str, value: tuple[Any, str]) -> bool:
    text = asked.partition("$")[2]
    prefix, rest = (text[:2], text[2:]) if text[:2].isalpha() else ("eq", text)
    return _measured(prefix, rest, value)


def _string(rng: Random, name: str, param: Param, asked: list[str]) -> Clause:
    # What is kept as keyed hashes has no middle.
    modifier = rng.choice(["", ":exact", *([":contains"] if name == "name" else [])])

    def has(held: Held) -> bool:
        return any(_texts(modifier, one, v) for one in asked for v in param.values(held.resource))

    return Clause(name + modifier, ",".join(asked), has)


def _texts(modifier: str, asked: str, value: str) -> bool:
    if modifier == ":exact":
        return asked == value
    plain, wanted = folded(value), folded(asked)
    return wanted in plain if modifier == ":contains" else plain.startswith(wanted)


def folded(text: str) -> str:
    """Without case and accents, as strings are compared."""
    return text.lower().replace("ü", "u")


def _ref(rng: Random, name: str, param: Param, asked: list[str]) -> Clause:
    def has(held: Held) -> bool:
        values = param.values(held.resource)
        return any(v == one or v.partition("/")[2] == one for one in asked for v in values)

    return Clause(name, ",".join(asked), has)


_MAKERS: dict[str, Callable[[Random, str, Param, list[str]], Clause]] = {
    "token": _token,
    "day": _day,
    "date": _dated,
    "quantity": _quantity,
    "both": _both,
    "string": _string,
    "ref": _ref,
}
