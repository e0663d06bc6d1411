"""Relationships written short, for the tests of who may see in whose place."""

from functools import cache
from pathlib import Path
from typing import Any

from consent.labels import LabelTable
from consent.settings import load_sensitivity
from hie.kernel.ids import PersonId
from hie.proxies.model import Custody, Human, Relationship
from hie.proxies.policy import Policy, load_policy
from hie.store.index import load_index
from tests.support.consents import NOW_US

CONFIG = Path(__file__).resolve().parents[2] / "config"
CHILD, PARENT = PersonId("child"), PersonId("parent")


@cache
def labels() -> LabelTable:
    """The shipped labels."""
    return LabelTable(load_sensitivity(CONFIG / "sensitivity"))


@cache
def policy(regime: str = "massachusetts") -> Policy:
    """The shipped policy of a regime."""
    types = tuple(load_index(CONFIG / "fhir").types)
    return load_policy(CONFIG, regime, labels(), types)


def relationship(**elements: Any) -> Relationship:
    """A parent's relationship to a child, in force."""
    values: dict[str, Any] = {
        "id": "r1",
        "person": CHILD,
        "proxy": PARENT,
        "kind": "parent",
        "scope": "everything",
        "custody": Custody.UNSAID,
        "has_document": False,
        "named_mask": 0,
        "recorded_us": NOW_US - 10,
        "vouched_us": NOW_US - 10,
        "from_us": None,
        "to_us": None,
        "accepted_us": NOW_US - 10,
        "stopped_us": None,
        "ended_us": None,
        "version": 1,
    }
    return Relationship(**values | elements)


def human(*births: str, is_settled: bool = True) -> Human:
    """What is known of the two persons."""
    return Human(births=births, is_settled=is_settled)
