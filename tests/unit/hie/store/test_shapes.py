"""One statement for all searches of a shape."""

from hie.store import query as q
from hie.store.shapes import MOST_VALUES, Shape, Slot, shape_of_query, with_slots


def a_query(person="p1", code="c1", count=20, **more):
    return q.Query(
        type="Observation",
        persons=(person,),
        criteria=(
            q.Token(param="code", param_ids=(43,), values=(q.TokenValue(system="s", code=code),)),
            q.Date(param="date", param_ids=(27,), values=(q.DateValue(lo_us=1, hi_us=2),)),
        ),
        count=count,
        **more,
    )


def shaped(query: q.Query) -> Shape:
    shape = shape_of_query(query)
    assert shape is not None
    return shape


def test_searches_that_differ_in_values_and_pages_have_one_shape():
    one = shaped(a_query())
    other = shaped(a_query("p2", "c2", 7, cursor="[1]", is_total_wanted=True))
    assert one.query == other.query
    assert hash(one.query) == hash(other.query)
    assert list(one.values.values()) == ["p1", "s", "c1", 1, 2]
    assert list(other.values.values()) == ["p2", "s", "c2", 1, 2]


def test_what_decides_the_statement_is_in_the_shape():
    plain = shaped(a_query()).query
    any_system = q.Token(param="code", param_ids=(43,), values=(q.TokenValue(code="c1"),))
    for different in (
        a_query(sort=(q.Sort(param="_id"),)),
        a_query(is_own=True),
        q.Query(type="Observation", persons=("p1",), criteria=(any_system,)),
        q.Query(type="Observation", persons=("p1", "p2"), criteria=a_query().criteria),
    ):
        assert shaped(different).query != plain


def test_the_values_come_back_to_their_places():
    shape = shaped(a_query())
    restored = with_slots(shape.query, lambda slot: shape.values[slot.name])
    assert restored.persons == a_query().persons
    assert restored.criteria == a_query().criteria


def test_a_search_whose_values_decide_its_form_has_no_shape():
    text = q.String(param="name", param_ids=(3,), values=("abel",))
    keyed = q.Keyed(param="family", param_ids=(4,), keys=("x:a",))
    for criterion in (text, keyed):
        assert shape_of_query(q.Query(type="Organization", criteria=(criterion,))) is None
    many = q.Ids(values=tuple(f"o{n}" for n in range(MOST_VALUES + 1)))
    assert shape_of_query(q.Query(type="Observation", criteria=(many,))) is None


def test_an_unshaped_query_is_built_as_it_is():
    query = q.Query(
        type="Organization",
        criteria=(q.String(param="name", param_ids=(3,), values=("abel",)),),
    )
    assert with_slots(query, lambda value: value).criteria[0] is query.criteria[0]
    assert Slot("q0", str) == Slot("q0", str)
