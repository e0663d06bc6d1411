"""The words of consent management: parties, acts, what was noted of them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from hie.kernel.ids import SourceId

#: How places of the hub's own begin; every other place is a source.
OWN: Final = "hie:"
#: Consents that are a patient's own word, told in the portal or signed on paper: the place is
#: `hie:patient:<record>`, one for each record, so that nobody's names meet another's.
PATIENT_PLACE: Final = "hie:patient:"
#: Consents that the privacy office recorded on its own authority.
OFFICE_PLACE: Final = SourceId("hie:office")


def patient_place(record: str) -> SourceId:
    """Where the Consents of whose record it is are recorded."""
    return SourceId(f"{PATIENT_PLACE}{record}")


def is_patients_word(source_id: str) -> bool:
    """Whether a Consent recorded there is the patient's own word."""
    return source_id.startswith(PATIENT_PLACE)


class Act(StrEnum):
    """What somebody did about a Consent."""

    RECORDED = "recorded"
    CHANGED = "changed"
    REVOKED = "revoked"
    RESTORED = "restored"  # a mistaken revocation was taken back
    SUPERSEDED = "superseded"  # another Consent took its place
    AWAITED = "awaited"  # it would widen access: a task asks for its verification
    VERIFIED = "verified"
    REJECTED = "rejected"
    EXPIRED = "expired"  # its period ended; the decision knew at once


#: Acts that say whether a content takes effect.
JUDGING: Final = (Act.VERIFIED, Act.REJECTED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Done:
    """One act, as it is kept.

    Attributes:
        version: of the Consent, that it made or speaks of.
        actor: `patient`, `officer:<user>`, `clerk:<user>`, `source:<id>` or `hub`.
        content_hash: keyed hash of the content that was judged; None where nothing was.
        note: what was said with it: `reason`, `signed_by`, `signed_on`, `witness`, `form`,
            `supersedes`, `superseded_by`, `scan`; sealed.
    """

    id: int
    consent_id: str
    version: int
    act: Act
    at_us: int
    actor: str
    record_id: str
    content_hash: bytes | None = None
    task_id: int | None = None
    note: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """The receipt of one version; `document_id` and `sha256` are None while it is owed."""

    consent_id: str
    version: int
    asked_us: int
    made_us: int | None = None
    document_id: str | None = None
    sha256: str | None = None


@dataclass(frozen=True, slots=True)
class Verdicts:
    """Which contents of which Consents were verified or rejected, the newest word of each.

    Attributes:
        by_content: (Consent id, keyed hash) to VERIFIED or REJECTED.
    """

    by_content: Mapping[tuple[str, bytes], Act] = field(default_factory=dict)

    def of(self, consent_id: str, content_hash: bytes) -> Act | None:
        """What was said of a content; None where nobody spoke."""
        return self.by_content.get((consent_id, content_hash))
