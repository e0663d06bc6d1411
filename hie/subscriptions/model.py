"""What a subscription is: a topic, filters, a channel, and whose eyes it sees with (pure)."""

from dataclasses import dataclass, field, replace
from enum import StrEnum

from hie.kernel.context import Caller
from hie.proxies.model import is_proxy


class Status(StrEnum):
    """`Subscription.status` of R4."""

    REQUESTED = "requested"  # the endpoint has not answered the handshake yet
    ACTIVE = "active"
    ERROR = "error"  # the handshake failed, or events cannot be delivered; these are tried again
    OFF = "off"


class ChannelType(StrEnum):
    """How a subscriber is told."""

    REST_HOOK = "rest-hook"
    WEBSOCKET = "websocket"


class Content(StrEnum):
    """How much of a resource a notification says."""

    EMPTY = "empty"
    ID_ONLY = "id-only"
    FULL = "full-resource"


class Kind(StrEnum):
    """What a notification is."""

    HANDSHAKE = "handshake"
    HEARTBEAT = "heartbeat"
    EVENT = "event-notification"
    QUERY_STATUS = "query-status"
    QUERY_EVENT = "query-event"


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """Where and how notifications go.

    Attributes:
        headers: `Name: value`, sent with each; secrets.
        heartbeat_seconds: 0 = none.
        timeout_seconds: time the endpoint has to answer.
        max_count: events in one notification.
    """

    type: ChannelType
    endpoint: str = ""
    headers: tuple[str, ...] = ()
    heartbeat_seconds: int = 0
    timeout_seconds: int = 30
    max_count: int = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What a subscriber asked for.

    Attributes:
        filters: `Encounter?class=IMP&_in=Group/1`; all must hold.
        end_us: when it ends by itself; None = never.
        text: `Subscription.reason`.
        contact: FHIR ContactPoints as sent.
    """

    topic: str
    filters: tuple[str, ...]
    channel: Channel
    content: Content
    end_us: int | None = None
    text: str = ""
    contact: tuple[dict[str, object], ...] = field(default=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    """A subscription as it stands.

    Attributes:
        owner: `Organization/<id>`, or `Patient/<id>` of a patient's own token.
        caller: who asked; what it may see is decided anew, as of now, for each delivery.
        told: events it was told of: the last number given.
        delivered: the last number its endpoint took.
        attempts: tries since the last success.
        heartbeat_us: when the next heartbeat is due; None = never.
        error: why it cannot be told; our own words.
    """

    id: str
    owner: str
    status: Status
    version: int
    created_us: int
    updated_us: int
    terms: Terms
    caller: Caller
    told: int = 0
    delivered: int = 0
    attempts: int = 0
    due_us: int = 0
    failing_us: int | None = None
    heartbeat_us: int | None = None
    error: str = ""

    def asked(self, terms: Terms, caller: Caller, status: Status) -> "Subscription":
        """The same subscription with new terms, in the name of who gave them."""
        return replace(self, terms=terms, caller=caller, status=status, error="")


class EventState(StrEnum):
    """How far an event has come."""

    WAITING = "waiting"  # whether it is told is not decided yet: it has no number
    TOLD = "told"  # it has a number, and may have left
    DELIVERED = "delivered"


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened, for one subscription.

    Attributes:
        focus: type and id of what it is about; of an identity change `("Patient", "")`.
        records: of an identity change: the source records that moved.
        was: and the persons they were of before, in the same order.
        number: None until it is told.
    """

    pk: int
    subscription_id: str
    focus: tuple[str, str]
    happened_us: int
    records: tuple[str, ...] = ()
    was: tuple[str, ...] = ()
    number: int | None = None
    state: EventState = EventState.WAITING


def hears(one: Subscription, listener: Caller) -> bool:
    """Whether its websocket may tell somebody of its owner's what is decided for who asked."""
    asked, is_socket = one.caller, one.terms.channel.type is ChannelType.WEBSOCKET
    is_alike = (asked.user, asked.purpose) == (listener.user, listener.purpose)
    return is_socket and is_alike and asked.roles <= listener.roles


def owner_of(caller: Caller) -> str:
    """Whose a caller's subscriptions are; "" for who may have none."""
    if is_proxy(caller):
        return caller.user or ""  # the patient's own tell what is kept from a proxy
    if caller.patient:
        return f"Patient/{caller.patient}"
    return f"Organization/{caller.organization}" if caller.organization else ""
