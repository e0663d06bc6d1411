"""Query string to `hie.store.query.Query` (pure).

Unknown parameters are refused by name, all of them at once; with `Prefer:
handling=lenient` they are passed over and told as warnings. Nothing is ever silently
ignored, for a filter that is ignored shows more than was asked for.
Spec: https://hl7.org/fhir/R4/search.html
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final

from fhir_server.outcome import NAME, named
from fhir_server.search.chain import HAS, LIST, Chains
from fhir_server.search.criteria import Terms, criterion
from fhir_server.search.draft import Asking, Draft
from fhir_server.search.params import Asked, refused, split_escaped, unescape
from fhir_server.search.references import reference
from fhir_server.search.results import ResultsReader, Shown
from fhir_server.search.values import date_value
from fhir_server.settings import FhirSettings
from fhir_server.terminology.vocabulary import Vocabulary
from hie.kernel.errors import Category, HieError, Issue
from hie.kernel.fhir import ID
from hie.store import query as q
from hie.store.index import SearchIndex, SearchParam

Params = tuple[tuple[str, str], ...]

#: Agreed on before a search is read: format and layout of the answer.
GENERAL: Final = frozenset({"_format", "_pretty"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Parsed:
    """A search as understood.

    Attributes:
        used: the parameters that took part, for the self link.
        warnings: what was passed over at the client's wish.
        shown: how much of what is found, and how.
    """

    query: q.Query
    used: Params
    warnings: tuple[Issue, ...] = ()
    shown: Shown


class SearchParser:
    """Reads searches over the parameters of an index.

    Args:
        terms: the vocabulary behind `:in`, `:not-in` and `:below`.
    """

    def __init__(
        self, index: SearchIndex, settings: FhirSettings, terms: Terms | None = None
    ) -> None:
        self._index = index
        self._settings = settings
        self._terms: Terms = terms or Vocabulary((), ())
        self._chains = Chains(index, self._known)
        #: Of every type, at either end of a chain.
        self._special: dict[str, Callable[[Draft, str], None]] = {
            "_id": self._id,
            "_lastUpdated": self._last_updated,
        }
        self._results = ResultsReader(index, settings)

    def parse(  # noqa: PLR0913 - one search, and who asks for it
        self,
        type_name: str,
        params: Params,
        *,
        is_lenient: bool = False,
        now_us: int = 0,
        may: Callable[[str], bool] | None = None,
        within: Sequence[q.Criterion] = (),
        types: Sequence[str] = (),
    ) -> Parsed:
        """The query of a search on a type.

        Args:
            type_name: a resource type.
            params: names and values, unquoted, in the order given.
            is_lenient: pass over unknown parameters.
            now_us: the time of the request, for `ap`.
            may: whether the caller's scopes let a type be searched, for chains, `_has` and
                `_list`; None = those are refused.
            within: what the address asks beside the parameters: of a compartment.
            types: of a search on several: all of them.

        Raises:
            HieError: INVALID with one issue per fault, each naming its parameter; FORBIDDEN
                naming a type of a chain that the scopes leave out.
        """
        shown = self._results.default
        together = (type_name, *(other for other in types if other != type_name))
        asking = Asking(now_us=now_us, may=may, types=together)
        draft = Draft(q.Query(type=type_name), asking, shown=shown)
        draft.confine(within)
        for name, text in params:
            self._taken(draft, name, text)
        faults = draft.faults if is_lenient else [*draft.faults, *draft.unknown]
        if faults:
            raise HieError(Category.INVALID, "the search cannot be understood", faults)
        shown = draft.shown or shown
        return Parsed(
            query=shown.of(draft.query),
            used=tuple(draft.used),
            warnings=tuple(replace(issue, severity="warning") for issue in draft.unknown),
            shown=shown,
        )

    def _taken(self, draft: Draft, name: str, text: str) -> None:
        """Read a parameter; what is wrong with it is told with what is wrong with the others."""
        try:
            self._read(draft, name, text)
        except HieError as error:
            if error.category is not Category.INVALID:
                raise
            draft.faults.extend(error.issues)

    def _read(self, draft: Draft, name: str, text: str) -> None:
        if name in GENERAL:
            return
        if name == LIST:
            self._values(draft, name, text)
            self._chains.members(draft, text)
        elif draft.shown is not None and self._results.knows(name):
            self._values(draft, name.partition(":")[0], text)
            draft.shown = self._results.read(draft.shown, draft.asking.types, name, text)
        elif not self._known(draft, name, text):
            reason = self._index.absent(draft.type, name.partition(":")[0])
            draft.unknown.append(_unknown(name, draft.type, reason))
            return
        draft.used.append((name, text))

    def _known(self, draft: Draft, name: str, text: str) -> bool:
        """Read a parameter that may stand at either end of a chain; False where it is unknown."""
        if name.startswith(f"{HAS}:"):
            return self._chains.has(draft, name, text)
        if "." in name:
            return self._chains.chain(draft, name, text)
        if special := self._special.get(name):
            self._values(draft, name, text)
            special(draft, text)
            return True
        plain, _, modifier = name.partition(":")
        param = self._index.param(draft.type, plain)
        if param is None:
            return False
        self._ask(draft, self._asked(draft, param, modifier, text))
        return True

    def _asked(self, draft: Draft, param: SearchParam, modifier: str, text: str) -> Asked:
        found = (self._index.param(draft.type, name) for name in param.components)
        components = tuple(component for component in found if component)
        return Asked(param, modifier, self._values(draft, param.name, text), components)

    def _ask(self, draft: Draft, asked: Asked) -> None:
        param = asked.param
        if param.kind == "ref" and asked.modifier not in ("missing", "identifier"):
            self._reference(draft, asked)
        elif self._is_domain(draft, asked):
            draft.query = replace(draft.query, domains=(*draft.query.domains, _domains(asked)))
        else:
            draft.add(criterion(asked, draft.asking.now_us, self._terms))

    def _is_domain(self, draft: Draft, asked: Asked) -> bool:
        r"""Whether `Patient?identifier=` names an authority alone: `system|`."""
        is_identifier = (draft.type, asked.param.name) == ("Patient", "identifier")
        is_plain = is_identifier and not asked.modifier and draft.depth == 0
        return is_plain and any(value.rstrip().endswith("|") for value in asked.values)

    def _values(self, draft: Draft, name: str, text: str) -> tuple[str, ...]:
        values = tuple(split_escaped(text, ","))
        if not all(value.strip() for value in values):
            raise refused(name, "expected a value, also before and after each comma")
        draft.count.values += len(values)
        if draft.count.values > self._settings.max_criteria:
            limit = f"expected at most {self._settings.max_criteria} values in one search"
            raise refused(name, limit, "too-costly")
        return values

    def _id(self, draft: Draft, text: str) -> None:
        ids = tuple(unescape(value).strip() for value in split_escaped(text, ","))
        if not all(ID.match(value) for value in ids):
            raise refused("_id", "expected ids of 1 to 64 letters, digits, `-` and `.`")
        if draft.query.type == "Patient":
            draft.narrow("_id", ids, is_own=True)
        else:
            draft.add(q.Ids(values=ids))

    def _last_updated(self, draft: Draft, text: str) -> None:
        now_us = draft.asking.now_us
        values = (date_value("_lastUpdated", part, now_us) for part in split_escaped(text, ","))
        draft.add(q.LastUpdated(values=tuple(values)))

    def _reference(self, draft: Draft, asked: Asked) -> None:
        param = asked.param
        made = reference(asked, self._index, self._settings.base_url)
        if not param.person or isinstance(made, q.Keyed):
            draft.add(made)
            return
        is_person = {value.types == ("Patient",) for value in made.values}
        if is_person == {True}:
            persons = (value.id for value in made.values)
            draft.narrow(param.name, persons, is_own=param.person == "first")
        elif is_person == {False}:
            draft.add(made)
        else:
            raise asked.wrong("either patients or other references in one list")


def _domains(asked: Asked) -> tuple[str, ...]:
    """The authorities whose identifiers are asked for (IHE ITI-78, domains returned)."""
    parts = [split_escaped(value.strip(), "|") for value in asked.values]
    systems = tuple(unescape(part[0]).strip() for part in parts)
    if not all(systems) or any(len(part) != 2 or part[1] for part in parts):
        raise asked.wrong("either `system|` alone or whole identifiers in one list")
    return systems


def _unknown(name: str, type_name: str, reason: str) -> Issue:
    why = reason or "see `metadata`"
    text = f"{named(name)}: no search parameter of {type_name} in this server; {why}"
    if "." in name or name.startswith(f"{HAS}:"):
        text = f"{named(name)}: a part of it is no search parameter of its type here; {why}"
    expression = (f"http.{name}",) if NAME.match(name) else ()
    return Issue(text=text, code="not-supported", expression=expression)
