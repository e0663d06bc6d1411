"""What somebody wants recorded, and what is refused of it before anything is stored."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from consent.model import Directive
from consent.service import Standing
from consent.writing import denials
from hie.consents.content import DIRECTORY, not_understood, references_of
from hie.consents.model import OFFICE_PLACE, is_patients_word
from hie.flow.consent_parts import Parts
from hie.flow.placement import Placement
from hie.flow.verification import Known
from hie.kernel.errors import Category, HieError, Issue
from hie.kernel.fhir import FhirJson
from hie.kernel.ids import PersonId, SourceRecordId
from hie.proxies.wishes import widens_withheld
from hie.store.loader import Stored

CONSENT: Final = "Consent"
_FAULTY: Final = frozenset({"error", "fatal"})
NO_SUCH: Final = "there is no such Consent, or it is not yours to change"
_WIDENS: Final = "taking back what a Consent denies widens access: a privacy officer does it"
_OTHERS: Final = "another party recorded this Consent: nobody else changes, revokes or replaces it"


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What somebody wants recorded.

    Attributes:
        person: whom it is about.
        resource: the Consent as it is to be; its `patient` may be the person or any record.
        actor: `patient`, `officer:<user>` or `clerk:<user>`.
        is_trusted: the patient or a privacy officer: their word is the verification.
        consent_id: the Consent it changes; None = a new one.
        version: the version of that Consent that was seen; None = whichever.
        is_patients_word: said or signed by the patient; else the privacy office's own.
        record: the record it is filed under; None = the person's first.
        papers: resources it rests on (a scan), their ids made already.
        supersedes: ids of Consents it takes the place of.
        note: kept sealed with the act.
        key: what makes a repeated request the same; empty = each is new.
        withheld_mask: labels kept from who asks in the patient's place.
    """

    person: PersonId
    resource: FhirJson
    actor: str
    is_trusted: bool
    consent_id: str | None = None
    version: int | None = None
    is_patients_word: bool = True
    record: SourceRecordId | None = None
    papers: tuple[Placement, ...] = ()
    supersedes: tuple[str, ...] = ()
    note: Mapping[str, str] = field(default_factory=dict)
    key: tuple[str, ...] = ()
    withheld_mask: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """What became of a wish.

    Attributes:
        is_created: False for a new version, or a repeat of what is there.
        body: as the patient is served it.
    """

    consent_id: str
    version: int
    last_updated_us: int
    standing: Standing
    is_created: bool
    body: bytes


def require_sound(parts: Parts, wish: Wish) -> None:
    """Refuse what is no Consent of sound structure.

    Raises:
        HieError: BUSINESS_RULE.
    """
    verdict = parts.verdict(wish.resource, "")
    faults = [issue for issue in verdict.issues if issue.severity in _FAULTY]
    if wish.resource.get("resourceType") != CONSENT:
        faults = [Issue(text="expected a Consent", code="structure")]
    if faults:
        raise HieError(Category.BUSINESS_RULE, faults[0].text, faults)


async def require_references(
    parts: Parts, conn: AsyncConnection, wish: Wish, resource: FhirJson
) -> None:
    """Refuse names of nobody: a denial of an organisation that is none protects nothing."""
    named, issues = references_of(resource)
    papers = {(paper.type, paper.id) for paper in wish.papers}
    wanted = {p for p in named - papers if p[0] != "Patient" and parts.index.has_type(p[0])}
    found = await parts.repository.load(conn, wanted)
    for pair in sorted(named - papers):
        stored = found.get(pair)
        is_there = stored is not None and not stored.is_deleted
        is_own = stored is not None and stored.person_id == wish.person
        # To who asks in the patient's place, what is withheld is as what is not there.
        is_own = is_own and not (stored is not None and stored.label_mask & wish.withheld_mask)
        if pair[0] != "Patient" and not (is_there and (is_own or pair[0] in DIRECTORY)):
            text = f"expected each `{pair[0]}` it names to be of this record or of the directory"
            issues.append(Issue(text=text, code="not-found", expression=(CONSENT,)))
    if issues:
        raise HieError(Category.BUSINESS_RULE, issues[0].text, issues)


