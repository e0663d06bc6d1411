"""Whether JSON is a FHIR resource: structure by the models of fhir.resources.

The only import of fhir.resources; models are loaded per type when first needed. Two passes:
the models' own tables are compiled into a strict walk (JSON types, unknown, missing, empty
and exclusive elements, required codes), because the models themselves turn `"1"` into a
number and stop early; then the models judge formats and what else they know. The models are
of R4B: eighteen experimental types of R4 have none and pass with a notice.

Texts say what was expected and never what was found.
Spec: https://hl7.org/fhir/R4/json.html, https://hl7.org/fhir/R4/validation.html
"""

import re
import typing
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any, Final

from fhir.resources.R4B import get_fhir_model_class
from pydantic import ValidationError

from fhir_server.plain import RESOURCE, Format, format_of, has_shape, is_plain
from hie.kernel.errors import Issue
from hie.kernel.fhir import FhirJson

MAX_ISSUES: Final = 100
MAX_DEPTH: Final = 60
NAME: Final = re.compile(r"^_?[A-Za-z][A-Za-z0-9]{0,63}$")
TEXT: Final = re.compile(r"\S")
#: What the models let through although the standard does not.
PATTERNS: Final = {
    "id": re.compile(r"^[A-Za-z0-9\-.]{1,64}$"),
    "code": re.compile(r"^\S+( \S+)*$"),
    "uri": re.compile(r"^\S+$"),
    "url": re.compile(r"^\S+$"),
    "canonical": re.compile(r"^\S+$"),
}
#: JSON shapes of primitive elements, by the Python type of the model.
SHAPES: Final = {"bool": "boolean", "int": "whole number", "Decimal": "number"}
#: Types of R4 that R4B no longer has.
UNMODELLED: Final = re.compile(
    r"^(MedicinalProduct[A-Z]?\w*|Substance[A-Z]\w+|(Effect|Risk)EvidenceSynthesis)$"
)
#: Codes the models list for elements that R4 binds to more than these.
LOOSELY_BOUND: Final = frozenset({"formats", "etc."})
#: The ends of lists of codes that the models cut short with a plus sign.
CUT_SHORT: Final = {
    "Observation.status": "corrected cancelled entered-in-error unknown",
    "DiagnosticReport.status": "amended corrected appended cancelled entered-in-error unknown",
    "Encounter.status": "entered-in-error unknown",
    "Task.status": "rejected ready cancelled in-progress on-hold failed completed entered-in-error",
}
LITERAL: Final = re.compile(r"^([A-Z][A-Za-z]{1,63})[/?]")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Element:
    """One element of a type as its model describes it.

    Attributes:
        shape: `boolean`, `whole number`, `number`, `text` - or `object`.
        type: the FHIR type of an object, "" for primitives.
        primitive: `dateTime`, `id`: the FHIR type of a primitive.
        choice: `value` of `valueQuantity`; "" where there is no choice.
        codes: of a required binding listed in full.
        targets: resource types a reference may lead to; empty = any.
        format: judges the value, or the list of values, of a primitive.
    """

    name: str
    path: str
    shape: str
    type: str = ""
    primitive: str = ""
    is_list: bool = False
    is_required: bool = False
    choice: str = ""
    is_choice_required: bool = False
    codes: frozenset[str] = frozenset()
    targets: frozenset[str] = frozenset()
    format: Format


def validate(resource: Any) -> tuple[Issue, ...]:
    """Every fault of a resource, none for a valid one; at most a hundred.

    Args:
        resource: parsed JSON, fractions as Decimal.

    Returns:
        Issues of severity `error`, with the FHIRPath of the element; one `information`
        where the type cannot be judged.
    """
    type_name = resource.get("resourceType") if isinstance(resource, dict) else None
    if not isinstance(type_name, str):
        text = "expected a JSON object with a `resourceType`"
        return (Issue(text=text, code="structure"),)
    if not NAME.match(type_name):
        return (Issue(text="`resourceType`: expected a resource type of R4", code="structure"),)
    return _judged(resource, type_name, type_name)


