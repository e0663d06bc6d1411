"""FHIR Consent to Directive (pure): R4, and what R5 shapes of it arrive.

INVARIANT: what the hub does not understand widens a deny and voids a permit; it never makes a
deny narrower or a permit wider, and never raises.

A provision takes over every element it does not state from the one above it; what it states
replaces that, except `period`, which only narrows. Its `type` is taken literally. The base
decision is the type of the root provision, else `decision` (R5), else the strictest of the policies
the Consent names, else deny. Without types (R5), each level is the opposite of the one above, and a
deny below one that is not understood.

Spec: https://hl7.org/fhir/R4/consent.html, https://hl7.org/fhir/R5/consent.html
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import reduce
from typing import Any, Final

from consent.from_fhir.moments import ALWAYS, Span, span
from consent.from_fhir.provision import Directory, ProvisionReader, Stated, Wish, codes_of, dicts
from consent.grantees import denied, names_somebody
from consent.labels import LabelTable
from consent.model import Directive, Effect, Rule
from consent.regime import ConsentSettings, Policy
from hie.kernel.fhir import FhirJson

#: Levels of provisions read; a deeper Consent is denied whole.
DEPTH_LIMIT: Final = 40
_OPPOSITE: Final = {Effect.PERMIT: "deny", Effect.DENY: "permit", None: None}


class ConsentReader:
    """Reads Consents by the vocabulary and the hard rules of the settings."""

    def __init__(self, settings: ConsentSettings, labels: LabelTable) -> None:
        self._settings = settings
        self._vocabulary = settings.vocabulary
        self._labels = labels

    def directive(
        self, consent: FhirJson, *, consent_id: str, version: int = 1, directory: Directory
    ) -> Directive:
        """The rules of a Consent; one that cannot be read denies everything."""
        note, ignored = self._standing(consent)
        rules: tuple[Rule, ...] = ()
        if note:
            rules = (Rule(path="/", effect=Effect.DENY, note=note),)
        elif not ignored:
            rules = self._read(consent, directory)
        return Directive(consent_id=consent_id, version=version, rules=rules, ignored=ignored)

    def _read(self, consent: FhirJson, directory: Directory) -> tuple[Rule, ...]:
        try:
            return tuple(self._rules(consent, directory))
        except (AttributeError, LookupError, RecursionError, TypeError, ValueError):
            # A shape that nobody foresaw: the patient's wish is not known, so nothing is shown.
            return (Rule(path="/", effect=Effect.DENY, note="unreadable"),)

    def _standing(self, consent: FhirJson) -> tuple[str, str]:
        """(why it must deny everything, why it has no rules)."""
        terms = self._vocabulary.terms
        status = terms["status"].get(str(consent.get("status")))
        scopes = {terms["scope"].get(code) for code in codes_of(consent.get("scope"))}
        if status in ("inactive", "ended"):
            return "", "not-active"
        if _has_modifier(consent):
            return "unknown-modifier", ""
        if status is None:
            return "unknown-status", ""
        if scopes and not scopes - {"other"}:
            return "", "not-privacy"
        if None in scopes and not scopes & {"privacy", "research"}:
            return "unknown-scope", ""
        labels = {policy.labels for policy in self._policies(consent)} - {None}
        note = "policies-at-odds" if len(labels) > 1 else _unread(consent.get("provision"))
        return note, ""

    def _rules(self, consent: FhirJson, directory: Directory) -> Iterator[Rule]:
        read = ProvisionReader(self._settings, directory)
        provision, policies = consent.get("provision"), self._policies(consent)
        policy = reduce(_strictest, policies) if policies else None
        is_r5 = isinstance(provision, list) or "decision" in consent
        root = provision if isinstance(provision, dict) else {}
        nested = provision if isinstance(provision, list) else root.get("provision")
        said = {root.get("type"), consent.get("decision")} - {None}
        base = said.pop() if said else policy.effect if policy else "deny"
        effect, note = _effect("" if said else base)  # two that differ say neither
        # A rejected policy narrows nothing: all of it is refused, and more than it.
        agreed = policy if effect is Effect.PERMIT else None
        wish = read.wish(root, self._base(consent, agreed, _at_odds(policies), read))
        yield from self._rule("/", effect, note, wish)
        # To what nobody understood there is no opposite: an exception to it would be a permit.
        above = effect if is_r5 and not note else None
        yield from self._nested(nested, "/", above, wish, read)

    def _nested(
        self,
        provisions: Any,
        path: str,
        above: Effect | None,
        outer: Wish,
        read: "ProvisionReader",
    ) -> Iterator[Rule]:
        """The rules below a path; `above` is the effect to be the opposite of (R5)."""
        for position, provision in enumerate(dicts(provisions), start=1):
            below = f"{path}{position}/"
            # One without content is no exception to anything: nobody knows what it was.
            kind = provision.get("type") or _OPPOSITE.get(above) if provision else None
            effect, note = _effect(kind)
            wish = read.wish(provision, outer)
            yield from self._rule(below, effect, note, wish)
            known = effect if above and not note else None
            yield from self._nested(provision.get("provision"), below, known, wish, read)

    def _policies(self, consent: FhirJson) -> list[Policy]:
        """The policies it names that are known, in its order."""
        names = [str(policy.get("uri")) for policy in dicts(consent.get("policy"))]
        names += codes_of(consent.get("policyRule"))
        found = (self._vocabulary.policies.get(name) for name in names)
        return [policy for policy in found if policy is not None]

    def _base(
        self, consent: FhirJson, policy: Policy | None, at_odds: str, read: "ProvisionReader"
    ) -> Wish:
        """What the Consent says above its root provision."""
        stated: dict[str, Stated] = {}
        scopes = {self._vocabulary.terms["scope"].get(c) for c in codes_of(consent.get("scope"))}
        if scopes == {"research"}:
            stated["purposes"] = Stated(self._vocabulary.research_purposes)
        if policy is not None and policy.purposes is not None:
            stated["purposes"] = Stated(policy.purposes, at_odds)
        if consent.get("decision") == "permit" and "grantee" in consent:
            stated["grantees"] = read.grantees(dicts(consent["grantee"]))
        labels = None
        if policy is not None and policy.labels is not None:
            labels = tuple({"code": code} for code in policy.labels)
        return Wish(
            stated=stated,
            labels=labels,
            period=span(consent.get("period"), self._settings.regime.time_zone),
        )

    def _rule(self, path: str, effect: Effect, note: str, wish: Wish) -> Iterator[Rule]:
        if effect is Effect.DENY:
            yield self._deny(path, note, wish)
            return
        covered = None if wish.labels is None else self._labels.permitted(wish.labels)
        if wish.notes() or (wish.labels is not None and covered is None):
            return
        for part in _parts(wish):
            permit = _rule_of(path, Effect.PERMIT, part, covered)
            yield permit
            lifted = self._lifted(permit, part)
            if lifted:
                yield _rule_of(path, Effect.LIFT, part, lifted)

    def _deny(self, path: str, note: str, wish: Wish) -> Rule:
        shared = None if wish.labels is None else self._labels.denied(wish.labels)
        notes = [stated.note for stated in wish.stated.values() if stated.note]
        notes += [span.note for span in (wish.data_period, wish.period) if span.note]
        if not self._labels.knows(wish.labels or ()):
            notes.append("unknown-label")
        stated = {name: stated.wide() for name, stated in wish.stated.items()}
        grantees = wish.get("grantees").wide()
        if grantees.values is not None:
            stated["grantees"] = Stated(denied(grantees.values))
        wide = Wish(
            stated=stated,
            data_period=ALWAYS if wish.data_period.note else wish.data_period,
            period=ALWAYS if wish.period.note else wish.period,
        )
        return _rule_of(
            path, Effect.DENY, wide, shared, note=next(filter(None, [note, *notes]), "")
        )

    def _lifted(self, permit: Rule, wish: Wish) -> int:
        """The hard labels a permit frees: it names recipient, purpose and the label itself."""
        if not permit.purposes or not wish.labels:
            return 0
        named = self._labels.named(wish.labels)
        mask = 0
        for rule in self._settings.hard_rules:
            is_alone = named <= rule.lifted_by | set(rule.labels)
            is_for_class = bool(rule.class_purposes) and permit.purposes <= rule.class_purposes
            is_for_whom = names_somebody(permit.grantees) or is_for_class
            if named & rule.lifted_by and is_for_whom and (is_alone or not rule.is_alone):
                mask |= self._labels.bits(rule.labels)
        return mask


def _rule_of(path: str, effect: Effect, wish: Wish, label_mask: int | None, note: str = "") -> Rule:
    return Rule(
        path=path,
        effect=effect,
        note=note,
        grantees=wish.get("grantees").values,
        purposes=wish.get("purposes").values,
        actions=wish.get("actions").values,
        types=wish.get("types").values,
        sources=wish.get("sources").values,
        targets=wish.get("targets").values,
        codes=wish.get("codes").values,
        label_mask=label_mask,
        date_lo_us=wish.data_period.lo_us,
        date_hi_us=wish.data_period.hi_us,
        valid_from_us=wish.period.lo_us,
        valid_to_us=wish.period.hi_us,
    )


def _parts(wish: Wish) -> Iterator[Wish]:
    """The wish for those who are meant for good, then for each who is meant for a time."""
    grantees = wish.get("grantees")
    if grantees.values or not grantees.passing:
        yield wish
    for member in sorted(grantees.passing, key=lambda one: one.name):
        narrow = wish.period.within(member.span)
        if not member.is_left and not _is_empty(narrow):
            stated = {**wish.stated, "grantees": Stated(frozenset({member.name}))}
            yield replace(wish, stated=stated, period=narrow)


def _is_empty(period: Span) -> bool:
    is_bounded = period.lo_us is not None and period.hi_us is not None
    return bool(period.note) or (is_bounded and period.lo_us >= period.hi_us)  # type: ignore[operator]  # both are set


def _effect(found: Any) -> tuple[Effect, str]:
    if found in (Effect.PERMIT.value, Effect.DENY.value):
        return Effect(found), ""
    return Effect.DENY, "unknown-type"


def _strictest(one: Policy, other: Policy) -> Policy:
    """What two policies that one Consent names both permit."""
    return Policy(
        effect="permit" if one.effect == other.effect == "permit" else "deny",
        purposes=_both(one.purposes, other.purposes),
        labels=_in_common(one.labels, other.labels),
    )


def _at_odds(policies: Sequence[Policy]) -> str:
    """Why a denial below several policies means any purpose; "" where they say the same.

    A permit has the purposes they share. Taken over by a denial those would narrow it. What says
    nothing but permit, such as `OPTIN`, is at odds with none.
    """
    said = {
        (one.effect, one.purposes)
        for one in policies
        if (one.effect, one.purposes, one.labels) != ("permit", None, None)
    }
    return "policies-at-odds" if len(said) > 1 else ""


def _both(one: frozenset[str] | None, other: frozenset[str] | None) -> frozenset[str] | None:
    if one is None or other is None:
        return other if one is None else one
    return one & other


def _in_common(
    one: tuple[str, ...] | None, other: tuple[str, ...] | None
) -> tuple[str, ...] | None:
    if one is None or other is None:
        return other if one is None else one
    return tuple(label for label in one if label in other)


def _has_modifier(node: Any) -> bool:
    left = [node]
    while left:
        found = left.pop()
        if isinstance(found, dict):
            if found.get("modifierExtension") or found.get("implicitRules"):
                return True
            left.extend(found.values())
        elif isinstance(found, list):
            left.extend(found)
    return False


def _unread(provisions: Any) -> str:
    """Why the provisions cannot be read; "" when they can."""
    if provisions is not None and not isinstance(provisions, (dict, list)):
        return "unreadable"
    return "too-deep" if _depth(provisions) > DEPTH_LIMIT else ""


def _depth(provisions: Any) -> int:
    depth, level = 0, dicts(provisions)
    while level and depth <= DEPTH_LIMIT:
        depth += 1
        level = [below for provision in level for below in dicts(provision.get("provision"))]
    return depth
