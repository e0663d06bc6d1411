"""`$expand`, `$lookup`, `$validate-code` and `$subsumes` over the local codes, and their reads.

What is not here is answered 404; a code whose system the hub does not carry is neither valid
nor invalid, and a question about it is refused (422) instead of guessed.
Spec: https://hl7.org/fhir/R4/terminology-service.html
"""

import asyncio
from collections.abc import Sequence
from typing import Any, Final, NoReturn

import orjson

from adapters.fhir.body import Limits, parse_body
from fhir_server.exchange import Answer, Call, Edge
from fhir_server.interactions import read as stored
from fhir_server.negotiate import require_json_content
from fhir_server.search.definitions import definitions_of
from fhir_server.terminology import render, request
from fhir_server.terminology.model import CodeSystem, Expansion, ValueSet
from fhir_server.terminology.read import read_value_set
from fhir_server.terminology.request import Asked, Coding
from fhir_server.terminology.vocabulary import Vocabulary
from hie.kernel.clock import instant
from hie.kernel.errors import Category, HieError, Issue
from hie.kernel.fhir import FhirJson
from hie.store.query import Served

_LIMITS: Final = Limits(body_bytes=256 * 1024, depth=40)
#: Parts of a value set that is sent along or stored: includes, and value sets and filters in them.
_MOST_INCLUDES: Final = 100
#: The address of a value set that has none.
_NAMELESS: Final = "urn:hie:stored"
_EXPAND: Final = frozenset({"url", "valueSet", "valueSetVersion", "filter", "count", "offset"})
_LOOKUP: Final = frozenset({"code", "system", "version", "coding"})
_OF_SYSTEM: Final = frozenset({"url", "code", "version", "display", "coding", "codeableConcept"})
_OF_SET: Final = frozenset(
    {"url", "valueSet", "valueSetVersion", "code", "system", "systemVersion", "display"}
    | {"coding", "codeableConcept"}
)
_SUBSUMES: Final = frozenset({"codeA", "codeB", "system", "version", "codingA", "codingB"})


async def read_local(edge: Edge, call: Call) -> Answer:
    """A ValueSet or CodeSystem that the hub carries, by its id; else what is stored under it."""
    carried = await asyncio.to_thread(definitions_of, edge.vocabulary, edge.index)
    found = carried.get(call.type, call.id)
    return await stored.read(edge, call) if found is None else stored.carried(edge, call, found)


async def expand(edge: Edge, call: Call) -> Answer:
    """A page of the codes of a value set.

    Raises:
        HieError: INVALID for a request that is none, NOT_FOUND for a value set that is not
            here, BUSINESS_RULE for one of whose codes none is here.
    """
    asked = _asked(call, _EXPAND)
    vocabulary, found = await _value_set(edge, call, asked)
    expansion = vocabulary.expand(found.url)
    if expansion is None or not (expansion.members or expansion.is_whole):
        text = "the codes of this value set are of systems that are not carried here"
        raise _refused(Category.BUSINESS_RULE, text, "not-supported")
    told = _filtered(expansion, asked.text("filter"))
    count = min(asked.numbers.get("count", request.DEFAULT_COUNT), request.MOST)
    body = render.expanded(
        found,
        told,
        offset=asked.numbers.get("offset", 0),
        count=count,
        total=len(told.members),
        at=instant(call.ctx.now_us),
    )
    return Answer(body=orjson.dumps(body))


async def lookup(edge: Edge, call: Call) -> Answer:
    """What is known of a code.

    Raises:
        HieError: INVALID for a request that is none, NOT_FOUND for a system or code that is not
            here.
    """
    asked = _asked(call, _LOOKUP)
    coding = _one_coding(asked, asked.text("system"))
    if not coding.system:
        raise request.missing("`system`: expected the url of a code system", "system")
    system = _code_system(edge.vocabulary, coding.system, asked.text("version") or coding.version)
    concept = system.concept(coding.code)
    if concept is None:
        _unknown("no such code in this code system", "code")
    told: list[FhirJson] = [{"name": "name", "valueString": system.name or system.url}]
    if system.version:
        told.append({"name": "version", "valueString": system.version})
    told.append({"name": "display", "valueString": concept.display or concept.code})
    told += [_property("parent", code) for code in concept.parents]
    told += [_property("child", code) for code in system.children.get(concept.code, ())]
    return _parameters(told)


