"""https://hl7.org/fhir/R4/capabilitystatement.html: the statement says what the server does."""

import json
from pathlib import Path

import pytest

from fhir_server.capability import capability_statement
from fhir_server.interactions.audit import SEARCHED as AUDIT_SEARCHED
from fhir_server.operations.subscription_search import SEARCHED
from fhir_server.settings import FhirSettings
from fhir_server.table import ROUTES
from fhir_server.validate import validate
from hie.store.index import load_index

INDEX = load_index(Path(__file__).resolve().parents[3] / "config/fhir")
SETTINGS = FhirSettings(base_url="https://hub.test/fhir", auth_url="https://hub.test/auth")


@pytest.fixture(scope="module")
def statement():
    return json.loads(capability_statement(ROUTES, INDEX, SETTINGS, 1_769_851_800_000_000))


@pytest.fixture(scope="module")
def resources(statement):
    return {resource["type"]: resource for resource in statement["rest"][0]["resource"]}


def codes(resource) -> set[str]:
    return {entry["code"] for entry in resource["interaction"]}


OPERATIONS = {"transaction", "search-system"} | {
    route.interaction for route in ROUTES if route.definition or route.path.startswith("/$")
}


def test_the_statement_is_valid_and_of_r4(statement):
    assert validate(statement) == ()
    assert statement["fhirVersion"] == "4.0.1"


def test_every_type_is_named_with_what_routes_exist_for_it(resources):
    assert set(resources) == set(INDEX.types)
    offered = {route.interaction for route in ROUTES} - OPERATIONS
    assert codes(resources["Observation"]) == offered


def test_audit_events_cannot_be_written(resources):
    assert codes(resources["AuditEvent"]) == {"read", "search-type"}
    told = [param["name"] for param in resources["AuditEvent"]["searchParam"]]
    assert told == list(AUDIT_SEARCHED)
    assert resources["AuditEvent"]["conditionalDelete"] == "not-supported"


def test_every_search_parameter_is_told(resources):
    for type_name in set(INDEX.types) - {"Subscription", "AuditEvent", "Parameters"}:
        told = [param["name"] for param in resources[type_name]["searchParam"]]
        assert told[:4] == ["_id", "_lastUpdated", "_has", "_list"]
        assert told[4:] == [*(p.name for p in INDEX.params(type_name))]


def test_subscriptions_are_told_as_they_are_kept(resources):
    told = resources["Subscription"]
    assert codes(told) == {"read", "create", "update", "delete", "search-type"}
    assert [param["name"] for param in told["searchParam"]] == list(SEARCHED)
    assert told["readHistory"] is False
    assert told.keys().isdisjoint({"searchInclude", "searchRevInclude"})
    assert "meta" not in {operation["name"] for operation in told["operation"]}


def test_a_blind_parameter_says_what_it_cannot_do(resources):
    told = {param["name"]: param for param in resources["Patient"]["searchParam"]}
    assert "keyed hashes" in told["family"]["documentation"]
    assert "documentation" not in told["general-practitioner"] or (
        "keyed" not in told["general-practitioner"]["documentation"]
    )


def test_operations_and_transactions_are_told(statement, resources):
    for type_name in ("Patient", "Observation", "ValueSet"):
        told = [o["name"] for o in resources[type_name].get("operation", ())]
        assert sorted(told) == sorted(
            {
                route.interaction
                for route in ROUTES
                if route.definition
                and (route.of_type == type_name or route.path.startswith("/{type}/"))
                and (route.suits is None or route.suits(INDEX, type_name))
            }
        )
    assert {"everything", "match", "validate"} <= {
        o["name"] for o in resources["Patient"]["operation"]
    }
    assert statement["rest"][0]["interaction"][:2] == [{"code": "transaction"}, {"code": "batch"}]


def test_what_is_never_stored_is_told_as_such(resources):
    told = resources["Parameters"]
    assert told.keys() == {"type", "documentation", "operation"}
    assert [each["name"] for each in told["operation"]] == ["validate"]


def test_an_operation_is_told_where_it_means_something_and_by_its_address(resources):
    at = {
        name
        for name, resource in resources.items()
        if "hide-from-proxies" in {each["name"] for each in resource.get("operation", ())}
    }
    assert {"Observation", "Encounter", "DocumentReference"} <= at
    assert at.isdisjoint({"Patient", "Consent", "ValueSet", "Organization", "Parameters"})
    told = {each["name"]: each for each in resources["Patient"]["operation"]}
    everything = "GET /Patient/{id}/$everything, POST /Patient/{id}/$everything"
    assert told["everything"]["documentation"] == everything


def test_the_profiles_that_resources_are_judged_by_are_told():
    profiles = {"Patient": ["urn:p"]}
    told = json.loads(capability_statement(ROUTES, INDEX, SETTINGS, 0, (), profiles))
    named = {
        r["type"]: r["supportedProfile"]
        for r in told["rest"][0]["resource"]
        if "supportedProfile" in r
    }
    backport = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition/"
    assert named == {"Patient": ["urn:p"], "Subscription": [f"{backport}backport-subscription"]}


def test_a_server_without_a_route_does_not_claim_it():
    routes = [route for route in ROUTES if route.interaction not in OPERATIONS]
    rest = json.loads(capability_statement(routes, INDEX, FhirSettings(), 0))["rest"][0]
    assert "interaction" not in rest
    assert all("operation" not in resource for resource in rest["resource"])
    assert "extension" not in rest["security"]
    assert rest["security"]["service"][0]["coding"][0]["code"] == "OAuth"


def test_compartments_are_told_by_their_definitions():
    told = json.loads(capability_statement((), INDEX, SETTINGS, 0, ("Patient", "RelatedPerson")))
    assert told["rest"][0]["compartment"] == [
        "http://hl7.org/fhir/CompartmentDefinition/patient",
        "http://hl7.org/fhir/CompartmentDefinition/relatedPerson",
    ]
