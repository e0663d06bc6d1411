"""PIX and PDQ queries end to end: over MLLP and HTTP, as the sender's organisation, on record."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from adapters.message import State
from tests.support.asked_hub import World, actor, consent, deny
from tests.support.hub_process import exchange
from tests.support.queries import arrival, body, numbers, pdq, pix, read
from tests.support.running_hub import running_hub
from tests.support.staff_api import registration


class Asked(World):
    """A hub that is sent queries over MLLP."""

    async def tell(self, *messages: bytes) -> list[bytes]:
        """What messages are answered, once all are worked off."""
        answers: list[bytes] = []
        await exchange(self.mllp_port, list(messages), answers)
        assert len(answers) == len(messages)
        await self.hub.worker.idle()
        return answers

    async def ask_v2(self, query: bytes) -> bytes:
        return (await self.tell(query))[0]

    async def audited(self) -> list[tuple[str, str, str]]:
        """Subtype, person and what was asked, of every audit row of a query."""
        rows = [json.loads(line) async for line in self.hub.audit.export()]
        return [
            (
                row["subtype"][0]["code"],
                next((e["what"]["reference"] for e in row.get("entity", ()) if _is_person(e)), ""),
                next((e["query"] for e in row.get("entity", ()) if "query" in e), ""),
            )
            for row in rows
            if any("hl7v2:" in str(agent) for agent in row["agent"])
        ]


def _is_person(entity: dict[str, dict[str, str]]) -> bool:
    return entity.get("what", {}).get("reference", "").startswith("Patient/")


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[Asked]:
    async with Asked(tmp_path / "home", HIE_REGIME="hipaa-treatment") as made:
        yield made


async def own_record(world: Asked, who: str, number: str) -> str:
    """The id of a source's own Patient."""
    found = await world.get(who, f"Patient?identifier={number}")
    person = found["entry"][0]["resource"]["id"]
    async with world.hub.db.reading() as conn:
        records = await world.hub.mpi.records_of(conn, person)
    for record in records:
        if await world.status(who, f"Patient/{record}") == 200:
            patient = await world.get(who, f"Patient/{record}")
            if any(one["value"] == number for one in patient["identifier"]):
                return str(record)
    raise AssertionError("no such record")


async def test_the_other_numbers_of_a_patient_are_told(world: Asked) -> None:
    await world.tell(arrival("ALPHA", "A1"), arrival("BETA", "B1"))
    answer = read(await world.ask_v2(pix("ALPHA", "A1^^^ALPHA")))
    assert answer.get("MSH-9") == "RSP"
    assert [answer.get(f"MSH-9.{n}") for n in (2, 3)] == ["K23", "RSP_K23"]
    assert [s.name for s in answer.segments] == ["MSH", "MSA", "QAK", "QPD", "PID"]
    assert (answer.get("MSA-1"), answer.get("MSA-2")) == ("AA", "XT1")
    assert (answer.get("QAK-1"), answer.get("QAK-2")) == ("T1", "OK")
    (pid,) = answer.all("PID")
    assert pid.reps(3)[0].value(1) == "B1"
    assert pid.field(5) == "~^^^^^^S", "the name is not told: IHE TF-2 3.9.4.2.2.6"
    assert not any(pid.field(n) for n in (6, 7, 8, 11, 13)), "nor is anything else"


async def test_what_is_hidden_is_answered_as_what_nobody_has(world: Asked) -> None:
    await world.tell(arrival("ALPHA", "A1"), arrival("BETA", "B1"))
    assert numbers(await world.ask_v2(pix("ALPHA", "A1^^^ALPHA")))
    foreign = "urn:hie:authority:adhoc%3ABETA%7CBETA:BETA"
    asked = pix("ALPHA", f"B1^^^&{foreign}&URI")
    assert numbers(await world.ask_v2(asked)) == ["A1^^^ALPHA^MR"]
    record = await own_record(world, "BETA", "B1")
    await world.post("BETA", consent(record, deny(actor("ALPHA"))))
    silent = await world.ask_v2(pix("ALPHA", f"B9^^^&{foreign}&URI"))
    hidden = await world.ask_v2(asked)
    assert body(hidden) == body(silent).replace(b"B9", b"B1"), "hidden is not as absent"
    assert read(hidden).get("QAK-2") == "AE"
    assert read(await world.ask_v2(pix("ALPHA", "A1^^^ALPHA"))).get("QAK-2") == "NF"
    assert not numbers(await world.ask_v2(pdq("ALPHA", "@PID.3.1^B1")))
    told = await world.ask_v2(pdq("ALPHA", "@PID.5.1^QUILL"))
    assert numbers(told) == ["A1^^^ALPHA^MR"], "the own record stays the asker's"


