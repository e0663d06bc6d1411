"""Demographics that are held back, or come for a merged-away number, overwrite nothing stored."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from mpi.model import TaskKind
from tests.support.feeding import Feeding, feeding
from tests.support.mpi import patient
from tests.support.running_hub import RunningHub, running_hub
from tests.support.trouble import SOURCES, Family, Said, payload

FAMILY = Family(1)
PETER: dict[str, Any] = {"given": "Peter", "family": "Castellano", "born": "19991224", "sex": "M"}
AUTHORITY = "urn:oid:2.16.840.1.113883.19.100.1"


@pytest.fixture
async def fed(tmp_path: Path) -> AsyncIterator[Feeding]:
    async with feeding(tmp_path / "home") as made:
        yield made


async def send(fed: Feeding, *said: Said) -> None:
    for one in said:
        (settled,) = await fed.send(payload(FAMILY, one), source=SOURCES[one.hospital])
        assert settled.state.value == "processed", settled.reason


def given(stored: dict[tuple[str, str], Any]) -> list[str]:
    return sorted(p["name"][0]["given"][0] for p in stored.values() if p and p.get("name"))


async def test_a_message_whose_demographics_are_held_overwrites_no_patient(fed: Feeding):
    await send(fed, Said(number="A"), Said(number="A", **PETER))
    assert given(await fed.stored("Patient")) == ["Nora"]
    # A result for the number is filed, whoever it names; a change that fits is taken.
    await send(fed, Said(number="A", event="R01", **PETER))
    assert len(await fed.stored("Observation")) == 1
    await send(fed, Said(number="A", middle="Maeve"))
    (kept,) = (await fed.stored("Patient")).values()
    assert kept is not None
    assert kept["name"][0]["given"] == ["Nora", "Maeve"]
    async with fed.services.db.reading() as conn:
        tasks = await fed.services.mpi.review.listed(conn)
    assert [task.kind for task in tasks] == [TaskKind.OVERLAY]


async def test_a_message_for_a_merged_away_number_overwrites_no_patient(fed: Feeding):
    await send(
        fed,
        Said(number="A"),
        Said(number="B"),
        Said(number="A", event="A40", retired="B"),
        Said(number="B", given="Norah", middle="Xenia"),
    )
    assert "Norah" not in given(await fed.stored("Patient"))


def fhir(number: str, **said: Any) -> dict[str, Any]:
    own = {"system": AUTHORITY, "value": number}
    return {**patient(**said), "identifier": [own]}


async def put(hub: RunningHub, token: str, body: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    number = body["identifier"][0]["value"]
    path = f"Patient?identifier={AUTHORITY}|{number}"
    return await hub.ask(token, path, body, "PUT")


async def test_a_fhir_update_whose_demographics_are_held_overwrites_no_patient(tmp_path: Path):
    async with running_hub(tmp_path / "home") as hub:
        token = await hub.token("bayside-general")
        status, first = await put(hub, token, fhir("F1"))
        assert status == 201
        other = fhir("F1", given=["Peter"], family="Castellano", gender="male", born="1999-12-24")
        status, answer = await put(hub, token, other)
        assert (status, answer["name"][0]["given"]) == (200, ["Nora"])
        _, now = await hub.ask(token, f"Patient/{first['id']}")
        assert now["name"][0]["given"] == ["Nora"]
        async with hub.hub.db.reading() as conn:
            (task,) = await hub.hub.mpi.review.listed(conn)
        assert task.kind is TaskKind.OVERLAY
        # What fits what is stored is taken while the other waits.
        status, answer = await put(hub, token, fhir("F1", given=["Nora", "Maeve"]))
        assert (status, answer["name"][0]["given"]) == (200, ["Nora", "Maeve"])
