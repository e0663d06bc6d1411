"""Non-interference: what a reader must not know of changes no byte of any answer.

Two hubs are told the same, on both databases; one of them holds besides what is hidden from
GAMMA: results and problems the law holds back, a type, a code and years that the patient denies,
everything of a source that the patient denies - the same human's record there, visits, lists, a
Group, a Consent - and somebody whom only that source knows. What GAMMA does see names some of
it. Then GAMMA asks by every way in. Spec: DESIGN §4, D6, D9, D10.
"""

from pathlib import Path

import pytest

from tests.conftest import IS_LONG
from tests.support.reader_questions import Told, asked
from tests.support.twin_feeds import fed
from tests.support.twins import Twin, differences

#: Every question on both databases in the long form; in the short one each fourth, on SQLite.
DATABASES, STEP = (("sqlite", "postgresql"), 1) if IS_LONG else (("sqlite",), 4)
#: Of the questions so many may find nothing: they ask for what is hidden.
MOST_EMPTY = 0.9


@pytest.fixture(params=DATABASES)
def urls(request: pytest.FixtureRequest) -> tuple[str, str]:
    """The databases of the two hubs, "" = a file of their own, on each kind in turn."""
    if request.param == "sqlite":
        return "", ""
    names = ("postgres_url", "module_postgres_url")
    one, other = (str(request.getfixturevalue(name)) for name in names)
    return one, other


async def _told(
    home: Path, keys: Path, url: str, hidden: dict[str, str] | None
) -> tuple[Told, dict[str, str]]:
    """What GAMMA is told, and the ids of what is hidden."""
    async with Twin(home, keys, is_whole=hidden is None, HIE_DATABASE_URL=url) as twin:
        await fed(twin)
        if hidden is None:
            hidden = {n: key for n, key in twin.ids.items() if n.startswith("hidden_")}
        told = await asked(twin, hidden, STEP)
        if twin.is_whole:
            await _are_found(twin, hidden)
        return told, hidden


async def _are_found(twin: Twin, hidden: dict[str, str]) -> None:
    """Who sent what is hidden finds it, by the questions that find nothing for GAMMA."""
    assert len(hidden) > 20
    for who, question in (
        ("BETA", "Observation?patient.name=Oldname"),
        ("BETA", f"Observation?_list={hidden['hidden_list']}"),
        ("ALPHA", "DiagnosticReport?result.code=2823-3"),
        ("ALPHA", "Encounter?diagnosis:Condition.code=E66.9"),
    ):
        assert "entry" in await twin.get(who, question), question


async def test_what_is_hidden_changes_no_byte_of_any_answer(
    tmp_path: Path, urls: tuple[str, str]
) -> None:
    keys = tmp_path / "keys.json"
    whole, hidden = await _told(tmp_path / "whole", keys, urls[0], None)
    plain, _ = await _told(tmp_path / "plain", keys, urls[1], hidden)
    found = differences(whole, plain)
    assert not found, "\n".join(f"{name}\n  {what}" for name, what in found.items())
    full = [name for name, pages in whole.items() if b'"entry"' in pages[0][2]]
    assert len(full) > len(whole) * (1 - MOST_EMPTY)
