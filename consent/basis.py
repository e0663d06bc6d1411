"""What the rows of consents are compiled by: the rules, the words, and the compiler itself.

Where any of it changes, the rows that stand may say what nobody means any more. The digest takes
in the text of the compiler's own files, so that no release has to remember to count up.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from enum import Enum
from functools import cache
from pathlib import Path
from typing import Any, Final

from consent.regime import ConsentSettings

_HERE: Final = Path(__file__).parent
#: The files that make rows of a Consent; a folder means all files in it.
_COMPILER: Final = (
    "confine.py", "directory.py", "from_fhir", "grantees.py", "model.py", "repository.py",
    "rules.py", "service.py", "several.py", "supersede.py", "tables.py", "writing.py",
)  # fmt: skip


def digest_of(
    settings: ConsentSettings, sources: Iterable[tuple[str, str, bool]], beside: Iterable[Path] = ()
) -> str:
    """A digest of what every row depends on beside the Consents themselves.

    Args:
        settings: regime, hard rules, purposes, words; of the lists the labels alone.
        sources: of each feed its id, whose it is, and whether its word counts as the patient's.
        beside: further files that choose which Consents are compiled.
    """
    parts = [_plain(getattr(settings, field.name)) for field in fields(settings)
             if field.name != "sensitivity"]  # fmt: skip
    labels = _plain(settings.sensitivity.labels)
    made_by = [_compiler(), *(hashlib.sha256(path.read_bytes()).hexdigest() for path in beside)]
    text = json.dumps([parts, labels, sorted(sources), made_by], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


@cache
def _compiler() -> str:
    digest = hashlib.sha256()
    for name in _COMPILER:
        path = _HERE / name
        for file in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            digest.update(file.name.encode() + file.read_bytes())
    return digest.hexdigest()


def _plain(value: Any) -> Any:
    """A value as JSON has it, whatever order a set or a table came in."""
    if isinstance(value, Enum):
        return str(value.value)
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return sorted(([_plain(k), _plain(v)] for k, v in value.items()), key=json.dumps)
    if isinstance(value, set | frozenset):
        return sorted(map(_plain, value), key=json.dumps)
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    return value if isinstance(value, str | int | float | bool | None) else str(value)
