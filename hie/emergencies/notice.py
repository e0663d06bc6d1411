"""What the patient is told of an emergency access: a FHIR Communication in plain words (pure)."""

from collections.abc import Callable
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from hie.emergencies.model import Emergency
from hie.emergencies.policy import EmergencyPolicy
from hie.kernel.clock import instant
from hie.kernel.fhir import FhirJson

_CATEGORY = "http://terminology.hl7.org/CodeSystem/communication-category"


def notice_of(
    found: Emergency,
    policy: EmergencyPolicy,
    *,
    patient: str,
    name_of: Callable[[str], str],
    zone: ZoneInfo,
    is_neutral: bool,
) -> FhirJson:
    """Who opened the record, when, until when, and why.

    Args:
        found: an access that was opened.
        policy: the words.
        patient: the id by which the reader knows the patient.
        name_of: the name of an organisation.
        zone: of the times written out.
        is_neutral: the reason is not told: the reader stands in for the patient.
    """
    cause = policy.causes.get(found.code)
    is_told = cause is not None and not is_neutral
    organization = name_of(found.organization)
    text = policy.notice["text"].format(
        at=_written(found.opened_us or found.asked_us, zone),
        until=_written(found.end_at(found.expires_us or found.asked_us), zone),
        user=found.user or policy.notice["unnamed"],
        organization=organization,
        why=cause.patient if cause and is_told else policy.notice["neutral"],
    )
    reference = f"Patient/{patient}"
    notice: FhirJson = {
        "resourceType": "Communication",
        "id": f"emergency-{found.id:016x}",
        "status": "completed",
        "category": [{"coding": [{"system": _CATEGORY, "code": "notification"}]}],
        "priority": "urgent",
        "subject": {"reference": reference},
        "topic": {"text": policy.notice["subject"]},
        "sent": instant(found.notice_us or found.asked_us),
        "recipient": [{"reference": reference}],
        "sender": {
            "reference": f"Organization/{found.organization}",
            "display": organization,
        },
        "payload": [{"contentString": text}],
    }
    if cause and is_told:
        coding = {"system": policy.system, "code": cause.code}
        notice["reasonCode"] = [{"coding": [coding], "text": cause.patient}]
    return notice


def _written(at_us: int, zone: ZoneInfo) -> str:
    moment = datetime.fromtimestamp(at_us / 1_000_000, UTC).astimezone(zone)
    return f"{moment:%B} {moment.day}, {moment:%Y at %H:%M}"
