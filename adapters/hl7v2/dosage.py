"""The last word on dosages: what FHIR allows together, and a text for each.

Segments say their parts of a dosage one by one; only when all have spoken can it be seen whether
a ratio has both its sides or an amount is said twice.
Spec: https://hl7.org/fhir/R4/dosage.html, constraints tim-9, tim-10, rat-1 and mad-1
"""

from collections.abc import Iterable
from typing import Any, Final

from adapters.hl7v2.context import Context
from adapters.hl7v2.quantities import amount_text
from hie.kernel.fhir import FhirJson

_ABSENT: Final = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"
#: Where an amount that is no number waits until it is in the text.
_AMOUNT: Final = "amount"
#: What belongs to the order, however many instructions it has.
_SHARED: Final = ("route", "site", "method")
_RATIOS: Final = ("maxDosePerPeriod", "rateRatio", "strength")


def keep_amount(raw: str, context: Context) -> None:
    """Have the text of the first dosage say an amount that is no number."""
    if text := amount_text(raw, context):
        context.target.setdefault("dosageInstruction", [{}])[0][_AMOUNT] = text


def finish_dosages(_raw: str, context: Context) -> None:
    """Complete and clean the dosages of the resource being made, and give each a text."""
    made = context.target
    dosages: list[FhirJson] = made.get("dosageInstruction") or []
    for dosage in dosages:
        for name in _SHARED:
            if name in dosages[0]:
                dosage.setdefault(name, dosages[0][name])
        _keep_whole_ratios([dosage, *dosage.get("doseAndRate", ())])
        for amount in dosage.get("doseAndRate", ()):
            if "doseRange" in amount:
                amount.pop("doseQuantity", None)
        _drop_empty(dosage, "doseAndRate")
        _settle_timing(dosage.get("timing", {}).get("repeat", {}))
        said = (dosage.pop(_AMOUNT, ""), dosage.get("text") or _spoken(dosage))
        if text := ", ".join(part for part in said if part):
            dosage["text"] = text
    _drop_empty(made, "dosageInstruction")
    for contained in made.get("contained", ()):
        _keep_whole_ratios(contained.get("ingredient", ()))


def finish_administration(_raw: str, context: Context) -> None:
    """Clean the dosage of a MedicationAdministration: its amount is said, or said to be unknown."""
    dosage = context.target.get("dosage")
    if dosage is None:
        return
    _keep_whole_ratios([dosage])
    if not dosage.keys() & {"dose", "rateRatio", "rateQuantity"}:
        dosage["dose"] = {"extension": [{"url": _ABSENT, "valueCode": "unknown"}]}


def _keep_whole_ratios(owners: Iterable[FhirJson]) -> None:
    """Drop ratios of which one side could not be read: half a ratio is none."""
    for owner in owners:
        for name in _RATIOS:
            if name in owner and not owner[name].keys() >= {"numerator", "denominator"}:
                del owner[name]


def _drop_empty(owner: FhirJson, name: str) -> None:
    """Leave no entry of a list, and no list, that says nothing."""
    if name in owner:
        owner[name] = [entry for entry in owner[name] if entry]
        if not owner[name]:
            del owner[name]


def _settle_timing(repeat: FhirJson) -> None:
    """Hours of the day rule out events of the day; an offset needs an event."""
    if "timeOfDay" in repeat:
        repeat.pop("when", None)
    if "when" not in repeat:
        repeat.pop("offset", None)


def _spoken(dosage: FhirJson) -> str:
    amount: FhirJson = (dosage.get("doseAndRate") or [{}])[0]
    repeat = dosage.get("timing", {}).get("repeat", {})
    span = repeat.get("boundsDuration")
    words = [
        _measured(amount.get("doseQuantity")) or _ranged(amount.get("doseRange")),
        _measured(amount.get("rateQuantity")),
        _named(dosage.get("route")),
        _named(dosage.get("timing", {}).get("code")),
        f"for {_measured(span)}" if span else "",
        "as needed" if dosage.get("asNeededBoolean") else "",
    ]
    return ", ".join(word for word in words if word)


def _measured(quantity: Any) -> str:
    if not quantity or "value" not in quantity:
        return ""
    return f"{quantity['value']:f} {quantity.get('unit', '')}".strip()


def _ranged(found: Any) -> str:
    if not found:
        return ""
    low, high = _measured(found.get("low")), _measured(found.get("high"))
    return f"{low} to {high}" if low and high else low or high


def _named(concept: Any) -> str:
    if not concept:
        return ""
    first = (concept.get("coding") or [{}])[0]
    return str(concept.get("text") or first.get("display") or first.get("code") or "")
