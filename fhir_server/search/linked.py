"""What may be included with matches of each type, for the CapabilityStatement (pure).

Spec: https://hl7.org/fhir/R4/search.html#include
"""

from collections.abc import Mapping
from typing import Final

from hie.store.index import SearchIndex

#: May lead to any type, and is told of each: who recorded what is asked for with everything.
ANY: Final = "Provenance:target"


def included(index: SearchIndex, type_name: str) -> list[str]:
    """Values of `_include` at a type: its references, each and (`*`) all."""
    found = [param.name for param in index.params(type_name) if param.type == "reference"]
    return ["*", *(f"{type_name}:{name}" for name in found)] if found else []


def reverse_included(index: SearchIndex) -> Mapping[str, list[str]]:
    """Values of `_revinclude` by type: references declared to lead to it.

    Others are taken too, where a reference is not declared to lead elsewhere; a list of all of
    them at each of 146 types would help nobody.
    """
    found: dict[str, list[str]] = {name: [ANY] for name in index.types}
    for source in index.types:
        for param in index.params(source):
            if param.type == "reference":
                for target in param.targets:
                    if f"{source}:{param.name}" != ANY and target in found:
                        found[target].append(f"{source}:{param.name}")
    return found
