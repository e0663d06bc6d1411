"""The law of a place, made ready to decide with (pure)."""

from collections.abc import Iterable, Iterator

from consent.labels import LabelTable
from consent.model import ANYONE, AccessRequest, Obligation
from consent.regime import BreakGlass, ConsentSettings, HardRule, RegimeRule
from hie.store.residual import DefaultRule, Denials, Residual


class Law:
    """The settings, made ready to decide with."""

    def __init__(self, settings: ConsentSettings) -> None:
        self.settings = settings
        self.labels = LabelTable(settings.sensitivity)
        self._in_force = tuple(
            rule
            for rule in settings.hard_rules
            if rule.is_everywhere or rule.name in settings.regime.hard
        )
        self.hard_bits = self._bits(self._in_force)
        self.break_glass = settings.regime.break_glass
        # Held back in an emergency, too: the regime's own, and rules that know no exception.
        self._always = (
            *(rule for rule in self._in_force if not rule.opens_in_emergency),
            _never(self.break_glass),
        )
        self._emergency_bits = self._bits(self._always)
        self._is_dated = any(
            at is not None for rule in self._in_force for at in (rule.from_us, rule.to_us)
        )

    def rule_of(self, bit: int) -> HardRule:
        """The hard rule that holds back a bit of a residual's `hard_bits`."""
        rules = (*self._in_force, *self._always)
        return next(rule for rule in rules if self.labels.bits(rule.labels) & bit)

    def is_emergency(self, purpose: str) -> bool:
        """Whether a purpose opens nobody's record without an emergency access."""
        return purpose in self.settings.purposes.needs_reason

    def needs_reason(self, request: AccessRequest) -> bool:
        """Whether the purpose needs a stated reason that the request lacks."""
        return self.is_emergency(request.purpose) and not request.break_glass

    def residual(self, request: AccessRequest) -> Residual:
        """The request side of the decision, for the database."""
        is_confined = not request.grantees or self.needs_reason(request)
        is_emergency = self.is_emergency(request.purpose)
        purposes = self.settings.purposes.expand(request.purpose)
        return Residual(
            own_sources=request.own_sources,
            self_person=request.self_person,
            withheld_mask=request.withheld_mask,
            grantees=frozenset() if is_confined else request.grantees | {ANYONE},
            purposes=purposes,
            action=request.action,
            now_us=request.now_us,
            defaults=() if is_confined else tuple(self._defaults(request, purposes)),
            hard_bits=self._held_bits(request.now_us, is_emergency=is_emergency),
            sees_source_records=request.is_steward,
            only_persons=request.break_glass if is_emergency else None,
            denials=_denials(self.break_glass) if is_emergency else "all",
        )

    def obligations(self, label_mask: int) -> tuple[Obligation, ...]:
        """What the disclosure of a resource with these labels must carry."""
        texts = self.settings.obligations
        codes = {
            rule.obligation
            for rule in self._in_force
            if rule.obligation and self.labels.bits(rule.labels) & label_mask
        }
        return tuple(Obligation(code=code, text=texts[code]) for code in sorted(codes))

    def _held_bits(self, now_us: int, *, is_emergency: bool) -> tuple[int, ...]:
        """The bits of the hard rules that hold at a time."""
        if not self._is_dated:
            return self._emergency_bits if is_emergency else self.hard_bits
        rules = self._always if is_emergency else self._in_force
        return self._bits(rule for rule in rules if in_time(rule.from_us, rule.to_us, now_us))

    @property
    def noticed_bits(self) -> tuple[int, ...]:
        """The label bits whose disclosure carries a notice."""
        return self._bits(rule for rule in self._in_force if rule.obligation)

    def _bits(self, rules: Iterable[HardRule]) -> tuple[int, ...]:
        codes = sorted({code for rule in rules for code in rule.labels})
        return tuple(self.labels.bits([code]) for code in codes)

    def _defaults(self, request: AccessRequest, purposes: frozenset[str]) -> Iterator[DefaultRule]:
        if self.is_emergency(request.purpose) and self.break_glass.is_allowed:
            yield DefaultRule(effect="permit")
            return
        for rule in self.settings.regime.rules:
            if in_time(rule.from_us, rule.to_us, request.now_us) and meets(rule.purposes, purposes):
                yield DefaultRule(
                    effect=rule.effect,
                    label_mask=self._default_mask(rule),
                    types=rule.types,
                    sources=rule.sources,
                )

    def _default_mask(self, rule: RegimeRule) -> int | None:
        if rule.labels is None:
            return None
        codings = [{"code": code} for code in rule.labels]
        if rule.effect == "deny":
            return self.labels.denied(codings)
        return self.labels.permitted(codings) or 0


def _never(terms: BreakGlass) -> HardRule:
    """What an emergency access never opens, as a rule."""
    return HardRule(
        name="break-glass",
        labels=terms.never,
        is_everywhere=True,
        lifted_by=frozenset(),
        is_alone=False,
        class_purposes=frozenset(),
        law=terms.law,
        obligation="",
    )


def _denials(terms: BreakGlass) -> Denials:
    """Which denials of a patient count in an emergency."""
    if not terms.overrides_patient_deny:
        return "all"
    return "named" if terms.heeds_named_deny else "none"


def meets(values: frozenset[str] | None, asked: frozenset[str]) -> bool:
    """Whether any of what is asked is among the values; None = any at all."""
    return values is None or not values.isdisjoint(asked)


def in_time(from_us: int | None, to_us: int | None, now_us: int) -> bool:
    """Whether a moment is in [from, to); None = open."""
    return (from_us is None or from_us <= now_us) and (to_us is None or now_us < to_us)
