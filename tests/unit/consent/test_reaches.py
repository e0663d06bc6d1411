"""Which sources a caller could see something of, by law and purpose alone."""

from typing import Any

import pytest

from consent.enforce import RowFacts, recheck_rows
from consent.service import ConsentService
from hie.kernel.context import Caller, RequestContext
from hie.kernel.errors import HieError
from hie.kernel.ids import OrganizationId, PersonId, SourceId
from tests.support.consents import DIRECTORY, consent, label, law, provision, read, request

HARD = law().labels.mask_of(label("HIV"))


def reaches(regime: str = "massachusetts", mask: int = 0, **caller: Any) -> bool:
    # No repository: no patient's consent is looked at.
    service = ConsentService(law(regime), None, DIRECTORY)  # type: ignore[arg-type]  # never asked
    ctx = RequestContext(caller=Caller(token_id="t", **caller), request_id="r", now_us=0)
    return service.reaches(ctx, SourceId("lab"), mask)


def test_an_organisation_could_see_every_source_but_those_that_need_a_consent_of_their_own():
    clinic = OrganizationId("clinic")
    for regime in ("massachusetts", "hipaa-treatment", "deny-all"):
        assert reaches(regime, organization=clinic)
        assert not reaches(regime, HARD, organization=clinic)
    assert not reaches(organization=clinic, purpose="BTG"), "it states no reason"


def test_a_source_and_a_patient_could_always_see_it():
    assert reaches(mask=HARD, sources=frozenset({SourceId("lab")}))
    assert reaches(mask=HARD, patient=PersonId("p1"))
    assert not reaches(), "nobody in particular could not"


def test_rows_are_judged_by_what_they_share_and_one_by_one_where_a_consent_names_one():
    named = {"meaning": "instance", "reference": {"reference": "Observation/r2"}}
    permit = consent(provision("permit", provision("deny", data=[named])))
    row = RowFacts("Observation", "hospital-adt", "p1", "", 0)
    directives = {"p1": read(permit)}
    assert recheck_rows(request("clinic"), {row: ["r1", "r3"]}, directives, law()) == ()
    with pytest.raises(HieError, match="disagree"):
        recheck_rows(request("clinic"), {row: ["r1", "r2"]}, directives, law())
    with pytest.raises(HieError, match="disagree"):
        recheck_rows(request("clinic"), {row._replace(person_id=""): ["r1"]}, {}, law())
