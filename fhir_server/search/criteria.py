"""One search parameter's text to a criterion (pure).

A fault names the parameter and what was expected, never the value. References are read by
`fhir_server.search.references`.
Spec: https://hl7.org/fhir/R4/search.html
"""

from collections.abc import Callable
from typing import Final, Protocol

from fhir_server.search.params import Asked, modifiers_of, refused, split_escaped, unescape
from fhir_server.search.values import (
    clear_token,
    date_value,
    key_of_token,
    number_value,
    parts_of,
    place_value,
    quantity_value,
    token_parts,
    token_value,
)
from hie.kernel.fhir import ID
from hie.store import blind
from hie.store import query as q
from hie.store.extract import clear_string, of_type_code, sounds_of
from hie.store.index import SearchParam

#: Keys that one list of dates may come to.
MOST_KEYS: Final = 20_000
Build = Callable[[Asked, int], q.Criterion]
Pairs = frozenset[tuple[str, str]]


class Terms(Protocol):
    """What a search asks of the hub's vocabulary."""

    def codes_of(self, canonical: str, /) -> Pairs | None:
        """The (system, code) pairs of a value set; None when it is not here as a whole."""
        ...

    def under(self, system: str, code: str, /) -> Pairs | None:
        """A code and all it subsumes; None when the code is not here."""
        ...


def criterion(asked: Asked, now_us: int, terms: Terms) -> q.Criterion:
    """The criterion of a parameter.

    Args:
        asked: of a reference only with `:missing` or `:identifier`, or to a canonical address.
        now_us: for `ap`, whose tolerance grows with the distance from now.
        terms: for `:in`, `:not-in` and `:below`.

    Raises:
        HieError: INVALID with the parameter's name and what was expected.
    """
    require_modifier(asked)
    param = asked.param
    if asked.modifier == "missing":
        return _missing(asked)
    if asked.modifier in ("in", "not-in", "below") and param.type == "token":
        return _by_terms(asked, terms)
    if asked.modifier in _MODIFIED:
        return _MODIFIED[asked.modifier](asked)
    kind = "uri" if param.type == "reference" else param.type
    if param.is_sound:
        return _sound(asked)
    if param.kind == "text":
        return _text(asked, param.param_ids)
    return (_BLIND if param.is_blind else _CLEAR)[kind](asked, now_us)


def require_modifier(asked: Asked) -> None:
    """Refuse a modifier that the parameter does not have.

    Raises:
        HieError: INVALID (`not-supported`) naming those it has.
    """
    offered = modifiers_of(asked.param)
    if asked.modifier and asked.modifier not in offered:
        told = [f"`:{m}`" for m in offered]
        told += ["a resource type"] if asked.param.kind == "ref" else []
        shown = asked.modifier if asked.modifier.replace("-", "").isalpha() else "…"
        text = f"`:{shown}` is not supported here; supported: {', '.join(told) or 'no modifier'}"
        raise refused(asked.param.name, text, "not-supported")


def _missing(asked: Asked) -> q.Criterion:
    if asked.values not in (("true",), ("false",)):
        raise asked.wrong("`true` or `false` after `:missing`")
    param = asked.param
    is_of_person = bool(param.person)
    # Where only a Patient counts, a reference to anything else is none.
    ids = () if is_of_person and param.targets == ("Patient",) else param.param_ids
    return q.Missing(
        param=param.name,
        param_ids=ids,
        kind=param.kind,
        is_missing=asked.values == ("true",),
        is_person=is_of_person,
        logical_ids=param.logical_ids if param.kind == "ref" else (),
    )


def _token(asked: Asked, _: int) -> q.Criterion:
    values = tuple(token_value(asked, value) for value in asked.values)
    return _tokens(asked, values, is_not=asked.modifier == "not")


def _tokens(asked: Asked, values: tuple[q.TokenValue, ...], *, is_not: bool) -> q.Criterion:
    param = asked.param
    return q.Token(param=param.name, param_ids=param.param_ids, values=values, is_not=is_not)


def _by_terms(asked: Asked, terms: Terms) -> q.Criterion:
    """`:in` and `:not-in` a value set; `:below` a code."""
    pairs: set[tuple[str, str]] = set()
    for text in asked.values:
        if asked.modifier == "below":
            system, code = token_parts(asked, text)
            found = terms.under(system or "", code)
            expected = "`system|code` of a code system that this server has"
        else:
            found = terms.codes_of(unescape(text).strip())
            expected = "the canonical url of a value set that this server has with all its codes"
        if found is None:
            raise refused(asked.param.name, f"expected {expected}", "not-found")
        pairs |= found
    values = tuple(clear_token(system, code) for system, code in sorted(pairs))
    return _tokens(asked, values, is_not=asked.modifier == "not-in")


