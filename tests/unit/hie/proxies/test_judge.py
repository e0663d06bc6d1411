"""Whether a relationship opens anything now, and what: a table of cases, and what always holds."""

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hie.kernel.clock import EPOCH, micros
from hie.kernel.context import Scope
from hie.proxies.judge import is_outgrown, judge, narrowed
from hie.proxies.model import Because, Custody, Human, Relationship, Rights
from tests.support.consents import NOW_US, us
from tests.support.proxies import human, labels, policy, relationship

BOSTON_MIDNIGHT = "2026-03-01T05:00:00Z"


@pytest.mark.parametrize(
    ("born", "band"),
    [
        ("2026-02-01", "child"),
        ("2013-03-02", "child"),  # thirteen tomorrow
        ("2013-03-01", "teen"),
        ("2013-03", "teen"),  # some day this month: as if the first
        ("2013", "teen"),  # 12 or 13 years old
        ("2014", "child"),
        ("2008-03-02", "teen"),  # eighteen tomorrow
        ("2008-03-01", ""),
        ("2008", ""),
        ("2028-01-01", "child"),  # not born yet, as far as is written
    ],
)
def test_a_parent_sees_by_the_age_of_the_child(born: str, band: str):
    verdict = judge(relationship(), human(born), policy(), us("2026-03-01T12:00:00Z"))
    if band:
        assert verdict.rights is not None
        assert verdict.rights.band == band
    else:
        assert verdict.because is Because.OF_AGE


def test_the_eighteenth_birthday_ends_it_between_two_requests():
    before, after = us(BOSTON_MIDNIGHT) - 1, us(BOSTON_MIDNIGHT)
    assert judge(relationship(), human("2008-03-01"), policy(), before).rights is not None
    assert judge(relationship(), human("2008-03-01"), policy(), after).because is Because.OF_AGE


def test_where_records_disagree_about_the_birth_date_the_oldest_counts():
    found = judge(relationship(), human("2015-01-01", "2012-01-01"), policy(), NOW_US)
    assert found.rights is not None
    assert found.rights.band == "teen"


def test_no_state_named_means_limited_at_twelve():
    found = judge(relationship(), human("2014-01-01"), policy("part2"), NOW_US)
    assert found.rights is not None
    assert found.rights.band == "teen"


@pytest.mark.parametrize(
    ("changed", "because"),
    [
        ({"ended_us": 1}, Because.ENDED),
        ({"stopped_us": 1}, Because.STOPPED),
        ({"custody": Custody.ENDED}, Because.NO_CUSTODY),
        ({"accepted_us": None}, Because.NOT_ACCEPTED),
        ({"kind": "guardian"}, Because.NO_DOCUMENT),
        ({"kind": "agent"}, Because.NO_DOCUMENT),
        ({"kind": "neighbour"}, Because.UNKNOWN),
        ({"scope": "some"}, Because.UNKNOWN),
        ({"from_us": NOW_US + 1}, Because.NOT_YET),
        ({"to_us": NOW_US}, Because.OVER),
        ({"kind": "appointed"}, Because.NOT_OF_AGE),
        ({"kind": "agent", "has_document": True}, Because.NOT_OF_AGE),
    ],
)
def test_what_ends_it(changed: dict[str, Any], because: Because):
    verdict = judge(relationship(**changed), human("2016-05-17"), policy(), NOW_US)
    assert verdict.because is because
    assert verdict.rights is None


@pytest.mark.parametrize("custody", [Custody.UNSAID, Custody.SOLE, Custody.JOINT])
def test_sole_and_joint_custody_both_see(custody: Custody):
    found = judge(relationship(custody=custody), human("2016-05-17"), policy(), NOW_US)
    assert found.rights is not None


def test_an_unknown_birth_date_opens_nothing():
    for kind in ("parent", "appointed"):
        found = judge(relationship(kind=kind), human(), policy(), NOW_US)
        assert found.because is Because.BIRTH_DATE


def test_persons_who_were_merged_open_nothing_until_somebody_looks_again():
    found = judge(relationship(), human("2016-05-17", is_settled=False), policy(), NOW_US)
    assert found.because is Because.AWAITS_REVIEW


def test_who_may_be_of_age_appoints_only_when_certainly_of_age():
    born = [("2008-03-01", True), ("2008-03", False), ("2008", False), ("2007", True)]
    for written, is_of_age in born:
        found = judge(relationship(kind="appointed"), human(written), policy(), NOW_US)
        assert (found.rights is not None) is is_of_age, written


@pytest.mark.parametrize("code", ["STD", "HIV", "PREGNANT", "SEX", "SUD", "42CFRPart2", "ADOL"])
@pytest.mark.parametrize("born", ["2022-01-01", "2011-01-01"])
def test_what_a_minor_consents_to_alone_is_kept_from_parents_at_any_age(code: str, born: str):
    found = judge(relationship(), human(born), policy(), NOW_US)
    assert found.rights is not None
    assert labels().raised([code]) & found.rights.withheld_mask


def test_a_small_child_s_other_sensitive_care_is_the_parent_s_to_know():
    found = judge(relationship(), human("2022-01-01"), policy(), NOW_US)
    assert found.rights is not None
    for code in ("GDIS", "MH", "COGN", "SDV"):
        assert not labels().raised([code]) & found.rights.withheld_mask, code


