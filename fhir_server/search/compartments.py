"""Compartments in addresses: what `/Encounter/1/Observation` asks beside its parameters.

Spec: https://hl7.org/fhir/R4/search.html#2.1.1.2, https://hl7.org/fhir/R4/compartmentdefinition.html
"""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from fhir_server.search.params import refused
from hie.kernel.errors import Category, HieError, Issue
from hie.kernel.fhir import ID
from hie.store import query as q
from hie.store.index import SearchIndex

PATIENT: Final = "Patient"
ITSELF: Final = "{def}"


class Compartments:
    """Which resources are in whose compartment.

    Args:
        members: by compartment and type the numbers of the parameters that say so; None = the
            resource that the compartment is of.
    """

    def __init__(
        self, index: SearchIndex, members: Mapping[str, Mapping[str, tuple[int, ...] | None]]
    ) -> None:
        self._index = index
        self._members = members

    @property
    def names(self) -> tuple[str, ...]:
        """The types of the resources that have compartments."""
        return (PATIENT, *sorted(self._members))

    def within(self, compartment: str, key: str, type_name: str) -> Sequence[q.Criterion]:
        """What a resource of a type must meet to be in a compartment.

        Raises:
            HieError: NOT_FOUND where there is no such compartment; INVALID where the type is
                never in it.
        """
        if compartment != PATIENT and compartment not in self._members:
            known = ", ".join(self.names)
            raise _no_such(f"the address names no compartment; there are {known}")
        if not ID.match(key):
            raise refused("_id", "expected an id of 1 to 64 letters, digits, `-` and `.`")
        if compartment == PATIENT:
            if self._index.is_directory(type_name):
                raise _never_in(compartment, type_name)
            return (q.About(param=PATIENT, persons=(key,), is_any=True),)
        members = self._members[compartment]
        if type_name not in members:
            raise _never_in(compartment, type_name)
        ids = members[type_name]
        if ids is None:
            return (q.Ids(values=(key,)),)
        value = q.ReferenceValue(types=(compartment,), id=key)
        return (q.Reference(param=compartment, param_ids=ids, values=(value,)),)


def load_compartments(path: Path, index: SearchIndex) -> Compartments:
    """The compartments of `config/fhir/compartments.toml`.

    Raises:
        HieError: INVALID naming file, key and what is expected there.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _bad("", "a readable TOML file") from error
    members: dict[str, dict[str, tuple[int, ...] | None]] = {}
    for compartment, types in table.items():
        if not index.has_type(compartment) or not isinstance(types, dict):
            raise _bad(compartment, "a table named after a resource type")
        members[compartment] = {
            type_name: _numbers(f"{compartment}.{type_name}", type_name, names, index)
            for type_name, names in types.items()
        }
    return Compartments(index, members)


def _numbers(
    key: str, type_name: str, names: Sequence[str], index: SearchIndex
) -> tuple[int, ...] | None:
    if names == [ITSELF]:
        return None
    found: list[int] = []
    for name in names:
        param = index.param(type_name, name) if index.has_type(type_name) else None
        if param is None or param.kind != "ref":
            raise _bad(key, f"reference parameters of {type_name}")
        found.extend(param.param_ids)
    return tuple(dict.fromkeys(found))


def _bad(key: str, expected: str) -> HieError:
    place = f"`config/fhir/compartments.toml` `{key}`".removesuffix(" ``")
    return HieError(Category.INVALID, f"{place}: expected {expected}")


def _never_in(compartment: str, type_name: str) -> HieError:
    text = f"no {type_name} is in the compartment of a {compartment}"
    return HieError(Category.INVALID, text, [Issue(text=text, code="not-supported")])


def _no_such(text: str) -> HieError:
    return HieError(Category.NOT_FOUND, text, [Issue(text=text, code="not-supported")])
