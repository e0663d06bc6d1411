"""What a message says of who may see it: labels to raise, wishes about sharing (pure).

The fields are a table, `config/hl7v2/sensitivity.toml`, where each key is explained. Nothing
here decides: it says what was found, where, and whether it asks for more or for less.
"""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from adapters.hl7v2.er7 import Message, Segment
from adapters.hl7v2.maps import Table
from adapters.terminology import Terminology
from hie.kernel.errors import Category, HieError

PERSON, VISIT, CONTENT, PLACE = "person", "visit", "content", "place"
_CONFIDENTIALITY: Final = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
_LONGEST: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Raised:
    """A label the sender asks for.

    Attributes:
        scope: `person`, `visit` or `content`, what carries it.
        system, code: the label.
    """

    scope: str
    system: str
    code: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """A wish about sharing, as found.

    Attributes:
        place: where it stands, `CON-11`.
        withholds: it asks not to share; it holds at once.
        releases: it takes such a wish back, or permits; nothing changes by itself.
        said: what the segment says, by place; a sender's words.
    """

    place: str
    withholds: bool = False
    releases: bool = False
    said: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Privacy:
    """What one message says of who may see it.

    Attributes:
        codes: codes no map knows: concept map, code, text.
    """

    raised: tuple[Raised, ...] = ()
    wishes: tuple[Wish, ...] = ()
    codes: tuple[tuple[str, str, str], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.raised or self.wishes or self.codes)


#: A message that says nothing of it: nearly all.
NOTHING: Final = Privacy()


@dataclass(frozen=True, slots=True, kw_only=True)
class SensitiveField:
    """One `[[field]]` of the table."""

    segment: str
    number: int
    concept_map: str
    scope: str
    otherwise: str = ""
    withholds: frozenset[str] = frozenset()
    releases: frozenset[str] = frozenset()
    action: int = 0
    deletes: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class ConsentFields:
    """The `[consent]` table: how CON is read."""

    type: int
    type_map: str
    status: int
    withholds: frozenset[str]
    releases: frozenset[str]
    mentions: tuple[int, ...]


class Sensitivity:
    """Reads the sensitive fields of messages."""

    def __init__(self, fields: tuple[SensitiveField, ...], consent: ConsentFields) -> None:
        self._consent = consent
        self._by_segment: dict[str, list[SensitiveField]] = {}
        for found in fields:
            self._by_segment.setdefault(found.segment, []).append(found)
        self._names = frozenset(self._by_segment) | {"CON"}

    @property
    def reads(self) -> frozenset[tuple[str, int]]:
        """The fields it looks at: of ARV and CON those it repeats to staff too."""
        fields = [one for found in self._by_segment.values() for one in found]
        restrictions = {("ARV", n) for n in range(1, 8) if "ARV" in self._by_segment}
        consents = {("CON", n) for n in self._consent.mentions}
        return frozenset({(one.segment, one.number) for one in fields} | restrictions | consents)

    def read(self, message: Message, terms: Terminology) -> Privacy:
        """What a message says; `NOTHING` where it says nothing.

        Args:
            message: the message.
            terms: the concept maps of its source.
        """
        found: list[Raised | Wish] = []
        codes: dict[tuple[str, str], str] = {}
        near = PERSON
        for segment in message.segments:
            near = {"PID": PERSON, "PV1": VISIT}.get(segment.name, near)
            if segment.name not in self._names:
                continue
            if segment.name == "CON":
                found.append(self._wish(segment, terms))
            for one in self._by_segment.get(segment.name, ()):
                scope = near if one.scope == PLACE else one.scope
                for code, text in _codes(segment, one.number):
                    label = _label(one, scope, code, terms)
                    if label is None:
                        codes[one.concept_map, code] = text
                        label = Raised(scope=scope, system=_CONFIDENTIALITY, code=one.otherwise)
                    found += [label, *_field_wish(one, segment, code)]
        if not found:
            return NOTHING
        labels = (one for one in found if isinstance(one, Raised) and one.code)
        return Privacy(
            raised=tuple(dict.fromkeys(labels)),
            wishes=tuple(one for one in found if isinstance(one, Wish)),
            codes=tuple((name, code, text) for (name, code), text in codes.items()),
        )

    def _wish(self, segment: Segment, terms: Terminology) -> Wish:
        table = self._consent
        status = segment.value(table.status)
        kind = terms.map(table.type_map).translate(segment.value(table.type) or "-")
        is_sharing = kind is not None and bool(kind.target)
        return Wish(
            place=f"CON-{table.status}",
            withholds=is_sharing and status in table.withholds,
            releases=is_sharing and status in table.releases,
            said=_said(segment, table.mentions),
        )


