"""SMART scopes and the terms of a grant (SMART App Launch 2.2)."""

import pytest

from hie.auth.model import Grant, parse_scopes, require_terms
from hie.kernel.context import Scope
from hie.kernel.errors import Category, HieError

ANY = (Scope("system", "*", "rs"),)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("system/*.cruds", [("system", "*", "cruds")]),
        ("user/Observation.rs", [("user", "Observation", "rs")]),
        ("patient/Patient.r", [("patient", "Patient", "r")]),
        ("patient/*.read", [("patient", "*", "rs")]),
        ("user/Observation.write", [("user", "Observation", "cud")]),
        ("system/*.*", [("system", "*", "cruds")]),
        (
            "  system/Patient.rs   system/Consent.c ",
            [("system", "Patient", "rs"), ("system", "Consent", "c")],
        ),
        ("system/*.rs system/*.read", [("system", "*", "rs")]),
    ],
)
def test_scopes_of_both_versions_are_read(text, expected):
    assert parse_scopes(text) == tuple(Scope(*parts) for parts in expected)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "openid",
        "system/*",
        "system/*.",
        "system/*.sr",  # order is fixed
        "system/*.rr",
        "system/*.x",
        "system/*.READ",
        "System/*.rs",
        "system/patient.rs",
        "system/Observation.rs?category=laboratory",  # refused, not widened
        "system/*.rs,system/*.c",
    ],
)
def test_what_grants_nothing_known_is_refused(text):
    with pytest.raises(HieError) as caught:
        parse_scopes(text)
    assert caught.value.category is Category.INVALID
    assert len(caught.value.issues) == 1


STAFF = (Scope("staff", "identity", "steward"),)


@pytest.mark.parametrize("role", ["read", "steward", "admin"])
def test_a_role_of_staff_is_a_scope_that_opens_no_resource_type(role):
    (scope,) = parse_scopes(f"staff/identity.{role}")
    assert scope == Scope("staff", "identity", role)
    assert not any(scope.allows(name, letter) for name in ("identity", "*") for letter in "cruds")


@pytest.mark.parametrize("word", ["staff/identity.rs", "staff/*.read", "staff/consent.read"])
def test_a_role_or_area_that_is_not_in_the_table_is_refused(word):
    with pytest.raises(HieError):
        parse_scopes(word)


@pytest.mark.parametrize(
    ("scopes", "grant", "told"),
    [
        ((*STAFF, *ANY), Grant(user="kim", purpose="HOPERAT"), "not both"),
        (STAFF, Grant(user="kim", purpose="HOPERAT", patient="p-1"), "name no patient"),
        (STAFF, Grant(user=" ", purpose="HOPERAT"), "needs the user"),
        (STAFF, Grant(user="kim", purpose="TREAT"), "one of HOPERAT"),
    ],
)
def test_the_terms_of_staff_are_their_own(scopes, grant, told):
    with pytest.raises(HieError) as caught:
        require_terms(grant, scopes, 3600)
    assert [told in issue.text for issue in caught.value.issues] == [True]
    require_terms(Grant(user="kim", purpose="HOPERAT"), STAFF, 3600)


def test_a_monitor_may_read_figures_without_a_user():
    require_terms(Grant(purpose="HOPERAT"), parse_scopes("staff/identity.read"), 3600)


def test_each_bad_scope_is_an_issue_by_its_number_and_not_by_its_words():
    with pytest.raises(HieError) as caught:
        parse_scopes("system/*.rs canary1 system/*.r canary2")
    texts = [issue.text for issue in caught.value.issues]
    assert [t.split(":")[0] for t in texts] == ["scope 2", "scope 4"]
    assert "canary" not in str(texts)


@pytest.mark.parametrize(
    "grant",
    [
        Grant(organization="o", ttl_seconds=1),
        Grant(organization="o", ttl_seconds=60),
        Grant(patient="p-1"),
        Grant(is_steward=True, ttl_seconds=60),
        Grant(organization="o", purpose="HPAYMT", user="u" * 200, ttl_seconds=60),
    ],
)
def test_terms_that_fit_together_are_taken(grant):
    require_terms(grant, ANY, 3600)


@pytest.mark.parametrize(
    "grant",
    [
        Grant(organization="o", ttl_seconds=0),
        Grant(organization="o", ttl_seconds=3601),
        Grant(organization="o", purpose="treat"),
        Grant(organization="o", purpose=""),
        Grant(),
        Grant(patient="not an id"),
        Grant(organization="o", user="u" * 201),
    ],
)
def test_terms_that_do_not_are_refused(grant):
    with pytest.raises(HieError) as caught:
        require_terms(grant, ANY, 3600)
    assert caught.value.category is Category.INVALID
    assert len(caught.value.issues) == 1


def test_a_patient_scope_needs_its_patient():
    scopes = parse_scopes("patient/*.rs")
    require_terms(Grant(patient="p1"), scopes, 3600)
    with pytest.raises(HieError):
        require_terms(Grant(organization="o"), scopes, 3600)


def test_every_fault_of_a_grant_is_named_at_once():
    with pytest.raises(HieError) as caught:
        require_terms(Grant(ttl_seconds=0, purpose="x"), ANY, 3600)
    assert len(caught.value.issues) == 3
