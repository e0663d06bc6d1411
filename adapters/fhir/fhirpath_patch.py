"""FHIRPath Patch on a resource: the operations of a Parameters, all or none (pure).

What may repeat and of which type a value is, the caller's table of elements says; a primitive's
`_name` sibling goes where the primitive goes.
Spec: https://hl7.org/fhir/R4/fhirpatch.html
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NoReturn

from adapters.fhir.fhirpath import Elements, Place, Schema, Step, parse, places
from hie.kernel.errors import Category, HieError, Issue
from hie.kernel.fhir import FhirJson

MOST_OPERATIONS: Final = 1_000
_VALUE: Final = "value"


def fhirpath_patch(document: FhirJson, patch: FhirJson, elements: Elements) -> FhirJson:
    """The resource as patched; `document` itself is not changed.

    Args:
        document: a resource as parsed JSON.
        patch: a Parameters resource.
        elements: the elements of a type, ValueError for one that is not known.

    Raises:
        HieError: INVALID for what is no such patch, BUSINESS_RULE where an operation does not
            fit the resource, TOO_LARGE beyond the bound; with the place in the Parameters.
    """
    parameters = patch.get("parameter")
    if patch.get("resourceType") != "Parameters" or not isinstance(parameters, list):
        text = "a FHIRPath Patch is a Parameters of `operation`s"
        raise HieError(Category.INVALID, text, [Issue(text=text, code="structure")])
    if len(parameters) > MOST_OPERATIONS:
        text = f"a FHIRPath Patch may have {MOST_OPERATIONS} operations"
        raise HieError(Category.TOO_LARGE, text)
    made = _copied(document)
    for number, parameter in enumerate(parameters):
        _Operation(made, Schema(elements), parameter, number).run()
    patched: FhirJson = made
    return patched


class _Operation:
    """One operation on the resource, which it changes."""

    def __init__(self, root: FhirJson, schema: Schema, parameter: Any, number: int) -> None:
        self._root = root
        self._schema = schema
        self._where = f"Parameters.parameter[{number}]"
        parts = parameter.get("part") if isinstance(parameter, dict) else None
        if not isinstance(parts, list) or parameter.get("name") != "operation":
            self._malformed("expected `operation` with its parts")
        self._parts = {p["name"]: p for p in parts if isinstance(p, dict) and _is_text(p, "name")}

    def run(self) -> None:
        """Carry it out."""
        act = _OPERATIONS.get(self._text("type", "valueCode"))
        if act is None:
            self._malformed(f"`type`: expected one of {', '.join(_OPERATIONS)}")
        try:
            steps = parse(self._text("path", "valueString"))
            act(self, steps)
        except HieError as error:
            if error.issues:
                raise
            self._fail(error.category, error.text)

    def add(self, steps: tuple[Step, ...]) -> None:
        """Append to a list, or set what is not there."""
        parent = self._single(steps)
        holder, name = self._object(parent), self._text("name", "valueString")
        member, value = self._named_value(parent.type, name)
        element = self._schema.of(parent.type).get(member)
        found = holder.get(member)
        if isinstance(found, list) or (element is not None and element.is_list):
            self._insert_at(holder, member, len(found or ()), value)
        elif found is not None or self._schema.member(parent.type, holder, name) in holder:
            self._unfit("the element is there and does not repeat; use `replace`")
        elif element is None:
            self._unfit("`name`: expected an element of the type that the path leads to")
        else:
            holder[member] = value

    def insert(self, steps: tuple[Step, ...]) -> None:
        """Put a value at a position of a list."""
        holder, type_name, member = self._list(steps)
        element = self._schema.of(type_name).get(member)
        found = holder.get(member)
        if not isinstance(found, list) and (element is None or not element.is_list):
            self._unfit("the path leads to no list")
        index = self._position("index", len(found or ()))
        value = self._named_value(type_name, member)[1]
        self._insert_at(holder, member, index, value)

    def delete(self, steps: tuple[Step, ...]) -> None:
        """Take one element away; none is as good."""
        found = places(self._root, steps, self._schema)
        if len(found) > 1:
            self._unfit("the path leads to several elements")
        for place in found:
            if place.holder.get("root") is self._root:
                self._unfit("the resource itself cannot be deleted by a patch")
            _take(place)

    def replace(self, steps: tuple[Step, ...]) -> None:
        """Put a value in the place of another."""
        place = self._single(steps)
        if place.holder.get("root") is self._root:
            self._unfit("the resource itself cannot be replaced by a patch")
        member, value = self._replacement(place, steps)
        if place.index is not None:
            place.value_list[place.index] = value
            _put_beside(place, None)
            return
        place.holder.pop(f"_{place.name}", None)
        if member != place.name:
            del place.holder[place.name]
        place.holder[member] = value

    def move(self, steps: tuple[Step, ...]) -> None:
        """Give an entry of a list another position."""
        holder, _, member = self._list(steps)
        found = holder.get(member)
        if not isinstance(found, list):
            self._unfit("the path leads to no list")
        source = self._position("source", len(found) - 1)
        target = self._position("destination", len(found) - 1)
        found.insert(target, found.pop(source))
        beside = holder.get(f"_{member}")
        if isinstance(beside, list):
            beside += [None] * (len(found) - len(beside))
            beside.insert(target, beside.pop(source))

    def _replacement(self, place: Place, steps: tuple[Step, ...]) -> tuple[str, Any]:
        """The member and the value that take the place of what is there."""
        parent_type = self._parent_type(steps)
        element = self._schema.of(parent_type).get(place.name)
        if element is not None and element.choice:
            return self._named_value(parent_type, element.choice)
        return place.name, self._named_value(parent_type, place.name)[1]

    def _parent_type(self, steps: tuple[Step, ...]) -> str:
        last = max((n for n, step in enumerate(steps) if step.kind == "member"), default=0)
        found = places(self._root, steps[:last], self._schema)
        return found[0].type if found else ""

    def _single(self, steps: tuple[Step, ...]) -> Place:
        found = places(self._root, steps, self._schema)
        if len(found) != 1:
            self._unfit("the path leads to no single element")
        return found[0]

    def _object(self, place: Place) -> FhirJson:
        value = place.value
        if not isinstance(value, dict):
            self._unfit("the path leads to a primitive value")
        return value

    def _list(self, steps: tuple[Step, ...]) -> tuple[FhirJson, str, str]:
        """Object, its type and member of the list a path leads to, which may be empty."""
        if steps[-1].kind != "member" or len(steps) < 2:
            self._malformed("`path`: expected the path of a list, without a position")
        parent = self._single(steps[:-1])
        holder = self._object(parent)
        member = self._schema.member(parent.type, holder, steps[-1].argument)
        return holder, parent.type, member

    def _position(self, name: str, highest: int) -> int:
        found = self._part(name).get("valueInteger")
        if not isinstance(found, int) or isinstance(found, bool):
            self._malformed(f"`{name}`: expected a `valueInteger`")
        if not 0 <= found <= highest:
            self._unfit(f"`{name}`: the list has no such position")
        return found

    def _insert_at(self, holder: FhirJson, member: str, index: int, value: Any) -> None:
        beside = holder.get(f"_{member}")
        if isinstance(beside, list) and index < len(beside):
            beside.insert(index, None)
        holder.setdefault(member, []).insert(index, value)

    def _named_value(self, type_name: str, name: str) -> tuple[str, Any]:
        """The JSON member an element of a type gets with this value, and the value."""
        return self._made(type_name, name, self._part(_VALUE))

    def _made(self, type_name: str, name: str, part: FhirJson) -> tuple[str, Any]:
        known = self._schema.of(type_name)
        if "resource" in part:
            return name, part["resource"]
        if isinstance(part.get("part"), list):
            element = known.get(name)
            return name, self._assembled(element.type if element else "", part["part"])
        values = [(n, v) for n, v in part.items() if n.startswith(_VALUE) and n != _VALUE]
        if len(values) != 1:
            self._malformed("`value`: expected one value, or parts")
        member, value = values[0]
        is_choice = name not in known and any(e.choice == name for e in known.values())
        return name + member[len(_VALUE) :] if is_choice else name, _copied(value)

    def _assembled(self, type_name: str, parts: Sequence[Any]) -> FhirJson:
        """An object of a type without a name of its own, from its parts."""
        made: FhirJson = {}
        known = self._schema.of(type_name)
        for part in parts:
            if not isinstance(part, dict) or not _is_text(part, "name"):
                self._malformed("`value`: expected parts with a `name`")
            member, value = self._made(type_name, part["name"], part)
            element = known.get(member)
            if element is not None and element.is_list:
                made.setdefault(member, []).append(value)
            elif member in made:
                self._malformed("`value`: an element that does not repeat is given twice")
            else:
                made[member] = value
        return made

    def _part(self, name: str) -> FhirJson:
        found = self._parts.get(name)
        if found is None:
            self._malformed(f"`{name}` is required")
        part: FhirJson = found
        return part

    def _text(self, name: str, member: str) -> str:
        part = self._part(name)
        # Published examples write codes as strings, and names as codes.
        found = part.get(member, part.get("valueString", part.get("valueCode")))
        if not isinstance(found, str) or not found:
            self._malformed(f"`{name}`: expected a `{member}`")
        return found

    def _malformed(self, text: str) -> NoReturn:
        self._fail(Category.INVALID, text)

    def _unfit(self, text: str) -> NoReturn:
        self._fail(Category.BUSINESS_RULE, text)

    def _fail(self, category: Category, text: str) -> NoReturn:
        code = "structure" if category is Category.INVALID else "processing"
        raise HieError(category, text, [Issue(text=text, code=code, expression=(self._where,))])


_OPERATIONS: Final[Mapping[str, Callable[[_Operation, tuple[Step, ...]], None]]] = {
    "add": _Operation.add,
    "insert": _Operation.insert,
    "delete": _Operation.delete,
    "replace": _Operation.replace,
    "move": _Operation.move,
}


def _is_text(part: FhirJson, name: str) -> bool:
    return isinstance(part.get(name), str)


def _take(place: Place) -> None:
    """Take an element away with what stands beside it; FHIR has no empty lists and objects."""
    beside = f"_{place.name}"
    if place.index is None:
        del place.holder[place.name]
        place.holder.pop(beside, None)
        return
    del place.value_list[place.index]
    siblings = place.holder.get(beside)
    if isinstance(siblings, list) and place.index < len(siblings):
        del siblings[place.index]
    if not place.value_list:
        del place.holder[place.name]
        place.holder.pop(beside, None)


def _put_beside(place: Place, value: Any) -> None:
    siblings = place.holder.get(f"_{place.name}")
    if isinstance(siblings, list) and place.index is not None and place.index < len(siblings):
        siblings[place.index] = value
        if not any(siblings):
            del place.holder[f"_{place.name}"]


def _copied(node: Any) -> Any:
    if isinstance(node, dict):
        return {name: _copied(child) for name, child in node.items()}
    if isinstance(node, list):
        return [_copied(child) for child in node]
    return node
