"""The values of search parameters, from text (pure).

A fault names the parameter and what was expected, never the value.
Spec: https://hl7.org/fhir/R4/search.html#ptypes
"""

import math
import re
from decimal import Decimal
from typing import Final

from fhir_server.search.params import Asked, refused, split_escaped, unescape
from hie.store import blind, dates
from hie.store import query as q
from hie.store.extract import TOKEN_WIDTH, UNIT_WIDTH, unit_vector

PREFIXES: Final = frozenset(prefix.value for prefix in q.Prefix)
DECIMAL: Final = re.compile(r"^[+-]?\d{1,19}(\.\d{1,10})?([eE][+-]?\d{1,2})?$")
#: The finest step an index column keeps; makes the upper bound of a range exclusive.
STEP: Final = Decimal("1e-10")
EARTH_KM: Final = 6371.0088
KM_PER: Final = {
    "": 1.0,
    "km": 1.0,
    "m": 0.001,
    "[mi_us]": 1.609347,
    "[mi_i]": 1.609344,
    "mi": 1.609344,
}
#: How far is near where nobody says.
NEAR_KM: Final = 50.0


def parts_of(text: str) -> list[str]:
    """The parts of `a|b|c`, unescaped."""
    return [unescape(part).strip() for part in split_escaped(text, "|")]


def token_parts(asked: Asked, text: str) -> tuple[str | None, str]:
    """System and code: None = any system, "" = no system, or no code.

    Raises:
        HieError: INVALID naming the parameter, as all of these do.
    """
    parts = parts_of(text)
    if len(parts) > 2 or not any(parts):
        raise asked.wrong("`code`, `system|code`, `|code` or `system|`")
    return (None, parts[0]) if len(parts) == 1 else (parts[0], parts[1])


def token_value(asked: Asked, text: str) -> q.TokenValue:
    """A clear coded value."""
    system, code = token_parts(asked, text)
    if asked.param.is_contact and code:
        code = blind.contact(code)
    return clear_token(system, code)


def clear_token(system: str | None, code: str) -> q.TokenValue:
    """A coded value as wide as the index keeps it."""
    return q.TokenValue(
        system=None if system is None else system[:TOKEN_WIDTH],
        code=code[:TOKEN_WIDTH] if code else None,
    )


def key_of_token(asked: Asked, text: str) -> str:
    """The key of a coded value that is stored as a keyed hash."""
    system, code = token_parts(asked, text)
    if not code:
        raise asked.wrong("`value`, `system|value` or `|value`: it is stored as a keyed hash")
    if asked.param.is_contact:
        return blind.token_asked(None, blind.contact(code))
    return blind.token_asked(system, code)


def date_value(name: str, text: str, now_us: int) -> q.DateValue:
    """A searched date with its prefix."""
    prefix, rest = prefix_of(text)
    # A plus sign of an offset that was not escaped arrives as a space.
    span = dates.span(rest.replace(" ", "+"))
    if span is None:
        raise refused(name, "expected a date such as `ge2026-01-31` or `2026-01-31T09:30:00Z`")
    if prefix is q.Prefix.AP:
        span = dates.widened(*span, now_us)
    return q.DateValue(prefix=prefix, lo_us=span[0], hi_us=span[1])


def quantity_value(asked: Asked, text: str) -> q.QuantityValue:
    """A number with its unit, if one is asked for."""
    parts = parts_of(text)
    if len(parts) not in (1, 3):
        raise asked.wrong("`number`, `number|system|code` or `number||code`")
    system, code = (parts[1], parts[2]) if len(parts) == 3 else ("", "")
    return q.QuantityValue(
        number=number_value(asked, parts[0]),
        system=system[:TOKEN_WIDTH] or None,
        code=code[:UNIT_WIDTH] or None,
    )


def number_value(asked: Asked, text: str) -> q.NumberValue:
    """A number with its prefix."""
    prefix, rest = prefix_of(text)
    if not DECIMAL.match(rest):
        raise asked.wrong("a number such as `5.4` or `ge100`")
    lo, hi = _number_range(prefix, Decimal(rest))
    return q.NumberValue(prefix=prefix, lo=lo, hi=hi)


def _number_range(prefix: q.Prefix, exact: Decimal) -> tuple[Decimal, Decimal]:
    match prefix:
        case q.Prefix.EQ | q.Prefix.NE:
            # Half of the last digit written, on both sides; the upper bound is not reached.
            exponent = exact.as_tuple().exponent
            half = Decimal(5).scaleb(int(exponent) - 1)
            return exact - half, exact + half - STEP
        case q.Prefix.AP:
            margin = abs(exact) / 10
            return exact - margin, exact + margin
        case q.Prefix.SA:
            return exact, exact + STEP
        case q.Prefix.EB:
            return exact - STEP, exact
        case _:
            return exact, exact


def prefix_of(text: str) -> tuple[q.Prefix, str]:
    """The prefix of an ordered value, `eq` where none is written, and the rest."""
    plain = unescape(text).strip()
    if plain[:2] in PREFIXES:
        return q.Prefix(plain[:2]), plain[2:]
    return q.Prefix.EQ, plain


def place_value(asked: Asked, text: str) -> q.Place:
    """A place and how far is near: `latitude|longitude|distance|units`."""
    expected = "`latitude|longitude`, `…|distance` or `…|distance|units` (km, m or [mi_us])"
    parts = [*parts_of(text), "", ""][:4] if text.count("|") <= 3 else []
    if len(parts) < 4 or parts[3] not in KM_PER:
        raise asked.wrong(expected)
    numbers = parts[:3] if parts[2] else [*parts[:2], str(NEAR_KM)]
    if not all(DECIMAL.match(number) for number in numbers):
        raise asked.wrong(expected)
    latitude, longitude, distance = map(float, numbers)
    if abs(latitude) > 90 or abs(longitude) > 180 or distance < 0:
        raise asked.wrong(expected)
    angle = min(distance * KM_PER[parts[3]] / EARTH_KM, math.pi)
    return q.Place(at=unit_vector(latitude, longitude), reach=2 * math.sin(angle / 2))
