"""What a search may ask of a resource, as frozen values (pure).

Each criterion is an OR of values; a search is an AND of criteria. A criterion names its
parameters by their stored ids (`param_ids`): a parameter such as `name` is spread over the
rows of `name`, `family` and `given`, and any of them may satisfy it. `hie.store.match` says
what each one means, `hie.store.criteria` turns it to SQL.

Blind parameters (names, birth dates, identifiers, contacts) are asked for by `Keyed`
alone: clear texts made by `hie.store.blind`, of which the repository stores and compares
the keyed hash only.

Spec: https://hl7.org/fhir/R4/search.html
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum


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
    """Rows of `sp_uri`.

    Attributes:
        values: equal to one of these,
        below: or one of these followed by `/` and more (each without a slash at its end).
    """

    param: str
    param_ids: tuple[int, ...]
    values: tuple[str, ...]
    below: tuple[str, ...] = ()


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
class Text:
    """Rows that name a text of `sp_text`: free text, and the texts of codes.

    Attributes:
        param_ids: of the texts: a token parameter's `text_ids`.
        keys: clear texts of `hie.store.blind.text_asked`; patient data.
    """

    param: str
    param_ids: tuple[int, ...]
    keys: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A place, and what is near it.

    Attributes:
        at: unit vector from the middle of the earth.
        reach: the longest distance between the vectors, 0 to 2.
    """

    at: tuple[float, float, float]
    reach: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Near:
    """Rows of `sp_place`."""

    param: str
    param_ids: tuple[int, ...]
    values: tuple[Place, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CompositeValue:
    """Values that must stand in the same element, `code$value`.

    Attributes:
        first: of the parameter's first component.
        second: of the second, by its type: a coded value, a reference (type and id as system
            and code), quantity, number, date or text (a key of `hie.store.blind.text_asked`).
        third: of a third, a number.
    """

    first: TokenValue
    second: TokenValue | QuantityValue | NumberValue | DateValue | str
    third: NumberValue | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Composite:
    """Rows of `sp_composite`."""

    param: str
    param_ids: tuple[int, ...]
    values: tuple[CompositeValue, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """Resources of one of these persons.

    Attributes:
        persons: person ids (before the door followed merges: or source record ids).
        is_any: whether they may also be further persons of the resource.
    """

    param: str
    persons: tuple[str, ...]
    is_any: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Nested:
    """Resources that a search reaches through another, as far as its caller may see them.

    Of type Patient these are golden Patients: the door finds them first, and leaves their
    `persons` alone.

    Attributes:
        type: their resource type.
        persons: as of `Query`; None = anybody's.
        is_own: as of `Query`.
        criteria: all must hold.
    """

    type: str
    persons: tuple[str, ...] | None = None
    is_own: bool = False
    criteria: tuple[Criterion, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Chain:
    """Resources whose reference leads to one of some resources: `encounter.status=finished`.

    Attributes:
        person: of the parameter (`SearchParam.person`): "" = it has rows in `sp_ref`; else a
            Patient it leads to is the resource's person.
        targets: what it may lead to, at most one of each type.
    """

    param: str
    param_ids: tuple[int, ...]
    person: str = ""
    targets: tuple[Nested, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Has:
    """Resources that one of some others refers to: `_has:Observation:encounter:code=8480-6`.

    Attributes:
        param: of the others, the reference.
        person: as of `Chain`.
        type: of the resources referred to.
        of: the others.
    """

    param: str
    param_ids: tuple[int, ...]
    person: str = ""
    type: str
    of: Nested


@dataclass(frozen=True, slots=True, kw_only=True)
class Missing:
    """Resources without (`is_missing`) or with any row of the parameter.

    Attributes:
        kind: which index table: `token`, `date`, `string`, `number`, `quantity`, `uri`,
            `ref`, `composite` - or `blind`, where the keyed rows are.
        is_person: the resource's person counts as a value.
        logical_ids: of a reference: where references without an address of the hub are.
    """

    param: str
    param_ids: tuple[int, ...]
    kind: str
    is_missing: bool
    is_person: bool = False
    logical_ids: tuple[int, ...] = ()


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
    | Text
    | Near
    | Composite
    | About
    | Chain
    | Has
    | Missing
    | Ids
    | LastUpdated
)
