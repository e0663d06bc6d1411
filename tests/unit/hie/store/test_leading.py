"""By which criterion a search of some persons' resources begins."""

import pytest

from hie.crypto import KeyRing
from hie.store import query as q
from hie.store.criteria import Criteria
from hie.store.leading import first_of
from tests.support.search_worlds import INDEX

GUARDED = Criteria(INDEX, KeyRing.ephemeral()).guarded


def reference(*values: tuple[str, ...]) -> q.Reference:
    values_ = tuple(q.ReferenceValue(types=types, id="x1") for types in values)
    return q.Reference(param="any", param_ids=(1,), values=values_)


@pytest.mark.parametrize("values", [[("Encounter",)], [("Encounter",), ("ServiceRequest",)]])
def test_few_refer_to_what_is_one_patients(values):
    begun = reference(*values)
    assert first_of([begun], GUARDED, INDEX) is begun


@pytest.mark.parametrize(
    "values",
    [
        *([("Patient",)], [("Practitioner",)], [("Encounter", "Organization")]),
        *([("Device",)], [("Group",)], [("Schedule",)]),
        *([()], [("Encounter",), ("Device",)]),
    ],
)
def test_no_search_begins_at_what_many_patients_resources_refer_to(values):
    assert first_of([reference(*values)], GUARDED, INDEX) is None
