"""A stolen database, log or command line shows nobody: one canary patient goes through it all.

Spec: DESIGN D12.
"""

import asyncio
import contextlib
import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.hub_process import HubProcess, exchange

#: What must never stand in clear anywhere but in an answer to who may see it.
CANARY = (
    *("Zyxcanary", "Quorblette", "CANARYMRN77", "Xylotomous", "4137778899", "zyx.canary@example"),
    *("19370203", "1937-02-03", "900776655", "900-77-6655", "secretly fond of axolotls"),
)
ADT = "\r".join(
    (
        "MSH|^~\\&|REG|CANARY|HIE|STATE|20260101120000||ADT^A01^ADT_A01|C1|P|2.5.1",
        "EVN|A01|20260101120000",
        "PID|1||CANARYMRN77^^^CANARY^MR~900776655^^^SSA^SS||Zyxcanary^Quorblette^Q||19370203|F|||"
        "9 Xylotomous Way^^Worcester^MA^01601||4137778899^PRN^PH~^NET^Internet^zyx.canary@example"
        "|||Quorblette^secretly fond of axolotls",  # a code no map knows, in PID-16
        "PV1|1|I|2W^201^A|||||||||||||||V77^^^CANARY^VN|||||||||||||||||||||||||20260101110000",
        "",
    )
).encode()
MDM = "\r".join(
    (
        "MSH|^~\\&|REG|CANARY|HIE|STATE|20260101130000||MDM^T02^MDM_T02|C2|P|2.5.1",
        "EVN|T02|20260101130000",
        "PID|1||CANARYMRN77^^^CANARY^MR||Zyxcanary^Quorblette^Q||19370203|F",
        "PV1|1|I",
        "TXA|1|CN|TX|20260101130000|||||||DOC77|||||AU",
        "CON|1|001|||||||Zyxcanary says no||R",
        "OBX|1|TX|11506-3^Progress note^LN||Patient is secretly fond of axolotls||||||F",
        "",
    )
).encode()
BAD = ADT.replace(b"|C1|", b"||").replace(b"19370203", b"19370203XX")


@pytest.fixture(params=["sqlite", "postgresql"])
def hub(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[HubProcess]:
    settings = {}
    if request.param == "postgresql":
        settings["HIE_DATABASE_URL"] = request.getfixturevalue("postgres_url")
    process = HubProcess(tmp_path / "home", **settings)
    yield process
    process.kill()


def ask(hub: HubProcess, path: str, token: str, body: object = None) -> tuple[int, bytes]:
    request = urllib.request.Request(
        f"http://127.0.0.1:{hub.http_port}/fhir/{path}",
        data=json.dumps(body).encode() if body is not None else None,
        headers={"Authorization": f"Bearer {token}", "Content-Type": "application/fhir+json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def until_told(hub: HubProcess, path: str, token: str, word: bytes) -> bytes:
    """The answer, once what was acknowledged is worked off and the word is in it."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        status, found = ask(hub, path, token)
        assert status == 200, found
        if word in found:
            return found
        time.sleep(0.05)
    raise TimeoutError(f"{path} tells nothing of {word!r}")


def in_clear(content: bytes) -> list[str]:
    return [value for value in CANARY if value.lower().encode() in content.lower()]


def test_no_file_of_the_hub_shows_the_canary(hub: HubProcess, request) -> None:
    hub.start()
    answers: list[bytes] = []
    asyncio.run(exchange(hub.mllp_port, [ADT, MDM, BAD, b"garbage Zyxcanary"], answers))
    assert [a for a in answers if b"MSA|AA|" in a] == answers[:2]
    assert [in_clear(a) for a in answers] == [[]] * len(answers)
    token = hub.run("token", "--scope", "system/*.cruds", "--organization", "CANARY").stdout.strip()
    found = until_told(hub, "Patient?family=Zyxcanary&birthdate=1937-02-03", token, b"Quorblette")
    person = json.loads(found)["entry"][0]["resource"]["id"]
    until_told(hub, f"Patient/{person}/$everything", token, b"DocumentReference")
    refused = {"resourceType": "Patient", "birthDate": "1937-02-03XX", "name": "Zyxcanary"}
    status, told = ask(hub, "Patient", token, refused)
    assert status == 422
    assert in_clear(told) == []
    _files_are_clean(hub)
    assert hub.stop() == 0
    _files_are_clean(hub)
    if "HIE_DATABASE_URL" in hub.environment:
        server = request.getfixturevalue("postgres_server")
        for path in Path(server.data).rglob("*"):
            with contextlib.suppress(FileNotFoundError):  # the server has done with it
                if path.is_file() and path.stat().st_size:
                    assert in_clear(path.read_bytes()) == [], path.name


def _files_are_clean(hub: HubProcess) -> None:
    looked = 0
    for path in hub.home.rglob("*"):
        if path.is_file() and "keys" not in path.parts:
            assert in_clear(path.read_bytes()) == [], path.name
            looked += 1
    assert looked


def test_the_key_file_and_the_database_are_their_owners_alone(hub: HubProcess) -> None:
    hub.start()
    assert (hub.home / "keys" / "kek.json").stat().st_mode & 0o777 == 0o600
    for path in hub.home.glob("hub.db*"):
        assert path.stat().st_mode & 0o077 == 0, path.name
