"""search-type, search-system and what other addresses search: by GET or POST, the same.

Spec: https://hl7.org/fhir/R4/http.html#search
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Final

from fhir_server import paging
from fhir_server.exchange import Answer, Call, Edge
from fhir_server.outcome import diagnosed
from fhir_server.search import bundle
from fhir_server.search.cursor import Place
from fhir_server.search.definitions import CARRIED, definitions_of, shelf_of
from fhir_server.search.lineage import with_lineage
from fhir_server.search.params import refused
from fhir_server.search.parse import Params, Parsed, SearchParser
from fhir_server.search.results import Shown
from fhir_server.settings import FhirSettings
from fhir_server.terminology.vocabulary import Vocabulary
from hie.kernel.errors import Category, HieError, Issue
from hie.store.index import SearchIndex
from hie.store.query import Criterion, Page, Query, Served

TYPE: Final = "_type"
#: Resource types one search may go through.
MOST_TYPES: Final = 30
#: Where definitions are that no search finds, for who looks for them first.
ELSEWHERE: Final[Mapping[str, str]] = {
    "StructureDefinition": "the profiles that resources are judged by are named in `metadata` "
    "(`supportedProfile`) and taken by `$validate`; their definitions are at their urls",
    "SearchParameter": "what can be searched by is told in `metadata`",
    "OperationDefinition": "which operations there are, and where, is told in `metadata`",
    "CapabilityStatement": "what this server does is told by `metadata`",
    "CompartmentDefinition": "which compartments can be searched is told in `metadata`",
}
CUT: Final = Issue(
    text="more is included than one page may hold; ask for fewer matches a page",
    code="incomplete",
    severity="warning",
)


async def search(edge: Edge, call: Call) -> Answer:
    """A page of matches of one type as a Bundle of type searchset."""
    place = paging.asked(edge, call, call.type)
    settings = edge.settings
    params = with_lineage(call.type, place.params, settings.lineage, settings.base_url)
    return await found(edge, call, call.type, replace(place, params=params), (call.type,))


async def search_system(edge: Edge, call: Call) -> Answer:
    """The same over the types that `_type` names.

    Raises:
        HieError: FORBIDDEN naming a type that the token's scopes leave out.
    """
    place = paging.asked(edge, call, "")
    types = _types(edge, place.params)
    for name in types:
        if not call.ctx.caller.may(name, "s"):
            raise HieError(Category.FORBIDDEN, f"the token has no scope for `s` on {name}")
    return await found(edge, call, "", place, types)


async def found(
    edge: Edge,
    call: Call,
    address: str,
    place: Place,
    types: Sequence[str],
    within: Sequence[Criterion] = (),
) -> Answer:
    """A page of a search, as a Bundle.

    Args:
        edge: the collaborators.
        call: the request.
        address: what links of this search are bound to.
        place: what was asked first, and where this page starts.
        types: resource types searched together, whose scopes were checked.
        within: what the address asks beside the parameters.
    """
    asked = _read(edge, call, place, types, within)
    systems = [system for query in asked.queries for group in query.domains for system in group]
    if systems and not await edge.identities.knows_domains(call.ctx, systems):
        # IHE ITI-78, case 4.
        return Answer(status=404, body=diagnosed("not-found", "targetSystem not found", "warning"))
    page = await _page(edge, call, asked.queries)
    warnings = [*asked.warnings, *([CUT] if page.is_cut else [])]
    if not page.matches and call.type in ELSEWHERE:
        text = f"none is stored here; {ELSEWHERE[call.type]}"
        warnings.append(Issue(text=text, code="informational", severity="information"))
    if not asked.shown.is_count_only:
        warnings += await edge.notices.of(call.ctx)
    body = bundle.searchset(
        edge.subsets.page(page, asked.shown),
        base=edge.settings.base_url,
        self_url=paging.own(edge, call, address, place, asked.used),
        first_url=paging.first(edge, call, address, place),
        next_url=paging.following(edge, call, address, page, asked.used, place=place),
        warnings=warnings,
    )
    return Answer(body=body)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """A search on all of its types."""

    parsed: tuple[Parsed, ...]
    queries: tuple[Query, ...]
    used: Params

    @property
    def shown(self) -> Shown:
        return self.parsed[0].shown

    @property
    def warnings(self) -> Iterable[Issue]:
        return dict.fromkeys(issue for one in self.parsed for issue in one.warnings)


async def _page(edge: Edge, call: Call, queries: Sequence[Query]) -> Page:
    if len(queries) > 1:
        return await edge.door.search_types(call.ctx, queries)
    query = queries[0]
    if query.type not in CARRIED:
        return await edge.door.search(call.ctx, query)
    shelf = shelf_of(query, await asyncio.to_thread(_carried, edge, query))
    return shelf.joined(await edge.door.search(call.ctx, shelf.rest), query)


def _carried(edge: Edge, query: Query) -> Sequence[Served]:
    # Aside: hundreds of definitions with thousands of codes are compared with each value asked.
    return definitions_of(edge.vocabulary, edge.index).find(query)


def _read(
    edge: Edge, call: Call, place: Place, types: Sequence[str], within: Sequence[Criterion]
) -> _Asked:
    """What a search asks of each type.

    Raises:
        HieError: INVALID with one issue per fault.
    """
    params = tuple(param for param in place.params if param[0] != TYPE or call.type)
    parser = _parser(edge.index, edge.settings, edge.vocabulary)
    parsed = [
        parser.parse(
            name,
            params,
            is_lenient=place.is_lenient,
            now_us=place.at_us,
            may=lambda other: call.ctx.caller.may(other, "s"),
            within=within,
            types=types,
        )
        for name in types
    ]
    if len({tuple(key.kind for key in one.shown.sort) for one in parsed}) > 1:
        raise refused("_sort", "expected a parameter that is of one kind in every type")
    edge.subsets.require_elements(types, parsed[0].shown.elements)
    used = {param for one in parsed for param in one.used}
    return _Asked(
        parsed=tuple(parsed),
        queries=tuple(replace(one.query, cursor=place.position or None) for one in parsed),
        used=tuple(p for p in place.params if p in used or (p[0] == TYPE and not call.type)),
    )


@lru_cache(maxsize=8)
def _parser(index: SearchIndex, settings: FhirSettings, terms: Vocabulary) -> SearchParser:
    """One parser for all requests."""
    return SearchParser(index, settings, terms)


def _types(edge: Edge, params: Params) -> tuple[str, ...]:
    """The types of a search on several.

    Raises:
        HieError: INVALID when they are not named, or too many.
    """
    named = [name.strip() for key, text in params if key == TYPE for name in text.split(",")]
    types = tuple(dict.fromkeys(named))
    if not types or not all(edge.index.has_type(name) for name in types):
        raise refused(TYPE, "expected resource types of R4, such as `Observation,Condition`")
    if len(types) > MOST_TYPES:
        raise refused(TYPE, f"expected at most {MOST_TYPES} resource types", "too-costly")
    return types
