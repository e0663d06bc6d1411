"""What a conversion may ask while one message is mapped: its marks, its source, where it stands.

The converters get the raw text of one repetition and this context, and give a FHIR value or
None. Nothing here reads the clock, a file or the network.
"""

from collections.abc import Callable
from datetime import tzinfo
from typing import Any, Final

from adapters.hl7v2.er7 import NULL, Message, Segment, unescape
from adapters.hl7v2.groups import Node
from adapters.hl7v2.temporal import offset_of
from adapters.sources import Source
from adapters.terminology import Concept, Terminology
from hie.kernel.envelope import Draft, Finding, Severity, WriteMode
from hie.kernel.fhir import FhirJson
from hie.kernel.ids import MessageId

#: Stands for a delimiter the sender did not define: a character no text holds.
_NEVER: Final = "\uffff"
#: Findings kept of one message; a report of thousands helps nobody.
FINDINGS_LIMIT: Final = 200
#: Coded values remembered of one source, and how long each may be: codes, not narrative.
_SHARED_LIMIT: Final = 4_096
_SHARED_LENGTH: Final = 160
_TEXT_CONTROLS: Final = "\t\n\r"
#: HL7 table 0357: table value not found, data type error.
UNMAPPED_CODE, DATATYPE_ERROR = "103", "102"

Converter = Callable[[str, "Context"], Any]


