"""How far subscriptions go: `config/fhir/subscriptions.toml`."""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Final

from hie.kernel.errors import Category, HieError

_FILE: Final = "fhir/subscriptions.toml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Bounds on what may be asked for."""

    each_owner: int
    max_count: int
    heartbeat_seconds: int
    timeout_seconds: int
    panel_rows: int
    events_page: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """How is tried; all in seconds."""

    first_retry_seconds: float
    longest_retry_seconds: float
    give_up_seconds: float
    keep_seconds: float
    binding_seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class EndpointRules:
    """Where notifications may go.

    Attributes:
        allowed: hosts, addresses and networks besides public ones.
        authorities: a PEM file, trusted besides the machine's own; None = none.
        is_development: http to this machine is allowed.
    """

    allowed: tuple[str, ...] = ()
    authorities: Path | None = None
    is_development: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """All of it."""

    limits: Limits
    delivery: Delivery
    endpoints: EndpointRules


def load_policy(folder: Path, *, is_production: bool) -> Policy:
    """Read the file of a config folder.

    Raises:
        HieError: INVALID, naming table and key.
    """
    path = folder / _FILE
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise HieError(Category.INVALID, f"{_FILE}: expected TOML in UTF-8") from error
    for name in content.keys() - {"limits", "delivery", "endpoints"}:
        raise HieError(Category.INVALID, f"{_FILE}: `[{name}]` is no table of this file")
    limits = _numbers(content, "limits", {f.name for f in fields(Limits)})
    delivery = _numbers(content, "delivery", {f.name for f in fields(Delivery)})
    ends = content.get("endpoints", {})
    allowed, named = ends.get("allowed", []), ends.get("authorities", "")
    if not isinstance(allowed, list) or not all(isinstance(one, str) for one in allowed):
        raise HieError(Category.INVALID, f"{_FILE}: `endpoints.allowed`: expected a list of texts")
    if not isinstance(named, str):
        raise HieError(Category.INVALID, f"{_FILE}: `endpoints.authorities`: expected a path")
    return Policy(
        limits=Limits(**limits),
        delivery=Delivery(**delivery),
        endpoints=EndpointRules(
            allowed=tuple(allowed),
            authorities=path.parent / named if named else None,
            is_development=not is_production,
        ),
    )


def _numbers(content: Mapping[str, Any], table: str, names: set[str]) -> dict[str, Any]:
    found = content.get(table, {})
    for name in names ^ found.keys():
        text = f"{_FILE}: `[{table}]`: expected {', '.join(sorted(names))}, not more; see `{name}`"
        raise HieError(Category.INVALID, text)
    for name, value in found.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
            raise HieError(
                Category.INVALID, f"{_FILE}: `{table}.{name}`: expected a number above 0"
            )
    return dict(found)
