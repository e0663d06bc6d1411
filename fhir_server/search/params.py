"""One search parameter of a request: its name, modifier and values, still as text (pure).

A fault names the parameter and what was expected, never the value.
Spec: https://hl7.org/fhir/R4/search.html#modifiers
"""

import re
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from hie.kernel.errors import Category, HieError, Issue
from hie.store.index import SearchParam

MODIFIERS: Final = MappingProxyType(
    {
        "token": ("not", "missing", "text", "in", "not-in", "below", "of-type"),
        "string": ("exact", "contains", "missing"),
        "date": ("missing",),
        "number": ("missing",),
        "quantity": ("missing",),
        "uri": ("below", "above", "missing"),
        "reference": ("identifier", "missing"),
        "canonical": ("below", "above", "missing"),
        "composite": ("missing",),
        "special": (),
    }
)
#: What keyed hashes cannot answer: parts of a text, and codes by what a vocabulary says of them.
NEEDS_CLEAR: Final = frozenset({"contains", "in", "not-in", "above", "below"})


@dataclass(frozen=True, slots=True)
class Asked:
    """One parameter of a request: `name:modifier=value,value`, values still escaped.

    Attributes:
        components: of a composite, the parameters of its parts.
    """

    param: SearchParam
    modifier: str
    values: tuple[str, ...]
    components: tuple[SearchParam, ...] = ()

    def wrong(self, expected: str) -> HieError:
        """The error that a value is not as expected."""
        return refused(self.param.name, f"expected {expected}")


def refused(name: str, text: str, code: str = "invalid") -> HieError:
    """An INVALID error about one parameter."""
    issue = Issue(text=f"`{name}`: {text}", code=code, expression=(f"http.{name}",))
    return HieError(Category.INVALID, issue.text, [issue])


def split_escaped(text: str, separator: str) -> list[str]:
    r"""Parts between separators that no backslash escapes; the parts keep their escapes."""
    parts, start, at = [], 0, 0
    while at < len(text):
        if text[at] == "\\":
            at += 1
        elif text[at] == separator:
            parts.append(text[start:at])
            start = at + 1
        at += 1
    return [*parts, text[start:]]


def unescape(text: str) -> str:
    r"""The text meant by `\,` `\|` `\$` and `\\`."""
    return re.sub(r"\\([,|$\\])", r"\1", text)


def modifiers_of(param: SearchParam) -> tuple[str, ...]:
    """The modifiers a parameter may be asked with; a reference also with a resource type."""
    if param.is_sound:
        return ("missing",)
    kind = "canonical" if (param.type, param.kind) == ("reference", "uri") else param.type
    return tuple(m for m in MODIFIERS[kind] if _has_modifier(param, m))


def _has_modifier(param: SearchParam, modifier: str) -> bool:
    if modifier in NEEDS_CLEAR and (param.is_blind or param.kind == "text"):
        return False
    if modifier == "of-type":
        return param.name.endswith("identifier")
    return modifier != "text" or not param.is_contact
