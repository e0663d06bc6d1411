"""The shapes of answers, as JSON Schema 2020-12 (OpenAPI 3.1): what `hie.staff.render` makes."""

from typing import Any, Final

Schema = dict[str, Any]
_TEXT: Final[Schema] = {"type": "string"}
_MAYBE: Final[Schema] = {"type": ["string", "null"]}
_TIME: Final[Schema] = {"type": "string", "format": "date-time"}
_MAYBE_TIME: Final[Schema] = {"type": ["string", "null"], "format": "date-time"}
_WHOLE: Final[Schema] = {"type": "integer"}
_REAL: Final[Schema] = {"type": "number"}
_MAYBE_REAL: Final[Schema] = {"type": ["number", "null"]}
_FLAG: Final[Schema] = {"type": "boolean"}
_NUMBER: Final[Schema] = {
    "type": "string",
    "pattern": "^[0-9]{1,19}$",
    "description": "a number of the hub, as text: it has more digits than JavaScript counts",
}
_MAYBE_NUMBER: Final[Schema] = {"type": ["string", "null"], "pattern": "^[0-9]{1,19}$"}
_ANY: Final[Schema] = {"type": "object", "additionalProperties": True}
_NEXT: Final[Schema] = {
    "type": ["string", "null"],
    "description": "address of the next page; null on the last",
}


def _object(text: str = "", /, **members: Schema) -> Schema:
    """An object of which every member is always there."""
    about = {"description": text} if text else {}
    return {"type": "object", **about, "properties": members, "required": sorted(members)}


def _some(text: str, members: dict[str, Schema], needed: tuple[str, ...]) -> Schema:
    """An object of which some members may be missing."""
    return {
        "type": "object",
        "description": text,
        "properties": members,
        "required": sorted(needed),
    }


def _list(of: Schema) -> Schema:
    return {"type": "array", "items": of}


def _map(of: Schema) -> Schema:
    return {"type": "object", "additionalProperties": of}


def ref(name: str) -> Schema:
    """A reference to a schema of the document."""
    return {"$ref": f"#/components/schemas/{name}"}


def _maybe(name: str) -> Schema:
    return {"oneOf": [ref(name), {"type": "null"}]}