async def test_err_2_names_the_component_that_is_not_known(world: Asked) -> None:
    await world.tell(arrival("ALPHA", "A1"))
    strange = "^^^X&1.2.3&ISO~^^^ALPHA~^^^Y&1.2.4&ISO"
    cases = {
        pix("ALPHA", "A9^^^ALPHA"): ["QPD^1^3^1^1"],
        pix("ALPHA", "A1^^^NOWHERE&1.2.3&ISO"): ["QPD^1^3^1^4"],
        pix("ALPHA", "A1^^^ALPHA", strange): ["QPD^1^4^1", "QPD^1^4^3"],
        pdq("ALPHA", "@PID.5.1^QUILL", domains="^^^X&1.2.3&ISO"): ["QPD^1^8^1"],
    }
    for query, places in cases.items():
        answer = read(await world.ask_v2(query))
        assert (answer.get("MSA-1"), answer.get("QAK-2")) == ("AE", "AE")
        assert [err.field(2) for err in answer.all("ERR")] == places
        assert {err.value(3) for err in answer.all("ERR")} == {"204"}
        assert not answer.all("PID")


async def test_a_question_without_its_parts_is_answered_with_their_places(world: Asked) -> None:
    cases = {
        pix("ALPHA", "", tag=""): {"QPD^1^2", "QPD^1^3^1^1"},
        pdq("ALPHA", "@PID.8^F"): {"QPD^1^3"},
        pdq("ALPHA", "@PID.5.1^Q*"): {"QPD^1^3^1^2"},
        pdq("ALPHA", "@PID.7^19511301~@PID.8^Q~@PID.99^X"): {
            *("QPD^1^3^1^2", "QPD^1^3^2^2", "QPD^1^3^3^1"),
        },
        pdq("ALPHA", "@PID.5.1^QUILL", rcp="I|many"): {"RCP^1^2"},
        pdq("ALPHA", "@PID.5.1^QUILL", dsc="bogus"): {"DSC^1^1"},
    }
    for query, places in cases.items():
        answer = read(await world.ask_v2(query))
        assert answer.get("MSH-9") == "RSP"
        assert (answer.get("MSA-1"), answer.get("QAK-2")) == ("AE", "AE")
        assert places <= {err.field(2) for err in answer.all("ERR")}, query


async def test_persons_are_found_by_what_is_known_of_them(world: Asked) -> None:
    await world.tell(
        arrival("ALPHA", "A1", name="QUILL^HORTENSIA^ANN^JR^DR"),
        arrival("ALPHA", "A2", name="ZEB\\T\\ULON^IKE", born="19800101", ssn="",
                more="||9 ELM RD^^BOSTON^MA^02101||6175550100"),
    )  # fmt: skip
    found = {
        "@PID.5.1^quill~@PID.5.2^hortensia": ["A1"],
        "@PID.5.1.1^QU*": ["A1"],
        "@PID.5.1^QUI": [],
        "@PID.7^19800101": ["A2"],
        "@PID.7^19800101~@PID.8^M": [],
        "@PID.3.1^A2~@PID.3.4^ALPHA": ["A2"],
        "@PID.13^(617) 555-0100": ["A2"],
        "@PID.5.1^ZEB\\T\\ULON~@PID.11.3^Boston~@PID.11.5^021*": ["A2"],
    }
    for asked, expected in found.items():
        answer = await world.ask_v2(pdq("ALPHA", asked))
        assert [number.partition("^")[0] for number in numbers(answer)] == expected, asked
        assert read(answer).get("QAK-2") == ("OK" if expected else "NF")
    (pid,) = read(await world.ask_v2(pdq("ALPHA", "@PID.3.1^A1"))).all("PID")
    assert pid.field(5) == "QUILL^HORTENSIA^ANN^JR^DR^^L"
    assert (pid.field(7), pid.field(8)) == ("19510412", "F")
    assert pid.field(11) == "12 OAK ST^^SPRINGFIELD^MA^01101"
    (pid,) = read(await world.ask_v2(pdq("ALPHA", "@PID.3.1^A2"))).all("PID")
    assert pid.field(5).startswith("ZEB\\T\\ULON^IKE"), "separators in a name are escaped"


