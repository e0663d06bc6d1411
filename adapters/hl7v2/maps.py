"""Reads the mapping tables of `config/hl7v2` into values.

A table that cannot be read is a fault of configuration: the error names file, key and the kind
of value expected.
"""

import re
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from adapters.hl7v2.groups import Group
from adapters.hl7v2.mapmodel import (
    AROUND,
    BESIDE,
    GROUP,
    INSIDE,
    PEER,
    Maps,
    Match,
    MergeRule,
    MessageMap,
    Place,
    ResourceRule,
    Row,
    SegmentMap,
    ValueRow,
)
from adapters.lifecycle import Lifecycle, load_lifecycles
from adapters.terminology import load_terminology
from hie.kernel.envelope import MergeKind, WriteMode
from hie.kernel.errors import Category, HieError

__all__ = ["Maps", "load_maps", "read_row"]

_PLACE: Final = re.compile(
    r"^(?:(?P<segment>[A-Z][A-Z0-9]{2})-)?(?P<field>\d+)(?:\.(?P<part>\d+))?$"
)
_MAP_NAME: Final = re.compile(r"^(?P<segment>[A-Z][A-Z0-9]{2})\[(?P<target>[\w.-]+)\]$")


def load_maps(folder: Path) -> Maps:
    """The maps of a configuration folder, the one that holds `hl7v2/` and `terminology/`.

    Raises:
        HieError: INVALID, naming file, key and the kind of value expected.
    """
    home = folder / "hl7v2"
    segments: dict[str, SegmentMap] = {}
    for table_file in sorted((home / "segments").glob("*.toml")):
        for name, table in _tables(table_file):
            if name in segments:
                raise table.fault(name, "a name no other file has")
            segments[name] = _segment_map(name, table)
    lifecycles = load_lifecycles(home / "lifecycles.toml")
    rules = _rules(home / "resources", lifecycles)
    messages = tuple(
        _message_map(name, table, rules)
        for table_file in sorted((home / "messages").glob("*.toml"))
        for name, table in _tables(table_file)
    )
    _check_triggers(messages)
    values = {
        name: _value_row(table)
        for table_file in sorted((home / "datatypes").glob("*.toml"))
        for name, table in _tables(table_file)
    }
    terminology = load_terminology(folder / "terminology")
    return Maps(
        segments=segments,
        messages=messages,
        values=values,
        terminology=terminology,
        lifecycles=lifecycles,
    )


def read_row(place: str, content: Any) -> Row:
    """One row, as a table of a file or as an override of a source has it.

    Raises:
        HieError: INVALID, naming `place` and key.
    """
    table = Table(place, content)
    row = Row(
        place=_place(table) if "from" in table else None,
        to=table.text("to", required=True),
        convert=table.text("as"),
        concept=table.text("concept"),
        when=table.text("when"),
        shape=table.take("shape"),
        value=table.take("value"),
        default=table.take("default"),
        unless=table.text("unless"),
        is_whole=bool(table.take("all")),
        fill=table.mapping("fill"),
        companion=table.number("with"),
        also=table.numbers("also"),
    )
    table.finish()
    return row


