"""The shapes of what is told of emergency accesses."""

from typing import Final

from hie.staff.shapes import (
    FLAG,
    MAYBE,
    MAYBE_NUMBER,
    MAYBE_TIME,
    NEXT,
    NUMBER,
    TEXT,
    TIME,
    WHOLE,
    Schema,
    many,
    mapped,
    maybe,
    of,
    ref,
)

_ROW: Final[dict[str, Schema]] = {
    "id": NUMBER,
    "state": {"enum": ["asked", "open", "ended"]},
    "person": TEXT,
    "organization": TEXT,
    "organization_name": MAYBE,
    "user": TEXT,
    "token": {**TEXT, "description": "as audit events name it"},
    "factors": {**many(TEXT), "description": "how the user had signed in (RFC 8176)"},
    "code": TEXT,
    "reason": {**TEXT, "description": "what the code stands for"},
    "asked_at": TIME,
    "opened_at": MAYBE_TIME,
    "expires_at": MAYBE_TIME,
    "ended_at": MAYBE_TIME,
    "ended_by": {
        **MAYBE,
        "description": "`user`, `staff`, `merge`; null while it runs, or by its time",
    },
    "notice_at": {**MAYBE_TIME, "description": "from when on the patient is told"},
    "task": MAYBE_NUMBER,
    "verdict": {"enum": ["justified", "not-justified", None]},
    "reviewed_at": MAYBE_TIME,
    "reviewed_by": MAYBE,
}

SCHEMAS: Final[dict[str, Schema]] = {
    "EmergencyRow": of("an emergency access", **_ROW),
    "EmergencyPage": of(emergencies=many(ref("EmergencyRow")), next=NEXT),
    "EmergencySuspension": of(
        "a user who may break no glass until it is lifted",
        id=NUMBER,
        organization=TEXT,
        organization_name=MAYBE,
        user=TEXT,
        since=TIME,
        by=TEXT,
        emergency=NUMBER,
        lifted_at=MAYBE_TIME,
        lifted_by=MAYBE,
    ),
    "EmergencySuspensions": of(suspensions=many(ref("EmergencySuspension"))),
    "Emergency": of(
        "an emergency access, what was seen and what was done about it",
        **_ROW,
        words={**TEXT, "description": "the reason in the user's words"},
        seen=of(
            "of the person, while it was open: types and numbers, by the audit trail",
            requests=WHOLE,
            resources=mapped(WHOLE),
            is_cut=FLAG,
        ),
        history=many(of(at=TIME, action=TEXT, actor=TEXT, note=MAYBE)),
        suspension=maybe("EmergencySuspension"),
    ),
}
