"""What an export is asked for: the parameters of `$export`, read and checked (pure).

Spec: https://hl7.org/fhir/uv/bulkdata/STU2/export.html#query-parameters
"""

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Final
from urllib.parse import parse_qsl, urlencode

from fhir_server.exchange import Call, Edge
from fhir_server.negotiate import is_lenient
from fhir_server.operations import asked
from fhir_server.search.parse import SearchParser
from fhir_server.settings import FhirSettings
from fhir_server.terminology.vocabulary import Vocabulary
from hie.exports.model import Asked, Level, may_export
from hie.kernel.context import Caller
from hie.kernel.errors import Category, HieError, Issue
from hie.kernel.fhir import ID, RELATIVE
from hie.store import query as q
from hie.store.index import SearchIndex
from hie.store.query import MAX_US, MIN_US, Query

FORMATS: Final = frozenset({"application/fhir+ndjson", "application/ndjson", "ndjson"})
KNOWN: Final = (
    "_outputFormat",
    "_since",
    "_until",
    "_type",
    "_typeFilter",
    "_elements",
    "patient",
)
LEVELS: Final[Mapping[str, Level]] = {
    "": Level.SYSTEM,
    "Patient": Level.PATIENT,
    "Group": Level.GROUP,
}
#: A comma that ends one filter and does not stand in it.
_NEXT: Final = re.compile(r",(?=[A-Z][A-Za-z]+\?)")
_FILTER: Final = re.compile(r"^(?P<type>[A-Z][A-Za-z]+)\?(?P<search>.+)$")
_ELEMENT: Final = re.compile(r"^((?P<type>[A-Z][A-Za-z]+)\.)?(?P<name>[a-z][A-Za-z0-9]*)$")
#: What says how results are shown has no meaning in a filter.
_SHOWN: Final = re.compile(r"^_(sort|count|total|summary|elements|include|revinclude|contained)\b")
#: What a filter may not ask: other resources than the one it is about.
_BEYOND: Final = (q.Chain, q.Has)


class ExportFilters:
    """Reads the searches of `_typeFilter`; the same for the request and for the job.

    Args:
        index: what there is to search by.
        vocabulary: behind `:in` and its like.
    """

    def __init__(self, index: SearchIndex, vocabulary: Vocabulary) -> None:
        self._parser = SearchParser(index, FhirSettings(), vocabulary)

    def __call__(self, type_name: str, search: str, now_us: int) -> Query:
        """The query of a search.

        Raises:
            HieError: INVALID, one issue per fault.
        """
        params = tuple(parse_qsl(search, keep_blank_values=True, max_num_fields=50))
        if any(_SHOWN.match(name) for name, _ in params):
            raise asked.wrong("_typeFilter", "expected search criteria, none of results")
        query = self._parser.parse(type_name, params, now_us=now_us).query
        if any(isinstance(criterion, _BEYOND) for criterion in query.criteria) or query.domains:
            raise asked.wrong("_typeFilter", "expected no chains, no `_has`, no `system|` alone")
        return query


def asked_of(edge: Edge, call: Call, prefer: str) -> Asked:
    """What a kick-off asks for.

    Args:
        edge: types and parameters.
        call: the request.
        prefer: all its Prefer headers.

    Raises:
        HieError: INVALID naming the parameter; FORBIDDEN naming a type that the scopes do not
            grant.
    """
    lenient = is_lenient(prefer)
    call = replace(call, headers={**_plain(call.headers), "Prefer": prefer})
    params = asked.require_known(call, asked.params_of(call), KNOWN)
    if not _is_ndjson(asked.last(params, "_outputFormat") or "ndjson"):
        expected = ", ".join(f"`{name}`" for name in sorted(FORMATS))
        raise asked.wrong("_outputFormat", f"expected one of {expected}")
    types = _types(edge, call.ctx.caller, asked.values(params, "_type"), lenient)
    since, until = (asked.period(params, name) for name in ("_since", "_until"))
    level = LEVELS[call.type]
    return Asked(
        level=level,
        request=_address(edge, call),
        types=types,
        filters=_filters(edge, call, params, types, lenient),
        since_us=since[0] if since else MIN_US,
        until_us=until[0] if until else MAX_US,
        elements=_elements(edge, asked.values(params, "_elements")),
        group_id=call.id,
        patients=_patients(call, level, params),
    )


