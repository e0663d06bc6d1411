"""Forms and Consents as the JSON that staff are sent (pure)."""

from typing import Any

from hie.consents.forms import Form
from hie.consents.model import is_patients_word
from hie.flow.consent_list import Shown
from hie.flow.consent_rules import Kept
from hie.kernel.clock import instant
from hie.staff.model import Answer
from hie.store.origins import VersionOrigin


def form_told(form: Form) -> dict[str, Any]:
    """A form: what is filled in, what it means."""
    return {
        "name": form.name,
        "title": form.title,
        "about": form.about,
        "effect": form.effect,
        "purposes": [*form.purposes],
        "labels": [*form.labels],
        "fields": [
            {
                "name": each.name,
                "kind": each.kind,
                "text": each.text,
                "required": each.is_required,
                "choices": [*each.choices],
            }
            for each in form.fields
        ],
    }


def kept_told(kept: Kept) -> Answer:
    """What became of a Consent that was brought."""
    content = {"id": kept.consent_id, "version": kept.version, "standing": kept.standing.value}
    return Answer(content=content)


def shown_told(shown: Shown) -> dict[str, Any]:
    """A Consent with what it comes to."""
    start, end = shown.period
    return {
        "id": shown.stored.id,
        "person": shown.stored.person_id,
        "record": shown.stored.source_record_id,
        "version": shown.stored.version,
        "updated": instant(shown.updated_us),
        "status": str(shown.stored.resource.get("status", "")),
        "standing": shown.standing,
        "why": shown.why,
        "recorded_by": shown.recorded_by,
        "said": [*shown.said],
        "start": start or None,
        "end": end or None,
        "supersedes": [*shown.supersedes],
        "acts": [
            {
                "act": each.act.value,
                "version": each.version,
                "at": instant(each.at_us),
                "actor": each.actor,
                "note": dict(each.note),
            }
            for each in shown.acts
        ],
        "receipts": [
            {
                "version": each.version,
                "made": None if each.made_us is None else instant(each.made_us),
                "document": each.document_id,
                "sha256": each.sha256,
            }
            for each in shown.receipts
        ],
    }


def version_told(version: VersionOrigin) -> dict[str, Any]:
    """When a version came, and from whom."""
    is_word = is_patients_word(version.source_id)
    return {
        "version": version.version,
        "at": instant(version.last_updated_us),
        "recorded_by": "patient" if is_word else version.source_id.removeprefix("hie:"),
    }
