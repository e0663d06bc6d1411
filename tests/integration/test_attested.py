"""Whose word that a patient verified a Consent counts: the source's file says so, for now."""

import shutil
from asyncio import create_task, gather, sleep
from pathlib import Path

import pytest
from sqlalchemy import text

from consent.repository import Basis
from hie.flow.rebuild import rules_of
from hie.kernel.ids import PersonId
from tests.support.running_hub import RunningHub, running_hub
from tests.support.tree import ROOT

OWN, OTHER = "saint-aurelia", "bayside-general"
ORGANIZATION = "https://hie.example/organization|"
SCOPE = "http://terminology.hl7.org/CodeSystem/consentscope"


def consent(patient: str) -> dict[str, object]:
    """A permit for everybody that says the patient verified it."""
    return {
        "resourceType": "Consent",
        "status": "active",
        "scope": {"coding": [{"system": SCOPE, "code": "patient-privacy"}]},
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "patient": {"reference": f"Patient/{patient}"},
        "policy": [{"uri": "https://example.org/policy"}],
        "provision": {"type": "permit"},
        "verification": [{"verified": True}],
    }


def attested(folder: Path, told: str) -> str:
    """A configuration in which the source's word counts or does not."""
    config = folder / "config"
    if not config.exists():
        shutil.copytree(ROOT / "config", config)
    path = config / "sources" / f"{OWN}.toml"
    lines = [
        line for line in path.read_text().splitlines() if not line.startswith("attested_verific")
    ]
    path.write_text("\n".join([f"attested_verification = {told}" if told else "", *lines]) + "\n")
    return str(config)


async def seen(hub: RunningHub) -> int:
    token = await hub.token(ORGANIZATION + OTHER)
    _, found = await hub.ask(token, "AllergyIntolerance")
    return len(found.get("entry", []))


async def record(hub: RunningHub) -> None:
    """A patient, an allergy and a Consent, written by the source itself."""
    token = await hub.token(ORGANIZATION + OWN)
    numbers = [{"system": "https://saint-aurelia.example/mrn", "value": "1001"}]
    person = {"identifier": numbers, "name": [{"family": "Doe"}], "birthDate": "1980-01-02"}
    status, patient = await hub.ask(token, "Patient", {"resourceType": "Patient", **person})
    assert status == 201
    about = {"reference": f"Patient/{patient['id']}"}
    allergy = {"resourceType": "AllergyIntolerance", "patient": about, "code": {"text": "Nuts"}}
    assert (await hub.ask(token, "AllergyIntolerance", allergy))[0] == 201
    assert (await hub.ask(token, "Consent", consent(patient["id"])))[0] == 201


async def change(hub: RunningHub, status: str) -> None:
    """Give the one Consent another status."""
    token = await hub.token(ORGANIZATION + OWN)
    _, found = await hub.ask(token, "Consent")
    one = found["entry"][0]["resource"]
    assert (await hub.ask(token, f"Consent/{one['id']}", one | {"status": status}, "PUT"))[0] == 200


async def withdraw_meanwhile(hub: RunningHub) -> None:
    """Withdraw the Consent while somebody else compiles it, who is not done yet."""
    async with hub.hub.db.transaction() as conn:
        (person,) = await hub.hub.repository.persons_with(conn, "Consent", after="", limit=2)
        await hub.hub.placer.recompile(conn, [PersonId(person)])
        put = create_task(change(hub, "inactive"))
        if not hub.hub.db.is_sqlite:
            await until_somebody_waits(hub)
    await put


async def until_somebody_waits(hub: RunningHub) -> None:
    for _ in range(1_500):
        async with hub.hub.db.reading() as conn:
            found = await conn.execute(text("SELECT 1 FROM pg_locks WHERE NOT granted LIMIT 1"))
            if found.first() is not None:
                return
        await sleep(0.02)
    raise TimeoutError("nobody waits for a lock")


@pytest.mark.parametrize("url", ["sqlite", "postgresql"])
async def test_trust_in_a_source_can_be_given_and_taken(
    request: pytest.FixtureRequest, tmp_path: Path, url: str
) -> None:
    address = "" if url == "sqlite" else request.getfixturevalue("postgres_url")
    environment = {"HIE_DATABASE_URL": address}
    home = tmp_path / "home"
    config = attested(tmp_path, "")
    async with running_hub(home, HIE_CONFIG=config, **environment) as hub:
        await record(hub)
        assert await seen(hub) == 0, "nobody is taken at his word who is not listed"
    for told, expected in (("true", 1), ("false", 0)):
        attested(tmp_path, told)
        async with running_hub(home, HIE_CONFIG=config, **environment) as hub:
            assert await seen(hub) == expected, "a start brings the rules up by itself"
            # Processes that start at once write down what they compiled by, each in its turn.
            assert await gather(*(rules_of(hub.hub).again() for _ in range(8))) == [1] * 8
            await withdraw_meanwhile(hub)
            assert await seen(hub) == 0, "what was withdrawn is not compiled from a look before"
            await change(hub, "active")
            assert await seen(hub) == expected


async def test_a_start_that_was_broken_off_goes_on_and_a_whole_one_does_nothing(tmp_path: Path):
    home = tmp_path / "home"
    config = attested(tmp_path, "true")
    async with running_hub(home, HIE_CONFIG=config) as hub:
        await record(hub)
        assert await seen(hub) == 1
        rules, book = rules_of(hub.hub), hub.hub.consent.rows
        assert await rules.bring_up() == 0
        async with hub.hub.db.transaction() as conn:
            kept = await book.basis(conn)
            assert kept is not None
            # Of an earlier release, which nobody knows the rules of, and broken off in between.
            await book.keep_basis(conn, Basis(digest="other", doing=kept.digest, place="0"))
            await conn.execute(text("DELETE FROM consent_rule"))
        assert await seen(hub) == 0
        assert await rules.bring_up() == 1
        assert await seen(hub) == 1
        async with hub.hub.db.transaction() as conn:
            await book.keep_basis(conn, Basis(digest="other", doing=kept.digest, place="~"))
        assert await rules.bring_up() == 0, "everybody had their turn"
        async with hub.hub.db.reading() as conn:
            assert await book.basis(conn) == kept
