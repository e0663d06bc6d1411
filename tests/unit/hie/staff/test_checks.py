"""What a request brings, held against its route; what is chosen, as it is asked of the ledger."""

import dataclasses

import pytest

from hie.flow.decisions import Confirm, Link, Merge, Overlay, Reject, Split, Unlink
from hie.kernel.context import Caller, Scope
from hie.kernel.errors import Category, HieError
from hie.kernel.ids import PersonId, SourceRecordId
from hie.staff import checks, choices
from hie.staff.api import ROUTES
from hie.staff.model import FLAG, LIST, NUMBER, OBJECTS, REAL, TIME, Field, number_in
from hie.staff.problem import VersionRequiredError
from mpi.levels import MatchGrade
from mpi.model import Candidate, TaskKind, TaskState
from mpi.repository.queue import QueuedTask

BY_NAME = {route.name: route for route in ROUTES}


def caller(*roles: str, user: str | None = "kim") -> Caller:
    scopes = tuple(Scope("staff", "identity", role) for role in roles)
    return Caller(token_id="t", user=user, scopes=scopes)


@pytest.mark.parametrize(
    ("name", "who", "may"),
    [
        ("readTask", caller("read"), True),
        ("readTask", caller("admin"), True),  # a role includes those below it
        ("readTask", caller("read", user=None), False),
        ("readTask", caller("read", user=" "), False),
        ("readMetrics", caller("read", user=None), True),
        ("decideTask", caller("read"), False),
        ("decideTask", caller("steward"), True),
        ("startBatch", caller("steward"), False),
        ("startBatch", caller("admin"), True),
        ("readTask", caller(), False),
        ("readMetrics", dataclasses.replace(caller("read"), patient=PersonId("p")), False),
        ("readTask", Caller(token_id="t", user="k", scopes=(Scope("system", "*", "rs"),)), False),
    ],
)
def test_a_route_opens_to_its_role_and_those_above(name: str, who: Caller, may: bool):
    if may:
        checks.require_role(BY_NAME[name], who)
        return
    with pytest.raises(HieError) as raised:
        checks.require_role(BY_NAME[name], who)
    assert raised.value.category is Category.FORBIDDEN


FIELDS = (
    Field(name="text", text="a text", is_required=True, most=5),
    Field(name="one", text="one of", choices=("a", "b")),
    Field(name="number", text="n", kind=NUMBER, least=1, most=9),
    Field(name="bits", text="b", kind=REAL, least=-5, most=5),
    Field(name="flag", text="f", kind=FLAG, default=False),
    Field(name="at", text="t", kind=TIME),
    Field(name="list", text="l", kind=LIST, most=2),
    Field(name="items", text="i", kind=OBJECTS, most=2, fields=(Field(name="x", text="x"),)),
)
GOOD = {
    "text": "abcde", "one": "a", "number": 9, "bits": -5, "flag": True,
    "at": "1970-01-01T01:00:01+01:00", "list": ["a", "b"], "items": [{"x": "y"}],
}  # fmt: skip


def test_a_good_body_is_read_and_what_is_not_sent_has_its_default():
    read = checks.body_of(FIELDS, GOOD)
    assert read == {**GOOD, "at": 1_000_000}
    assert checks.body_of(FIELDS, {"text": "a"})["flag"] is False


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("text", "a\x00"), ("list", ["\x00"]), ("list", ["x" * 65]),
        ("text", None), ("text", " "), ("text", "abcdef"), ("text", 1), ("one", "c"),
        ("number", 0), ("number", 10), ("number", 1.5), ("number", True), ("number", "1"),
        ("bits", 5.1), ("flag", 1), ("flag", "true"), ("at", "1970-01-01"), ("at", 5),
        ("at", "1970-01-01T00:00:00"), ("at", "1969-01-01T00:00:00Z"), ("list", ["a", 1]),
        ("list", "a"), ("list", ["a", "b", "c"]), ("items", [1]), ("items", [{"y": 1}]),
        ("items", {}), ("more", 1),
    ],
)  # fmt: skip
def test_a_member_off_its_bounds_is_refused_by_its_place_and_not_by_its_value(member, value):
    with pytest.raises(HieError) as raised:
        checks.body_of(FIELDS, {**GOOD, member: value})
    (issue,) = raised.value.issues
    place = "" if member == "more" else f"/{member}"
    assert issue.expression[0].startswith(f"#/body{place}")
    assert "abcdef" not in issue.text


def test_no_version_no_change_and_no_key_no_decision():
    route = BY_NAME["decideTask"]
    with pytest.raises(VersionRequiredError):
        checks.version_of(route, {})
    for sent in ("*", "abc", '"x"', 'W/"10ba4db6bae938ff8168"'):
        with pytest.raises(HieError):
            checks.version_of(route, {"If-Match": sent})
    assert checks.version_of(route, {"If-Match": f'"{"0" * 20}"'}) == "0" * 20
    for key in ("", "short", "with space in it", "x" * 201):
        with pytest.raises(HieError):
            checks.key_of(route, {"Idempotency-Key": key})


