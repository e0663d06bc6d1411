"""What a search shows of what it finds: how many, in what order, with what, how much (pure).

The parameters here filter nothing; they are read apart from the criteria. Faults name the
parameter and what was expected, never the value.
Spec: https://hl7.org/fhir/R4/search.html#return
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final

from fhir_server.outcome import named
from fhir_server.search.params import refused
from fhir_server.settings import FhirSettings
from hie.store import query as q
from hie.store.index import SearchIndex, SearchParam

COUNT: Final = re.compile(r"^\d{1,9}$")
#: An estimate is exact: what is counted passed the caller's predicate either way.
TOTALS: Final = MappingProxyType({"none": False, "estimate": True, "accurate": True})
SUMMARIES: Final = ("true", "text", "data", "count", "false")
SORTED_KINDS: Final = frozenset({"date", "token", "string"})
#: What a golden Patient, put together for each caller, can be sorted by.
PATIENT_SORTS: Final = ("_id", "_lastUpdated")
ITERATE: Final = "iterate"
INCLUDES: Final = frozenset({"_include", "_revinclude"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """How much of what is found a client wants, and how.

    Attributes:
        count: matches on a page; 0 = the total alone.
        summary: of `SUMMARIES`.
        elements: names to keep of each match; () = all.
    """

    count: int
    sort: tuple[q.Sort, ...] = ()
    is_total_wanted: bool = False
    includes: tuple[q.Include, ...] = ()
    summary: str = "false"
    elements: tuple[str, ...] = ()

    @property
    def is_count_only(self) -> bool:
        """Whether no match is told at all."""
        return self.count == 0 or self.summary == "count"

    def of(self, query: q.Query) -> q.Query:
        """A query that shows its matches so."""
        return replace(
            query,
            count=0 if self.is_count_only else self.count,
            sort=self.sort,
            includes=self.includes,
            is_total_wanted=self.is_total_wanted or self.is_count_only,
        )


class ResultsReader:
    """Reads the parameters that say what is shown."""

    def __init__(self, index: SearchIndex, settings: FhirSettings) -> None:
        self._index = index
        self._settings = settings
        self._readers: dict[str, Callable[[Shown, Sequence[str], str, str], Shown]] = {
            "_count": self._count,
            "_sort": self._sort,
            "_total": self._total,
            "_summary": self._summary,
            "_elements": self._elements,
            "_include": self._include,
            "_revinclude": self._include,
        }

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters read here."""
        return tuple(self._readers)

    @property
    def default(self) -> Shown:
        """What is shown to who asks for nothing."""
        return Shown(count=self._settings.default_count)

    def knows(self, name: str) -> bool:
        """Whether a parameter, with or without a modifier, is read here."""
        return name.partition(":")[0] in self._readers

    def read(self, shown: Shown, types: Sequence[str], name: str, text: str) -> Shown:
        """What is shown, one parameter more read.

        Args:
            shown: as read so far.
            types: the resource types searched; the first is the one read for.
            name: of a parameter that is read here.
            text: its value, unquoted.

        Raises:
            HieError: INVALID naming the parameter and what was expected.
        """
        plain, _, modifier = name.partition(":")
        if modifier and not (modifier == ITERATE and plain in INCLUDES):
            offered = f"`:{ITERATE}`" if plain in INCLUDES else "no modifier"
            text = f"this modifier is not supported here; supported: {offered}"
            raise refused(plain, text, "not-supported")
        read = self._readers[plain](shown, types, name, text)
        if read.includes and read.summary == "text":
            raise refused("_summary", "`text` cannot be told together with what is included")
        return read

    def _count(self, shown: Shown, _: Sequence[str], __: str, text: str) -> Shown:
        return replace(shown, count=count_of(text, self._settings))

    def _total(self, shown: Shown, _: Sequence[str], __: str, text: str) -> Shown:
        if text not in TOTALS:
            raise refused("_total", "expected `none`, `estimate` or `accurate`")
        return replace(shown, is_total_wanted=TOTALS[text])

    def _summary(self, shown: Shown, _: Sequence[str], __: str, text: str) -> Shown:
        if text not in SUMMARIES:
            expected = ", ".join(f"`{name}`" for name in SUMMARIES)
            raise refused("_summary", f"expected one of {expected}")
        return replace(shown, summary=text)

    def _elements(self, shown: Shown, _: Sequence[str], __: str, text: str) -> Shown:
        names = tuple(name.strip() for name in text.split(","))
        if not all(name.isidentifier() and name.isascii() for name in names):
            raise refused("_elements", "expected names of elements, such as `status,code`")
        return replace(shown, elements=tuple(dict.fromkeys((*shown.elements, *names))))

    def _sort(self, shown: Shown, types: Sequence[str], _: str, text: str) -> Shown:
        keys = tuple(self._sort_key(types[0], key.strip()) for key in text.split(","))
        names = [key.param for key in keys]
        if len(set(names)) < len(names):
            raise refused("_sort", "expected each parameter once")
        return replace(shown, sort=keys)

    def _sort_key(self, type_name: str, text: str) -> q.Sort:
        name, is_descending = text.removeprefix("-"), text.startswith("-")
        if name in PATIENT_SORTS:
            return q.Sort(param=name, is_descending=is_descending)
        param = self._index.param(type_name, name)
        if param is None:
            raise refused("_sort", f"{named(name)} is no search parameter of {type_name}")
        if param.is_blind:
            text = f"`{name}` is stored as keyed hashes, which have no order"
            raise refused("_sort", text, "not-supported")
        if type_name == "Patient":
            text = "a Patient is put together for each caller; `_id` and `_lastUpdated` sort it"
            raise refused("_sort", text, "not-supported")
        if param.kind not in SORTED_KINDS:
            text = f"`{name}` cannot be sorted by; dates, tokens and strings can"
            raise refused("_sort", text, "not-supported")
        return q.Sort(
            param=name, param_ids=param.param_ids, kind=param.kind, is_descending=is_descending
        )

    def _include(self, shown: Shown, types: Sequence[str], name: str, text: str) -> Shown:
        found = self._included(types, name, text)
        includes = tuple(dict.fromkeys((*shown.includes, *found)))
        if len(includes) > self._settings.max_criteria:
            limit = f"expected at most {self._settings.max_criteria} references to follow"
            raise refused(name, limit, "too-costly")
        return replace(shown, includes=includes)

    def _included(self, types: Sequence[str], name: str, text: str) -> list[q.Include]:
        """One include; of a `*` one for each reference of a type."""
        plain, _, modifier = name.partition(":")
        is_reverse = plain == "_revinclude"
        source, param, target = _parts(plain, text, types)
        if not self._index.has_type(source) or (target and not self._index.has_type(target)):
            raise refused(plain, "expected resource types of R4, as in `Observation:encounter`")
        if not is_reverse and not modifier and source not in types:
            expected = " or ".join(sorted(types))
            raise refused(plain, f"expected a reference of {expected}, or `{plain}:iterate`")
        every = self._references(source)
        if param == "*" and not is_reverse:
            return [self._include_of(source, one, target, is_reverse, modifier) for one in every]
        wanted = [one for one in every if one.name == param]
        if not wanted:
            raise refused(plain, f"{named(param)} is no reference parameter of {source}")
        if target and wanted[0].targets and target not in wanted[0].targets:
            expected = " or ".join(wanted[0].targets)
            raise refused(plain, f"`{source}:{param}` refers to {expected}")
        return [self._include_of(source, wanted[0], target, is_reverse, modifier)]

    def _references(self, source: str) -> list[SearchParam]:
        return [one for one in self._index.params(source) if one.type == "reference"]

    def _include_of(
        self, source: str, param: SearchParam, target: str, is_reverse: bool, modifier: str
    ) -> q.Include:
        return q.Include(
            source=source,
            param_ids=param.param_ids,
            person=param.person,
            targets=(target,) if target else param.targets,
            is_reverse=is_reverse,
            is_iterate=modifier == ITERATE,
        )


def _parts(plain: str, text: str, types: Sequence[str]) -> tuple[str, str, str]:
    """Source type, parameter and ("" = any) target type of `Type:param:Target` or `*`."""
    if text == "*" and plain == "_include":
        return types[0], "*", ""
    parts = text.split(":")
    if len(parts) not in (2, 3) or not all(parts) or (plain == "_revinclude" and "*" in parts):
        expected = "expected `Type:parameter` or `Type:parameter:TargetType`"
        raise refused(plain, expected + (", or `*`" if plain == "_include" else ""))
    return parts[0], parts[1], parts[2] if len(parts) == 3 else ""


def count_of(text: str, settings: FhirSettings) -> int:
    """`_count`, at most what a page may have.

    Raises:
        HieError: INVALID when it is no whole number.
    """
    if not COUNT.match(text.strip()):
        raise refused("_count", "expected a whole number")
    return min(int(text), settings.max_count)


def page_size_of(text: str, settings: FhirSettings) -> int:
    """`_count` where no total is told, so that none would be an answer of nothing.

    Raises:
        HieError: INVALID when it is no whole number from 1.
    """
    count = count_of(text, settings)
    if not count:
        raise refused("_count", "expected a whole number from 1; no total is told here")
    return count