def require_allowed(
    parts: Parts, wish: Wish, placed: Placement, old: Stored | None, known: Known
) -> None:
    """Refuse what is not understood, and what a clerk may not do without an officer."""
    if wish.version is not None and old is not None and wish.version != old.version:
        text = "`If-Match` names a version that is not current; read it again"
        raise HieError(Category.STALE, text)
    if not parts.is_over(placed.resource):
        read = parts.reads(placed.id, 1, placed.resource)
        notes = parts.consent.law.settings.words.notes
        if issues := list(not_understood(placed.resource, read, notes)):
            raise HieError(Category.BUSINESS_RULE, issues[0].text, issues)
    require_within(parts, wish, placed, old)
    if old is None:
        return
    verified = (known.covers(old.id, old.resource), wish.is_trusted)
    may = parts.consent.may_replace
    if not may(old.source_id, old, placed.resource, verified=verified):
        raise HieError(Category.FORBIDDEN, _WIDENS)


def require_kept(parts: Parts, wish: Wish, placed: Placement, replaced: Iterable[Stored]) -> None:
    """Refuse a clerk's Consent that holds at once and denies less than those it replaces.

    One that waits takes nobody's place before a privacy officer verified it.

    Raises:
        HieError: FORBIDDEN.
    """
    if wish.is_trusted:
        return
    kept = denials(parts.reads(placed.id, 1, placed.resource))
    for old in replaced:
        if denials(parts.reads(old.id, old.version, old.resource)) - kept:
            raise HieError(Category.FORBIDDEN, _WIDENS, [Issue(text=_WIDENS, code="forbidden")])


def require_within(parts: Parts, wish: Wish, placed: Placement, old: Stored | None) -> None:
    """Refuse in the patient's place what would open what is kept from a proxy.

    `old`: what it is a new version of, or takes the place of.

    Raises:
        HieError: FORBIDDEN.
    """
    before = parts.reads(old.id, old.version, old.resource) if old else None
    _require_theirs(parts.reads(placed.id, 1, placed.resource), before, wish.withheld_mask)


def require_word(
    parts: Parts,
    stored: Stored,
    withheld_mask: int,
    *,
    is_verified: bool,
    replaced: Iterable[Stored] = (),
) -> None:
    """Refuse in the patient's place a word on what is hidden, or would open what is.

    `replaced`: the Consents whose place it takes once it is verified.

    Raises:
        HieError: NOT_FOUND, FORBIDDEN.
    """
    if stored.label_mask & withheld_mask:
        raise HieError(Category.NOT_FOUND, NO_SUCH)
    if is_verified:
        found = parts.reads(stored.id, stored.version, stored.resource)
        for old in (None, *replaced):
            before = parts.reads(old.id, old.version, old.resource) if old else None
            _require_theirs(found, before, withheld_mask)


def _require_theirs(new: Directive, old: Directive | None, withheld_mask: int) -> None:
    if widens_withheld(new, old, withheld_mask):
        text = (
            "in the patient's place a permit names `securityLabel`s, none of what the patient "
            "alone decides about, and no denial of that is taken back"
        )
        issue = Issue(text=text, code="forbidden", expression=("Consent.provision",))
        raise HieError(Category.FORBIDDEN, text, [issue])


def require_party(stored: Stored, wish: Wish) -> None:
    """Refuse what is not this party's to change.

    Staff act for the patient on a signed paper; the patient never for the privacy office.

    Raises:
        HieError: FORBIDDEN; NOT_FOUND for what is hidden from who asks in the patient's place.
    """
    if stored.label_mask & wish.withheld_mask:
        raise HieError(Category.NOT_FOUND, NO_SUCH)
    is_staff = not wish.actor.startswith("patient")
    is_own = is_patients_word(stored.source_id) or (
        is_staff and stored.source_id == OFFICE_PLACE and wish.is_trusted
    )
    if not is_own:
        raise HieError(Category.FORBIDDEN, _OTHERS, [Issue(text=_OTHERS, code="forbidden")])
