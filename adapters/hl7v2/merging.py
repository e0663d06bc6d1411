"""Which numbers a message retires into others, and what it gives to another patient.

Pure. Where the numbers stand is data, the `merges` of a message map; carrying out is for others.
Spec: HL7 v2.8.2 chapter 3, sections 3.3.18-3.3.51 (events), 3.4.12 (MRG), 3.6.2 (merge, move)
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from adapters.hl7v2.conditions import own_identifier
from adapters.hl7v2.context import Context
from adapters.hl7v2.er7 import Segment
from adapters.hl7v2.groups import Node
from adapters.hl7v2.identifiers import above_identifier, cx_key, identifier_of
from adapters.hl7v2.mapmodel import MergeRule, Place
from hie.kernel.envelope import MergeKind, SourceIdentifier, SourceMerge

_LINKS: Final = (MergeKind.LINK, MergeKind.UNLINK)


def merges_of(
    rules: Iterable[MergeRule], nodes: Iterable[Node], context: Context
) -> Iterator[SourceMerge]:
    """What one patient's part of a message says, in the order of the rules.

    A merge of a number with itself is handed on as it is: whoever carries it out reports it.
    """
    for node in nodes:
        context.node, context.segment = node, None
        for rule in rules:
            if rule.kind in _LINKS or not node.all(rule.retired.segment):
                continue
            survivor, retired = _READERS[rule.kind](rule, context)
            if survivor is None or retired is None:
                continue
            if not (rule.is_other and survivor == retired):
                yield SourceMerge(survivor=survivor, retired=retired, kind=rule.kind)


def links_of(
    rules: Iterable[MergeRule], pids: Sequence[Segment], context: Context
) -> Iterator[SourceMerge]:
    """The patients that A24 and A37 say are, or are not, one: the first with each other."""
    for rule in rules:
        if rule.kind not in _LINKS:
            continue
        found = [number for pid in pids if (number := _of_segment(rule.survivor, pid, context))]
        for other in found[1:]:
            yield SourceMerge(survivor=found[0], retired=other, kind=rule.kind)


_Pair = tuple[SourceIdentifier | None, SourceIdentifier | None]
_Reader = Callable[[MergeRule, Context], _Pair]


def _patients(rule: MergeRule, context: Context) -> _Pair:
    """Two numbers of one authority, which is the surviving one's."""
    survivor = _own(rule.survivor, context)
    retired = survivor and _own(rule.retired, context, survivor.system)
    if retired:
        _report_others(rule.retired, retired, context)
    return survivor, retired


def _report_others(at: Place, retired: SourceIdentifier, context: Context) -> None:
    """Say where a list names more numbers of a kind than the one that is merged."""
    segment = context.find(at.segment)
    raw = segment.field(at.field) if segment is not None else ""
    for part in raw.split(context.repetition_mark):
        other = identifier_of(part, context, is_own=True)
        if other is None or other.value == retired.value:
            continue
        if (other.system, other.type) == (retired.system, retired.type):
            context.report("merge-several", "names several numbers; only the first is merged")


def _persons(rule: MergeRule, context: Context) -> _Pair:
    """Two numbers above the records (PID-2, PID-4), as they stand."""
    return _first(rule.survivor, context), _first(rule.retired, context)


def _numbers(rule: MergeRule, context: Context) -> _Pair:
    """Two numbers of accounts or visits."""
    return _number(rule.survivor, context), _number(rule.retired, context)


def _moved(rule: MergeRule, context: Context) -> _Pair:
    """The patient it goes to, and the number of the account or visit that goes."""
    return _own(rule.survivor, context), _number(rule.retired, context)


def _moved_patient(rule: MergeRule, context: Context) -> _Pair:
    """The person it goes to, and the record that goes: MRG-1, which PID-3 repeats."""
    moved = _own(rule.retired, context)
    current = _own(Place(segment="PID", field=3), context)
    return (_first(rule.survivor, context), moved) if moved == current else (None, None)


_READERS: Final[dict[MergeKind, _Reader]] = {
    MergeKind.PATIENT: _patients,
    MergeKind.PERSON: _persons,
    MergeKind.ACCOUNT: _numbers,
    MergeKind.VISIT: _numbers,
    MergeKind.MOVE_PATIENT: _moved_patient,
    MergeKind.MOVE_ACCOUNT: _moved,
    MergeKind.MOVE_VISIT: _moved,
}


def _own(at: Place, context: Context, system: str = "") -> SourceIdentifier | None:
    _stand_at(at, context)
    return own_identifier(context, at.segment, at.field, system)


def _stand_at(at: Place, context: Context) -> None:
    """Let a finding about the number say where it stands."""
    context.segment, context.field = context.find(at.segment), at.field


def _first_raw(at: Place, context: Context) -> str:
    _stand_at(at, context)
    segment = context.find(at.segment)
    raw = segment.field(at.field) if segment is not None else ""
    return raw.split(context.repetition_mark, 1)[0]


def _first(at: Place, context: Context) -> SourceIdentifier | None:
    return above_identifier(_first_raw(at, context), context)


def _number(at: Place, context: Context) -> SourceIdentifier | None:
    found = cx_key(_first_raw(at, context), context)
    return SourceIdentifier(system=found[0], value=found[1]) if found else None


def _of_segment(at: Place, segment: Segment, context: Context) -> SourceIdentifier | None:
    context.segment = segment
    return _own(at, context)
