"""Who may write a Consent, who a caller is to consents, what is compiled."""

from dataclasses import dataclass, field

import pytest

from consent.model import Effect
from consent.repository import ConsentRepository
from consent.service import (
    ConsentService,
    HubDirectory,
    Standing,
    Writer,
    access_request,
    is_verified,
    writing_rule,
)
from hie.db import Database
from hie.kernel.context import Caller, RequestContext
from hie.kernel.errors import Category, HieError
from hie.kernel.fhir import FhirJson
from hie.kernel.ids import OrganizationId, PersonId, SourceId
from tests.support.consents import NOW_US, actor, consent, facts, law, provision, read

PERMIT, DENY = read(consent(provision("permit")), consent(provision("deny")))
MIXED = read(consent(provision("deny", provision("permit", actors=["clinic"]))))[0]
HOSPITAL = Writer(source_id="hospital-adt", records=frozenset({"rec1"}))
OFFICER = Writer(source_id="privacy", is_trusted=True)


@dataclass(frozen=True)
class Stored:
    """A Consent as the store gives it back."""

    resource: FhirJson
    id: str = "c1"
    version: int = 2
    source_id: str = "hospital-adt"


@dataclass
class Directory:
    """Ids that can be read off their identifiers."""

    asked: list[str] = field(default_factory=list)

    def identified(self, kind: str, system: str, value: str) -> str:
        self.asked.append(kind)
        return f"{system}-{value}"

    def sources_of(self, organization: OrganizationId) -> frozenset[str]:
        return frozenset({f"{organization}-adt"} if organization == "hospital" else ())


DIRECTORY = HubDirectory(Directory().identified, Directory().sources_of)


def service(tmp_path, regime="massachusetts", **settings):
    database = Database(f"sqlite+aiosqlite:///{tmp_path}/unused.db")
    repository = ConsentRepository(database, len, str)
    settings.setdefault("attests", lambda source: source == "hospital-adt")
    return ConsentService(law(regime), repository, DIRECTORY, **settings)


def context(**caller):
    return RequestContext(caller=Caller(token_id="t", **caller), request_id="x", now_us=NOW_US)


CLINIC_CALLER = {
    "organization": OrganizationId("clinic"),
    "grantees": frozenset({OrganizationId("clinic"), OrganizationId("network")}),
    "sources": frozenset({SourceId("clinic-adt")}),
}


# -- who may write


@pytest.mark.parametrize(
    ("writer", "directive", "subject", "recorded_by", "verified", "expected"),
    [
        (HOSPITAL, PERMIT, "rec1", None, False, Standing.AWAITS_VERIFICATION),
        (HOSPITAL, MIXED, "rec1", None, False, Standing.AWAITS_VERIFICATION),
        (HOSPITAL, PERMIT, "rec1", None, True, Standing.EFFECTIVE),
        (HOSPITAL, DENY, "rec1", None, False, Standing.EFFECTIVE),
        (HOSPITAL, DENY, "rec2", None, False, Standing.REFUSED),  # another source's record
        (HOSPITAL, PERMIT, "rec2", None, True, Standing.REFUSED),
        (HOSPITAL, PERMIT, "rec1", "lab-oru", True, Standing.REFUSED),  # another party's consent
        (HOSPITAL, DENY, "rec1", "hospital-adt", False, Standing.EFFECTIVE),
        (OFFICER, PERMIT, "rec2", None, False, Standing.EFFECTIVE),
        (OFFICER, PERMIT, "rec2", "privacy", False, Standing.EFFECTIVE),
        (OFFICER, DENY, "rec2", "hospital-adt", False, Standing.REFUSED),
    ],
)
def test_who_may_write_a_consent_and_when_it_takes_effect(
    writer, directive, subject, recorded_by, verified, expected
):
    found = writing_rule(
        writer, directive, subject=subject, recorded_by=recorded_by, is_verified=verified
    )
    assert found is expected


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (DENY, MIXED, Standing.AWAITS_VERIFICATION),
        (DENY, DENY, Standing.EFFECTIVE),
        (
            DENY,
            read(consent(provision("deny", actors=["clinic"])))[0],
            Standing.AWAITS_VERIFICATION,
        ),
        (
            DENY,
            read(consent(provision("deny"), status="inactive"))[0],
            Standing.AWAITS_VERIFICATION,
        ),
        (PERMIT, DENY, Standing.EFFECTIVE),
        (PERMIT, read(consent(provision("permit"), status="inactive"))[0], Standing.EFFECTIVE),
    ],
)
def test_to_take_back_a_deny_is_to_widen(before, after, expected):
    found = writing_rule(
        HOSPITAL,
        after,
        subject="rec1",
        recorded_by="hospital-adt",
        replaced=before,
        is_verified=False,
    )
    assert found is expected


@pytest.mark.parametrize(
    ("verification", "expected"),
    [
        ([{"verified": True}], True),
        ([{"verified": False}, {"verified": True}], True),
        ([{"verified": False}], False),
        ([{"verified": "true"}], False),
        (["yes"], False),
        ({"verified": True}, False),
        (None, False),
    ],
)
def test_verification_is_read_strictly(verification, expected):
    assert is_verified({"verification": verification}) is expected


# -- what is compiled


def test_a_widening_consent_waits_and_a_narrowing_one_counts(tmp_path):
    hub = service(tmp_path)
    waiting = hub.directive(Stored(consent(provision("permit"))))
    assert (waiting.rules, waiting.ignored) == ((), "awaits-verification")
    assert hub.directive(Stored(consent(provision("deny")))).rules[0].effect is Effect.DENY
    verified = consent(provision("permit"), verification=[{"verified": True}])
    assert hub.directive(Stored(verified)).widens


