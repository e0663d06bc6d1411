"""Numbers and what is measured: NM, SN, NR, CQ and units.

A number is a Decimal of the sender's own digits, never a float: `72.50` stays `72.50`. What is
no number is never dropped: it comes back as text.
Spec: HL7 v2.8.2 2.A.47 (NM), 2.A.70 (SN), 2.A.15 (CQ); https://hl7.org/fhir/R4/datatypes.html
"""

import re
from decimal import Decimal
from typing import Final

from adapters.hl7v2.codes import system_uri
from adapters.hl7v2.context import Context, Parts
from hie.kernel.fhir import FhirJson

UCUM: Final = "http://unitsofmeasure.org"
#: Longest number taken as one; FHIR asks for 18 digits.
_DIGITS: Final = 40
_NUMBER: Final = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)", re.ASCII)
_COMPARED: Final = re.compile(
    r"(<=|>=|=<|=>|<|>|\u2264|\u2265)\s*([+-]?(?:\d+(?:\.\d*)?|\.\d+))", re.ASCII
)
#: Other ways to write a comparator.
_COMPARATORS: Final = {"=<": "<=", "=>": ">=", "\u2264": "<=", "\u2265": ">="}
#: Names senders give their units that mean UCUM or its forerunner, or nothing at all.
_NO_SYSTEM: Final = frozenset({"", "ISO+", "ISO", "ANSI+", "ISO2955", "ISO2955.83", "L"})


def number(text: str) -> Decimal | None:
    """The number a text is; None when it is none."""
    text = text.strip()
    return Decimal(text) if len(text) <= _DIGITS and _NUMBER.fullmatch(text) else None


def units(code: str, text: str, system: str, context: Context) -> FhirJson:
    """The unit part of a Quantity; {} when nothing is said.

    UCUM where the sender names it or writes what the table of units knows.
    """
    if not code:
        return {"unit": text} if text else {}
    if system not in _NO_SYSTEM:
        uri = system_uri(system, context)
        return {"unit": text or code, "system": uri, "code": " ".join(code.split())}
    concept = context.terminology.map("unit").exact(code)
    if concept:
        return {"unit": text or code, "system": UCUM, "code": concept.target}
    return {"unit": text or code}


def units_of(raw: str, context: Context) -> FhirJson:
    """The unit part of a Quantity, of a CWE; {} when empty."""
    if not raw:
        return {}
    found: FhirJson | None = context.shared.get(("units", raw))
    if found is None:
        parts = Parts(raw, context)
        found = units(parts(1), parts(2), parts(3), context)
        context.keep(("units", raw), found)
    return found


def numeric(raw: str, context: Context) -> FhirJson | None:
    """A Quantity of an NM and the units in the companion field; `<5` is read too."""
    return _quantity(context.text(raw), units_of(context.companion, context))


def quantity(raw: str, context: Context) -> FhirJson | None:
    """A Quantity without a comparator, as amounts are; None, reported, for what is no number."""
    value = number(context.text(raw))
    if value is None:
        context.report("datatype", "must be a number")
        return None
    return {"value": value, **units_of(context.companion, context)}


def amount_text(raw: str, context: Context) -> str | None:
    """What stands for an amount and is no number, with its units: `1-2 tablet`."""
    text = context.text(raw)
    if not text or number(text) is not None:
        return None
    return f"{text} {units_of(context.companion, context).get('unit', '')}".strip()


def _quantity(text: str, unit: FhirJson) -> FhirJson | None:
    value = number(text)
    if value is not None:
        return {"value": value, **unit}
    compared = _COMPARED.fullmatch(text)
    if compared:
        comparator = _COMPARATORS.get(compared[1], compared[1])
        return {"value": Decimal(compared[2]), "comparator": comparator, **unit}
    return None


def composite_quantity(raw: str, context: Context) -> FhirJson | None:
    """A Quantity of a CQ: number and units in one field."""
    if context.component not in raw:
        raw = raw.replace(context.sub, context.component)  # a CQ within a component
    parts = Parts(raw, context)
    unit = units(parts(2, 1), parts(2, 2), parts(2, 3), context)
    found = _quantity(parts(1), unit)
    if found is None and parts(1):
        context.report("datatype", "must be a number and its units", component=1)
    return found


def money(raw: str, context: Context) -> FhirJson | None:
    """A Money of an MO or CP: the amount, and the currency where one is named."""
    parts = Parts(raw, context)
    amount = number(parts(1))
    if amount is None:
        context.report("datatype", "must be an amount of money", component=1)
        return None
    # The price of a CP has its currency below it, an MO beside it.
    currency = (parts(1, 2) or parts(2)).upper()
    is_code = len(currency) == 3 and currency.isascii() and currency.isalpha()
    return {"value": amount, "currency": currency} if is_code else {"value": amount}


def decimal(raw: str, context: Context) -> Decimal | None:
    """A decimal; None, reported, for what is no number."""
    found = number(context.text(raw.split(context.component, 1)[0]))
    if found is None:
        context.report("datatype", "must be a number")
    return found


def whole_number(raw: str, context: Context) -> int | None:
    """A positiveInt or unsignedInt; None, reported, for anything else."""
    text = context.text(raw.split(context.component, 1)[0])
    if len(text) <= 9 and text.isascii() and text.isdigit():
        return int(text)
    context.report("datatype", "must be a whole number")
    return None


def structured_numeric(raw: str, context: Context) -> FhirJson | None:
    """Elements `valueQuantity`, `valueRange`, `valueRatio` or `valueString` of an SN.

    `<>` and `+` have no FHIR form and stay text.
    """
    parts = Parts(raw, context)
    comparator, first, separator, second = (parts(n) for n in range(1, 5))
    low, high = number(first), number(second)
    unit = units_of(context.companion, context)
    if low is not None and comparator in ("", "=", "<", "<=", ">", ">="):
        kept = comparator if comparator != "=" else ""
        left: FhirJson = {"value": low, **({"comparator": kept} if kept else {}), **unit}
        if not separator and not second:
            return {"valueQuantity": left}
        if high is not None and separator in (":", "/"):
            return {"valueRatio": {"numerator": left, "denominator": {"value": high}}}
        if high is not None and separator == "-" and not kept:
            return {"valueRange": {"low": left, "high": {"value": high, **unit}}}
    words = [comparator, first, separator, second, unit.get("unit", "")]
    text = " ".join(word for word in words if word)
    return {"valueString": text} if text else None


def numeric_range(raw: str, context: Context) -> FhirJson | None:
    """A Range of an NR."""
    parts = Parts(raw, context)
    unit = units_of(context.companion, context)
    ends = {"low": (parts(1), number(parts(1))), "high": (parts(2), number(parts(2)))}
    if any(text and end is None for text, end in ends.values()):
        return None  # half of what it says would mean something else
    found = {name: {"value": end, **unit} for name, (_, end) in ends.items() if end is not None}
    return found or None


def numeric_array(raw: str, context: Context) -> FhirJson | None:
    """SampledData of an NA; None unless every value is a number."""
    values = [context.text(part) for part in raw.split(context.component)]
    if not values or any(value and number(value) is None for value in values):
        return None
    origin = {"value": Decimal(0), **units_of(context.companion, context)}
    return {
        "origin": origin,
        "period": Decimal(1),
        "dimensions": 1,
        "data": " ".join(str(number(value)) if value else "E" for value in values),
    }
