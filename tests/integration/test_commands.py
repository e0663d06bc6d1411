"""Each command of `hie` once, as its user would call it: in process, on a folder of its own.

Those that speak to a running hub do so beside a `hie serve` of its own.
"""

import json
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from hie.cli import main
from tests.support.hub_process import HubProcess
from tests.support.launcher import ROOT

ADT = (
    "MSH|^~\\&|MEDIHOST|STAUR|HIE|MA|20260101120000||ADT^A01^ADT_A01|C1|P|2.5.1\r"
    "EVN||20260101120000\rPID|1||1001^^^SAMC^MR||DOE^JANE||19800102|F\rPV1|1|I|W^1^2\r"
)
KEPT = ADT.replace("ADT^A01^ADT_A01|C1", "MFN^M02^MFN_M02|C2")


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("HIE_HOME", str(tmp_path / "home"))
    return Path(tmp_path / "home")


@pytest.fixture
def messages(tmp_path) -> dict[str, str]:
    files = {"good": ADT, "kept": KEPT, "bad": ADT.replace("|C1|", "||"), "none": "hello\r"}
    for name, content in files.items():
        (tmp_path / name).write_text(content, newline="")
    return {name: str(tmp_path / name) for name in files}


@pytest.fixture(scope="module")
def served(tmp_path_factory) -> Iterator[HubProcess]:
    hub = HubProcess(tmp_path_factory.mktemp("served") / "home")
    hub.start()
    yield hub
    assert hub.stop() == 0


def test_the_index_can_be_renewed_beside_the_hub(served, messages):
    served.run("send", messages["good"], "--to", f"127.0.0.1:{served.mllp_port}")
    done = served.run("reindex")
    assert (done.returncode, done.stdout) == (0, "the index is as it should be\n")
    for _ in range(5):  # the hub itself may come to the end before the command looks
        begun = served.run("reindex", "--all", "--seconds", "0")
        if begun.returncode:
            break
    assert (begun.returncode, begun.stdout[:5]) == (3, "0 of ")
    # The hub itself may have come to the end meanwhile.
    over = served.run("reindex")
    assert over.returncode == 0
    assert "resources indexed again" in over.stdout or "as it should be" in over.stdout


def test_what_was_sent_can_be_listed_replayed_read_and_verified_beside_the_hub(served, messages):
    to = ("--to", f"127.0.0.1:{served.mllp_port}")
    sent = served.run("send", messages["good"], messages["kept"], *to)
    assert [line.split("\t")[:2] for line in sent.stdout.splitlines()] == [
        ["C1", "AA"],
        ["C2", "AA"],
    ]
    assert sent.returncode == 0
    together = served.run("send", "--batch", messages["good"], *to)
    assert [line.split("\t")[:2] for line in together.stdout.splitlines()] == [
        line.split("\t")[:2]
        for line in served.run("send", messages["good"], *to).stdout.splitlines()
    ]
    refused = served.run("send", messages["bad"], *to)
    assert (refused.returncode, refused.stdout.split("\t")[1]) == (1, "AE")
    assert '"event":"message.refused"' in served.log.read_text()
    assert "DOE" not in served.log.read_text()
    for _ in range(60):  # acknowledged is not yet worked off
        if told := served.run("parked", "--kept").stdout:
            break
    assert served.run("parked").stdout == ""
    (kept,) = told.splitlines()
    number, source, trigger = kept.split("\t")[:3]
    assert (source, trigger) == ("saint-aurelia", "MFN^M02")
    counted = served.run("replay", number)
    assert (counted.returncode, counted.stdout) == (0, "")
    assert "1 would be put back" in counted.stderr
    replayed = served.run("replay", number, "1", "--yes")
    assert replayed.stdout == "kept\t1\n"
    assert replayed.returncode == 1
    assert "1 put back, 1 not in such a state" in replayed.stderr
    everything = served.run("replay", "--yes")
    assert (everything.returncode, "an empty filter" in everything.stderr) == (2, True)
    discarded = served.run("discard", number, "--because", "not ours", "--yes")
    assert (discarded.returncode, served.run("parked", "--kept").stdout) == (0, "")
    assert served.run("parked", "--discarded").stdout.startswith(number)
    assert served.run("discard", number, "--undo", "--because", "ours", "--yes").returncode == 0
    assert "1 parked" in served.run("parked", "--counts").stderr
    token = served.run("token", "--organization", "saint-aurelia")
    assert (token.returncode, len(token.stdout.splitlines())) == (0, 1)
    exported = served.run("audit", "export").stdout.splitlines()
    assert {json.loads(line)["resourceType"] for line in exported} == {"AuditEvent"}
    verified = served.run("audit", "verify")
    assert (verified.returncode, "the audit trail is whole" in verified.stdout) == (0, True)


