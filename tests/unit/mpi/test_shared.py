"""Default values and values that many hold are nobody's evidence: no key, no level, no rule."""

from collections.abc import Mapping

import pytest

from mpi.blocking import blocking_keys
from mpi.combinations import Hit, Pack
from mpi.compare import Comparer, Comparison
from mpi.demographics import Demographics
from mpi.names import GivenNames
from mpi.shared import single_values, without
from tests.support.mpi import MODEL, SETTINGS, demographics

COMPARER = Comparer(GivenNames(SETTINGS.given_names), SETTINGS.forms.single_types)
#: Everything that one record may hold and a clinic, a shelter or a mother may hold for many.
SHARED: Mapping[str, dict[str, object]] = {
    "phone": {"phone": "617-234-8871"},
    "email": {"email": "desk@clinic.org"},
    "ssn": {"ssn": "412-55-7781"},
    "address": {"line": "14 Orchard Street", "zip5": "01742"},
    "identifier": {
        "identifier": [
            {"system": "urn:a", "type": {"coding": [{"code": "MB"}]}, "value": "W1234567"}
        ]
    },
}
#: The same fields as default values.
DEFAULTS: Mapping[str, dict[str, object]] = {
    "phone": {"phone": "617-555-0123"},
    "email": {"email": "none@clinic.org"},
    "ssn": {"ssn": "999-99-9999"},
    "address": {"line": "General Delivery", "zip5": "00000"},
    "identifier": {
        "identifier": [
            {"system": "urn:a", "type": {"coding": [{"code": "MB"}]}, "value": "unknown"}
        ]
    },
}
PLAIN: dict[str, object] = {"line": None, "zip5": None, "phone": None}
OTHER: dict[str, object] = PLAIN | {"given": ["Ida"], "family": "Castellano", "born": "1990-12-24"}
FIELDS = ("household", "email", "ssn", "identifier")


def keys(record: Demographics) -> set[int]:
    blind = lambda *parts: hash(parts)  # noqa: E731 - a hash for this test
    return {k.value for k in blocking_keys(record, MODEL.keys, blind, MODEL.keys_per_record)}


def hit(one: Demographics, other: Demographics, compared: Comparison) -> Hit | None:
    return Pack(MODEL.combinations, SETTINGS.forms).best_hit(one, other, compared)


@pytest.mark.parametrize("kind", SHARED)
def test_a_shared_value_draws_nobody_together(kind: str):
    one, other = (demographics(**(base | SHARED[kind])) for base in (PLAIN, OTHER))
    assert keys(one) & keys(other)  # as long as nobody knows that it is shared
    shared = {k: {value for one_kind, value in single_values(one) if one_kind == k} for k in SHARED}
    unshared = without(other, shared)
    assert not keys(one) & keys(unshared)
    compared = COMPARER.compare(one, unshared)
    levels = {str(compared.level(field)) for field in FIELDS}
    # Of a shared address, city and ZIP code stay.
    assert levels <= {"None", "zip"}
    assert hit(one, unshared, compared) is None


@pytest.mark.parametrize("kind", DEFAULTS)
def test_a_default_value_draws_nobody_together(kind: str):
    one, other = (demographics(**(base | DEFAULTS[kind])) for base in (PLAIN, OTHER))
    assert not keys(one) & keys(other)
    compared = COMPARER.compare(one, other)
    assert {str(compared.level(field)) for field in FIELDS} <= {"None", "near"}  # one city
    assert hit(one, other, compared) is None


def test_a_shared_value_completes_no_combination():
    """First name, birth date and phone identify a person (CMS-11), but not by a clinic's phone."""
    one, other = demographics(), demographics(family="Castellano", line=None, zip5=None)
    found = hit(one, other, COMPARER.compare(one, other))
    assert found is not None
    assert found.id == "CMS-11"
    unshared = without(other, {"phone": one.phones})
    assert hit(one, unshared, COMPARER.compare(one, unshared)) is None


def test_a_shelter_is_no_home():
    one, other = demographics(phone=None), demographics(phone=None, given=["Ida"])
    compared = COMPARER.compare(one, without(other, {"address": {a.door for a in one.addresses}}))
    assert str(compared.household) == "zip"
