"""patch: part of a resource the caller's source has sent, changed by JSON Patch or FHIRPath Patch.

Spec: https://hl7.org/fhir/R4/http.html#patch, RFC 6902, https://hl7.org/fhir/R4/fhirpatch.html
"""

from fhir_server.exchange import Answer, Call, Edge
from fhir_server.interactions.create import deliver


async def patch(edge: Edge, call: Call) -> Answer:
    """The new version; operations are carried out on what the source itself has stored."""
    return await deliver(edge, call)
