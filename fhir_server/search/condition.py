"""Conditions of writes, read as the searches they are (pure).

Spec: https://hl7.org/fhir/R4/http.html#cond-update
"""

from collections.abc import Callable

from fhir_server.search.parse import SearchParser
from fhir_server.settings import FhirSettings
from hie.store.index import SearchIndex
from hie.store.query import Query

Params = tuple[tuple[str, str], ...]


def understanding(index: SearchIndex) -> Callable[[str, Params, int], Query]:
    """Turns a type, parameters and the time into the search they ask for.

    What it gives raises HieError INVALID, with an Issue for each parameter that is unknown or
    has no such value.
    """
    parser = SearchParser(index, FhirSettings())

    def understand(type_name: str, params: Params, now_us: int) -> Query:
        return parser.parse(type_name, params, is_lenient=False, now_us=now_us).query

    return understand