def validate_bundle(bundle: Any) -> tuple[Issue, ...]:
    """Every fault of a Bundle and of the resources in it.

    Expressions of an entry's resource begin with `Bundle.entry[n].resource`.
    """
    if not isinstance(bundle, dict) or bundle.get("resourceType") != "Bundle":
        return (Issue(text="expected a Bundle", code="structure", expression=("Bundle",)),)
    entries = bundle.get("entry")
    entries = entries if isinstance(entries, list) else []
    shell = {**bundle, "entry": [_without_resource(entry) for entry in entries]}
    if "entry" not in bundle or not entries:
        shell = bundle
    issues = list(_judged(shell, "Bundle", "Bundle"))
    for position, entry in enumerate(entries):
        if isinstance(entry, dict) and "resource" in entry:
            at = f"Bundle.entry[{position}].resource"
            issues += [_moved(issue, at) for issue in validate(entry["resource"])]
    return tuple(issues[:MAX_ISSUES])


def _without_resource(entry: Any) -> Any:
    if not isinstance(entry, dict):
        return entry
    kept = {name: value for name, value in entry.items() if name != "resource"}
    # An entry of nothing but its resource is whole; an empty object would not be.
    return kept or {"fullUrl": "urn:uuid:00000000-0000-0000-0000-000000000000"}


def _moved(issue: Issue, at: str) -> Issue:
    if not issue.expression:
        return replace(issue, expression=(at,))
    inner = issue.expression[0].partition(".")[2]
    moved = f"{at}.{inner}" if inner else at
    return replace(
        issue, expression=(moved,), text=issue.text.replace(issue.expression[0], moved, 1)
    )


def _judged(resource: FhirJson, type_name: str, at: str) -> tuple[Issue, ...]:
    try:
        model = get_fhir_model_class(type_name)
    except ValueError:
        return (_unjudged(type_name, at),)
    own = {name: value for name, value in resource.items() if name != "resourceType"}
    found = list(_walk(own, type_name, at, 0))
    if not found and is_plain(own, type_name, elements):
        return ()
    if not any(issue.code == "too-costly" for issue in found):
        # The walk's words are better; the model's stand where the walk found nothing.
        places = {place for issue in found for place in _ancestors(issue.expression[0])}
        found += [
            issue
            for issue in _model_faults(model, resource, type_name)
            if issue.expression[0] not in places
        ]
    faults: dict[str, Issue] = {}
    for issue in found:
        faults.setdefault(issue.expression[0], issue)
    return tuple(faults.values())[:MAX_ISSUES]


def _ancestors(expression: str) -> Iterator[str]:
    """The expression itself and the elements it stands in, with and without positions."""
    while expression:
        yield expression
        yield expression.partition("[")[0]
        expression = expression.rpartition(".")[0]


def _unjudged(type_name: str, at: str) -> Issue:
    if UNMODELLED.match(type_name):
        text = f"`{at}`: no model to judge its structure by"
        return Issue(text=text, code="informational", severity="information", expression=(at,))
    return _fault(f"{at}.resourceType", "expected a resource type of R4", "structure")


def _walk(node: FhirJson, type_name: str, at: str, depth: int) -> Iterator[Issue]:
    if depth > MAX_DEPTH:
        yield _fault(at, f"expected at most {MAX_DEPTH} levels", "too-costly")
        return
    known = elements(type_name)
    for name in node:
        element = known.get(name.removeprefix("_"))
        if element is None or (name.startswith("_") and element.type):
            shown = name if NAME.match(name) else "?"
            yield _fault(f"{at}.{shown}", f"no element of {type_name} in R4", "structure")
        else:
            path = f"{at}.{element.path}"
            yield from _values(node, name, element, path, depth)
    yield from _absent(node, _needed(type_name), at)


