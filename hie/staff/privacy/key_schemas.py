"""The shapes of what is answered about keys and erasures."""

from typing import Final

from hie.staff.shapes import FLAG, MAYBE_TIME, TEXT, WHOLE, Schema, many, mapped, of

SCHEMAS: Final[dict[str, Schema]] = {
    "KeyReport": of(
        "which wrapping key wraps how much",
        provider=TEXT,
        current=TEXT,
        keys=many(of(key=TEXT, since=MAYBE_TIME, wraps=mapped(WHOLE))),
        data_keys={**mapped(WHOLE), "description": "by whose data they seal"},
        destroyed={**WHOLE, "description": "data keys destroyed by erasures"},
        waiting={**WHOLE, "description": "rows that an older key wraps"},
        is_whole={**FLAG, "description": "whether everything wrapped can be unwrapped"},
        advice=many(TEXT),
    ),
    "Erasure": of(
        "what would go, or went",
        person=TEXT,
        records=many(TEXT),
        resources={**mapped(WHOLE), "description": "how many, by type"},
    ),
}
