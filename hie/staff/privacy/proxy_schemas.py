"""The shapes of relationships, as `hie.staff.privacy.proxies` answers them."""

from typing import Final

from hie.staff.shapes import (
    FLAG,
    MAYBE,
    MAYBE_TIME,
    TEXT,
    TIME,
    WHOLE,
    Schema,
    many,
    mapped,
    of,
    ref,
)

_NAMES: Final[Schema] = {
    "type": ["array", "null"],
    "items": TEXT,
    "description": "resource types; null = all",
}
_PAPER: Final[dict[str, Schema]] = {
    "title": TEXT,
    "reference": TEXT,
    "issued": MAYBE,
    "sha256": {**MAYBE, "description": "of the scan; null where none was sent"},
    "content_type": MAYBE,
}
_RELATIONSHIP: Final[dict[str, Schema]] = {
    "id": {**TEXT, "description": "of the FHIR RelatedPerson too"},
    "version": {**TEXT, "description": "for `If-Match`, in quotes"},
    "person": {**TEXT, "description": "whose record it opens"},
    "proxy": {**MAYBE, "description": "who opens it; null while not known here"},
    "name": TEXT,
    "telecom": many(TEXT),
    "kind": TEXT,
    "scope": TEXT,
    "custody": {"enum": ["unsaid", "sole", "joint", "ended"]},
    "documents": many(ref("Paper")),
    "opens": {
        "oneOf": [ref("Opened"), {"type": "null"}],
        "description": "what it opens now; null = nothing, `why_not` says why",
    },
    "why_not": MAYBE,
    "recorded_at": TIME,
    "reviewed_at": TIME,
    "accepted_at": MAYBE_TIME,
    "from": MAYBE_TIME,
    "to": MAYBE_TIME,
    "stopped_at": MAYBE_TIME,
    "ended_at": MAYBE_TIME,
}
SCHEMAS: Final[dict[str, Schema]] = {
    "Paper": of("a paper on file", **_PAPER),
    "ScannedPaper": of("a paper with its scan", **_PAPER, content=TEXT),
    "Opened": of(
        "what a relationship opens now",
        band={**MAYBE, "description": "bracket of age; null of an adult"},
        types=_NAMES,
        may_record=many(TEXT),
    ),
    "Relationship": of("who may see in whose place", **_RELATIONSHIP),
    "Relationships": of(relationships=many(ref("Relationship"))),
    "RelationshipHistory": of(
        "a relationship and what was done to it, oldest first",
        **_RELATIONSHIP,
        history=many(of(at=TIME, action=TEXT, actor=TEXT, reason=MAYBE)),
    ),
    "RelationshipPreview": of(
        "a relationship and how much of what it opens now",
        **_RELATIONSHIP,
        types={**mapped(WHOLE), "description": "resources by type"},
    ),
    "ProxyPolicy": of(
        "the law in force",
        title=TEXT,
        time_zone=TEXT,
        adult=WHOLE,
        bands=many(of(name=TEXT, types=_NAMES, withheld=many(TEXT), **{"from": WHOLE})),
        alone=many(of(name=TEXT, law=TEXT, labels=many(TEXT))),
        kinds=many(of(name=TEXT, title=TEXT, needs_document=FLAG)),
        scopes=many(of(name=TEXT, title=TEXT)),
    ),
}