async def test_an_answer_goes_on_where_it_ended_for_its_asker_alone(world: Asked) -> None:
    people = [
        arrival("ALPHA", f"A{n}", name=f"TOWNSEND^{name}", born=f"19{n}00{n % 9 + 1}1{n % 9}",
                ssn="", more=f"||{n} ELM RD^^BOSTON^MA^02101||61755501{n}")
        for n, name in enumerate(("ALMA", "BERIT", "CLEO", "DORA", "EDNA"), start=50)
    ]  # fmt: skip
    await world.tell(*people)
    told: list[str] = []
    pointer = ""
    for _ in range(5):
        answer = await world.ask_v2(pdq("ALPHA", "@PID.5.1^TOWNSEND", rcp="I|2^RD", dsc=pointer))
        told += numbers(answer)
        message = read(answer)
        pointer = message.get("DSC-1") if message.first("DSC") else ""
        if not pointer:
            break
        assert len(message.all("PID")) == 2
        assert message.get("DSC-2") == "I"
        for other in (
            pdq("BETA", "@PID.5.1^TOWNSEND", dsc=pointer),
            pdq("ALPHA", "@PID.5.1^QUILL", dsc=pointer),
        ):
            assert read(await world.ask_v2(other)).get("ERR-2") == "DSC"
    assert sorted(one.partition("^")[0] for one in told) == [f"A{n}" for n in range(50, 55)]
    cancel = pdq("ALPHA", "").replace(b"QBP^Q22^QBP_Q21", b"QCN^J01^QCN_J01")
    cancel = cancel.partition(b"\r")[0] + b"\rQID|T2|IHE PDQ Query\r"
    assert read(await world.ask_v2(cancel)).get("MSA-1") == "AA"


async def test_every_person_told_of_is_on_record_and_nobody_else(world: Asked) -> None:
    await world.tell(
        arrival("ALPHA", "A1"),
        arrival("ALPHA", "A2", name="ZEBULON^IKE", born="19800101", ssn="", more=""),
    )
    await world.ask_v2(pdq("ALPHA", "@PID.5.1^ZEBULON"))
    await world.ask_v2(pix("ALPHA", "A1^^^ALPHA"))
    await world.ask_v2(pix("ALPHA", "A9^^^ALPHA"))
    await world.ask_v2(pdq("ALPHA", "@PID.8^F"))
    rows = await world.audited()
    zebulon = (await world.get("ALPHA", "Patient?family=Zebulon"))["entry"][0]["resource"]["id"]
    quill = (await world.get("ALPHA", "Patient?family=Quill"))["entry"][0]["resource"]["id"]
    assert [(subtype, person) for subtype, person, _ in rows] == [
        ("search-type", f"Patient/{zebulon}"),
        ("operation", f"Patient/{quill}"),
        ("operation", ""),
    ]


async def test_a_repeat_is_answered_afresh_and_no_answer_is_kept(world: Asked) -> None:
    await world.tell(arrival("ALPHA", "A1"))
    query = pix("ALPHA", "A1^^^ALPHA")
    assert read(await world.ask_v2(query)).get("QAK-2") == "NF"
    await world.tell(arrival("BETA", "B1"))
    answer = await world.ask_v2(query)
    assert read(answer).get("QAK-2") == "OK", "what was true before is no answer now"
    async with world.hub.db.reading() as conn:
        kept = await world.hub.journal.listed(conn, State.PROCESSED, 10)
    queries = [one for one in kept if one.trigger == "QBP^Q23"]
    assert len(queries) == 2
    for one in queries:
        assert one.payload == query
        assert b"\rQAK|T1|" in one.answer
        assert b"PID" not in one.answer
    refused = await world.ask_v2(pdq("ALPHA", "@PID.8^F"))
    assert b"MSA|AE" in refused
    async with world.hub.db.reading() as conn:
        assert len(await world.hub.journal.listed(conn, State.REFUSED, 10)) == 1