async def validate_in_system(edge: Edge, call: Call) -> Answer:
    """Whether a code system has a code (CodeSystem/$validate-code).

    Raises:
        HieError: INVALID for a request that is none, NOT_FOUND for a system that is not here.
    """
    asked = _asked(call, _OF_SYSTEM)
    url = asked.text("url")
    codings = _codings(asked, url)
    system = _code_system(edge.vocabulary, url or codings[0].system, asked.text("version"))
    mine = [coding for coding in codings if coding.system in ("", system.url)]
    held = [coding for coding in mine if system.concept(coding.code)]
    if not held and mine and not system.is_complete:
        _unjudged()
    return _verdict(edge.vocabulary, held, system.url, "the code system has no such code")


async def validate_in_set(edge: Edge, call: Call) -> Answer:
    """Whether a value set holds a code (ValueSet/$validate-code).

    Raises:
        HieError: INVALID for a request that is none, NOT_FOUND for a value set that is not
            here, BUSINESS_RULE where that cannot be told here.
    """
    asked = _asked(call, _OF_SET)
    vocabulary, found = await _value_set(edge, call, asked)
    codings = _codings(asked, asked.text("system"))
    if asked.text("code") and not asked.text("system") and len(_systems(found)) > 1:
        raise request.missing("`system`: this value set has codes of several systems", "system")
    judged = [(coding, _holds(vocabulary, found, coding)) for coding in codings]
    held = [coding for coding, is_in in judged if is_in]
    if not held and any(is_in is None for _, is_in in judged):
        _unjudged()
    only = next(iter(_systems(found)), "")
    return _verdict(vocabulary, held, only, "the value set has no such code")


async def subsumes(edge: Edge, call: Call) -> Answer:
    """Which of two codes stands above the other (CodeSystem/$subsumes).

    Raises:
        HieError: INVALID for a request that is none, NOT_FOUND for a system or code that is not
            here.
    """
    asked = _asked(call, _SUBSUMES)
    one, other = (
        asked.codings.get(f"coding{side}")
        or Coding(system=asked.text("system"), code=asked.text(f"code{side}"))
        for side in ("A", "B")
    )
    url = one.system or asked.text("system")
    if not (one.code and other.code and url) or other.system not in ("", url):
        text = "expected `system`, `codeA` and `codeB`, or two codings of one system"
        raise request.missing(text, "system")
    system = _code_system(edge.vocabulary, url, asked.text("version"))
    first, second = system.concept(one.code), system.concept(other.code)
    if first is None or second is None:
        _unknown("no such code in this code system", "code")
    if first.code == second.code:
        outcome = "equivalent"
    elif second.code in system.under(first.code):
        outcome = "subsumes"
    elif first.code in system.under(second.code):
        outcome = "subsumed-by"
    else:
        outcome = "not-subsumed"
    return _parameters([{"name": "outcome", "valueCode": outcome}])


def _asked(call: Call, allowed: frozenset[str]) -> Asked:
    if call.method != "POST":
        return request.read(call.params, allowed)
    pairs: list[tuple[str, Any]] = list(call.params)
    if call.body.strip():
        require_json_content(call.headers.get("Content-Type"))
        pairs += request.pairs_of(parse_body(call.body, _LIMITS))
    return request.read(pairs, allowed)


async def _value_set(edge: Edge, call: Call, asked: Asked) -> tuple[Vocabulary, ValueSet]:
    """The value set a call is about, and a vocabulary that holds it.

    Raises:
        HieError: INVALID where it is not named, NOT_FOUND and GONE where it is not here.
    """
    vocabulary = edge.vocabulary
    if asked.value_set is not None:
        found = _sent(asked.value_set)
        return Vocabulary(vocabulary.code_systems, [*vocabulary.value_sets, found]), found
    if call.id:
        named = next((each for each in vocabulary.value_sets if each.id == call.id), None)
        if named is None:
            found = _kept(await edge.door.read(call.ctx, call.type, call.id))
            others = [each for each in vocabulary.value_sets if each.url != found.url]
            return Vocabulary(vocabulary.code_systems, [*others, found]), found
    elif asked.text("url"):
        version = asked.text("valueSetVersion")
        named = vocabulary.value_set(asked.text("url") + (f"|{version}" if version else ""))
    else:
        raise request.missing("`url`: expected the url of a value set", "url")
    if named is None:
        _unknown("no such value set is carried here; one that is stored is asked by its id", "url")
    return vocabulary, named


def _kept(served: Served) -> ValueSet:
    """A value set that a source stored.

    Raises:
        HieError: BUSINESS_RULE where it does not say which codes it holds, or in too many parts.
    """
    try:
        found = read_value_set({"url": _NAMELESS, **orjson.loads(served.body)})
    except (KeyError, TypeError, AttributeError) as error:
        text = "the value set has no `compose.include`: it does not say which codes it holds"
        raise _refused(Category.BUSINESS_RULE, text, "not-supported") from error
    if _parts(found) > _MOST_INCLUDES:
        text = f"the value set has more than {_MOST_INCLUDES} parts"
        raise _refused(Category.BUSINESS_RULE, text, "too-costly")
    return found


