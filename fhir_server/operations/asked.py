"""What an operation is asked with: parameters of the address, of a form, or of Parameters (pure).

The three mean the same, and a value may come either way: `_type=Observation` or
`{"name": "_type", "valueCode": "Observation"}`. What an operation does not know is refused by
name, unless the client wants leniency.
Spec: https://hl7.org/fhir/R4/operations.html#executing
"""

from collections.abc import Iterable, Iterator
from typing import Any, Final
from urllib.parse import parse_qsl

from adapters.fhir.body import Limits, parse_body
from fhir_server.exchange import Call
from fhir_server.negotiate import FORM, is_lenient, require_json_content
from fhir_server.paging import not_offered
from fhir_server.search.cursor import CURSOR_PARAM
from fhir_server.search.parse import GENERAL
from hie.kernel.errors import Category, HieError, Issue
from hie.kernel.fhir import FhirJson
from hie.store import dates

Params = tuple[tuple[str, str], ...]
#: The period [lo, hi) in microseconds of a date or time, as far as it was written.
Span = tuple[int, int]

_LIMITS: Final = Limits(body_bytes=256 * 1024, depth=20)


def params_of(call: Call) -> Params:
    """All parameters of a call, in the order given: those of the address first.

    Raises:
        HieError: INVALID for a body that holds none, UNSUPPORTED_MEDIA for another format.
    """
    params = tuple(pair for pair in call.params if pair[0] not in GENERAL)
    if not call.body.strip():
        return params
    if (call.headers.get("Content-Type") or "").partition(";")[0].strip().lower() == FORM:
        return (*params, *_form(call.body))
    require_json_content(call.headers.get("Content-Type"))
    return (*params, *_posted(parse_body(call.body, _LIMITS)))


def require_known(call: Call, params: Params, known: Iterable[str]) -> Params:
    """The parameters an operation knows.

    Raises:
        HieError: INVALID naming every other, unless the client wants leniency.
    """
    names = {*known, CURSOR_PARAM}
    unknown = dict.fromkeys(name for name, _ in params if name not in names)
    if unknown and not is_lenient(call.headers.get("Prefer")):
        faults = [not_offered(name, names - {CURSOR_PARAM}) for name in unknown]
        raise HieError(Category.INVALID, "unknown parameters", faults)
    return tuple(pair for pair in params if pair[0] in names)


def values(params: Params, name: str) -> list[str]:
    """The values of a parameter that may be given several times, or with commas between."""
    return [
        part.strip()
        for given, text in params
        if given == name
        for part in text.split(",")
        if part.strip()
    ]


def last(params: Params, name: str) -> str | None:
    """The value of a parameter that is given once; of several, the last."""
    found = [text.strip() for given, text in params if given == name]
    return found[-1] if found else None


def period(params: Params, name: str) -> Span | None:
    """A date or time as the period it names; None where it is not given.

    Raises:
        HieError: INVALID when it is neither.
    """
    text = last(params, name)
    if text is None:
        return None
    # A plus sign of an offset that was not escaped arrives as a space.
    span = dates.span(text.replace(" ", "+"))
    if span is None:
        raise wrong(name, "expected a date or time such as `2026-01-31`")
    return span


def boolean(params: Params, name: str) -> bool | None:
    """`true` or `false`; None where it is not given.

    Raises:
        HieError: INVALID when it is neither.
    """
    text = last(params, name)
    if text not in (None, "true", "false"):
        raise wrong(name, "expected `true` or `false`")
    return None if text is None else text == "true"


def wrong(name: str, expected: str) -> HieError:
    """The refusal of one parameter."""
    issue = Issue(text=f"`{name}`: {expected}", code="value", expression=(f"http.{name}",))
    return HieError(Category.INVALID, issue.text, [issue])


def _form(body: bytes) -> Params:
    try:
        return tuple(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=200))
    except ValueError as error:
        raise HieError(Category.INVALID, "the body is no form of at most 200 fields") from error


def _posted(body: FhirJson) -> Iterator[tuple[str, str]]:
    parameters = body.get("parameter", [])
    if body["resourceType"] != "Parameters" or not isinstance(parameters, list):
        text = "expected Parameters"
        issue = Issue(text=text, code="structure", expression=("$this",))
        raise HieError(Category.INVALID, text, [issue])
    for place, parameter in enumerate(parameters):
        name = parameter.get("name") if isinstance(parameter, dict) else None
        held = [key for key in parameter if key.startswith("value")] if name else []
        value = _text(parameter[held[0]]) if len(held) == 1 else None
        if not isinstance(name, str) or value is None:
            where = f"Parameters.parameter[{place}]"
            told = f"`{where}`: expected a name and one simple value"
            issue = Issue(text=told, code="structure", expression=(where,))
            raise HieError(Category.INVALID, told, [issue])
        yield name, value


def _text(value: Any) -> str | None:
    """A value as it would stand in an address: a concept by its first coding."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        return str(value)
    if not isinstance(value, dict):
        return None
    codings = value.get("coding")
    coded = codings[0] if isinstance(codings, list) and codings else value
    if isinstance(coded, dict) and isinstance(coded.get("code"), str):
        system = coded.get("system")
        return f"{system}|{coded['code']}" if isinstance(system, str) else coded["code"]
    reference = value.get("reference")
    return reference if isinstance(reference, str) else None