async def test_a_query_gets_its_response_whatever_acknowledgement_it_asks_for(
    world: Asked,
) -> None:
    await world.tell(arrival("ALPHA", "A1"), arrival("BETA", "B1"))
    for modes in ("AL|AL", "NE|AL", "ER|NE", "AL|NE", "NE|NE"):
        answers = await world.tell(
            pix("ALPHA", "A1^^^ALPHA", header=f"P|2.5|||{modes}"), pix("ALPHA", "A9", tag="T9")
        )
        assert read(answers[0]).get("MSA-1") == "AA"
        assert numbers(answers[0])
        assert read(answers[1]).get("MSA-2") == "XT9", "no second frame stands between"


async def test_an_answer_speaks_the_askers_version_and_character_set(world: Asked) -> None:
    name = "M\\E\\LLER^JOS\u00c9"
    sent = (
        arrival("ALPHA", "A1", name=name)
        .decode()
        .replace("|P|2.5\r", "|P|2.5||||||UNICODE UTF-8\r")
    )
    await world.tell(sent.encode())
    latin = pdq("ALPHA", "@PID.3.1^A1", header="P|2.3.1||||||8859/1")
    answer = await world.ask_v2(latin)
    assert "JOS\u00c9".encode("iso8859-1") in answer
    assert read(answer).get("MSH-12") == "2.3.1"
    assert b"M\\E\\LLER" in answer
    plain = await world.ask_v2(pdq("ALPHA", "@PID.3.1^A1", header="P|2.5||||||ASCII"))
    assert b"^JOSE^" in plain, "a letter the asker cannot read loses its accent, not itself"


async def test_a_query_over_http_gets_the_same_answer(world: Asked) -> None:
    await world.tell(arrival("ALPHA", "A1"), arrival("BETA", "B1"))
    query = pix("ALPHA", "A1^^^ALPHA")
    url = world.base.replace("/fhir/", "/hl7v2")
    headers = {"Content-Type": "application/hl7-v2"}
    async with world.http.post(url, data=query, headers=headers) as got:
        assert got.status == 200
        assert body(await got.read()) == body(await world.ask_v2(query))


async def test_in_production_a_name_in_msh_proves_nobody(tmp_path: Path) -> None:
    asked = pix("MEDIHOST", "4711^^^SAMC").replace(b"MEDIHOST|MEDIHOST", b"MEDIHOST|STAUR")
    async with running_hub(tmp_path, HIE_PROFILE="production") as hub:
        (answer,) = await hub.send(asked)
        assert (read(answer).get("QAK-2"), read(answer).get("ERR-3")) == ("AR", "200")
        statuses = {}
        for name, organization, scope, purpose in (
            ("own", "saint-aurelia", "system/*.cruds", "TREAT"),
            ("another's", "western-hills", "system/*.cruds", "TREAT"),
            ("one that may not read", "saint-aurelia", "system/*.c", "TREAT"),
            ("one given for payment", "saint-aurelia", "system/*.cruds", "HPAYMT"),
        ):
            token = await hub.token(organization, scope=scope, purpose=purpose)
            headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/hl7-v2"}
            url = hub.base.replace("/fhir", "/hl7v2")
            async with (
                aiohttp.ClientSession() as session,
                session.post(url, data=asked, headers=headers) as got,
            ):
                statuses[name] = read(await got.read()).get("QAK-2") if got.ok else got.status
        assert statuses == {
            "own": "AE",
            "another's": "",  # who uses another's name is an unknown sender: a plain ACK
            "one that may not read": "AR",
            "one given for payment": "AR",
        }


async def test_in_production_a_token_writes_for_its_own_sources_if_it_may_write(
    tmp_path: Path,
) -> None:
    async with running_hub(tmp_path, HIE_PROFILE="production") as hub:
        url = hub.base.replace("/fhir", "/hl7v2")
        answers = {}
        for organization, scope in (
            ("western-hills", "system/*.cruds"),
            ("saint-aurelia", "system/*.rs"),
            ("saint-aurelia", "system/*.cruds"),
        ):
            token = await hub.token(organization, scope=scope)
            headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/hl7-v2"}
            async with (
                aiohttp.ClientSession() as session,
                session.post(url, data=registration("C1", "1"), headers=headers) as got,
            ):
                answers[organization, scope] = read(await got.read()).get("MSA-1")
        assert list(answers.values()) == ["AR", "AR", "AA"]