def _blind_token(asked: Asked, _: int) -> q.Criterion:
    return _keyed(asked, [key_of_token(asked, text) for text in asked.values])


def _keyed(asked: Asked, keys: list[str], ids: tuple[int, ...] = ()) -> q.Keyed:
    param = asked.param
    return q.Keyed(
        param=param.name,
        param_ids=ids or param.param_ids,
        keys=tuple(dict.fromkeys(keys)),
        is_not=asked.modifier == "not",
    )


def _of_type(asked: Asked) -> q.Criterion:
    """An Identifier by the coding of its type: `system|code|value`."""
    param = asked.param
    asked_for = [parts_of(text) for text in asked.values]
    if not all(len(parts) == 3 and all(parts) for parts in asked_for):
        raise asked.wrong("`system|code|value`: the coding of the identifier's type, its value")
    if param.is_blind:
        keys = [blind.of_type_key(system, code, value) for system, code, value in asked_for]
        return _keyed(asked, keys, param.of_type_ids)
    values = tuple(clear_token(s, of_type_code(code, value)) for s, code, value in asked_for)
    return q.Token(param=param.name, param_ids=param.of_type_ids, values=values)


def _identifier(asked: Asked) -> q.Criterion:
    """A reference by the identifier in it."""
    keys = []
    for text in asked.values:
        system, code = token_parts(asked, text)
        if not code:
            raise asked.wrong("`value`, `system|value` or `|value` after `:identifier`")
        keys.append(blind.token_asked(system, code))
    return _keyed(asked, keys, asked.param.logical_ids)


def _string(asked: Asked, _: int) -> q.Criterion:
    mode = _mode(asked)
    values = tuple(clear_string(text, mode) for text in _texts(asked, mode))
    return q.String(
        param=asked.param.name, param_ids=asked.param.param_ids, values=values, mode=mode
    )


def _blind_string(asked: Asked, _: int) -> q.Criterion:
    mode = _mode(asked)
    return _keyed(asked, [blind.string_asked(text, mode) for text in _texts(asked, mode)])


def _text(asked: Asked, ids: tuple[int, ...]) -> q.Criterion:
    mode = _mode(asked)
    keys = tuple(blind.text_asked(text, mode) for text in _texts(asked, mode))
    return q.Text(param=asked.param.name, param_ids=ids, keys=keys)


def _text_of_code(asked: Asked) -> q.Criterion:
    return _text(asked, asked.param.text_ids)


def _sound(asked: Asked) -> q.Criterion:
    """A name by how it sounds; one word, for each has a row of its own."""
    sounds = [sounds_of(unescape(value)) for value in asked.values]
    if not all(len(sound) == 1 for sound in sounds):
        raise asked.wrong("one word of a name")
    if asked.param.is_blind:
        return _keyed(asked, [f"f:{sound}" for (sound,) in sounds])
    values = tuple(f"={sound}" for (sound,) in sounds)
    return q.String(
        param=asked.param.name,
        param_ids=asked.param.param_ids,
        values=values,
        mode=q.StringMode.EXACT,
    )


def _mode(asked: Asked) -> q.StringMode:
    is_mode = asked.modifier in ("exact", "contains")
    return q.StringMode(asked.modifier) if is_mode else q.StringMode.STARTS


def _texts(asked: Asked, mode: q.StringMode) -> list[str]:
    texts = [unescape(value) for value in asked.values]
    if mode is not q.StringMode.EXACT and not all(blind.fold(text) for text in texts):
        raise asked.wrong("a text with at least one letter or digit")
    return texts


def _date(asked: Asked, now_us: int) -> q.Criterion:
    param = asked.param
    values = tuple(date_value(param.name, text, now_us) for text in asked.values)
    return q.Date(param=param.name, param_ids=param.param_ids, values=values)


def _blind_date(asked: Asked, now_us: int) -> q.Criterion:
    keys: dict[str, None] = {}
    for text in asked.values:
        is_timed = "T" in text
        if is_timed and not asked.param.is_moment:
            raise asked.wrong("a day, such as `ge2026-01-31`: it is stored without a time of day")
        value = date_value(asked.param.name, text, now_us)
        keys_of = blind.moment_asked if is_timed else blind.date_asked
        keys |= dict.fromkeys(keys_of(value.prefix, value.lo_us, value.hi_us))
        if len(keys) > MOST_KEYS:
            raise refused(asked.param.name, "expected fewer dates in one list", "too-costly")
    return _keyed(asked, list(keys))


