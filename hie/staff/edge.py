"""What the handlers of the staff API work with, handed in by the composition root."""

from dataclasses import dataclass
from typing import Final

from hie.accounting import Accountings
from hie.disclosure import Disclosures
from hie.flow.assignment import Assignments
from hie.flow.casework import Casework
from hie.flow.consent_office import ConsentOffice
from hie.flow.emergency_reviews import EmergencyReviews
from hie.flow.erasure import Erasure
from hie.flow.figures import IdentityFigures
from hie.flow.previews import Previews
from hie.flow.proxies import Proxies
from hie.flow.stewards import Stewards
from hie.key_care import KeyCare
from hie.staff.cursor import Sealer
from hie.staff.model import NUMBER, Call, Field, number_in
from hie.staff.problem import at, invalid
from hie.staff.runs import Runs
from hie.trail import Trail
from mpi.words import Words

MOST_PAGE: Final = 200
PAGE: Final = 50
COUNT = Field(
    name="count", text="entries of a page", kind=NUMBER, least=1, most=MOST_PAGE, default=PAGE
)
CURSOR = Field(name="cursor", text="from the `next` address of the page before", most=1_000)
#: Ids of the hub: opaque, of letters, digits and dashes.
LONGEST_ID: Final = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Edge:
    """The collaborators of the handlers."""

    casework: Casework
    assignments: Assignments
    stewards: Stewards
    figures: IdentityFigures
    disclosures: Disclosures
    sealer: Sealer
    runs: Runs
    words: Words
    trail: Trail
    accountings: Accountings
    proxies: Proxies
    office: ConsentOffice
    emergencies: EmergencyReviews
    previews: Previews
    key_care: KeyCare
    erasure: Erasure


def number_of(call: Call, name: str = "id") -> int:
    """A number of the path.

    Raises:
        HieError: INVALID for what is none.
    """
    number = number_in(call.ids[name])
    if number is None:
        raise invalid([at(f"#/path/{name}", "expected a number, as this API gave it")])
    return number
