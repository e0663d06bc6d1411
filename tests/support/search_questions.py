"""Random searches with what they must find: matches, order and what each page includes."""

import copy
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from consent.model import AccessRequest
from hie.kernel.context import Caller
from tests.support.naive_search import OF_PATIENTS, PARAMS, Clause, a_clause
from tests.support.search_worlds import Held, World

Name = tuple[str, str]
#: References that a chain or an include may follow, and where they lead.
REFERENCES = {
    ("Observation", "encounter"): ("Encounter",),
    ("Observation", "performer"): ("Practitioner",),
    ("Observation", "has-member"): ("Observation",),
    ("Condition", "encounter"): ("Encounter",),
    ("Encounter", "service-provider"): ("Organization",),
    ("Organization", "partof"): ("Organization",),
    ("Provenance", "target"): ("Observation", "Encounter", "Condition"),
    ("Provenance", "agent"): ("Practitioner",),
}
SORTS = {
    "Observation": ("date", "status", "code"),
    "Encounter": ("date", "status"),
    "Condition": ("onset-date", "code"),
    "Provenance": ("recorded",),
    "Organization": ("name",),
}


#: Who and where: shown to everybody, and named whether or not there is such an entry.
PUBLIC = ("Organization", "Practitioner")


def _with_witnesses(shown: Iterable[Held], own: frozenset[str]) -> dict[str, Held]:
    """What is shown, by `Type/id`, without the Provenances of nothing that is."""
    known = {f"{held.type}/{held.id}": held for held in shown}
    # What is of several persons counts for its own source alone, and no Provenance for another.
    counting = {
        name
        for name, held in known.items()
        if (not held.persons[1:] or held.source_id in own) and held.type != "Provenance"
    }

    def is_seen(held: Held) -> bool:
        if held.type != "Provenance" or held.source_id in own:
            return True
        targets = [one["reference"] for one in held.resource["target"]]
        of = [name for name in targets if not name.startswith(("Patient/", *PUBLIC))]
        return not of or not counting.isdisjoint(of)

    return {name: held for name, held in known.items() if is_seen(held)}


def _as_seen(held: Held, known: dict[str, Held]) -> Held:
    """A resource without its references to what its reader may not know of."""
    patients = {f"Patient/{record}" for record, _ in held.filed}

    def is_told(name: str) -> bool:
        return name in known or name in patients or name.startswith(PUBLIC)

    def masked(node: Any) -> Any:
        if isinstance(node, list):
            return [left for one in node if (left := masked(one)) is not None] or None
        if not isinstance(node, dict):
            return node
        if "reference" in node:
            return node if is_told(node["reference"]) else None
        found = {name: masked(child) for name, child in node.items()}
        return {name: left for name, left in found.items() if left is not None}

    seen = copy.copy(held)
    seen.resource = masked(held.resource)
    return seen


