"""Whether a relationship opens anything now, and what (pure, total).

Asked at every request, so that a birthday, a stop or a merge holds from the next one on and no
job has to run first. Where something is not known the stricter reading holds.
"""

from collections.abc import Iterator

from hie.kernel.context import Scope
from hie.proxies.ages import age_on, day_at, earliest, latest
from hie.proxies.model import Because, Custody, Human, Relationship, Rights, Verdict
from hie.proxies.policy import Band, Kind, Policy

_READ = frozenset("rs")


def judge(found: Relationship, human: Human, policy: Policy, now_us: int) -> Verdict:
    """The rights that a relationship gives now, or the first reason why it gives none."""
    kind, extent = policy.kinds.get(found.kind), policy.scopes.get(found.scope)
    if kind is None or extent is None:
        return Verdict(because=Because.UNKNOWN)
    because = next(_standing(found, kind, now_us), None)
    if because is not None:
        return Verdict(because=because)
    if not human.is_settled:
        return Verdict(because=Because.AWAITS_REVIEW)
    band, too_old_or_young = _age(kind, human, policy, now_us)
    if too_old_or_young is not None:
        return Verdict(because=too_old_or_young)
    withheld = extent.withheld_mask | (kind.withheld_mask & ~found.named_mask)
    if band is None:
        return Verdict(rights=_rights(extent.types, frozenset(), withheld))
    withheld |= band.extent.withheld_mask | policy.alone_mask
    types = _both(extent.types, band.extent.types)
    writes = band.writes if extent.types is None else band.writes & extent.types
    return Verdict(rights=_rights(types, writes, withheld, band.name))


def is_outgrown(found: Relationship, human: Human, policy: Policy, now_us: int) -> bool:
    """Whether a relationship of minors would be open still, but its person is of age already."""
    kind = policy.kinds.get(found.kind)
    is_over = found.to_us is not None and found.to_us <= now_us
    if kind is None or is_over:
        return False
    return _age(kind, human, policy, now_us)[1] is Because.OF_AGE


def narrowed(scopes: tuple[Scope, ...], rights: Rights) -> tuple[Scope, ...]:
    """What is left of a token's scopes: reads of the types, and the few writes."""
    return tuple(dict.fromkeys(one for scope in scopes for one in _narrowed(scope, rights)))


def _narrowed(scope: Scope, rights: Rights) -> Iterator[Scope]:
    reads = "".join(action for action in scope.actions if action in _READ)
    changes = "".join(action for action in scope.actions if action not in _READ)
    if reads:
        for name in _types(scope.resource, rights.types):
            yield Scope(level=scope.level, resource=name, actions=reads)
    if changes:
        for name in _types(scope.resource, rights.writes):
            yield Scope(level=scope.level, resource=name, actions=changes)


def _types(named: str, granted: frozenset[str] | None) -> list[str]:
    if granted is None:
        return [named]
    return sorted(granted) if named == "*" else sorted(granted & {named})


def _standing(found: Relationship, kind: Kind, now_us: int) -> Iterator[Because]:
    if found.ended_us is not None:
        yield Because.ENDED
    if found.stopped_us is not None:
        yield Because.STOPPED
    if found.custody is Custody.ENDED:
        yield Because.NO_CUSTODY
    if found.accepted_us is None:
        yield Because.NOT_ACCEPTED
    if kind.needs_document and not found.has_document:
        yield Because.NO_DOCUMENT
    if found.from_us is not None and now_us < found.from_us:
        yield Because.NOT_YET
    if found.to_us is not None and found.to_us <= now_us:
        yield Because.OVER


def _age(
    kind: Kind, human: Human, policy: Policy, now_us: int
) -> tuple[Band | None, Because | None]:
    """The bracket that holds, or why the age does not fit: a minor's is taken at its oldest."""
    born = earliest(human.births) if kind.is_of_minors else latest(human.births)
    if born is None:
        return None, Because.BIRTH_DATE
    age = age_on(born, day_at(now_us, policy.zone))
    if kind.is_of_minors:
        band = policy.band_at(age)
        return band, Because.OF_AGE if band is None else None
    return None, Because.NOT_OF_AGE if age < policy.adult else None


def _rights(
    types: frozenset[str] | None, writes: frozenset[str], withheld: int, band: str = ""
) -> Rights:
    return Rights(types=types, writes=writes, withheld_mask=withheld, band=band)


def _both(one: frozenset[str] | None, other: frozenset[str] | None) -> frozenset[str] | None:
    if one is None or other is None:
        return other if one is None else one
    return one & other