@pytest.mark.parametrize("value", ["", "a b", "a\x00", "x" * 65, "../x", "é"])
def test_an_id_of_a_path_is_one_the_hub_could_have_given(value: str):
    with pytest.raises(HieError):
        checks.ids_of({"id": value})
    assert checks.ids_of({"id": "jv6vye72yu2nuen4ulr5yuvej4"})


@pytest.mark.parametrize("value", ["", "-1", "1.0", "٣", "9" * 19, str(1 << 63), "0x1"])
def test_a_number_has_63_bits_at_most(value: str):
    assert number_in(value) is None
    assert number_in(str((1 << 63) - 1)) == (1 << 63) - 1


def task(kind: TaskKind, record: str | None = "r1") -> QueuedTask:
    return QueuedTask(
        id=7,
        kind=kind,
        state=TaskState.OPEN,
        record_id=SourceRecordId(record) if record else None,
        person_id=PersonId("p1"),
        priority=3,
        assignee=None,
        opened_us=0,
        due_us=0,
        deferred_us=None,
        closed_us=None,
        opened_by=None,
        closed_by=None,
        key_id=1,
        detail=b"",
    )


def proposed(*persons: str) -> list[Candidate]:
    return [
        Candidate(person_id=PersonId(each), bits=9.0, grade=MatchGrade.POSSIBLE) for each in persons
    ]


def chosen(kind: TaskKind, decision: str, *persons: str, record: str | None = "r1", **more: object):
    args = {"person": None, "kept": None, "record": None, "records": None, **more}
    asked = {"decision": decision, **args}
    return choices.of_task(task(kind, record), proposed(*persons), asked, PersonId("p1"))


P1, P2, P3 = PersonId("p1"), PersonId("p2"), PersonId("p3")
R1, R2 = SourceRecordId("r1"), SourceRecordId("r2")


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (chosen(TaskKind.POSSIBLE, "link", "p2"), Link(record=R1, person=P2, task=7)),
        (
            chosen(TaskKind.MARGIN, "link", "p2", "p3", person="p3"),
            Link(record=R1, person=P3, task=7),
        ),
        (
            chosen(TaskKind.DUPLICATE_PERSON, "merge", "p2", record=None),
            Merge(kept=P1, gone=P2, task=7),
        ),
        (
            chosen(TaskKind.DUPLICATE_PERSON, "merge", "p2", record=None, kept="p2"),
            Merge(kept=P2, gone=P1, task=7),
        ),
        (chosen(TaskKind.TWIN, "reject", "p2"), Reject(one=P1, other=P2, task=7)),
        (chosen(TaskKind.DRIFT, "confirm"), Confirm(record=R1, task=7)),
        (chosen(TaskKind.DRIFT, "unlink"), Unlink(record=R1, task=7)),
        (
            chosen(TaskKind.SOURCE_UNLINK, "split", record=None, records=["r2"]),
            Split(person=P1, records=frozenset({R2}), task=7),
        ),
        (chosen(TaskKind.OVERLAY, "overlay-accept"), Overlay(task=7, is_accepted=True)),
    ],
)
def test_a_choice_becomes_one_request(asked, expected):
    assert asked == [expected]


def test_a_rejection_is_of_everybody_proposed_and_the_first_answers_the_task():
    asked = chosen(TaskKind.MARGIN, "reject", "p2", "p3", "p2")
    assert asked == [Reject(one=P1, other=P2, task=7), Reject(one=P1, other=P3)]


@pytest.mark.parametrize(
    ("kind", "decision", "persons", "more", "category"),
    [
        (TaskKind.OVERLAY, "merge", ["p2"], {}, Category.BUSINESS_RULE),
        (TaskKind.MARGIN, "link", ["p2", "p3"], {}, Category.INVALID),  # which one?
        (TaskKind.POSSIBLE, "link", ["p2"], {"person": "p9"}, Category.INVALID),
        (TaskKind.POSSIBLE, "reject", [], {}, Category.INVALID),
        (TaskKind.DUPLICATE_PERSON, "merge", ["p2"], {"kept": "p9"}, Category.INVALID),
        (TaskKind.SOURCE_UNLINK, "split", [], {"records": []}, Category.INVALID),
    ],
)
def test_a_choice_that_answers_nothing_is_refused(kind, decision, persons, more, category):
    with pytest.raises(HieError) as raised:
        chosen(kind, decision, *persons, **more)
    assert raised.value.category is category
    assert "p9" not in raised.value.text
