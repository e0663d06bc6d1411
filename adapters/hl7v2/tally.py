"""Coverage counted for people and for programs: fields present, mapped, kept.

A field is *mapped* where a map or the hub itself uses it, and *kept* where nothing does: it
stays in the journaled message, word for word.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from adapters.hl7v2.coverage import Coverage
from hie.kernel.fhir import FhirJson


@dataclass(slots=True)
class Tally:
    """Counts of one message, or of several together.

    Attributes:
        kept: places no map reads, `PID-27`, with how often.
        messages: how many messages were counted.
    """

    present: int = 0
    mapped: int = 0
    kept: Counter[str] = field(default_factory=Counter)
    messages: int = 0

    def add(self, found: Coverage) -> None:
        """Count a message in."""
        self.present += len(found.present)
        self.mapped += len(found.mapped)
        self.kept.update(found.unmapped)
        self.messages += 1

    @property
    def percent(self) -> int:
        """Share of the fields that are mapped, rounded down; 100 where there is none."""
        return 100 * self.mapped // self.present if self.present else 100

    def json(self, name: str, trigger: str = "") -> FhirJson:
        """The counts as an object, one a line."""
        told: FhirJson = {"name": name}
        if trigger:
            told["trigger"] = trigger
        if self.messages != 1:
            told["messages"] = self.messages
        counts = {"present": self.present, "mapped": self.mapped, "kept": sum(self.kept.values())}
        return {**told, **counts, "percent": self.percent, "places": dict(self.kept)}


def tally_of(found: Coverage) -> Tally:
    """The counts of one message."""
    one = Tally()
    one.add(found)
    return one


def readable(rows: Sequence[tuple[str, str, Tally]]) -> Iterable[str]:
    """A table: name, trigger, present, mapped, kept, percent; the kept places behind each."""
    width = max([len(name) for name, _, _ in rows] + [len("message")])
    counts = f"{'present':>7} {'mapped':>7} {'kept':>6}    %"
    yield f"{'message':{width}}  {'trigger':9} {counts}  places"
    for name, trigger, one in rows:
        kept = sum(one.kept.values())
        places = ", ".join(places_of(one.kept))
        counts = f"{one.present:7} {one.mapped:7} {kept:6} {one.percent:4}"
        yield f"{name:{width}}  {trigger:9} {counts}  {places}".rstrip()


def places_of(kept: Counter[str]) -> list[str]:
    """The places with their counts: `PID-31`, `OBX-25 x20`."""
    return [f"{place} x{count}" if count > 1 else place for place, count in kept.items()]
