"""Address, telephone and ZIP code of two records: one piece of evidence.

Who lives together shares all of them, so each on its own would be counted again and again.
"""

from collections.abc import Iterable

from mpi.demographics import Address, Demographics
from mpi.levels import Household
from mpi.names import edits, is_close

_RANK = {level: rank for rank, level in enumerate(Household)}  # best first


def household(one: Demographics, other: Demographics) -> Household | None:
    """How closely the two live together; None where nothing can be compared.

    Any address or telephone number a record ever held may agree.
    """
    if len(one.addresses) == len(other.addresses) == 1:
        place: Household | None = place_of(one.addresses[0], other.addresses[0])
    else:
        place = _best(place_of(a, b) for a in one.addresses for b in other.addresses)
    if not one.phones or not other.phones:
        return place
    if set(one.phones).isdisjoint(other.phones):
        return place or Household.NONE
    return Household.ADDRESS_AND_PHONE if place is Household.ADDRESS else Household.PHONE


def _best(places: Iterable[Household]) -> Household | None:
    return min(places, key=_RANK.__getitem__, default=None)


def place_of(one: Address, other: Address) -> Household:
    """How closely two addresses agree.

    `ADDRESS` is one home: number, street (also misspelt) and place agree, and no two units
    are named.
    """
    is_zip = one.zip5 == other.zip5 != ""
    is_near = is_zip or _is_one_city(one.city, other.city) or _is_edit(one.zip5, other.zip5)
    is_house = one.house == other.house
    # Streets are compared last, and only where they make a difference: it takes the longest.
    if (is_house or is_near) and _is_one_street(one, other):
        return Household.ADDRESS if is_house and is_near else Household.STREET
    if is_zip:
        return Household.ZIP
    return Household.NEAR if is_near else Household.NONE


def _is_one_street(one: Address, other: Address) -> bool:
    if not one.street or not other.street:
        return False
    if one.unit and other.unit and one.unit != other.unit:
        return False
    return one.street == other.street or is_close(one.street, other.street)


def _is_one_city(one: str, other: str) -> bool:
    return one != "" != other and (one == other or is_close(one, other))


def _is_edit(one: str, other: str) -> bool:
    return one != "" != other and edits(one, other) <= 1
