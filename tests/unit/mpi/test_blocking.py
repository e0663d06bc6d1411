"""Blocking keys: records of one human share some; the keys name nobody."""

import pytest

from hie.crypto import KeyRing
from mpi.blocking import KEY_PARTS, BlockingKey, blocking_keys, overflow_key, sound
from mpi.demographics import Demographics
from mpi.normalize import Normalizer
from tests.support.memory_index import TODAY
from tests.support.mpi import MODEL, SETTINGS, demographics
from tests.support.people import ORDINARY, ordinary_pairs

RING = KeyRing.ephemeral()


def blind(*parts: str) -> int:
    return RING.blind64("mpi", *parts)


def keys(record: Demographics) -> tuple[BlockingKey, ...]:
    return blocking_keys(record, MODEL.keys, blind, MODEL.keys_per_record)


def specs(one: Demographics, other: Demographics) -> set[str]:
    """The kinds of key that two records share."""
    ours = {key.value: key.spec for key in keys(one)}
    return {ours[key.value] for key in keys(other) if key.value in ours}


@pytest.mark.parametrize(
    ("changes", "kinds"),
    [
        ({}, {"phone", "address", "birth", "birth-last3", "sounds", "house-zip"}),
        ({"given": ["Norra"], "phone": None}, {"birth", "birth-last3", "sounds"}),
        ({"family": "Castellano", "phone": None}, {"birth", "house-zip"}),
        ({"born": "1971-08-03", "phone": None}, {"sounds", "last-initial-day", "zip-last"}),
        ({"given": ["Quinlan"], "family": "Nora"}, {"phone", "sounds", "birth"}),
        ({"line": "3 Quarry Road", "zip5": "02138"}, {"birth", "sounds"}),
    ],
)
def test_a_mistake_leaves_keys_by_which_the_record_is_found(
    changes: dict[str, object], kinds: set[str]
):
    assert kinds <= specs(demographics(), demographics(**changes))


def test_almost_every_pair_with_an_ordinary_mistake_shares_a_key():
    normalizer = Normalizer(SETTINGS.forms, SETTINGS.defaults)
    pairs = list(ordinary_pairs(seed=11, count=len(ORDINARY) * 20))
    found = [
        bool(specs(*(normalizer.demographics(s.patient, TODAY) for s in pair))) for pair in pairs
    ]
    assert sum(found) / len(found) >= 0.999


def test_suppressed_values_make_no_keys():
    placeholder = demographics(
        given=["BABY BOY"],
        born="1900-01-01",
        phone="617-555-0123",
        ssn="999-99-9999",
        line="General Delivery",
        zip5="00000",
    )
    assert {key.spec for key in keys(placeholder)} == set()


def test_a_newborn_is_found_by_the_mother_and_the_day():
    mother = {
        "url": "http://hl7.org/fhir/StructureDefinition/patient-mothersMaidenName",
        "valueString": "Haag",
    }
    nameless = demographics(given=["BABY BOY"], born="2026-01-30", extension=[mother], phone=None)
    named = demographics(given=["Ivo"], born="2026-01-30", extension=[mother], phone=None)
    assert "mother-birth" in specs(nameless, named)


def test_a_full_record_has_sixteen_keys_at_most():
    full = demographics(ssn="412557781", email="n@b.org", given=["Nora", "Jane"])
    assert 8 <= len(keys(full)) <= 16


def test_many_names_do_not_make_many_keys():
    names = [{"family": f"Family{n}-Other{n}", "given": [f"Given{n}"]} for n in range(50)]
    assert len(keys(demographics(name=names))) <= MODEL.keys_per_record


def test_a_full_key_gives_way_to_one_with_a_second_field():
    by_spec = {key.spec: key for key in keys(demographics())}
    wider = overflow_key(by_spec["birth"], blind)
    assert wider not in {key.value for key in keys(demographics())}
    # A single value that many hold says nothing, so there is nothing to widen.
    assert overflow_key(by_spec["phone"], blind) is None
    assert (by_spec["phone"].shared, by_spec["phone"].part) == ("phone", "+16172348871")


def test_keys_of_another_hub_are_other_keys():
    other = KeyRing.ephemeral()
    theirs = blocking_keys(
        demographics(), MODEL.keys, lambda *parts: other.blind64("mpi", *parts), 40
    )
    assert {key.value for key in theirs}.isdisjoint(key.value for key in keys(demographics()))


def test_every_part_of_the_model_is_one_that_records_have():
    named = {part for spec in MODEL.keys for part in (*spec.parts, spec.second) if part}
    assert named <= KEY_PARTS


def test_names_in_other_scripts_stand_for_themselves():
    assert sound("王") == "王"
    assert sound("quinlan") == "Q545"
