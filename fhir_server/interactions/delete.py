"""delete, by id or by condition: the caller's source takes back what it has sent.

Spec: https://hl7.org/fhir/R4/http.html#delete
"""

from fhir_server.exchange import Answer, Call, Edge
from fhir_server.interactions.create import deliver


async def delete(edge: Edge, call: Call) -> Answer:
    """204 whether it was there or is already gone; the versions stay in the history."""
    return await deliver(edge, call)
