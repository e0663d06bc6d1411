"""search-type within a compartment: `/Patient/1/Observation`, by GET or POST, the same.

A compartment that is hidden is answered as one that is not there: with nothing in it.
Spec: https://hl7.org/fhir/R4/http.html#vsearch
"""

from fhir_server import paging
from fhir_server.exchange import Answer, Call, Edge
from fhir_server.interactions.search import found
from hie.kernel.errors import Category, HieError, Issue


async def search_compartment(edge: Edge, call: Call) -> Answer:
    """A page of what of a type is in a compartment.

    Raises:
        HieError: NOT_FOUND where there is no such compartment; INVALID where the type is never
            in it.
    """
    address = f"{call.compartment}/{call.id}/{call.type}"
    within = edge.compartments.within(call.compartment, call.id, call.type)
    place = paging.asked(edge, call, address)
    return await found(edge, call, address, place, (call.type,), within)


async def search_all_types(_: Edge, call: Call) -> Answer:
    """Say what to ask instead of every type at once.

    Raises:
        HieError: INVALID, always.
    """
    text = f"expected one resource type: `{call.type}/[id]/[type]?…`; a whole record is given by "
    text += "`Patient/[id]/$everything`"
    raise HieError(Category.INVALID, text, [Issue(text=text, code="not-supported")])
