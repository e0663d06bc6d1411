"""The shapes of answers (OpenAPI 3.1): what `hie.staff.render` makes."""

from typing import Final

from hie.staff.privacy import schemas as privacy
from hie.staff.shapes import (
    ANY,
    FLAG,
    MAYBE,
    MAYBE_NUMBER,
    MAYBE_REAL,
    MAYBE_TIME,
    NEXT,
    NUMBER,
    REAL,
    TEXT,
    TIME,
    WHOLE,
    Schema,
    many,
    mapped,
    maybe,
    of,
    ref,
    some,
)

_ROW: Final[dict[str, Schema]] = {
    "id": NUMBER,
    "version": {**TEXT, "description": "for `If-Match`, in quotes"},
    "kind": TEXT,
    "question": {**TEXT, "description": "what is asked, in words"},
    "state": {"enum": ["open", "claimed", "closed"]},
    "priority": {**WHOLE, "description": "1 is the most urgent"},
    "person": TEXT,
    "record": MAYBE,
    "assignee": MAYBE,
    "opened_at": TIME,
    "due_at": TIME,
    "is_overdue": FLAG,
    "deferred_until": MAYBE_TIME,
    "closed_at": MAYBE_TIME,
    "asked_by": MAYBE_NUMBER,
    "decided_by": MAYBE_NUMBER,
}
_PERSON: Final[dict[str, Schema]] = {
    "id": TEXT,
    "status": {"enum": ["active", "merged", "retired", "unknown"]},
    "created_at": MAYBE_TIME,
    "redirects_to": MAYBE,
    "ended_by": MAYBE_NUMBER,
    "as_of": MAYBE_TIME,
    "golden": {**ANY, "description": "demographic elements of the golden FHIR Patient"},
    "origins": {
        **mapped(many(TEXT)),
        "description": "per golden value, the records that hold it",
    },
    "records": many(ref("Record")),
    "replaced": many(of(id=TEXT, by=MAYBE_NUMBER)),
    "held_apart": many(of(records=many(TEXT), by=NUMBER)),
    "disclosures": TEXT,
}
_DECISION: Final[dict[str, Schema]] = {
    "id": NUMBER,
    "at": TIME,
    "kind": TEXT,
    "text": TEXT,
    "actor": TEXT,
    "on_behalf_of": MAYBE,
    "reason": TEXT,
    "message": MAYBE_NUMBER,
    "model": MAYBE,
    "batch": MAYBE_NUMBER,
    "takes_back": MAYBE_NUMBER,
    "taken_back_by": many(NUMBER),
}
_DONE: Final[dict[str, Schema]] = {
    "decision": {**MAYBE_NUMBER, "description": "what to take back to undo it"},
    "kind": TEXT,
    "persons": many(TEXT),
    "moves": many(of(record=TEXT, **{"from": TEXT, "to": TEXT})),
    "resources": {**mapped(WHOLE), "description": "how many followed, by type"},
    "left_where_they_are": of(
        "touched since by something later", records=many(TEXT), resources=many(TEXT)
    ),
    "corrections": of("disclosures that showed as one what is two", number=WHOLE, address=MAYBE),
}
_BATCH: Final[dict[str, Schema]] = {
    "batch": MAYBE_NUMBER,
    "is_done": FLAG,
    "items": many(
        some(
            "one item",
            {
                "item": TEXT,
                "refused": MAYBE,
                "done": ref("Done"),
                "task": NUMBER,
                "version": TEXT,
                "bits": REAL,
            },
            ("item", "refused"),
        )
    ),
    "done": WHOLE,
    "refused": WHOLE,
}
_RATES: Final[dict[str, Schema]] = {
    "number": WHOLE,
    "auto_rate": REAL,
    "review_rate": REAL,
    "new_rate": REAL,
}
_VETO: Final = of(code=TEXT, text=TEXT)
SCHEMAS: Final[dict[str, Schema]] = {
    "Problem": some(
        "what went wrong and what to do (RFC 9457)",
        {
            "type": TEXT,
            "title": TEXT,
            "status": WHOLE,
            "detail": TEXT,
            "remedy": TEXT,
            "request_id": TEXT,
            "errors": many(
                some(
                    "one fault",
                    {"pointer": TEXT, "code": TEXT, "detail": TEXT},
                    ("code", "detail"),
                )
            ),
        },
        ("type", "title", "status", "detail", "request_id"),
    ),
    "Veto": _VETO,
    "Candidate": of(person=TEXT, bits=REAL, grade=TEXT, vetoes=many(ref("Veto"))),
    "TaskRow": of("a task", **_ROW),
    "TaskLine": of("a task in the queue", **_ROW, candidates=many(ref("Candidate"))),
    "TaskPage": of(tasks=many(ref("TaskLine")), next=NEXT),
    "TaskCounts": of(
        open=WHOLE,
        groups=many(
            of(
                kind=TEXT,
                priority=WHOLE,
                open=WHOLE,
                claimed=WHOLE,
                overdue=WHOLE,
                deferred=WHOLE,
                oldest_at=TIME,
            )
        ),
    ),
    "Step": of("one step of a waterfall", step=TEXT, text=TEXT, code=TEXT, bits=REAL, total=REAL),
    "Comparison": of(
        "the two records that fit best, by the model in use",
        record=TEXT,
        with_record=TEXT,
        bits=REAL,
        mean=REAL,
        vetoes=many(ref("Veto")),
        rule=MAYBE,
        not_compared=many(TEXT),
        waterfall=many(ref("Step")),
    ),
    "Link": of(
        record=TEXT,
        person=TEXT,
        **{"from": TIME, "to": MAYBE_TIME},
        decided_by=NUMBER,
        ended_by=MAYBE_NUMBER,
        state=TEXT,
        bits=MAYBE_REAL,
        grade=MAYBE,
        model=MAYBE,
    ),
    "Record": of(
        "one source's record",
        id=TEXT,
        source=TEXT,
        version=MAYBE,
        updated_at=MAYBE_TIME,
        patient={**ANY, "description": "demographic elements of the FHIR Patient"},
        link=maybe("Link"),
    ),
    "RecordHistory": {
        "allOf": [ref("Record"), of(history=many(ref("Link")))],
    },
    "Person": of("a person with its records", **_PERSON),
    "ComparedPerson": {"allOf": [ref("Person"), of(comparison=maybe("Comparison"))]},
    "Persons": of(persons=many(ref("Person"))),
    "DecisionRow": of("a decision", **_DECISION),
    "DecisionPage": of(decisions=many(ref("DecisionRow")), next=NEXT),
    "Decision": of(
        "a decision with what is sealed of it",
        **_DECISION,
        words=MAYBE,
        explanation={"type": ["object", "null"]},
        links=many(ref("Link")),
    ),
    "Task": of(
        "a task with both sides of its question",
        **_ROW,
        candidates=many(ref("Candidate")),
        held={"type": ["object", "null"], "description": "what an overlay holds back"},
        subject=ref("Person"),
        others=many(ref("ComparedPerson")),
        asked=maybe("Decision"),
        choices=many(of(decision=TEXT, effect=TEXT)),
        history=many(of(at=TIME, action=TEXT, actor=TEXT, note=MAYBE)),
    ),
    "Done": of("what a decision did", **_DONE),
    "Preview": {
        "description": "what a decision would do; several rejections are listed item by item",
        "oneOf": [
            of(**_DONE, before=mapped({}), after=mapped({})),
            ref("Batch"),
        ],
    },
    "Batch": of("what a batch did", **_BATCH),
    "BatchPreview": some("what a batch would do", _BATCH, ("items", "done", "refused")),
    "BatchRun": of(
        "how far a batch is",
        id=TEXT,
        state={"enum": ["running", "done", "failed"]},
        total=WHOLE,
        done=WHOLE,
        refused=WHOLE,
        error=MAYBE,
        result={"type": ["object", "null"]},
    ),
    "DisclosurePage": of(
        disclosures=many(
            of(
                id=TEXT,
                at=TIME,
                action=TEXT,
                what=TEXT,
                outcome=TEXT,
                organization=MAYBE,
                user=MAYBE,
                purpose=MAYBE,
                resource=MAYBE,
            )
        ),
        next=NEXT,
    ),
    "Uncorrected": of(decisions=many(of(decision=NUMBER, waiting=WHOLE))),
    "Unreviewed": of(decisions=many(NUMBER), next=NEXT),
    "Corrected": of(told={**WHOLE, "description": "how many were still waiting"}),
    "Corrections": of(
        corrections=many(
            of(
                "a disclosure that showed two humans as one",
                id=NUMBER,
                event=TEXT,
                at=TIME,
                person=TEXT,
                organization=MAYBE,
                user=MAYBE,
                purpose=MAYBE,
                request=MAYBE,
                interaction=TEXT,
                is_known=FLAG,
                showed_moved=mapped(WHOLE),
                showed_stayed=mapped(WHOLE),
                resources=many(TEXT),
                told_at=MAYBE_TIME,
                told_by=MAYBE,
            )
        )
    ),
    "Metrics": of(
        at=TIME,
        duplicates=of(
            rate=REAL,
            definition=TEXT,
            records=WHOLE,
            persons=WHOLE,
            pairs=WHOLE,
            records_in_pairs=WHOLE,
            persons_in_pairs=WHOLE,
        ),
        queue=of(
            open=WHOLE,
            claimed=WHOLE,
            overdue=WHOLE,
            deferred=WHOLE,
            age_seconds=mapped(of(open=WHOLE, p50=REAL, p90=REAL, oldest=REAL)),
        ),
        windows=many(
            of(
                days=WHOLE,
                new_records=of(**_RATES, by_source=mapped(of(**_RATES))),
                decisions=mapped(WHOLE),
                answered_tasks=WHOLE,
                answer_seconds=of(p50=REAL, p90=REAL),
                undo_rate=REAL,
            )
        ),
        full_keys=many(of(kind=TEXT, keys=WHOLE, refused_records=WHOLE)),
        drift=many(
            of(
                "levels of the newest automatic links beside the model's m",
                comparison=TEXT,
                links=WHOLE,
                index={**REAL, "description": "population stability index"},
                levels=many(of(level=TEXT, seen=REAL, expected=REAL)),
            )
        ),
    ),
    "Model": of(
        version=TEXT,
        content_hash=TEXT,
        active_from=TIME,
        trained_on=MAYBE,
        metrics=MAYBE,
    ),
    **privacy.SCHEMAS,
}
