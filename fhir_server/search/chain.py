"""Searches through references: chains forward, `_has` backward, and the members of a List (pure).

Spec: https://hl7.org/fhir/R4/search.html#chaining, https://hl7.org/fhir/R4/search.html#has
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from fhir_server.search.draft import Draft
from fhir_server.search.params import refused, split_escaped, unescape
from hie.kernel.errors import Category, HieError, Issue
from hie.kernel.fhir import ID
from hie.store import query as q
from hie.store.index import SearchIndex, SearchParam

HAS: Final = "_has"
LIST: Final = "_list"
#: References that one criterion may follow, one after the other.
MOST_HOPS: Final = 2
#: Types one reference is followed to where the search does not say which.
MOST_TYPES: Final = 8
#: Parameters that every type has and the index does not list.
EVERYWHERE: Final = frozenset({"_id", "_lastUpdated", HAS})

#: Reads `name=text` into a draft; False where the type has no such parameter.
Read = Callable[[Draft, str, str], bool]


class Chains:
    """Reads what stands behind a reference.

    Args:
        read: reads one parameter of a draft.
    """

    def __init__(self, index: SearchIndex, read: Read) -> None:
        self._index = index
        self._read = read

    def chain(self, draft: Draft, name: str, text: str) -> bool:
        """Read `reference.parameter` or `reference:Type.parameter`; False where it is unknown."""
        head, _, rest = name.partition(".")
        plain, _, typed = head.partition(":")
        param = self._index.param(draft.type, plain)
        if param is None:
            return False
        if param.kind != "ref":
            raise refused(plain, "expected a reference before the `.`", "not-supported")
        self._require_depth(draft, plain)
        targets = []
        for type_name in self._types(draft, param, typed, rest):
            nested = self._nested(draft, type_name, name, rest, text)
            if nested is not None:
                targets.append(nested)
        if not targets:
            return False
        made = q.Chain(
            param=name, param_ids=param.param_ids, person=param.person, targets=tuple(targets)
        )
        draft.add(made)
        return True

    def has(self, draft: Draft, name: str, text: str) -> bool:
        """Read `_has:Type:reference:parameter`; False where it is unknown."""
        parts = name.split(":", 3)
        if len(parts) < 4 or not self._index.has_type(parts[1]):
            raise refused(HAS, "expected `_has:Type:reference:parameter`")
        _, type_name, plain, rest = parts
        param = self._index.param(type_name, plain)
        if param is None:
            return False
        if param.kind != "ref" or (param.targets and draft.type not in param.targets):
            raise refused(HAS, f"expected a reference of {type_name} to {draft.type}")
        self._require_depth(draft, HAS)
        require_scope(draft, type_name)
        nested = self._nested(draft, type_name, name, rest, text)
        if nested is None:
            return False
        person = param.person if draft.type == "Patient" else ""
        made = q.Has(
            param=name, param_ids=param.param_ids, person=person, type=draft.type, of=nested
        )
        draft.add(made)
        return True

    def members(self, draft: Draft, text: str) -> None:
        """Read `_list`: what the entries of a List refer to."""
        ids = tuple(unescape(value).strip() for value in split_escaped(text, ","))
        param = self._index.param("List", "item")
        if any(value.startswith("$") for value in ids) or param is None:
            raise refused(LIST, "functional lists are not supported; expected ids of Lists")
        if draft.asking.may is None:
            raise refused(LIST, "expected no list here", "not-supported")
        ids = tuple(value.removeprefix("List/") for value in ids)
        if not all(ID.match(value) for value in ids):
            raise refused(LIST, "expected ids of Lists")
        require_scope(draft, "List")
        lists = q.Nested(type="List", criteria=(q.Ids(values=ids),))
        draft.add(q.Has(param=LIST, param_ids=param.param_ids, type=draft.type, of=lists))

    def _types(self, draft: Draft, param: SearchParam, typed: str, rest: str) -> Sequence[str]:
        """The types to follow a reference to."""
        if typed:
            if not self._index.has_type(typed) or (param.targets and typed not in param.targets):
                types = f"one of {', '.join(param.targets)}" if param.targets else "a type"
                raise refused(param.name, f"expected {types} after the `:`")
            require_scope(draft, typed)
            return (typed,)
        known = param.targets or (("Patient",) if param.person else ())
        found = [each for each in known if self._knows(each, rest)]
        if not known or len(found) > MOST_TYPES:
            text = f"expected a type: `{param.name}:Type.` and a parameter of that type"
            raise refused(param.name, text)
        allowed = [each for each in found if _may(draft, each)]
        if found and not allowed:
            require_scope(draft, found[0])
        return allowed

    def _knows(self, type_name: str, rest: str) -> bool:
        first = rest.partition(".")[0].partition(":")[0]
        return first in EVERYWHERE or self._index.param(type_name, first) is not None

    def _nested(
        self, draft: Draft, type_name: str, name: str, rest: str, text: str
    ) -> q.Nested | None:
        inner = draft.inner(type_name)
        try:
            is_known = self._read(inner, rest, text)
        except HieError as error:
            if error.category is not Category.INVALID:
                raise
            issues = [_named(issue, name) for issue in error.issues]
            raise HieError(Category.INVALID, issues[0].text, issues) from error
        return inner.nested() if is_known else None

    def _require_depth(self, draft: Draft, name: str) -> None:
        if draft.asking.may is None:
            raise refused(name, "expected no chain and no `_has` here", "not-supported")
        if draft.depth >= MOST_HOPS:
            text = f"expected at most {MOST_HOPS} references one after the other"
            raise refused(name, text, "too-costly")


def require_scope(draft: Draft, type_name: str) -> None:
    """Refuse to look at a type that the caller's scopes leave out.

    Raises:
        HieError: FORBIDDEN naming the type.
    """
    if not _may(draft, type_name):
        text = f"the token has no scope for `s` on {type_name}, which the search goes through"
        raise HieError(Category.FORBIDDEN, text)


def _may(draft: Draft, type_name: str) -> bool:
    return draft.asking.may is not None and draft.asking.may(type_name)


def _named(issue: Issue, name: str) -> Issue:
    """A fault behind a reference, under the name that the request has for it."""
    _, _, said = issue.text.partition("`: ")
    return replace(issue, text=f"`{name}`: {said}", expression=(f"http.{name}",))
