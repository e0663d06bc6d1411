"""What codes mean at one source: the tables of all, its own files, what staff decided since.

The last word has staff, then the source's CSV files, then `[overrides.codes]`, then
`config/terminology`. Nothing is compiled anew for a code: converters ask the message's tables.
"""

from collections.abc import Mapping
from typing import Any, Final

from adapters.sources import Source
from adapters.terminology import Concept, Terminology
from hie.kernel.errors import Category, HieError
from hie.kernel.ids import SourceId

#: Source id to concept map to code to concept.
Decided = Mapping[str, Mapping[str, Mapping[str, Concept]]]
#: How many sources' tables are kept; ad-hoc ones have none of their own.
_KEPT: Final = 1_024


class SourceTerms:
    """The concept maps of each source."""

    def __init__(self, base: Terminology) -> None:
        self._base = base
        self._decided: Decided = {}
        self._known: dict[SourceId, Terminology] = {}

    def learn(self, decided: Decided) -> None:
        """Let what staff decided hold from now on, in the place of what held before."""
        self._decided = decided
        self._known.clear()

    def of(self, source: Source) -> Terminology:
        """The tables that hold for a source.

        Raises:
            HieError: INVALID when its file names a map that is not there.
        """
        found = self._known.get(source.id)
        if found is not None:
            return found
        decided = self._decided.get(source.id, {})
        if not source.codes and not decided and "codes" not in source.overrides:
            return self._base
        found = self._base
        for name, codes in source.overrides.get("codes", {}).items():
            found = found.overlaid({name: _concepts(source, name, codes, self._base)})
        found = found.overlaid(source.codes)
        # A map that is gone since is no reason to stop the feed; its codes are unmapped again.
        found = found.overlaid({m: c for m, c in decided.items() if m in found.names})
        if len(self._known) >= _KEPT:
            self._known.clear()
        self._known[source.id] = found
        return found


def _concepts(source: Source, name: str, codes: Any, terms: Terminology) -> dict[str, Concept]:
    """The rows of `[overrides.codes.<map>]`: code to target."""
    place = f"{source.id}.toml [overrides.codes.{name}]"
    if name not in terms.names:
        text = f"{place}: its name must be that of a table of `config/terminology/`"
        raise HieError(Category.INVALID, text)
    if not isinstance(codes, dict):
        raise HieError(Category.INVALID, f"{place}: must be a table of code and target")
    table = terms.map(name)
    for code, target in codes.items():
        is_known = isinstance(target, str) and (not target or target in table.targets)
        if not is_known:
            listed = ", ".join(sorted(table.targets))
            text = f"{place}: `{code}` must be a target of `{name}.csv`, one of {listed}"
            raise HieError(Category.INVALID, text)
    return {code: Concept(target=target) for code, target in codes.items()}