class Context:
    """One message on its way through the maps.

    Attributes:
        journal: where the message stands: its journal id and when it was received.
        node: the group instance being mapped.
        segment: the segment being mapped; None between segments.
        field, repetition: where in it, 1-based.
        companion: raw text of the field a row names beside its own (units, an address).
        nulls: top-level elements the current resource is told to clear.
        codes: unmapped codes by concept map and code: the text beside each.
        answers: tasks by whose answers codes were mapped.
        asked: how often a code was unmapped, or mapped by such an answer.
        target: what the segment being mapped fills, as far as it is made.
        memo: values already converted in this message, by converter and raw text.
        shared: coded values already converted in earlier messages of the same source and
            marks; see `keep`.
    """

    __slots__ = (
        "_directory",
        "_numbers",
        "_reported",
        "answers",
        "asked",
        "codec",
        "codes",
        "companion",
        "component",
        "delimiters",
        "escape",
        "field",
        "findings",
        "journal",
        "memo",
        "message",
        "node",
        "nulls",
        "origins",
        "repetition",
        "repetition_mark",
        "segment",
        "shared",
        "source",
        "sub",
        "target",
        "terminology",
        "zone",
    )

    def __init__(
        self,
        message: Message,
        source: Source,
        terminology: Terminology,
        journal: tuple[MessageId, int] = (MessageId(0), 0),
        shared: dict[tuple[str, ...], Any] | None = None,
    ) -> None:
        marks = message.delimiters
        self.message = message
        self.journal = journal
        self.source = source
        self.terminology = terminology
        self.delimiters = marks
        self.codec = message.charset
        self.component = marks.component or _NEVER
        self.sub = marks.subcomponent or _NEVER
        self.repetition_mark = marks.repetition or _NEVER
        self.escape = marks.escape or _NEVER
        # HL7 v2.8.2 2.A.22: without a zone of its own a time has that of MSH-7; a zone in the
        # source's file counts more, because it knows summer time.
        self.zone: tzinfo | None = source.zone or offset_of(message.segments[0].value(7))
        self.findings: list[Finding] = []
        self.codes: dict[tuple[str, str], str] = {}
        self.answers: set[int] = set()
        self.asked = 0
        self.memo: dict[tuple[str | int, ...], Any] = {}
        self.shared: dict[tuple[str, ...], Any] = {} if shared is None else shared
        self.nulls: set[str] = set()
        self.node = Node("", None)
        self.target: FhirJson = {}
        self.segment: Segment | None = None
        self.field = 0
        self.repetition = 1
        self.companion = ""
        self._reported: set[tuple[object, ...]] = set()
        self._directory: dict[tuple[str, ...], Draft] = {}
        self._numbers: dict[str, int] = {}
        self.origins: dict[str, str] = {}

    def begin(self) -> None:
        """Begin a patient's part of the message: keys built on another patient's are forgotten."""
        self.memo = {key: value for key, value in self.memo.items() if key[0] != "key"}
        self.node, self.segment = Node("", None), None

    def text(self, raw: str) -> str:
        """Plain text of a leaf: unescaped, trimmed, no control characters; "" for null."""
        if raw.isalnum():  # nothing to unescape, to trim or to drop
            return raw
        if self.escape in raw:
            raw = unescape(raw, self.delimiters, codec=self.codec)
        if not raw.isprintable():
            raw = "".join(c for c in raw if c.isprintable() or c in _TEXT_CONTROLS or c == "\xa0")
        raw = raw.strip()
        return "" if raw == NULL else raw

    def keep(self, key: tuple[str, ...], value: Any) -> None:
        """Remember a coded value for the messages to come; a full memory starts anew."""
        if len(key[1]) <= _SHARED_LENGTH:
            if len(self.shared) >= _SHARED_LIMIT:
                self.shared.clear()
            self.shared[key] = value

    def find(self, name: str) -> Segment | None:
        """The segment of that name nearest to where the mapping stands: itself, its group, up."""
        if self.segment is not None and self.segment.name == name:
            return self.segment
        node: Node | None = self.node
        while node is not None:
            found = node.segments.get(name)
            if found:
                return found[0]
            node = node.parent
        return None

    def value(self, name: str, field: int, component: int = 0) -> str:
        """Text of a field, or of one component of it, in the nearest segment of that name."""
        segment = self.find(name)
        raw = segment.field(field) if segment is not None else ""
        if not raw or (raw.isalnum() and component < 2):
            return raw
        raw = raw.split(self.repetition_mark, 1)[0] if field > 2 or name != "MSH" else raw
        return Parts(raw, self)(component) if component else self.text(raw)

    def report(
        self,
        rule: str,
        text: str,
        *,
        code: str = DATATYPE_ERROR,
        severity: Severity = Severity.WARNING,
        component: int = 0,
    ) -> None:
        """Note a finding at the current place, once."""
        segment = self.segment
        name, sequence = (segment.name, segment.sequence) if segment else ("", 0)
        key = (rule, name, sequence, self.field, self.repetition, component)
        if key in self._reported or len(self.findings) >= FINDINGS_LIMIT:
            return
        self._reported.add(key)
        self.findings.append(
            Finding(
                code=code,
                rule=rule,
                text=text,
                severity=severity,
                segment=name,
                sequence=sequence,
                field=self.field,
                repetition=self.repetition,
                component=component,
            )
        )

    def unmapped(self, concept_map: str, code: str, text: str = "", *, component: int = 0) -> None:
        """Note that a code is in no row of its concept map.

        Args:
            concept_map: the map's name.
            code: as sent; whoever answers what it means is shown it.
            text: what the sender writes beside it.
            component: where it stands.
        """
        self.asked += 1
        told = f"the code is not in `{concept_map}`; its text is kept"
        self.report("unmapped-code", told, code=UNMAPPED_CODE, component=component)
        if len(self.codes) < FINDINGS_LIMIT and len(code) <= _SHARED_LENGTH:
            self.codes.setdefault((concept_map, code), text)

    def answered(self, concept: Concept | None) -> None:
        """Note that a code was mapped by what staff answered, if it was."""
        if concept is not None and concept.task_id:
            self.asked += 1
            self.answers.add(concept.task_id)

    def refer(self, resource: FhirJson, key: tuple[str, ...], display: str) -> FhirJson:
        """A reference to a directory entry (Practitioner, ...), one draft per key and message."""
        kind = resource["resourceType"].lower()
        draft = self._directory.get((kind, *key))
        if draft is None:
            number = self._numbers[kind] = self._numbers.get(kind, 0) + 1
            # An entry many feeds mention is made once; a passing mention never rewrites it.
            draft = Draft(
                name=f"{kind}-{number}",
                resource=resource,
                key=key,
                mode=WriteMode.CREATE_IF_ABSENT,
            )
            self._directory[(kind, *key)] = draft
            if self.segment is not None:
                self.origins[draft.name] = f"{self.segment.name}[{self.segment.sequence}]"
        reference = {"reference": f"urn:hie:{draft.name}"}
        return {**reference, "display": display} if display else reference

    @property
    def directory(self) -> tuple[Draft, ...]:
        """The directory entries referred to so far, in order of first mention."""
        return tuple(self._directory.values())


class Parts:
    """The components of one value, read as text: `parts(4, 2)` is component 4.2."""

    __slots__ = ("_context", "_raw")

    def __init__(self, raw: str, context: Context) -> None:
        self._raw = raw.split(context.component)
        self._context = context

    def __len__(self) -> int:
        return len(self._raw)

    def raw(self, n: int) -> str:
        """Component `n` as sent; "" when absent."""
        return self._raw[n - 1] if n <= len(self._raw) else ""

    def __call__(self, n: int, sub: int = 1) -> str:
        """Subcomponent `sub` of component `n`; "" when absent or null."""
        if n > len(self._raw):
            return ""
        raw = self._raw[n - 1]
        if raw.isalnum():
            return raw if sub == 1 else ""
        if not raw:
            return ""
        context = self._context
        if context.sub in raw:
            subs = raw.split(context.sub)
            raw = subs[sub - 1] if sub <= len(subs) else ""
        elif sub > 1:
            return ""
        return context.text(raw)

    def whole(self, n: int) -> str:
        """Component `n` as text, a stray subcomponent mark kept; "" when absent or null."""
        return self._context.text(self.raw(n))
