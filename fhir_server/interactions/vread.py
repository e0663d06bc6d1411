"""vread: one version of a resource.

Spec: https://hl7.org/fhir/R4/http.html#vread
"""

from fhir_server.exchange import Answer, Call, Edge
from fhir_server.interactions.read import answer


async def vread(edge: Edge, call: Call) -> Answer:
    """The version, or 304 where the client has it - after the decision."""
    return answer(await edge.door.vread(call.ctx, call.type, call.id, call.version), call)
