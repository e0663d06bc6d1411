"""What is told of a change of identity over HL7 v2: ADT^A31, A40 and A37. Pure.

A31 gives the numbers that a patient of the receiver's has now, elsewhere and at its own place;
one number fewer than before is how a link is withdrawn. A40 says that the hub's id of a patient
was retired into another, A37 that two ids taken for one are two. Nothing else is told of
anybody: a name is empty, then a coded pseudo-name.
Spec: IHE ITI TF-2 3.10.4.1 (PIX update notification); HL7 v2.5 3.3.31, 3.3.40, 3.3.37.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from adapters.hl7v2 import charset
from adapters.hl7v2.ack import timestamp
from adapters.hl7v2.er7 import Delimiters
from adapters.hl7v2.pid import NAMELESS, Pen, Value
from adapters.sources import Source

_SENDER: Final = "HIE"
_PEN: Final = Pen(marks=Delimiters())
_NAME: Final[Sequence[Value]] = NAMELESS


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """What the messages of a notice have in common.

    Attributes:
        control_id: MSH-10: the same for the same news, however often it is sent.
        now_us: MSH-7.
        happened_us: EVN-2, when the identity changed.
        processing_id: MSH-11.
    """

    control_id: str
    now_us: int
    happened_us: int
    processing_id: str = "P"


def cross_referenced(source: Source, stamp: Stamp, numbers: Sequence[Value]) -> bytes:
    """ADT^A31: the numbers that a patient has now."""
    pid = _pid({3: numbers, 5: _NAME})
    # PV1 is required in this structure and says nothing: class N, not applicable.
    return _message(source, stamp, "A31", "ADT_A05", pid, _PEN.segment("PV1", {2: ["N"]}))


def merged(source: Source, stamp: Stamp, kept: Sequence[Value], gone: Value) -> bytes:
    """ADT^A40: an id of the hub's was retired into another."""
    pid = _pid({3: kept, 5: _NAME})
    return _message(source, stamp, "A40", "ADT_A39", pid, _PEN.segment("MRG", {1: (gone,)}))


def separated(source: Source, stamp: Stamp, own: Sequence[Value], other: Value) -> bytes:
    """ADT^A37: the patient of the first PID is not that of the second."""
    first = _pid({1: ("1",), 3: own, 5: _NAME})
    second = _pid({1: ("2",), 3: (other,), 5: _NAME})
    return _message(source, stamp, "A37", "ADT_A37", first, second)


def _pid(fields: Mapping[int, Sequence[Value]]) -> str:
    return _PEN.segment("PID", fields)


def _message(source: Source, stamp: Stamp, event: str, structure: str, *body: str) -> bytes:
    codec = charset.codec_of(source.charset) if source.charset else "utf-8"
    fields: dict[int, list[Value]] = {
        2: [_SENDER],
        3: [_SENDER],
        4: [source.application],
        5: [source.facility],
        6: [timestamp(stamp.now_us)],
        8: [("ADT", event, structure)],
        9: [stamp.control_id],
        10: [stamp.processing_id],
        11: ["2.5"],
        17: [source.charset or "UNICODE UTF-8"],
    }
    # MSH-1 is the separator itself, MSH-2 the others as they are.
    msh = "MSH|^~\\&" + _PEN.segment("", {n - 1: value for n, value in fields.items()})
    evn = _PEN.segment("EVN", {2: [timestamp(stamp.happened_us)]})
    text = "".join(f"{segment}\r" for segment in (msh, evn, *body))
    return text.encode(codec or "utf-8", "replace")
