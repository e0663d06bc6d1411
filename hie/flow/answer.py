"""What a carried-out FHIR write is answered with (pure).

Spec: https://hl7.org/fhir/R4/http.html#transaction-response
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from email.utils import formatdate
from http import HTTPStatus
from typing import Protocol

import orjson

from adapters.fhir.fhirpath import Elements
from adapters.fhir.receive import Answer
from adapters.fhir.references import HubId
from adapters.validation_policy import Verdict
from hie.kernel.clock import SECOND_US, instant
from hie.kernel.errors import HieError, Issue
from hie.kernel.fhir import FhirJson
from hie.kernel.ids import SourceId
from hie.store.loader import Head


class Refused(Protocol):
    """What a refused write is answered with."""

    @property
    def status(self) -> int:
        """HTTP status."""
        ...

    @property
    def body(self) -> bytes:
        """OperationOutcome as JSON."""
        ...


#: The FHIR wire's one error table: error and request id to the answer; handed in by app.py.
Refuse = Callable[[HieError, str], Refused]


#: Issues as an OperationOutcome; handed in by app.py.
Tell = Callable[[Sequence[Issue]], bytes]


#: Judges a resource of a source; `fhir_server.judge`, handed in by app.py.
Validate = Callable[[FhirJson, SourceId], Verdict]


@dataclass(frozen=True, slots=True, kw_only=True)
class FhirWire:
    """What the FHIR wire lends to the flow below it.

    Attributes:
        refuse: the one error table.
        tell: issues as an OperationOutcome.
        elements: the elements of a type.
    """

    validate: Validate
    refuse: Refuse
    tell: Tell
    elements: Elements


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """What became of one write, and what is doubtful about it."""

    hub_id: HubId
    status: int
    head: Head | None
    warnings: tuple[Issue, ...] = ()


def headers_of(done: Done) -> dict[str, str]:
    """ETag, Location below the base, and Last-Modified."""
    if done.head is None:
        return {}
    kind, key = done.hub_id
    return {
        "ETag": f'W/"{done.head.version}"',
        "Location": f"{kind}/{key}/_history/{done.head.version}",
        "Last-Modified": formatdate(done.head.last_updated_us / SECOND_US, usegmt=True),
    }


def entry(done: Done, body: bytes = b"", outcome: bytes = b"") -> FhirJson:
    """The entry of a response Bundle for what was written.

    Args:
        done: what became of it.
        body: the resource as stored, where the client wants it.
        outcome: what there is to say of it.
    """
    response: FhirJson = {"status": _spelled(done.status)}
    if done.head is not None:
        headers = headers_of(done)
        response |= {
            "location": headers["Location"],
            "etag": headers["ETag"],
            "lastModified": instant(done.head.last_updated_us),
        }
    if outcome:
        response["outcome"] = orjson.Fragment(outcome)
    made: FhirJson = {"resource": orjson.Fragment(body)} if body else {}
    return {**made, "response": response}


def refused_entry(refused: Refused) -> FhirJson:
    """The entry of a batch response for what was refused."""
    response = {"status": _spelled(refused.status), "outcome": orjson.Fragment(refused.body)}
    return {"response": response}


def _spelled(status: int) -> str:
    return f"{status} {HTTPStatus(status).phrase}"


def bundle(kind: str, count: int, entries: Mapping[int, FhirJson | None]) -> Answer:
    """A response Bundle, its entries in the order of the request; null = still to be read."""
    body = {
        "resourceType": "Bundle",
        "type": kind,
        "entry": [entries[n] for n in range(count) if n in entries],
    }
    return Answer(status=200, body=orjson.dumps(body))
