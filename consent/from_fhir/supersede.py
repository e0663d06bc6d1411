"""Which Consents another one takes the place of (pure).

R4 has no element for it: `sourceReference` is the paper a Consent was made from, and the
extension `replaces` is for definitions. So it is said by an extension of the hub's own, once for
each Consent whose place is taken:

    {"url": "urn:hie:extension:supersedes", "valueReference": {"reference": "Consent/<id>"}}
"""

from typing import Final

from consent.from_fhir.moments import span
from consent.from_fhir.provision import Directory, dicts
from consent.regime import ConsentSettings
from consent.supersede import Claim
from hie.kernel.fhir import FhirJson

SUPERSEDES: Final = "urn:hie:extension:supersedes"


def claims_of(
    consent: FhirJson,
    *,
    consent_id: str,
    may_widen: bool,
    settings: ConsentSettings,
    directory: Directory,
) -> tuple[Claim, ...]:
    """What a Consent says of others; nothing where it never was in effect.

    Args:
        consent: R4 or R5-shaped.
        consent_id: its id.
        may_widen: whether the patient, or who speaks for them, verified it.
        settings: the meaning of its status.
        directory: who its references mean.
    """
    status = settings.vocabulary.terms["status"].get(str(consent.get("status")))
    if status not in ("active", "ended") or consent.get("modifierExtension"):
        return ()
    root = consent.get("provision")
    inner = root.get("period") if isinstance(root, dict) else None
    zone = settings.regime.time_zone
    period = span(inner, zone).within(span(consent.get("period"), zone))
    found = []
    for extension in dicts(consent.get("extension")):
        reference = extension.get("valueReference")
        if extension.get("url") == SUPERSEDES and isinstance(reference, dict):
            named = directory.grantee({"type": "Consent", **reference}) or ""
            kind, _, other = named.partition("/")
            if kind == "Consent" and other != consent_id:
                found.append(
                    Claim(
                        by=consent_id,
                        of=other,
                        is_standing=status == "active",
                        may_widen=may_widen and not period.note,
                        since_us=period.lo_us,
                    )
                )
    return tuple(found)
