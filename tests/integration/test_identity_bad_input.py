"""Bad demographics over MLLP and FHIR: answered, bounded in time, joined with nobody."""

import time
from pathlib import Path
from typing import Any

from sqlalchemy import text

from hie.db import Database
from mpi.model import Identified, Outcome
from tests.conftest import IS_LONG
from tests.support.bounded import bounded
from tests.support.mpi import MODEL, Index, patient
from tests.support.running_hub import RunningHub, running_hub

LONG = "Wolfeschlegelsteinhausenbergerdorff" * 300
WITH_CONTROLS = "No\x01ra\x08\x1f\u200b\ud7ff"

#: What PID-5, 7, 8, 11, 13 and 19 say, by the name of the fault.
FAULTS = {
    "nothing at all": ("", "", "", "", "", ""),
    "names of 10 kB": (f"{LONG}^{LONG}^{LONG}", "19710308", "F", "", "", ""),
    "two hundred names": ("~".join(f"Quinlan{n}^Nora{n}" for n in range(200)), "", "F", "", "", ""),
    "control characters": (f"Qui\x01nlan^{WITH_CONTROLS}", "19710308", "F", "", "", ""),
    "a date that is none": ("Quinlan^Nora", "19719999", "F", "", "", ""),
    "a date in words": ("Quinlan^Nora", "the eighth of March", "F", "", "", ""),
    "a date to come": ("Quinlan^Nora", "29991231", "F", "", "", ""),
    "every value a default": (
        "UNKNOWN^BABY BOY", "19000101", "U", "UNKNOWN^^^^00000", "^PRN^PH^^1^555^5555555",
        "999999999",
    ),
    "separators alone": ("^^^^^^~^^^", "^^", "^", "^^^^~^^^^", "^^^~^^^", ""),
    "a telephone of letters": ("Quinlan^Nora", "19710308", "F", "", "CALL ME MAYBE" * 40, "SSN"),
}  # fmt: skip


def adt(number: int, said: tuple[str, ...]) -> bytes:
    name, born, sex, home, phone, ssn = said
    pid = f"PID|1||BAD{number}^^^SAMC^MR||{name}||{born}|{sex}|||{home}||{phone}||||||{ssn}"
    head = "MSH|^~\\&|MEDIHOST|STAUR|HIE|ST|20250301120000||ADT^A08|BAD"
    return f"{head}{number}|P|2.5.1\rEVN||20250301120000\r{pid}\r".encode()


async def test_bad_demographics_over_mllp_are_answered_and_bounded(tmp_path: Path):
    async with running_hub(tmp_path / "home") as running:
        for number, (fault, said) in enumerate(FAULTS.items()):
            with bounded(fault):
                (answer,) = await running.send(adt(number, said))
            assert b"\rMSA|AA" in answer or b"\rMSA|AE" in answer, fault
        await _look(running, [f"BAD{number}" for number in range(len(FAULTS))])
        # It goes on working for the others.
        (answer,) = await running.send(adt(99, ("Quinlan^Nora", "19710308", "F", "", "", "")))
        assert b"\rMSA|AA" in answer


async def _look(running: RunningHub, numbers: list[str]) -> None:
    """Nothing was parked, and of what was taken nobody was joined for what says nothing."""
    async with running.hub.db.reading() as conn:
        states = await conn.execute(
            text("SELECT state, count(*) FROM inbound_message GROUP BY state ORDER BY state")
        )
        assert "parked" not in {str(row.state) for row in states}
        linked = await conn.scalar(
            text("SELECT count(*) FROM identity_decision WHERE kind = 'link'")
        )
        persons = await conn.scalar(text("SELECT count(*) FROM person"))
    assert linked == 0
    assert 0 < persons <= len(numbers)


def fhir(number: int, **said: Any) -> dict[str, Any]:
    identifier = [{"system": "urn:oid:2.16.840.1.113883.19.100.1", "value": f"F{number}"}]
    return {"resourceType": "Patient", "identifier": identifier, **said}


async def test_bad_demographics_over_fhir_are_answered_and_bounded(tmp_path: Path):
    said: list[dict[str, Any]] = [
        {},
        {"name": [{"family": LONG, "given": [LONG, LONG]}]},
        {"name": [{"family": "Quinlan", "given": [f"Nora{n}" for n in range(500)]}] * 20},
        {"name": [{"text": "\u202eNora\u0000"}]},
        {"birthDate": "1971-99-99"},
        {"birthDate": "2999-12-31"},
        {"telecom": [{"system": "phone", "value": "5" * 9_000}] * 60},
        {"address": [{"line": ["1 " + "x" * 900] * 20}] * 30},
        {"name": [{"family": "UNKNOWN", "given": ["BABY BOY"]}], "birthDate": "1900-01-01"},
    ]
    async with running_hub(tmp_path / "home") as running:
        token = await running.token("bayside-general")
        for number, one in enumerate(said):
            with bounded(number):
                status, _ = await running.ask(token, "Patient", fhir(number, **one))
            assert status in (201, 400, 422), (number, status)
        status, _ = await running.ask(token, "Patient", fhir(99, **patient()))
        assert status == 201


async def test_a_record_of_many_default_values_joins_nobody(sqlite_database: Database):
    index = Index(sqlite_database)
    name, born, _, _, _, ssn = FAULTS["every value a default"]
    family, given = name.split("^")
    shown = patient(
        given=[given], family=family, born=f"{born[:4]}-{born[4:6]}-{born[6:]}",
        gender="unknown", phone="555-555-5555", line="UNKNOWN", zip5="00000", ssn=ssn,
    )  # fmt: skip
    found = [await index.see(shown, f"M{n}", f"s{n}") for n in range(4)]
    assert {one.outcome for one in found} == {Outcome.NEW}
    assert await index.tasks() == []


async def test_a_thousand_records_with_one_telephone_take_bounded_time(sqlite_database: Database):
    index, seconds = Index(sqlite_database), []
    count = 1_000 if IS_LONG else 260
    found: list[Identified] = []
    for number in range(count):
        born = f"{1930 + number % 70}-{number % 12 + 1:02d}-{number % 28 + 1:02d}"
        away = {"line": f"{number + 1} Quarry Road", "zip5": f"{10_000 + number}"}
        name = {"given": [_word(number)], "family": _word(number * 7 + 3).title()}
        began = time.process_time()
        found.append(await index.see(patient(born=born, **name, **away), f"M{number}", "shelter"))
        seconds.append(time.process_time() - began)
    assert len({one.person_id for one in found}) == count
    async with index.db.reading() as conn:
        fullest = await conn.scalar(
            text("SELECT max(n) FROM (SELECT count(*) AS n FROM block_key GROUP BY key) AS k")
        )
        refused = await conn.scalar(text("SELECT sum(refused) FROM block_stat"))
    assert fullest == MODEL.key_cap
    assert refused == count - MODEL.key_cap
    # Once the number is everybody's, its holders are not compared any more: time falls.
    crowded, late = sorted(seconds[60:100]), sorted(seconds[-60:])
    assert late[30] < 3 * crowded[20] + 0.005


def _word(number: int) -> str:
    """A name of its own, far from the next one."""
    consonants, vowels = "bcdfghjklmnprstvz", "aeiou"
    word = ""
    for _ in range(4):
        number, c = divmod(number * 31 + 11, len(consonants))
        word += consonants[c] + vowels[(number + c) % 5]
    return word
