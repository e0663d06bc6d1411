"""One Consent takes the place of another, by saying so (pure).

Without such a word two Consents of a patient both hold, whichever is newer: deny wins.
INVARIANT: to take another's place shows more only where the claimant may widen access. Else
what is superseded keeps its denials and opens nothing.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from consent.confine import Reach, confined
from consent.model import Directive, Rule

#: Opens nothing, denies what it denied.
_SHUT = Reach()


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A Consent says that it takes the place of another of the same person.

    Attributes:
        by: the claimant's id.
        of: the id of the one superseded.
        is_standing: the claimant is in effect; one that was withdrawn since lets nothing that
            it superseded open anything again, but its denials do hold again.
        may_widen: the patient, or who speaks for them, verified it.
        since_us: when the claimant begins; None = at once.
    """

    by: str
    of: str
    is_standing: bool = True
    may_widen: bool = False
    since_us: int | None = None


def without_superseded(
    directives: Sequence[Directive], claims: Iterable[Claim]
) -> tuple[Directive, ...]:
    """The directives as far as no other takes their place; in the same order.

    Args:
        directives: every Consent of one person, read.
        claims: of those that may speak of each other: of one recorder's or a verified one's.
    """
    by_claimed: dict[str, list[Claim]] = {}
    for claim in claims:
        by_claimed.setdefault(claim.of, []).append(claim)
    return tuple(
        _left(directive, by_claimed) if directive.consent_id in by_claimed else directive
        for directive in directives
    )


def _left(directive: Directive, claims: Mapping[str, Sequence[Claim]]) -> Directive:
    whole: list[int | None] = []
    shut: list[int | None] = []
    for claim in claims[directive.consent_id]:
        is_circle = directive.consent_id in _claimants(claim.by, claims)
        holds = not is_circle and _is_whole(claim, claims, frozenset())
        (whole if holds else shut).append(claim.since_us)
    gone_us = _first(whole)
    shut_us = _first([*whole, *shut])
    rules = [*_between(directive.rules, None, shut_us)]
    rules += _between(confined(directive, _SHUT).rules, shut_us, gone_us) if shut else []
    ignored = directive.ignored or ("" if rules else "superseded")
    return replace(directive, rules=tuple(rules), ignored=ignored)


def _is_whole(claim: Claim, claims: Mapping[str, Sequence[Claim]], seen: frozenset[str]) -> bool:
    """Whether nothing of the superseded one holds any more."""
    if not claim.may_widen or claim.by in seen:
        return False
    later = claims.get(claim.by, ())
    # One that was withdrawn because another took its own place still counts.
    return claim.is_standing or any(_is_whole(one, claims, seen | {claim.by}) for one in later)


def _claimants(name: str, claims: Mapping[str, Sequence[Claim]]) -> set[str]:
    """Everybody who, directly or by others, takes the place of `name`."""
    found: set[str] = set()
    left = [name]
    while left:
        new = {claim.by for claim in claims.get(left.pop(), ())} - found
        found |= new
        left.extend(new)
    return found


def _first(moments: Sequence[int | None]) -> int | None:
    """The first of several moments; None = never, the beginning of time = at once."""
    return min((at if at is not None else _ALWAYS for at in moments), default=None)


_ALWAYS = -(1 << 62)


def _between(rules: Iterable[Rule], from_us: int | None, to_us: int | None) -> Iterator[Rule]:
    """The rules as they hold in [from, to); None = open."""
    for rule in rules:
        los = [at for at in (rule.valid_from_us, from_us) if at is not None and at != _ALWAYS]
        his = [at for at in (rule.valid_to_us, to_us) if at is not None]
        lo_us, hi_us = max(los, default=None), min(his, default=None)
        if hi_us == _ALWAYS or (lo_us is not None and hi_us is not None and lo_us >= hi_us):
            continue
        yield replace(rule, valid_from_us=lo_us, valid_to_us=hi_us)
