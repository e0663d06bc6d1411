"""One table a datatype: raw text in, FHIR value out. HL7 v2.8.2 chapter 2A."""

from decimal import Decimal

import pytest

from adapters.hl7v2.codes import Kept
from adapters.hl7v2.datatypes import CONVERTERS
from hie.kernel.envelope import Severity
from tests.support.mapping import GENERAL, NOWHERE, context_of, converted, tools

V2 = "http://terminology.hl7.org/CodeSystem/v2-"
OWN = "urn:oid:2.16.840.1.113883.19.1"
LOINC = "http://loinc.org"
UCUM = "http://unitsofmeasure.org"


def typed(code, display):
    return {"coding": [{"system": f"{V2}0203", "code": code, "display": display}]}


def parts(kind, **values):
    """The extensions that keep the parts of a name or a number apart."""
    url = f"http://hl7.org/fhir/StructureDefinition/{kind}"
    return {"extension": [{"url": f"{url}-{n}", "valueString": v} for n, v in values.items()]}


MR = typed("MR", "Medical record number")
SS = typed("SS", "Social Security number")


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("", None),
        ('""', None),
        ("^^^GH^MR", None),
        ("1", {"value": "1"}),
        ("1^^^GH^MR", {"type": MR, "system": OWN, "value": "1"}),
        ("1^^^&1.2.3&ISO", {"system": "urn:oid:1.2.3", "value": "1"}),
        ("1^^^X Y", {"system": "urn:hie:authority:general:X%20Y", "value": "1"}),
        ("1^^^&https://x.example/id&URI", {"system": "https://x.example/id", "value": "1"}),
        ("1^^^USSSA^SS", {"type": SS, "system": "http://hl7.org/fhir/sid/us-ssn", "value": "1"}),
        ("1^^^^SS", {"type": SS, "system": "http://hl7.org/fhir/sid/us-ssn", "value": "1"}),
        ("1^^^GH^ODD", {"type": {"text": "ODD"}, "system": OWN, "value": "1"}),
        (
            "A\\T\\B^^^GH^MR^^20260101^20261231",
            {
                "type": MR,
                "system": OWN,
                "value": "A&B",
                "period": {"start": "2026-01-01", "end": "2026-12-31"},
            },
        ),
    ],
)
def test_cx_is_an_identifier(raw, expected):
    assert converted("CX", raw) == expected


@pytest.mark.parametrize(
    ("raw", "system"),
    [("1", OWN), ("1^^^^MR", OWN), ("1^^^^DL", None), ("1^^^GH", OWN)],
    ids=["bare", "record number", "another kind", "named"],
)
def test_a_number_without_authority_is_the_sources_own_where_it_is_its_kind(raw, system):
    found = converted("CX-own", raw)
    assert isinstance(found, dict)
    assert found.get("system") == system


