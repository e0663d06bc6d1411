"""HL7 v2 to FHIR: one message and the tables in, one submission out. Pure; never raises.

Three steps: gather the segments into groups, make the resources the message map lists, set the
references between them. What the tables mean stands in `mapmodel`; no segment has code here.
Spec: HL7 v2-to-FHIR implementation guide; DESIGN D5
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from adapters.hl7v2.compiled import Making, SegmentRunner
from adapters.hl7v2.conditions import own_identifier
from adapters.hl7v2.context import Context
from adapters.hl7v2.coverage import Merged, Used, unread
from adapters.hl7v2.drafts import drafts_of
from adapters.hl7v2.er7 import Message, Segment
from adapters.hl7v2.groups import Node, gather
from adapters.hl7v2.mapmodel import GROUP, INSIDE, Maps, SegmentMap
from adapters.hl7v2.maps import load_maps
from adapters.hl7v2.moments import event_time, sent_time
from adapters.hl7v2.overlay import Decided, SourceTerms
from adapters.hl7v2.plans import Plan, Rule, compile_plans, key_of, overlay, remember_key
from adapters.sources import Source
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


@dataclass(slots=True)
class _Job:
    """One resource to make, or made."""

    rule: Rule
    node: Node
    segment: Segment
    name: str
    making: Making
    key: tuple[str, ...] = ()
    nulls: frozenset[str] = frozenset()
    event_us: int = 0


class Mapper:
    """All message maps, compiled; one per process."""

    def __init__(self, maps: Maps) -> None:
        self._maps = maps
        self._plans = compile_plans(maps)
        self._shared: dict[tuple[object, ...], dict[tuple[str, ...], Any]] = {}
        self._merged: Merged = {}
        self._overlaid: dict[SourceId, Mapping[str, Plan]] = {}
        self._terms = SourceTerms(maps.terminology)

    def supports(self, trigger: str) -> bool:
        """Whether messages of this trigger, `ADT^A01`, become resources."""
        return trigger in self._plans

    @property
    def triggers(self) -> frozenset[str]:
        """All triggers that become resources."""
        return frozenset(self._plans)

    def check(self, source: Source) -> None:
        """Compile a source's overrides, so that start-up fails and not its first message.

        Raises:
            HieError: INVALID, naming the source's file and the key.
        """
        self._plans_of(source)
        self._terms.of(source)

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
            codes=tuple((name, code, text) for (name, code), text in context.codes.items()),
        run = _Run(plan, context)
        run.make()
        drafts = run.drafts()
        subject = PATIENT if drafts and drafts[0].name == PATIENT else ""
        return Submission(
            message_id=message_id,
            source_id=source.id,
            received_us=received_us,
            subject=subject,
            drafts=drafts,
            merges=run.merges,
            sent_us=sent_time(context),
            findings=tuple(context.findings),
            unmapped=unread(message, run.used, plan.reads, self._merged, taken=run.taken),
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
    """One message on its way through its plan."""

    def __init__(self, plan: Plan, context: Context) -> None:
        self._plan = plan
        self._context = context
        self._jobs: list[_Job] = []
        self._own: dict[tuple[str, int], str] = {}
        self._positions: dict[str, int] = {}
        self._root = context.node
        self._made_rules: set[str] = set()
        self._made: dict[tuple[int, str], list[str]] = {}
        self._taken: Counter[tuple[str, ...]] = Counter()
        self.used: Used = {}
        #: How many segments were looked at.
        self.taken = len(context.message.segments)
        self.merges: tuple[SourceMerge, ...] = ()

    def make(self) -> None:
        """Make every resource of the message, then set the references between them."""
        plan = self._plan
        self._root, nodes = gather(self._first_patient(), plan.grouping)
        for rule in plan.rules:
            self._make_all(rule, nodes.get(rule.rule.group, []))
        for job in self._jobs:
            self._refer(job)
        self._jobs = [j for j in self._jobs if j.making.resource.keys() >= j.rule.needs_links]
        if plan.map.merge:
            self.merges = tuple(self._merges(nodes))

    def _make_all(self, rule: Rule, nodes: Sequence[Node]) -> None:
        """Make the resources of one rule."""
        made = 0
        for node in nodes:
            for segment in node.heads(rule.anchor.map.segment):
                made += self._make_one(rule, node, segment, made)
                if made and rule.rule.is_once:
                    return

    def _first_patient(self) -> list[Segment]:
        """The segments up to a second PID: a submission has one subject.

        Mixing two patients in one would show the one the other's results, so what follows is
        left to a human, with a finding. A merge message says something of each on its own.
        """
        segments = list(self._context.message.segments)
        pids = [s for s in segments if s.name == "PID"]
        if len(pids) < 2 or self._plan.map.merge:
            return segments
        self._context.segment = pids[1]
        self._context.report(
            "several-patients",
            "only the first patient of the message is taken; send one message per patient",
            code="100",
            severity=Severity.ERROR,
        )
        self.taken = pids[1].position
        return segments[: self.taken]

    def _make_one(self, rule: Rule, node: Node, segment: Segment, made: int) -> bool:
        context, spec = self._context, rule.rule
        context.node, context.segment, context.field = node, segment, 0
        if rule.when is not None and not rule.when(context):
            return False
        if any(key_of(context, name) is None for name in spec.requires):
            return False
        making = Making({"resourceType": spec.type})
        context.nulls = set()
        used = [(node, segment, rule.anchor)]
        wrote = rule.anchor.applies(segment, context) and rule.anchor.run(segment, making, context)
        for other in rule.others if wrote else ():
            for at, extra in _segments(other.map, node, segment):
                context.node = at
                if other.applies(extra, context):
                    other.run(extra, making, context)
                    used.append((at, extra, other))
        context.node, context.segment = node, segment
        if not wrote or any(name not in making.resource for name in rule.needs):
            return False
        for at, head, runner in used:
            self._use(at, head, runner)
        name = spec.name if spec.is_once else f"{spec.name}-{made + 1}"
        job = _Job(rule, node, segment, name, making, nulls=frozenset(context.nulls))
        job.key, job.event_us = self._key(rule), event_time(context, rule.at)
        self._register(job)
        return True

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

    def _register(self, job: _Job) -> None:
        rule = job.rule.rule.name
        self._jobs.append(job)
        job.node.drafts.setdefault(rule, []).append(job.name)
        self._own[rule, job.segment.position] = job.name
        self._positions[job.name] = job.segment.position
        self._made_rules.add(rule)
        remember_key(self._context, rule, job.key)

    def _refer(self, job: _Job) -> None:
        """Set the references of a resource, now that every draft is known."""
        resource = job.making.resource
        for link in job.rule.links:
            if link.is_all:
                for name in self._below(job, link.rule):
                    link.put(resource, f"urn:hie:{name}")
            elif name := self._nearest(job, link.rule):
                link.put(resource, f"urn:hie:{name}")
        for pending in job.making.pending:
            rule = pending.link.rule
            name = self._own.get((rule, pending.position)) or self._nearest(job, rule)
            if name:
                pending.link.put(pending.owner, f"urn:hie:{name}")
            elif pending.drop is not None:
                pending.drop()

    def _nearest(self, job: _Job, rule: str) -> str:
        """The draft of a rule nearest to a job: in its group, in those around it, in the message.

        What belongs to another order is not near, however close it stands. Of several the last
        one before the job's segment, for a result that follows its specimen.
        """
        if rule not in self._made_rules:
            return ""
        found: list[str] | None = self._root.drafts.get(rule)
        node: Node | None = None if found else job.node
        while node is not None and (node is job.node or node is not self._root):
            key = (id(node), rule)
            found = self._made.get(key)
            if found is None:
                found = self._made[key] = list(node.made(rule))
            if found and found != [job.name]:
                break
            found, node = None, node.parent
        if not found:
            return ""
        here = job.segment.position
        before = [name for name in found if self._positions[name] < here]
        return before[-1] if before else found[0]

    def _below(self, job: _Job, rule: str) -> list[str]:
        """The drafts of a rule in a job's group; of every rule and group where none is named."""
        if not rule:
            return [other.name for other in self._jobs if other is not job]
        return list(job.node.made(rule))

    def _merges(self, nodes: Mapping[str, Sequence[Node]]) -> Iterator[SourceMerge]:
        """One merge for each identifier the message retires."""
        (survivor_at, survivor_n), (retired_at, retired_n) = (
            (place.split("-")[0], int(place.split("-")[1])) for place in self._plan.map.merge
        )
        context = self._context
        for node in [node for group in nodes.values() for node in group]:
            context.node, context.segment = node, None
            survivor = own_identifier(context, survivor_at, survivor_n)
            if survivor is None or not node.all(retired_at):
                continue
            retired = own_identifier(context, retired_at, retired_n, survivor.system)
            if retired is not None and retired != survivor:
                yield SourceMerge(survivor=survivor, retired=retired)

    def drafts(self) -> tuple[Draft, ...]:
        """All drafts: the subject, the directory, the rest in the order of the message map."""
        found = [
            draft
            for job in self._jobs
            for draft in drafts_of(
                job.rule,
                job.name,
                job.key,
                job.making.resource,
                nulls=job.nulls,
                event_us=job.event_us,
            )
        ]
        subject = [draft for draft in found if draft.name == PATIENT]
        rest = [draft for draft in found if draft.name != PATIENT]
        return (*subject, *self._context.directory, *rest)


def _segments(
    segment_map: SegmentMap, node: Node, anchor: Segment
) -> Sequence[tuple[Node, Segment]]:
    """The segments of another part, each with its group; `SegmentMap.scope` says which."""
    name = segment_map.segment
    if name == anchor.name and segment_map.scope != INSIDE:
        return ((node, anchor),)
    if segment_map.scope == INSIDE:
        return [(at, segment) for at in node.walk() for segment in at.heads(name)]
    at: Node | None = node
    while at is not None:
        if name in at.segments:
            return [(at, segment) for segment in at.heads(name)]
        at = at.parent if segment_map.scope != GROUP else None
    return ()


def _trigger(message: Message) -> str:
    """The message's trigger; an ADT that leaves the event out of MSH-9 has it in EVN-1."""
    if message.code == "ADT" and not message.event:
        segment = message.first("EVN")
        return f"ADT^{segment.value(1)}" if segment is not None else "ADT"
    return message.trigger


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
