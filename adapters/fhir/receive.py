"""FHIR writes by a source: journaled first, carried out in the request, answered after commit.

Idempotency key: source, X-Request-Id and content; a repeat gets the first answer. Content is
the whole request - method, address, conditions and body - and is what is journaled, so that
the journal says what was asked even where there is no body. Without an X-Request-Id every
request is new.
"""

import hashlib
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.message import Message
from typing import Final, Protocol, Self

from adapters.fhir.body import Limits, parse_body, parse_json
from adapters.fhir.bundle import Planner
from adapters.fhir.json_patch import MEDIA_TYPE as JSON_PATCH
from adapters.fhir.merge_patch import MEDIA_TYPE as MERGE_PATCH
from adapters.fhir.plan import Plan, WriteRequest
from adapters.port import JournalEntry, JournalPort, Wire
from hie.kernel.context import RequestContext
from hie.kernel.errors import Category, HieError, Issue
from hie.kernel.ids import MessageId, SourceId

_JSON_TYPES: Final = frozenset({"application/fhir+json", "application/json", "text/json"})
_CHARSETS: Final = frozenset({"utf-8", "utf8"})
_HEAD_MEMBERS: Final = (
    *("method", "target", "if_none_exist", "if_match", "if_none_match", "returns"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FhirCall:
    """A write as HTTP brought it.

    Attributes:
        target: below the FHIR base, without a slash before it; empty for a Bundle.
        content_type: as sent; not looked at where there is no body.
        request_id: the X-Request-Id the *client* sent; empty when it sent none.
        returns: what the answer holds where that is not the usual: `representation` (of a
            Bundle), `operationoutcome`.
    """

    method: str
    target: str
    body: bytes = b""
    content_type: str = ""
    request_id: str = ""
    if_none_exist: str = ""
    if_match: str = ""
    if_none_match: str = ""
    returns: str = ""

    def payload(self) -> bytes:
        """What is journaled: one line of JSON with the request's head, then the body."""
        head = {name: getattr(self, name) for name in _HEAD_MEMBERS if getattr(self, name)}
        return json.dumps(head).encode() + b"\n" + self.body

    @classmethod
    def from_payload(cls, payload: bytes) -> Self:
        """The write that `payload` journaled."""
        head, _, body = payload.partition(b"\n")
        return cls(body=body, content_type="application/fhir+json", **json.loads(head))


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """An HTTP answer that can be given again.

    Attributes:
        headers: `Location`, `ETag` and the like.
    """

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    def encode(self) -> bytes:
        """The form that is stored beside the message."""
        head = json.dumps({"status": self.status, "headers": dict(self.headers)})
        return head.encode() + b"\n" + self.body

    @classmethod
    def decode(cls, stored: bytes) -> Self:
        """The answer that `encode` stored."""
        head, _, body = stored.partition(b"\n")
        parts = json.loads(head)
        return cls(status=parts["status"], headers=parts["headers"], body=body)


class WriteFlow(Protocol):
    """Who carries a plan out: `hie.flow`."""

    async def carry_out(
        self,
        message_id: MessageId,
        source_id: SourceId,
        plan: Plan,
        context: RequestContext,
        returns: str = "",
    ) -> Answer:
        """The answer, after everything - the answer included - is committed in the journal.

        Raises:
            HieError: nothing of the plan is stored; the message is settled as refused.
        """
        ...


class FhirReceiver:
    """Takes the FHIR writes of sources.

    Args:
        limits: of the planner's settings; a larger body is refused before it is journaled.
    """

    def __init__(
        self, journal: JournalPort, planner: Planner, flow: WriteFlow, limits: Limits | None = None
    ) -> None:
        self._journal = journal
        self._planner = planner
        self._flow = flow
        self._limits = limits or planner.settings.limits
        self._open: set[MessageId] = set()

    async def take(self, call: FhirCall, source_id: SourceId, context: RequestContext) -> Answer:
        """The answer to a write, new or repeated.

        Raises:
            HieError: the write is refused and nothing of it stored; BUSY where the same
                request is still being carried out.
        """
        require_json(call)
        if len(call.body) > self._limits.body_bytes:
            text = f"a body may have {self._limits.body_bytes} bytes"
            raise HieError(Category.TOO_LARGE, text)
        plan, refused = self._read(call)
        journaled = await self._journal.write(_entry(call, source_id, is_accepted=refused is None))
        if refused is not None or plan is None:
            raise refused or HieError(Category.FAULT, "the write has no plan")
        if journaled.is_repeat and journaled.answer:
            return Answer.decode(journaled.answer)
        if journaled.message_id in self._open:
            raise HieError(Category.BUSY, "the same request is still being carried out")
        # Else it is new, or a crash came between journal and answer: it is carried out now.
        self._open.add(journaled.message_id)
        try:
            return await self._flow.carry_out(
                journaled.message_id, source_id, plan, context, call.returns
            )
        finally:
            self._open.discard(journaled.message_id)

    def _read(self, call: FhirCall) -> tuple[Plan | None, HieError | None]:
        try:
            plan = read_plan(call, self._planner)
            plan.require_sound()
        except HieError as error:
            return None, error
        return plan, None


def read_plan(call: FhirCall, planner: Planner) -> Plan:
    """Parse and plan a call; also for replaying a journaled one.

    Raises:
        HieError: the request cannot be read.
    """
    resource = None
    if call.method == "PATCH":
        resource = parse_json(call.body, planner.settings.limits)
        _require_declared(call, resource)
    elif call.method != "DELETE":
        resource = parse_body(call.body, planner.settings.limits)
    return planner.plan(
        WriteRequest(
            method=call.method,
            target=call.target,
            resource=resource,
            if_none_exist=call.if_none_exist,
            if_match=call.if_match,
            if_none_match=call.if_none_match,
        )
    )


def require_json(call: FhirCall) -> None:
    """Refuse what is not declared as FHIR JSON in UTF-8.

    Raises:
        HieError: UNSUPPORTED_MEDIA.
    """
    if call.method == "DELETE":
        return
    declared = _declared(call)
    charset = declared.get_param("charset", "utf-8")
    is_utf8 = isinstance(charset, str) and charset.lower() in _CHARSETS
    taken = _JSON_TYPES | {JSON_PATCH, MERGE_PATCH} if call.method == "PATCH" else _JSON_TYPES
    if declared.get_content_type() not in taken or not is_utf8:
        text = "the hub takes `application/fhir+json` in UTF-8"
        raise HieError(Category.UNSUPPORTED_MEDIA, text)


def _declared(call: FhirCall) -> Message:
    declared = Message()
    declared["content-type"] = call.content_type
    return declared


def _require_declared(call: FhirCall, patch: object) -> None:
    """Refuse a patch that is not of the kind it is declared as: it would mean something else."""
    kind = _declared(call).get_content_type()
    if kind == JSON_PATCH and not isinstance(patch, list):
        text = f"`{JSON_PATCH}` is a list of operations; an object is `{MERGE_PATCH}`"
    elif kind == MERGE_PATCH and not isinstance(patch, dict):
        text = f"`{MERGE_PATCH}` is an object of the elements that change"
    else:
        return
    issue = Issue(text=text, code="structure", expression=("$this",))
    raise HieError(Category.INVALID, text, [issue])


def _entry(call: FhirCall, source_id: SourceId, *, is_accepted: bool) -> JournalEntry:
    payload = call.payload()
    kind = call.target.partition("?")[0].partition("/")[0] or "Bundle"
    return JournalEntry(
        source_id=source_id,
        wire=Wire.FHIR,
        control_id=call.request_id or uuid.uuid4().hex,
        payload=payload,
        content_hash=hashlib.sha256(payload).digest(),
        is_accepted=is_accepted,
        trigger=f"{call.method} {kind}",
        partition=source_id,
        findings=(),
        answer=b"",
    )