_ROW: Final[dict[str, Schema]] = {
    "id": _NUMBER,
    "version": {**_TEXT, "description": "for `If-Match`, in quotes"},
    "kind": _TEXT,
    "question": {**_TEXT, "description": "what is asked, in words"},
    "state": {"enum": ["open", "claimed", "closed"]},
    "priority": {**_WHOLE, "description": "1 is the most urgent"},
    "person": _TEXT,
    "record": _MAYBE,
    "assignee": _MAYBE,
    "opened_at": _TIME,
    "due_at": _TIME,
    "is_overdue": _FLAG,
    "deferred_until": _MAYBE_TIME,
    "closed_at": _MAYBE_TIME,
    "asked_by": _MAYBE_NUMBER,
    "decided_by": _MAYBE_NUMBER,
}
_PERSON: Final[dict[str, Schema]] = {
    "id": _TEXT,
    "status": {"enum": ["active", "merged", "retired", "unknown"]},
    "created_at": _MAYBE_TIME,
    "redirects_to": _MAYBE,
    "ended_by": _MAYBE_NUMBER,
    "as_of": _MAYBE_TIME,
    "golden": {**_ANY, "description": "demographic elements of the golden FHIR Patient"},
    "origins": {
        **_map(_list(_TEXT)),
        "description": "per golden value, the records that hold it",
    },
    "records": _list(ref("Record")),
    "replaced": _list(_object(id=_TEXT, by=_MAYBE_NUMBER)),
    "held_apart": _list(_object(records=_list(_TEXT), by=_NUMBER)),
    "disclosures": _TEXT,
}
_DECISION: Final[dict[str, Schema]] = {
    "id": _NUMBER,
    "at": _TIME,
    "kind": _TEXT,
    "text": _TEXT,
    "actor": _TEXT,
    "on_behalf_of": _MAYBE,
    "reason": _TEXT,
    "message": _MAYBE_NUMBER,
    "model": _MAYBE,
    "batch": _MAYBE_NUMBER,
    "takes_back": _MAYBE_NUMBER,
    "taken_back_by": _list(_NUMBER),
}
_DONE: Final[dict[str, Schema]] = {
    "decision": {**_MAYBE_NUMBER, "description": "what to take back to undo it"},
    "kind": _TEXT,
    "persons": _list(_TEXT),
    "moves": _list(_object(record=_TEXT, **{"from": _TEXT, "to": _TEXT})),
    "resources": {**_map(_WHOLE), "description": "how many followed, by type"},
    "left_where_they_are": _object(
        "touched since by something later", records=_list(_TEXT), resources=_list(_TEXT)
    ),
    "corrections": _object(
        "disclosures that showed as one what is two", number=_WHOLE, address=_MAYBE
    ),
}
_BATCH: Final[dict[str, Schema]] = {
    "batch": _MAYBE_NUMBER,
    "is_done": _FLAG,
    "items": _list(
        _some(
            "one item",
            {
                "item": _TEXT,
                "refused": _MAYBE,
                "done": ref("Done"),
                "task": _NUMBER,
                "version": _TEXT,
                "bits": _REAL,
            },
            ("item", "refused"),
        )
    ),
    "done": _WHOLE,
    "refused": _WHOLE,
}
_RATES: Final[dict[str, Schema]] = {
    "number": _WHOLE,
    "auto_rate": _REAL,
    "review_rate": _REAL,
    "new_rate": _REAL,
}
_VETO: Final = _object(code=_TEXT, text=_TEXT)
SCHEMAS: Final[dict[str, Schema]] = {
    "Problem": _some(
        "what went wrong and what to do (RFC 9457)",
        {
            "type": _TEXT,
            "title": _TEXT,
            "status": _WHOLE,
            "detail": _TEXT,
            "remedy": _TEXT,
            "request_id": _TEXT,
            "errors": _list(
                _some(
                    "one fault",
                    {"pointer": _TEXT, "code": _TEXT, "detail": _TEXT},
                    ("code", "detail"),
                )
            ),
        },
        ("type", "title", "status", "detail", "request_id"),
    ),
    "Veto": _VETO,
    "Candidate": _object(person=_TEXT, bits=_REAL, grade=_TEXT, vetoes=_list(ref("Veto"))),
    "TaskRow": _object("a task", **_ROW),
    "TaskLine": _object("a task in the queue", **_ROW, candidates=_list(ref("Candidate"))),
    "TaskPage": _object(tasks=_list(ref("TaskLine")), next=_NEXT),
    "TaskCounts": _object(
        open=_WHOLE,
        groups=_list(
            _object(
                kind=_TEXT,
                priority=_WHOLE,
                open=_WHOLE,
                claimed=_WHOLE,
                overdue=_WHOLE,
                deferred=_WHOLE,
                oldest_at=_TIME,
            )
        ),
    ),
    "Step": _object(
        "one step of a waterfall", step=_TEXT, text=_TEXT, code=_TEXT, bits=_REAL, total=_REAL
    ),
    "Comparison": _object(
        "the two records that fit best, by the model in use",
        record=_TEXT,
        with_record=_TEXT,
        bits=_REAL,
        mean=_REAL,
        vetoes=_list(ref("Veto")),
        rule=_MAYBE,
        not_compared=_list(_TEXT),
        waterfall=_list(ref("Step")),
    ),
    "Link": _object(
        record=_TEXT,
        person=_TEXT,
        **{"from": _TIME, "to": _MAYBE_TIME},
        decided_by=_NUMBER,
        ended_by=_MAYBE_NUMBER,
        state=_TEXT,
        bits=_MAYBE_REAL,
        grade=_MAYBE,
        model=_MAYBE,
    ),
    "Record": _object(
        "one source's record",
        id=_TEXT,
        source=_TEXT,
        version=_MAYBE,
        updated_at=_MAYBE_TIME,
        patient={**_ANY, "description": "demographic elements of the FHIR Patient"},
        link=_maybe("Link"),
    ),
    "RecordHistory": {
        "allOf": [ref("Record"), _object(history=_list(ref("Link")))],
    },
    "Person": _object("a person with its records", **_PERSON),
    "ComparedPerson": {"allOf": [ref("Person"), _object(comparison=_maybe("Comparison"))]},
    "Persons": _object(persons=_list(ref("Person"))),
    "DecisionRow": _object("a decision", **_DECISION),
    "DecisionPage": _object(decisions=_list(ref("DecisionRow")), next=_NEXT),
    "Decision": _object(
        "a decision with what is sealed of it",
        **_DECISION,
        words=_MAYBE,
        explanation={"type": ["object", "null"]},
        links=_list(ref("Link")),
    ),
    "Task": _object(
        "a task with both sides of its question",
        **_ROW,
        candidates=_list(ref("Candidate")),
        held={"type": ["object", "null"], "description": "what an overlay holds back"},
        subject=ref("Person"),
        others=_list(ref("ComparedPerson")),
        asked=_maybe("Decision"),
        choices=_list(_object(decision=_TEXT, effect=_TEXT)),
        history=_list(_object(at=_TIME, action=_TEXT, actor=_TEXT, note=_MAYBE)),
    ),
    "Done": _object("what a decision did", **_DONE),
    "Preview": {
        "description": "what a decision would do; several rejections are listed item by item",
        "oneOf": [
            _object(**_DONE, before=_map({}), after=_map({})),
            ref("Batch"),
        ],
    },
    "Batch": _object("what a batch did", **_BATCH),
    "BatchPreview": _some("what a batch would do", _BATCH, ("items", "done", "refused")),
    "BatchRun": _object(
        "how far a batch is",
        id=_TEXT,
        state={"enum": ["running", "done", "failed"]},
        total=_WHOLE,
        done=_WHOLE,
        refused=_WHOLE,
        error=_MAYBE,
        result={"type": ["object", "null"]},
    ),
    "DisclosurePage": _object(
        disclosures=_list(
            _object(
                id=_TEXT,
                at=_TIME,
                action=_TEXT,
                what=_TEXT,
                outcome=_TEXT,
                organization=_MAYBE,
                user=_MAYBE,
                purpose=_MAYBE,
                resource=_MAYBE,
            )
        ),
        next=_NEXT,
    ),
    "Uncorrected": _object(decisions=_list(_object(decision=_NUMBER, waiting=_WHOLE))),
    "Unreviewed": _object(decisions=_list(_NUMBER), next=_NEXT),
    "Corrected": _object(told={**_WHOLE, "description": "how many were still waiting"}),
    "Corrections": _object(
        corrections=_list(
            _object(
                "a disclosure that showed two humans as one",
                id=_NUMBER,
                event=_TEXT,
                at=_TIME,
                person=_TEXT,
                organization=_MAYBE,
                user=_MAYBE,
                purpose=_MAYBE,
                request=_MAYBE,
                interaction=_TEXT,
                is_known=_FLAG,
                showed_moved=_map(_WHOLE),
                showed_stayed=_map(_WHOLE),
                resources=_list(_TEXT),
                told_at=_MAYBE_TIME,
                told_by=_MAYBE,
            )
        )
    ),
    "Metrics": _object(
        at=_TIME,
        duplicates=_object(
            rate=_REAL,
            definition=_TEXT,
            records=_WHOLE,
            persons=_WHOLE,
            pairs=_WHOLE,
            records_in_pairs=_WHOLE,
            persons_in_pairs=_WHOLE,
        ),
        queue=_object(
            open=_WHOLE,
            claimed=_WHOLE,
            overdue=_WHOLE,
            deferred=_WHOLE,
            age_seconds=_map(_object(open=_WHOLE, p50=_REAL, p90=_REAL, oldest=_REAL)),
        ),
        windows=_list(
            _object(
                days=_WHOLE,
                new_records=_object(**_RATES, by_source=_map(_object(**_RATES))),
                decisions=_map(_WHOLE),
                answered_tasks=_WHOLE,
                answer_seconds=_object(p50=_REAL, p90=_REAL),
                undo_rate=_REAL,
            )
        ),
        full_keys=_list(_object(kind=_TEXT, keys=_WHOLE, refused_records=_WHOLE)),
        drift=_list(
            _object(
                "levels of the newest automatic links beside the model's m",
                comparison=_TEXT,
                links=_WHOLE,
                index={**_REAL, "description": "population stability index"},
                levels=_list(_object(level=_TEXT, seen=_REAL, expected=_REAL)),
            )
        ),
    ),
    "Model": _object(
        version=_TEXT,
        content_hash=_TEXT,
        active_from=_TIME,
        trained_on=_MAYBE,
        metrics=_MAYBE,
    ),
}
