"""State rules: of two statements the later one holds, in whichever order they come.

Spec: DESIGN D3, D5; docs/adr/0020.
"""

import itertools
import random
from collections.abc import AsyncIterator, Iterable
from pathlib import Path

import pytest

from hie.kernel.fhir import FhirJson
from tests.support.feeding import Feeding, feeding, rules

#: Of every later day that these tests know, in local time.
DAY = "20250301"


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Feeding]:
    async with feeding(tmp_path / "home") as fed:
        yield fed


def msh(trigger: str, control: str, at: str) -> str:
    return f"MSH|^~\\&|CLINWORKS|BAYSIDE|HIE|ST|{DAY}{at}||{trigger}|{control}|P|2.5.1"


def pid(number: str = "B1", name: str = "Grebe^Ada", more: str = "") -> str:
    return f"PID|1||{number}^^^BGH^MR||{name}||19620714|F{more}"


def adt(event: str, at: str, *more: str, who: str = "", visit: str = "V1") -> bytes:
    pv1 = f"PV1|1|I|WARD^{at[:2]}^1||||||||||||||||{visit}^^^BGH^VN" if visit else ""
    segments = (msh(f"ADT^{event}", f"{event}-{at}", at), f"EVN||{DAY}{at}", who or pid(), pv1)
    return "\r".join([s for s in (*segments, *more) if s] + [""]).encode()


def oru(
    at: str, status: str, value: str, *, who: str | None = None, sent: str = "", filler: str = "F1"
) -> bytes:
    return "\r".join(
        [
            msh("ORU^R01", f"R-{at}-{status}-{value}-{filler}", sent or at),
            *([pid() if who is None else who] if who != "" else []),
            f"OBR|1|O1^CW|{filler}^LAB|718-7^Hemoglobin^LN|||{DAY}080000{'|' * 15}{DAY}{at}"
            f"|||{status}",
            f"OBX|1|NM|718-7^Hemoglobin^LN||{value}|g/dL|||||{status}",
            "",
        ]
    ).encode()


def value_of(observation: FhirJson | None) -> tuple[str, str]:
    assert observation is not None
    return observation["status"], str(observation["valueQuantity"]["value"])


def known_as(patient: FhirJson | None) -> str:
    assert patient is not None
    return " ".join(patient["name"][0]["given"])


async def test_only_an_adt_overwrites_demographics(hub: Feeding) -> None:
    await hub.send(adt("A01", "100000"), oru("110000", "F", "13", who=pid(name="Grebe^Wrong")))
    assert known_as(await hub.one("Patient")) == "Ada"
    await hub.send(adt("A08", "120000", who=pid(name="Grebe^Adah")))
    assert known_as(await hub.one("Patient")) == "Adah"


async def test_an_adt_overwrites_what_a_later_result_knew_of_the_patient(hub: Feeding) -> None:
    await hub.send(oru("110000", "F", "13", who=pid(name="Grebe^Wrong")), adt("A01", "100000"))
    assert known_as(await hub.one("Patient")) == "Ada"


async def test_an_older_update_that_comes_late_fills_only_what_is_absent(hub: Feeding) -> None:
    new = adt("A08", "120000", who=pid(name="Grebe^Adah"), visit="")
    old = adt("A08", "100000", who=pid(more="|||12 Elm St^^Bayside^MA^02101"), visit="")
    _, late = await hub.send(new, old)
    patient = await hub.one("Patient")
    assert known_as(patient) == "Adah"
    assert patient is not None
    assert patient["address"][0]["city"] == "Bayside"
    assert "late-message" in rules(late)


async def test_an_older_discharge_does_not_end_a_visit_that_was_resumed(hub: Feeding) -> None:
    admit, resumed, ended = adt("A01", "100000"), adt("A13", "140000"), adt("A03", "120000")
    await hub.send(admit, resumed, ended)
    encounter = await hub.one("Encounter")
    assert encounter is not None
    assert encounter["status"] == "in-progress"


async def test_a_cancelled_admission_holds_against_the_admission_that_comes_after_it(
    hub: Feeding,
) -> None:
    await hub.send(adt("A11", "120000"), adt("A01", "100000"))
    encounter = await hub.one("Encounter")
    assert encounter is not None
    assert encounter["status"] == "cancelled"


@pytest.mark.parametrize(
    ("first", "then", "holds"),
    [
        (("F", "120000"), ("P", "130000"), "F"),
        (("F", "120000"), ("F", "110000"), "120000"),
        (("P", "120000"), ("F", "110000"), "F"),
        (("F", "120000"), ("C", "130000"), "C"),
        (("C", "120000"), ("F", "110000"), "C"),
        (("F", "120000"), ("W", "110000"), "W"),
        (("W", "120000"), ("F", "130000"), "W"),
        (("F", "120000"), ("X", "130000"), "X"),
    ],
)
async def test_of_two_versions_of_a_result_one_holds(
    hub: Feeding, first: tuple[str, str], then: tuple[str, str], holds: str
) -> None:
    texts = {first: "1", then: "2"}
    wanted = next(text for version, text in texts.items() if holds in version)
    sent = await hub.send(*(oru(at, status, texts[status, at]) for status, at in (first, then)))
    assert value_of(await hub.one("Observation"))[1] == wanted
    lost = [finding.rule for finding in sent[1].findings if finding.text.startswith("Observation")]
    assert bool(lost) is (wanted == "1"), lost


