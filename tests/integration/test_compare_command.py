"""`hie mpi compare`, and what stopping `hie mpi link` leaves."""

import io
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from hie.cli import main
from hie.commands.progress import ProgressBar
from tests.support.files import MAP, LinkedFile, as_csv, row
from tests.support.mpi import patient


@pytest.fixture
def pair(tmp_path):
    paths = [tmp_path / "a.json", tmp_path / "b.json"]
    for path, given in zip(paths, ("Jayden", "Kayden"), strict=True):
        said = {"resourceType": "Patient"} | patient(given=[given], born="2015-05-05")
        path.write_text(json.dumps(said))
    return [str(path) for path in paths]


def test_two_patients_are_shown_as_a_table_and_as_a_drawing(pair, tmp_path, capsys):
    assert main(["mpi", "compare", *pair, "--svg", str(tmp_path / "w.svg")]) == 0
    told = capsys.readouterr().out
    assert "decision: left to a steward; twin" in told
    assert "Quinlan" not in told
    assert (tmp_path / "w.svg").read_text().startswith("<svg")


def test_the_same_is_given_as_json(pair, capsys):
    assert main(["mpi", "compare", *pair, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["outcome"], said["reason"]) == ("review", "twin")
    assert said["bars"][0]["code"] == "prior"
    assert list(said["vetoes"]) == ["twin"]


def test_sources_say_which_numbers_are_record_numbers(tmp_path, capsys):
    paths = [tmp_path / "a.json", tmp_path / "b.json"]
    for path, number in zip(paths, ("4711", "5000"), strict=True):
        own = {"system": "https://saint-aurelia.example/mrn", "value": number}
        path.write_text(json.dumps(patient(resourceType="Patient", identifier=[own])))
    assert main(["mpi", "compare", *map(str, paths), "--json"]) == 0
    assert list(json.loads(capsys.readouterr().out)["vetoes"]) == ["same-authority"]


@pytest.mark.parametrize("text", ["", "{", "[]", '{"resourceType": "Person"}', '"Patient"'])
def test_what_is_no_patient_is_refused_by_name(pair, tmp_path, capsys, text):
    (tmp_path / "b.json").write_text(text)
    assert main(["mpi", "compare", *pair]) == 2
    assert "`b.json`" in capsys.readouterr().err


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_sees_a_bar_and_a_log_sees_lines():
    for stream, mark in ((Terminal(), "#"), (io.StringIO(), "100%")):
        bar = ProgressBar({"read": "reading"}, stream)
        bar("read", 1, 2)
        bar("hidden", 1, 1)
        bar("read", 2, 2)
        assert mark in stream.getvalue()
        assert stream.getvalue().endswith("\n")
    assert "\r" not in stream.getvalue()


def test_a_file_too_small_to_fit_to_is_linked_by_the_given_model(tmp_path, capsys):
    rows = [row("a"), row("b")]
    done = LinkedFile(tmp_path, as_csv(rows), MAP, "--train", "--model", str(tmp_path / "m.toml"))
    assert done.persons == {frozenset("ab")}
    assert "too few records" in capsys.readouterr().err
    assert not (tmp_path / "m.toml").exists()


def test_an_interrupted_run_ends_at_once_and_leaves_nothing(tmp_path):
    # Far more than could be linked while this process waits for its turn.
    rows = [row(f"{n:05d}", given=f"Nor{n % 97}a", zip=f"{n % 9_000:05d}") for n in range(9_000)]
    header, _, text = as_csv(rows).partition("\n")
    further = (text.replace("Quinlan", f"Quin{n}lan") for n in range(30))
    (tmp_path / "file.csv").write_text("\n".join([header, *(part.rstrip() for part in further)]))
    (tmp_path / "columns.toml").write_text(MAP)
    given = [tmp_path / "file.csv", "--map", tmp_path / "columns.toml"]
    given += ["--out", tmp_path / "out.csv", "--jobs", "2"]
    run = subprocess.Popen(
        [sys.executable, "-m", "hie", "mpi", "link", *given],
        stderr=subprocess.PIPE,
        start_new_session=True,
        # Tests that a shell runs in its background have it ignored, and hand that on.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - one call
    )
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob(".out.csv.*.part")) and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(0.2)  # in the middle: the run takes half a minute from here on
    os.killpg(run.pid, signal.SIGINT)
    _, told = run.communicate(timeout=60)
    assert run.returncode == 130
    assert b"Traceback" not in told
    assert {path.name for path in tmp_path.iterdir()} == {"file.csv", "columns.toml"}
