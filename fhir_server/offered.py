"""Which interactions stand at which resource type: one table for the answers and for what is told.

Spec: https://hl7.org/fhir/R4/http.html, https://hl7.org/fhir/R4/parameters.html
"""

from collections.abc import Mapping
from typing import Final

from adapters.fhir.plan import NEVER_STORED

#: Interactions that stand at a resource type, in the order FHIR lists them.
TYPE_INTERACTIONS: Final = (
    "read",
    "vread",
    "update",
    "patch",
    "delete",
    "history-instance",
    "history-type",
    "create",
    "search-type",
)
#: Types of which less is offered than of others.
_LESS: Final[Mapping[str, frozenset[str]]] = {
    "AuditEvent": frozenset({"read", "search-type"}),
    "Subscription": frozenset({"read", "update", "delete", "create", "search-type"}),
    **dict.fromkeys(NEVER_STORED, frozenset[str]()),
}


def interactions_of(type_name: str) -> tuple[str, ...]:
    """What may be done with resources of a type; nothing where they are never stored."""
    less = _LESS.get(type_name)
    return tuple(each for each in TYPE_INTERACTIONS if less is None or each in less)


def is_never_stored(type_name: str, interaction: str) -> bool:
    """Whether an interaction is asked of a type that only carries what operations are told."""
    return interaction in TYPE_INTERACTIONS and type_name in NEVER_STORED
