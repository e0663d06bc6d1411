"""The mapping tables as values: message, resource, segment and datatype maps.

What each key of a table in `config/hl7v2` means stands at the attribute it becomes.
Spec: HL7 v2-to-FHIR implementation guide (message, segment, datatype and concept maps)
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from adapters.hl7v2.groups import Group
from adapters.lifecycle import Lifecycle
from adapters.terminology import Terminology
from hie.kernel.envelope import MergeKind, WriteMode

#: Where the segments of a part are looked for, see `SegmentMap.scope`.
AROUND, GROUP, INSIDE = "around", "group", "inside"
BESIDE, PEER = "beside", "peer"
_EMPTY: Final[Mapping[str, Any]] = {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a value stands: `5`, `5.1` in the map's own segment, `OBR-7` in the nearest OBR.

    Attributes:
        segment: empty = the map's own.
        component: 0 = the whole repetition.
    """

    segment: str = ""
    field: int
    component: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row of a segment map.

    Attributes:
        place: `from`; None for a constant.
        to: the element: `gender`, `name[]` (append), `period.start`, `dosage[0].text`; `*` =
            the converter names its elements itself. What is set already is not set again.
        convert: `as`, a name of `datatypes.CONVERTERS`; `clear`: what is stored of the element
            no more holds.
        concept: name of the concept map.
        when: condition, see `conditions`.
        shape: FHIR JSON around the value, which stands for `"$"`; `"$2"` = text of component 2.
        value: `value`, a constant, written only beside something the message says.
        default: a constant for an element a new resource needs and the message leaves out.
        unless: the elements that make the default needless (the others of a choice).
        is_whole: `all`, the converter takes all repetitions at once.
        fill: keys put into the converted value where it has none.
        companion: `with`, a field of the same segment the converter needs too.
        also: further fields of the same segment the converter reads by itself.
    """

    place: Place | None = None
    to: str
    convert: str = ""
    concept: str = ""
    when: str = ""
    shape: Any = None
    value: Any = None
    default: Any = None
    unless: str = ""
    is_whole: bool = False
    fill: Mapping[str, Any] = field(default_factory=lambda: _EMPTY)
    companion: int = 0
    also: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentMap:
    """One segment to elements of one resource, a table `["PID[Patient]"]`.

    Attributes:
        segment: taken from the name.
        into: an element each segment makes one of: `contact[]`, `contained[0]`; with `[n]` the
            first segment fills the first entry, and so on; empty = the resource itself.
        slot: number of a field; segments with the same text there share one element of `into`.
        scope: which segments add to a resource made of another kind: those of its `group` only,
            those `inside` it too (of the groups within), or, unless it says so, those of the
            group or else of the nearest group `around` it; with `beside`, where there are none,
            those of the other groups in the one around, if that is not the message; with `peer`,
            those of the other groups of its kind that are `alike`.
        alike: fields in which the segment of a peer must equal that of the resource.
        when: condition for the whole segment.
        needs: elements without which what was made is dropped.
        refs: element to resource rule: the draft of this very segment, else, of a rule that begins
            at segments of another kind, the nearest.
        ignored: fields that say nothing a resource could hold (set ids).
        rows: in order; the first that yields something for an element wins.
    """

    name: str
    segment: str
    into: str = ""
    slot: int = 0
    scope: str = AROUND
    alike: tuple[int, ...] = ()
    when: str = ""
    needs: tuple[str, ...] = ()
    refs: Mapping[str, str] = field(default_factory=lambda: _EMPTY)
    ignored: frozenset[int] = frozenset()
    rows: tuple[Row, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """Resources of one message that belong together by what they say, an entry of `matches`.

    Attributes:
        to: the resource rule looked among.
        link: the reference to what is found, in the resource that looks.
        back: the reference to who looked, in what is found; empty = none.
        given: a field that must hold a value in the message, or nobody looks.
        mine: parts of a key, worked out where the one that looks stands.
        theirs: the same where each of the others stands; what is equal belongs together.
    """

    to: str
    link: str
    back: str = ""
    given: Place
    mine: tuple[str, ...]
    theirs: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ResourceRule:
    """When a resource is made and of what, a table `[observation]`.

    Attributes:
        group: made in each instance of this group; empty = in the message.
        parts: segment maps. Each segment of the first one's kind makes a resource; the others
            add what their segments say.
        mode: what the draft does to a stored resource.
        keys: business keys, the first that is complete counts, see `keys`.
        refs: element to resource rule: the nearest draft of it; with `*` behind the name all in
            the same group, `*` alone = all of the message, directory entries too; several are
            parted by blanks.
        origins: URL of an extension put on each reference of a `*`: the segments it was made of.
        when: condition at the first segment.
        is_once: only the first segment makes one.
        requires: rules that must have made a draft, or this resource would be invalid.
        without: rules that say it better where they have made a draft in the same group.
        is_fresh: `fresh`, made only of a segment that no rule before has taken.
        matches: in order; the first that finds one counts.
        needs: elements without which no draft is made.
        founding: elements that are said of a new resource only; what is stored keeps its own.
        at: where the event time stands; the first that holds a time of day counts.
        lifecycle: status order of what is made; empty = none.
        keeps_history: `history`, what it changes is kept with the time since when it is so.
        undoes: elements whose last change it takes back, see `Draft.undoes`.
        adds: lists of which it says some entries only, see `Draft.adds`.
    """

    name: str
    type: str
    group: str = ""
    parts: tuple[str, ...] = ()
    mode: WriteMode = WriteMode.UPSERT
    keys: tuple[tuple[str, ...], ...] = ()
    refs: Mapping[str, str] = field(default_factory=lambda: _EMPTY)
    origins: str = ""
    when: str = ""
    is_once: bool = False
    requires: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    is_fresh: bool = False
    matches: tuple[Match, ...] = ()
    needs: tuple[str, ...] = ()
    founding: frozenset[str] = frozenset()
    at: tuple[str, ...] = ()
    lifecycle: str = ""
    keeps_history: bool = False
    undoes: tuple[str, ...] = ()
    adds: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeRule:
    """Where a merge stands in a message, one entry of `merges`.

    Attributes:
        survivor, retired: places of the number that stays and of the one that is retired or moved.
        is_other: `differ`, only where the two are not the same number.
    """

    kind: MergeKind
    survivor: Place
    retired: Place
    is_other: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageMap:
    """What a message becomes, a table `[ADT_A01]`.

    Attributes:
        triggers: MSH-9.1^MSH-9.2 of the messages it maps.
        groups: how segments are gathered.
        resources: rules, in the order their drafts are to be written.
        per: segment that begins a further patient, `PID`: the message is mapped once for each,
            with what stands before the first; empty = it is about one patient.
        merges: numbers that are retired into others, and what belongs to another from now on.
        read: fields the hub itself uses, beside those the maps read.
    """

    name: str
    triggers: tuple[str, ...]
    groups: Mapping[str, Group]
    resources: tuple[ResourceRule, ...]
    per: str = ""
    merges: tuple[MergeRule, ...] = ()
    read: frozenset[tuple[str, int]] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueRow:
    """What one OBX-2 becomes, a row of `datatypes/values.toml`."""

    element: str
    convert: str
    is_lines: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Maps:
    """All tables, read but not compiled.

    Attributes:
        also_read: fields of any message that the hub reads beside the maps.
    """

    segments: Mapping[str, SegmentMap]
    messages: tuple[MessageMap, ...]
    values: Mapping[str, ValueRow]
    terminology: Terminology
    also_read: frozenset[tuple[str, int]] = frozenset()
    lifecycles: Mapping[str, Lifecycle] = field(default_factory=lambda: _EMPTY)
