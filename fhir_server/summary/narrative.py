"""The text of a section: a table that says in words what its entries say in codes (pure).

Everything in a cell comes from senders and is escaped; characters that XHTML cannot hold are
left out. Numbers stand as they were written.
Spec: https://hl7.org/fhir/R4/narrative.html
"""

import re
from collections.abc import Callable, Mapping, Sequence
from html import escape
from typing import Any, Final

from fhir_server.summary.plan import Take
from hie.kernel.fhir import FhirJson

_XHTML: Final = "http://www.w3.org/1999/xhtml"
#: What XML 1.0 cannot hold, even escaped.
_NO_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
#: The longest text of a cell; the entry has all of it.
_LONGEST: Final = 300

#: The resources of a document by address, `Medication/1`.
Beside = Mapping[str, FhirJson]


def narrative(parts: Sequence[tuple[Take, Sequence[FhirJson]]], beside: Beside) -> FhirJson:
    """A Narrative of one table for each type that has entries."""
    tables = "".join(_table(take, entries, beside) for take, entries in parts if entries)
    return _generated(tables)


def sentence(text: str) -> FhirJson:
    """A Narrative of one sentence."""
    return _generated(f"<p>{_cell(text)}</p>")


def _generated(content: str) -> FhirJson:
    return {"status": "generated", "div": f'<div xmlns="{_XHTML}">{content}</div>'}


def _table(take: Take, entries: Sequence[FhirJson], beside: Beside) -> str:
    headings = "".join(f"<th>{_cell(heading)}</th>" for heading, _ in take.shows)
    rows = "".join(
        "<tr>"
        + "".join(f"<td>{_cell(shown(entry, names, beside))}</td>" for _, names in take.shows)
        + "</tr>"
        for entry in entries
    )
    return f"<table><thead><tr>{headings}</tr></thead><tbody>{rows}</tbody></table>"


def _cell(text: str) -> str:
    clean = _NO_XML.sub("", text).strip()
    return escape(clean if len(clean) <= _LONGEST else f"{clean[: _LONGEST - 1]}…")


def shown(entry: FhirJson, names: Sequence[str], beside: Beside) -> str:
    """The first of some elements that is there, in words; "" for none."""
    for name in names:
        found = _found(entry, name)
        if found is not None:
            return _words(found, beside)
    return ""


def _found(entry: Any, path: str) -> Any:
    """What a dotted path leads to; `value` also finds `valueQuantity` and its kin."""
    name, _, rest = path.partition(".")
    if isinstance(entry, list):
        found = [one for e in entry if (one := _found(e, path)) is not None]
        return found or None
    if not isinstance(entry, dict):
        return None
    value = entry.get(name)
    if value is None and name == "value":
        kinds = [key for key in entry if key.startswith("value")]
        value = entry[kinds[0]] if kinds else None
    return _found(value, rest) if rest and value is not None else value


def _words(value: Any, beside: Beside) -> str:
    if isinstance(value, list):
        return "; ".join(filter(None, (_words(one, beside) for one in value)))
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, dict):
        return "" if value is None else str(value)
    for name, say in _SAYS.items():
        if name in value:
            return say(value, beside)
    return ""


def _concept(value: FhirJson, _: Beside) -> str:
    codings = [c for c in value.get("coding", ()) if isinstance(c, dict)]
    names = [str(c["display"]) for c in codings if c.get("display")]
    codes = [str(c["code"]) for c in codings if c.get("code")]
    return next(iter((*filter(None, [value.get("text")]), *names, *codes)), "")


def _quantity(value: FhirJson, _: Beside) -> str:
    unit = value.get("unit") or value.get("code") or ""
    return f"{value.get('comparator', '')}{value.get('value', '')} {unit}".strip()


def _period(value: FhirJson, _: Beside) -> str:
    start, end = value.get("start"), value.get("end")
    return f"{start or ''} to {end}".strip() if end else f"from {start}"


def _component(value: FhirJson, beside: Beside) -> str:
    said = shown(value, ("value", "dataAbsentReason"), beside)
    return f"{_words(value['code'], beside)}: {said}" if isinstance(value["code"], dict) else said


def _coding(value: FhirJson, beside: Beside) -> str:
    if isinstance(value["code"], dict):
        return _component(value, beside)
    return str(value.get("display") or value["code"])


def _reference(value: FhirJson, beside: Beside) -> str:
    target = beside.get(str(value.get("reference", "")), {})
    named = shown(target, ("code", "type", "name", "deviceName.name"), {})
    return named or str(value.get("display") or "")


def _ratio(value: FhirJson, beside: Beside) -> str:
    return "/".join(_words(value.get(name), beside) for name in ("numerator", "denominator"))


#: By an element that only one datatype of those shown has.
_SAYS: Final[Mapping[str, Callable[[FhirJson, Beside], str]]] = {
    "coding": _concept,
    "text": _concept,
    "value": _quantity,
    "code": _coding,
    "start": _period,
    "end": _period,
    "reference": _reference,
    "numerator": _ratio,
    "display": _reference,
    "low": lambda value, beside: (
        f"{_words(value['low'], beside)} to {_words(value.get('high'), beside)}"
    ),
}
