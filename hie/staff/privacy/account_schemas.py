"""The shapes of what the trail and accountings answer; names as in their routes."""

from typing import Final

from hie.staff.shapes import FLAG, MAYBE, NEXT, TEXT, TIME, WHOLE, Schema, many, of

SCHEMAS: Final[dict[str, Schema]] = {
    "EventPage": of(
        events=many(
            of(
                "one thing that was done or refused",
                id=TEXT,
                at=TIME,
                action=TEXT,
                what=TEXT,
                outcome=TEXT,
                person=MAYBE,
                organization=MAYBE,
                user=MAYBE,
                purpose=MAYBE,
                resource=MAYBE,
                reason=MAYBE,
                consents=many(TEXT),
                sentence={**TEXT, "description": "the same in plain words"},
                erased={**FLAG, "description": "the person's key was destroyed; little is left"},
            )
        ),
        next=NEXT,
    ),
    "Accounting": of(
        form=TEXT,
        title=TEXT,
        law=TEXT,
        person=TEXT,
        made=TIME,
        since=TIME,
        until=TIME,
        due={**TIME, "description": "when it is to be given at the latest, were it asked for now"},
        lines=many(
            of(
                first=TIME,
                last=TIME,
                number=WHOLE,
                recipient=TEXT,
                address=TEXT,
                person=TEXT,
                purpose=TEXT,
                kinds=many(TEXT),
                relied_on=TEXT,
                emergency=FLAG,
            )
        ),
    ),
    "AccountingFile": of(
        name=TEXT, media_type=TEXT, content={**TEXT, "description": "the file in base64"}
    ),
}