def load_sensitivity(path: Path, terms: Terminology) -> Sensitivity:
    """The sensitive fields of a TOML file.

    Raises:
        HieError: INVALID, naming file, key and what is expected.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise HieError(Category.INVALID, f"`{path.name}`: must be TOML ({error})") from error
    fields = [
        _field(Table(f"`{path.name}` field {number}", table), terms)
        for number, table in enumerate(content.pop("field", ()), start=1)
    ]
    consent = _consent(Table(f"`{path.name}` [consent]", content.pop("consent", None)), terms)
    if content:
        text = f"`{path.name}`: `{next(iter(content))}` must be `field` or `consent`"
        raise HieError(Category.INVALID, text)
    return Sensitivity(tuple(fields), consent)


def _field(table: Table, terms: Terminology) -> SensitiveField:
    segment, _, number = table.text("place", required=True).partition("-")
    scope = table.text("scope", required=True)
    if not number.isdigit():
        raise table.fault("place", "a field, such as `PD1-12`")
    if scope not in (PERSON, VISIT, CONTENT, PLACE):
        raise table.fault("scope", f"one of {PERSON}, {VISIT}, {CONTENT}, {PLACE}")
    found = SensitiveField(
        segment=segment,
        number=int(number),
        concept_map=_map(table, "map", terms),
        scope=scope,
        otherwise=table.text("otherwise"),
        withholds=frozenset(table.texts("withholds")),
        releases=frozenset(table.texts("releases")),
        action=table.number("action"),
        deletes=frozenset(table.texts("deletes")),
    )
    table.finish()
    return found


def _consent(table: Table, terms: Terminology) -> ConsentFields:
    found = ConsentFields(
        type=table.number("type"),
        type_map=_map(table, "type_map", terms),
        status=table.number("status"),
        withholds=frozenset(table.texts("withholds")),
        releases=frozenset(table.texts("releases")),
        mentions=table.numbers("mentions"),
    )
    table.finish()
    return found


def _map(table: Table, key: str, terms: Terminology) -> str:
    name = table.text(key, required=True)
    if name not in terms.names:
        raise table.fault(key, "the name of a table of `config/terminology/`")
    return name


def _codes(segment: Segment, number: int) -> Iterator[tuple[str, str]]:
    """Code and text of each repetition that holds a code."""
    for repetition in segment.reps(number):
        code = "" if repetition.is_null else repetition.value(1).strip()
        if code:
            yield code[:_LONGEST], repetition.value(2).strip()[:_LONGEST]


def _label(one: SensitiveField, scope: str, code: str, terms: Terminology) -> Raised | None:
    """The label a code asks for, its code empty where it asks for none; None where unknown."""
    concept = terms.map(one.concept_map).translate(code)
    if concept is None:
        return None
    return Raised(scope=scope, system=concept.system, code=concept.target)


def _field_wish(one: SensitiveField, segment: Segment, code: str) -> Iterator[Wish]:
    """The wish that a code of a field is; what deletes a restriction takes the wish back."""
    known = code.upper()
    is_deleted = bool(one.action) and segment.value(one.action) in one.deletes
    withholds = known in one.withholds and not is_deleted
    releases = known in one.releases or (is_deleted and known in one.withholds)
    if withholds or releases:
        places = range(1, segment.count + 1)
        yield Wish(
            place=f"{segment.name}-{one.number}",
            withholds=withholds,
            releases=releases,
            said=_said(segment, (one.number,) if segment.name != "ARV" else tuple(places)),
        )


def _said(segment: Segment, numbers: tuple[int, ...]) -> dict[str, str]:
    """The fields of a segment as their sender wrote them, by place."""
    found: dict[str, Any] = {}
    for n in numbers:
        parts = [
            " ".join(part.text for part in repetition.components if part.text)
            for repetition in segment.reps(n)
        ]
        if text := "; ".join(part for part in parts if part):
            found[f"{segment.name}-{n}"] = text[:_LONGEST]
    return found