class Table:
    """One table of a file: gives its keys, checked, and refuses those nobody asked for."""

    __slots__ = ("_content", "_place")

    def __init__(self, place: str, content: Any) -> None:
        if not isinstance(content, dict):
            raise HieError(Category.INVALID, f"{place}: must be a table")
        self._place = place
        self._content = dict(content)

    def __contains__(self, key: str) -> bool:
        return key in self._content

    def fault(self, key: str, kind: str) -> HieError:
        """The error that `key` must be another kind of value."""
        return HieError(Category.INVALID, f"{self._place}: `{key}` must be {kind}")

    def take(self, key: str) -> Any:
        """Whatever the key holds; None when absent."""
        return self._content.pop(key, None)

    def text(self, key: str, *, required: bool = False) -> str:
        """A text; "" when absent."""
        value = self._content.pop(key, "")
        if not isinstance(value, str) or (required and not value):
            raise self.fault(key, "text")
        return value

    def number(self, key: str) -> int:
        """A whole number; 0 when absent."""
        value = self._content.pop(key, 0)
        if not isinstance(value, int):
            raise self.fault(key, "a whole number")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts; () when absent."""
        value = self._content.pop(key, [])
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise self.fault(key, "a list of texts")
        return tuple(value)

    def numbers(self, key: str) -> tuple[int, ...]:
        """A list of whole numbers; () when absent."""
        value = self._content.pop(key, [])
        if not isinstance(value, list) or not all(isinstance(item, int) for item in value):
            raise self.fault(key, "a list of whole numbers")
        return tuple(value)

    def mapping(self, key: str) -> Mapping[str, Any]:
        """A table; {} when absent."""
        value = self._content.pop(key, {})
        if not isinstance(value, dict):
            raise self.fault(key, "a table")
        return value

    def items(self, key: str) -> list[Any]:
        """A list of anything; [] when absent."""
        value = self._content.pop(key, [])
        if not isinstance(value, list):
            raise self.fault(key, "a list")
        return value

    def finish(self) -> None:
        """Refuse what is left: a misspelt key is a rule that does nothing."""
        if self._content:
            raise self.fault(next(iter(self._content)), "a key this table has")


def _tables(path: Path) -> list[tuple[str, Table]]:
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise HieError(Category.INVALID, f"`{path.name}`: must be TOML ({error})") from error
    return [(name, Table(f"`{path.name}` [{name}]", table)) for name, table in content.items()]


def _place(table: Table) -> Place:
    value = table.take("from")
    found = place_of(str(value)) if isinstance(value, str | int) else None
    if not found:
        raise table.fault("from", 'a field, such as `5`, `"5.1"` or `"OBR-7"`')
    return found


def place_of(text: str) -> Place | None:
    """The place that `5`, `5.1` or `OBR-7` names; None for anything else."""
    found = _PLACE.match(text)
    if not found:
        return None
    return Place(
        segment=found["segment"] or "",
        field=int(found["field"]),
        component=int(found["part"] or 0),
    )


def _segment_map(name: str, table: Table) -> SegmentMap:
    found = _MAP_NAME.match(name)
    if not found:
        raise table.fault(name, "a name such as `PID[Patient]`")
    scope = table.text("scope") or AROUND
    if scope not in (AROUND, GROUP, INSIDE, BESIDE, PEER):
        raise table.fault("scope", f"`{AROUND}`, `{GROUP}`, `{INSIDE}`, `{BESIDE}` or `{PEER}`")
    segment_map = SegmentMap(
        name=name,
        segment=found["segment"],
        into=table.text("into"),
        slot=table.number("slot"),
        scope=scope,
        alike=table.numbers("alike"),
        when=table.text("when"),
        needs=table.texts("needs"),
        refs=table.mapping("refs"),
        ignored=frozenset(table.numbers("ignored")),
        rows=tuple(
            read_row(f"[{name}] row {number}", content)
            for number, content in enumerate(table.items("rows"), start=1)
        ),
    )
    table.finish()
    return segment_map


def _rules(folder: Path, lifecycles: Mapping[str, Lifecycle]) -> dict[str, ResourceRule]:
    """Resource rules by name; `like` takes everything from another rule and changes some of it."""
    raw: dict[str, dict[str, Any]] = {}
    rules: dict[str, ResourceRule] = {}
    for path in sorted(folder.glob("*.toml")):
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        for name, keys in content.items():
            place = f"`{path.name}` [{name}]"
            if name in raw:
                raise HieError(Category.INVALID, f"{place}: must be a name no other file has")
            like = keys.pop("like", None)
            if like is not None and like not in raw:
                raise HieError(Category.INVALID, f"{place}: `like` must be a rule further up")
            raw[name] = {**raw[like], **keys} if like else keys
            rules[name] = _rule(name, Table(place, raw[name]), lifecycles)
    return rules


def _rule(name: str, table: Table, lifecycles: Mapping[str, Lifecycle]) -> ResourceRule:
    mode = table.text("mode") or WriteMode.UPSERT.value
    if mode not in set(WriteMode):
        raise table.fault("mode", f"one of {', '.join(WriteMode)}")
    rule = ResourceRule(
        name=table.text("name") or name,
        type=table.text("type", required=True),
        group=table.text("group"),
        parts=table.texts("parts"),
        mode=WriteMode(mode),
        keys=tuple(tuple(key) for key in table.items("keys")),
        refs=table.mapping("refs"),
        origins=table.text("origins"),
        when=table.text("when"),
        is_once=bool(table.take("once")),
        requires=table.texts("requires"),
        without=table.texts("without"),
        is_fresh=bool(table.take("fresh")),
        matches=tuple(
            _match(Table(f"[{name}] matches {number}", content))
            for number, content in enumerate(table.items("matches"), start=1)
        ),
        needs=table.texts("needs"),
        founding=frozenset(table.texts("founding")),
        at=table.texts("at"),
        lifecycle=table.text("lifecycle"),
        keeps_history=bool(table.take("history")),
        undoes=table.texts("undoes"),
        adds=table.texts("adds"),
    )
    if not rule.parts:
        raise table.fault("parts", "a list of segment maps")
    if rule.lifecycle and rule.lifecycle not in lifecycles:
        raise table.fault("lifecycle", f"one of {', '.join(lifecycles)}")
    if rule.lifecycle and lifecycles[rule.lifecycle].is_whole and rule.mode is WriteMode.PATCH:
        raise table.fault("mode", "another: versions of this `lifecycle` count whole")
    table.finish()
    return rule


def _match(table: Table) -> Match:
    given = place_of(table.text("given", required=True))
    if given is None or not given.segment:
        raise table.fault("given", "a field such as `OBR-26`")
    match = Match(
        to=table.text("to", required=True),
        link=table.text("link", required=True),
        back=table.text("back"),
        given=given,
        mine=table.texts("mine"),
        theirs=table.texts("theirs"),
    )
    if not match.mine or len(match.mine) != len(match.theirs):
        raise table.fault("theirs", "as many parts as `mine` has, and some")
    table.finish()
    return match


def _check_triggers(messages: Iterable[MessageMap]) -> None:
    """Refuse two maps of one trigger, of which the later would be in force unseen."""
    known: dict[str, str] = {}
    for message in messages:
        for trigger in message.triggers:
            if known.setdefault(trigger, message.name) != message.name:
                text = f"[{message.name}]: `{trigger}` must not be in [{known[trigger]}] too"
                raise HieError(Category.INVALID, text)


def _message_map(name: str, table: Table, rules: Mapping[str, ResourceRule]) -> MessageMap:
    names = table.texts("resources")
    unknown = [rule for rule in names if rule not in rules]
    if unknown:
        raise table.fault("resources", f"rules of `resources/`, which `{unknown[0]}` is not")
    groups = {
        group: _group(group, Table(f"[{name}.groups.{group}]", content))
        for group, content in table.mapping("groups").items()
    }
    message_map = MessageMap(
        name=name,
        triggers=table.texts("triggers"),
        groups=groups,
        resources=tuple(rules[rule] for rule in names),
        per=table.text("per"),
        merges=tuple(
            _merge_rule(Table(f"[{name}] merges {number}", content))
            for number, content in enumerate(table.items("merges"), start=1)
        ),
        read=frozenset(
            (segment, number)
            for segment, numbers in table.mapping("read").items()
            for number in numbers
        ),
    )
    table.finish()
    return message_map


def _merge_rule(table: Table) -> MergeRule:
    kind = table.text("kind", required=True)
    if kind not in set(MergeKind):
        raise table.fault("kind", f"one of {', '.join(MergeKind)}")
    rule = MergeRule(
        kind=MergeKind(kind),
        survivor=_merge_place(table, "survivor"),
        retired=_merge_place(table, "retired"),
        is_other=bool(table.take("differ")),
    )
    table.finish()
    return rule


def _merge_place(table: Table, key: str) -> Place:
    found = place_of(table.text(key, required=True))
    if found is None or not found.segment:
        raise table.fault(key, "a field such as `MRG-1`")
    return found


def _group(name: str, table: Table) -> Group:
    group = Group(
        name=name,
        within=table.text("within"),
        opens=table.texts("opens"),
        holds=frozenset(table.texts("holds")),
        joins=table.numbers("joins"),
        joins_types=frozenset(table.texts("joins_types")),
    )
    table.finish()
    return group


def _value_row(table: Table) -> ValueRow:
    row = ValueRow(
        element=table.text("element", required=True),
        convert=table.text("as", required=True),
        is_lines=bool(table.take("lines")),
    )
    table.finish()
    return row
