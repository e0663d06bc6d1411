"""What to find and what was found, as frozen values; only the repository turns them to SQL.

A `Query` is an AND of the criteria of `hie.store.criterion`.

Spec: https://hl7.org/fhir/R4/search.html
"""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Final

from hie.store.criterion import (
    About,
    Chain,
    Composite,
    CompositeValue,
    Criterion,
    Date,
    DateValue,
    Has,
    Ids,
    Keyed,
    LastUpdated,
    Missing,
    Near,
    Nested,
    Number,
    NumberValue,
    Place,
    Prefix,
    Quantity,
    QuantityValue,
    Reference,
    ReferenceValue,
    String,
    StringMode,
    Text,
    Token,
    TokenValue,
    Uri,
)

__all__ = [
    "MAX_US",
    "MIN_US",
    "About",
    "Chain",
    "Composite",
    "CompositeValue",
    "Criterion",
    "Date",
    "DateValue",
    "Has",
    "Ids",
    "Keyed",
    "LastUpdated",
    "Missing",
    "Near",
    "Nested",
    "Number",
    "NumberValue",
    "Page",
    "Place",
    "Prefix",
    "Quantity",
    "QuantityValue",
    "Query",
    "Reference",
    "ReferenceValue",
    "Served",
    "Sort",
    "String",
    "StringMode",
    "Text",
    "Token",
    "TokenValue",
    "Uri",
]

#: Bounds of an open period in microseconds: year 1 and the first instant after year 9999.
MIN_US: Final = -62_135_596_800_000_000
MAX_US: Final = 253_402_300_800_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Sort:
    """One sort key; the resource's id always breaks ties.

    Attributes:
        param: `_id`, `_lastUpdated` or a parameter of kind date, token or string.
        param_ids: () for `_id` and `_lastUpdated`.
        kind: `date`, `token` or `string`; "" for the two above.
    """

    param: str
    param_ids: tuple[int, ...] = ()
    kind: str = ""
    is_descending: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Include:
    """What a page shows besides its matches: one `_include` or `_revinclude`.

    Attributes:
        source: the type that holds the reference.
        param_ids: the reference parameter's, as stored.
        person: of the parameter (`SearchParam.person`): "" = references to Patients have rows.
        targets: the types a followed reference may point to; () = any.
        is_reverse: `_revinclude`: from what is referred to, to what refers.
        is_iterate: followed from what was included as well.
    """

    source: str
    param_ids: tuple[int, ...]
    person: str = ""
    targets: tuple[str, ...] = ()
    is_reverse: bool = False
    is_iterate: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """A search over one resource type.

    Attributes:
        persons: `patient=` or `subject=Patient/…` where that parameter is what makes the
            resource the person's own: any of these ids (person ids, or source record ids
            the caller may use). None = not asked; () = nothing can match. Of type Patient
            `_id` is asked for here.
        is_own: they must be the resource's own person, none of its further ones.
        criteria: all must hold.
        count: matches a page may have; 0 asks for the total alone.
        cursor: where the page before ended, as the repository wrote it in `Page`.
        is_total_wanted: whether `Page.total` must be given, counted after consent.
        domains: of type Patient: identifier systems; a match has an identifier of one of each
            group, and is told with identifiers of these systems alone.
        includes: what to show besides the matches.
    """

    type: str
    persons: tuple[str, ...] | None = None
    is_own: bool = False
    criteria: tuple[Criterion, ...] = ()
    sort: tuple[Sort, ...] = ()
    count: int = 20
    cursor: str | None = None
    is_total_wanted: bool = False
    domains: tuple[tuple[str, ...], ...] = ()
    includes: tuple[Include, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """One version of a resource as a caller receives it.

    Attributes:
        body: the finished JSON, id, meta and person references filled in.
        source_id: the feed it came from; "" for what the hub builds (the golden Patient).
        person_id: whose it is; "" for directory resources.
        source_record_id: under which of the person's records it is filed.
        further: whom else it is about: each person with the record it is filed under there.
        label_mask: the consent labels, bits of `config/sensitivity/labels.toml`.
        is_deleted: a tombstone of a history; `body` is then empty.
        built_of: source records that a golden Patient was built of.
        masks: of those that have labels, whose each is and which they are.
    """

    type: str
    id: str
    version: str
    last_updated_us: int
    source_id: str = ""
    person_id: str = ""
    source_record_id: str = ""
    further: tuple[tuple[str, str], ...] = ()
    label_mask: int = 0
    body: bytes = b""
    is_deleted: bool = False
    built_of: tuple[str, ...] = ()
    masks: tuple[tuple[str, int], ...] = ()

    def labels_of_others(self, sources: Collection[str]) -> int:
        """What of a golden Patient's labels comes from records of none of these sources."""
        mask = 0
        for source, labels in self.masks:
            mask |= 0 if source in sources else labels
        return mask


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page of a search, a history or `$everything`.

    Attributes:
        matches: in order; never a resource the caller may not see.
        included: what the search includes besides the matches, once each.
        next_cursor: where the next page starts, in the clear; None on the last page. The
            HTTP edge seals it before it leaves.
        total: all matches the caller may see; None unless asked for.
        is_cut: whether there is more to include than one page may hold.
    """

    matches: tuple[Served, ...] = ()
    included: tuple[Served, ...] = ()
    next_cursor: str | None = None
    total: int | None = None
    is_cut: bool = False