def _number(asked: Asked, _: int) -> q.Criterion:
    param = asked.param
    values = tuple(number_value(asked, text) for text in asked.values)
    return q.Number(param=param.name, param_ids=param.param_ids, values=values)


def _quantity(asked: Asked, _: int) -> q.Criterion:
    param = asked.param
    values = tuple(quantity_value(asked, text) for text in asked.values)
    return q.Quantity(param=param.name, param_ids=param.param_ids, values=values)


def _blind_uri(asked: Asked, _: int) -> q.Criterion:
    return _keyed(asked, [blind.elsewhere_key(unescape(value).strip()) for value in asked.values])


def _uri(asked: Asked, _: int) -> q.Criterion:
    """Addresses: equal, or by whole steps of their path `:below` or `:above` the one asked."""
    param, values = asked.param, [unescape(value).strip() for value in asked.values]
    below: tuple[str, ...] = ()
    if asked.modifier == "below":
        below = tuple(value.rstrip("/") for value in values)
        values += below
    elif asked.modifier == "above":
        values = [higher for value in values for higher in _above(value)]
    return q.Uri(
        param=param.name,
        param_ids=param.param_ids,
        values=tuple(dict.fromkeys(values)),
        below=below,
    )


def _above(address: str) -> list[str]:
    """An address and those it stands below, with and without a slash at the end."""
    scheme, mark, path = address.partition("://")
    steps = (path if mark else address).rstrip("/").split("/")
    start = f"{scheme}{mark}" if mark else ""
    found = [start + "/".join(steps[:length]) for length in range(len(steps), 0, -1)]
    return [address, *(each + end for each in found for end in ("", "/"))]


def _near(asked: Asked, _: int) -> q.Criterion:
    if asked.param.kind != "place":
        raise refused(asked.param.name, "this parameter is not supported", "not-supported")
    values = tuple(place_value(asked, text) for text in asked.values)
    return q.Near(param=asked.param.name, param_ids=asked.param.param_ids, values=values)


def _composite(asked: Asked, now_us: int) -> q.Criterion:
    param, components = asked.param, asked.components
    if len(components) not in (2, 3):
        raise refused(param.name, "this parameter is not supported", "not-supported")
    form = "$".join(component.name for component in components)
    values = []
    for text in asked.values:
        parts = split_escaped(text, "$")
        if len(parts) != len(components) or not all(parts):
            raise asked.wrong(f"`{form}`")
        values.append(_composed(asked, parts, now_us))
    return q.Composite(param=param.name, param_ids=param.param_ids, values=tuple(values))


def _composed(asked: Asked, parts: list[str], now_us: int) -> q.CompositeValue:
    first, second, *third = (
        Asked(_under(asked, component), "", (part,))
        for component, part in zip(asked.components, parts, strict=True)
    )
    return q.CompositeValue(
        first=token_value(first, parts[0]),
        second=_second(second, now_us),
        third=number_value(third[0], parts[2]) if third else None,
    )


def _under(asked: Asked, component: SearchParam) -> SearchParam:
    """A component's parameter by the name of the composite, for errors."""
    return SearchParam(
        name=asked.param.name,
        id=component.id,
        param_ids=component.param_ids,
        type=component.type,
        kind=component.kind,
        targets=component.targets,
    )


def _second(
    asked: Asked, now_us: int
) -> q.TokenValue | q.QuantityValue | q.NumberValue | q.DateValue | str:
    (text,) = asked.values
    match asked.param.type:
        case "quantity":
            return quantity_value(asked, text)
        case "number":
            return number_value(asked, text)
        case "date":
            return date_value(asked.param.name, text, now_us)
        case "string":
            (plain,) = _texts(asked, q.StringMode.STARTS)
            return blind.text_asked(plain, q.StringMode.STARTS)
        case "reference":
            kind, _, key = unescape(text).strip().rpartition("/")
            if not ID.match(key):
                raise asked.wrong("`id` or `Type/id` as its second part")
            return q.TokenValue(system=kind.rpartition("/")[2] or None, code=key)
        case _:
            return token_value(asked, text)


_CLEAR: Final[dict[str, Build]] = {
    "token": _token,
    "string": _string,
    "date": _date,
    "number": _number,
    "quantity": _quantity,
    "uri": _uri,
    "composite": _composite,
    "special": _near,
}
_BLIND: Final[dict[str, Build]] = {
    "token": _blind_token,
    "string": _blind_string,
    "date": _blind_date,
    "uri": _blind_uri,
}
_MODIFIED: Final[dict[str, Callable[[Asked], q.Criterion]]] = {
    "text": _text_of_code,
    "of-type": _of_type,
    "identifier": _identifier,
}
