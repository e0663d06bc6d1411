"""`actor:above` of Consents: those that name an organisation, or one that it belongs to (pure).

Who is meant by a consent for a health system is each of its hospitals, too. R4 has `:above` for
references between resources of one type; here it follows the actor's own `partOf`. The parents
are those of the source files, by which the decision is made, not those a feed may have written.
Spec: https://hl7.org/fhir/R4/search.html#recursive; IHE PCF, ITI-108
"""

from collections.abc import Callable, Collection
from typing import Final

Params = tuple[tuple[str, str], ...]
#: An organisation's id to its own and those above it.
Lineage = Callable[[str], Collection[str]]
TYPE: Final = "Consent"
_ABOVE: Final = "actor:above"
_ORGANIZATION: Final = "Organization/"


def with_lineage(type_name: str, params: Params, lineage: Lineage, base: str) -> Params:
    """The parameters with every `actor:above` spelled out as the actors it means."""
    if type_name != TYPE or all(name != _ABOVE for name, _ in params):
        return params
    return tuple(
        ("actor", _spelled(value, lineage, base)) if name == _ABOVE else (name, value)
        for name, value in params
    )


def _spelled(value: str, lineage: Lineage, base: str) -> str:
    found: dict[str, None] = {}
    for one in value.split(","):
        name = one.strip().removeprefix(f"{base}/")
        if name.startswith(_ORGANIZATION):
            above = lineage(name.removeprefix(_ORGANIZATION))
            found |= dict.fromkeys(f"{_ORGANIZATION}{each}" for each in sorted(above))
        else:
            found[one] = None
    return ",".join(found)