def _values(node: FhirJson, name: str, element: _Element, at: str, depth: int) -> Iterator[Issue]:
    value, is_extension = node[name], name.startswith("_")
    if isinstance(value, list) != element.is_list:
        expected = "an array" if element.is_list else "a single value, not an array"
        yield _fault(at, f"expected {expected}", "structure")
        return
    if value in ([], {}):
        yield _fault(at, "expected a value: an element may not be empty", "structure")
        return
    sibling = node.get(name[1:] if is_extension else f"_{name}")
    for position, item in enumerate(value if element.is_list else [value]):
        place = f"{at}[{position}]" if element.is_list else at
        if item is None and element.is_list and isinstance(sibling, list):
            continue
        if is_extension:
            yield from _object(item, "Element", place, depth)
        elif element.type:
            yield from _object(item, element.type, place, depth)
            yield from _astray(item, element, place)
        else:
            yield from _primitive(item, element, place)


def _object(item: Any, type_name: str, at: str, depth: int) -> Iterator[Issue]:
    if not isinstance(item, dict) or not item:
        yield _fault(at, "expected a JSON object with content", "structure")
        return
    if type_name != RESOURCE:
        yield from _walk(item, type_name, at, depth + 1)
        return
    name = item.get("resourceType")
    own = {key: value for key, value in item.items() if key != "resourceType"}
    if not isinstance(name, str) or not NAME.match(name):
        yield _fault(at, "expected a `resourceType`", "structure")
    elif _is_modelled(name):
        yield from _walk(own, name, at, depth + 1)
    else:
        yield _unjudged(name, at)


def _astray(item: Any, element: _Element, at: str) -> Iterator[Issue]:
    """A reference that names a type it may not lead to; `urn:uuid:` and foreign ones name none."""
    reference = item.get("reference") if element.targets and isinstance(item, dict) else None
    named = LITERAL.match(reference) if isinstance(reference, str) else None
    if named and named[1] not in element.targets:
        expected = ", ".join(sorted(element.targets))
        yield _fault(f"{at}.reference", f"expected a reference to {expected}", "value")


def _is_modelled(type_name: str) -> bool:
    try:
        get_fhir_model_class(type_name)
    except ValueError:
        return False
    return True


def _primitive(item: Any, element: _Element, at: str) -> Iterator[Issue]:
    expected = element.primitive or element.shape
    if not has_shape(item, element.shape):
        article = "a JSON " if element.shape != "text" else "JSON "
        yield _fault(at, f"expected {article}{element.shape} ({expected})", "structure")
    elif element.shape == "text" and not PATTERNS.get(element.primitive, TEXT).search(item):
        yield _fault(at, f"expected a valid {expected}, not blank", "value")
    elif element.codes and item not in element.codes:
        yield _fault(at, f"expected one of {', '.join(sorted(element.codes))}", "code-invalid")


def _absent(node: FhirJson, elements: Iterable[_Element], at: str) -> Iterator[Issue]:
    choices: dict[str, list[_Element]] = {}
    for element in elements:
        is_there = element.name in node or f"_{element.name}" in node
        if element.is_required and not is_there:
            yield _fault(f"{at}.{element.path}", "required element is missing", "required")
        if element.choice and (is_there or element.is_choice_required):
            choices.setdefault(element.choice, []).extend([element] if is_there else [])
    for choice, present in choices.items():
        if not present:
            yield _fault(f"{at}.{choice}", "required element is missing", "required")
        elif len(present) > 1:
            yield _fault(f"{at}.{choice}", "expected one type of value only", "structure")


@lru_cache(maxsize=2048)
def _needed(type_name: str) -> tuple[_Element, ...]:
    """The elements of a type that may be missing, or one too many."""
    return tuple(each for each in elements(type_name).values() if each.is_required or each.choice)


def _fault(at: str, text: str, code: str) -> Issue:
    return Issue(text=f"`{at}`: {text}", code=code, expression=(at,))


@lru_cache(maxsize=2048)
def elements(type_name: str) -> Mapping[str, _Element]:
    """The elements of a type by their JSON names; ValueError for a type without a model."""
    fields: Any = get_fhir_model_class(type_name).model_fields
    made = (
        _element(type_name, field) for name, field in fields.items() if not name.endswith("__ext")
    )
    return {element.name: element for element in made if element.name != "fhir_comments"}


