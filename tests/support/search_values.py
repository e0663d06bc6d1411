"""What a search may ask of an element, read naively: the other side of the oracle.

No path language, no index rows: an element as an engine gives it, and the type of the search
parameter, to plain values that compare.
"""

from collections.abc import Iterable
from typing import Any

from hie.store import blind, dates
from hie.store.extract import STRING_WIDTH, IndexValue, sounds_of
from hie.store.plans import SearchParam

Plain = tuple[Any, ...]
OPEN = 10.0**19
#: Parts of a name that are somebody's own.
NAMES = ("text", "family", "given")


#: Who and where: everybody's to see.
PUBLIC = frozenset(
    {
        *("Endpoint", "HealthcareService", "Location"),
        *("Organization", "Practitioner", "PractitionerRole"),
    }
)


def asked_of(param: SearchParam, element: Any) -> set[Plain]:
    """The values of one element that the parameter finds."""
    if param.is_sound:
        names = (
            {n: v for n, v in element.items() if n in NAMES}
            if isinstance(element, dict)
            else element
        )
        return {(sound,) for text in _strings(names) for sound in sounds_of(text)}
    return set(_READ[param.type](param, element))


def _token(param: SearchParam, element: Any) -> Iterable[Plain]:
    if isinstance(element, bool):
        yield (str(element).lower(),)
    elif isinstance(element, str):
        yield (element,)
    elif isinstance(element, dict):
        for part in element.get("coding", [element]):
            code = part.get("code") or part.get("value")
            if code:
                yield (blind.contact(code) if param.is_contact else code,)


def _strings(element: Any) -> Iterable[str]:
    if isinstance(element, str):
        yield element
    elif isinstance(element, list):
        for part in element:
            yield from _strings(part)
    elif isinstance(element, dict):
        for name, part in element.items():
            if name not in ("use", "type", "period", "extension") and name[0] != "_":
                yield from _strings(part)


def _string(_: SearchParam, element: Any) -> Iterable[Plain]:
    return ((text[: STRING_WIDTH - 1],) for text in _strings(element) if text.strip())


def _date(param: SearchParam, element: Any) -> Iterable[Plain]:
    if param.is_blind:
        yield (str(element)[:10],)
        return
    if isinstance(element, str):
        yield from [span] if (span := dates.span(element)) else []
    elif isinstance(element, dict):
        bounds = element.get("repeat", {}).get("boundsPeriod")
        whole = [dates.period_span(element), dates.period_span(bounds or {})]
        whole += [dates.span(moment) for moment in element.get("event", ())]
        if spans := [span for span in whole if span]:
            yield min(lo for lo, _ in spans), max(hi for _, hi in spans)


def _number(_: SearchParam, element: Any) -> Iterable[Plain]:
    if isinstance(element, dict):
        low, high = element.get("low"), element.get("high")
        yield (_bounded(low["value"]) if low else -OPEN, _bounded(high["value"]) if high else OPEN)
    else:
        yield (_bounded(element), _bounded(element))


def _bounded(number: Any) -> float:
    return round(max(-OPEN, min(OPEN, float(number))), 6)


def _quantity(_: SearchParam, element: Any) -> Iterable[Plain]:
    if not isinstance(element, dict):
        return
    if "origin" in element:
        origin, factor = element["origin"]["value"], element.get("factor", 1)
        samples = [float(text) for text in element["data"].split() if text not in "EUL"]
        found = [float(origin) + float(factor) * sample for sample in samples]
        yield (_bounded(min(found)), _bounded(max(found)))
    elif "low" in element or "high" in element:
        yield from _number(_, element)
    elif "value" in element:
        value, comparator = _bounded(element["value"]), element.get("comparator", "")
        yield (-OPEN if "<" in comparator else value, OPEN if ">" in comparator else value)


def _uri(_: SearchParam, element: Any) -> Iterable[Plain]:
    if isinstance(element, str):
        yield (element,)
        yield (element.partition("|")[0],)  # whatever its version


def _reference(param: SearchParam, element: Any) -> Iterable[Plain]:
    if isinstance(element, str):
        yield from _uri(param, element)
        return
    literal = element.get("reference", "")
    kind, _, rest = literal.partition("/")
    leads = bool(rest) and "://" not in literal and kind[0].isupper()
    is_own = bool(param.person) and kind == "Patient"
    if "://" in literal:
        yield ("u", literal)
    elif leads and not is_own:
        yield (kind, rest.partition("/")[0])
    # What may be hidden is not found by the identifier beside it (docs/adr/0042).
    is_shown = not leads or is_own or kind in PUBLIC
    if is_shown and element.get("identifier", {}).get("value"):
        yield ("v", element["identifier"]["value"])


_READ = {
    "token": _token,
    "string": _string,
    "date": _date,
    "number": _number,
    "quantity": _quantity,
    "uri": _uri,
    "reference": _reference,
}


def kept_in(param: SearchParam, value: IndexValue) -> set[Plain]:
    """The plain values that a row of the index stands for."""
    if value.kind == "blind":
        found = {_of_key(param, key) for key in value.keys} - {()}
        # A date is kept by year, month and day: the longest says all of it.
        return {max(found)} if param.type == "date" and found else found
    if value.kind == "string":
        return {(value.value[1:],)} if value.value.startswith("=") else set()
    if value.kind in ("number", "quantity"):
        return {(_bounded(value.lo), _bounded(value.hi))}
    if value.kind == "date":
        return {(value.lo_us, value.hi_us)}
    if value.kind == "ref":
        return {value.target or ()}
    return {(value.code,)} if value.kind == "token" else {(value.value,)}


def _of_key(param: SearchParam, key: str) -> Plain:
    """Of the keys of a blind value, the one that holds it whole; () for the others."""
    form, _, text = key.partition(":")
    if param.type == "reference":
        return (form, text) if form in "uv" else ()
    if param.type == "date":
        return (text,) if form == "d" else ()
    whole = {"token": "v", "uri": "u", "string": "f" if param.is_sound else "x"}[param.type]
    return (text,) if form == whole else ()
