"""Which Consents a parent may record, and that nobody in a patient's place sees more."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consent.evaluate import decide
from hie.kernel.fhir import FhirJson
from hie.proxies.judge import judge
from hie.proxies.wishes import widens_withheld
from tests.support.consents import NOW_US, consent, facts, law, provision, read, request
from tests.support.proxies import human, policy, relationship

_VERDICT = judge(relationship(), human("2020-01-01"), policy(), NOW_US)
assert _VERDICT.rights is not None
WITHHELD = _VERDICT.rights.withheld_mask
PERMIT = provision("permit", actors=["clinic"])
NORMAL = provision("permit", actors=["clinic"], labels=["N"])


def widens(new: FhirJson, old: FhirJson | None = None, mask: int = WITHHELD) -> bool:
    """Whether a parent's Consent would open what is kept from the parent."""
    (now,) = read(consent(new))
    before = read(consent(old))[0] if old else None
    return widens_withheld(now, before, mask)


@pytest.mark.parametrize(
    ("new", "is_refused"),
    [
        (PERMIT, True),
        (NORMAL, False),
        (provision("permit", actors=["clinic"], labels=["STD"]), True),
        (provision("permit", actors=["clinic"], labels=["R"]), True),
        (provision("permit", actors=["clinic"], labels=["GDIS"]), False),
        (provision("permit", actors=["clinic"], labels=["GDIS", "HIV"]), True),
        (provision("deny", actors=["clinic"]), False),
        (provision("deny", PERMIT), True),
        (provision("deny", NORMAL), False),
    ],
)
def test_a_parent_opens_nothing_that_is_kept_from_the_parent(new: FhirJson, is_refused: bool):
    assert widens(new) is is_refused


def test_a_denial_that_protects_it_stays():
    everything = provision("deny", actors=["clinic"])
    sensitive = provision("deny", actors=["clinic"], labels=["STD"])
    genetics = provision("deny", actors=["clinic"], labels=["GDIS"])
    assert widens(NORMAL, everything)
    assert widens(NORMAL, sensitive)
    assert not widens(NORMAL, genetics)
    assert not widens(everything, everything)


def test_who_is_shown_everything_decides_about_everything():
    assert not widens(PERMIT, provision("deny"), mask=0)


_BITS = st.integers(0, (1 << 32) - 1)


@given(_BITS, _BITS, st.sampled_from(["p1", "p2", None]), st.sampled_from(["p1", "p2"]))
def test_in_a_patient_s_place_nobody_sees_more_than_the_patient(
    withheld: int, labels: int, about: str | None, whose: str
):
    found = facts(person_id=about)
    resource = type(found)(
        type=found.type, id=found.id, source_id="s", person_id=about, label_mask=labels
    )
    proxy = decide(request(self_person=whose, withheld_mask=withheld), resource, (), law())
    patient = decide(request(self_person=whose), resource, (), law())
    assert patient.is_permitted or not proxy.is_permitted
    assert not (proxy.is_permitted and labels & withheld)
