"""Values of the index as the JSON that staff are sent (pure).

Numbers of tasks and decisions have 63 bits, more than JavaScript can count: they are texts.
"""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

import orjson

from hie.audit.repository import Recorded, event_id
from hie.flow.corrections import Correction
from hie.flow.decisions import Batch, BatchItem, Done, Preview
from hie.flow.dossier import (
    CHOICES,
    DecisionShown,
    EventShown,
    PersonShown,
    QueueEntry,
    RecordShown,
    TaskShown,
    demographics_of,
    version_of,
)
from hie.kernel.clock import instant
from hie.kernel.fhir import FhirJson
from mpi.decide import PersonScore
from mpi.model import Candidate
from mpi.repository.decisions import PastDecision, PastLink
from mpi.repository.queue import QueuedTask
from mpi.waterfall import Explained, explained_record, waterfall
from mpi.words import Words

Json = dict[str, Any]


def dump(content: Any) -> bytes:
    """JSON; numbers of FHIR as they were written."""
    return orjson.dumps(content, default=_number)


def _number(value: Any) -> Any:
    if isinstance(value, Decimal):
        return orjson.Fragment(str(value))
    raise TypeError("expected a JSON value")


def task_line(entry: QueueEntry, now_us: int, words: Words) -> Json:
    """A task as the queue lists it."""
    proposed = _candidates(entry.candidates, words)
    return task_row(entry.task, now_us, words) | {"candidates": proposed}


def task_row(task: QueuedTask, now_us: int, words: Words) -> Json:
    """A task without what it proposes."""
    is_open = task.closed_us is None
    return {
        "id": str(task.id),
        "version": version_of(task),
        "kind": task.kind.value,
        "question": words.questions.get(task.kind.value, task.kind.value),
        "state": task.state.value,
        "priority": task.priority,
        "person": task.person_id,
        "record": task.record_id,
        "assignee": task.assignee,
        "opened_at": instant(task.opened_us),
        "due_at": instant(task.due_us),
        "is_overdue": is_open and task.due_us < now_us,
        "deferred_until": _time(task.deferred_us),
        "closed_at": _time(task.closed_us),
        "asked_by": _text(task.opened_by),
        "decided_by": _text(task.closed_by),
    }


def task(shown: TaskShown, now_us: int, words: Words) -> Json:
    """A task with both sides of its question."""
    entry = QueueEntry(task=shown.task, candidates=shown.candidates)
    return task_line(entry, now_us, words) | {
        "held": shown.held,
        "subject": person(shown.subject),
        "others": [
            person(other) | {"comparison": _comparison(shown.compared.get(other.id), words)}
            for other in shown.others
        ],
        "asked": decision(shown.asked, words) if shown.asked else None,
        "choices": [
            {"decision": c, "effect": words.choices.get(c, c)} for c in CHOICES[shown.task.kind]
        ],
        "history": [_event(event) for event in shown.events],
    }


def person(shown: PersonShown) -> Json:
    """A person with its records."""
    row = shown.row
    return {
        "id": shown.id,
        "status": row.status if row else "unknown",
        "created_at": instant(row.created_us) if row else None,
        "redirects_to": row.redirect_to if row else None,
        "ended_by": _text(row.ended_by) if row else None,
        "as_of": _time(shown.as_of_us),
        "golden": shown.golden,
        "origins": {place: list(records) for place, records in shown.origins.items()},
        "records": [record(each) for each in shown.records],
        "replaced": [{"id": each.id, "by": _text(each.ended_by)} for each in shown.replaced],
        "held_apart": [
            {"records": [a.record_a, a.record_b], "by": str(a.decision_id)} for a in shown.apart
        ],
        "disclosures": f"/staff/v1/mpi/persons/{shown.id}/disclosures",
    }


def record(shown: RecordShown) -> Json:
    """One source's record."""
    return {
        "id": shown.id,
        "source": shown.source_id,
        "version": shown.version or None,
        "updated_at": _time(shown.updated_us or None),
        "patient": shown.patient,
        "link": link(shown.link) if shown.link else None,
    }


def link(shown: PastLink) -> Json:
    """A record's belonging to a person, with its time."""
    return {
        "record": shown.record_id,
        "person": shown.person_id,
        "from": instant(shown.valid_from_us),
        "to": _time(shown.valid_to_us),
        "decided_by": str(shown.decision_id),
        "ended_by": _text(shown.closed_by),
        "state": shown.state,
        "bits": shown.bits,
        "grade": shown.grade,
        "model": shown.model_version,
    }


def past(row: PastDecision, words: Words) -> Json:
    """A decision without what is sealed of it."""
    return {
        "id": str(row.id),
        "at": instant(row.at_us),
        "kind": row.kind,
        "text": words.decisions.get(row.kind, row.kind),
        "actor": row.actor,
        "on_behalf_of": row.on_behalf_of,
        "reason": row.reason,
        "message": _text(row.message_id),
        "model": row.model_version,
        "batch": _text(row.batch_id),
        "takes_back": _text(row.inverse_of),
        "taken_back_by": [str(one) for one in row.inverses],
    }


def decision(shown: DecisionShown, words: Words) -> Json:
    """A decision with its explanation and the words of who decided."""
    return past(shown.decision, words) | {
        "words": shown.words or None,
        "explanation": _explanation(shown.explanation, words) if shown.explanation else None,
        "links": [link(each) for each in shown.links],
    }


def _explanation(content: FhirJson, words: Words) -> Json:
    """What the index kept of its reasons, each pair as a waterfall."""
    return {
        "model": content.get("model"),
        "outcome": content.get("outcome"),
        "reason": content.get("reason"),
        "persons": [
            {
                "person": each["person"],
                "bits": each["bits"],
                "mean": each["mean"],
                "vetoes": _vetoes(each["vetoes"], words),
                "found_by": content.get("keys", {}).get(each["person"]),
                "records": [_record_of(content, pair["record"], words) for pair in each["records"]],
            }
            for each in content.get("persons", ())
        ],
    }


