"""The answer to a message: MSH, MSA and, where it is refused, ERR.

An answer is made for any bytes at all: whatever can still be read of the header is echoed,
with the sender's own separators, version and character set, and MSH-10 always as it was sent.
Spec: HL7 v2.8.2 chapter 2, sections 2.9 (processing rules), 2.14.8 (MSA), 2.14.5 (ERR);
tables 0008 and 0357.
"""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Final

from adapters.hl7v2.er7 import Delimiters, Message
from hie.kernel.clock import EPOCH, SECOND_US
from hie.kernel.envelope import AckCode, Finding, Severity
from hie.kernel.errors import Category, HieError

#: What each kind of fault becomes in MSA-1 and ERR-3. 207 is a passing fault: the sender may
#: repeat the message unchanged.
FAULTS: Final = MappingProxyType(
    {
        Category.INVALID: (AckCode.ERROR, "102"),
        Category.BUSINESS_RULE: (AckCode.ERROR, "103"),
        Category.UNSUPPORTED: (AckCode.REJECT, "200"),
        Category.NOT_ACCEPTABLE: (AckCode.REJECT, "200"),
        Category.UNSUPPORTED_MEDIA: (AckCode.REJECT, "200"),
        Category.TOO_LARGE: (AckCode.REJECT, "104"),
        Category.UNAUTHENTICATED: (AckCode.REJECT, "207"),
        Category.FORBIDDEN: (AckCode.REJECT, "207"),
        Category.NOT_FOUND: (AckCode.ERROR, "204"),
        Category.GONE: (AckCode.ERROR, "204"),
        Category.CONFLICT: (AckCode.ERROR, "205"),
        Category.STALE: (AckCode.ERROR, "205"),
        Category.BUSY: (AckCode.REJECT, "207"),
        Category.FAULT: (AckCode.REJECT, "207"),
    }
)
#: Codes of table 0357 that say "not the message's fault" or "not spoken here": answered AR.
REJECTING: Final = frozenset({"104", "200", "201", "202", "203", "207"})

_OWN_VERSION: Final = "2.5.1"
_MOST_ERRORS: Final = 20
_ECHO_CHARACTERS: Final = 250
_SCAN_BYTES: Final = 8192
#: MSH fields an answer gives back, MSH-10 first; of those behind MSH-13 the place of MSH-9.
_ECHOED: Final = (10, 15, 16, 13, 3, 4, 5, 6, 9, 11, 12, 18)
_KIND: Final = 4
_ACK: Final = "ACK"
_STANDARD: Final = Delimiters()
_VERSION: Final = re.compile(r"^\d\.\d{1,2}(\.\d{1,2})?$")
_EVENT: Final = re.compile(r"^[A-Z][A-Z0-9]{2}$")
_CONTROL: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_ERROR_TEXTS: Final = MappingProxyType(
    {
        "0": "Message accepted",
        "100": "Segment sequence error",
        "101": "Required field missing",
        "102": "Data type error",
        "103": "Table value not found",
        "104": "Value too long",
        "200": "Unsupported message type",
        "201": "Unsupported event code",
        "202": "Unsupported processing id",
        "203": "Unsupported version id",
        "204": "Unknown key identifier",
        "205": "Duplicate key identifier",
        "206": "Application record locked",
        "207": "Application internal error",
    }
)
_SEVERITIES: Final = MappingProxyType(
    {Severity.ERROR: "E", Severity.WARNING: "W", Severity.NOTE: "I"}
)


@dataclass(frozen=True, slots=True)
class Echo:
    """What answers to one kind of message of one sender have in common.

    Attributes:
        version: MSH-12.1 as numbers.
        opening: MSH-1 to MSH-6, sender and receiver changed over.
        kind: MSH-9.
        closing: from MSH-11 on.
        asking: the same where the answer is a message of its own and wants an accept
            acknowledgement (MSH-15 AL, MSH-16 NE).
        codec: Python codec of the answer's bytes.
    """

    delimiters: Delimiters
    version: tuple[int, ...]
    opening: str
    kind: str
    closing: str
    asking: str
    codec: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """What makes an answer a response to a query.

    Attributes:
        kind: parts of MSH-9, `("RSP", "K23", "RSP_K23")`.
        lines: the segments behind MSA and ERR, in the asker's separators and escaped.
        notices: what the asker must be told of the answer, in ERR of severity I (below v2.5,
            whose ERR has no words, in MSA-3).
    """

    kind: tuple[str, ...]
    lines: tuple[str, ...]
    notices: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True)
class Header:
    """What an answer gives back of a message, or is decided by; without control characters.

    Attributes:
        accept, application: MSH-15 and MSH-16, when which acknowledgement is wanted.
        sequence: MSH-13.
        is_answer: MSH-9.1 is ACK: it answers a message and is never answered itself.
    """

    echo: Echo
    control_id: str
    accept: str = ""
    application: str = ""
    sequence: str = ""
    is_answer: bool = False


def header_of(message: Message) -> Header:
    """The header of a message that could be read."""
    return _header(message.segments[0].fields, message.delimiters, message.charset)


