"""https://hl7.org/fhir/R4/json.html: whatever JSON comes, it is judged and not repeated."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from fhir_server.validate import validate, validate_bundle

SECRET = "Zyxwvutsson"
LEAVES = st.none() | st.booleans() | st.integers() | st.just(SECRET) | st.floats(allow_nan=False)
NAMES = st.sampled_from(
    [
        *("resourceType", "id", "meta", "extension", "contained", "name", "family", "given"),
        *("birthDate", "_birthDate", "code", "coding", "status", "valueQuantity", "value", "url"),
    ]
)
TREES: st.SearchStrategy[Any] = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)


@given(st.sampled_from(["Patient", "Observation", "Bundle"]), st.dictionaries(NAMES, TREES))
def test_any_json_is_judged_without_repeating_its_values(type_name: str, tree: dict[str, Any]):
    issues = validate({**tree, "resourceType": type_name})
    assert all(issue.text and issue.expression for issue in issues)
    assert SECRET not in str([issue.text for issue in issues])


@given(TREES)
def test_any_json_is_judged_as_a_bundle(tree: Any):
    bundle = {"resourceType": "Bundle", "type": "batch", "entry": tree}
    issues = validate_bundle(bundle)
    assert SECRET not in str([issue.text for issue in issues])
