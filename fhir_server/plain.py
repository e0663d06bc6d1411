"""What needs no model to be judged: nothing in it but values of their types' own formats (pure).

The models of fhir.resources build an object for every element to find, mostly, nothing. What
has passed the walk of `fhir_server.validate` they can refuse for formats of primitives alone,
unless it has what only they know of: extensions of primitives, and resources in it.
"""

from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import cache
from typing import Any, Final, Protocol

from pydantic import TypeAdapter, ValidationError

from hie.kernel.fhir import FhirJson

RESOURCE: Final = "Resource"
#: Raises ValidationError for a value that is not of a format.
Format = Callable[[Any], object]


class Known(Protocol):
    """What of an element's model counts here."""

    @property
    def type(self) -> str:
        """Its type; "" for primitives."""
        ...

    @property
    def format(self) -> Format:
        """Of a primitive: judges its value, or the list of its values."""
        ...


@cache
def format_of(annotation: Any) -> Format:
    """The format of a model's field of primitives, as the model itself judges it."""
    return TypeAdapter(annotation).validator.validate_python


def is_plain(
    node: FhirJson, type_name: str, elements: Callable[[str], Mapping[str, Known]]
) -> bool:
    """Whether no model can find a fault in an element.

    Args:
        node: in which the walk found none.
        type_name: its type.
        elements: the elements of a type by their JSON names.
    """
    known = elements(type_name)
    for name, value in node.items():
        element = known.get(name)
        if element is None or element.type == RESOURCE:
            return False  # an extension of a primitive, or a resource
        if not element.type:
            try:
                element.format(value)
            except ValidationError:
                return False
        elif not all(
            is_plain(each, element.type, elements)
            for each in (value if isinstance(value, list) else (value,))
        ):
            return False
    return True


def has_shape(item: Any, shape: str) -> bool:
    """Whether a JSON value is a `boolean`, a `whole number`, a `number` or `text`."""
    if isinstance(item, bool):
        return shape == "boolean"
    if shape == "text":
        return isinstance(item, str)
    if shape == "whole number":
        return isinstance(item, int)
    return shape == "number" and isinstance(item, int | float | Decimal)
