"""Patient/[id]/$accounting: who was given what of a record, in the form a law asks for.

For the patient's own token, and for staff who may see the trail. As Parameters, or with
`_format` or `Accept` as `application/pdf` or `text/csv`.
Spec: 45 CFR 164.528, 42 CFR 2.24, 2.25, M.G.L. c. 118I s. 11
"""

from typing import Any, Final

import orjson

from fhir_server.exchange import Answer, Call, Edge
from fhir_server.operations import asked
from hie.accounting import Medium, Wanted, written
from hie.audit.account import Account, Line
from hie.kernel.clock import instant
from hie.kernel.errors import Category, HieError

_KNOWN: Final = ("form", "start", "end", "all")
_EXTENSIONS: Final = {Medium.PDF: "pdf", Medium.CSV: "csv"}


async def accounting(edge: Edge, call: Call) -> Answer:
    """An accounting of the disclosures of one record."""
    if edge.accountings is None:
        raise HieError(Category.UNSUPPORTED, "this server makes no accountings")
    params = asked.require_known(call, asked.params_of(call), _KNOWN)
    account = await edge.accountings.make(call.ctx, _wanted(call, params))
    medium = _medium(call)
    if medium is None:
        return Answer(body=orjson.dumps(_parameters(account)))
    name = f"accounting-{account.form.name}.{_EXTENSIONS[medium]}"
    return Answer(
        body=await written(account, medium),
        content_type=medium.value,
        headers={"Content-Disposition": f'attachment; filename="{name}"'},
    )


def _wanted(call: Call, params: asked.Params) -> Wanted:
    start, end = (asked.period(params, name) for name in ("start", "end"))
    return Wanted(
        person_id=call.id,
        form=asked.last(params, "form") or "patient",
        since_us=start[0] if start else None,
        until_us=end[1] if end else None,
        is_whole=bool(asked.boolean(params, "all")),
    )


def _medium(call: Call) -> Medium | None:
    """What it is to be written as; None = FHIR JSON."""
    formats = [value for name, value in call.params if name == "_format"]
    wanted = formats[-1] if formats else call.headers.get("Accept", "")
    names = [part.partition(";")[0].strip().lower() for part in wanted.split(",")]
    return next((medium for medium in Medium if medium.value in names), None)


def _parameters(account: Account) -> dict[str, Any]:
    form = account.form
    return {
        "resourceType": "Parameters",
        "parameter": [
            {"name": "form", "valueCode": form.name},
            {"name": "title", "valueString": form.title},
            *([{"name": "law", "valueString": form.law}] if form.law else []),
            {"name": "made", "valueInstant": instant(account.made_us)},
            {
                "name": "period",
                "valuePeriod": {
                    "start": instant(account.since_us),
                    "end": instant(account.until_us),
                },
            },
            *({"name": "disclosure", "part": _parts(line)} for line in account.lines),
        ],
    }


def _parts(line: Line) -> list[dict[str, Any]]:
    texts = {
        "recipient": line.recipient,
        "address": line.address,
        "person": line.person,
        "purpose": line.purpose,
        "reliedOn": line.relied_on,
    }
    return [
        {"name": "first", "valueInstant": instant(line.at_us)},
        {"name": "last", "valueInstant": instant(line.until_us)},
        {"name": "number", "valueInteger": line.number},
        *({"name": name, "valueString": text} for name, text in texts.items() if text),
        *({"name": "kind", "valueString": kind} for kind in line.kinds),
        {"name": "emergency", "valueBoolean": line.is_emergency},
    ]
