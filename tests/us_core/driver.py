"""Asks a running server what the certification kit asks, and checks every answer.

One `Driver` is one kit run with one token: `run` gives every fault as a sentence. A resource
that comes back is held against the search values by `values.meets`, whatever the server thinks.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from typing import Any
from urllib.parse import quote

from tests.us_core import elements, values
from tests.us_core.build import PROFILE, Resource
from tests.us_core.kit import Param, Profile

Search = tuple[tuple[Param, str], ...]
#: Path below the base (or a whole URL), form body or "": status and parsed body.
Ask = Callable[[str, str], Awaitable[tuple[int, Resource]]]
#: A search may be asked for this status where the kit names none.
USUAL = "active"
PATIENT = PROFILE + "us-core-patient"


@dataclass(slots=True, kw_only=True)
class Driver:
    """One run over the profiles.

    Attributes:
        base: of the server's addresses.
        patients: ids of the patients whose charts are there.
        most: resources that each search is asked for.
        is_thorough: whether every profile's searches are varied, or one's of those alike: by
            names of parameters of one type.
        asked: searches sent, by names of parameters.
        seen: resources that came, by profile URL, by id.
        faults: what was wrong.
    """

    ask: Ask
    base: str
    patients: Sequence[str]
    most: int = 1
    is_thorough: bool = True
    varied: set[tuple[str, ...]] = field(default_factory=set)
    asked: dict[tuple[str, str], int] = field(default_factory=dict)
    seen: dict[str, dict[str, Resource]] = field(default_factory=dict)
    read: dict[str, Resource] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)

    async def run(self, profiles: Sequence[Profile]) -> list[str]:
        """Every fault found over all profiles."""
        for profile in profiles:
            if not profile.is_found_by_reference:
                await self._gather(profile)
        await self._follow()
        for profile in profiles:
            await self._searches(profile)
            await self._includes(profile)
            self._must_support(profile)
        return self.faults

    # -- what is there

    async def _gather(self, profile: Profile) -> None:
        """The profile's resources, by its first search with the kit's own values."""
        first = next(iter(profile.searches))
        for patient in self.patients:
            for number, search in enumerate(self._first(profile, first, patient)):
                got = await self._search(profile, search)
                if number == 0 and self._varies(profile, "other ways", first):
                    await self._other_ways(profile, search, patient, len(got))
                for resource in got:
                    self._take(resource)
                if profile.revincludes and got:
                    await self._provenance(profile, search)

    def _first(self, profile: Profile, names: tuple[str, ...], patient: str) -> list[Search]:
        choices = []
        for name in names:
            param = profile.params[name]
            if name in ("patient", "_id"):
                choices.append([(param, patient)])
            else:
                choices.append([(param, value) for value in param.values or (USUAL,)])
        return list(product(*choices))

    async def _other_ways(self, profile: Profile, search: Search, patient: str, count: int) -> None:
        """The same by POST, and with the patient as a relative reference."""
        posted = await self._search(profile, search, is_post=True)
        self._expect(len(posted) == count, profile, search, "POST finds another number than GET")
        if any(param.name == "patient" for param, _ in search):
            other = tuple(
                (p, f"Patient/{patient}" if p.name == "patient" else v) for p, v in search
            )
            found = await self._search(profile, other)
            same = len(found) == count
            self._expect(same, profile, other, "Patient/id finds another number than id")

    async def _provenance(self, profile: Profile, search: Search) -> None:
        path = f"{_query(profile, search)}&_revinclude=Provenance:target"
        got = await self._pages(profile, path)
        provenance = [r for r in got if r["resourceType"] == "Provenance"]
        self._expect(
            bool(provenance), profile, search, "_revinclude=Provenance:target adds nothing"
        )
        for resource in provenance:
            self._take(resource)

    async def _follow(self) -> None:
        """Read every resource that came, and whatever they refer to, until nothing is new."""
        waiting = [r for found in list(self.seen.values()) for r in found.values()]
        addresses = {f"{r['resourceType']}/{r['id']}" for r in waiting}
        while waiting:
            for reference in {ref for resource in waiting for ref in _references(resource)}:
                addresses.add(reference)
            waiting = []
            for address in sorted(addresses - set(self.read)):
                status, resource = await self.ask(address, "")
                if status != 200:
                    self.faults.append(f"read {address}: {status}")
                    self.read[address] = {}
                    continue
                self.read[address] = resource
                self._take(resource)
                waiting.append(resource)

    def _take(self, resource: Resource) -> None:
        # A golden Patient states no profile: it is put together for who asks.
        is_patient = resource["resourceType"] == "Patient"
        urls = [PATIENT] if is_patient else resource.get("meta", {}).get("profile", ())
        for url in urls:
            self.seen.setdefault(url, {})[resource["id"]] = resource

    # -- searches

    async def _searches(self, profile: Profile) -> None:
        known = list(self.seen.get(profile.url, {}).values())
        for names, expected in profile.searches.items():
            searches = list(self._values(profile, names, known))
            if not searches:
                self.faults.append(f"{profile.name} {'+'.join(names)}: no resource to ask for")
            for resource, search in searches[: self.most]:
                got = await self._search(profile, search)
                is_found = any(one["id"] == resource["id"] for one in got)
                self._expect(is_found, profile, search, f"({expected}) does not find its resource")
            if searches and self._varies(profile, "further", names):
                await self._further(profile, *searches[0])

    def _values(
        self, profile: Profile, names: tuple[str, ...], known: Iterable[Resource]
    ) -> Iterable[tuple[Resource, Search]]:
        for resource in known:
            each = []
            for name in names:
                param = profile.params[name]
                each.append([(param, v) for v in values.asked(resource, param)][:1])
            for search in product(*each):
                yield resource, search

    async def _further(self, profile: Profile, resource: Resource, search: Search) -> None:
        """Tokens with their system, comparators, several values at once."""
        for place, (param, text) in enumerate(search):
            if param.type in values.TOKENS and param.type != "code":
                for full in list(values.asked(resource, param, with_system=True))[:1]:
                    await self._finds(profile, resource, _with(search, place, full))
            if param.type in values.DATES:
                for prefix, near in values.around(text).items():
                    if prefix in param.comparators:
                        await self._finds(profile, resource, _with(search, place, near))
            if param.is_or and param.values:
                await self._finds(profile, resource, _with(search, place, ",".join(param.values)))

    def _varies(self, profile: Profile, how: str, names: tuple[str, ...]) -> bool:
        """Whether a search is varied; once for its like unless the run is thorough."""
        alike = (how, profile.type, *names)
        is_first = alike not in self.varied
        self.varied.add(alike)
        return is_first or self.is_thorough

    async def _finds(self, profile: Profile, resource: Resource, search: Search) -> None:
        got = await self._search(profile, search)
        is_found = any(one["id"] == resource["id"] for one in got)
        self._expect(is_found, profile, search, "does not find its resource")

    async def _includes(self, profile: Profile) -> None:
        for include in profile.includes:
            name, kind = include.split(":")[1], include.split(":")[2:]
            names = next(iter(profile.searches))
            came = set()
            for resource in self.seen.get(profile.url, {}).values():
                search = next(iter(self._values(profile, names, [resource])))[1]
                path = f"{_query(profile, search)}&_include={quote(include)}"
                came |= {one["resourceType"] for one in await self._pages(profile, path)}
            wanted = set(kind) or {{"medication": "Medication"}.get(name, name.title())}
            self._expect(wanted <= came, profile, (), f"_include={include} adds nothing")

    async def _search(
        self, profile: Profile, search: Search, *, is_post: bool = False
    ) -> list[Resource]:
        names = "+".join(param.name for param, _ in search)
        self.asked[profile.type, names] = self.asked.get((profile.type, names), 0) + 1
        got = await self._pages(profile, _query(profile, search), is_post=is_post)
        for resource, (param, text) in product(got, search):
            is_right = resource["resourceType"] == profile.type
            is_right = is_right and values.meets(resource, param, text)
            self._expect(is_right, profile, search, "returns what does not match it")
        return got

    async def _pages(self, profile: Profile, path: str, *, is_post: bool = False) -> list[Resource]:
        """The resources of all pages."""
        address, _, form = path.partition("?")
        first = (f"{address}/_search", form) if is_post else (path, "")
        status, bundle = await self.ask(*first)
        if status != 200 or bundle.get("resourceType") != "Bundle":
            self.faults.append(f"{profile.name}: {path}: answered {status}")
            return []
        found = []
        while True:
            found += [entry["resource"] for entry in bundle.get("entry", ())]
            following = [one["url"] for one in bundle["link"] if one["relation"] == "next"]
            if not following:
                return found
            _, bundle = await self.ask(following[0].removeprefix(f"{self.base}/"), "")

    # -- must support

    def _must_support(self, profile: Profile) -> None:
        known = list(self.seen.get(profile.url, {}).values())
        if not known:
            self.faults.append(f"{profile.name}: no resource of it came")
            return
        must = profile.must_support
        for element in must["elements"]:
            path, value = (element, None) if isinstance(element, str) else element
            there = any(elements.has_element(r, path, must["slices"], value) for r in known)
            self._expect(there or _is_choice(path, must), profile, (), f"never has {path}")
        for one in must["slices"]:
            there = any(elements.has_slice(r, one["path"], one["told_by"]) for r in known)
            self._expect(there, profile, (), f"never has the slice {one['id']}")
        for path, url in must["extensions"]:
            there = any(_has_extension(r, path, url) for r in known)
            self._expect(there, profile, (), f"never has the extension {url}")
        for one in must["choices"]:
            there = any(elements.at(r, p) for r in known for p in one.get("paths", ()))
            self._expect(there or "paths" not in one, profile, (), f"has none of {one}")

    def _expect(self, is_right: bool, profile: Profile, search: Search, text: str) -> None:
        if not is_right:
            asked = "&".join(f"{param.name}={value}" for param, value in search)
            self.faults.append(f"{profile.name} {asked}: {text}")


def _query(profile: Profile, search: Search) -> str:
    asked = "&".join(f"{param.name}={quote(text, safe='')}" for param, text in search)
    return f"{profile.type}?{asked}"


def _with(search: Search, place: int, text: str) -> Search:
    return (*search[:place], (search[place][0], text), *search[place + 1 :])


def _is_choice(path: str, must: Mapping[str, Any]) -> bool:
    """Whether another element may stand in for one."""
    return any(path in one.get("paths", ()) for one in must["choices"])


def _has_extension(resource: Resource, path: str, url: str) -> bool:
    parent = path.removesuffix("extension").rstrip(".")
    nodes = [resource] if not parent else elements.at(resource, f"_{parent}")
    return any(one["url"] == url for node in nodes for one in node.get("extension", ()))


def _references(node: Any) -> set[str]:
    """Literal references, to resources of this server."""
    if isinstance(node, list):
        return {ref for one in node for ref in _references(one)}
    if not isinstance(node, dict):
        return set()
    found = {ref for one in node.values() for ref in _references(one)}
    own = node.get("reference")
    if isinstance(own, str) and not own.startswith(("#", "http", "urn:")):
        found.add(own)
    return found
