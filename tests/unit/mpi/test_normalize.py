"""Normalisation: https://hl7.org/fhir/R4/patient.html; CMS matching proposal 3.3.0 §V.

A default value must be gone here, because nothing later looks for one.
"""

import random

import pytest

from mpi.demographics import Demographics
from mpi.normalize import Normalizer, fold, pack, retired, unpack
from mpi.shared import without
from tests.support.memory_index import TODAY
from tests.support.mpi import MBI, SETTINGS, SSN, demographics, patient

NORMALIZER = Normalizer(SETTINGS.forms, SETTINGS.defaults)


def of(**elements: object) -> Demographics:
    return NORMALIZER.demographics(dict(elements), TODAY)


def name(family: str = "", *given: str, **more: object) -> Demographics:
    return of(name=[{"family": family, "given": list(given), **more}])


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("O'Brien", "obrien"),
        ("Núñez-Ørsted", "nunez orsted"),
        ("  St.  John ", "st john"),
        ("Łukasz", "lukasz"),
        ("STRASSE", "strasse"),
        ("Straße", "strasse"),
        ("王小明", "王小明"),
        ("ＱＵＩＮＬＡＮ", "quinlan"),  # noqa: RUF001 - as some keyboards type it
        ("\U0001d410\u210d\u1d2c", "qha"),  # capitals in other styles
        ("a\x00b\x1fc", "a b c"),
        ("", ""),
    ],
)
def test_names_are_folded_to_plain_lower_case_words(text: str, folded: str):
    assert fold(text) == folded


@pytest.mark.parametrize(
    ("family", "whole", "parts"),
    [
        ("Quinlan", ("quinlan",), ()),
        ("Garcia-Lopez", ("garcialopez",), ("garcia", "lopez")),
        ("García López", ("garcialopez",), ("garcia", "lopez")),
        ("de la Cruz", ("delacruz",), ("cruz",)),
        ("Van Dyke", ("vandyke",), ("dyke",)),
        ("O'Brien", ("obrien",), ()),
        ("Smith Jr", ("smith",), ()),
        ("Ng", ("ng",), ()),
    ],
)
def test_a_surname_stands_whole_and_in_its_parts(
    family: str, whole: tuple[str, ...], parts: tuple[str, ...]
):
    found = name(family, "Ana")
    assert (found.surnames, found.surname_parts) == (whole, parts)


def test_every_name_in_use_gives_its_surname():
    found = of(
        name=[
            {"use": "maiden", "family": "Rowe"},
            {"use": "official", "family": "Conn", "given": ["Liz"]},
            {"use": "nickname", "given": ["Lizzie"]},
        ]
    )
    assert (found.surnames, found.given) == (("conn", "rowe"), ("liz", "lizzie"))


@pytest.mark.parametrize(
    ("given", "first", "middle"),
    [
        (["Mary", "Ann"], ("mary",), ("ann",)),
        (["Mary Ann"], ("maryann", "mary"), ("ann",)),
        (["John Q"], ("john",), ("q",)),
        (["J"], ("j",), ()),
        (["Anne-Marie"], ("annemarie", "anne"), ("marie",)),
        (["Dr. John"], ("john",), ()),
    ],
)
def test_given_names_are_split_into_first_and_further_ones(
    given: list[str], first: tuple[str, ...], middle: tuple[str, ...]
):
    found = name("Quinlan", *given)
    assert (found.given, found.middle) == (first, middle)


@pytest.mark.parametrize(
    "element",
    [
        {"family": "Doyle", "given": ["Tom"], "suffix": ["Jr."]},
        {"family": "Doyle Jr", "given": ["Tom"]},
        {"family": "Doyle", "given": ["Tom", "Junior"]},
        {"family": "Doyle", "given": ["Tom"], "suffix": ["MD", "jnr"]},
    ],
)
def test_a_generation_suffix_is_found_wherever_it_was_typed(element: dict[str, object]):
    found = of(name=[element])
    assert (found.suffix, found.surnames, found.given[:1]) == ("jr", ("doyle",), ("tom",))


def test_a_middle_initial_v_is_no_suffix():
    found = name("Doyle", "John", "V")
    assert (found.suffix, found.middle) == ("", ("v",))


@pytest.mark.parametrize(
    "given",
    ["BABY BOY", "Babygirl", "Baby Boy A", "Boy", "GIRL OF MARY", "B/O Mary", "Twin A", "Newborn",
     "Unknown", "UNIDENTIFIED MALE", "xxx", "Test", "Trauma"],
)  # fmt: skip
def test_a_placeholder_is_no_name(given: str):
    found = name("Quinlan", given)
    assert (found.given, found.is_placeholder, found.surnames) == ((), True, ("quinlan",))


