"""Rules as rows and back."""

from consent.model import Directive, Effect, Rule, Target, TargetKind
from consent.rules import ROW_LIMIT, directives_of, rule_rows
from tests.support.consents import LOINC


def directive(**elements):
    rule = Rule(**{"path": "/", "effect": Effect.PERMIT} | elements)
    return Directive(consent_id="c1", version=3, rules=(rule,))


def rows(**elements):
    return rule_rows(directive(**elements))


def targets(*found):
    return frozenset(Target(TargetKind(kind), value) for kind, value in found)


def test_a_rule_without_lists_is_one_row():
    (row,) = rows(path="/1/", label_mask=5, valid_from_us=1, valid_to_us=9, note="why")
    assert (row.consent_id, row.version, row.path, row.effect) == ("c1", 3, "/1/", Effect.PERMIT)
    assert (row.label_mask, row.valid_from_us, row.valid_to_us, row.note) == (5, 1, 9, "why")


def test_each_way_to_match_is_a_row():
    found = rows(grantees=frozenset({"a", "b"}), purposes=frozenset({"x", "y", "z"}))
    assert len(found) == 6
    assert {(row.grantee, row.purpose) for row in found} == {(g, p) for g in "ab" for p in "xyz"}


def test_anyone_is_every_organisation_to_a_permit_and_everybody_to_a_deny():
    assert [row.grantee for row in rows()] == ["*"]
    assert [row.grantee for row in rows(effect=Effect.LIFT, label_mask=16)] == ["*"]
    assert [row.grantee for row in rows(effect=Effect.DENY)] == [None]


def test_nobody_is_no_row():
    assert rows(grantees=frozenset()) == ()


def test_half_open_dates_become_the_first_end_and_the_last_start_that_overlap():
    (row,) = rows(date_lo_us=100, date_hi_us=200)
    assert (row.date_lo_us, row.date_hi_us) == (101, 199)


def test_a_target_fills_the_column_of_its_kind():
    found = rows(
        targets=targets(
            ("instance", "Observation/o1"),
            ("author", "Practitioner/d1"),
            ("encounter", "Encounter/e1"),
            ("source", "lab"),
        )
    )
    aimed = {(r.type, r.instance, r.author, r.encounter, r.source_id) for r in found}
    assert aimed == {
        ("Observation", "o1", None, None, None),
        (None, None, "Practitioner/d1", None, None),
        (None, None, None, "Encounter/e1", None),
        (None, None, None, None, "lab"),
    }


def test_conditions_that_exclude_each_other_are_no_row():
    one = targets(("instance", "Observation/o1"))
    assert rows(types=frozenset({"Condition"}), targets=one) == ()
    assert len(rows(types=frozenset({"Condition", "Observation"}), targets=one)) == 1
    lab = targets(("source", "lab"))
    assert rows(sources=frozenset({"clinic"}), targets=lab) == ()
    assert [r.source_id for r in rows(sources=frozenset({"lab"}), targets=lab)] == ["lab"]


def test_a_rule_too_wide_to_hold_denies_more_or_permits_nothing():
    many = frozenset(f"g{n}" for n in range(ROW_LIMIT + 1))
    assert rows(grantees=many) == ()
    (row,) = rows(grantees=many, effect=Effect.DENY, purposes=frozenset({"x"}), label_mask=4)
    assert (row.grantee, row.purpose, row.label_mask, row.note) == (None, None, 4, "too-many")
    assert len(rows(grantees=frozenset(list(many)[:ROW_LIMIT]))) == ROW_LIMIT


def test_rows_come_back_as_the_rules_they_are():
    rule = {
        "grantees": frozenset({"Organization/a"}),
        "purposes": frozenset({"TREAT"}),
        "actions": frozenset({"access"}),
        "types": frozenset({"Observation"}),
        "sources": frozenset({"lab"}),
        "targets": targets(("instance", "Observation/o1")),
        "codes": frozenset({(LOINC, "1-1"), (LOINC, "2-2")}),
        "label_mask": 1,
        "date_lo_us": 10,
        "date_hi_us": 20,
        "valid_from_us": 1,
        "valid_to_us": 2,
        "note": "why",
    }
    whole = directive(**rule)
    assert directives_of(rule_rows(whole)) == (whole,)
    for kind in ("author", "encounter"):
        whole = directive(**rule | {"targets": targets((kind, "Encounter/e1"))})
        assert directives_of(rule_rows(whole)) == (whole,)
    assert directives_of(rule_rows(directive())) == (directive(),)


def test_rows_of_several_consents_come_back_apart():
    other = Directive(consent_id="c2", rules=(Rule(path="/", effect=Effect.DENY),))
    back = directives_of((*rule_rows(other), *rule_rows(directive())))
    assert [(d.consent_id, d.version) for d in back] == [("c2", 1), ("c1", 3)]
