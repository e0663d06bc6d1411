"""`hie check-config` names file, row and what is expected, whatever is wrong with an overlay."""

import shutil
from pathlib import Path

import pytest

from hie.cli import main
from tests.support.tree import ROOT

SOURCE = "sources/saint-aurelia.toml"


@pytest.fixture
def config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "config"
    shutil.copytree(ROOT / "config", folder)
    monkeypatch.setenv("HIE_CONFIG", str(folder))
    monkeypatch.setenv("HIE_HOME", str(tmp_path / "home"))
    return folder


def test_what_is_right_is_said_to_be(config: Path, capsys):
    own = config / "sources" / "saint-aurelia"
    own.mkdir()
    (own / "administrative-sex.csv").write_text("code,target,display,system\n1,male,,\n")
    with (config / SOURCE).open("a") as file:
        file.write('[expected]\ninterval = "15m"\nquiet_days = ["sunday"]\n')
    assert main(["check-config"]) == 0
    assert "can be used" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        (
            "sources/saint-aurelia/administrative-sex.csv",
            "code,target,display,system\n1,male,,\n2,lady,,\n",
            "`saint-aurelia/administrative-sex.csv`: row 2: `target` must be one of female",
        ),
        (
            "sources/saint-aurelia/colour.csv",
            "code,target,display,system\n1,red,,\n",
            "`saint-aurelia/colour.csv`: its name must be that of a table",
        ),
        (
            "sources/saint-aurelia/marital-status.csv",
            "code,target,display,system\n1,M\n",
            "`saint-aurelia/marital-status.csv`: row 1 must have a code and 4 columns",
        ),
        (
            SOURCE,
            '[overrides.rows]\n"PID[Patient]" = [{ from = 31, to = "gendre", as = "text" }]\n',
            "saint-aurelia.toml [overrides.rows.PID[Patient]] row 1 `to`: `gendre`",
        ),
        (
            SOURCE,
            '[overrides.rows]\n"PID[Patient]" = [{ from = 31, to = "gender", as = "guess" }]\n',
            "saint-aurelia.toml: [PID[Patient]] row 1: `as`: `guess` must be a known converter",
        ),
        (
            SOURCE,
            '[overrides.rows]\n"PID[Nobody]" = []\n',
            "saint-aurelia.toml [overrides.rows]: `PID[Nobody]` must be a segment map",
        ),
        (SOURCE, "[overrides.codes]\nsex = { 1 = 'male' }\n", "[overrides.codes.sex]: its name"),
        (
            SOURCE,
            '[validation]\nprofile = "maybe"\n',
            "[validation]: `profile` must be one of reject",
        ),
        (
            SOURCE,
            '[validation]\nprofiles = ["urn:nobody"]\n',
            "saint-aurelia.toml [validation]: `profiles` names a profile",
        ),
        (SOURCE, '[expected]\ninterval = "often"\n', "saint-aurelia.toml [expected]: `interval`"),
        (SOURCE, '[codes]\nunit = "nowhere.csv"\n', "saint-aurelia.toml [codes]: `unit` must be"),
    ],
)
def test_what_is_wrong_is_named(config: Path, capsys, name: str, content: str, told: str):
    path = config / name
    path.parent.mkdir(exist_ok=True)
    with path.open("a") as file:
        file.write(content)
    assert main(["check-config"]) == 2
    assert told in capsys.readouterr().err


def test_a_misspelt_element_of_a_map_is_named_with_its_file(config: Path, capsys):
    path = config / "hl7v2" / "segments" / "pid.toml"
    text = path.read_text()
    assert 'to = "birthDate"' in text
    path.write_text(text.replace('to = "birthDate"', 'to = "brithDate"', 1))
    assert main(["check-config"]) == 2
    told = capsys.readouterr().err
    assert "`pid.toml` [PID[Patient]] of Patient row " in told
    assert "`brithDate` must be an element of Patient" in told


def test_production_sends_no_notice_in_clear_to_another_machine(
    config: Path, capsys, monkeypatch: pytest.MonkeyPatch
):
    path = config / SOURCE
    plain = path.read_text()
    monkeypatch.setenv("HIE_PROFILE", "production")
    for host, tls, code in (("10.0.0.7", "false", 2), ("127.0.0.1", "false", 0), ("h", "true", 0)):
        path.write_text(f'{plain}\n[notify.adt]\nto = "{host}:6662"\ntls = {tls}\n')
        assert main(["check-config"]) == code, host
    path.write_text(f'{plain}\n[notify.adt]\nto = "10.0.0.7:6662"\n')
    assert main(["check-config"]) == 2
    assert "`saint-aurelia.toml` [notify.adt]: `tls` must be true" in capsys.readouterr().err
