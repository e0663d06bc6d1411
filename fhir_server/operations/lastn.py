"""Observation/$lastn: the last few observations of each kind.

Search parameters say of whom and which; a patient or subject, and a category or code, must be
among them. Spec: https://hl7.org/fhir/R4/observation-operation-lastn.html
"""

from dataclasses import replace
from typing import Final

from fhir_server.exchange import Answer, Call, Edge
from fhir_server.latest import latest
from fhir_server.negotiate import is_lenient
from fhir_server.operations import asked
from fhir_server.search import bundle
from fhir_server.search.parse import SearchParser
from hie.kernel.errors import Category, HieError, Issue

ADDRESS: Final = "Observation/$lastn"
_SUBJECTS: Final = frozenset({"patient", "subject"})
_KINDS: Final = frozenset(
    {"category", "code", "component-code", "combo-code", "code-value-concept"}
    | {"code-value-quantity", "combo-code-value-quantity", "combo-code-value-concept"}
)
#: What a search has and this has not: its order and its number are given.
_NOT_HERE: Final = frozenset(
    {"_sort", "_count", "_total", "_summary", "_elements", "_include", "_revinclude", "_contained"}
)
#: The most of one kind.
MOST: Final = 1000


async def lastn(edge: Edge, call: Call) -> Answer:
    """A searchset, kind by kind, each from the newest on."""
    params = asked.params_of(call)
    most = _most(params)
    searched = tuple(pair for pair in params if pair[0] != "max")
    _require_narrow(searched)
    parsed = SearchParser(edge.index, edge.settings).parse(
        call.type,
        searched,
        is_lenient=is_lenient(call.headers.get("Prefer")),
        now_us=call.ctx.now_us,
        may=lambda other: call.ctx.caller.may(other, "s"),
    )
    page = await edge.records.chosen(
        call.ctx,
        "$lastn",
        parsed.query,
        lambda found: latest(found, "code", most, edge.index),
    )
    base = edge.settings.base_url
    used = (*parsed.used, *(pair for pair in params if pair[0] == "max"))
    body = bundle.searchset(
        replace(page, total=len(page.matches)),
        base=base,
        self_url=bundle.link(base, ADDRESS, used),
        warnings=(*parsed.warnings, *await edge.notices.of(call.ctx)),
    )
    return Answer(body=body)


def _most(params: asked.Params) -> int:
    text = asked.last(params, "max")
    if text is None:
        return 1
    if not text.isascii() or not text.isdigit() or not 0 < int(text) <= MOST:
        raise asked.wrong("max", f"expected a whole number from 1 to {MOST}")
    return int(text)


def _require_narrow(params: asked.Params) -> None:
    """Make sure that it is asked for somebody's observations of some kind.

    Raises:
        HieError: INVALID with one issue per fault.
    """
    names = {name.partition(":")[0].partition(".")[0] for name, _ in params}
    faults = [
        Issue(text=f"`{name}`: not supported with `$lastn`", code="not-supported")
        for name in sorted(names & _NOT_HERE)
    ]
    if not names & _SUBJECTS:
        faults.append(Issue(text="`patient` or `subject`: expected one", code="required"))
    if not names & _KINDS:
        faults.append(Issue(text="`category` or `code`: expected one", code="required"))
    if faults:
        raise HieError(Category.INVALID, "the question is too wide", faults)
