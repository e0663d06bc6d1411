"""References of a search: to a resource of this hub, or of another server (pure).

Spec: https://hl7.org/fhir/R4/search.html#reference
"""

from fhir_server.search.params import Asked, refused, unescape
from hie.kernel.fhir import ID, RELATIVE
from hie.store import blind
from hie.store import query as q
from hie.store.index import SearchIndex, SearchParam


def reference(asked: Asked, index: SearchIndex, base_url: str) -> q.Reference | q.Keyed:
    """The criterion of a reference, without a modifier or with a resource type as one.

    Raises:
        HieError: INVALID with the parameter's name and what was expected.
    """
    param, modifier = asked.param, asked.modifier
    if modifier and not index.has_type(modifier):
        text = "this modifier is not supported here; supported: `:missing`, `:identifier`"
        raise refused(param.name, f"{text}, a resource type", "not-supported")
    texts = [unescape(value).strip().removeprefix(f"{base_url}/") for value in asked.values]
    elsewhere = [text for text in texts if ":" in text]
    if elsewhere and len(elsewhere) == len(texts):
        keys = tuple(blind.elsewhere_key(text) for text in elsewhere)
        return q.Keyed(param=param.name, param_ids=param.logical_ids, keys=keys)
    values = tuple(_target(param, modifier, text, index) for text in texts)
    if param.targets and any(set(value.types) - set(param.targets) for value in values):
        raise asked.wrong(f"a reference to {' or '.join(param.targets)}")
    return q.Reference(param=param.name, param_ids=param.param_ids, values=values)


def _target(param: SearchParam, modifier: str, text: str, index: SearchIndex) -> q.ReferenceValue:
    """`id` or `Type/id`; a bare id of a subject is a patient's."""
    typed = RELATIVE.match(text)
    if typed and index.has_type(typed["type"]):
        if modifier not in ("", typed["type"]):
            raise refused(param.name, f"expected a reference to {modifier}")
        return q.ReferenceValue(types=(typed["type"],), id=typed["id"])
    if not ID.match(text):
        raise refused(param.name, "expected `id`, `Type/id` or a URL, of one server in a list")
    types = (modifier,) if modifier else ("Patient",) if param.person else param.targets
    return q.ReferenceValue(types=types, id=text)