@pytest.mark.parametrize(
    ("name", "raw", "expected"),
    [
        ("EI", "F1^LAB", {"system": "https://lab.example/order", "value": "F1"}),
        ("EI", "F1^^1.2.3^ISO", {"system": "urn:oid:1.2.3", "value": "F1"}),
        ("EI", "F1", {"system": OWN, "value": "F1"}),
        ("EI", "^LAB", None),
        (
            "EIP-placer",
            "P1&GH^F1&LAB",
            {
                "type": {"coding": [{"system": f"{V2}0203", "code": "PLAC"}]},
                "system": OWN,
                "value": "P1",
            },
        ),
        ("EIP-filler", "P1&GH", None),
        ("number", "12-3^x", {"value": "12-3"}),
        (
            "DLN",
            "S1^MA^20300101",
            {
                "type": {"coding": [{"system": f"{V2}0203", "code": "DL"}]},
                "system": "urn:oid:2.16.840.1.113883.4.3.25",
                "value": "S1",
                "period": {"end": "2030-01-01"},
            },
        ),
        (
            "DLN",
            "S1^Ontario",
            {
                "type": {"coding": [{"system": f"{V2}0203", "code": "DL"}]},
                "value": "S1",
                "assigner": {"display": "Ontario"},
            },
        ),
    ],
)
def test_other_numbers_are_identifiers_too(name, raw, expected):
    assert converted(name, raw) == expected


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("", None),
        ("^", None),
        ('DOE^""', {"family": "DOE"}),
        ("DOE^JANE", {"family": "DOE", "given": ["JANE"]}),
        (
            "VAN DOE&VAN&DOE^JANE^Q^III^DR^MD^L^^^^^20200101",
            {
                "use": "official",
                "family": "VAN DOE",
                "given": ["JANE", "Q"],
                "prefix": ["DR"],
                "suffix": ["III", "MD"],
                "_family": parts("humanname-own", prefix="VAN", name="DOE"),
                "period": {"start": "2020-01-01"},
            },
        ),
        (
            "DOE^JANE^^^^^M^^^20100101&20200101",
            {
                "use": "maiden",
                "family": "DOE",
                "given": ["JANE"],
                "period": {"start": "2010-01-01", "end": "2020-01-01"},
            },
        ),
        ("DOE^JANE^^^^^B", {"family": "DOE", "given": ["JANE"]}),
        ("O\\T\\S ^ JANE", {"family": "O&S", "given": ["JANE"]}),
    ],
)
def test_xpn_is_a_human_name(raw, expected):
    assert converted("XPN", raw) == expected


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("^^^", None),
        ("12 ELM ST", {"line": ["12 ELM ST"]}),
        ("12 ELM ST&ELM ST&12^APT 4", {"line": ["12 ELM ST", "12 ELM ST", "APT 4"][1:]}),
        (
            "12 ELM ST^^BOSTON^MA^02114^USA^H^^SUFFOLK",
            {
                "line": ["12 ELM ST"],
                "city": "BOSTON",
                "district": "SUFFOLK",
                "state": "MA",
                "postalCode": "02114",
                "country": "USA",
                "use": "home",
            },
        ),
        ("PO BOX 1^^^^^^M", {"line": ["PO BOX 1"], "type": "postal"}),
        ("X^^^^^^BI", {"line": ["X"], "use": "billing", "type": "postal"}),
    ],
)
def test_xad_is_an_address(raw, expected):
    assert converted("XAD", raw) == expected


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("", None),
        ("^PRN^PH", None),
        ("(617) 555-0100", {"system": "phone", "value": "(617) 555-0100"}),
        (
            "^PRN^PH^^1^617^5550100^22",
            {
                "system": "phone",
                "value": "+1 617 5550100 x22",
                "use": "home",
                **parts("contactpoint", country="1", area="617", local="5550100", extension="22"),
            },
        ),
        (
            "^PRN^CP^^^617^5550100",
            {
                "system": "phone",
                "value": "617 5550100",
                "use": "mobile",
                **parts("contactpoint", area="617", local="5550100"),
            },
        ),
        ("^NET^Internet^a@example.org", {"system": "email", "value": "a@example.org"}),
        ("^NET^^a@example.org", {"system": "email", "value": "a@example.org"}),
        ("a@example.org^NET", {"system": "email", "value": "a@example.org"}),
        ("^WPN^FX^^^^^^^^^+16175550100", {"system": "fax", "value": "+16175550100", "use": "work"}),
        ("555^^ZZ", {"system": "phone", "value": "555"}),
    ],
)
def test_xtn_is_a_contact_point(raw, expected):
    assert converted("XTN", raw) == expected


def test_an_xcn_with_a_number_is_a_practitioner_of_the_directory():
    context = context_of()
    convert = CONVERTERS["XCN"](tools(), "")
    raw = "1999999976^ATTEND^ALAN^^^DR^MD^^NPI&2.16.840.1.113883.4.6&ISO^L^^^NPI"
    first = convert(raw, context)
    again = convert("1999999976^ATTEND^A^^^^^^NPI&2.16.840.1.113883.4.6&ISO", context)
    (draft,) = context.directory
    assert first == {"reference": "urn:hie:practitioner-1", "display": "DR ALAN ATTEND"}
    assert again["reference"] == first["reference"]
    assert draft.key == ("practitioner", "http://hl7.org/fhir/sid/us-npi", "1999999976")
    assert draft.resource["name"] == [
        {
            "use": "official",
            "family": "ATTEND",
            "given": ["ALAN"],
            "prefix": ["DR"],
            "suffix": ["MD"],
        }
    ]