class Seen:
    """A world with a caller's eyes."""

    def __init__(self, world: World, asked: AccessRequest, caller: Caller) -> None:
        self.world = world
        self.asked = asked
        self.caller = caller
        known = _with_witnesses(world.shown(asked), asked.own_sources)
        self.held = [_as_seen(held, known) for held in known.values() if not held.is_deleted]
        self.by_name = {(held.type, held.id): held for held in self.held}
        self.records: dict[str, list[Held]] = {}
        for held in self.held:
            if held.type == "Patient":
                self.records.setdefault(held.persons[0], []).append(held)
        #: The golden Patients: made of what is seen, once.
        self._golden: dict[str, Held] = {}
        self._referred: dict[tuple[str, Name], set[Name]] = {}
        self._referring: dict[tuple[str, str], dict[Name, list[Held]]] = {}

    def bounded(self, caller: Caller) -> "Seen":
        """The same eyes with other scopes."""
        seen = copy.copy(self)
        seen.caller = caller
        return seen

    def of(self, kind: str) -> list["Item"]:
        """All resources of a type, in the order they come unsorted; Patients are golden."""
        if kind == "Patient":
            return [Item(("Patient", person), self.golden(person)) for person in self.persons]
        return [Item((kind, held.id), held) for held in self.held if held.type == kind]

    @property
    def persons(self) -> list[str]:
        return sorted(self.records)

    def golden(self, person: str) -> Held:
        """The records a caller sees of a person as one: here they never disagree."""
        if person not in self._golden:
            records = self.records[person]
            latest = max(held.updated_us for held in records)
            one = Held(records[0].resource, "", 0, filed=records[0].filed, updated_us=latest)
            numbers = [number for held in records for number in held.resource["identifier"]]
            one.resource = {**one.resource, "id": person, "identifier": numbers}
            self._golden[person] = one
        return self._golden[person]

    def referred(self, held: Held, param: str) -> set[Name]:
        """What a resource's parameter leads to, as far as it may be read."""
        key = (param, (held.type, held.id))
        if key not in self._referred:
            self._referred[key] = self._led_to(held, param)
        return self._referred[key]

    def _led_to(self, held: Held, param: str) -> set[Name]:
        if param == "patient":
            found = {("Patient", person) for person in held.patients if person in self.records}
        else:
            names = {_name(ref) for ref in PARAMS[held.type][param].values(held.resource)}
            found = {name for name in names if name[0] != "Patient" and name in self.by_name}
            for kind, record in names:
                if kind == "Patient" and (kind, record) in self.by_name:
                    found.add(("Patient", self.by_name[kind, record].persons[0]))
        return found

    def referring(self, source: str, param: str, name: Name) -> list[Held]:
        """What of a type leads to a resource, as far as both may be seen."""
        if (source, param) not in self._referring:
            found: dict[Name, list[Held]] = {}
            for item in self.of(source):
                for target in self.referred(item.held, param):
                    found.setdefault(target, []).append(item.held)
            self._referring[source, param] = found
        return self._referring[source, param].get(name, [])

    def item(self, name: Name) -> "Item":
        return Item(name, self.golden(name[1]) if name[0] == "Patient" else self.by_name[name])

    def included(self, matches: Iterable[Name], includes: Iterable["Follow"]) -> set[Name]:
        """What a page brings besides its matches."""
        seen = set(matches)
        found: set[Name] = set()
        last, is_first = set(matches), True
        while last:
            new: set[Name] = set()
            for one in includes:
                if is_first or one.is_iterate:
                    new |= {name for start in last for name in one.names(self, start)}
            last, is_first = new - seen, False
            seen |= last
            found |= last
        return found


@dataclass(frozen=True)
class Item:
    """One possible match."""

    name: Name
    held: Held


@dataclass(frozen=True)
class Follow:
    """An include."""

    source: str
    param: str
    is_reverse: bool
    is_iterate: bool

    @property
    def asked(self) -> tuple[str, str]:
        name = "_revinclude" if self.is_reverse else "_include"
        return name + (":iterate" if self.is_iterate else ""), f"{self.source}:{self.param}"

    def names(self, seen: Seen, start: Name) -> set[Name]:
        """Where it leads from a resource."""
        if self.is_reverse:
            if not seen.caller.may(self.source, "s"):
                return set()
            return {(held.type, held.id) for held in seen.referring(self.source, self.param, start)}
        if start[0] != self.source:
            return set()
        found = seen.referred(seen.item(start).held, self.param)
        return {name for name in found if seen.caller.may(name[0], "r")}


@dataclass
class Question:
    """A search and its naive meaning."""

    types: tuple[str, ...]
    params: list[tuple[str, str]] = field(default_factory=list)
    tests: list[Callable[[Seen, Item], bool]] = field(default_factory=list)
    sort: list[tuple[str, bool]] = field(default_factory=list)
    follows: list[Follow] = field(default_factory=list)
    #: Whose consents and resources it is asked of; None = everybody's.
    persons: int | None = None

    def expected(self, seen: Seen) -> list[Name]:
        """Names of all matches in order."""
        found = [
            (position, item)
            for position, kind in enumerate(self.types)
            for item in seen.of(kind)
            if all(test(seen, item) for test in self.tests)
        ]
        for name, is_descending in reversed(self.sort):
            found.sort(
                key=lambda entry, by=name, down=is_descending: _key(entry[1], by, down),  # type: ignore[misc]  # defaults
                reverse=is_descending,
            )
        return [item.name for _, item in found]


def _key(item: Item, name: str, is_descending: bool) -> Any:
    held = item.held
    if name == "_lastUpdated":
        return held.updated_us
    if name == "_id":
        return item.name[1]
    param = PARAMS[held.type][name]
    values = param.values(held.resource)
    if param.kind == "date":
        ends = [value[1 if is_descending else 0] for value in values]
        absent = -(10**30) if is_descending else 10**30
        return (max if is_descending else min)(ends, default=absent)
    texts = [
        value[1] if param.kind == "token" else value.lower().replace("ü", "u") for value in values
    ]
    return (max if is_descending else min)(texts, default="" if is_descending else "\U0010ffff")


def _name(reference: str) -> Name:
    kind, _, key = reference.partition("/")
    return kind, key