def _is_ndjson(text: str) -> bool:
    """Whether a format is the one there is; a plus sign that was not escaped is a space here."""
    return text.partition(";")[0].strip().replace(" ", "+").lower() in FORMATS


def _types(edge: Edge, caller: Caller, named: list[str], lenient: bool) -> tuple[str, ...]:
    """The types that are listed: those named, or all that the scopes grant."""
    unknown = [name for name in named if not edge.index.has_type(name)]
    if unknown and not lenient:
        raise asked.wrong("_type", "expected resource types of R4, with commas between")
    wanted = [name for name in named if name not in unknown] if named else edge.index.types
    granted = tuple(sorted({name for name in wanted if may_export(caller, name)}))
    lost = [name for name in wanted if name not in granted]
    if not granted or (named and lost and not lenient):
        text = f"the token has no scope `system/{lost[0] if named and lost else '*'}.rs`"
        raise HieError(Category.FORBIDDEN, text)
    return granted


def _filters(
    edge: Edge, call: Call, params: asked.Params, types: tuple[str, ...], lenient: bool
) -> tuple[tuple[str, str], ...]:
    read = ExportFilters(edge.index, edge.vocabulary)
    found, faults = [], []
    for text in (text for name, text in params if name == "_typeFilter"):
        for part in _NEXT.split(text):
            match = _FILTER.match(part)
            try:
                if match is None or match["type"] not in types:
                    raise asked.wrong("_typeFilter", "expected `Type?search` of a type asked for")
                read(match["type"], match["search"], call.ctx.now_us)
            except HieError as error:
                faults += _placed(error)
            else:
                found.append((match["type"], match["search"]))
    if faults and not lenient:
        raise HieError(Category.INVALID, "`_typeFilter` cannot be understood", faults)
    return tuple(found)


def _placed(error: HieError) -> list[Issue]:
    prefix = "" if error.text.startswith("`_typeFilter`") else "`_typeFilter`: "
    issues = error.issues or (Issue(text=error.text),)
    return [replace(issue, text=f"{prefix}{issue.text}", expression=()) for issue in issues]


def _elements(edge: Edge, named: list[str]) -> tuple[tuple[str, str], ...]:
    found = []
    for name in named:
        match = _ELEMENT.match(name)
        if match is None or (match["type"] and not edge.index.has_type(match["type"])):
            raise asked.wrong("_elements", "expected names such as `Patient.name` or `status`")
        found.append((match["type"] or "", match["name"]))
    return tuple(found)


def _patients(call: Call, level: Level, params: asked.Params) -> tuple[str, ...] | None:
    named = [text for name, text in params if name == "patient"]
    if not named:
        return None
    if call.method != "POST" or level is Level.SYSTEM:
        raise asked.wrong("patient", "expected in a POST to the Patient or the Group level")
    found = []
    for text in named:
        match = RELATIVE.match(text.strip())
        if (match and match["type"] != "Patient") or not (match or ID.match(text.strip())):
            raise asked.wrong("patient", "expected references such as `Patient/<id>`")
        found.append(match["id"] if match else text.strip())
    return tuple(found)


def _address(edge: Edge, call: Call) -> str:
    """The kick-off's own address, as the manifest tells it."""
    place = "/".join(part for part in (call.type, call.id, "$export") if part)
    return f"{edge.settings.base_url}/{place}{_query(call.params)}"


def _query(params: asked.Params) -> str:
    return f"?{urlencode(params)}" if params else ""


def _plain(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: headers[name] for name in ("Content-Type",) if name in headers}
