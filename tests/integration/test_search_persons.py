"""Chains through a Patient: the golden one, as each caller sees it, merges followed.

Spec: DESIGN §4, D6.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hie.chained import ChainedPersons
from hie.kernel.context import RequestContext
from hie.kernel.errors import Category, HieError
from hie.store import query as q
from tests.support.asked_hub import (
    World,
    actor,
    consent,
    deny,
    observation,
    patient,
    permit,
    zebulon,
)

#: Of somebody who died at 2024-03-02T03:30:15Z: whether it is found.
MOMENTS = {
    "2024-03-01": True,
    "2024-03-02": False,
    "2024-03-02T03:30:15Z": True,
    "2024-03-01T22:30:15-05:00": True,
    "2024-03-02T03:30": True,
    "2024-03-02T03:30:16Z": False,
    "gt2024-03-02T03:30:14Z": True,
    "gt2024-03-02T03:30:15Z": False,
    "ge2024-03-02T03:30:15Z": True,
    "lt2024-03-02T03:30:15Z": False,
    "le2024-03-02T03:30:15Z&death-date=ge2024-03-02T03:00Z": True,
    "ne2024-03-02T03:30:15Z": False,
}
SINCE = q.DateValue(prefix=q.Prefix.GT, lo_us=0, hi_us=1)


def ids(bundle: dict[str, Any]) -> set[str]:
    return {entry["resource"]["id"] for entry in bundle.get("entry", [])}


async def test_a_chained_person_is_the_golden_one_of_the_caller(tmp_path: Path) -> None:
    async with World(tmp_path / "home") as world:
        record = await world.post("ALPHA", patient("A1", "alpha"))
        again = patient("B1", "beta", active=False)
        again["name"] = [*again["name"], {"family": "Oldname"}]
        other = await world.post("BETA", again)
        person = await world.person_of("ALPHA", record)
        assert await world.person_of("BETA", other) == person
        result = await world.post("ALPHA", observation(record))
        silence = deny(actor("GAMMA"), actor("BETA", "SOURCE"))
        await world.post("ALPHA", consent(record, permit("GAMMA", provision=[silence])))

        async def found(who: str, asked: str) -> bool:
            return result in ids(await world.get(who, f"Observation?{asked}"))

        # ALPHA and GAMMA see one golden Patient, GAMMA without what BETA knows.
        for who in ("ALPHA", "GAMMA"):
            golden = await world.get(who, f"Patient/{person}")
            for gender in ("female", "male"):
                assert await found(who, f"patient.gender={gender}") is (gender == golden["gender"])
                assert await found(who, f"patient.gender:not={gender}") is (
                    gender != golden["gender"]
                )
            families = {name.get("family") for name in golden["name"]}
            assert await found(who, "patient.name=Oldname") is ("Oldname" in families)
            # BETA alone says it is not: a record of it meets that, the golden one does not.
            assert golden["active"] is True
            assert await found(who, "patient.active=true")
            assert not await found(who, "patient.active=false")
            assert ids(await world.get(who, "Patient?active=true")) >= {person}
        # A time of day decides by the second, whatever the zone; a day by the day as written.
        died = patient("A9", "alpha") | {"deceasedDateTime": "2024-03-01T22:30:15-05:00"}
        died |= {"name": [{"family": "Departed"}], "birthDate": "1931-02-03"}
        departed = await world.person_of("ALPHA", await world.post("ALPHA", died))
        for asked, is_met in MOMENTS.items():
            told = await world.get("ALPHA", f"Patient?death-date={asked}&_total=accurate")
            assert (told["total"], ids(told)) == (is_met, {departed} if is_met else set()), asked
        # A source's own record id means its person, at either end.
        assert await found("ALPHA", f"patient._id={record}")
        assert await found("ALPHA", f"subject:Patient._id={person}")
        assert not await found("GAMMA", f"patient._id={record}")
        assert result in ids(await world.get("ALPHA", f"Patient/{person}/Observation"))
        assert result in ids(await world.get("ALPHA", f"Patient/{record}/Observation"))
        assert not ids(await world.get("GAMMA", f"Patient/{record}/Observation"))


async def test_a_chain_that_means_too_many_patients_is_refused_by_name(tmp_path: Path) -> None:
    async with World(tmp_path / "home") as world:
        first = await world.post("ALPHA", patient("A1", "alpha"))
        await world.post("ALPHA", zebulon("A2", "alpha"))
        person = await world.person_of("ALPHA", first)
        services = world.hub
        few = ChainedPersons(services.repository, services.golden, services.sight.current, most=1)
        born = q.Nested(type="Patient", criteria=(q.LastUpdated(values=(SINCE,)),))
        chain = q.Chain(param="patient._lastUpdated", param_ids=(), person="first", targets=(born,))
        anybody = q.Query(type="Observation", criteria=(chain,))
        caller = await services.tokens.check(world.tokens["ALPHA"])
        ctx = RequestContext(caller=caller, request_id="r", now_us=services.clock.now_us())
        residual = services.sight.residual(ctx)
        async with services.db.reading() as conn:
            with pytest.raises(HieError) as raised:
                await few.resolved(conn, caller, residual, anybody)
            # Within one person it does not matter how many others there are.
            theirs = replace(anybody, persons=(person,), is_own=True)
            resolved = await few.resolved(conn, caller, residual, theirs)
    assert raised.value.category is Category.INVALID
    assert raised.value.text.startswith("`patient._lastUpdated`: expected to mean at most 1 pat")
    (found,) = resolved.criteria
    assert isinstance(found, q.Chain)
    assert found.targets[0].persons == (person,)
