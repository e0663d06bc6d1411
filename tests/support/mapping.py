"""The hub's own maps, a made-up source, and short ways to map a message in a test."""

from collections.abc import Iterable
from dataclasses import replace
from functools import cache

from adapters.hl7v2 import er7
from adapters.hl7v2.context import Context
from adapters.hl7v2.datatypes import CONVERTERS, Tools
from adapters.hl7v2.mapmodel import Maps
from adapters.hl7v2.mapper import Mapper, load_maps
from adapters.hl7v2.plans import tools_of
from adapters.sources import OrganizationRef, Source
from hie.kernel.envelope import Draft, Submission
from hie.kernel.fhir import FhirJson
from hie.kernel.ids import MessageId, SourceId
from tests.support.tree import ROOT

#: 2026-01-31T09:30:00Z
RECEIVED_US = 1_769_851_800_000_000
GENERAL = Source(
    id=SourceId("general"),
    name="General Hospital",
    organization=OrganizationRef(
        system="http://hl7.org/fhir/sid/us-npi", value="1234567893", name="General Hospital"
    ),
    time_zone="America/New_York",
    own_authority="urn:oid:2.16.840.1.113883.19.1",
    authorities={"GH": "urn:oid:2.16.840.1.113883.19.1", "LAB": "https://lab.example/order"},
)
#: The same, of which nobody knows the time zone.
NOWHERE = replace(GENERAL, id=SourceId("nowhere"), time_zone="")

MSH = "MSH|^~\\&|ADT1|GH|HUB|HIE|20260131093000||{trigger}|M1|P|2.5.1"
PID = "PID|1||P1^^^GH^MR||DOE^JANE||19800102|F"


@cache
def maps() -> Maps:
    """The tables of config/."""
    return load_maps(ROOT / "config")


@cache
def mapper() -> Mapper:
    """The mapper of those tables."""
    return Mapper(maps())


@cache
def tools() -> Tools:
    """What the converters are made with."""
    return tools_of(maps())


def segment(name: str, **fields: str) -> str:
    """A segment by the numbers of its fields: `segment("ORC", _1="NW", _9="20260131")`."""
    values = {int(number[1:]): value for number, value in fields.items()}
    return "|".join([name, *(values.get(n, "") for n in range(1, max(values, default=0) + 1))])


def message_of(*segments: str, trigger: str = "ADT^A01") -> er7.Message:
    """A message of these segments, with a header unless they begin with one."""
    header = () if segments and segments[0].startswith("MSH") else (MSH.format(trigger=trigger),)
    return er7.parse("\r".join([*header, *segments, ""]).encode())


def submission_of(*segments: str, trigger: str = "ADT^A01", source: Source = GENERAL) -> Submission:
    """What a message of these segments maps to."""
    return mapper().map(
        message_of(*segments, trigger=trigger),
        source,
        message_id=MessageId(7),
        received_us=RECEIVED_US,
    )


def drafts_of(submission: Submission, kind: str) -> list[Draft]:
    """Its drafts of one resource type."""
    return [d for d in submission.drafts if d.resource["resourceType"] == kind]


def resource_of(submission: Submission, kind: str) -> FhirJson:
    """Its one resource of a type."""
    (draft,) = drafts_of(submission, kind)
    return draft.resource


def rules_of(submission: Submission) -> list[tuple[str, str]]:
    """Place and rule of its findings."""
    return [(finding.place, finding.rule) for finding in submission.findings]


def context_of(source: Source = GENERAL, segments: Iterable[str] = ()) -> Context:
    """The context of a message, for a converter on its own."""
    message = message_of(*segments)
    context = Context(message, source, maps().terminology, (MessageId(7), RECEIVED_US))
    context.segment = message.segments[-1]
    return context


def converted(
    name: str, raw: str, *, concept: str = "", companion: str = "", source: Source = GENERAL
) -> object:
    """What a converter makes of a raw value."""
    context = context_of(source)
    context.companion = companion
    return CONVERTERS[name](tools(), concept)(raw, context)
