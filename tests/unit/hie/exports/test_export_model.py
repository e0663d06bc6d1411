"""What an export stores of itself comes back as it was."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hie.exports.model import Asked, Level, may_export, pack, unpack
from hie.kernel.context import Caller, Scope

KEYS = st.integers(0, 2**63 - 1)


@given(st.dictionaries(st.integers(0, 200), st.lists(KEYS, max_size=5).map(tuple), max_size=5))
def test_a_list_s_entry_comes_back_as_it_was_stored(content: dict[int, tuple[int, ...]]) -> None:
    assert unpack(pack(content)) == content


def test_an_entry_costs_eight_bytes_a_resource() -> None:
    assert len(pack({7: tuple(range(1000))})) == 8 * 1002


@given(
    st.builds(
        Asked,
        level=st.sampled_from(Level),
        request=st.text(max_size=20),
        types=st.lists(st.text(max_size=5), max_size=3).map(tuple),
        filters=st.lists(st.tuples(st.text(max_size=5), st.text(max_size=5)), max_size=2).map(
            tuple
        ),
        since_us=KEYS,
        elements=st.lists(st.tuples(st.just(""), st.text(max_size=5)), max_size=2).map(tuple),
        patients=st.none() | st.lists(st.text(max_size=5), max_size=2).map(tuple),
        members=st.none() | st.lists(st.text(max_size=5), max_size=2).map(tuple),
    )
)
def test_what_was_asked_comes_back_as_it_was_stored(asked: Asked) -> None:
    assert Asked.from_bytes(asked.to_bytes()) == asked


@pytest.mark.parametrize(
    ("scopes", "may"),
    [
        ([Scope("system", "*", "rs")], True),
        ([Scope("system", "Patient", "cruds")], True),
        ([Scope("system", "Patient", "r"), Scope("system", "*", "s")], True),
        ([Scope("system", "Patient", "r")], False),
        ([Scope("system", "Observation", "rs")], False),
        ([Scope("user", "*", "cruds")], False),
        ([Scope("patient", "*", "rs")], False),
        ([Scope("system", "Patient", "r"), Scope("user", "Patient", "s")], False),
        ([], False),
    ],
)
def test_only_a_system_that_may_read_and_search_a_type_exports_it(
    scopes: list[Scope], may: bool
) -> None:
    assert may_export(Caller(token_id="1", scopes=tuple(scopes)), "Patient") is may
