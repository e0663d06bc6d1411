"""Who may record a Consent, and whether it takes effect at once (pure)."""

from dataclasses import dataclass, replace
from enum import StrEnum

from consent.model import Directive, Effect, Rule
from hie.kernel.fhir import FhirJson


class Standing(StrEnum):
    """What becomes of a Consent that somebody records."""

    EFFECTIVE = "effective"
    AWAITS_VERIFICATION = "awaits-verification"  # stored, but changes nothing yet
    NOT_ACTIVE = "not-active"  # revoked, a draft: opens and closes nothing
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Writer:
    """Who records a Consent.

    Attributes:
        source_id: a feed, or the name of the place where staff and patients record.
        is_trusted: the patient, or a privacy officer: their word is the verification.
        records: source records the writer may speak about; None = any.
    """

    source_id: str
    is_trusted: bool = False
    records: frozenset[str] | None = None


def writing_rule(
    writer: Writer,
    directive: Directive,
    *,
    subject: str,
    recorded_by: str | None = None,
    replaced: Directive | None = None,
    is_verified: bool,
) -> Standing:
    """Whether a Consent may be recorded, and whether it takes effect at once.

    Args:
        writer: who records it.
        directive: the Consent, read.
        subject: the source record it is about.
        recorded_by: source of the version it replaces or deletes; None = it is new.
        replaced: that version, read; to lose one of its denies is to widen.
        is_verified: it says that the patient verified it, and the regime takes such a word.
    """
    is_own = recorded_by is None or recorded_by == writer.source_id
    is_about_own = writer.records is None or subject in writer.records
    if not is_own or not is_about_own:
        return Standing.REFUSED
    widens = directive.widens or bool(denials(replaced) - denials(directive))
    if writer.is_trusted or is_verified or not widens:
        return Standing.EFFECTIVE
    return Standing.AWAITS_VERIFICATION


def denials(directive: Directive | None) -> frozenset[Rule]:
    """What a directive denies, wherever it says so."""
    rules = directive.rules if directive else ()
    return frozenset(
        replace(rule, path="/", note="") for rule in rules if rule.effect is Effect.DENY
    )


def is_verified(consent: FhirJson) -> bool:
    """Whether a Consent says that the patient, or who speaks for them, verified it."""
    found = consent.get("verification")
    return isinstance(found, list) and any(
        isinstance(entry, dict) and entry.get("verified") is True for entry in found
    )