def _record_of(content: FhirJson, record_id: str, words: Words) -> Json:
    """A record compared, out of an explanation."""
    explained = explained_record(content, record_id)
    if explained is None:
        return {"record": record_id}
    return {"record": record_id} | _waterfall(explained, words)


def _waterfall(explained: Explained, words: Words) -> Json:
    fall = waterfall(explained, words)
    return {
        "bits": round(explained.bits, 2),
        "rule": explained.rule or None,
        "vetoes": _vetoes(explained.vetoes, words),
        "not_compared": list(fall.missing),
        "waterfall": [
            {
                "step": bar.label,
                "text": bar.words,
                "code": bar.code,
                "bits": bar.bits,
                "total": bar.total,
            }
            for bar in fall.bars
        ],
    }


def _comparison(found: tuple[str, PersonScore] | None, words: Words) -> Json | None:
    """How a person compares with the subject by the model in use."""
    if found is None:
        return None
    own, score = found
    best = score.pairs[0]
    evidence = [(e.comparison, e.level, e.bits, e.term_bits) for e in best.score.evidence]
    explained = Explained(
        model="",
        prior_bits=best.score.bits - sum(bits + term for _, _, bits, term in evidence),
        bits=best.strength,
        evidence=evidence,
        rule=best.hit.id if best.hit else "",
        vetoes=[veto.value for veto in score.vetoes],
        outcome="",
        reason="",
    )
    told = {"record": own, "with_record": best.record_id, "mean": round(score.mean, 2)}
    return told | _waterfall(explained, words)


def done(what: Done, *, is_preview: bool = False) -> Json:
    """What a decision did, or would do: ids and numbers, nobody's data."""
    number = str(what.decision_id)
    return {
        "decision": None if is_preview else number,
        "kind": what.kind.value,
        "persons": list(what.persons),
        "moves": [
            {"record": m.source_record_id, "from": m.from_person, "to": m.to_person}
            for m in what.moves
        ],
        "resources": dict(what.resources),
        "left_where_they_are": {
            "records": list(what.kept),
            "resources": [f"{item.type}/{item.id}" for item in what.left],
        },
        "corrections": {
            "number": what.corrections,
            "address": None
            if is_preview or not what.corrections
            else f"/staff/v1/mpi/decisions/{number}/corrections",
        },
    }


def preview(what: Preview) -> Json:
    """What a decision would do, with the golden Patients before and after."""
    return done(what.done, is_preview=True) | {
        "before": _golden(what.before),
        "after": _golden(what.after),
    }


def batch(what: Batch, keys: Sequence[str]) -> Json:
    """What a batch did or would do, item by item; `keys` say which item is which."""
    items = [
        item(each, key, is_preview=not what.is_done)
        for each, key in zip(what.items, keys, strict=True)
    ]
    return {
        "batch": str(what.batch_id) if what.is_done else None,
        "is_done": what.is_done,
        "items": items,
        "done": sum(1 for each in what.items if each.done),
        "refused": sum(1 for each in what.items if not each.done),
    }


def item(what: BatchItem, key: str, *, is_preview: bool) -> Json:
    """What became of one item of a batch."""
    told: Json = {"item": key, "refused": what.error or None}
    return told | ({"done": done(what.done, is_preview=is_preview)} if what.done else {})


def disclosure(row: Recorded) -> Json:
    """Who saw or changed a person's record."""
    known = row.record
    return {
        "id": event_id(row.pk),
        "at": instant(known.recorded_us),
        "action": known.action,
        "what": known.subtype,
        "outcome": known.outcome,
        "organization": known.organization,
        "user": known.user,
        "purpose": known.purpose or None,
        "resource": "/".join(p for p in (known.resource_type, known.resource_id) if p) or None,
    }


def correction(row: Correction) -> Json:
    """A disclosure that showed two humans as one, and what of each."""
    return {
        "id": str(row.id),
        "event": row.event,
        "at": instant(row.at_us),
        "person": row.person,
        "organization": row.organization,
        "user": row.user,
        "purpose": row.purpose or None,
        "request": row.request_id or None,
        "interaction": row.interaction,
        "is_known": row.is_known,
        "showed_moved": dict(row.moved.counts),
        "showed_stayed": dict(row.stayed.counts),
        "resources": [*row.moved.resources, *row.stayed.resources],
        "told_at": _time(row.notified_us),
        "told_by": row.notified_by,
    }


def _golden(persons: Mapping[Any, FhirJson | None]) -> Json:
    return {
        person: demographics_of(patient) if patient else None for person, patient in persons.items()
    }


def _candidates(proposed: Iterable[Candidate], words: Words) -> list[Json]:
    return [
        {
            "person": c.person_id,
            "bits": c.bits,
            "grade": c.grade.value,
            "vetoes": _vetoes([veto.value for veto in c.vetoes], words),
        }
        for c in proposed
    ]


def _vetoes(codes: Iterable[str], words: Words) -> list[Json]:
    return [{"code": code, "text": words.reason(code)} for code in codes]


def _event(event: EventShown) -> Json:
    told = {"at": instant(event.at_us), "action": event.action, "actor": event.actor}
    return told | {"note": event.note or None}


def moment(at_us: int) -> str:
    """A time as it is sent."""
    return instant(at_us)


def _time(at_us: int | None) -> str | None:
    return None if at_us is None else instant(at_us)


def _text(number: int | None) -> str | None:
    return None if number is None else str(number)
