"""HL7 v2 to FHIR: one message and the tables in, one submission out. Pure; never raises.

Three steps: gather the segments into groups, make the resources the message map lists, set the
references between them. What the tables mean stands in `mapmodel`; no segment has code here.
Spec: HL7 v2-to-FHIR implementation guide; DESIGN D5
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from adapters.hl7v2.compiled import Making, SegmentRunner
from adapters.hl7v2.context import Context
from adapters.hl7v2.coverage import Merged, Used, unread
from adapters.hl7v2.drafts import drafts_of
from adapters.hl7v2.er7 import Message, Segment
from adapters.hl7v2.groups import Node, gather
from adapters.hl7v2.links import Job, Links, origin_of
from adapters.hl7v2.mapmodel import BESIDE, GROUP, INSIDE, PEER, Maps, ResourceRule, SegmentMap
from adapters.hl7v2.maps import load_maps
from adapters.hl7v2.matches import set_matches
from adapters.hl7v2.merging import links_of, merges_of
from adapters.hl7v2.moments import event_time, said_since, sent_time
from adapters.hl7v2.overlay import Decided, SourceTerms
from adapters.hl7v2.plans import Plan, Rule, compile_plans, key_of, overlay, remember_key
from adapters.sources import Source
from adapters.terminology import Terminology
from hie.kernel.envelope import (
    Draft,
    Finding,
    Severity,
    SourceMerge,
    Submission,
)
from hie.kernel.ids import MessageId, SourceId

__all__ = ["Mapper", "load_maps"]

#: How many senders' codes are remembered at once.
_MEMORIES: Final = 256
#: The rule whose draft is the submission's subject.
PATIENT: Final = "patient"


class Mapper:
    """All message maps, compiled; one per process."""

    def __init__(self, maps: Maps, plans: Mapping[str, Plan] | None = None) -> None:
        self._maps = maps
        self._plans = compile_plans(maps) if plans is None else plans
        self._shared: dict[tuple[object, ...], dict[tuple[str, ...], Any]] = {}
        self._merged: Merged = {}
        self._overlaid: dict[SourceId, Mapping[str, Plan]] = {}
        self._terms = SourceTerms(maps.terminology)

    def fresh(self) -> "Mapper":
        """A mapper of the same maps that has learnt nothing yet."""
        return Mapper(self._maps, self._plans)

    def supports(self, trigger: str) -> bool:
        """Whether messages of this trigger, `ADT^A01`, become resources."""
        return _known_as(trigger) in self._plans

    @property
    def triggers(self) -> frozenset[str]:
        """All triggers that become resources."""
        return frozenset(self._plans)

    def check(self, source: Source) -> None:
        """Compile a source's overrides, so that start-up fails and not its first message.

        Raises:
            HieError: INVALID, naming the source's file and the key.
        """
        overlay(self._maps, source)
        self._plans_of(source)
        self._terms.of(source)

    def terms_of(self, source: Source) -> Terminology:
        """The concept maps that hold for a source."""
        return self._terms.of(source)

    def learn(self, decided: Decided) -> None:
        """Let translations of codes that staff decided hold from the next message on."""
        self._terms.learn(decided)
        self._shared.clear()

    def map(
        self, message: Message, source: Source, *, message_id: MessageId, received_us: int
    ) -> Submission:
        """What a message becomes: drafts, merges, findings, and what no map reads.

        A PATCH draft says only what the message says: a top-level element that is `None` is to
        be cleared (the sender wrote `""`), one that is absent stays as it is. Where such a draft
        alone would not be a valid resource, a CREATE_IF_ABSENT draft of the same key stands
        before it, for the case that nothing is stored yet.
        """
        terms, memory = self._terms.of(source), self._memory(message, source)
        context = Context(message, source, terms, (message_id, received_us), memory)
        plan = self._plans_of(source).get(_trigger(message))
        if plan is None:
            return _not_mapped(message, context)
        runs = _runs(plan, context)
        drafts = _ordered([draft for run in runs for draft in run.drafts()], context.directory)
        subject = PATIENT if drafts and drafts[0].name == PATIENT else ""
        used = _all_used(runs)
        return Submission(
            message_id=message_id,
            source_id=source.id,
            received_us=received_us,
            subject=subject,
            drafts=drafts,
            merges=(*(m for run in runs for m in run.merges), *_links(plan, context)),
            sent_us=sent_time(context),
            findings=tuple(context.findings),
            unmapped=unread(message, used, plan.reads, self._merged, taken=runs[-1].taken),
            codes=tuple((name, code, text) for (name, code), text in context.codes.items()),
            answers=tuple(sorted(context.answers)),
        )

    def _memory(self, message: Message, source: Source) -> dict[tuple[str, ...], Any]:
        """What is remembered of codes, which depends on who writes them and with which marks."""
        key = (source.id, message.delimiters, message.charset)
        found = self._shared.get(key)
        if found is None:
            if len(self._shared) >= _MEMORIES:
                self._shared.clear()  # any name may be sent where unknown senders are taken
            found = self._shared[key] = {}
        return found

    def _plans_of(self, source: Source) -> Mapping[str, Plan]:
        if not source.overrides.get("rows"):
            return self._plans
        found = self._overlaid.get(source.id)
        if found is None:
            found = self._overlaid[source.id] = compile_plans(overlay(self._maps, source))
        return found


class _Run:
    """One message, or what it says of one of its patients, on its way through its plan.

    Args:
        segments: what is mapped.
        prefix: of the names of its drafts, which are unique in the message.
    """

    def __init__(
        self, plan: Plan, context: Context, segments: Sequence[Segment], prefix: str = ""
    ) -> None:
        self._plan = plan
        self._segments = segments
        self._prefix = prefix
        self._names = frozenset(segment.name for segment in segments)
        self._context = context
        self._links = Links(context)
        self._jobs: list[Job] = []
        self._taken: Counter[tuple[str, ...]] = Counter()
        self.used: Used = {}
        #: How many segments were looked at.
        self.taken = len(context.message.segments)
        self.merges: tuple[SourceMerge, ...] = ()

    def make(self) -> None:
        """Make every resource of the message, then set the references between them."""
        plan = self._plan
        segments = self._segments if plan.map.per else self._first_patient()
        root, nodes = gather(segments, plan.grouping)
        for rule in plan.rules:
            self._make_all(rule, nodes.get(rule.rule.group, []))
        self._jobs = self._links.set(root)
        set_matches(self._jobs, self._context)
        everywhere = [node for group in nodes.values() for node in group]
        self.merges = tuple(merges_of(plan.map.merges, everywhere, self._context))

    def _make_all(self, rule: Rule, nodes: Sequence[Node]) -> None:
        """Make the resources of one rule."""
        made, shut, name = 0, rule.shut, rule.anchor.map.segment
        for node in nodes:
            for segment in node.heads(name):
                if shut is not None and shut(segment.fields):
                    continue
                made += self._make_one(rule, node, segment, made)
                if made and rule.rule.is_once:
                    return

    def _first_patient(self) -> list[Segment]:
        """The segments up to the PID of a second patient: a submission has one subject.

        A PID that repeats the numbers of the first (earlier results of an order) is no other.

        Mixing two patients in one would show the one the other's results, so what follows is
        left to a human, with a finding. A map with `per` says something of each on its own.
        """
        segments = list(self._segments)
        pids = [s for s in segments if s.name == "PID"]
        number = pids[0].field(3) if pids else ""
        other = next((s for s in pids[1:] if not number or s.field(3) != number), None)
        if other is None:
            return segments
        self._context.segment = other
        self._context.report(
            "several-patients",
            "only the first patient of the message is taken; send one message per patient",
            code="100",
            severity=Severity.ERROR,
        )
        self.taken = other.position
        return segments[: self.taken]

    def _make_one(self, rule: Rule, node: Node, segment: Segment, made: int) -> bool:
        context, spec = self._context, rule.rule
        context.node, context.segment, context.field = node, segment, 0
        if (rule.when is not None and not rule.when(context)) or not self._has_place(
            spec, node, segment
        ):
            return False
        making = Making({"resourceType": spec.type})
        context.nulls = set()
        used = [(node, segment, rule.anchor)]
        wrote = rule.anchor.applies(segment, context) and rule.anchor.run(segment, making, context)
        for other in rule.others if wrote else ():
            if other.map.segment not in self._names:
                continue
            for at, extra in _segments(other.map, node, segment):
                context.node = at
                if other.applies(extra, context):
                    other.run(extra, making, context)
                    used.append((at, extra, other))
        context.node, context.segment = node, segment
        if not wrote or not rule.needs <= making.resource.keys():
            return False
        for at, head, runner in used:
            self._use(at, head, runner)
        name = self._prefix + (spec.name if spec.is_once else f"{spec.name}-{made + 1}")
        job = Job(rule, node, segment, name, making, origin_of(used))
        job.key, job.event_us = self._key(rule), event_time(context, rule.at)
        job.since = said_since(context, rule.at) if spec.keeps_history else ""
        job.nulls = frozenset(context.nulls)
        self._links.add(job)
        remember_key(context, rule.rule.name, job.key)
        return True

    def _has_place(self, spec: ResourceRule, node: Node, segment: Segment) -> bool:
        """Whether what was made before leaves a place for a resource of a rule."""
        if spec.requires and any(key_of(self._context, name) is None for name in spec.requires):
            return False
        if spec.is_fresh and segment.position in self.used:
            return False
        return not spec.without or not any(next(node.made(name), None) for name in spec.without)

    def _use(self, node: Node, head: Segment, runner: SegmentRunner) -> None:
        if head is not node.head:
            self.used.setdefault(head.position, []).append(runner.reads)
            return
        for segment in node.run_of(head):
            self.used.setdefault(segment.position, []).append(runner.reads)

    def _key(self, rule: Rule) -> tuple[str, ...]:
        """The first complete key; one that another draft has already gets its ordinal."""
        for build in rule.keys:
            found = build(self._context)
            if found:
                taken = self._taken[rule.rule.type, *found] = (
                    self._taken[rule.rule.type, *found] + 1
                )
                return (*found, f"#{taken}") if taken > 1 else found
        return ()

    def drafts(self) -> list[Draft]:
        """The drafts of its resources, in the order of the message map."""
        return [draft for job in self._jobs for draft in drafts_of(job)]


def _runs(plan: Plan, context: Context) -> list[_Run]:
    """The message mapped: once, or once for each patient where its map says so."""
    runs = []
    for number, part in enumerate(_parts(context.message.segments, plan.map.per), start=1):
        context.begin()
        runs.append(_Run(plan, context, part, f"p{number}-" if number > 1 else ""))
        runs[-1].make()
    return runs


def _parts(segments: Sequence[Segment], per: str) -> list[Sequence[Segment]]:
    """The message, or a part for each segment `per` with what stands before the first."""
    starts = [n for n, segment in enumerate(segments) if per and segment.name == per]
    if not starts:
        return [segments]
    ends = [*starts[1:], len(segments)]
    return [[*segments[: starts[0]], *segments[a:b]] for a, b in zip(starts, ends, strict=True)]


def _links(plan: Plan, context: Context) -> Iterator[SourceMerge]:
    return links_of(plan.map.merges, context.message.all("PID"), context)


def _all_used(runs: Sequence[_Run]) -> Used:
    used: Used = {}
    for run in runs:
        for position, reads in run.used.items():
            used.setdefault(position, []).extend(reads)
    return used


def _ordered(found: Sequence[Draft], directory: Sequence[Draft]) -> tuple[Draft, ...]:
    """All drafts: the subject, the directory, the rest in the order of the message map."""
    subject = [draft for draft in found if draft.name == PATIENT]
    rest = [draft for draft in found if draft.name != PATIENT]
    return (*subject, *directory, *rest)


def _segments(
    segment_map: SegmentMap, node: Node, anchor: Segment
) -> Sequence[tuple[Node, Segment]]:
    """The segments of another part, each with its group; `SegmentMap.scope` says which."""
    name = segment_map.segment
    if segment_map.scope == PEER:
        return list(_peers(segment_map, node, anchor))
    if name == anchor.name and segment_map.scope != INSIDE:
        return ((node, anchor),)
    if segment_map.scope == INSIDE:
        return [(at, segment) for at in node.walk() for segment in at.heads(name)]
    at: Node | None = node
    while at is not None:
        if name in at.segments:
            return [(at, segment) for segment in at.heads(name)]
        at = at.parent if segment_map.scope != GROUP else None
    if segment_map.scope != BESIDE or node.parent is None or node.parent.parent is None:
        return ()  # beside an order of the message stand other orders
    return [(at, s) for at in node.parent.children if at is not node for s in at.heads(name)]


def _peers(segment_map: SegmentMap, node: Node, anchor: Segment) -> Iterator[tuple[Node, Segment]]:
    """The segments of the other groups of a group's kind that are like its own."""
    wanted = [anchor.field(n) for n in segment_map.alike]
    for at in node.parent.children if node.parent is not None else ():
        if at is not node and at.group == node.group:
            for segment in at.heads(segment_map.segment):
                if [segment.field(n) for n in segment_map.alike] == wanted:
                    yield at, segment


def _trigger(message: Message) -> str:
    """The message's trigger; an ADT that leaves the event out of MSH-9 has it in EVN-1."""
    if message.code == "ADT" and not message.event:
        segment = message.first("EVN")
        return f"ADT^{segment.value(1)}" if segment is not None else "ADT"
    return _known_as(message.trigger)


def _known_as(trigger: str) -> str:
    """The trigger as message maps name it: an answer is an answer, whatever it answers."""
    return "ACK" if trigger.startswith("ACK^") else trigger


def _not_mapped(message: Message, context: Context) -> Submission:
    finding = Finding(
        code="201",
        rule="unmapped-message",
        text="no map for this trigger; the message is kept and nothing made of it",
        segment="MSH",
        sequence=1,
        field=9,
    )
    return Submission(
        message_id=context.journal[0],
        source_id=context.source.id,
        received_us=context.journal[1],
        findings=(finding,),
        unmapped=unread(message, {}, {}, {}, taken=0),
    )
