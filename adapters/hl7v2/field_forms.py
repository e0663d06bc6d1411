"""The forms of values, and of fields made of them, as regular expressions.

A pattern accepts only what is right, in the standard's own separators; what it does not accept
is looked at again, slowly. INVARIANT: every choice in it is atomic (`(?>`, `*+`), so that matching
is linear in the text whatever a sender writes.
Spec: HL7 v2.8.2 chapter 2A (data types).
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

_NO_DAY: Final = r"(?!\d{4}(?:023[01]|0[469]31|1131))"
_MONTH: Final = "(?:0[1-9]|1[0-2])"
_DAY: Final = r"(?:0[1-9]|[12]\d|3[01])"
_CLOCK: Final = r"(?:[01]\d|2[0-3])(?:[0-5]\d(?:[0-5]\d(?:\.\d{1,6})?)?)?"
_ZONE: Final = r"(?:[+-](?:0\d|1[0-4])[0-5]\d)?"
_DATE: Final = rf"{_NO_DAY}\d{{4}}(?:{_MONTH}(?:{_DAY})?)?"
_STAMP: Final = rf"{_NO_DAY}\d{{4}}(?:{_MONTH}(?:{_DAY}(?:{_CLOCK})?)?)?{_ZONE}"

#: Data types whose text may hold any character but a field's end and a repetition mark.
TEXTS: Final = frozenset({"ST", "TX", "FT", "TN", "GTS", "ED"})
_LARGEST_TABLE: Final = 150  # values in a pattern; a field of a larger table is looked at slowly


@dataclass(frozen=True, slots=True)
class Form:
    """How values of a simple type look, and the words for it."""

    pattern: str
    words: str
    matches: Callable[[str], object]


def _form(pattern: str, words: str) -> Form:
    return Form(pattern, words, re.compile(pattern, re.ASCII).fullmatch)


#: Data type to the form of its value.
FORMS: Final[Mapping[str, Form]] = MappingProxyType(
    {
        "DT": _form(_DATE, "a date (YYYYMMDD)"),
        "TM": _form(f"{_CLOCK}{_ZONE}", "a time (HHMMSS)"),
        "TS": _form(_STAMP, "a time stamp (YYYYMMDDHHMMSS)"),
        "DTM": _form(_STAMP, "a time stamp (YYYYMMDDHHMMSS)"),
        "NM": _form(r"[+-]?(?:\d++\.?\d*+|\.\d++)", "a number"),
        "SI": _form(r"\d++", "a sequence number"),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """What the standard says about a field's content, a component or a subcomponent.

    Attributes:
        datatype: `CX`.
        parts: of a composite type, first to last; () for a simple one.
        table: number of the table its value is of; empty for none.
        values: that table's values; empty = not checked.
        longest: characters; 0 = not checked.
        is_required: a component that must be valued where its field is.
    """

    datatype: str
    parts: tuple["Part", ...] = ()
    table: str = ""
    values: frozenset[str] = frozenset()
    longest: int = 0
    is_required: bool = False

    @property
    def is_checked(self) -> bool:
        """Whether there is anything to look at in it."""
        return self.is_tested or any(p.is_required or p.is_checked for p in self.parts)

    @property
    def is_tested(self) -> bool:
        """Whether its own value is looked at."""
        return not self.parts and bool(self.datatype in FORMS or self.values or self.longest)

    @property
    def is_text(self) -> bool:
        """Whether separators in it are text."""
        return not self.parts and self.datatype in TEXTS


def pattern_of(name: str, fields: Iterable[tuple[int, int, Part]], *, is_header: bool) -> str:
    """The pattern of a whole segment, up to its end.

    Each field of a composite type that is looked at is a group, for `field_pattern`: types
    are few and fields are many, and compiling takes long.

    Args:
        name: the segment's.
        fields: least, most and content of each, in order, without a gap.
        is_header: its second field is the list of separators.
    """
    pieces = [re.escape(name)]
    if is_header:
        pieces.append(r"\|[^|]*+")
    for least, most, part in fields:
        field = "([^|]*+)" if is_group(most, part) else field_pattern(most, part)
        pieces.append(rf"(?>\|(?=[^|]){field})" if least else rf"(?>\|{field}|\Z)")
    pieces.append(r"\|*+")
    return "(?a:" + "".join(pieces) + ")"


def is_group(most: int, part: Part) -> bool:
    """Whether a field's content is matched by a pattern of its own."""
    return most != 0 and bool(part.parts) and part.is_checked


