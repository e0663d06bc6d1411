"""`hie task` and `hie source`, as their users call them beside a running hub."""

import time
from collections.abc import Iterator

import pytest

from tests.support.hub_process import HubProcess

SENDER = "MSH|^~\\&|MEDIHOST|STAUR|HIE|MA|20260101120000||ADT^A08^ADT_A01|{}|P|2.5.1\r"
BODY = "EVN||20260101120000\rPID|1||1001^^^SAMC^MR||DOE^JANE||19800102|F||||||||{}\rPV1|1|I|W^1^2\r"
OPTS = ("--by", "mira")


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> Iterator[HubProcess]:
    hub = HubProcess(tmp_path_factory.mktemp("served") / "home")
    hub.start()
    yield hub
    assert hub.stop() == 0


def send(served: HubProcess, folder, control: str, marital: str) -> None:
    file = folder / control
    file.write_text((SENDER + BODY).format(control, marital), newline="")
    sent = served.run("send", str(file), "--to", f"127.0.0.1:{served.mllp_port}")
    assert sent.returncode == 0, sent.stdout


def rows(served: HubProcess, *arguments: str) -> list[list[str]]:
    done = served.run(*arguments)
    assert done.returncode == 0, done.stderr
    return [line.split("\t") for line in done.stdout.splitlines()]


def waited(served: HubProcess, count: int, *arguments: str) -> list[list[str]]:
    """The tasks once there are so many; the hub works messages off after it answered."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        found = rows(served, "task", "list", *arguments)
        if len(found) == count:
            return found
        time.sleep(0.25)
    raise AssertionError(found)


def test_a_code_is_found_answered_exported_and_taken_back(served, tmp_path):
    send(served, tmp_path, "C1", "QQ^In two minds")
    (task,) = waited(served, 1)
    number, kind, source, topic, count, _, outcome = task
    assert [kind, source, topic, count, outcome] == [
        "unmapped-code",
        "saint-aurelia",
        "marital-status",
        "1",
        "",
    ]
    assert waited(served, 0, "--kind", "late-source") == []
    assert waited(served, 0, "--source", "western-hills") == []
    shown = {row[0]: row[1:] for row in rows(served, "task", "show", number)}
    assert (shown["code"], shown["text"]) == (["QQ"], ["In two minds"])
    assert len(shown["message"]) == 1

    refused = served.run("task", "answer", number, "--target", "polyamorous", *OPTS)
    assert refused.returncode == 2
    assert "`--system`: expected the URI" in refused.stderr
    done = served.run("task", "answer", number, "--target", "U", "--note", "asked them", *OPTS)
    assert done.returncode == 0, done.stderr
    assert "1 messages are mapped again" in done.stderr
    assert waited(served, 0) == []
    (closed,) = waited(served, 1, "--closed")
    assert closed[-1] == "answered"
    again = served.run("task", "answer", number, "--none", *OPTS)
    assert (again.returncode, "closed" in again.stderr) == (2, True)

    exported = served.run("source", "codes", "saint-aurelia", "--map", "marital-status")
    header, row = exported.stdout.splitlines()
    assert header == "code,target,display,system"
    assert row.startswith('"QQ","U","')
    undone = served.run("task", "undo", number, "--reason", "a mistake", *OPTS)
    assert undone.returncode == 0, undone.stderr
    events = [
        row for row in rows(served, "task", "show", number) if row[0] in ("answered", "undone")
    ]
    assert [(row[0], row[2], row[3]) for row in events] == [
        ("answered", "mira", "asked them"),
        ("undone", "mira", "a mistake"),
    ]
    assert rows(served, "task", "close", number, "--reason", "not worth it", *OPTS) == []
    assert waited(served, 0) == []
    assert served.run("audit", "verify").returncode == 0


def test_a_feed_shows_how_it_does(served, tmp_path):
    send(served, tmp_path, "C2", "M")
    feeds = {row[0]: row for row in rows(served, "source", "list")}
    assert feeds["western-hills"][1] == "-"
    assert feeds["saint-aurelia"][1] != "-"
    shown = {row[0]: row[1] for row in rows(served, "source", "show", "saint-aurelia")}
    assert shown["facility"] == "STAUR"
    assert int(shown["answered AA"]) >= 1
    assert int(shown["last hour"]) >= 1


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("task", "show", "12345"), "no such task"),
        (("task", "answer", "12345", "--none"), "no such task"),
        (("source", "show", "nobody"), "`ID`: expected one of"),
        (("source", "codes", "nobody", "--map", "unit"), "`ID`: expected one of"),
        (("source", "codes", "saint-aurelia", "--map", "no-map"), "config/terminology/no-map.csv"),
    ],
)
def test_what_is_not_there_is_told_in_a_line(served, arguments, told):
    done = served.run(*arguments)
    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr
