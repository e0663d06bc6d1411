"""From a stored resource back to the message it came from, as staff do it."""

import json
import time
import urllib.request
from collections.abc import Iterator

import pytest

from hie.commands.trace import _readable
from tests.support.hub_process import HubProcess

ADT = (
    "MSH|^~\\&|MEDIHOST|STAUR|HIE|MA|20260101120000||ADT^A01^ADT_A01|C1|P|2.5.1\r"
    "EVN||20260101120000\rPID|1||1001^^^SAMC^MR||DOE^JANE||19800102|F\rPV1|1|I|W^1^2\r"
    "ZPD|1|nothing reads this\r"
)


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> Iterator[HubProcess]:
    hub = HubProcess(tmp_path_factory.mktemp("served") / "home")
    hub.start()
    yield hub
    assert hub.stop() == 0


@pytest.fixture(scope="module")
def provenance(served, tmp_path_factory):
    file = tmp_path_factory.mktemp("sent") / "adt.hl7"
    file.write_text(ADT, newline="")
    assert served.run("send", str(file), "--to", f"127.0.0.1:{served.mllp_port}").returncode == 0
    token = served.run("token", "--organization", "saint-aurelia").stdout.strip()
    url = f"http://127.0.0.1:{served.http_port}/fhir/Provenance"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        request = urllib.request.Request(url, headers={"Authorization": f"Bearer {token}"})
        with urllib.request.urlopen(request) as answer:
            entries = json.load(answer).get("entry", [])
        if entries:
            return entries[0]["resource"]
        time.sleep(0.05)
    raise AssertionError("no Provenance within a minute")


def message_id(provenance):
    (found,) = (
        e["what"]["identifier"]["value"]
        for e in provenance["entity"]
        if e["what"].get("identifier", {}).get("system") == "urn:hie:message"
    )
    return found


def test_a_provenance_names_message_source_time_and_the_segments_of_each_resource(provenance):
    said = {
        t["reference"].split("/")[0]: t["extension"][0]["valueString"] for t in provenance["target"]
    }
    assert said["Encounter"] == "PV1[1]"
    assert said["Patient"] == "PID[1]"
    assert provenance["recorded"]
    assert provenance["agent"][0]["who"]["display"]
    assert message_id(provenance).isdigit()


def test_the_messages_of_a_resource_are_listed(served, provenance):
    encounter = next(
        t["reference"] for t in provenance["target"] if t["reference"].startswith("Encounter/")
    )
    listed = served.run("message", "of", encounter)
    (line,) = listed.stdout.splitlines()
    version, _, source, message = line.split("\t")
    assert (version, source, message) == ("1", "saint-aurelia", message_id(provenance))
    assert listed.returncode == 0
    assert served.run("message", "of", "Encounter/none").returncode == 1
    assert served.run("message", "of", "Nothing/1").returncode == 2


def test_a_message_is_shown_with_what_no_map_reads_and_the_look_is_audited(served, provenance):
    number = message_id(provenance)
    shown = served.run("message", "show", number, "--user", "ann", "--reason", "ticket 7")
    assert "nothing reads this" in shown.stdout
    assert "kept      ZPD-2" in shown.stdout
    assert "state     processed" in shown.stdout
    exported = [json.loads(line) for line in served.run("audit", "export").stdout.splitlines()]
    (event,) = [e for e in exported if e.get("outcomeDesc") == "ticket 7"]
    assert any("Patient/" in e.get("what", {}).get("reference", "") for e in event["entity"])
    assert any(a["who"].get("display") == "ann" for a in event["agent"])
    missing = served.run("message", "show", "1")
    assert (missing.returncode, missing.stdout) == (2, "")


@pytest.mark.parametrize(
    ("said", "charset", "codec"),
    [
        ("", "8859/2", "iso8859-2"),
        ("8859/2", "", "iso8859-2"),
        ("UNICODE UTF-8", "", "utf-8"),
        ("", "", "utf-8"),
    ],
)
def test_a_message_is_shown_in_its_own_character_set_and_commands_nothing(
    said: str, charset: str, codec: str
):
    head = f"MSH|^~\\&|A|B|||2026||ADT^A01|1|P|2.5.1||||||{said}\r"
    shown = _readable((head + "PID|1||1||Dvo\u0159\u00e1k\x1b[2J\r").encode(codec), charset)
    assert "Dvo\u0159\u00e1k" in shown
    assert "\x1b" not in shown
    assert shown.count("\r") == 2


def test_what_is_no_message_is_shown_all_the_same():
    assert _readable(b"\xff\x1bnothing", "8859/2") == "\ufffd nothing"
