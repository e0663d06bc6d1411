"""Values of OBX-5 that R4 has no type for, as people read them: names, addresses, money.

What an observation says of a person or a place is text here: it is a statement, not a record
of that person.
Spec: HL7 v2.8.2 2.A (CP, CX, DR, EI, MO, VR, XAD, XCN, XON, XPN, XTN)
"""

from typing import Final

from adapters.hl7v2 import identifiers, people
from adapters.hl7v2.context import Context, Parts
from adapters.hl7v2.quantities import number
from hie.kernel.fhir import FhirJson

_CURRENCIES: Final = "urn:iso:std:iso:4217"


def date_range(raw: str, context: Context) -> FhirJson | None:
    """A Period of a DR."""
    parts = Parts(raw, context)
    return identifiers.period(parts(1), parts(2), context)


def value_range(raw: str, context: Context) -> str | None:
    """The two ends of a VR, `10-20`."""
    parts = Parts(raw, context)
    return "-".join(end for n in (1, 2) if (end := parts(n))) or None


def person(raw: str, context: Context) -> str | None:
    """The name of an XCN or CN as people write it, else the number."""
    parts = Parts(raw, context)
    name = " ".join(word for n in (6, 3, 4, 2, 5) if (word := parts(n)))
    return name or parts(1) or None


def place(raw: str, context: Context) -> str | None:
    """An XAD or AD on one line."""
    found = people.address(raw, context)
    if found is None:
        return None
    region = " ".join(found[name] for name in ("state", "postalCode") if name in found)
    words = [*found.get("line", ()), found.get("city", ""), region, found.get("country", "")]
    return ", ".join(word for word in words if word) or None


def number_to_call(raw: str, context: Context) -> str | None:
    """The number or mail address of an XTN or TN."""
    found = people.contact_point(raw, context)
    return found["value"] if found else None


def money(raw: str, context: Context) -> FhirJson | None:
    """A Quantity of an MO in its currency, or of the price that begins a CP."""
    parts = Parts(raw, context)
    is_price = bool(parts(1, 2))
    amount = number(parts(1))
    currency = parts(1, 2) if is_price else parts(2)
    if amount is None:
        return None
    if len(currency) != 3 or not currency.isalpha():
        return {"value": amount, **({"unit": currency} if currency else {})}
    code = currency.upper()
    return {"value": amount, "unit": code, "system": _CURRENCIES, "code": code}