def _element(type_name: str, field: Any) -> _Element:
    extra = field.json_schema_extra or {}
    kind, is_list, is_optional = _unwrapped(field.annotation)
    name: str = field.alias
    choice = extra.get("one_of_many", "")
    suffix = name[len(choice) :]
    own_type = "" if not _is_complex(kind) else kind.__name__.removesuffix("Type")
    primitive = "" if own_type else _primitive_name(kind)
    codes = set(extra.get("enum_values") or ())
    if "+" in codes and (rest := CUT_SHORT.get(f"{type_name}.{name}")):
        codes = codes - {"+"} | set(rest.split())
    targets = frozenset(extra.get("enum_reference_types") or ())
    if choice:
        path = f"{choice}.ofType({suffix if own_type else suffix[0].lower() + suffix[1:]})"
    return _Element(
        name=name,
        path=path if choice else name,
        shape="object" if own_type else _shape(kind),
        type=own_type,
        primitive=primitive,
        is_list=is_list,
        is_required=not is_optional or bool(extra.get("element_required")),
        choice=choice,
        is_choice_required=bool(extra.get("one_of_many_required")),
        codes=frozenset() if "+" in codes or LOOSELY_BOUND & codes else frozenset(codes),
        targets=frozenset() if RESOURCE in targets else targets,
        format=format_of(object if own_type else field.annotation),
    )


def _unwrapped(annotation: Any) -> tuple[Any, bool, bool]:
    """The innermost type, whether in a list, whether optional."""
    is_list = is_optional = False
    while True:
        inner = [a for a in typing.get_args(annotation) if a is not type(None)]
        origin = typing.get_origin(annotation)
        if origin is list:
            is_list = True
        elif origin is not None and type(None) in typing.get_args(annotation):
            is_optional = is_optional or not is_list
        else:
            return annotation, is_list, is_optional
        annotation = inner[0]


def _is_complex(kind: Any) -> bool:
    return isinstance(kind, type) and kind.__name__.endswith("Type")


def _primitive_name(kind: Any) -> str:
    marks = getattr(kind, "__metadata__", ())
    name = type(marks[-1]).__name__ if marks else "boolean"
    return name[:1].lower() + name[1:]


def _shape(kind: Any) -> str:
    python = typing.get_args(kind)[0] if typing.get_origin(kind) is typing.Annotated else kind
    return SHAPES.get(getattr(python, "__name__", ""), "text")


def _model_faults(model: Any, resource: FhirJson, type_name: str) -> Iterator[Issue]:
    try:
        model.model_validate(resource)
    except (KeyError, TypeError, AttributeError):
        # The models trip over odd contents; the walk has told of them, or this does.
        yield _fault(type_name, f"expected a {type_name} of R4", "structure")
    except ValidationError as error:
        for fault in error.errors(include_url=False, include_context=False, include_input=False):
            at, expected = _located(type_name, fault["loc"])
            if fault["type"].endswith("missing"):
                yield _fault(at, "required element is missing", "required")
            elif fault["type"] != "extra_forbidden":
                # The walk knows the elements better: the models refuse some `_name`.
                yield _fault(at, f"expected a valid {expected}", "value")


def _located(type_name: str, loc: Sequence[str | int]) -> tuple[str, str]:
    """The expression of a model's location, and the FHIR type expected there."""
    at, current, expected = type_name, type_name, type_name
    for part in loc:
        if isinstance(part, int):
            at += f"[{part}]"
            continue
        if part == "root":
            break
        element = _known(current, part)
        if element is None:
            return f"{at}.{part}" if NAME.match(part) else at, "value"
        at += f".{element.path}"
        current = "Element" if part.startswith("_") else element.type
        expected = element.type or element.primitive
    return at, expected


def _known(type_name: str, part: str) -> _Element | None:
    return elements(type_name).get(part.removeprefix("_")) if type_name else None