async def test_of_one_release_time_the_version_sent_later_holds(hub: Feeding) -> None:
    later = oru("120000", "F", "2", sent="140000")
    await hub.send(later, oru("120000", "F", "1", sent="130000"))
    assert value_of(await hub.one("Observation"))[1] == "2"


async def test_a_closed_order_is_not_opened_again(hub: Feeding) -> None:
    def orm(control: str, at: str, status: str = "") -> bytes:
        return "\r".join(
            [
                msh("ORM^O01", f"{control}-{at}", at),
                pid(),
                f"ORC|{control}|O1^CW|||{status}||||{DAY}{at}",
                "OBR|1|O1^CW||718-7^Hemoglobin^LN",
                "",
            ]
        ).encode()

    *_, opened = await hub.send(orm("NW", "100000"), orm("CA", "120000"), orm("XO", "130000", "IP"))
    order = await hub.one("ServiceRequest")
    assert order is not None
    assert order["status"] == "revoked"
    assert "status-regression" in rules(opened)


async def test_a_result_of_another_patient_moves_by_its_time_and_says_so(hub: Feeding) -> None:
    await hub.send(adt("A01", "090000"), adt("A01", "090100", who=pid("B2", "Teal^Bo"), visit="V2"))
    _, moved = await hub.send(
        oru("100000", "F", "13"), oru("110000", "C", "13", who=pid("B2", "Teal^Bo"))
    )
    patients = {known_as(p): i for (_, i), p in (await hub.stored("Patient")).items()}
    observation = await hub.one("Observation")
    assert observation is not None
    assert observation["subject"]["reference"] == f"Patient/{patients['Bo']}"
    assert "moved-between-patients" in rules(moved)


async def test_an_older_result_of_another_patient_moves_nothing(hub: Feeding) -> None:
    await hub.send(adt("A01", "090000"), adt("A01", "090100", who=pid("B2", "Teal^Bo"), visit="V2"))
    await hub.send(oru("110000", "F", "13"), oru("100000", "F", "9", who=pid("B2", "Teal^Bo")))
    patients = {known_as(p): i for (_, i), p in (await hub.stored("Patient")).items()}
    observation = await hub.one("Observation")
    assert observation is not None
    assert observation["subject"]["reference"] == f"Patient/{patients['Ada']}"


async def test_a_result_without_a_patient_leaves_the_patient_there_was(hub: Feeding) -> None:
    await hub.send(oru("100000", "P", "13"), oru("110000", "F", "14", who=""))
    ((_, patient_id),) = await hub.stored("Patient")
    observation = await hub.one("Observation")
    assert value_of(observation) == ("final", "14")
    assert observation is not None
    assert observation["subject"]["reference"] == f"Patient/{patient_id}"


async def test_an_update_after_a_merge_does_not_revive_the_retired_number(hub: Feeding) -> None:
    merge = "\r".join(
        [
            msh("ADT^A40", "M1", "110000"),
            f"EVN||{DAY}110000",
            pid(),
            "MRG|B2^^^BGH^MR",
            "",
        ]
    ).encode()
    await hub.send(
        adt("A01", "090000"),
        adt("A01", "090100", who=pid("B2", "Grebe^Adda"), visit="V2"),
        merge,
        adt("A08", "120000", who=pid("B2", "Grebe^Wrong"), visit=""),
    )
    names = [p["name"][0]["given"] for p in (await hub.stored("Patient")).values() if p]
    assert ["Wrong"] not in names


VISIT = [
    adt("A01", "080000"),
    adt("A02", "090000"),
    adt("A08", "100000", who=pid(name="Grebe^Adah")),
    adt("A03", "110000"),
    adt("A13", "120000"),
]
ORDER = [
    oru("080000", "P", "1"),
    oru("090000", "F", "2"),
    oru("100000", "P", "3"),
    oru("110000", "C", "4"),
    oru("120000", "F", "5"),
]


async def outcome(home: Path, messages: Iterable[bytes]) -> dict[tuple[str, str], FhirJson | None]:
    """What a fresh hub holds after the messages came in this order."""
    kinds = ("Patient", "Encounter", "Observation", "DiagnosticReport", "ServiceRequest")
    # One key for all: ids are made of it.
    async with feeding(home, HIE_KEY_FILE=str(home.parent / "kek.json")) as hub:
        await hub.send(*messages)
        return await hub.stored(*kinds)


@pytest.mark.parametrize("messages", [VISIT, ORDER, VISIT[:3] + ORDER[:3]])
async def test_any_order_of_arrival_ends_in_the_same_state(
    tmp_path: Path, messages: list[bytes]
) -> None:
    wanted = await outcome(tmp_path / "in-order", messages)
    orders = list(itertools.permutations(messages))
    chosen = [orders[-1], *random.Random(7).sample(orders, 3)]
    for number, order in enumerate(chosen):
        assert await outcome(tmp_path / str(number), order) == wanted, number
