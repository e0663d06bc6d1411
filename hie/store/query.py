"""What to find and what was found, as frozen values; only the repository turns them to SQL.

A `Query` is an AND of criteria; each criterion is an OR of values. A criterion names its
parameters by their stored ids (`param_ids`): a parameter such as `name` is spread over the
rows of `name`, `family` and `given`, and any of them may satisfy it.

Blind parameters (names, birth dates, identifiers, contacts) are asked for by `Keyed`
alone: clear texts made by `hie.store.blind`, of which the repository stores and compares
the keyed hash only.

Spec: https://hl7.org/fhir/R4/search.html
"""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Final

#: Bounds of an open period in microseconds: year 1 and the first instant after year 9999.
MIN_US: Final = -62_135_596_800_000_000
MAX_US: Final = 253_402_300_800_000_000


class Prefix(StrEnum):
    """How an ordered value compares with the value asked for.

    With the row's range [row.lo, row.hi) and the searched range [lo, hi):
    eq: lo <= row.lo and row.hi <= hi; ne: not eq; gt: row.hi > hi; lt: row.lo < lo;
    ge: gt or eq; le: lt or eq; sa: row.lo >= hi; eb: row.hi <= lo;
    ap: row.lo < hi and row.hi > lo (the searched range is already widened).
    """

    EQ = "eq"
    NE = "ne"
    GT = "gt"
    LT = "lt"
    GE = "ge"
    LE = "le"
    SA = "sa"
    EB = "eb"
    AP = "ap"


class StringMode(StrEnum):
    """How a clear string is compared; STARTS and CONTAINS on folded text."""

    STARTS = "starts"
    CONTAINS = "contains"
    EXACT = "exact"


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenValue:
    """A coded value.

    Attributes:
        system: None = any system; "" = only codes without a system.
        code: None = any code of `system`.
    """

    system: str | None = None
    code: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DateValue:
    """A date or time as the range [lo_us, hi_us) its precision leaves open."""

    prefix: Prefix = Prefix.EQ
    lo_us: int
    hi_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberValue:
    """A number as the range [lo, hi) its written precision leaves open.

    With a prefix other than eq, ne and ap, lo == hi == the number itself: the standard
    ignores the implicit precision there.
    """

    prefix: Prefix = Prefix.EQ
    lo: Decimal
    hi: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class QuantityValue:
    """A number with a unit.

    Attributes:
        system: None = any system; code then matches the code or the printed unit.
        code: None = any unit.
    """

    number: NumberValue
    system: str | None = None
    code: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceValue:
    """What a reference points to.

    Attributes:
        types: the resource types the id may belong to; () = any type.
        id: the hub's id; for `Patient` a person id or a source record id.
    """

    types: tuple[str, ...] = ()
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """Rows of `sp_token`; `is_not` keeps the resources that have no such row."""

    param: str
    param_ids: tuple[int, ...]
    values: tuple[TokenValue, ...]
    is_not: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Date:
    """Rows of `sp_date`."""

    param: str
    param_ids: tuple[int, ...]
    values: tuple[DateValue, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class String:
    """Rows of `sp_string`: values folded, except for EXACT, which are as written."""

    param: str
    param_ids: tuple[int, ...]
    values: tuple[str, ...]
    mode: StringMode = StringMode.STARTS


@dataclass(frozen=True, slots=True, kw_only=True)
class Number:
    """Rows of `sp_number`."""

    param: str
    param_ids: tuple[int, ...]
    values: tuple[NumberValue, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    """Rows of `sp_quantity`."""

    param: str
    param_ids: tuple[int, ...]
    values: tuple[QuantityValue, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Uri:
    """Rows of `sp_uri`, equal to one of the values."""

    param: str
    param_ids: tuple[int, ...]
    values: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """Rows of `sp_ref`."""

    param: str
    param_ids: tuple[int, ...]
    values: tuple[ReferenceValue, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Keyed:
    """Rows of a blind parameter: the keyed hash of any of `keys`.

    Attributes:
        keys: clear texts of `hie.store.blind`; patient data, never to be logged or stored.
        is_not: keep the resources that have no such row.
    """

    param: str
    param_ids: tuple[int, ...]
    keys: tuple[str, ...]
    is_not: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """Resources without (`is_missing`) or with any row of the parameter.

    Attributes:
        kind: which index table: `token`, `date`, `string`, `number`, `quantity`, `uri`,
            `ref` - or `blind`, where the keyed rows are. Not asked of the references that
            `Query.persons` answers: they have no rows.
    """

    param: str
    param_ids: tuple[int, ...]
    kind: str
    is_missing: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Ids:
    """`_id`: the resource's id is one of these."""

    values: tuple[str, ...]
    param: str = "_id"


@dataclass(frozen=True, slots=True, kw_only=True)
class LastUpdated:
    """`_lastUpdated`: an instant, so lo_us of a row is its time and hi_us one more."""

    values: tuple[DateValue, ...]
    param: str = "_lastUpdated"


Criterion = (
    Token
    | Date
    | String
    | Number
    | Quantity
    | Uri
    | Reference
    | Keyed
    | Missing
    | Ids
    | LastUpdated
)


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
class Query:
    """A search over one resource type.

    Attributes:
        persons: `patient=` or `subject=Patient/…` where that parameter is what makes the
            resource the person's own: any of these ids (person ids, or source record ids
            the caller may use). None = not asked; () = nothing can match. Of type Patient
            `_id` is asked for here.
        criteria: all must hold.
        count: matches a page may have; 0 asks for the total alone.
        cursor: where the page before ended, as the repository wrote it in `Page`.
        is_total_wanted: whether `Page.total` must be given, counted after consent.
        domains: of type Patient: identifier systems; a match has an identifier of one of each
            group, and is told with identifiers of these systems alone.
    """

    type: str
    persons: tuple[str, ...] | None = None
    criteria: tuple[Criterion, ...] = ()
    sort: tuple[Sort, ...] = ()
    count: int = 20
    cursor: str | None = None
    is_total_wanted: bool = False
    domains: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """One version of a resource as a caller receives it.

    Attributes:
        body: the finished JSON, id, meta and person references filled in.
        source_id: the feed it came from; "" for what the hub builds (the golden Patient).
        person_id: whose it is; "" for directory resources.
        source_record_id: under which of the person's records it is filed.
        label_mask: the consent labels, bits of `config/sensitivity/labels.toml`.
        is_deleted: a tombstone of a history; `body` is then empty.
        built_of: source records that a golden Patient was built of.
    """

    type: str
    id: str
    version: str
    last_updated_us: int
    source_id: str = ""
    person_id: str = ""
    source_record_id: str = ""
    label_mask: int = 0
    body: bytes = b""
    is_deleted: bool = False
    built_of: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A page of a search, a history or `$everything`.

    Attributes:
        matches: in order; never a resource the caller may not see.
        included: what the matches refer to, once each.
        next_cursor: where the next page starts, in the clear; None on the last page. The
            HTTP edge seals it before it leaves.
        total: all matches the caller may see; None unless asked for.
    """

    matches: tuple[Served, ...] = ()
    included: tuple[Served, ...] = ()
    next_cursor: str | None = None
    total: int | None = None
