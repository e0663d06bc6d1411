"""A hub whose lists changed, killed while it labels again: nothing is shown by a weaker label."""

import asyncio
import json
import os
import shutil
import urllib.request
from pathlib import Path

import pytest

from tests.support.consents import CONFIG
from tests.support.hub_process import HubProcess, exchange

IS_LONG = os.environ.get("HIE_TEST_LONG") == "1"
OTHER = "https://hie.example/organization|bayside-general"
MESSAGES, EACH = 15, 40


def results(number: int) -> bytes:
    """A report of forty results, every other one of a kind that the new lists name."""
    lines = [
        f"MSH|^~\\&|MEDIHOST|STAUR|HIE|MA|20260101120000||ORU^R01^ORU_R01|R{number}|P|2.5.1",
        "PID|1||1001^^^SAMC^MR||DOE^JANE||19800102|F",
        f"OBR|1|P{number}|F{number}|PANEL^Panel^L|||20260101120000|||||||||||||||||||F",
    ]
    for n in range(EACH):
        kind = "GF^Grumble fever titre^L" if n % 2 else f"PL{n}^Plain result^L"
        lines.append(f"OBX|{n + 1}|NM|{kind}|{number}.{n}|{n}|mg|||||F")
    return "\r".join([*lines, ""]).encode()


def shown(hub: HubProcess, token: str) -> list[str]:
    """The results another organisation sees: their names."""
    found: list[str] = []
    url = f"http://127.0.0.1:{hub.http_port}/fhir/Observation?_count=1000"
    while url:
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            page = json.load(answer)
        found += [
            entry["resource"]["code"].get("text")
            or entry["resource"]["code"]["coding"][0]["display"]
            for entry in page.get("entry", [])
        ]
        url = next((link["url"] for link in page["link"] if link["relation"] == "next"), "")
    return found


@pytest.mark.skipif(not IS_LONG, reason="starts a hub four times; HIE_TEST_LONG=1")
async def test_killed_again_and_again_while_it_labels_it_shows_nothing_by_a_weaker_label(
    tmp_path: Path,
):
    home, config = tmp_path / "home", tmp_path / "config"
    shutil.copytree(CONFIG, config)
    hub = HubProcess(home, HIE_CONFIG=str(config), HIE_REGIME="hipaa-treatment")
    hub.start()
    answers: list[bytes] = []
    adt = results(0).replace(b"ORU^R01^ORU_R01|R0", b"ADT^A04^ADT_A01|A1").split(b"\rOBR")[0]
    await exchange(hub.mllp_port, [adt + b"\r", *map(results, range(MESSAGES))], answers)
    assert [b"|AA|" in answer for answer in answers] == [True] * (MESSAGES + 1)
    token = hub.run(
        "token", "--scope", "system/*.rs", "--organization", OTHER, "--purpose", "TREAT"
    ).stdout.split()[-1]
    for _ in range(600):
        if len(before := await asyncio.to_thread(shown, hub, token)) == MESSAGES * EACH:
            break
        await asyncio.sleep(0.2)
    assert set(before) == {"Grumble fever titre", "Plain result"}
    assert hub.stop() == 0

    words = config / "sensitivity" / "words.csv"
    words.write_text(words.read_text() + "grumble fever,HIV,\n")
    counts = []
    for wait in (0.0, 5.2, 5.3):  # the first turn of the job comes after five seconds
        hub.start()
        await asyncio.sleep(wait)
        seen = await asyncio.to_thread(shown, hub, token)
        assert "Grumble fever titre" not in seen
        counts.append(len(seen))
        hub.kill()
    assert counts == sorted(counts), "what had its turn stays"
    done = hub.run("relabel")
    assert done.returncode == 0, done.stderr
    hub.start()
    assert await asyncio.to_thread(shown, hub, token) == ["Plain result"] * (MESSAGES * EACH // 2)
    hub.stop()
    assert counts[0] < MESSAGES * EACH // 2, "it was killed before it was through"
