"""Values that many hold - a clinic's telephone, a shelter's address - taken out of a record."""

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

from mpi.demographics import Demographics


def single_values(demographics: Demographics) -> Iterator[tuple[str, str]]:
    """The values that one person or household holds, by kind: what may turn out to be shared."""
    yield from (("phone", value) for value in demographics.phones)
    yield from (("email", value) for value in demographics.emails)
    yield from (("ssn", value) for value in demographics.ssn)
    yield from (("identifier", f"{i.system}|{i.value}") for i in demographics.identifiers)
    yield from (("address", a.door) for a in demographics.addresses if a.door)


def without(demographics: Demographics, shared: Mapping[str, Collection[str]]) -> Demographics:
    """The demographics without values that too many persons hold.

    Args:
        demographics: of a record.
        shared: kind of value, then the values, as `single_values` gives them. Of a shared
            address city and ZIP code stay: they never say who somebody is.
    """
    if not any(shared.values()):
        return demographics
    gone = {kind: frozenset(values) for kind, values in shared.items()}
    none: frozenset[str] = frozenset()
    doors = gone.get("address", none)
    return replace(
        demographics,
        phones=tuple(v for v in demographics.phones if v not in gone.get("phone", none)),
        emails=tuple(v for v in demographics.emails if v not in gone.get("email", none)),
        ssn=tuple(v for v in demographics.ssn if v not in gone.get("ssn", none)),
        identifiers=tuple(
            i
            for i in demographics.identifiers
            if f"{i.system}|{i.value}" not in gone.get("identifier", none)
        ),
        addresses=tuple(
            replace(a, house="", street="", unit="") if a.door in doors else a
            for a in demographics.addresses
        ),
    )