def _sent(resource: FhirJson) -> ValueSet:
    try:
        # Its own address would stand for what is here under the same.
        found = read_value_set({**resource, "id": "sent", "url": "urn:hie:sent"})
    except (KeyError, TypeError, AttributeError) as error:
        text = "`valueSet`: expected a ValueSet with `compose.include`"
        place = "Parameters.parameter.where(name = 'valueSet').resource"
        issue = Issue(text=text, code="structure", expression=(place,))
        raise HieError(Category.INVALID, text, [issue]) from error
    if _parts(found) > _MOST_INCLUDES:
        raise HieError(Category.TOO_LARGE, f"`valueSet`: expected at most {_MOST_INCLUDES} parts")
    return found


def _parts(found: ValueSet) -> int:
    """How much there is to look through: includes, and what each of them names besides codes."""
    told = (*found.includes, *found.excludes)
    return sum(1 + len(each.value_sets) + len(each.filters) for each in told)


def _code_system(vocabulary: Vocabulary, url: str, version: str) -> CodeSystem:
    if not url:
        raise request.missing("`url`: expected the url of a code system", "url")
    found = vocabulary.code_system(f"{url}|{version}" if version else url)
    if found is None:
        _unknown("no such code system here", "system")
    return found


def _one_coding(asked: Asked, system: str) -> Coding:
    codings = _codings(asked, system)
    if len(codings) != 1:
        raise request.missing("expected one `code` or `coding`", "code")
    return codings[0]


def _codings(asked: Asked, system: str) -> tuple[Coding, ...]:
    """The codes asked about: exactly one of `code`, `coding` and `codeableConcept`."""
    given: list[tuple[Coding, ...]] = []
    if asked.text("code"):
        one = Coding(system=system, code=asked.text("code"), display=asked.text("display"))
        given.append((one,))
    if "coding" in asked.codings:
        given.append((asked.codings["coding"],))
    if asked.concept:
        given.append(asked.concept)
    if len(given) != 1:
        raise request.missing("expected one of `code`, `coding`, `codeableConcept`", "code")
    return given[0]


def _systems(found: ValueSet) -> frozenset[str]:
    return frozenset(include.system for include in found.includes if include.system)


def _holds(vocabulary: Vocabulary, found: ValueSet, coding: Coding) -> bool | None:
    return vocabulary.is_member(found.url, coding.system, coding.code)


def _filtered(expansion: Expansion, text: str) -> Expansion:
    """The codes whose display or code holds every word of a filter."""
    words = text.casefold().split()
    kept = tuple(
        member
        for member in expansion.members
        if all(word in f"{member.code} {member.display}".casefold() for word in words)
    )
    return Expansion(members=kept, is_whole=expansion.is_whole)


def _verdict(vocabulary: Vocabulary, held: Sequence[Coding], system: str, otherwise: str) -> Answer:
    """Result, display and message of a `$validate-code`."""
    if not held:
        return _parameters(
            [
                {"name": "result", "valueBoolean": False},
                {"name": "message", "valueString": otherwise},
            ]
        )
    coding = held[0]
    concept = vocabulary.concept(coding.system or system, coding.code)
    display = concept.display if concept else ""
    is_said_right = coding.display.casefold() in ("", display.casefold()) or not display
    told: list[FhirJson] = [{"name": "result", "valueBoolean": is_said_right}]
    if not is_said_right:
        told.append({"name": "message", "valueString": "the code has another display"})
    if display:
        told.append({"name": "display", "valueString": display})
    return _parameters(told)


def _property(name: str, code: str) -> FhirJson:
    return {
        "name": "property",
        "part": [{"name": "code", "valueCode": name}, {"name": "value", "valueCode": code}],
    }


def _parameters(told: Sequence[FhirJson]) -> Answer:
    body = {"resourceType": "Parameters", "parameter": list(told)}
    return Answer(body=orjson.dumps(body))


def _unknown(text: str, name: str) -> NoReturn:
    place = f"Parameters.parameter.where(name = '{name}')"
    issue = Issue(text=text, code="not-found", expression=(place,))
    raise HieError(Category.NOT_FOUND, text, [issue])


def _unjudged() -> NoReturn:
    text = "the codes of this system are not carried here: neither confirmed nor denied"
    raise _refused(Category.BUSINESS_RULE, text, "not-supported")


def _refused(category: Category, text: str, code: str) -> HieError:
    return HieError(category, text, [Issue(text=text, code=code)])
