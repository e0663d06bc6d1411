"""Whatever the order of arrival, the same statements end in the same state; thousands of orders."""

import os

from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.lifecycle import load_lifecycles
from hie.flow.state import KEPT, Change, Known, Stamp, judge
from hie.kernel.envelope import WriteMode
from hie.kernel.fhir import FhirJson
from tests.support.tree import ROOT

CASES = 5_000 if os.environ.get("HIE_TEST_LONG") == "1" else 400
LIFECYCLES = load_lifecycles(ROOT / "config" / "hl7v2" / "lifecycles.toml")
TEXT = st.sampled_from(["a", "b", "c"])


def statements(statuses: list[str], modes: list[WriteMode], name: str) -> st.SearchStrategy:
    """Statements about one resource with distinct times, and an order of their arrival."""
    content = st.fixed_dictionaries(
        {},
        optional={
            "status": st.sampled_from(statuses),
            "x": TEXT,
            "y": st.none() | TEXT,
            "period": st.fixed_dictionaries({}, optional={"start": TEXT, "end": TEXT}),
        },
    )
    one = st.tuples(st.sampled_from(modes), content)

    def dated(drawn: list[tuple[WriteMode, FhirJson]]) -> list[Change]:
        return [
            Change(
                stamp=Stamp(1000 + n, 1000 + n, n),
                mode=mode,
                resource=resource if mode is not WriteMode.DELETE else {},
                lifecycle=LIFECYCLES[name],
            )
            for n, (mode, resource) in enumerate(drawn)
        ]

    changes = st.lists(one, min_size=1, max_size=min(8, KEPT)).map(dated)
    return changes.flatmap(lambda found: st.tuples(st.just(found), st.permutations(found)))


def after(changes: list[Change]) -> Known | None:
    """What is known once all of them came."""
    known: Known | None = None
    for change in changes:
        known = judge(known, change).known
    return known


def seen(known: Known | None) -> tuple[FhirJson | None, bool]:
    """What anybody can see of it."""
    if known is None or known.is_deleted:
        return None, True
    return known.resource, False


@settings(max_examples=CASES, deadline=None)
@given(statements(["in-progress", "finished", "cancelled"], [WriteMode.PATCH], "visit"))
def test_a_visit_told_in_parts(drawn: tuple[list[Change], list[Change]]) -> None:
    in_order, as_came = drawn
    assert seen(after(as_came)) == seen(after(in_order))


@settings(max_examples=CASES, deadline=None)
@given(
    statements(
        ["active", "on-hold", "revoked", "completed", "entered-in-error"],
        [WriteMode.PATCH, WriteMode.UPSERT],
        "order",
    )
)
def test_an_order_told_in_parts_and_whole(drawn: tuple[list[Change], list[Change]]) -> None:
    in_order, as_came = drawn
    assert seen(after(as_came)) == seen(after(in_order))


@settings(max_examples=CASES, deadline=None)
@given(
    statements(
        ["registered", "preliminary", "final", "corrected", "cancelled", "entered-in-error"],
        [WriteMode.UPSERT],
        "result",
    )
)
def test_a_result_that_is_whole_in_each_message(drawn: tuple[list[Change], list[Change]]) -> None:
    in_order, as_came = drawn
    assert seen(after(as_came)) == seen(after(in_order))


@settings(max_examples=CASES, deadline=None)
@given(statements(["active"], [WriteMode.UPSERT, WriteMode.DELETE], "coverage"))
def test_deletions_and_what_they_delete(drawn: tuple[list[Change], list[Change]]) -> None:
    in_order, as_came = drawn
    assert seen(after(as_came)) == seen(after(in_order))


@settings(max_examples=CASES, deadline=None)
@given(statements(["in-progress", "finished"], [WriteMode.PATCH], "visit"))
def test_the_same_statement_processed_again_changes_nothing(
    drawn: tuple[list[Change], list[Change]],
) -> None:
    in_order, again = drawn
    assert seen(after([*in_order, *again])) == seen(after(in_order))


@settings(max_examples=CASES, deadline=None)
@given(st.integers(1, 3 * KEPT))
def test_what_is_kept_is_bounded_and_says_the_same(count: int) -> None:
    changes = [
        Change(
            stamp=Stamp(n, n, n),
            mode=WriteMode.PATCH,
            resource={f"x{n % 5}": str(n)},
        )
        for n in range(1, count + 1)
    ]
    known = after(changes)
    assert known is not None
    assert len(known.log) <= KEPT
    assert known.resource == {k: v for change in changes for k, v in change.resource.items()}
    very_late = judge(
        known, Change(stamp=Stamp(0, 0, 99), mode=WriteMode.PATCH, resource={"x0": "?", "z": "?"})
    )
    found = very_late.known.resource
    assert found is not None
    assert found["z"] == "?"
    assert found["x0"] != "?" or count < 5