@pytest.mark.parametrize(
    ("name", "raw", "expected"),
    [
        ("XCN", "^ATTEND^ALAN", {"display": "ALAN ATTEND"}),
        ("XCN", "^", None),
        ("NDL", "&READ&RITA^20260101", {"display": "RITA READ"}),
        ("XON", "Main Lab", {"display": "Main Lab"}),
        ("PL", "^^^^^^^^By the door", {"display": "By the door"}),
        ("PL", "^^^", None),
        ("CWE-organization", "^Some maker", {"display": "Some maker"}),
    ],
)
def test_who_is_only_named_makes_no_directory_entry(name, raw, expected):
    context = context_of()
    assert CONVERTERS[name](tools(), "")(raw, context) == expected
    assert context.directory == ()


@pytest.mark.parametrize(
    ("name", "raw", "key"),
    [
        ("XCN", "5^NURSE^NAN", ("practitioner", "urn:hie:authority:general:staff", "5")),
        ("NDL", "9&READ&RITA&&&&&&GH", ("practitioner", OWN, "9")),
        (
            "XON",
            "Lab^^^^^CLIA^XX^^^22D1",
            ("organization", "urn:oid:2.16.840.1.113883.4.7", "22D1"),
        ),
        ("PL", "W2^201^B^GH", ("location", "GH", "", "", "W2", "201", "B")),
        ("CWE-organization", "CSL^CSL^MVX", ("organization", "http://hl7.org/fhir/sid/mvx", "CSL")),
    ],
)
def test_who_has_a_number_has_one_entry_per_number(name, raw, key):
    context = context_of()
    convert = CONVERTERS[name](tools(), "")
    assert convert(raw, context) == convert(raw, context)
    (draft,) = context.directory
    assert draft.key == key


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("", None),
        ("^^LN", None),
        ("^Glucose", {"text": "Glucose"}),
        (
            "2345-7^Glucose^LN",
            {
                "coding": [{"system": LOINC, "code": "2345-7", "display": "Glucose"}],
                "text": "Glucose",
            },
        ),
        (
            "GLU^Sugar^99GH^2345-7^Glucose^LN^1^2.77^My glucose",
            {
                "coding": [
                    {
                        "system": "urn:hie:codes:general:99GH",
                        "version": "1",
                        "code": "GLU",
                        "display": "Sugar",
                    },
                    {"system": LOINC, "version": "2.77", "code": "2345-7", "display": "Glucose"},
                ],
                "text": "My glucose",
            },
        ),
        ("7", {"coding": [{"code": "7"}], "text": "7"}),
        ("see note", {"text": "see note"}),
        (
            "A^B^HL70078",
            {"coding": [{"system": f"{V2}0078", "code": "A", "display": "B"}], "text": "B"},
        ),
        (
            "A^B^1.2.3",
            {"coding": [{"system": "urn:oid:1.2.3", "code": "A", "display": "B"}], "text": "B"},
        ),
        ("A^^http://x.example", {"coding": [{"system": "http://x.example", "code": "A"}]}),
    ],
)
def test_cwe_is_a_codeable_concept(raw, expected):
    assert converted("CWE", raw) == expected


def test_a_mapped_code_comes_first_and_the_senders_own_is_kept():
    assert converted("CWE", "M^Wed^HL70002", concept="marital-status") == {
        "coding": [
            {
                "system": "http://terminology.hl7.org/CodeSystem/v3-MaritalStatus",
                "code": "M",
                "display": "Married",
            },
            {"system": f"{V2}0002", "code": "M", "display": "Wed"},
        ],
        "text": "Wed",
    }


def test_an_unmapped_code_keeps_its_text_and_is_reported():
    context = context_of()
    context.field = 16
    found = CONVERTERS["CWE"](tools(), "marital-status")("Q9", context)
    assert found == {"coding": [{"code": "Q9"}], "text": "Q9"}
    (finding,) = context.findings
    assert (finding.rule, finding.code, finding.field) == ("unmapped-code", "103", 16)
    assert finding.severity is Severity.WARNING
    assert "Q9" not in finding.text


def test_a_code_of_a_system_everybody_knows_needs_no_map():
    context = context_of()
    convert = CONVERTERS["CWE"](tools(), "route")
    found = convert("C28161^Intramuscular^NCIT", context)
    assert found["coding"][0]["code"] == "C28161"
    assert context.findings == []