def scan_header(payload: bytes) -> Header:
    """What can be made out of the header of bytes that could not be read as a message."""
    found = re.search(rb"MSH([^\w\s\x00-\x1f])", payload[:_SCAN_BYTES])
    if not found:
        return _header([], _STANDARD, "utf-8")
    line = re.split(rb"[\r\n]", payload[found.start() : found.start() + _SCAN_BYTES], maxsplit=1)[0]
    separator = found[1].decode("latin-1")
    fields = line.decode("latin-1").split(separator)
    marks = (fields[1] if len(fields) > 1 else "") + "    "
    delimiters = Delimiters(separator, *(mark.strip() for mark in marks[:4]))
    return _header(fields, delimiters, "iso8859-1")


def finding_of(error: HieError) -> Finding:
    """The finding that says what an error says."""
    place = error.issues[0].code if error.issues else ""
    special = {"structure": "100", "required": "101", "code-invalid": "103"}
    return Finding(
        code=special.get(place, FAULTS[error.category][1]),
        rule=error.category.value,
        text=error.text,
        severity=Severity.ERROR,
    )


def decide(findings: Sequence[Finding]) -> AckCode:
    """AA, AE or AR: the heaviest of the findings whose severity is `error`."""
    errors = [finding.code for finding in findings if finding.severity is Severity.ERROR]
    if not errors:
        return AckCode.ACCEPT
    return AckCode.REJECT if REJECTING.intersection(errors) else AckCode.ERROR


def acknowledge(  # noqa: PLR0913 - the fields of one answer
    header: Header,
    code: AckCode,
    findings: Sequence[Finding] = (),
    *,
    answer_id: str,
    now_us: int,
    text: str = "",
    expected: int | None = None,
    is_application: bool = False,
    response: Response | None = None,
) -> bytes:
    """The answer as bytes, segments ended by CR, without control characters.

    Args:
        header: of the message answered.
        code: MSA-1.
        findings: those of severity `error` become ERR where the code is not positive.
        answer_id: MSH-10 of the answer.
        now_us: MSH-7 of the answer.
        text: MSA-3 where nothing is wrong; below v2.5 a refusal's first finding stands there.
        expected: MSA-4 of the sequence number protocol.
        is_application: it is sent as a message of its own, to the sender's listener.
        response: it answers a query; None = it acknowledges.
    """
    echo = header.echo
    marks, field = echo.delimiters, echo.delimiters.field
    has_locations = echo.version >= (2, 5)
    notices = response.notices if response and code.is_positive else ()
    errors = [] if code.is_positive else _errors(findings)
    if not has_locations and (errors or notices):
        text = errors[0].text if errors else " ".join(one.text for one in notices)
    kind = marks.component.join(response.kind) if response else echo.kind
    written = (echo.opening, timestamp(now_us), "", kind, answer_id)
    msh = field.join((*written, echo.asking if is_application else echo.closing))
    msa = field.join(("MSA", code.value, header.control_id))
    if text or expected is not None:
        msa += field + escaped(text, marks)
    if expected is not None:
        msa += f"{field}{expected}"
    lines = [msh, msa]
    if has_locations:
        lines += _locations([*errors, *notices], marks)
    elif errors:
        lines.append(_old_locations(errors, marks))
    return _encoded(lines, response.lines if response else (), echo.codec)


def _encoded(lines: Sequence[str], answers: Sequence[str], codec: str) -> bytes:
    """The segments in a character set; what is answered loses accents before letters."""
    is_wide = codec.startswith("utf-16")
    plain = [_plain(line, "ascii" if is_wide else codec) for line in answers]
    answer = "".join([line + "\r" for line in (*lines, *plain)])
    if is_wide:
        # Two-byte characters may contain the bytes that frame a block.
        answer = answer.encode("ascii", "replace").decode("ascii")
    return answer.encode(codec, "replace")


def _plain(line: str, codec: str) -> str:
    """A segment whose letters that a character set lacks have lost their accents.

    What becomes no letter stays as it is: nothing may turn into a separator.
    """
    try:
        line.encode(codec)
    except UnicodeEncodeError:
        return "".join(c if _fits(c, codec) else _base(c) for c in line)
    return line


def _base(character: str) -> str:
    base = unicodedata.normalize("NFD", character)[0]
    return base if base.isalpha() else character


def _fits(character: str, codec: str) -> bool:
    try:
        character.encode(codec)
    except UnicodeEncodeError:
        return False
    return True


def _header(fields: Sequence[str], sent: Delimiters, codec: str) -> Header:
    sent_fields = [_printable(fields[n - 1]) if n <= len(fields) else "" for n in _ECHOED]
    control_id, accept, application, sequence, *rest = sent_fields
    return Header(
        echo=_echo(tuple(rest), sent, codec),
        control_id=control_id,
        accept=accept.strip(),
        application=application.strip(),
        sequence=sequence.strip(),
        is_answer=_part(rest[_KIND], sent, 1).strip() == _ACK,
    )


