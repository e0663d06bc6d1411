"""Patient/$ihe-pix: the other identifiers of whoever carries one (IHE ITI-83).

By GET as the profile asks, or by POST, which keeps the identifier out of addresses. What the
caller may not see is answered as what is not there: the same status and bytes.
Spec: https://profiles.ihe.net/ITI/PIXm/ITI-83.html
"""

from dataclasses import dataclass
from typing import Any, Final

import orjson

from adapters.fhir.body import Limits, parse_body
from fhir_server.exchange import Answer, Call, Edge
from fhir_server.negotiate import require_json_content
from fhir_server.outcome import diagnosed
from fhir_server.search.params import split_escaped, unescape
from fhir_server.search.parse import GENERAL
from hie.identities import CrossReferences, Unknown
from hie.kernel.envelope import SourceIdentifier
from hie.kernel.errors import Category, HieError, Issue
from hie.kernel.fhir import FhirJson

_LIMITS: Final = Limits(body_bytes=64 * 1024, depth=20)
_MOST_TARGETS: Final = 50
#: Status, issue code and diagnostics of each failure, as the profile words them.
_FAILURES: Final = {
    Unknown.IDENTIFIER: (404, "not-found", "sourceIdentifier Patient Identifier not found"),
    Unknown.SOURCE_DOMAIN: (400, "code-invalid", "sourceIdentifier Assigning Authority not found"),
    Unknown.TARGET_DOMAIN: (403, "code-invalid", "targetSystem not found"),
    Unknown.AMBIGUOUS: (409, "multiple-matches", "sourceIdentifier is carried by several patients"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """The identifier asked by, and the authorities asked for."""

    identifier: SourceIdentifier
    targets: tuple[str, ...]


async def cross_reference(edge: Edge, call: Call) -> Answer:
    """The identifiers and Patients as Parameters.

    Raises:
        HieError: INVALID for a request that is none.
    """
    if call.body:
        require_json_content(call.headers.get("Content-Type"))
        pairs = _posted(parse_body(call.body, _LIMITS))
    else:
        pairs = [pair for pair in call.params if pair[0] not in GENERAL]
    asked = read_request(pairs)
    found = await edge.identities.cross_references(call.ctx, asked.identifier, asked.targets)
    if found.unknown is not None:
        status, code, text = _FAILURES[found.unknown]
        return Answer(status=status, body=diagnosed(code, text))
    return Answer(body=_parameters(found))


def read_request(pairs: list[tuple[str, Any]]) -> Asked:
    """Named values as a request.

    Args:
        pairs: `sourceIdentifier` as `system|value` and `targetSystem` as an URI.

    Raises:
        HieError: INVALID with one issue per fault.
    """
    sources = [value for name, value in pairs if name == "sourceIdentifier"]
    targets = [value for name, value in pairs if name == "targetSystem"]
    strange = [name for name, _ in pairs if name not in ("sourceIdentifier", "targetSystem")]
    faults = []
    if strange:
        text = "expected `sourceIdentifier` and `targetSystem` only"
        faults.append(Issue(text=text, code="not-supported"))
    identifier = _token(sources[0]) if len(sources) == 1 else None
    if identifier is None:
        text = "`sourceIdentifier`: expected one of the form `[system]|[value]`"
        faults.append(Issue(text=text, code="required", expression=("http.sourceIdentifier",)))
    if len(targets) > _MOST_TARGETS or not all(isinstance(t, str) and t.strip() for t in targets):
        text = f"`targetSystem`: expected at most {_MOST_TARGETS} URIs of assigning authorities"
        faults.append(Issue(text=text, code="value", expression=("http.targetSystem",)))
    if faults or identifier is None:
        raise HieError(Category.INVALID, "the request cannot be understood", faults)
    return Asked(
        identifier=identifier, targets=tuple(dict.fromkeys(target.strip() for target in targets))
    )


def _token(text: Any) -> SourceIdentifier | None:
    if not isinstance(text, str):
        return None
    parts = [unescape(part).strip() for part in split_escaped(text, "|")]
    if len(parts) != 2 or not all(parts):
        return None
    return SourceIdentifier(system=parts[0], value=parts[1])


def _posted(body: FhirJson) -> list[tuple[str, Any]]:
    """The parameters of a POST; identifiers may be `valueIdentifier` or a token's text."""
    parameters = body.get("parameter")
    if body["resourceType"] != "Parameters" or not isinstance(parameters, list):
        text = "expected Parameters with a `sourceIdentifier`"
        raise HieError(Category.INVALID, text, [Issue(text=text, code="structure")])
    pairs = []
    for parameter in parameters:
        known = parameter if isinstance(parameter, dict) else {}
        named, written = known.get("name"), known.get("valueIdentifier")
        if isinstance(written, dict):
            parts = [written.get("system"), written.get("value")]
            texts = [_escaped(part) for part in parts if isinstance(part, str)]
            value: Any = "|".join(texts)
        else:
            value = known.get("valueUri", known.get("valueString"))
        pairs.append((named if isinstance(named, str) else "", value))
    return pairs


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("|", "\\|")


def _parameters(found: CrossReferences) -> bytes:
    told: FhirJson = {"resourceType": "Parameters"}
    parameters = [
        *({"name": "targetIdentifier", "valueIdentifier": one} for one in found.identifiers),
        *(
            {"name": "targetId", "valueReference": {"reference": f"Patient/{patient}"}}
            for patient in found.patients
        ),
    ]
    if parameters:
        told["parameter"] = parameters
    return orjson.dumps(told, default=str)
