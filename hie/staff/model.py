"""One request of staff and its answer as values; a route as a row (pure).

The route table is the API: the rim serves it, checks what is sent against it, and the OpenAPI
document is made of it.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Final

from hie.kernel.context import RequestContext

#: The roles of each area, the weakest first; each includes those before it. A role that is
#: wanted and one that a token carries are the same words (`hie.auth.model.STAFF_ROLES`).
ROLES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {
        "identity": ("read", "steward", "admin"),  # stewards of the patient index
        "privacy": ("read", "clerk", "officer"),  # registration desk, privacy officer
    }
)
#: Digits of a number of 63 bits.
LONGEST_NUMBER: Final = 19
#: What a field may hold, as one JSON value; an array holds strings.
TEXT, NUMBER, REAL, FLAG, TIME, LIST, OBJECTS, OBJECT = (
    "string",
    "integer",
    "number",
    "boolean",
    "date-time",
    "array",
    "objects",
    "object",
)


def number_in(text: str) -> int | None:
    """A number of the hub, of 63 bits, in a text; None where the text is none."""
    is_number = text.isascii() and text.isdigit() and len(text) <= LONGEST_NUMBER
    return int(text) if is_number and int(text) < 1 << 63 else None


class Needs(StrEnum):
    """What a request must bring besides its body."""

    VERSION = "If-Match"  # the version of the task that was seen
    KEY = "Idempotency-Key"  # a key of the client's own, so that it happens once


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One parameter of a query or member of a body.

    Attributes:
        kind: one of the kinds above.
        most: characters of a text, members of an array, or the largest number; 0 = no bound.
        least: the smallest number.
        choices: the only values taken.
        default: for what is not sent.
        fields: members of the objects of an array, or of an object; an object that lists none
            is taken as it is.
    """

    name: str
    text: str
    kind: str = TEXT
    is_required: bool = False
    most: int = 200
    least: int = 0
    choices: tuple[str, ...] = ()
    default: Any = None
    fields: tuple["Field", ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One request, checked against its route.

    Attributes:
        ids: of the path.
        args: parameters of the query and members of the body, defaults filled in.
        version: what `If-Match` named; None without it.
    """

    ctx: RequestContext
    route: "Route"
    ids: Mapping[str, str]
    args: Mapping[str, Any]
    version: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What a request is answered with; JSON values, `Decimal` among them."""

    content: Any
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)


Handler = Callable[[Any, Call], Awaitable[Answer]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One address of the API.

    Attributes:
        name: `operationId`; what the audit trail and the log call it.
        role: the least one that may.
        area: whose roles these are.
        is_personal: whether somebody's data is shown or changed: needs a user.
        answer: name of a schema in `hie.staff.schemas`.
        section: under which heading the page lists it.
        most_bytes: of the body; 0 = the usual.
    """

    method: str
    path: str
    name: str
    summary: str
    handler: Handler
    role: str
    answer: str
    section: str
    area: str = "identity"
    text: str = ""
    is_personal: bool = True
    query: tuple[Field, ...] = ()
    body: tuple[Field, ...] = ()
    needs: tuple[Needs, ...] = ()
    refusals: tuple[int, ...] = ()
    most_bytes: int = 0
