"""What a terminology operation is asked, from a query or a Parameters resource (pure).

Spec: https://hl7.org/fhir/R4/terminology-service.html, https://hl7.org/fhir/R4/parameters.html
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from fhir_server.outcome import named
from hie.kernel.errors import Category, HieError, Issue
from hie.kernel.fhir import FhirJson

#: Codes of one page of an expansion where the caller names no number, and at most.
DEFAULT_COUNT: Final = 1_000
MOST: Final = 5_000
#: Parameters that every operation passes over: of the wire, or without effect on codes that are
#: all active, flat and in one language.
PASSED_OVER: Final = frozenset(
    {
        "_format",
        "_pretty",
        "activeOnly",
        "displayLanguage",
        "excludeNested",
        "includeDefinition",
        "includeDesignations",
        "property",
        "abstract",
    }
)
TEXTS: Final = frozenset(
    {"url", "system", "code", "version", "display", "filter", "valueSetVersion", "systemVersion"}
    | {"codeA", "codeB"}
)
NUMBERS: Final = frozenset({"count", "offset"})
CODINGS: Final = frozenset({"coding", "codingA", "codingB"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Coding:
    """A code that is asked about; "" for what was not said."""

    system: str = ""
    code: str = ""
    version: str = ""
    display: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The parameters of one call, read.

    Attributes:
        texts: of the parameters that are text, by name.
        numbers: `count`, `offset`; never negative.
        codings: `coding`, `codingA`, `codingB`.
        concept: the codings of `codeableConcept`; None = not given.
        value_set: the ValueSet resource sent along; None = not given.
    """

    texts: Mapping[str, str]
    numbers: Mapping[str, int]
    codings: Mapping[str, Coding]
    concept: tuple[Coding, ...] | None = None
    value_set: FhirJson | None = None

    def text(self, name: str) -> str:
        """A text parameter; "" = not given."""
        return self.texts.get(name, "")


def pairs_of(body: FhirJson) -> list[tuple[str, Any]]:
    """Name and value of each parameter of a Parameters resource.

    Raises:
        HieError: INVALID when the body is no Parameters resource.
    """
    parameters = body.get("parameter", [])
    if body["resourceType"] != "Parameters" or not isinstance(parameters, list):
        raise _refusal("expected a Parameters resource", "Parameters")
    pairs = []
    for place, parameter in enumerate(parameters):
        held = parameter if isinstance(parameter, dict) else {}
        values = [v for name, v in held.items() if name.startswith("value") or name == "resource"]
        if not isinstance(held.get("name"), str) or len(values) != 1:
            raise _refusal("expected a `name` and one value", f"Parameters.parameter[{place}]")
        pairs.append((held["name"], values[0]))
    return pairs


def read(pairs: Iterable[tuple[str, Any]], allowed: frozenset[str]) -> Asked:
    """Named values as a request.

    Args:
        pairs: text where they stood in a query.
        allowed: the parameters the operation takes.

    Raises:
        HieError: INVALID with one issue per fault.
    """
    found: dict[str, Any] = {}
    faults: list[Issue] = []
    for name, value in pairs:
        if name in PASSED_OVER:
            continue
        if name not in allowed or name in found:
            text = f"{named(name)}: expected each once: {', '.join(sorted(allowed))}"
            faults.append(_issue(text, "Parameters.parameter.name", "not-supported"))
            continue
        read_value = _value(name, value)
        if read_value is None:
            faults.append(_issue(f"`{name}`: expected {_kind(name)}", _place(name), "value"))
        found[name] = read_value
    if faults:
        raise HieError(Category.INVALID, "the request cannot be understood", faults)
    return Asked(
        texts={name: found[name] for name in found.keys() & TEXTS},
        numbers={name: found[name] for name in found.keys() & NUMBERS},
        codings={name: found[name] for name in found.keys() & CODINGS},
        concept=found.get("codeableConcept"),
        value_set=found.get("valueSet"),
    )


def missing(text: str, name: str) -> HieError:
    """The refusal of a request that lacks a parameter."""
    return HieError(Category.INVALID, text, [_issue(text, _place(name), "required")])


def _value(name: str, value: Any) -> Any:
    """The value of a parameter, or None where it has the wrong form."""
    if name in NUMBERS:
        number = (
            int(value) if isinstance(value, str) and value.isascii() and value.isdigit() else value
        )
        return number if type(number) is int and 0 <= number < 1_000_000 else None
    if name in CODINGS:
        return _coding(value)
    if name == "codeableConcept":
        codings = value.get("coding") if isinstance(value, dict) else None
        read_codings = [_coding(each) for each in codings] if isinstance(codings, list) else [None]
        return None if None in read_codings else tuple(read_codings)
    if name == "valueSet":
        return value if isinstance(value, dict) else None
    return value if isinstance(value, str) and (value.strip() or name == "filter") else None


def _coding(value: Any) -> Coding | None:
    if isinstance(value, str):  # in a query: `system|code`
        system, _, code = value.rpartition("|")
        return Coding(system=system, code=code) if code else None
    if not isinstance(value, dict):
        return None
    parts = {name: value.get(name, "") for name in ("system", "code", "version", "display")}
    is_sound = all(isinstance(part, str) for part in parts.values()) and parts["code"]
    return Coding(**parts) if is_sound else None


def _kind(name: str) -> str:
    if name in NUMBERS:
        return "a whole number from 0"
    if name in CODINGS:
        return "a Coding with a `code`; in a query `system|code`"
    if name == "codeableConcept":
        return "a CodeableConcept with codings, in the body"
    return "a ValueSet resource" if name == "valueSet" else "text"


def _place(name: str) -> str:
    return f"Parameters.parameter.where(name = '{name}')"


def _issue(text: str, place: str, code: str) -> Issue:
    return Issue(text=text, code=code, expression=(place,))


def _refusal(text: str, place: str) -> HieError:
    return HieError(Category.INVALID, text, [_issue(text, place, "structure")])