def test_a_general_word_releases_no_hiv_results_and_a_named_one_does():
    hiv = labels().bits(["HIV"])
    general = judge(relationship(kind="appointed"), human("1980-01-01"), policy(), NOW_US)
    named = relationship(kind="appointed", named_mask=hiv)
    assert general.rights is not None
    assert general.rights.withheld_mask & hiv
    found = judge(named, human("1980-01-01"), policy(), NOW_US)
    assert found.rights is not None
    assert not found.rights.withheld_mask & hiv


def test_nothing_sensitive_means_nothing_restricted():
    found = relationship(kind="appointed", scope="no-sensitive")
    rights = judge(found, human("1980-01-01"), policy(), NOW_US).rights
    assert rights is not None
    for code in ("HIV", "GDIS", "CEL", "other", "MH"):
        assert labels().raised([code]) & rights.withheld_mask, code


def test_appointments_and_messages_only():
    found = relationship(kind="appointed", scope="appointments")
    rights = judge(found, human("1980-01-01"), policy(), NOW_US).rights
    assert rights is not None
    left = narrowed((Scope("patient", "*", "cruds"),), rights)
    assert {scope.resource for scope in left} >= {"Appointment", "Communication", "Organization"}
    assert not any(scope.allows("Observation", "r") for scope in left)
    assert not any(set("cud") & set(scope.actions) for scope in left)


_SCOPES = st.builds(
    Scope,
    st.sampled_from(["patient", "user", "system", "staff"]),
    st.sampled_from(["*", "Observation", "Patient", "Consent", "Appointment", "Group"]),
    st.sampled_from(["cruds", "rs", "r", "s", "cud", "u"]),
)
_TYPES = st.one_of(st.none(), st.frozensets(st.sampled_from(["Observation", "Patient", "Slot"])))


@given(st.lists(_SCOPES).map(tuple), _TYPES, st.frozensets(st.sampled_from(["Consent"])))
def test_narrowed_scopes_allow_nothing_that_the_token_or_the_relationship_does_not(
    scopes, types, writes
):
    left = narrowed(scopes, Rights(types=types, writes=writes, withheld_mask=0))
    for name in ("Observation", "Patient", "Consent", "Appointment", "Group", "Slot"):
        for action in "cruds":
            may = any(scope.allows(name, action) for scope in left)
            had = any(scope.allows(name, action) for scope in scopes)
            granted = (types is None or name in types) if action in "rs" else name in writes
            assert may == (had and granted)


_TIMES = st.integers(0, micros(EPOCH + timedelta(days=40_000)))
_MAYBE = st.one_of(st.none(), _TIMES)
_FOUND = st.builds(
    relationship,
    kind=st.sampled_from(["parent", "guardian", "adult-guardian", "agent", "appointed", "?"]),
    scope=st.sampled_from(["everything", "no-sensitive", "appointments", "?"]),
    custody=st.sampled_from(list(Custody)),
    has_document=st.booleans(),
    named_mask=st.integers(0, (1 << 32) - 1),
    from_us=_MAYBE,
    to_us=_MAYBE,
    accepted_us=_MAYBE,
    stopped_us=_MAYBE,
    ended_us=_MAYBE,
)
_BIRTHS = st.lists(
    st.one_of(
        st.dates().map(str), st.integers(1900, 2060).map(str), st.sampled_from(["", "x", "2010-19"])
    ),
    max_size=3,
).map(tuple)


@given(_FOUND, _BIRTHS, st.booleans(), _TIMES)
def test_every_relationship_has_rights_or_a_reason_and_what_is_in_doubt_has_none(
    found: Relationship, births: tuple[str, ...], is_settled: bool, now_us: int
):
    verdict = judge(found, Human(births=births, is_settled=is_settled), policy(), now_us)
    assert (verdict.rights is None) != (verdict.because is None)
    if verdict.rights is not None:
        assert is_settled
        assert found.stopped_us is None
        assert found.ended_us is None
        assert found.custody is not Custody.ENDED
        if found.kind in ("parent", "guardian"):
            assert verdict.rights.withheld_mask & policy().alone_mask == policy().alone_mask


@given(_FOUND, st.dates().map(str), _TIMES, _TIMES)
def test_growing_up_never_shows_a_parent_more(
    found: Relationship, born: str, one_us: int, other_us: int
):
    early, late = sorted((one_us, other_us))
    open_ended = relationship(kind="parent", scope=found.scope)
    first = judge(open_ended, human(born), policy(), early).rights
    then = judge(open_ended, human(born), policy(), late).rights
    if then is None:
        return
    assert first is not None
    assert first.withheld_mask & ~then.withheld_mask == 0
    assert first.types is None or (then.types is not None and then.types <= first.types)
    assert then.writes <= first.writes


def test_a_relationship_of_minors_to_an_adult_is_outgrown_unless_it_is_over_already():
    now = NOW_US
    grown, child = human("1990-03-01"), human("2020-03-01")
    assert is_outgrown(relationship(), grown, policy(), now)
    assert is_outgrown(relationship(from_us=now + 10), grown, policy(), now)
    assert not is_outgrown(relationship(to_us=now - 10), grown, policy(), now)
    assert not is_outgrown(relationship(), child, policy(), now)
    assert not is_outgrown(relationship(), human(), policy(), now)
    assert not is_outgrown(relationship(kind="agent", has_document=True), grown, policy(), now)
    for regime in ("massachusetts", "default"):
        for kind in policy(regime).kinds.values():
            assert bool(kind.instead) is kind.is_of_minors, "what a clerk can do is said"
