"""The golden messages and what they map to, for the tests that judge the output."""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

from adapters.hl7v2 import er7
from hie.kernel.envelope import Draft, Submission
from hie.kernel.fhir import FhirJson
from hie.kernel.ids import MessageId
from tests.support.mapping import GENERAL, RECEIVED_US, mapper
from tests.support.tree import ROOT

FOLDER = ROOT / "tests/golden/hl7v2"
#: What stands for a resource another message is to bring.
STUBS = ("replaced",)
MESSAGES = sorted(FOLDER.glob("*.hl7"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """One resource of a message.

    Attributes:
        origins: the segments it was made of, as Provenance says.
    """

    trigger: str
    name: str
    resource: FhirJson
    origins: tuple[er7.Segment, ...]


@cache
def mapped(path: Path) -> tuple[er7.Message, Submission]:
    """A golden message and what it maps to."""
    message = er7.parse(path.read_bytes())
    return message, mapper().map(message, GENERAL, message_id=MessageId(7), received_us=RECEIVED_US)


def made_of(path: Path) -> list[Made]:
    """The complete resources of a golden message."""
    message, submission = mapped(path)
    origins = origins_of(submission)
    segments = {f"{s.name}[{s.sequence}]": s for s in message.segments}
    return [
        Made(
            trigger=message.trigger,
            name=draft.name,
            resource={k: v for k, v in draft.resource.items() if v is not None},
            origins=tuple(segments[place] for place in origins.get(draft.name, "").split()),
        )
        for draft in submission.drafts
        if is_complete(draft)
    ]


def is_complete(draft: Draft) -> bool:
    """Whether a draft is a whole resource: no patch beside one, and no stub."""
    return not draft.name.endswith("-update") and draft.name not in STUBS


def origins_of(submission: Submission) -> dict[str, str]:
    """The segments each draft was made of, as the message's Provenance says."""
    return {
        target["reference"].removeprefix("urn:hie:"): target["extension"][0]["valueString"]
        for draft in submission.drafts
        if draft.name == "provenance"
        for target in draft.resource["target"]
    }
