"""Accountings: which events a form lists, in which words, as CSV and as a page."""

import csv
import io
from pathlib import Path

import pytest

from hie.audit.account import (
    COLUMNS,
    Account,
    Names,
    as_csv,
    as_html,
    cells,
    grouped,
    is_listed,
    lines_of,
)
from hie.audit.event import AuditRecord
from hie.audit.words import load_audit_words
from hie.kernel.clock import SECOND_US
from hie.kernel.errors import HieError

CONFIG = Path(__file__).resolve().parents[4] / "config" / "audit"
WORDS = load_audit_words(CONFIG)
AT_US = 1_769_851_800 * SECOND_US
SUD = 4
NAMES = Names(
    organization=lambda key: {"org1": ("Green Hills", "8 Hill Road")}.get(key, ("", "")),
    person=lambda user: {"Practitioner/d1": "Dr Ada Stone"}.get(user, user),
)


def event(**change):
    """A doctor's read of a test result, on a consent."""
    return AuditRecord(
        **{
            "recorded_us": AT_US,
            "action": "R",
            "subtype": "read",
            "person_id": "p1",
            "organization": "org1",
            "user": "Practitioner/d1",
            "purpose": "TREAT",
            "resource_type": "Observation",
            "resource_id": "o1",
            "detail": {
                "shown": [["rec1", "Observation", 1, ["o1"]]],
                "grounds": ["consent-permit"],
                "consents": ["c1/_history/2"],
                "labels": SUD | 1,
            },
            **change,
        }
    )


def subsumed(purpose):
    return frozenset({purpose, *{"COC": ["TREAT"], "ERTREAT": ["TREAT"]}.get(purpose, [])})


def listed(form, **change):
    return is_listed(event(**change), WORDS.forms[form], subsumed, SUD)


@pytest.mark.parametrize(
    ("change", "forms"),
    [
        ({}, "patient part2 intermediary state"),
        ({"purpose": "PUBHLTH"}, "patient hipaa part2 intermediary state"),
        ({"purpose": "COC"}, "patient part2 intermediary state"),
        ({"purpose": "BTG"}, "patient hipaa part2 intermediary state"),  # never left out
        ({"detail": {"labels": 1, "grounds": ["consent-permit"]}}, "patient state"),
        ({"detail": {"labels": SUD, "grounds": ["own-source"]}}, "patient state"),
        ({"organization": None, "user": "Patient/p1"}, "patient"),
        ({"outcome": "4"}, ""),
        ({"subtype": "receive", "action": "C"}, ""),
        ({"subtype": "AuthZ-Consent", "action": "E"}, ""),
    ],
)
def test_each_form_lists_what_its_law_asks_for(change, forms):
    assert {form for form in WORDS.forms if listed(form, **change)} == {*forms.split()}


def test_a_line_names_recipient_person_purpose_kinds_and_what_it_rested_on():
    (line,) = lines_of([event(purpose="BTG")], WORDS, NAMES)
    assert dict(zip(COLUMNS, cells(line), strict=True)) == {
        "Date and time (UTC)": "2026-01-31 09:30:00",
        "Last date and time (UTC)": "",
        "Number": "1",
        "Recipient": "Green Hills",
        "Address": "8 Hill Road",
        "Person": "Dr Ada Stone",
        "Purpose": "emergency access, with a stated reason",
        "Kinds of information": "test results, vital signs and other observations",
        "Relied on": "consent; Consent/c1/_history/2",
        "Emergency access": "yes",
    }


def test_no_id_of_what_was_shown_and_no_question_is_told():
    shown = event(detail={"shown": [["rec1", "Observation", 1, ["o1"]]], "query": "code=canary"})
    told = " ".join(cells(*lines_of([shown], WORDS, NAMES)))
    assert not any(word in told for word in ("o1", "rec1", "canary"))


def test_a_form_that_groups_has_a_line_for_each_recipient_and_person():
    events = [
        event(recorded_us=AT_US + 2),
        event(user="nurse"),
        event(recorded_us=AT_US, resource_type="Condition", detail={}),
    ]
    one, other = grouped(lines_of(events, WORDS, NAMES))
    assert (one.person, one.number, one.at_us, one.until_us) == (
        "Dr Ada Stone",
        2,
        AT_US,
        AT_US + 2,
    )
    assert one.kinds == (
        "diagnoses and problems",
        "test results, vital signs and other observations",
    )
    assert (other.person, other.number) == ("nurse", 1)


def account(*events, form="patient"):
    return Account(
        form=WORDS.forms[form],
        person_id="p1",
        made_us=AT_US,
        since_us=0,
        until_us=AT_US,
        lines=tuple(lines_of(events, WORDS, NAMES)),
    )


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r", "\n"])
def test_no_cell_of_a_csv_is_a_formula(start):
    made = as_csv(account(event(user=f'{start}cmd|" /C calc"!A1')))
    header, row = csv.reader(io.StringIO(made.decode(), newline=""))
    assert tuple(header) == COLUMNS
    assert row[5] == f'\'{start}cmd|" /C calc"!A1'


def test_a_page_has_a_title_a_language_and_headings_and_escapes_what_clients_said():
    page = as_html(account(event(user="<script>x</script>"), form="hipaa"))
    assert '<html lang="en">' in page
    assert "<title>Accounting of disclosures</title>" in page
    assert "45 CFR 164.528" in page
    assert '<th scope="col">Recipient</th>' in page
    assert "<script>" not in page
    assert "There were no disclosures" in as_html(account())


def test_words_tell_what_was_done():
    assert WORDS.done(event()) == "looked at test results, vital signs and other observations"
    assert WORDS.done(event(subtype="ITI-71", resource_type="", detail={})) == (
        "was given a key to the record"
    )


@pytest.mark.parametrize(
    ("file", "content", "place"),
    [
        ("words.toml", "[purpose]\nTREAT = 1\n", "words.toml `purpose`"),
        ("words.toml", "[other]\n", "unknown table `other`"),
        ("forms.toml", "[hipaa]\ntitle = 'x'\nlaw = ''\nyears = 'six'\ndays = 1\n", "hipaa.years"),
        ("forms.toml", "[hipaa]\nmore = 1\n", "hipaa.more"),
        ("forms.toml", "[hipaa\n", "forms.toml"),
    ],
)
def test_a_fault_in_a_table_is_named_by_file_and_key(tmp_path, file, content, place):
    for name in ("words.toml", "forms.toml"):
        (tmp_path / name).write_text((CONFIG / name).read_text())
    (tmp_path / file).write_text(content)
    with pytest.raises(HieError) as refused:
        load_audit_words(tmp_path)
    assert any(place in issue.text for issue in refused.value.issues) or place in refused.value.text