def _printable(raw: str) -> str:
    text = raw[:_ECHO_CHARACTERS]
    return text if text.isprintable() else _CONTROL.sub("", text)


@lru_cache(maxsize=1024)
def _echo(sent_fields: tuple[str, ...], sent: Delimiters, codec: str) -> Echo:
    *parties, kind, processing_id, version, charset = sent_fields
    marks = _usable(sent)
    version = _part(version, sent, 1)
    version = version if _VERSION.match(version) else _OWN_VERSION
    numbers = tuple(int(part) for part in version.split("."))
    encoding = f"{marks.component}{marks.repetition}{marks.escape}{marks.subcomponent}"
    application, facility, to_application, to_facility = parties
    opening = ("MSH", encoding, to_application, to_facility, application, facility)
    head = [processing_id or "P", version]
    closing = head + ([*[""] * 5, charset] if charset else [])
    asking = [*head, "", "", "AL", "NE", *(["", charset] if charset else [])]
    return Echo(
        delimiters=marks,
        version=numbers,
        opening=marks.field.join(opening),
        kind=_message_type(_part(kind, sent, 2), numbers, marks.component),
        closing=marks.field.join(closing),
        asking=marks.field.join(asking),
        codec=codec,
    )


def _part(raw: str, marks: Delimiters, n: int) -> str:
    first = raw.split(marks.repetition, maxsplit=1)[0] if marks.repetition else raw
    parts = first.split(marks.component) if marks.component else [first]
    return parts[n - 1] if n <= len(parts) else ""


@lru_cache(maxsize=64)
def _usable(sent: Delimiters) -> Delimiters:
    """The sender's separators if an answer can be written with them."""
    marks = (sent.field, sent.component, sent.repetition, sent.escape, sent.subcomponent)
    if len(set(marks)) == 5 and all(_separates(mark) for mark in marks):
        return sent
    is_kept = _separates(sent.field) and sent.field not in "^~\\&"
    return Delimiters(field=sent.field) if is_kept else _STANDARD


def _separates(mark: str) -> bool:
    """Whether a reader takes the character for a separator."""
    return len(mark) == 1 and mark.isprintable() and not mark.isalnum()


def timestamp(at_us: int) -> str:
    """A time as MSH-7 has it: to the second, with its offset."""
    return _timestamp(at_us // SECOND_US)


@lru_cache(maxsize=4)
def _timestamp(second: int) -> str:
    moment = EPOCH.fromtimestamp(second, EPOCH.tzinfo)
    return f"{moment:%Y%m%d%H%M%S}+0000"


def _message_type(event: str, version: tuple[int, ...], component: str) -> str:
    if not _EVENT.match(event) or version < (2, 2):
        return "ACK"
    return component.join(("ACK", event) if version < (2, 3, 1) else ("ACK", event, "ACK"))


def _errors(findings: Sequence[Finding]) -> list[Finding]:
    errors = [finding for finding in findings if finding.severity is Severity.ERROR]
    return errors[:_MOST_ERRORS]


def _locations(errors: Sequence[Finding], marks: Delimiters) -> list[str]:
    """One ERR per finding, in the form of v2.5 and later: ERR-2, 3, 4, 7 and 8."""
    lines = []
    for found in errors:
        steps = (found.field, found.repetition, found.component, found.subcomponent)
        place = [found.segment, str(found.sequence or 1), *(str(n) if n else "" for n in steps)]
        where = marks.component.join(place).rstrip(marks.component) if found.segment else ""
        kind = (found.code, _ERROR_TEXTS.get(found.code, ""), "HL70357")
        fields = (
            "ERR",
            "",
            where,
            marks.component.join(kind),
            _SEVERITIES[found.severity],
            "",
            "",
            escaped(found.rule, marks),
            escaped(found.text, marks),
        )
        lines.append(marks.field.join(fields))
    return lines


def _old_locations(errors: Sequence[Finding], marks: Delimiters) -> str:
    """One ERR whose ERR-1 repeats segment^sequence^field^code, the form below v2.5."""
    places = []
    for found in errors:
        kind = (found.code, _ERROR_TEXTS.get(found.code, ""), "HL70357")
        field = str(found.field) if found.field else ""
        sequence = str(found.sequence or 1) if found.segment else ""
        parts = (found.segment, sequence, field, marks.subcomponent.join(kind))
        places.append(marks.component.join(parts))
    return f"ERR{marks.field}" + marks.repetition.join(places)


def escaped(text: str, marks: Delimiters) -> str:
    """`text` with the separators in it escaped, fit for a field."""
    if not any(mark in text for mark in _marks(marks)):
        return text
    letters = {
        marks.escape: "E",
        marks.field: "F",
        marks.component: "S",
        marks.repetition: "R",
        marks.subcomponent: "T",
    }
    return "".join(f"{marks.escape}{letters[c]}{marks.escape}" if c in letters else c for c in text)


@lru_cache(maxsize=64)
def _marks(marks: Delimiters) -> tuple[str, ...]:
    return (marks.field, marks.component, marks.repetition, marks.escape, marks.subcomponent)
