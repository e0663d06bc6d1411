"""Values of OBX-5 for which R4 has no type, as people read them."""

from decimal import Decimal

import pytest

from tests.support.mapping import converted

DOLLARS = {"unit": "USD", "system": "urn:iso:std:iso:4217", "code": "USD"}


@pytest.mark.parametrize(
    ("kind", "raw", "expected"),
    [
        ("XCN-text", "7^ROE^RITA^Q^III^DR", "DR RITA Q ROE III"),
        ("XCN-text", "7", "7"),
        ("XCN-text", "", None),
        ("XPN-display", "ROE^RITA^Q^III^DR", "DR RITA Q ROE III"),
        (
            "XAD-text",
            "1 LAB ST^Suite 2^BOSTON^MA^02110^USA",
            "1 LAB ST, Suite 2, BOSTON, MA 02110, USA",
        ),
        ("XAD-text", "^^BOSTON", "BOSTON"),
        ("XAD-text", "^^", None),
        ("XTN-text", "^NET^Internet^ann@example.org", "ann@example.org"),
        ("XTN-text", "(617)555-0100", "(617)555-0100"),
        ("XTN-text", "", None),
        ("VR", "1+^3+", "1+-3+"),
        ("VR", "1+", "1+"),
        ("VR", "^", None),
        ("DR", "20260101^20260131", {"start": "2026-01-01", "end": "2026-01-31"}),
        ("DR", "20260101", {"start": "2026-01-01"}),
        ("DR", "^", None),
        ("MO", "12.50^USD", {"value": Decimal("12.50"), **DOLLARS}),
        ("MO", "12.50^usd", {"value": Decimal("12.50"), **DOLLARS}),
        ("MO", "99&USD^UP", {"value": Decimal("99"), **DOLLARS}),
        ("MO", "12.50", {"value": Decimal("12.50")}),
        ("MO", "12.50^Dollars", {"value": Decimal("12.50"), "unit": "Dollars"}),
        ("MO", "much^USD", None),
    ],
)
def test_a_value_without_a_type_of_its_own_is_readable(kind, raw, expected):
    assert converted(kind, raw) == expected