def field_pattern(most: int, part: Part) -> str:
    """The pattern of a field's content, which may be empty."""
    if most == 0:
        return '(?:"")?+'
    if not part.is_checked:
        return "[^|]*+" if most == -1 else "[^|~]*+"
    once = repetition_pattern(part)
    more = "" if most == 1 else f"(?:~{once})*+" if most == -1 else f"(?:~{once}){{0,{most - 1}}}+"
    return rf"(?>(?=\||\Z)|{once}{more})"


def repetition_pattern(part: Part) -> str:
    """The pattern of one repetition of a field."""
    empty = r"(?=[~|]|\Z)"
    null = rf'""{empty}'
    if not part.parts:
        leaf = _leaf_pattern(part, "|~" if part.is_text else "|~^&")
        return f"(?>{empty}|{null}|{leaf}{'' if part.is_text else '[^|~]*+'})"
    last = max(n for n, p in enumerate(part.parts) if p.is_required or p.is_checked)
    # One after the other, not one in the other: nested groups take very long to compile.
    pieces = [_component_pattern(part.parts[0])]
    for inner in part.parts[1 : last + 1]:
        component = rf"\^{_component_pattern(inner)}"
        pieces.append(component if inner.is_required else f"(?>{component}|{empty})")
    pieces.append(rf"(?>\^[^|~]*+|{empty})")
    return f"(?>{empty}|{null}|{''.join(pieces)})"


def _component_pattern(part: Part) -> str:
    if not part.is_checked:
        found = "[^|~^]*+"
    elif part.parts:
        found = _subcomponents_pattern(part.parts)
    else:
        found = _leaf_pattern(part, "|~^" if part.is_text else "|~^&", is_optional=True)
        found += "" if part.is_text else "[^|~^]*+"
    return f"(?=[^|~^]){found}" if part.is_required else found


def _subcomponents_pattern(parts: Sequence[Part]) -> str:
    tested = [n for n, part in enumerate(parts) if part.is_tested]
    if not tested:
        return "[^|~^]*+"
    end = r"(?=[|~^]|\Z)"
    subs = [
        _leaf_pattern(part, "|~^&", is_optional=True) if part.is_tested else "[^|~^&]*+"
        for part in parts[: tested[-1] + 1]
    ]
    others = "".join(f"(?>&{sub}|{end})" for sub in subs[1:])
    return f"{subs[0]}{others}(?>&[^|~^]*+|{end})"


def _leaf_pattern(part: Part, ends: str, *, is_optional: bool = False) -> str:
    """A value and the look-ahead to one of `ends`."""
    end = rf"(?=[{ends}]|\Z)"
    form = FORMS.get(part.datatype)
    if form:
        found = form.pattern
    elif part.values:
        found = _any_of(part.values) if len(part.values) <= _LARGEST_TABLE else "(?!)"
    else:
        found = f"[^{ends}]{{0,{part.longest}}}+"
    if part.longest and (form or part.values):
        found = f"(?![^{ends}]{{{part.longest + 1}}})(?:{found})"
    empty = f'{end}|""{end}|' if is_optional else ""
    return f"(?>{empty}(?:{found}){end})"


def _any_of(values: Iterable[str]) -> str:
    """A pattern of these texts, branching letter by letter: a list is searched from its front."""
    branches: dict[str, list[str]] = {}
    for value in values:
        branches.setdefault(value[:1], []).append(value[1:])
    is_whole = branches.pop("", None) is not None
    pieces = [
        re.escape(letter) + (_any_of(rest) if rest != [""] else "")
        for letter, rest in sorted(branches.items())
    ]
    singles = [piece for piece in pieces if len(piece) == 1]
    longer = [piece for piece in pieces if len(piece) != 1]
    if len(singles) > 1:
        longer.append(f"[{''.join(singles)}]")
    else:
        longer += singles
    inner = longer[0] if len(longer) == 1 else f"(?:{'|'.join(longer)})"
    return f"(?:{inner})?" if is_whole else inner
