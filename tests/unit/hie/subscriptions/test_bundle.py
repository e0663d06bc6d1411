"""Notifications are Bundles of R4, and say no more than was asked for."""

import json

import pytest

from fhir_server.validate import validate
from hie.kernel.context import Caller, Scope
from hie.store.query import Served
from hie.subscriptions import fhir
from hie.subscriptions.bundle import Seen, notification, statuses
from hie.subscriptions.model import (
    Channel,
    ChannelType,
    Content,
    Event,
    Kind,
    Status,
    Subscription,
    Terms,
)
from hie.subscriptions.policy import Limits
from hie.subscriptions.told import basic
from tests.support.subscribers import said
from tests.unit.hie.subscriptions.test_topics import TOPICS

BASE = "https://hub.test/fhir"
LIMITS = Limits(
    each_owner=9,
    max_count=20,
    heartbeat_seconds=30,
    timeout_seconds=60,
    panel_rows=9,
    events_page=9,
)
#: A word of the resource; an id-only or empty notification does not hold it.
CANARY = "Zyxwvutsson"


def made(content: Content = Content.FULL) -> Subscription:
    channel = Channel(
        type=ChannelType.REST_HOOK,
        endpoint="https://hooks.example.org/told",
        headers=("X-Key: one", "X-Other: two"),
        heartbeat_seconds=60,
    )
    terms = Terms(
        topic="urn:hie:topic:encounter-start",
        filters=("Encounter?class=IMP",),
        channel=channel,
        content=content,
        end_us=1_900_000_000_000_000,
        text="to be told",
    )
    return Subscription(
        id="s1",
        owner="Organization/o1",
        status=Status.ACTIVE,
        version=3,
        created_us=0,
        updated_us=1_769_851_800_000_000,
        terms=terms,
        caller=Caller(token_id="1", scopes=(Scope("system", "*", "r"),)),
        told=2,
    )


def seen(number: int) -> Seen:
    body = {
        "resourceType": "Encounter",
        "id": f"e{number}",
        "status": "in-progress",
        "class": {"code": "IMP"},
        "subject": {"display": CANARY},
    }
    return Seen(
        event=Event(
            pk=number,
            subscription_id="s1",
            focus=("Encounter", f"e{number}"),
            happened_us=1_769_851_800_000_000,
            number=number,
        ),
        focus=Served(
            type="Encounter",
            id=f"e{number}",
            version="1",
            last_updated_us=0,
            body=json.dumps(body).encode(),
        ),
    )


@pytest.mark.parametrize("content", Content)
def test_a_notification_says_what_its_content_allows(content: Content) -> None:
    body = notification(
        made(content), Kind.EVENT, base=BASE, now_us=1, content=content, seen=[seen(1), seen(2)]
    )
    bundle = json.loads(body)
    assert validate(bundle) == ()
    told = said(bundle)
    assert told["events"] == [1, 2]
    assert told["type"] == "event-notification"
    assert (CANARY.encode() in body) is (content is Content.FULL)
    assert (b"e1" in body) is (content is not Content.EMPTY)
    assert ("topic" in told) is (content is not Content.EMPTY)
    assert len(bundle["entry"]) == (1 if content is Content.EMPTY else 3)


def test_the_same_notification_has_the_same_name() -> None:
    one, again = (
        notification(made(), Kind.EVENT, base=BASE, now_us=t, content=Content.FULL, seen=[seen(7)])
        for t in (1, 2)
    )
    assert json.loads(one)["id"] == json.loads(again)["id"]


@pytest.mark.parametrize("kind", [Kind.HANDSHAKE, Kind.HEARTBEAT])
def test_a_handshake_and_a_heartbeat_are_bundles(kind: Kind) -> None:
    bundle = json.loads(notification(made(), kind, base=BASE, now_us=1))
    assert validate(bundle) == ()
    assert said(bundle)["status"] == ("requested" if kind is Kind.HANDSHAKE else "active")
    assert said(bundle)["events-since-subscription-start"] == "2"


def test_a_status_is_a_searchset() -> None:
    assert validate(json.loads(statuses([made()], BASE, 1))) == ()


def test_a_subscription_is_read_as_it_was_written() -> None:
    told = fhir.render(made())
    assert validate(told) == ()
    assert "one" not in json.dumps(told["channel"]["header"])
    terms, status = fhir.read(told, TOPICS, LIMITS)
    assert status is Status.REQUESTED
    kept = fhir.with_kept_secrets(terms.channel, made().terms.channel)
    assert kept == made().terms.channel.headers
    assert terms.filters == made().terms.filters
    assert terms.end_us == made().terms.end_us
    assert terms.content is Content.FULL
    assert terms.channel.heartbeat_seconds == 60


def test_every_topic_is_a_basic_resource() -> None:
    for topic in TOPICS:
        assert validate(basic(topic)) == ()
