"""Status orders: which status of a resource may follow which, `config/hl7v2/lifecycles.toml`.

A status may be followed by one of its own step or of a later one, never by one of an earlier
step. That is an order, so the outcome does not depend on which message came first.
"""

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from hie.kernel.errors import Category, HieError
from hie.kernel.fhir import FhirJson

#: Rank of a resource that says nothing of its status.
SILENT: Final = -1
_KEYS: Final = frozenset({"element", "steps", "whole"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Lifecycle:
    """One status order.

    Attributes:
        element: where the status stands: a code, or a CodeableConcept such as
            `verificationStatus`.
        ranks: step of each status, from 0; a status it does not list counts as of step 0.
        is_whole: content and status belong together: a version whose status would fall back
            loses whole. Otherwise the later content counts and only the status stays.
    """

    name: str
    element: str
    ranks: Mapping[str, int]
    is_whole: bool = False

    def rank(self, resource: Mapping[str, Any]) -> int:
        """The step a resource is at; SILENT when it does not say."""
        code = _code(resource.get(self.element))
        return self.ranks.get(code, 0) if code else SILENT


def _code(value: Any) -> str:
    if isinstance(value, dict):
        codings = value.get("coding") or [{}]
        value = codings[0].get("code")
    return value if isinstance(value, str) else ""


def load_lifecycles(path: Path) -> dict[str, Lifecycle]:
    """The status orders of a file, by name; none where there is no file.

    Raises:
        HieError: INVALID, naming file, table and the kind of value expected.
    """
    if not path.exists():
        return {}
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise HieError(Category.INVALID, f"`{path.name}`: must be TOML ({error})") from error
    return {name: _lifecycle(path.name, name, table) for name, table in content.items()}


def _lifecycle(file: str, name: str, table: FhirJson) -> Lifecycle:
    place = f"`{file}` [{name}]"
    if not isinstance(table, dict) or not table.keys() <= _KEYS:
        raise HieError(Category.INVALID, f"{place}: must be a table of {', '.join(sorted(_KEYS))}")
    element, steps = table.get("element"), table.get("steps")
    if not isinstance(element, str) or not element:
        raise HieError(Category.INVALID, f"{place}: `element` must be an element's name")
    if not _is_steps(steps):
        raise HieError(Category.INVALID, f"{place}: `steps` must be lists of statuses, in order")
    ranks = {status: rank for rank, step in enumerate(steps or ()) for status in step}
    if len(ranks) != sum(len(step) for step in steps or ()):
        raise HieError(Category.INVALID, f"{place}: `steps` must name each status once")
    is_whole = table.get("whole", False) is True
    return Lifecycle(name=name, element=element, ranks=ranks, is_whole=is_whole)


def _is_steps(steps: Any) -> bool:
    return (
        isinstance(steps, list)
        and bool(steps)
        and all(isinstance(s, list) and s and all(isinstance(i, str) for i in s) for s in steps)
    )