def a_question(rng: Random, world: World, caller: Caller) -> Question:
    """A random search on one type, now and then on two."""
    kind = rng.choices(list(PARAMS), (6, 4, 3, 3, 2, 1, 3))[0]
    if rng.random() < 0.15:
        return _together(rng, world)
    question = Question(types=(kind,))
    for _ in range(rng.choice([0, 0, 1, 1, 2])):
        _add(question, a_clause(rng, kind))
    if kind in OF_PATIENTS and rng.random() < 0.3:
        _of_persons(rng, question, world)
    if rng.random() < 0.25:
        _chain(rng, question, kind, caller)
    if rng.random() < 0.15:
        _has(rng, question, kind, caller)
    _shape(rng, question, kind)
    return question


def _together(rng: Random, world: World) -> Question:
    question = Question(types=tuple(rng.sample(OF_PATIENTS, 2)))
    if rng.random() < 0.5:
        question = Question(types=("Patient", *question.types[:1], "Organization"))
    else:
        _of_persons(rng, question, world)
    if rng.random() < 0.7:
        name = rng.choice(["_lastUpdated", "_id"])
        question.sort = [(name, rng.random() < 0.5)]
        question.params.append(("_sort", ("-" if question.sort[0][1] else "") + name))
    return question


def _add(question: Question, clause: Clause) -> None:
    question.params.append((clause.name, clause.text))
    question.tests.append(lambda _, item: clause.meets(item.held))


def _of_persons(rng: Random, question: Question, world: World) -> None:
    asked = rng.sample(world.persons, rng.choice([1, 8, 16, 20]))
    question.params.append(("patient", ",".join(asked)))
    question.tests.append(lambda _, item: not set(asked).isdisjoint(item.held.patients))
    question.persons = len(asked)


def _chain(rng: Random, question: Question, kind: str, caller: Caller) -> None:
    ways = [(param, to) for (of, param), to in REFERENCES.items() if of == kind]
    if kind in OF_PATIENTS:
        ways.append(("patient", ("Patient",)))
    if not ways:
        return
    param, targets = rng.choice(ways)
    target = rng.choice(targets)
    if not caller.may(target, "s"):
        return
    clause = a_clause(rng, target)
    typed = param if param == "patient" else f"{param}:{target}"
    question.params.append((f"{typed}.{clause.name}", clause.text))
    question.tests.append(
        lambda seen, item: any(
            name[0] == target and clause.meets(seen.item(name).held)
            for name in seen.referred(item.held, param)
        )
    )


def _has(rng: Random, question: Question, kind: str, caller: Caller) -> None:
    ways = [key for key, to in REFERENCES.items() if kind in to]
    if kind == "Patient":
        ways = [(of, "patient") for of in ("Observation", "Encounter", "Condition")]
    if not ways:
        return
    source, param = rng.choice(ways)
    if not caller.may(source, "s"):
        return
    clause = a_clause(rng, source)
    question.params.append((f"_has:{source}:{param}:{clause.name}", clause.text))
    question.tests.append(
        lambda seen, item: any(
            clause.meets(other) for other in seen.referring(source, param, item.name)
        )
    )


def _shape(rng: Random, question: Question, kind: str) -> None:
    names = ["_lastUpdated", "_id", *SORTS.get(kind, ())]
    if rng.random() < 0.6:
        keys = rng.sample(names, rng.choice([1, 1, 2]))
        question.sort = [(name, rng.random() < 0.5) for name in keys]
        text = ",".join(("-" if down else "") + name for name, down in question.sort)
        question.params.append(("_sort", text))
    ways = [Follow(of, param, False, False) for of, param in REFERENCES if of == kind]
    ways += [Follow(of, param, True, False) for (of, param), to in REFERENCES.items() if kind in to]
    if kind in OF_PATIENTS:
        ways.append(Follow(kind, "patient", False, False))
    if kind == "Patient":
        ways += [Follow(of, "patient", True, False) for of in OF_PATIENTS]
        ways.append(Follow("Provenance", "target", True, False))
    deep = [
        Follow("Observation", "has-member", False, True),
        Follow("Encounter", "service-provider", False, True),
        Follow("Organization", "partof", False, True),
        Follow("Provenance", "agent", False, True),
    ]
    if rng.random() < 0.5 and ways:
        question.follows = rng.sample(ways, min(len(ways), rng.choice([1, 2])))
        question.follows += rng.sample(deep, rng.choice([0, 1, 2]))
    question.params += [one.asked for one in question.follows]
