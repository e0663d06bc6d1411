"""FHIR numbers as the closed range they stand for: a Quantity's comparator, a Range, samples.

Spec: https://hl7.org/fhir/R4/search.html#number, https://hl7.org/fhir/R4/datatypes.html
"""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, Final

from hie.kernel.fhir import FhirJson

#: Bounds of an open range of numbers.
MAX_NUMBER: Final = Decimal(10) ** 19


def number_range(value: Any) -> tuple[Decimal, Decimal] | None:
    """The closed range of a number, a Quantity (with its comparator) or a Range."""
    if isinstance(value, dict):
        if "low" in value or "high" in value:
            low, high = number_range(value.get("low")), number_range(value.get("high"))
            return (low[0] if low else -MAX_NUMBER), (high[1] if high else MAX_NUMBER)
        exact = number(value.get("value"))
        if exact is None:
            return None
        comparator = value.get("comparator", "")
        lo = -MAX_NUMBER if comparator in ("<", "<=") else exact
        return lo, MAX_NUMBER if comparator in (">", ">=") else exact
    exact = number(value)
    return None if exact is None else (exact, exact)


def number(value: Any) -> Decimal | None:
    """A finite JSON number, one beyond the bounds as the nearer of them; else None."""
    if isinstance(value, bool) or not isinstance(value, int | Decimal | float):
        return None
    exact = value if isinstance(value, Decimal) else Decimal(str(value))
    return _bounded(exact) if exact.is_finite() else None


def _bounded(exact: Decimal) -> Decimal:
    return max(-MAX_NUMBER, min(MAX_NUMBER, exact))


def sampled_range(value: FhirJson) -> tuple[Decimal, Decimal] | None:
    """The range of SampledData: from its lowest to its highest sample."""
    origin, factor = number_range(value["origin"]), number(value.get("factor", 1))
    if origin is None or factor is None:
        return None
    limits = {"L": number(value.get("lowerLimit")), "U": number(value.get("upperLimit"))}
    found = [_sample(text, limits) for text in str(value.get("data", "")).split()]
    samples = [origin[0] + sample * factor for sample in found if sample is not None]
    return (min(samples), max(samples)) if samples else None


def _sample(text: str, limits: Mapping[str, Decimal | None]) -> Decimal | None:
    if text in limits:
        return limits[text]
    try:
        sample = Decimal(text)  # "E" is an error of the device
    except InvalidOperation:
        return None
    return _bounded(sample) if sample.is_finite() else None
