"""US Core 6.1.0 as its certification kit asks it, against a running hub full of made-up charts."""

import json
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.conftest import IS_LONG
from tests.support.running_hub import RunningHub, running_hub
from tests.us_core.build import Resource
from tests.us_core.driver import Driver
from tests.us_core.kit import KIT, profiles
from tests.us_core.people import charts, identifier_of

STANDARDS = Path(os.environ.get("HIE_STANDARDS", "../shared/standards"))
SEARCHES = 51
#: Charts, and resources that each search is asked for.
CHARTS, MOST = (3, 3) if IS_LONG else (2, 1)
pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def hub(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningHub]:
    home = tmp_path_factory.mktemp("us-core")
    async with running_hub(home, HIE_REGIME="hipaa-treatment") as hub:
        source = await hub.token("QUILLBY")
        for chart in charts(CHARTS):
            status, answer = await hub.ask(source, "", chart.bundle())
            assert status == 200, answer
        yield hub


async def patients(hub: RunningHub, token: str) -> list[str]:
    found = []
    for number in range(CHARTS):
        one = identifier_of(number)
        _, bundle = await hub.ask(token, f"Patient?identifier={one['system']}|{one['value']}")
        found += [entry["resource"]["id"] for entry in bundle["entry"]]
    return found


async def driver(hub: RunningHub, token: str, ids: list[str]) -> Driver:
    async def ask(path: str, form: str) -> tuple[int, Resource]:
        headers = {"Content-Type": "application/x-www-form-urlencoded"} if form else {}
        return await hub.ask(token, path, form.encode() if form else None, headers=headers)

    return Driver(ask=ask, base=hub.base, patients=ids, most=MOST, is_thorough=IS_LONG)


async def test_another_hospital_finds_all_that_the_kit_asks_for(hub: RunningHub) -> None:
    token = await hub.token("NEIGHBOR", scope="system/*.rs")
    run = await driver(hub, token, await patients(hub, token))
    assert await run.run(profiles()) == []
    shall = {
        (profile.type, "+".join(names))
        for profile in profiles()
        for names, expected in profile.searches.items()
        if expected == "SHALL"
    }
    assert len(shall) == SEARCHES
    assert shall <= set(run.asked)


@pytest.mark.skipif(not IS_LONG, reason="asks everything once more: test-long")
async def test_a_patient_finds_the_own_chart_as_the_kit_asks(hub: RunningHub) -> None:
    token = await hub.token("NEIGHBOR", scope="system/*.rs")
    person = (await patients(hub, token))[0]
    own = await hub.token(scope="patient/*.rs", patient=person, purpose="PATRQT")
    run = await driver(hub, own, [person])
    # The elements that only the other charts have are theirs to show.
    faults = [fault for fault in await run.run(profiles()) if "deceasedDateTime" not in fault]
    assert [fault for fault in faults if "death-date" not in fault] == []


@pytest.mark.skipif(not STANDARDS.is_dir(), reason="HIE_STANDARDS: the kit's own description")
async def test_our_table_says_what_the_kit_says() -> None:
    pytest.importorskip("yaml")
    from tests.us_core.compile_kit import compiled  # noqa: PLC0415 - needs the library above

    text = (STANDARDS / "us-core-6.1.0-tests.yml").read_text(encoding="utf-8")
    assert compiled(text) == json.loads(KIT.read_text())
