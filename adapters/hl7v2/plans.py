"""Message maps compiled to plans, and a source's last word put over them."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from adapters.hl7v2.codes import CODING_SYSTEMS
from adapters.hl7v2.compiled import Fixed, Link, Matcher, SegmentRunner, compile_segment
from adapters.hl7v2.conditions import Condition, Gate, KeyPart, condition, gate, key
from adapters.hl7v2.context import Context
from adapters.hl7v2.datatypes import CONVERTERS, Tools
from adapters.hl7v2.groups import Grouping
from adapters.hl7v2.mapmodel import Maps, Match, MessageMap, Place, ResourceRule
from adapters.hl7v2.maps import place_of, read_row
from adapters.hl7v2.moments import DEFAULT_AT
from adapters.hl7v2.observed import ValueType
from adapters.hl7v2.shapes import linker, top_of
from adapters.sources import Source
from hie.kernel.errors import Category, HieError


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A resource rule, compiled.

    Attributes:
        shut: tells segments that `when` is not for at a glance.
        links: references of the resource itself.
        needs: elements of the message without which no draft is made.
        needs_links: references without which none is made.
        defaults: what puts in what a new resource needs.
        anchor: its first part, whose segments each make a resource.
        others: the parts that add to it.
        at: places of the event time.
        matchers: what it belongs together with.
    """

    rule: ResourceRule
    when: Condition | None
    shut: Gate | None
    keys: tuple[KeyPart, ...]
    links: tuple[Link, ...]
    needs: frozenset[str]
    needs_links: frozenset[str]
    defaults: tuple[Fixed, ...]
    anchor: SegmentRunner
    others: tuple[SegmentRunner, ...]
    at: tuple[Place, ...]
    matchers: tuple[Matcher, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A message map, compiled.

    Attributes:
        reads: fields by segment that rows of other segments and the hub itself use.
    """

    map: MessageMap
    grouping: Grouping
    rules: tuple[Rule, ...]
    reads: Mapping[str, frozenset[int]]


def compile_plans(maps: Maps) -> dict[str, Plan]:
    """The plan of every trigger.

    Raises:
        HieError: INVALID, naming the table, when one refers to what is not there.
    """
    tools = tools_of(maps)
    runners = {name: compile_segment(found, tools) for name, found in maps.segments.items()}
    plans = {}
    for message_map in maps.messages:
        plan = _plan(message_map, runners, maps.also_read)
        plans.update(dict.fromkeys(message_map.triggers, plan))
    return plans


def tools_of(maps: Maps) -> Tools:
    """What the converters of these maps are made with.

    Raises:
        HieError: INVALID when the concept map of coding systems is missing.
    """
    maps.terminology.map(CODING_SYSTEMS)
    bare = Tools(terminology=maps.terminology, values={})
    values = {
        name: ValueType(
            element=row.element,
            convert=CONVERTERS[row.convert](bare, ""),
            is_lines=row.is_lines,
        )
        for name, row in maps.values.items()
    }
    return replace(bare, values=values)


def _plan(
    message_map: MessageMap,
    runners: Mapping[str, SegmentRunner],
    also_read: frozenset[tuple[str, int]],
) -> Plan:
    rules = tuple(_rule(rule, runners) for rule in message_map.resources)
    reads = {*message_map.read, *also_read}
    for rule in rules:
        for runner in (rule.anchor, *rule.others):
            reads |= runner.reads_elsewhere
        reads |= {(place.segment, place.field) for place in rule.at if rule.rule.at}
        reads |= {read for match in rule.rule.matches for read in _looked_at(match)}
    for merge in message_map.merges:
        reads |= {(at.segment, at.field) for at in (merge.survivor, merge.retired)}
    return Plan(
        map=message_map,
        grouping=Grouping(message_map.groups),
        rules=rules,
        reads=_by_segment(reads),
    )


def _links(refs: Mapping[str, str]) -> tuple[Link, ...]:
    return tuple(
        Link(linker(path), to.removesuffix("*"), is_all=to.endswith("*"), is_everything=to == "*")
        for path, several in refs.items()
        for to in several.split()
    )


def _whole(anchor: SegmentRunner, others: Iterable[SegmentRunner]) -> list[tuple[Link, ...]]:
    """The links of the parts that fill the resource itself."""
    return [part.links for part in (anchor, *others) if not part.map.into]


def _by_segment(reads: Iterable[tuple[str, int]]) -> dict[str, frozenset[int]]:
    found: dict[str, set[int]] = {}
    for name, n in reads:
        found.setdefault(name, set()).add(n)
    return {name: frozenset(numbers) for name, numbers in found.items()}


def _rule(rule: ResourceRule, runners: Mapping[str, SegmentRunner]) -> Rule:
    unknown = [part for part in rule.parts if part not in runners]
    if unknown:
        raise HieError(Category.INVALID, f"[{rule.name}]: `{unknown[0]}` must be a segment map")
    when, _ = condition(rule.when)
    linked = frozenset(top_of(path) for path in rule.refs)
    anchor, *others = (runners[part] for part in rule.parts)
    return Rule(
        rule=rule,
        when=when,
        shut=gate(rule.when, anchor.map.segment),
        keys=tuple(key(parts, _key_or_none, anchor.map.segment) for parts in rule.keys),
        links=(*_links(rule.refs), *(link for part in _whole(anchor, others) for link in part)),
        needs=frozenset(rule.needs) - linked,
        needs_links=frozenset(rule.needs) & linked,
        defaults=tuple(put for runner in (anchor, *others) for put in runner.defaults),
        anchor=anchor,
        others=tuple(part for part in others if part.rows),  # the rest has defaults alone
        at=tuple(_moment(rule, text) for text in rule.at or DEFAULT_AT),
        matchers=tuple(_matcher(match, anchor.map.segment) for match in rule.matches),
    )


def _matcher(match: Match, anchor: str) -> Matcher:
    return Matcher(
        match=match,
        link=linker(match.link),
        back=linker(match.back) if match.back else None,
        mine=key(match.mine, _key_or_none, anchor),
        theirs=key(match.theirs, _key_or_none, anchor),
    )


def _looked_at(match: Match) -> Iterable[tuple[str, int]]:
    """The fields a match reads where the one that looks stands."""
    for part in match.mine:
        place = place_of(part.rstrip("?").partition(":")[0])
        if place is not None:
            yield place.segment, place.field


def _moment(rule: ResourceRule, text: str) -> Place:
    place = place_of(text)
    if place is None or not place.segment:
        raise HieError(Category.INVALID, f"[{rule.name}]: `at` must be fields such as `OBR-22`")
    return place


def _key_or_none(context: Context, rule: str) -> tuple[str, ...]:
    return key_of(context, rule) or ()


def remember_key(context: Context, rule: str, key: tuple[str, ...]) -> None:
    """Keep the key of a rule's first draft, for the keys that are built on it."""
    context.memo.setdefault(("key", rule), key)


def key_of(context: Context, rule: str) -> tuple[str, ...] | None:
    """The key of a rule's first draft; None when there is no such draft."""
    found: tuple[str, ...] | None = context.memo.get(("key", rule))
    return found


def overlay(maps: Maps, source: Source) -> Maps:
    """The maps with a source's last word: its own rows put before the others.

    Raises:
        HieError: INVALID, naming the source's file and the key.
    """
    overrides = dict(source.overrides)
    rows = overrides.pop("rows", {})
    overrides.pop("codes", None)  # what codes mean is `overlay`'s
    place = f"{source.id}.toml [overrides"
    if overrides:
        raise HieError(Category.INVALID, f"{place}]: `{next(iter(overrides))}` must be codes, rows")
    segments = dict(maps.segments)
    for name, added in rows.items():
        if name not in segments:
            raise HieError(Category.INVALID, f"{place}.rows]: `{name}` must be a segment map")
        first = tuple(read_row(f"{place}.rows.{name}]", row) for row in added)
        segments[name] = replace(segments[name], rows=first + segments[name].rows)
    return replace(maps, segments=segments)