def test_convert_says_by_its_exit_code_what_could_be_mapped(home, messages, capsys):
    assert main(["convert", messages["good"]]) == 0
    assert json.loads(capsys.readouterr().out)["resourceType"] == "Bundle"
    assert main(["convert", messages["good"], messages["kept"]]) == 3
    assert main(["convert", messages["none"], messages["good"]]) == 1
    assert not home.exists()


def test_lint_lists_findings_by_place(home, messages, capsys):
    assert main(["lint", messages["good"]]) == 0
    capsys.readouterr()
    assert main(["lint", messages["none"]]) == 1
    assert "must begin with `MSH`" in capsys.readouterr().out
    assert not home.exists()


def test_migrate_makes_the_database_and_may_be_called_twice(home):
    assert [main(["migrate"]), main(["migrate"])] == [0, 0]
    assert (home / "hub.db").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("variable", "value", "told"),
    [
        ("HIE_HTTP_PORT", "many", "`HIE_HTTP_PORT`: expected a port"),
        ("HIE_DATABASE_URL", "mysql://x", "`HIE_DATABASE_URL`: expected an SQLAlchemy URL"),
        ("HIE_CERTIFICATE", "/none.pem", "`HIE_CERTIFICATE`: expected a PEM file"),
        ("HIE_HOST", "0.0.0.0", "`listen.host`"),
        ("HIE_COLOUR", "red", "`HIE_COLOUR`: no setting"),
    ],
)
def test_check_config_names_the_variable_and_what_it_must_be(
    home, monkeypatch, capsys, variable, value, told
):
    monkeypatch.setenv(variable, value)
    assert main(["check-config"]) == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("file", "change", "told"),
    [
        ("hie.toml", ('regime = "massachusetts"', 'regime = "none"'), "`hie.toml` `regime`"),
        (
            "sources/saint-aurelia.toml",
            ("datatype =", "datatyp ="),
            "saint-aurelia.toml [severity]",
        ),
        ("sources/saint-aurelia.toml", ("America/", "Mars/"), "saint-aurelia.toml: `time_zone`"),
        ("log.toml", ("fields = [", "fields = 1 # "), "log.toml"),
    ],
)
def test_check_config_names_the_file_and_key(tmp_path, monkeypatch, capsys, file, change, told):
    config = shutil.copytree(ROOT / "config", tmp_path / "config")
    content = (config / file).read_text()
    assert change[0] in content
    (config / file).write_text(content.replace(*change))
    monkeypatch.setenv("HIE_CONFIG", str(config))
    assert main(["check-config"]) == 2
    assert told in capsys.readouterr().err


def test_check_config_reads_all_and_stores_nothing(home, capsys):
    assert main(["check-config"]) == 0
    assert "can be used" in capsys.readouterr().out
    assert not home.exists()


def test_production_gives_no_tokens(home, monkeypatch, capsys):
    monkeypatch.setenv("HIE_PROFILE", "production")
    assert main(["token"]) == 2
    assert "`auth_cli_tokens`" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        ["convert", "/nowhere"],
        ["lint", "/nowhere"],
        ["send", "/nowhere", "--to", "127.0.0.1:1"],
        ["send", "/dev/null", "--to", "127.0.0.1:1"],
        ["send", "/dev/null", "--to", "nobody"],
    ],
)
def test_what_cannot_be_done_is_said_in_a_line(home, capsys, arguments):
    assert main(arguments) == 2
    told = capsys.readouterr().err
    assert told.startswith("hie: ")
    assert len(told.splitlines()) == 1


def test_a_port_that_is_taken_stops_the_start_in_a_line(home, monkeypatch, capsys):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        monkeypatch.setenv("HIE_MLLP_PORT", str(taken.getsockname()[1]))
        assert main(["serve"]) == 2
    assert "already in use" in capsys.readouterr().err


def test_a_lost_key_file_is_never_replaced_beside_a_database(home, capsys):
    assert main(["audit", "verify"]) == 0
    keys = home / "keys" / "kek.json"
    kept = keys.rename(home / "kept.json")
    assert main(["audit", "verify"]) == 2
    assert "`HIE_KEY_FILE`" in capsys.readouterr().err
    assert not keys.exists()
    kept.rename(keys)
    assert main(["audit", "verify"]) == 0


def test_a_key_file_that_others_can_read_stops_the_start(home, capsys):
    assert main(["audit", "verify"]) == 0
    (home / "keys" / "kek.json").chmod(0o644)
    assert main(["serve"]) == 2
    assert "chmod 600" in capsys.readouterr().err
