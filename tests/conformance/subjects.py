"""What is judged: golden messages as they are converted, and what a running hub serves.

Another set of charts is one more generator in `SETS`.
"""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

from fhir_server.table import ROUTES
from tests.conformance.model import Subject
from tests.support.golden import MESSAGES, made_of
from tests.support.running_hub import RunningHub, running_hub
from tests.us_core.people import charts

#: Operations on a Patient whose answers are judged, as far as the hub has them.
OPERATIONS = ("everything", "summary")
#: Generators of transactions of made-up charts, by name: how many, and what each posts.
SETS: dict[str, Callable[[int], Iterator[dict[str, Any]]]] = {
    "us-core": lambda count: (chart.bundle() for chart in charts(count)),
}


def converted(step: int) -> Iterator[Subject]:
    """The resources that each `step`-th golden message is converted to."""
    for path in MESSAGES[::step]:
        for made in made_of(path):
            yield Subject(f"{path.stem}:{made.name}", _parsed(made.resource), is_converted=True)


def _parsed(resource: dict[str, Any]) -> dict[str, Any]:
    """The resource as a reader of its JSON has it."""
    text = json.dumps(resource, default=float)
    read: dict[str, Any] = json.loads(text, parse_float=Decimal)
    return read


async def served(home: Path, count: int, *, feeds_messages: bool) -> AsyncIterator[Subject]:
    """What a hub serves of made-up charts and of golden messages sent to it.

    Args:
        home: an empty folder.
        count: charts of each set.
        feeds_messages: whether the golden messages are sent as well.
    """
    async with running_hub(home, HIE_REGIME="hipaa-treatment") as hub:
        for made in SETS.values():
            source = await hub.token("QUILLBY")
            for bundle in made(count):
                status, answer = await hub.ask(source, "", bundle)
                if status != 200:
                    raise AssertionError(f"a chart was refused: {answer}")
        if feeds_messages:
            # An acknowledgement is nothing that anybody answers.
            await hub.send(*(path.read_bytes() for path in MESSAGES if path.stem != "ack"))
        reader = await hub.token("READER", scope="system/*.rs")
        async for subject in _read(hub, reader):
            yield subject


async def _read(hub: RunningHub, token: str) -> AsyncIterator[Subject]:
    """The statement, and each patient's record, page by page and whole."""
    yield Subject("metadata", await _asked(hub, token, "metadata"))
    offered = {route.interaction for route in ROUTES}
    path: str | None = "Patient?_count=50"
    number = 0
    while path:
        page = await _asked(hub, token, path)
        yield Subject("search:Patient", page)
        for entry in page.get("entry", ()):
            patient = entry["resource"]["id"]
            number += 1
            for operation in OPERATIONS:
                if operation in offered:
                    found = await _asked(hub, token, f"Patient/{patient}/${operation}")
                    yield Subject(f"{operation}:{number}", found)
                    for each in _inside(found):
                        yield Subject(f"{operation}:{number}:{each['resourceType']}", each)
        path = _next(hub, page)


def _inside(bundle: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for entry in bundle.get("entry", ()):
        yield entry["resource"]


def _next(hub: RunningHub, page: dict[str, Any]) -> str | None:
    for link in page.get("link", ()):
        if link["relation"] == "next":
            url: str = link["url"]
            return url.removeprefix(f"{hub.base}/")
    return None


async def _asked(hub: RunningHub, token: str, path: str) -> dict[str, Any]:
    status, answer = await hub.ask(token, path)
    if status != 200:
        raise AssertionError(f"{path.partition('?')[0]} was answered {status}")
    return _parsed(answer)
