"""Group/$load-panel: rows about people become a Group, and each hears what became of it.

Takes Parameters: `name`, and for each row a `row` with the parts `id`, `patient` (a Patient with
what is known) and, for attribution, `start` and `end`. `Group/{id}/$undo-load` takes it back.
"""

from collections.abc import Iterator
from typing import Any, Final

import orjson

from adapters.fhir.body import Limits, parse_body
from fhir_server.exchange import Answer, Call, Edge
from fhir_server.negotiate import require_json_content
from fhir_server.validate import validate
from hie.kernel.errors import Category, HieError, Issue
from hie.kernel.fhir import FhirJson
from hie.store import dates
from hie.subscriptions.panels import REASONS, Placed
from hie.subscriptions.panels import Row as PanelRow

_DEPTH: Final = 40
_PARTS: Final = frozenset({"id", "patient", "start", "end"})


async def load(edge: Edge, call: Call) -> Answer:
    """What became of each row, and the Group they are the members of.

    Raises:
        HieError: INVALID for a body that is no such request, BUSINESS_RULE for a row whose
            Patient is none; NOT_FOUND for a Group that is not the caller's.
    """
    require_json_content(call.headers.get("Content-Type"))
    body = parse_body(call.body, Limits(body_bytes=edge.settings.max_body_bytes, depth=_DEPTH))
    title, rows = read_request(body)
    done = await edge.subscriptions.load_panel(call.ctx, rows, title, call.id)
    told = {
        "resourceType": "Parameters",
        "parameter": [
            {"name": "group", "valueReference": {"reference": f"Group/{done.group_id}"}},
            {"name": "version", "valueString": str(done.version)},
            *(_told(row) for row in done.rows),
        ],
    }
    return Answer(body=orjson.dumps(told))


async def undo(edge: Edge, call: Call) -> Answer:
    """How many members the Group has again."""
    count = await edge.subscriptions.undo_panel(call.ctx, call.id)
    told = {"name": "members", "valueUnsignedInt": count}
    return Answer(body=orjson.dumps({"resourceType": "Parameters", "parameter": [told]}))


def read_request(body: FhirJson) -> tuple[str, list[PanelRow]]:
    """The name and the rows of a panel.

    Raises:
        HieError: INVALID or BUSINESS_RULE, naming the place of the fault.
    """
    parameters = body.get("parameter")
    if body["resourceType"] != "Parameters" or not isinstance(parameters, list):
        raise _refused("$this", "Parameters with a `row` for each of the panel")
    title = ""
    rows: list[PanelRow] = []
    for place, parameter in enumerate(parameters):
        name = parameter.get("name") if isinstance(parameter, dict) else None
        if name == "name" and isinstance(parameter.get("valueString"), str):
            title = parameter["valueString"]
        elif name == "row":
            rows.append(_row(parameter, f"Parameters.parameter[{place}]", len(rows) + 1))
        else:
            raise _refused(f"Parameters.parameter[{place}]", "`name` with a text, or `row`")
    return title, rows


def _row(parameter: FhirJson, place: str, number: int) -> PanelRow:
    parts = dict(_parts(parameter, place))
    patient = parts.get("patient")
    if not isinstance(patient, dict) or patient.get("resourceType") != "Patient":
        raise _refused(place, "a part `patient` with a Patient")
    faults = [issue for issue in validate(patient) if issue.severity in ("error", "fatal")]
    if faults:
        text = f"row {number}: {faults[0].text}"
        raise HieError(Category.BUSINESS_RULE, text, [Issue(text=text, expression=(place,))])
    for name in ("start", "end"):
        if name in parts and dates.span(str(parts[name])) is None:
            raise _refused(place, f"`{name}` to be a date")
    return PanelRow(
        name=str(parts.get("id", number)),
        patient=patient,
        start=str(parts.get("start", "")),
        end=str(parts.get("end", "")),
    )


def _parts(parameter: FhirJson, place: str) -> Iterator[tuple[str, Any]]:
    for part in parameter.get("part") or ():
        name = part.get("name") if isinstance(part, dict) else None
        if name not in _PARTS:
            raise _refused(place, f"parts of these names: {', '.join(sorted(_PARTS))}")
        values = [v for k, v in part.items() if k == "resource" or k.startswith("value")]
        if len(values) == 1:
            yield name, values[0]


def _told(row: Placed) -> FhirJson:
    parts: list[FhirJson] = [
        {"name": "id", "valueString": row.name},
        {"name": "outcome", "valueCode": row.outcome.value},
    ]
    if row.person:
        parts.append({"name": "patient", "valueReference": {"reference": f"Patient/{row.person}"}})
    if REASONS[row.outcome]:
        parts.append({"name": "reason", "valueString": REASONS[row.outcome]})
    return {"name": "row", "part": parts}


def _refused(place: str, expected: str) -> HieError:
    text = f"`{place}`: expected {expected}"
    return HieError(Category.INVALID, text, [Issue(text=text, expression=(place,))])
