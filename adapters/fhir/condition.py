"""What conditional writes and references look for, and the identifiers a resource has (pure).

Spec: https://hl7.org/fhir/R4/http.html#cond-update, https://hl7.org/fhir/R4/http.html#transaction
"""

from typing import Final
from urllib.parse import parse_qsl

from adapters.fhir.plan import Condition, Identified, Matching
from hie.kernel.errors import Category, HieError, Issue
from hie.kernel.fhir import FhirJson

#: Parameters that say how a result is shown, and so nothing about what is looked for.
_OF_RESULTS: Final = frozenset(
    {
        *("_sort", "_count", "_cursor", "_include", "_revinclude", "_summary", "_total"),
        *("_elements", "_contained", "_containedType", "_format", "_pretty"),
    }
)
_MOST: Final = 20


def condition_of(type_name: str, query: str, expression: str = "") -> Condition:
    """What a conditional write or reference looks for.

    Args:
        type_name: the resource type looked among.
        query: search parameters; `identifier=system|value` alone is known without a search.
        expression: FHIRPath for the refusal.

    Raises:
        HieError: INVALID for a condition that names nothing to look for.
    """
    search = query.removeprefix(type_name).removeprefix("?")
    try:
        pairs = parse_qsl(search, keep_blank_values=True, max_num_fields=_MOST)
    except ValueError:
        pairs = []
    asked = [name.partition(":")[0] for name, _ in pairs]
    if not pairs or not all(value for _, value in pairs) or _OF_RESULTS.intersection(asked):
        text = "a condition is made of search parameters with values, `identifier=[system]|[value]`"
        issue = Issue(text=text, code="value", expression=(expression,) if expression else ())
        raise HieError(Category.INVALID, text, [issue])
    name, token = pairs[0]
    system, bar, value = token.rpartition("|")
    if len(pairs) == 1 and name == "identifier" and value and not {",", "\\"} & set(token):
        return Identified(type_name, system if bar else None, value)
    return Matching(type_name, tuple(pairs))


def identifiers_of(resource: FhirJson) -> tuple[tuple[str, str], ...]:
    """(system, value) of every business identifier that names its system, in order."""
    found = resource.get("identifier")
    return tuple(
        (one["system"], one["value"])
        for one in (found if isinstance(found, list) else [found])
        if isinstance(one, dict)
        and isinstance(one.get("system"), str)
        and isinstance(one.get("value"), str)
    )
