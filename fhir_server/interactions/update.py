"""update: a new version of a resource the caller's source has sent.

Spec: https://hl7.org/fhir/R4/http.html#update
"""

from fhir_server.exchange import Answer, Call, Edge
from fhir_server.interactions.create import deliver


async def update(edge: Edge, call: Call) -> Answer:
    """The new version of the resource named by id or by condition; `If-Match` is the writer's."""
    return await deliver(edge, call)
