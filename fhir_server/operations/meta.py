"""$meta: the profiles, labels and tags of a resource, or of all of a type that a caller may see.

Nothing is added or taken away here: a source says them with what it sends, where its word may
raise a label and never lowers one.
Spec: https://hl7.org/fhir/R4/resource-operation-meta.html
"""

from collections.abc import Sequence

import orjson

from fhir_server.exchange import Answer, Call, Edge
from fhir_server.operations import asked
from hie.kernel.fhir import FhirJson
from hie.store.portion import Marks


async def meta(edge: Edge, call: Call) -> Answer:
    """A Parameters resource with one `return`."""
    asked.require_known(call, asked.params_of(call), ())
    if call.id:
        served = await edge.door.read(call.ctx, call.type, call.id)
        told = orjson.loads(served.body).get("meta", {})
    else:
        told = _meta(await edge.records.marks(call.ctx, call.type))
    body: FhirJson = {"resourceType": "Parameters"}
    if told:
        body["parameter"] = [{"name": "return", "valueMeta": told}]
    return Answer(body=orjson.dumps(body))


def _meta(marks: Marks) -> FhirJson:
    told = {
        "profile": list(marks.profiles),
        "security": _codings(marks.security),
        "tag": _codings(marks.tags),
    }
    return {name: value for name, value in told.items() if value}


def _codings(found: Sequence[tuple[str, str]]) -> list[FhirJson]:
    return [
        {"system": system, "code": code} if system else {"code": code} for system, code in found
    ]
