"""Queries are values: equal when they ask the same, and never changed."""

from dataclasses import FrozenInstanceError

import pytest

from hie.store import query as q


def test_queries_that_ask_the_same_are_equal():
    def made() -> q.Query:
        token = q.Token(param="code", param_ids=(43,), values=(q.TokenValue(code="a"),))
        return q.Query(type="Observation", persons=("p1",), criteria=(token,))

    assert made() == made()
    assert hash(made()) == hash(made())


def test_a_query_cannot_be_changed():
    query = q.Query(type="Observation")
    with pytest.raises(FrozenInstanceError):
        query.count = 1000  # type: ignore[misc]  # frozen


def test_nothing_asked_of_persons_differs_from_nobody():
    assert q.Query(type="Observation").persons is None
    assert q.Query(type="Observation", persons=()).persons == ()
