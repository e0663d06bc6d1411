"""`hie mpi`, as a steward calls it beside a running hub."""

import time

import pytest

from tests.support.hub_process import HubProcess

SENDER = "MSH|^~\\&|MEDIHOST|STAUR|HIE|MA|2026010{day}120000||ADT^{event}|{control}|P|2.5.1"
JANE = "PID|1||{number}^^^SAMC^MR||DOE^JANE||19800102|F|||12 ELM ST^^BOSTON^MA^02114"


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    hub = HubProcess(tmp_path_factory.mktemp("served") / "home")
    hub.start()
    yield hub
    assert hub.stop() == 0


def send(served: HubProcess, folder, day: int, event: str, *segments: str) -> None:
    control = f"C{day}"
    header = SENDER.format(day=day, event=event, control=control)
    file = folder / control
    file.write_text("\r".join([header, f"EVN||2026010{day}113000", *segments, ""]), newline="")
    sent = served.run("send", str(file), "--to", f"127.0.0.1:{served.mllp_port}")
    assert sent.returncode == 0, sent.stdout


def moves(served: HubProcess, count: int) -> list[list[str]]:
    """The moves once there are so many; the hub works messages off after it answered."""
    for _ in range(40):
        done = served.run("mpi", "moves", "--source", "saint-aurelia")
        assert done.returncode == 0, done.stderr
        found = [line.split("\t") for line in done.stdout.splitlines()]
        if len(found) == count:
            return found
        time.sleep(0.25)
    raise AssertionError(found)


def test_a_merge_is_found_and_taken_back_once(served, tmp_path):
    send(served, tmp_path, 1, "A28", JANE.format(number="1"))
    send(served, tmp_path, 2, "A28", JANE.format(number="2"))
    send(served, tmp_path, 3, "A40", JANE.format(number="1"), "MRG|2^^^SAMC^MR")
    ((number, _, source, kind, _, state),) = moves(served, 1)
    assert (source, kind, state) == ("saint-aurelia", "patient", "done")
    refused = served.run("mpi", "undo", number)
    assert (refused.returncode, "--reason" in refused.stderr) == (2, True)
    done = served.run("mpi", "undo", number, "--reason", "two humans", "--by", "kim")
    assert done.returncode == 0, done.stderr
    assert "2 persons put right, 0 left" in done.stdout
    ((*_, state),) = moves(served, 1)
    assert state == "undone"
    again = served.run("mpi", "undo", number, "--reason", "once more")
    assert (again.returncode, "taken back already" in again.stderr) == (2, True)
    nothing = served.run("mpi", "undo", "1", "--reason", "no such thing")
    assert (nothing.returncode, "no such decision" in nothing.stderr) == (2, True)