@pytest.mark.parametrize(
    ("raw", "expected"),
    [("F", "female"), ("f", "female"), ("Q", Kept("Q")), ("", None)],
)
def test_a_code_element_takes_a_mapped_code_or_keeps_the_text_beside_it(raw, expected):
    assert converted("code", raw, concept="administrative-sex") == expected


def test_a_kept_code_stands_in_an_extension():
    (extension,) = Kept("Q").extension()["extension"]
    assert extension["valueCodeableConcept"] == {"text": "Q"}


@pytest.mark.parametrize(
    ("raw", "expected"), [("Y", True), ("no", False), ("maybe", None), ("", None)]
)
def test_yes_and_no_are_a_boolean(raw, expected):
    assert converted("boolean", raw, concept="yes-no") is expected


@pytest.mark.parametrize(
    ("raw", "companion", "expected"),
    [
        ("72.50", "", {"value": Decimal("72.50")}),
        ("+7", "kg", {"value": Decimal(7), "unit": "kg", "system": UCUM, "code": "kg"}),
        ("7", "mg/dl", {"value": Decimal(7), "unit": "mg/dl", "system": UCUM, "code": "mg/dL"}),
        ("7", "Mg/Dl", {"value": Decimal(7), "unit": "Mg/Dl"}),
        (
            "7",
            "cells^per field^99GH",
            {
                "value": Decimal(7),
                "unit": "per field",
                "system": "urn:hie:codes:general:99GH",
                "code": "cells",
            },
        ),
        ("<5", "", {"value": Decimal(5), "comparator": "<"}),
        (">= 5.0", "", {"value": Decimal("5.0"), "comparator": ">="}),
        ("1e5", "", None),
        ("NaN", "", None),
        ("1,5", "", None),
        ("\u0667", "", None),
        ("9" * 50, "", None),
        ("", "", None),
    ],
)
def test_nm_is_a_quantity_of_the_senders_digits(raw, companion, expected):
    assert converted("NM", raw, companion=companion) == expected


def test_digits_are_kept_as_they_were_written():
    found = converted("quantity", "72.500")
    assert isinstance(found, dict)
    assert str(found["value"]) == "72.500"


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("^5", {"valueQuantity": {"value": Decimal(5)}}),
        ("=^5", {"valueQuantity": {"value": Decimal(5)}}),
        ("<^0.2", {"valueQuantity": {"value": Decimal("0.2"), "comparator": "<"}}),
        (
            "^1^:^128",
            {
                "valueRatio": {
                    "numerator": {"value": Decimal(1)},
                    "denominator": {"value": Decimal(128)},
                }
            },
        ),
        ("^2^-^4", {"valueRange": {"low": {"value": Decimal(2)}, "high": {"value": Decimal(4)}}}),
        ("<>^5", {"valueString": "<> 5"}),
        ("^2^+", {"valueString": "2 +"}),
        ("^many", {"valueString": "many"}),
        ("", None),
    ],
)
def test_sn_has_the_form_its_parts_make(raw, expected):
    assert converted("SN", raw) == expected


@pytest.mark.parametrize(
    ("raw", "low", "high"),
    [
        ("70-99", "70", "99"),
        ("0.5 - 1.1", "0.5", "1.1"),
        ("13 to 18", "13", "18"),
        ("-5 - -1", "-5", "-1"),
        ("<5.0", None, "5.0"),
        (">=60", "60", None),
        ("99-70", None, None),
        ("negative", None, None),
        ("70-99 mg", None, None),
    ],
)
def test_a_reference_range_has_limits_where_it_can_be_read(raw, low, high):
    found = converted("range-text", raw)
    assert isinstance(found, dict)
    assert found["text"] == raw
    assert [str(found[s]["value"]) if s in found else None for s in ("low", "high")] == [low, high]


