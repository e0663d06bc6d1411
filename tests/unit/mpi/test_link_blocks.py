"""Which records of a file are compared, and which values are nobody's."""

from dataclasses import replace

from mpi.offline.blocks import Keys, PairList, distinct
from mpi.offline.table import make_table, shared_values
from tests.support.mpi import MODEL, SETTINGS, demographics

#: One kind of key, three records a key, then the initial of the first name as well.
BY_BIRTH = replace(MODEL, key_cap=3, keys=tuple(key for key in MODEL.keys if key.name == "birth"))
LIMITS = SETTINGS.defaults.shared


def pairs(records, model=MODEL):
    keys = Keys(records, model)
    keys.add(keys.of(range(len(records))))
    blocks = keys.blocks()
    return {pair for batch in blocks.batches for pair in distinct(batch)}, blocks


def test_records_are_compared_once_however_many_keys_they_share():
    found, _ = pairs([demographics(), demographics(), demographics(given=["Norah"])])
    assert found == {(0, 1), (0, 2), (1, 2)}


def test_strangers_are_not_compared():
    stranger = demographics(
        given=["Otto"], family="Brandt", born="1950-11-30", phone="", line="", zip5=""
    )
    assert pairs([demographics(), stranger])[0] == set()


def test_a_full_key_gives_way_to_a_second_field_for_all_of_its_records():
    records = [demographics(given=[name]) for name in ("Nora", "Otto", "Nora", "Otto")]
    found, blocks = pairs(records, BY_BIRTH)
    assert found == {(0, 2), (1, 3)}
    assert blocks.refused["birth"] == 0


def test_what_stays_too_full_is_counted():
    found, blocks = pairs([demographics() for _ in range(5)], BY_BIRTH)
    assert (found, blocks.refused["birth"]) == (set(), 5)


def test_keys_made_in_parts_are_those_made_at_once():
    records = [demographics(given=[name]) for name in ("Nora", "Norah", "Otto", "Nora")]
    keys = Keys(records, MODEL)
    for part in (range(2), range(2, 4)):
        keys.add(keys.of(part))
    assert list(PairList(keys.blocks().batches)) == sorted(pairs(records)[0])


def test_a_number_of_strangers_is_nobodys_and_a_persons_own_misspellings_do_not_count():
    names = ("Otto", "Nora", "Peter", "Iris", "Karl")
    strangers = [
        demographics(given=[name], born=f"197{n}-03-08", ssn="219-45-6789")
        for n, name in enumerate(names)
    ]
    assert shared_values(strangers, LIMITS)["ssn"] == {"219456789"}
    same = [
        demographics(given=[name], born=born, ssn="219-45-6789")
        for name in ("Nora", "Norah", "Nroa")
        for born in ("1971-03-08", "1971-08-03")
    ]
    assert shared_values(same, LIMITS)["ssn"] == frozenset()


def test_a_shared_value_is_taken_out_before_anything_is_compared():
    names = ("Otto", "Nora", "Peter", "Iris", "Karl")
    records = {
        name: demographics(given=[name], born=f"197{n}-03-08", ssn="219-45-6789")
        for n, name in enumerate(names)
    }
    table = make_table(records, LIMITS, lambda _: True)
    assert all(d.ssn == () for d in table.demographics)
    assert table.shared == {"ssn": 1}


def test_records_alike_in_every_field_are_one_unit_only_where_that_links_them():
    records = {"b": demographics(), "a": demographics(), "c": demographics(given=["Otto"])}
    linked = make_table(records, LIMITS, lambda _: True)
    assert list(linked.record_ids) == [("a", "b"), ("c",)]
    apart = make_table(records, LIMITS, lambda _: False)
    assert list(apart.record_ids) == [("a",), ("b",), ("c",)]
