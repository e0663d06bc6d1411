"""Patient/{id}/$summary: the International Patient Summary of a person, as the caller sees them.

Spec: https://hl7.org/fhir/uv/ips/STU2/OperationDefinition-summary.html
"""

from functools import partial
from typing import Final

from fhir_server.exchange import Answer, Call, Edge
from fhir_server.operations import asked
from fhir_server.summary.document import Content, choose, document, wanted

PROFILE: Final = "http://hl7.org/fhir/uv/ips/StructureDefinition/Bundle-uv-ips"


async def summary(edge: Edge, call: Call) -> Answer:
    """A Bundle of type document; the same by GET and POST.

    Raises:
        HieError: NOT_FOUND when the patient is hidden or absent.
    """
    params = asked.require_known(call, asked.params_of(call), ("profile",))
    profile = asked.last(params, "profile")
    if profile is not None and profile.partition("|")[0] != PROFILE:
        raise asked.wrong("profile", f"expected `{PROFILE}`, the one there is")
    plan = edge.summary
    page = await edge.records.composed(
        call.ctx,
        "$summary",
        call.id,
        plan.types,
        partial(choose, plan, edge.index),
        partial(wanted, plan),
    )
    content = Content(patient=page.matches[0], chosen=page.matches[1:], beside=page.included)
    base = edge.settings.base_url
    return Answer(body=document(plan, edge.index, content, base, call.ctx.now_us))