@pytest.mark.parametrize("pair", [("Doe", "John"), ("DOE", "Jane"), ("Mouse", "Mickey")])
def test_nobody_is_called_john_doe(pair: tuple[str, str]):
    found = name(*pair)
    assert (found.given, found.surnames, found.is_placeholder) == ((), (), True)


def test_a_real_name_beside_a_placeholder_is_the_name():
    found = of(
        name=[
            {"family": "Quinlan", "given": ["BABY GIRL"]},
            {"family": "Quinlan", "given": ["Ida"]},
        ]
    )
    assert (found.given, found.is_placeholder) == (("ida",), False)


@pytest.mark.parametrize("given", ["Boyd", "Testa", "Bo", "Nona", "Babette", "Una"])
def test_names_that_look_like_placeholders_are_names(given: str):
    assert name("Quinlan", given).given == (given.lower(),)


@pytest.mark.parametrize(
    ("born", "kept"),
    [
        ("1971-03-08", "1971-03-08"),
        ("1971-03", "1971-03"),
        ("1971", "1971"),
        ("1900-01-01", ""),
        ("2000-01-01", ""),
        ("1850-06-01", ""),  # 176 years old
        ("1905-06-01", ""),  # 2026 - 120 = 1906 is the oldest year
        ("1906-06-01", "1906-06-01"),
        ("2026-02-02", "2026-02-02"),  # two days ahead: a time zone
        ("2026-02-03", ""),
        ("1971-02-30", ""),
        ("08.03.1971", ""),
        ("", ""),
    ],
)
def test_a_birth_date_that_cannot_be_one_is_unknown(born: str, kept: str):
    assert of(birthDate=born).birth_date == kept


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("(617) 234-8871", "+16172348871"),
        ("+1 617 234 8871 ext. 12", "+16172348871"),
        ("1-617-234-8871", "+16172348871"),
        ("tel:6172348871", "+16172348871"),
        ("+44 20 7946 0958", "+442079460958"),
        ("617-555-0123", ""),
        ("555-175-3568", ""),
        ("0000000000", ""),
        ("999-999-9999", ""),
        ("1234567890", ""),
        ("234-8871", ""),
        ("unknown", ""),
    ],
)
def test_a_telephone_number_is_a_number_of_its_own_or_none(text: str, kept: str):
    found = of(telecom=[{"system": "phone", "value": text}])
    assert found.phones == ((kept,) if kept else ())


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("Nora.Q@Mail.example.org", "nora.q@mail.example.org"),
        ("mailto:n@b.org", "n@b.org"),
        ("none@none.com", ""),
        ("noemail@x.org", ""),
        ("test@test.com", ""),
        ("nora", ""),
    ],
)
def test_an_email_address_is_somebodys_or_none(text: str, kept: str):
    found = of(telecom=[{"system": "email", "value": text}])
    assert found.emails == ((kept,) if kept else ())


@pytest.mark.parametrize(
    ("line", "zip5", "address"),
    [
        ("14 Orchard Street", "01742-1234", ("14", "orchard st", "", "01742")),
        ("14A NORTH ORCHARD ST.", "01742", ("14a", "n orchard st", "", "01742")),
        ("14 Orchard St Apt 3B", "01742", ("14", "orchard st", "3b", "01742")),
        ("14 Orchard St Apt. #3B", "01742", ("14", "orchard st", "3b", "01742")),
        ("PO Box 12", "01742", ("", "po box 12", "", "01742")),
        ("Homeless", "01742", ("", "", "", "01742")),
        ("123 Main Street", "01742", ("", "", "", "01742")),
        ("14 Orchard Street", "99999", ("14", "orchard st", "", "")),
    ],
)
def test_an_address_is_number_street_and_zip(line: str, zip5: str, address: tuple[str, ...]):
    found = of(address=[{"line": [line], "postalCode": zip5}])
    assert [(a.house, a.street, a.unit, a.zip5) for a in found.addresses] == [address]


def test_an_address_that_says_nothing_is_none():
    assert of(address=[{"line": ["UNKNOWN"], "postalCode": "00000"}]).addresses == ()


@pytest.mark.parametrize(
    "number",
    ["999-99-9999", "123456789", "000121234", "666-12-1234", "900121234", "123-00-1234",
     "123-45-0000", "111-11-1111", "078-05-1120"],
)  # fmt: skip
def test_a_default_social_security_number_is_none(number: str):
    found = of(identifier=[{"system": SSN, "value": number}])
    assert (found.ssn, found.ssn_last4) == ((), ())


