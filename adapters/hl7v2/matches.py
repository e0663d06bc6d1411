"""Resources of one message that belong together by what they say.

A culture's organism and the susceptibilities, which another order of the message tells of it.
Spec: HL7 v2.8.2 4.5.3.26, 4.5.3.29 (OBR-26, OBR-29); https://hl7.org/fhir/R4/observation.html
"""

from collections.abc import Iterable, Iterator

from adapters.hl7v2.compiled import Matcher
from adapters.hl7v2.conditions import KeyPart
from adapters.hl7v2.context import Context
from adapters.hl7v2.links import Job
from adapters.hl7v2.mapmodel import Match


def set_matches(jobs: Iterable[Job], context: Context) -> None:
    """Set the references between the resources of a message that match."""
    matching = _Matching(list(jobs), context)
    if not matching.is_any:
        return
    for job in matching.jobs:
        for matcher in job.rule.matchers:
            if matching.meets(job, matcher):
                break


class _Matching:
    """The resources of one message, looked up by what each says."""

    def __init__(self, jobs: list[Job], context: Context) -> None:
        self.jobs = jobs
        self._context = context
        self._asked: dict[tuple[str, int], bool] = {}
        self._known: dict[int, dict[tuple[str, ...], Job | None]] = {}

    @property
    def is_any(self) -> bool:
        """Whether the message holds a value that asks for any match at all."""
        rules = {id(job.rule): job.rule for job in self.jobs}.values()
        return any(self._is_asked(matcher.match) for rule in rules for matcher in rule.matchers)

    def meets(self, job: Job, matcher: Matcher) -> bool:
        """Link a job with the one it matches; whether there is one, and only one."""
        if not self._is_asked(matcher.match):
            return False
        mine = self._key(job, matcher.mine)
        found = self._others(matcher).get(mine) if mine else None
        if found is None or found is job:
            return False
        matcher.link(job.making.resource, f"urn:hie:{found.name}")
        if matcher.back is not None:
            matcher.back(found.making.resource, f"urn:hie:{job.name}")
        return True

    def _is_asked(self, match: Match) -> bool:
        """Whether the message holds a value anywhere in the field that asks for a match."""
        at = (match.given.segment, match.given.field)
        if at not in self._asked:
            found = (s for s in self._context.message.segments if s.name == at[0])
            self._asked[at] = any(segment.field(at[1]) for segment in found)
        return self._asked[at]

    def _others(self, matcher: Matcher) -> dict[tuple[str, ...], Job | None]:
        """The jobs looked among, by key; None where several have the same."""
        known = self._known.get(id(matcher))
        if known is None:
            known = self._known[id(matcher)] = {}
            for job in self._of_rule(matcher.match.to):
                theirs = self._key(job, matcher.theirs)
                if theirs:
                    known[theirs] = None if theirs in known else job
        return known

    def _of_rule(self, name: str) -> Iterator[Job]:
        return (job for job in self.jobs if job.rule.rule.name == name)

    def _key(self, job: Job, build: KeyPart) -> tuple[str, ...]:
        self._context.node, self._context.segment = job.node, job.segment
        return build(self._context)
