"""Query string to `hie.store.query.Query` (pure).

Unknown parameters are refused by name, all of them at once; with `Prefer:
handling=lenient` they are passed over and told as warnings. Nothing is ever silently
ignored, for a filter that is ignored shows more than was asked for.
Spec: https://hl7.org/fhir/R4/search.html
"""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Final

from fhir_server.search.params import (
    Asked,
    criterion,
    date_value,
    refused,
    split_escaped,
    unescape,
)
from fhir_server.settings import FhirSettings
from hie.kernel.errors import Category, HieError, Issue
from hie.kernel.fhir import ID, RELATIVE
from hie.store import query as q
from hie.store.index import SearchIndex, SearchParam

Params = tuple[tuple[str, str], ...]

NAME: Final = re.compile(r"^[A-Za-z_][\w.:\-]{0,99}$")
COUNT: Final = re.compile(r"^\d{1,9}$")
TOTALS: Final = {"none": False, "estimate": True, "accurate": True}
SUMMARIES: Final = frozenset({"false", "count"})
#: Agreed on before a search is read: format and layout of the answer.
GENERAL: Final = frozenset({"_format", "_pretty"})
SORTED_KINDS: Final = frozenset({"date", "token", "string"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """A search as understood.

    Attributes:
        used: the parameters that took part, for the self link.
        warnings: what was passed over at the client's wish.
        is_count_only: `_summary=count`.
    """

    query: q.Query
    used: Params
    warnings: tuple[Issue, ...] = ()
    is_count_only: bool = False


@dataclass(slots=True)
class _Draft:
    """A search being read."""

    query: q.Query
    used: list[tuple[str, str]] = field(default_factory=list)
    faults: list[Issue] = field(default_factory=list)
    unknown: list[Issue] = field(default_factory=list)
    values: int = 0
    is_count_only: bool = False

    def add(self, made: q.Criterion) -> None:
        self.query = replace(self.query, criteria=(*self.query.criteria, made))

    def narrow(self, persons: Iterable[str]) -> None:
        """AND another set of persons."""
        asked = tuple(dict.fromkeys(persons))
        before = self.query.persons
        kept = asked if before is None else tuple(p for p in before if p in asked)
        self.query = replace(self.query, persons=kept)


class SearchParser:
    """Reads searches over the parameters of an index."""

    def __init__(self, index: SearchIndex, settings: FhirSettings) -> None:
        self._index = index
        self._settings = settings
        self._special: dict[str, Callable[[_Draft, str, int], None]] = {
            "_id": self._id,
            "_lastUpdated": self._last_updated,
            "_count": self._count,
            "_total": self._total,
            "_summary": self._summary,
            "_sort": self._sort,
        }

    def parse(
        self, type_name: str, params: Params, *, is_lenient: bool = False, now_us: int = 0
    ) -> Parsed:
        """The query of a search on a type.

        Args:
            type_name: a resource type.
            params: names and values, unquoted, in the order given.
            is_lenient: pass over unknown parameters.
            now_us: the time of the request, for `ap`.

        Raises:
            HieError: INVALID with one issue per fault, each naming its parameter.
        """
        draft = _Draft(q.Query(type=type_name, count=self._settings.default_count))
        for name, text in params:
            try:
                self._read(draft, name, text, now_us)
            except HieError as error:
                draft.faults.extend(error.issues)
        faults = draft.faults if is_lenient else [*draft.faults, *draft.unknown]
        if faults:
            raise HieError(Category.INVALID, "the search cannot be understood", faults)
        query = draft.query
        if draft.is_count_only:
            query = replace(query, count=0, is_total_wanted=True)
        return Parsed(
            query=query,
            used=tuple(draft.used),
            warnings=tuple(replace(issue, severity="warning") for issue in draft.unknown),
            is_count_only=draft.is_count_only,
        )

    def _read(self, draft: _Draft, name: str, text: str, now_us: int) -> None:
        if name in GENERAL:
            return
        plain, _, modifier = name.partition(":")
        param = self._index.param(draft.query.type, plain)
        if special := self._special.get(name):
            self._values(draft, name, text)
            special(draft, text, now_us)
        elif param is None:
            draft.unknown.append(_unknown(name, draft.query.type))
            return
        else:
            asked = Asked(param, modifier, self._values(draft, plain, text))
            if param.type == "reference" and modifier != "missing":
                self._reference(draft, asked)
            elif draft.query.type == "Patient" and name == "identifier" and _is_domain(text):
                draft.query = replace(draft.query, domains=(*draft.query.domains, _domains(asked)))
            else:
                draft.add(criterion(asked, now_us))
        draft.used.append((name, text))

    def _values(self, draft: _Draft, name: str, text: str) -> tuple[str, ...]:
        values = tuple(split_escaped(text, ","))
        if not all(value.strip() for value in values):
            raise refused(name, "expected a value, also before and after each comma")
        draft.values += len(values)
        if draft.values > self._settings.max_criteria:
            limit = f"expected at most {self._settings.max_criteria} values in one search"
            raise refused(name, limit, "too-costly")
        return values

    def _id(self, draft: _Draft, text: str, _: int) -> None:
        ids = tuple(unescape(value).strip() for value in split_escaped(text, ","))
        if not all(ID.match(value) for value in ids):
            raise refused("_id", "expected ids of 1 to 64 letters, digits, `-` and `.`")
        if draft.query.type == "Patient":
            draft.narrow(ids)
        else:
            draft.add(q.Ids(values=ids))

    def _last_updated(self, draft: _Draft, text: str, now_us: int) -> None:
        values = (date_value("_lastUpdated", part, now_us) for part in split_escaped(text, ","))
        draft.add(q.LastUpdated(values=tuple(values)))

    def _count(self, draft: _Draft, text: str, _: int) -> None:
        draft.query = replace(draft.query, count=count_of(text, self._settings))
        draft.is_count_only |= draft.query.count == 0

    def _total(self, draft: _Draft, text: str, _: int) -> None:
        if text not in TOTALS:
            raise refused("_total", "expected `none`, `estimate` or `accurate`")
        draft.query = replace(draft.query, is_total_wanted=TOTALS[text])

    def _summary(self, draft: _Draft, text: str, _: int) -> None:
        if text not in SUMMARIES:
            raise refused("_summary", "expected `count` or `false`", "not-supported")
        draft.is_count_only |= text == "count"

    def _sort(self, draft: _Draft, text: str, _: int) -> None:
        keys = tuple(
            self._sort_key(draft.query.type, key.strip()) for key in split_escaped(text, ",")
        )
        draft.query = replace(draft.query, sort=keys)

    def _sort_key(self, type_name: str, text: str) -> q.Sort:
        name, is_descending = text.removeprefix("-"), text.startswith("-")
        if name in ("_id", "_lastUpdated"):
            return q.Sort(param=name, is_descending=is_descending)
        param = self._index.param(type_name, name)
        if param is None:
            raise refused("_sort", f"{_shown(name)} is no search parameter of {type_name}")
        if param.is_blind:
            text = f"`{name}` is stored as keyed hashes, which have no order"
            raise refused("_sort", text, "not-supported")
        if param.kind not in SORTED_KINDS:
            text = f"`{name}` cannot be sorted by; dates, tokens and strings can"
            raise refused("_sort", text, "not-supported")
        return q.Sort(
            param=name, param_ids=param.param_ids, kind=param.kind, is_descending=is_descending
        )

    def _reference(self, draft: _Draft, asked: Asked) -> None:
        param, modifier = asked.param, asked.modifier
        if modifier and not self._index.has_type(modifier):
            text = "this modifier is not supported here; supported: a resource type"
            raise refused(param.name, text, "not-supported")
        values = [self._target(param, modifier, unescape(value)) for value in asked.values]
        if param.targets and any(set(v.types) - set(param.targets) for v in values):
            raise asked.wrong(f"a reference to {' or '.join(param.targets)}")
        if not param.person:
            draft.add(
                q.Reference(param=param.name, param_ids=param.param_ids, values=tuple(values))
            )
            return
        is_person = {value.types == ("Patient",) for value in values}
        if is_person == {True}:
            draft.narrow(value.id for value in values)
        elif is_person == {False}:
            draft.add(
                q.Reference(param=param.name, param_ids=param.param_ids, values=tuple(values))
            )
        else:
            raise asked.wrong("either patients or other references in one list")

    def _target(self, param: SearchParam, modifier: str, text: str) -> q.ReferenceValue:
        """`id`, `Type/id` or this server's own URL; a bare id of a subject is a patient's."""
        local = text.strip().removeprefix(f"{self._settings.base_url}/")
        typed = RELATIVE.match(local)
        if typed and self._index.has_type(typed["type"]):
            if modifier not in ("", typed["type"]):
                raise refused(param.name, f"expected a reference to {modifier}")
            return q.ReferenceValue(types=(typed["type"],), id=typed["id"])
        if not ID.match(local):
            raise refused(param.name, "expected `id`, `Type/id` or a URL of this server")
        types = (modifier,) if modifier else ("Patient",) if param.person else param.targets
        return q.ReferenceValue(types=types, id=local)


def count_of(text: str, settings: FhirSettings) -> int:
    """`_count`, at most what a page may have.

    Raises:
        HieError: INVALID when it is no whole number.
    """
    if not COUNT.match(text.strip()):
        raise refused("_count", "expected a whole number")
    return min(int(text), settings.max_count)


def _is_domain(text: str) -> bool:
    r"""Whether a value of `identifier` names an authority alone: `system|`."""
    return any(value.rstrip().endswith("|") for value in split_escaped(text, ","))


def _domains(asked: Asked) -> tuple[str, ...]:
    """The authorities whose identifiers are asked for (IHE ITI-78, domains returned)."""
    parts = [split_escaped(value.strip(), "|") for value in asked.values]
    systems = tuple(unescape(part[0]).strip() for part in parts)
    if not all(systems) or any(len(part) != 2 or part[1] for part in parts):
        raise asked.wrong("either `system|` alone or whole identifiers in one list")
    return systems


def _shown(name: str) -> str:
    """A client's name for something, if it looks like one; else nothing of it."""
    return f"`{name}`" if NAME.match(name) else "what was given"


def _unknown(name: str, type_name: str) -> Issue:
    text = f"{_shown(name)}: no search parameter of {type_name} in this server; see `metadata`"
    expression = (f"http.{name}",) if NAME.match(name) else ()
    return Issue(text=text, code="not-supported", expression=expression)
