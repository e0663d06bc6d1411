"""What is asked about a relationship, and what it may become: frozen values (pure)."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any, Final

from hie.kernel.errors import Category, HieError
from hie.proxies.book import Paper, Shown
from hie.proxies.model import Because, Custody, Relationship, Verdict

#: What staff are told of a minor who is none any more.
OF_AGE: Final = "adult"


class Change(StrEnum):
    """What may become of a relationship."""

    STOP = "stop"  # a custody stop: holds at once, until it is restored
    END = "end"
    RESTORE = "restore"  # takes a stop or an end back
    REVIEW = "review"  # the two persons were merged or parted; this is still them
    AMEND = "amend"  # a paper came in: custody, period


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A relationship to be recorded.

    Attributes:
        labels: sensitivities that the paper names in so many words.
    """

    person: str
    proxy: str | None
    name: str
    kind: str
    scope: str = "everything"
    custody: Custody = Custody.UNSAID
    telecom: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    from_us: int | None = None
    to_us: int | None = None
    paper: Paper | None = None
    scan: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Amended:
    """What a change brings with it; None = as it was."""

    why: str
    custody: Custody | None = None
    to_us: int | None = None
    paper: Paper | None = None
    scan: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """A relationship as it stands now."""

    shown: Shown
    verdict: Verdict


def given(
    plain: Relationship, change: Change, amended: Amended, values: Mapping[str, Any]
) -> Relationship | None:
    """A relationship as its patient's age is asked of it after a change.

    None where the change gives nothing: it ends or stops it, or files the order that ended the
    rights.
    """
    if change in {Change.STOP, Change.END} or amended.custody is Custody.ENDED:
        return None
    return replace(
        plain,
        person=values.get("person_id", plain.person),
        proxy=values.get("proxy_id", plain.proxy),
        vouched_us=values.get("vouched_us", plain.vouched_us),
        to_us=values.get("to_us", plain.to_us),
    )


def values_of(plain: Relationship, change: Change, amended: Amended, now_us: int) -> dict[str, Any]:
    """The columns that a change sets.

    Raises:
        HieError: CONFLICT where it makes no sense.
    """
    is_over = plain.ended_us is not None
    is_held = plain.stopped_us is not None
    if is_over and change is not Change.RESTORE:
        raise HieError(Category.CONFLICT, "the relationship was ended: restore it first")
    if change is Change.STOP and is_held:
        raise HieError(Category.CONFLICT, "the relationship is stopped already")
    if change is Change.RESTORE and not (is_over or is_held):
        raise HieError(Category.CONFLICT, "the relationship was neither stopped nor ended")
    values: dict[Change, dict[str, Any]] = {
        Change.STOP: {"stopped_us": now_us},
        Change.END: {"ended_us": now_us},
        # An end is taken back before a stop below it: one step at a time.
        Change.RESTORE: {"ended_us": None} if is_over else {"stopped_us": None},
        Change.REVIEW: {"vouched_us": now_us},
        Change.AMEND: {},
    }
    said = {"custody": amended.custody and amended.custody.value, "to_us": amended.to_us}
    return values[change] | {name: value for name, value in said.items() if value is not None}


def band_of(standing: Standing) -> str:
    """The bracket of age a relationship is in; "" where age does not decide."""
    if standing.verdict.because is Because.OF_AGE:
        return OF_AGE
    return standing.verdict.rights.band if standing.verdict.rights else ""


def refuse_stale(plain: Relationship, version: str | None) -> None:
    """Refuse a change of what its writer has not seen.

    Raises:
        HieError: STALE.
    """
    if version is not None and version != version_of(plain):
        text = "the relationship has changed since you saw it: read it again"
        raise HieError(Category.STALE, text)


def version_of(plain: Relationship) -> str:
    """What an `If-Match` names."""
    return f"{plain.version:020x}"