def test_identifiers_are_told_apart_by_their_kind():
    found = of(
        identifier=[
            {"system": SSN, "value": "412-55-7781"},
            {"type": {"coding": [{"code": "SS"}]}, "value": "***-**-4321"},
            {"system": "urn:tax", "type": {"coding": [{"code": "TAX"}]}, "value": "912-70-1234"},
            {"system": MBI, "type": {"coding": [{"code": "MC"}]}, "value": "1EG4-TE5-MK73"},
            {"system": "urn:test:mercy", "type": {"coding": [{"code": "MR"}]}, "value": " 0012-7 "},
            {"system": "urn:test:visit", "type": {"coding": [{"code": "VN"}]}, "value": "55"},
            {"type": {"coding": [{"code": "MR"}]}, "value": "nobody-says-whose"},
            {"system": "urn:test:none", "value": "UNKNOWN"},
        ]
    )
    assert (found.ssn, found.ssn_last4, found.itin) == (("412557781",), ("4321",), ("912701234",))
    assert [(i.system, i.value) for i in found.identifiers] == [
        (MBI, "1eg4te5mk73"),
        ("urn:test:mercy", "00127"),
    ]


def test_the_mother_is_her_maiden_name_and_the_guardian():
    found = of(
        extension=[
            {
                "url": "http://hl7.org/fhir/StructureDefinition/patient-mothersMaidenName",
                "valueString": "Fredericka Haag",
            }
        ],
        contact=[
            {"relationship": [{"coding": [{"code": "MTH"}]}], "name": {"family": "Rowe-Haag"}},
            {"relationship": [{"coding": [{"code": "BP"}]}], "name": {"family": "Billing"}},
        ],
    )
    assert found.mothers == ("haag", "rowehaag")


def test_what_is_packed_is_unpacked():
    full = demographics(
        given=["Mary Ann", "Q"], suffix="Jr", ssn="412557781", email="m@b.org", birth_order=2
    )
    assert unpack(pack(full)) == full
    assert unpack(pack(Demographics())) == Demographics()


def test_shared_values_are_taken_out_by_kind():
    full = of(
        telecom=[{"system": "phone", "value": f"617-234-887{n}"} for n in (1, 2)],
        identifier=[{"system": "urn:a", "value": "1x"}, {"system": "urn:b", "value": "1x"}],
    )  # fmt: skip
    left = without(full, {"phone": ["+16172348871"], "identifier": ["urn:a|1x"]})
    assert left.phones == ("+16172348872",)
    assert [i.system for i in left.identifiers] == ["urn:b"]
    assert without(full, {}) is full


def test_a_merged_away_record_keeps_its_numbers_but_contradicts_no_other():
    record = of(
        identifier=[{"system": "urn:a", "type": {"coding": [{"code": "MR"}]}, "value": "77"}]
    )
    assert [(i.value, i.type) for i in retired(record).identifiers] == [("77", "retired")]


@pytest.mark.parametrize(
    "odd",
    [
        {},
        {"name": "Quinlan", "telecom": {}, "address": 3, "identifier": [None, "x"]},
        {"name": [{"family": ["x"], "given": "Nora"}], "birthDate": 19710308, "gender": True},
        {"name": [{"family": "x" * 10_000, "given": ["\x00\x07" * 5_000]}]},
        {"name": [{"family": "A"} for _ in range(5_000)]},
        {"identifier": [{"system": "urn:a", "value": str(n)} for n in range(5_000)]},
        {"telecom": [{"value": "\ud800"}], "multipleBirthInteger": -1},
        {"name": [{"text": "Quinlan, Nora Jane"}]},
        {"name": [{"text": "Nora Jane Quinlan"}]},
    ],
)
def test_odd_input_is_read_as_far_as_it_makes_sense(odd: dict[str, object]):
    found = NORMALIZER.demographics(odd, TODAY)
    assert len(pack(found)) < 20_000


def test_an_unsplit_name_is_split():
    for text in ("Quinlan, Nora Jane", "Nora Jane Quinlan"):
        found = of(name=[{"text": text}])
        assert (found.given, found.middle, found.surnames) == (("nora",), ("jane",), ("quinlan",))


def test_the_order_of_elements_that_say_the_same_makes_no_difference():
    record = patient(given=["Nora", "Jane"])
    shuffled = dict(random.Random(1).sample(list(record.items()), len(record)))
    assert NORMALIZER.demographics(record, TODAY) == NORMALIZER.demographics(shuffled, TODAY)
