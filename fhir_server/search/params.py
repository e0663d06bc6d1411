"""One search parameter's text to a criterion (pure).

A fault names the parameter and what was expected, never the value.
Spec: https://hl7.org/fhir/R4/search.html
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType
from typing import Final

from hie.kernel.errors import Category, HieError, Issue
from hie.store import blind, dates
from hie.store import query as q
from hie.store.extract import TOKEN_WIDTH, UNIT_WIDTH, clear_string
from hie.store.index import SearchParam

PREFIXES: Final = frozenset(prefix.value for prefix in q.Prefix)
DECIMAL: Final = re.compile(r"^[+-]?\d{1,19}(\.\d{1,10})?([eE][+-]?\d{1,2})?$")
#: The finest step an index column keeps; makes the upper bound of a range exclusive.
STEP: Final = Decimal("1e-10")
MODIFIERS: Final = MappingProxyType(
    {
        "token": ("not", "missing"),
        "string": ("exact", "contains", "missing"),
        "date": ("missing",),
        "number": ("missing",),
        "quantity": ("missing",),
        "uri": ("missing",),
        "reference": ("missing",),
    }
)


@dataclass(frozen=True, slots=True)
class Asked:
    """One parameter of a request: `name:modifier=value,value`, values still escaped."""

    param: SearchParam
    modifier: str
    values: tuple[str, ...]

    def wrong(self, expected: str) -> HieError:
        """The error that a value is not as expected."""
        return refused(self.param.name, f"expected {expected}")


Build = Callable[[Asked, int], q.Criterion]


def refused(name: str, text: str, code: str = "invalid") -> HieError:
    """An INVALID error about one parameter."""
    issue = Issue(text=f"`{name}`: {text}", code=code, expression=(f"http.{name}",))
    return HieError(Category.INVALID, issue.text, [issue])


def split_escaped(text: str, separator: str) -> list[str]:
    r"""Parts between separators that no backslash escapes; the parts keep their escapes."""
    parts, start, at = [], 0, 0
    while at < len(text):
        if text[at] == "\\":
            at += 1
        elif text[at] == separator:
            parts.append(text[start:at])
            start = at + 1
        at += 1
    return [*parts, text[start:]]


def unescape(text: str) -> str:
    r"""The text meant by `\,` `\|` `\$` and `\\`."""
    return re.sub(r"\\([,|$\\])", r"\1", text)


def modifiers_of(param: SearchParam) -> tuple[str, ...]:
    """The modifiers a parameter may be asked with."""
    if param.person:
        return ()
    return tuple(m for m in MODIFIERS[param.type] if not (param.is_blind and m == "contains"))


def criterion(asked: Asked, now_us: int) -> q.Criterion:
    """The criterion of a parameter.

    Args:
        asked: of a reference, without a `:Type` modifier, which the caller has read.
        now_us: for `ap`, whose tolerance grows with the distance from now.

    Raises:
        HieError: INVALID with the parameter's name and what was expected.
    """
    offered = modifiers_of(asked.param)
    if asked.modifier and asked.modifier not in offered:
        known = ", ".join(f"`:{m}`" for m in offered) or "none"
        text = f"this modifier is not supported here; supported: {known}"
        raise refused(asked.param.name, text, "not-supported")
    if asked.modifier == "missing":
        return _missing(asked)
    return (_BLIND if asked.param.is_blind else _CLEAR)[asked.param.type](asked, now_us)


def _missing(asked: Asked) -> q.Criterion:
    if asked.values not in (("true",), ("false",)):
        raise asked.wrong("`true` or `false` after `:missing`")
    param = asked.param
    is_missing = asked.values == ("true",)
    return q.Missing(
        param=param.name, param_ids=param.param_ids, kind=param.kind, is_missing=is_missing
    )


def _token(asked: Asked, _: int) -> q.Criterion:
    values = tuple(_token_value(asked, value) for value in asked.values)
    return q.Token(
        param=asked.param.name,
        param_ids=asked.param.param_ids,
        values=values,
        is_not=asked.modifier == "not",
    )


def _token_value(asked: Asked, text: str) -> q.TokenValue:
    system, code = _token_parts(asked, text)
    if asked.param.is_contact and code:
        code = blind.contact(code)
    return q.TokenValue(
        system=None if system is None else system[:TOKEN_WIDTH],
        code=code[:TOKEN_WIDTH] if code else None,
    )


def _token_parts(asked: Asked, text: str) -> tuple[str | None, str]:
    parts = [unescape(part).strip() for part in split_escaped(text, "|")]
    if len(parts) > 2 or not any(parts):
        raise asked.wrong("`code`, `system|code`, `|code` or `system|`")
    return (None, parts[0]) if len(parts) == 1 else (parts[0], parts[1])


def _blind_token(asked: Asked, _: int) -> q.Criterion:
    keys = []
    for text in asked.values:
        system, code = _token_parts(asked, text)
        if not code:
            raise asked.wrong("`value`, `system|value` or `|value`: it is stored as a keyed hash")
        if asked.param.is_contact:
            code = blind.contact(code)
            system = None
        keys.append(blind.token_asked(system, code))
    return _keyed(asked, keys)


def _keyed(asked: Asked, keys: list[str]) -> q.Keyed:
    param = asked.param
    is_not = asked.modifier == "not"
    return q.Keyed(
        param=param.name,
        param_ids=param.param_ids,
        keys=tuple(dict.fromkeys(keys)),
        is_not=is_not,
    )


def _string(asked: Asked, _: int) -> q.Criterion:
    mode = _string_mode(asked)
    values = tuple(clear_string(text, mode) for text in _texts(asked, mode))
    return q.String(
        param=asked.param.name, param_ids=asked.param.param_ids, values=values, mode=mode
    )


def _blind_string(asked: Asked, _: int) -> q.Criterion:
    mode = _string_mode(asked)
    return _keyed(asked, [blind.string_asked(text, mode) for text in _texts(asked, mode)])


def _string_mode(asked: Asked) -> q.StringMode:
    return q.StringMode(asked.modifier) if asked.modifier else q.StringMode.STARTS


def _texts(asked: Asked, mode: q.StringMode) -> list[str]:
    texts = [unescape(value) for value in asked.values]
    if mode is not q.StringMode.EXACT and not all(blind.fold(text) for text in texts):
        raise asked.wrong("a text with at least one letter or digit")
    return texts


def date_value(name: str, text: str, now_us: int) -> q.DateValue:
    """A searched date with its prefix.

    Raises:
        HieError: INVALID naming the parameter.
    """
    prefix, rest = _prefix(text)
    # A plus sign of an offset that was not escaped arrives as a space.
    span = dates.span(rest.replace(" ", "+"))
    if span is None:
        raise refused(name, "expected a date such as `ge2026-01-31` or `2026-01-31T09:30:00Z`")
    if prefix is q.Prefix.AP:
        span = dates.widened(*span, now_us)
    return q.DateValue(prefix=prefix, lo_us=span[0], hi_us=span[1])


def _date(asked: Asked, now_us: int) -> q.Criterion:
    param = asked.param
    values = tuple(date_value(param.name, text, now_us) for text in asked.values)
    return q.Date(param=param.name, param_ids=param.param_ids, values=values)


def _blind_date(asked: Asked, now_us: int) -> q.Criterion:
    keys: list[str] = []
    for text in asked.values:
        if "T" in text:
            raise asked.wrong("a date without a time of day: it is stored as keyed hashes")
        value = date_value(asked.param.name, text, now_us)
        keys.extend(blind.date_asked(value.prefix, value.lo_us, value.hi_us))
    return _keyed(asked, keys)


def _number(asked: Asked, _: int) -> q.Criterion:
    param = asked.param
    values = tuple(_number_value(asked, text) for text in asked.values)
    return q.Number(param=param.name, param_ids=param.param_ids, values=values)


def _quantity(asked: Asked, _: int) -> q.Criterion:
    param = asked.param
    values = tuple(_quantity_value(asked, text) for text in asked.values)
    return q.Quantity(param=param.name, param_ids=param.param_ids, values=values)


def _quantity_value(asked: Asked, text: str) -> q.QuantityValue:
    parts = [unescape(part).strip() for part in split_escaped(text, "|")]
    if len(parts) not in (1, 3):
        raise asked.wrong("`number`, `number|system|code` or `number||code`")
    system, code = (parts[1], parts[2]) if len(parts) == 3 else ("", "")
    return q.QuantityValue(
        number=_number_value(asked, parts[0]),
        system=system[:TOKEN_WIDTH] or None,
        code=code[:UNIT_WIDTH] or None,
    )


def _number_value(asked: Asked, text: str) -> q.NumberValue:
    prefix, rest = _prefix(text)
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


def _prefix(text: str) -> tuple[q.Prefix, str]:
    plain = unescape(text).strip()
    if plain[:2] in PREFIXES:
        return q.Prefix(plain[:2]), plain[2:]
    return q.Prefix.EQ, plain


def _uri(asked: Asked, _: int) -> q.Criterion:
    param = asked.param
    values = tuple(unescape(value) for value in asked.values)
    return q.Uri(param=param.name, param_ids=param.param_ids, values=values)


_CLEAR: Final[dict[str, Build]] = {
    "token": _token,
    "string": _string,
    "date": _date,
    "number": _number,
    "quantity": _quantity,
    "uri": _uri,
}
_BLIND: Final[dict[str, Build]] = {
    "token": _blind_token,
    "string": _blind_string,
    "date": _blind_date,
}
