"""The names by which a consent may mean who asks (pure).

A consent and a request meet where one of their names is the same text:

    Organization/<id>          the organisation, or one above it
    Practitioner/<id>          the person at its screen
    Practitioner/<id>@<org>    that person, working for that organisation
    Role/<code>                anybody acting in that role
    Organization/<id>|<code>   anybody of the organisation in that role
    Practitioner/<id>|<code>   that person in that role

What is not said counts against who leaves it out: a denial of one person also means whoever
asks without a name, a denial of one role whoever asks without a role. A permit never does.
"""

from collections.abc import Iterable
from typing import Final

from consent.model import UNNAMED

#: The role of who does not say in which they act.
UNSTATED: Final = "*"
ROLE: Final = "Role/"
#: What a row of `consent_rule` can hold; a longer name is not understood.
LONGEST: Final = 120
_PERSON: Final = "Practitioner/"
_SEAT, _IN_ROLE = "@", "|"


def names_of(
    organizations: Iterable[str], person: str | None = None, roles: Iterable[str] = ()
) -> frozenset[str]:
    """Every name of who asks.

    Args:
        organizations: `Organization/<id>`: whom they act for, and all above it; who acts for
            none, and says neither who they are nor in which role, has no name.
        person: `Practitioner/<id>`; None = they do not say who they are.
        roles: codes of the roles they act in; empty = they do not say.
    """
    places, said = frozenset(organizations), frozenset(roles)
    if not (places or person or said):
        return frozenset()
    who = person or UNNAMED
    acting = said or {UNSTATED}
    named = {who} if person else set()
    found = {*places, who, *(ROLE + code for code in acting)}
    found |= {seat(one, place) for one in named for place in places}
    found |= {in_role(one, code) for one in (*places, *named) for code in acting}
    return frozenset(found)


def seat(person: str, organization: str) -> str:
    """The name of a person who works for an organisation."""
    return f"{person}{_SEAT}{organization.partition('/')[2]}"


def in_role(name: str, code: str) -> str:
    """The name of who acts in a role, of an organisation or a person."""
    return f"{name}{_IN_ROLE}{code}"


def is_plain(name: str) -> bool:
    """Whether it names somebody without saying where or in which role."""
    return not name.startswith(ROLE) and _SEAT not in name and _IN_ROLE not in name


def denied(names: Iterable[str]) -> frozenset[str]:
    """The names a denial of these must mean, so that silence helps nobody."""
    found = set(names)
    if any(name.startswith(_PERSON) for name in found):
        found.add(UNNAMED)
    for name in tuple(found):
        place, mark, _ = name.rpartition(_IN_ROLE)
        if mark:
            found.add(in_role(place, UNSTATED))
        elif name.startswith(ROLE):
            found.add(ROLE + UNSTATED)
    return frozenset(found)


def names_somebody(names: Iterable[str] | None) -> bool:
    """Whether recipients are named one by one: a role alone is a class of them."""
    listed = frozenset(names or ())
    return bool(listed) and not any(name.startswith(ROLE) for name in listed)
