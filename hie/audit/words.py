"""What people read of the audit trail: words for its codes, forms of accountings (config/audit)."""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hie.audit.event import AuditRecord
from hie.kernel.errors import Category, HieError, Issue

_GROUPS: Final = ("purpose", "category", "deed", "ground")
#: Of a form: its keys, and what each holds.
_FORM: Final[Mapping[str, tuple[type, Any]]] = {
    "title": (str, None),
    "law": (str, None),
    "years": (int, None),
    "days": (int, None),
    "leaves_out": (list, ()),
    "leaves_out_own": (bool, False),
    "labels": (list, ()),
    "grounds": (list, ()),
    "groups": (bool, False),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """One form of an accounting (`config/audit/forms.toml`).

    Attributes:
        years: how far back it goes; 0 = as long as there are events.
        days: within which it is to be given.
        leaves_out: purposes that are not listed, with all they subsume.
        leaves_out_own: whether the person's own reads are not listed.
        labels: only what carried one of them; empty = everything.
        grounds: only what rested on one of them; empty = all.
        groups: one line for each recipient and person, with the first and last time.
    """

    name: str
    title: str
    law: str
    years: int
    days: int
    leaves_out: tuple[str, ...] = ()
    leaves_out_own: bool = False
    labels: tuple[str, ...] = ()
    grounds: tuple[str, ...] = ()
    groups: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditWords:
    """Words by code; a code without words stands for itself."""

    purpose: Mapping[str, str]
    category: Mapping[str, str]
    deed: Mapping[str, str]
    ground: Mapping[str, str]
    forms: Mapping[str, Form]

    def categories(self, types: Iterable[str]) -> tuple[str, ...]:
        """What resource types are, each word once, in alphabetical order."""
        return tuple(sorted({self.category.get(name, name) for name in types if name}))

    def why(self, purpose: str) -> str:
        """A purpose in words."""
        return self.purpose.get(purpose, purpose)

    def done(self, record: AuditRecord) -> str:
        """What was done, without whose it is: `looked at test reports`."""
        what = _listed(self.categories(types_of(record))) or "the record"
        return self.deed.get(record.subtype, record.subtype).format(what=what)


def types_of(record: AuditRecord) -> tuple[str, ...]:
    """The resource types that an event is about: what was shown, or what was asked for."""
    shown = tuple(dict.fromkeys(line[1] for line in record.detail.get("shown", ())))
    stored = tuple(
        dict.fromkeys(name.partition("/")[0] for name in record.detail.get("stored", ()))
    )
    return shown or stored or ((record.resource_type,) if record.resource_type else ())


def load_audit_words(folder: Path) -> AuditWords:
    """The words and forms of a `config/audit` folder.

    Raises:
        HieError: INVALID; the text names file, key and kind of value.
    """
    words, forms = _read(folder / "words.toml"), _read(folder / "forms.toml")
    faults = [f"words.toml: unknown table `{name}`" for name in words if name not in _GROUPS]
    for name in _GROUPS:
        table = words.get(name, {})
        if not isinstance(table, dict) or not all(isinstance(v, str) for v in table.values()):
            faults.append(f"words.toml `{name}`: expected a table of texts")
    for name, table in forms.items():
        faults += _form_faults(name, table)
    if faults:
        raise HieError(Category.INVALID, faults[0], [Issue(text=fault) for fault in faults])
    return AuditWords(
        **{name: words.get(name, {}) for name in _GROUPS},
        forms={name: _form(name, table) for name, table in forms.items()},
    )


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        text = f"audit/{file.name}: expected a readable TOML file"
        raise HieError(Category.INVALID, text) from error


def _form_faults(name: str, table: Any) -> list[str]:
    if not isinstance(table, dict):
        return [f"forms.toml `{name}`: expected a table"]
    faults = [f"forms.toml `{name}.{key}`: no form has this key" for key in set(table) - set(_FORM)]
    for key, (kind, default) in _FORM.items():
        value = table.get(key, default)
        is_right = isinstance(value, kind) or (value is default and default is not None)
        if not is_right or (kind is int and isinstance(value, bool)):
            faults.append(f"forms.toml `{name}.{key}`: expected {kind.__name__}")
        elif kind is list and not all(isinstance(one, str) for one in value):
            faults.append(f"forms.toml `{name}.{key}`: expected texts")
    return faults


def _form(name: str, table: Mapping[str, Any]) -> Form:
    values = {key: table.get(key, default) for key, (_, default) in _FORM.items()}
    lists = {key: tuple(value) for key, value in values.items() if isinstance(value, list | tuple)}
    return Form(name=name, **values | lists)


def _listed(words: tuple[str, ...]) -> str:
    """`a`, `a and b`, `a, b and c`; an `and` within words makes the rest clear by semicolons."""
    if len(words) < 2:
        return "".join(words)
    if any(" and " in word for word in words):
        return "; ".join(words)
    return f"{', '.join(words[:-1])} and {words[-1]}"
