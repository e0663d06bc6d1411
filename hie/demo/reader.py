"""The demo as a portal: one person's record read over HTTP with a bearer token."""

from collections import Counter
from collections.abc import Iterator
from typing import Final

import aiohttp

from hie.demo.summary import HubView, Look
from hie.kernel.errors import Category, HieError
from hie.kernel.fhir import FhirJson

_TIMEOUT: Final = aiohttp.ClientTimeout(total=30)
_PAGE: Final = 200
_MOST_PAGES: Final = 100
#: Types about no patient: one entry, whoever sent it first.
DIRECTORY: Final = frozenset({"Organization", "Practitioner", "PractitionerRole", "Location"})


class FhirReader:
    """Reads from one FHIR base; use as an async context manager.

    Args:
        base: the FHIR base URL, without a slash at the end.
    """

    def __init__(self, base: str) -> None:
        self._base = base
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "FhirReader":
        self._session = aiohttp.ClientSession(timeout=_TIMEOUT)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._session:
            await self._session.close()

    async def everything(self, token: str, person_id: str) -> list[FhirJson]:
        """All resources of `$everything`, page by page; [] where the person is hidden.

        Raises:
            HieError: FAULT when the hub answers anything but a Bundle or 404.
        """
        url: str | None = f"{self._base}/Patient/{person_id}/$everything?_count={_PAGE}"
        found: list[FhirJson] = []
        for _ in range(_MOST_PAGES):
            bundle = await self._get(token, url) if url else None
            if bundle is None:
                return found
            found += _resources(bundle)
            url = _next(bundle)
        raise HieError(Category.FAULT, "`$everything` does not end")

    async def _get(self, token: str, url: str) -> FhirJson | None:
        if self._session is None:
            raise HieError(Category.FAULT, "the reader is not open")
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/fhir+json"}
        async with self._session.get(url, headers=headers) as response:
            if response.status == 404:
                return None
            if response.status != 200:
                raise HieError(Category.FAULT, f"`$everything` was answered {response.status}")
            bundle: FhirJson = await response.json(content_type=None)
            return bundle


async def look(
    reader: FhirReader, view: HubView, *, title: str, token: str, person_id: str
) -> tuple[Look, list[FhirJson]]:
    """One caller's view of a person, counted; and the resources themselves."""
    resources = await reader.everything(token, person_id)
    references = [reference_of(r) for r in resources if r["resourceType"] not in DIRECTORY]
    sources = await view.sources_of(references)
    patient = next((r for r in resources if reference_of(r) == f"Patient/{person_id}"), {})
    return Look(
        title=title,
        by_type=Counter(r["resourceType"] for r in resources),
        by_source=Counter(sources[r] for r in references if r in sources),
        identifiers=len(patient.get("identifier", ())),
    ), resources


def reference_of(resource: FhirJson) -> str:
    """`Type/id`."""
    return f"{resource['resourceType']}/{resource['id']}"


def _resources(bundle: FhirJson) -> Iterator[FhirJson]:
    for entry in bundle.get("entry", ()):
        if "resource" in entry:
            yield entry["resource"]


def _next(bundle: FhirJson) -> str | None:
    links = (link["url"] for link in bundle.get("link", ()) if link.get("relation") == "next")
    return next(links, None)
