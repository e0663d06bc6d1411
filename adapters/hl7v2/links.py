"""The references between the resources of one message, set when all of them are made."""

from collections.abc import Sequence
from dataclasses import dataclass

from adapters.hl7v2.compiled import Link, Making, SegmentRunner
from adapters.hl7v2.context import Context
from adapters.hl7v2.er7 import Segment
from adapters.hl7v2.groups import Node
from adapters.hl7v2.plans import Rule

_DRAFT = "urn:hie:"


@dataclass(slots=True)
class Job:
    """One resource to make, or made.

    Attributes:
        segment: what it was begun at.
        origin: the segments it was made of, see `origin_of`.
        nulls: its top-level elements the message says are to be cleared.
        event_us: when what it says was so.
        since: the same as a FHIR dateTime, where what it changes is kept.
    """

    rule: Rule
    node: Node
    segment: Segment
    name: str
    making: Making
    origin: str
    key: tuple[str, ...] = ()
    nulls: frozenset[str] = frozenset()
    event_us: int = 0
    since: str = ""


class Links:
    """The resources of a message, and what refers to which of them."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._jobs: list[Job] = []
        self._own: dict[tuple[str, int], str] = {}
        self._positions: dict[str, int] = {}
        self._made_rules: set[str] = set()
        self._kinds: dict[str, str] = {}
        self._made: dict[tuple[int, str], list[str]] = {}
        self._root = context.node

    def add(self, job: Job) -> None:
        """Take note of a resource that was made."""
        rule = job.rule.rule.name
        self._jobs.append(job)
        job.node.drafts.setdefault(rule, []).append(job.name)
        self._own[rule, job.segment.position] = job.name
        self._kinds[rule] = job.segment.name
        self._positions[job.name] = job.segment.position
        self._made_rules.add(rule)

    def set(self, root: Node) -> list[Job]:
        """Set every reference; the resources that have what they may not be without."""
        self._root = root
        for job in self._jobs:
            self._set_near(job)
        # What speaks of every resource does so when it is known which of them stand.
        self._jobs = [job for job in self._jobs if _is_whole(job, is_last=False)]
        for job in self._jobs:
            for link in job.rule.links:
                if link.is_everything:
                    self._set_everything(job, link)
        self._jobs = [job for job in self._jobs if _is_whole(job, is_last=True)]
        return self._jobs

    def _set_near(self, job: Job) -> None:
        made = self._made_rules
        for link in job.rule.links:
            if link.rule not in made:
                continue  # most links lead to what a message does not have
            for name in self._wanted(job, link):
                link.put(job.making.resource, f"{_DRAFT}{name}")
        for pending in job.making.pending:
            rule = pending.link.rule
            name = self._own.get((rule, pending.position), "")
            # What another segment of the same kind became is of another thing, however near.
            if not name and self._kinds.get(rule) != pending.segment:
                name = self._nearest(job, rule)
            if name:
                pending.link.put(pending.owner, f"{_DRAFT}{name}")
            elif pending.drop is not None:
                pending.drop()

    def _wanted(self, job: Job, link: Link) -> Sequence[str]:
        """The drafts a link leads to: all of the rule in the job's group, or the nearest."""
        if link.rule not in self._made_rules:
            return ()
        if link.is_all:
            return list(job.node.made(link.rule))
        name = self._nearest(job, link.rule)
        return (name,) if name else ()

    def _set_everything(self, job: Job, link: Link) -> None:
        """Refer to every other draft of the message, and say of which segments each was made."""
        url = job.rule.rule.origins
        origins = {o.name: o.origin for o in self._jobs if o.rule.rule.type != job.rule.rule.type}
        for name, origin in (*origins.items(), *self._context.origins.items()):
            entry = link.put(job.making.resource, f"{_DRAFT}{name}")
            if entry is not None and url:
                entry["extension"] = [{"url": url, "valueString": origin}]

    def _nearest(self, job: Job, rule: str) -> str:
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


def origin_of(used: Sequence[tuple[Node, Segment, SegmentRunner]]) -> str:
    """The segments a resource was made of, `OBX[3] NTE[4]`: name and occurrence in the message."""
    made = {
        f"{segment.name}[{segment.sequence}]": None
        for node, head, _ in used
        for segment in (node.run_of(head) if head is node.head else (head,))
    }
    return " ".join(made)


def _is_whole(job: Job, *, is_last: bool) -> bool:
    """Whether a resource has the references it may not be without."""
    if not is_last and any(link.is_everything for link in job.rule.links):
        return True
    return job.making.resource.keys() >= job.rule.needs_links