def test_where_patients_and_officers_record_no_verification_is_needed(tmp_path):
    hub = service(tmp_path, trusted_sources=["portal"])
    assert hub.directive(Stored(consent(provision("permit")), source_id="portal")).widens


def test_a_source_that_is_not_listed_cannot_speak_for_the_patient(tmp_path):
    verified = consent(provision("permit"), verification=[{"verified": True}])
    hub = service(tmp_path)
    waiting = hub.directive(Stored(verified, source_id="billing"))
    assert (waiting.rules, waiting.ignored) == ((), "awaits-verification")
    denial = Stored(consent(provision("deny")), source_id="billing")
    assert hub.directive(denial).rules
    assert not hub.may_replace("billing", denial, verified)
    assert not hub.may_replace("billing", denial, None)


def test_without_a_list_no_source_speaks_for_the_patient(tmp_path):
    database = Database(f"sqlite+aiosqlite:///{tmp_path}/unused.db")
    bare = ConsentService(law(), ConsentRepository(database, len, str), DIRECTORY)
    verified = consent(provision("permit"), verification=[{"verified": True}])
    assert bare.directive(Stored(verified)).ignored == "awaits-verification"


def test_a_listed_source_may_replace_its_denial_by_what_the_patient_verified(tmp_path):
    verified = consent(provision("permit"), verification=[{"verified": True}])
    assert service(tmp_path).may_replace(
        "hospital-adt", Stored(consent(provision("deny"))), verified
    )


def test_a_regime_may_refuse_the_senders_word(tmp_path):
    verified = consent(provision("permit"), verification=[{"verified": True}])
    assert service(tmp_path, "deny-all").directive(Stored(verified)).rules == ()


def test_references_are_looked_up_in_the_directory(tmp_path):
    named = {"type": "Organization", "identifier": {"system": "npi", "value": "7"}}
    root = provision("deny", actor=[{"reference": named}, actor("Organization/hospital", "CST")])
    (rule,) = service(tmp_path).directive(Stored(consent(root))).rules
    assert rule.grantees == {"Organization/npi-7"}
    assert rule.sources == {"hospital-adt"}


@pytest.mark.parametrize(
    "reference",
    [
        {},
        {"display": "the clinic"},
        {"identifier": {"value": "7"}},
        {"identifier": "7"},
        {"reference": "urn:uuid:7", "identifier": {"system": "npi", "value": "7"}},
    ],
)
def test_a_reference_that_names_nobody_for_certain_is_nobody(reference):
    assert DIRECTORY.grantee(reference) is None


def test_only_organisations_have_feeds():
    assert DIRECTORY.sources("Organization/hospital") == {"hospital-adt"}
    assert DIRECTORY.sources("Practitioner/hospital") == frozenset()
    assert DIRECTORY.grantee({"reference": "Practitioner/d1"}) == "Practitioner/d1"


# -- who asks


def test_an_organisation_is_named_with_its_ancestors_and_whoever_sits_there():
    asked = access_request(context(**CLINIC_CALLER, purpose="HPAYMT"), "access")
    assert asked.grantees == {
        *("Organization/clinic", "Organization/network", "Practitioner/*"),
        # ... who do not say in which role they ask
        *("Role/*", "Organization/clinic|*", "Organization/network|*"),
    }
    assert asked.own_sources == {"clinic-adt"}
    assert (asked.purpose, asked.now_us) == ("HPAYMT", NOW_US)
    named = access_request(context(**CLINIC_CALLER, user="Practitioner/d1"), "access")
    assert "Practitioner/d1" in named.grantees
    assert "Practitioner/*" not in named.grantees


@pytest.mark.parametrize("claim", ["Practitioner/d1@hospital", "Practitioner/d1|nurse"])
def test_a_user_s_name_claims_neither_a_place_nor_a_role(claim):
    asked = access_request(context(**CLINIC_CALLER, user=claim), "access")
    assert asked.grantees == access_request(context(**CLINIC_CALLER), "access").grantees


def test_a_patient_is_nobody_whom_a_consent_could_mean():
    asked = access_request(context(patient=PersonId("p1"), user="Practitioner/d1"), "access")
    assert (asked.grantees, asked.self_person) == (frozenset(), "p1")
    both = access_request(context(**CLINIC_CALLER, patient=PersonId("p1")), "access")
    assert both.grantees == frozenset()


def test_a_residual_names_purposes_defaults_and_hard_bits(tmp_path):
    residual = service(tmp_path).residual(context(**CLINIC_CALLER, purpose="COC"))
    assert residual.purposes == {"COC", "TREAT"}
    assert "*" in residual.grantees
    assert residual.defaults == ()
    table = law().labels
    assert set(residual.hard_bits) == {table.bits([c]) for c in ("HIV", "PSYTHPN", "42CFRPart2")}
    assert residual.action == "access"


def test_a_patients_residual_opens_nothing_but_the_own_record():
    residual = law("hipaa-treatment").residual(
        access_request(context(patient=PersonId("p1")), "access")
    )
    assert residual.grantees == frozenset()
    assert residual.defaults == ()
    assert residual.self_person == "p1"


def test_breaking_the_glass_without_a_reason_is_refused(tmp_path):
    hub = service(tmp_path)
    emergency = context(**CLINIC_CALLER, purpose="BTG")
    with pytest.raises(HieError) as refused:
        hub.residual(emergency)
    assert refused.value.category is Category.FORBIDDEN
    stated = context(**CLINIC_CALLER, purpose="BTG", break_glass=frozenset({PersonId("p1")}))
    assert hub.residual(stated).purposes == {"BTG"}


def test_facts_are_values():
    assert facts() == facts()
    assert hash(facts()) == hash(facts())
