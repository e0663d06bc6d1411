"""Patient/[id]/$consent-preview: what a recipient would see, before and after a proposed Consent.

For the patient's own token. The body is Parameters: `recipient` (an organization: a reference,
or a text as `system|value`), `purpose`, `role` and `person` as wanted, `consent` (a Consent that
is not recorded, as a resource), `withdraw` (ids of Consents that would hold no more). The answer
counts what is released and withheld, by type and label, with the reason in the patient's words;
of what the resources say it tells nothing.

IHE PCF has no such operation. OperationDefinition: `urn:hie:operation:consent-preview`.
"""

from collections.abc import Sequence
from typing import Any, Final

import orjson

from adapters.fhir.body import Limits, parse_body
from consent.preview import Line, Preview, Question, Side
from fhir_server.exchange import Answer, Call, Edge
from fhir_server.negotiate import require_json_content
from fhir_server.operations import asked
from hie.kernel.clock import instant
from hie.kernel.errors import Category, HieError, Issue
from hie.kernel.fhir import FhirJson

_LIMITS: Final = Limits(body_bytes=256 * 1024, depth=60)
_KNOWN: Final = ("recipient", "purpose", "role", "person", "consent", "withdraw")
_LONGEST: Final = 300


async def preview(edge: Edge, call: Call) -> Answer:
    """What a recipient sees of the caller's own record today, and would see.

    Raises:
        HieError: FORBIDDEN for who is not the patient, NOT_FOUND for another's record.
    """
    if edge.previews is None:
        raise HieError(Category.UNSUPPORTED, "this server makes no previews")
    caller = call.ctx.caller
    if caller.patient is None or not caller.may("Patient", "r"):
        raise HieError(Category.FORBIDDEN, "a preview of a record is the patient's own to ask for")
    found = await edge.previews.of(call.ctx, _question(call))
    return Answer(body=orjson.dumps(_parameters(found)))


def _question(call: Call) -> Question:
    require_json_content(call.headers.get("Content-Type"))
    body = parse_body(call.body, _LIMITS)
    if body.get("resourceType") != "Parameters" or not isinstance(body.get("parameter"), list):
        raise asked.wrong("body", "expected Parameters")
    entries = [one for one in body["parameter"] if isinstance(one, dict)]
    if unknown := [one for one in entries if one.get("name") not in _KNOWN]:
        place = body["parameter"].index(unknown[0])
        raise asked.wrong(f"parameter[{place}]", f"expected one of {', '.join(_KNOWN)}")
    recipient = _texts(entries, "recipient")
    if len(recipient) != 1:
        raise asked.wrong("recipient", "expected one organization")
    return Question(
        person_id=call.id,
        organization=recipient[0],
        purpose=next(iter(_texts(entries, "purpose")), "TREAT"),
        user=next(iter(_texts(entries, "person")), ""),
        roles=tuple(_texts(entries, "role")),
        proposed=_proposed(entries),
        withdrawn=tuple(one.rpartition("/")[2] for one in _texts(entries, "withdraw")),
    )


def _texts(entries: Sequence[FhirJson], name: str) -> list[str]:
    """The values of a parameter: texts, codes, codes of codings, literal references."""
    found = []
    for entry in entries:
        if entry.get("name") != name:
            continue
        values = [value for key, value in entry.items() if key.startswith("value")]
        value = values[0] if len(values) == 1 else None
        if isinstance(value, dict):
            value = value.get("code", value.get("reference"))
        if not isinstance(value, str) or not 0 < len(value) <= _LONGEST:
            raise asked.wrong(name, "expected a text, a code or a reference")
        found.append(value)
    return found


def _proposed(entries: Sequence[FhirJson]) -> FhirJson | None:
    found = [entry.get("resource") for entry in entries if entry.get("name") == "consent"]
    if not found:
        return None
    consent = found[0]
    if len(found) > 1 or not isinstance(consent, dict) or consent.get("resourceType") != "Consent":
        text = "`consent`: expected one Consent as `resource`"
        raise HieError(Category.INVALID, text, [Issue(text=text, code="value")])
    return consent


def _parameters(found: Preview) -> FhirJson:
    parts = [_side("before", found.before)]
    if found.after is not None:
        parts.append(_side("after", found.after))
        parts += [_lines("opened", found.opened), _lines("closed", found.closed)]
    return {"resourceType": "Parameters", "parameter": parts}


def _side(name: str, side: Side) -> dict[str, Any]:
    parts = [_lines("released", side.released), _lines("withheld", side.withheld)]
    return {"name": name, "part": parts}


def _lines(name: str, lines: Sequence[Line]) -> dict[str, Any]:
    total = {"name": "total", "valueInteger": sum(line.count for line in lines)}
    return {"name": name, "part": [total, *(_line(line) for line in lines)]}


def _line(line: Line) -> dict[str, Any]:
    parts: list[dict[str, Any]] = [
        {"name": "type", "valueCode": line.type},
        {"name": "count", "valueInteger": line.count},
        *({"name": "label", "valueCode": code} for code in line.labels),
        *({"name": "reason", "valueString": text} for text in line.patient),
    ]
    if line.first_us is not None and line.last_us is not None:
        period = {"start": instant(line.first_us), "end": instant(line.last_us - 1)}
        parts.append({"name": "period", "valuePeriod": period})
    return {"name": "resources", "part": parts}