@pytest.mark.parametrize(
    ("name", "raw", "expected"),
    [
        ("NR", "1^2", {"low": {"value": Decimal(1)}, "high": {"value": Decimal(2)}}),
        ("NR", "^2", {"high": {"value": Decimal(2)}}),
        ("NR", "^", None),
        ("NR", "1^about 2", None),
        ("CQ", "5^mg", {"value": Decimal(5), "unit": "mg", "system": UCUM, "code": "mg"}),
        ("CQ", "5^tab&tablet&L", {"value": Decimal(5), "unit": "tablet"}),
        ("CQ", "some", None),
        ("integer", "3", 3),
        ("integer", "3.5", None),
        ("decimal", "3.50", Decimal("3.50")),
        ("decimal", "x", None),
        ("text", "a\\.br\\b^c&d", "a\nb^c&d"),
        ("lines", "one~two~~three", "one\ntwo\nthree"),
        ("first", "one^two", "one"),
        ("title", "A^Text^LN^^^^^^Original", "Original"),
        ("title", "A", "A"),
        ("titles", "A^Alpha~B^Beta", "Alpha\nBeta"),
        ("token", "a b^c", "ab"),
        ("XPN-display", "DOE^JANE^Q^^DR", "DR JANE Q DOE"),
        ("XPN-family", "DOE^JANE", "DOE"),
        ("XPN-family", "^JANE", "JANE"),
        ("time", "0930", "09:30:00"),
        ("date", "19800102093000", "1980-01-02"),
        ("dateTime", "20260131093000", "2026-01-31T09:30:00-05:00"),
        ("dateTime", "20260131^D", "2026-01-31"),
        ("dateTime", "soon", None),
    ],
)
def test_simple_values(name, raw, expected):
    assert converted(name, raw) == expected


def test_sampled_data_has_every_value_or_is_none():
    found = converted("NA", "1.50^^3")
    assert isinstance(found, dict)
    assert found["data"] == "1.50 E 3"
    assert converted("NA", "1^x") is None


def test_without_a_zone_a_time_is_a_date_and_that_is_reported():
    context = context_of(NOWHERE)
    assert CONVERTERS["dateTime"](tools(), "")("202601310930", context) == "2026-01-31"
    assert [finding.rule for finding in context.findings] == ["no-time-zone"]


def test_the_offset_of_the_header_counts_where_the_source_has_no_zone():
    header = "MSH|^~\\&|A|B|||20260131093000+0100||ADT^A01|1|P|2.5"
    context = context_of(NOWHERE, [header])
    found = CONVERTERS["dateTime"](tools(), "")("202601310930", context)
    assert found == "2026-01-31T09:30:00+01:00"
    assert context_of(GENERAL, [header]).zone == GENERAL.zone


@pytest.mark.parametrize(
    ("raw", "repeat"),
    [
        ("BID", {"frequency": 2, "period": Decimal(1), "periodUnit": "d"}),
        ("Q6H", {"frequency": 1, "period": Decimal(6), "periodUnit": "h"}),
        ("q2w", {"frequency": 1, "period": Decimal(2), "periodUnit": "wk"}),
        ("QHS", {"frequency": 1, "period": Decimal(1), "periodUnit": "d", "when": ["HS"]}),
        ("QID PRN", {"frequency": 4, "period": Decimal(1), "periodUnit": "d"}),
        ("ONCE", None),
        ("WHENEVER", None),
        ("Q0H", None),
        ("^^^^12^h", {"frequency": 1, "period": Decimal(12), "periodUnit": "h"}),
    ],
)
def test_a_repeat_pattern_has_a_rhythm_where_the_table_knows_it(raw, repeat):
    found = converted("timing", raw)
    assert isinstance(found, dict)
    assert found.get("repeat") == repeat


def test_prn_is_as_needed():
    assert converted("as-needed", "QID PRN") is True
    assert converted("as-needed", "QID") is None


@pytest.mark.parametrize(
    ("name", "raw", "expected"),
    [
        (
            "ED",
            "A^application^pdf^Base64^JVBE Rg==",
            {"contentType": "application/pdf", "data": "JVBERg=="},
        ),
        ("ED", "A^TEXT^plain^A^Hi\\T\\you", {"contentType": "text/plain", "data": "SGkmeW91"}),
        ("ED", "A^^PDF^Hex^4869", {"contentType": "application/pdf", "data": "SGk="}),
        ("ED", "A^image^x-odd^Base64^SGk=", {"contentType": "image/x-odd", "data": "SGk="}),
        ("ED", "A^application^pdf^Base64^!!", {"contentType": "application/pdf"}),
        ("ED", "A", None),
        (
            "RP",
            "https://x.example/1^A^image^JPEG",
            {"contentType": "image/jpeg", "url": "https://x.example/1"},
        ),
        ("RP", "volume 3^A", {"title": "volume 3"}),
        ("RP", "^A", None),
    ],
)
def test_ed_and_rp_are_attachments(name, raw, expected):
    assert converted(name, raw) == expected
