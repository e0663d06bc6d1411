"""Whether the files of the law fit together (pure): what one names, another has to know."""

from collections.abc import Iterator

from consent.regime import ConsentSettings

#: Kinds of reasons and notes are words of code: `consent.model` has them, a test compares.


def incoherent(settings: ConsentSettings) -> list[str]:
    """Every fault, naming file and key; empty when everything fits."""
    return [*_regime(settings), *_hard_rules(settings)]


def _regime(settings: ConsentSettings) -> Iterator[str]:
    regime = settings.regime
    file = f"`{regime.name}.toml`"
    known = _labels(settings)
    if unknown := set(regime.hard) - {rule.name for rule in settings.hard_rules}:
        yield f"{file}: `hard`: expected names of hard-rules.toml, not `{min(unknown)}`"
    for number, rule in enumerate(regime.rules, start=1):
        place = f"{file} [[default]] {number}"
        if unknown := set(rule.labels or ()) - known:
            yield f"{place}: `labels`: expected codes of labels.toml, not `{min(unknown)}`"
        if unknown := set(rule.types or ()) - settings.vocabulary.types:
            yield f"{place}: `types`: expected resource types, not `{min(unknown)}`"
        if unknown := set(rule.purposes or ()) - settings.purposes.known():
            yield f"{place}: `purposes`: expected codes of purposes.toml, not `{min(unknown)}`"
        if rule.from_us is not None and rule.to_us is not None and rule.from_us >= rule.to_us:
            yield f"{place}: `to`: expected a day after `from`"
    if unknown := set(regime.break_glass.never) - known:
        yield f"{file} [break_glass]: `never`: expected codes of labels.toml, not `{min(unknown)}`"


def _hard_rules(settings: ConsentSettings) -> Iterator[str]:
    known = {label.code for label in settings.sensitivity.labels}
    for number, rule in enumerate(settings.hard_rules, start=1):
        place = f"`hard-rules.toml` [[rule]] {number}"
        for key, codes in (("labels", set(rule.labels)), ("lifted_by", set(rule.lifted_by))):
            if unknown := codes - known:
                yield f"{place}: `{key}`: expected codes of labels.toml, not `{min(unknown)}`"
        if rule.obligation and rule.obligation not in settings.obligations:
            yield f"{place}: `obligation`: expected a key of [obligations]"


def _labels(settings: ConsentSettings) -> set[str]:
    sensitivity = settings.sensitivity
    levels = {level.code for level in sensitivity.levels}
    return levels | {label.code for label in sensitivity.labels} | set(sensitivity.aliases)
