"""`hie sensitivity load` and `undo`: lists compiled from release files, and taken back."""

from pathlib import Path

import pytest

from hie.cli import main
from tests.unit.consent.test_closures import release


def test_a_release_is_compiled_into_the_home_and_taken_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("HIE_HOME", str(tmp_path / "home"))
    folder = release(tmp_path / "release")
    compiled = tmp_path / "home" / "sensitivity" / "rxnorm.csv"
    assert main(["sensitivity", "load", "--rxnorm", str(folder)]) == 0
    said = capsys.readouterr()
    assert "12 products and 1 packages compiled" in said.out
    assert "relations" in said.err, "how far it is"
    assert "9014,HIV,of 1433868 68244" in compiled.read_text()
    assert main(["sensitivity", "undo", "rxnorm"]) == 0
    assert not compiled.exists()
    assert main(["sensitivity", "undo", "snomed"]) == 2
    assert main(["sensitivity", "load", "--rxnorm", str(tmp_path / "nothing")]) == 2
    assert "expected one file `RXNCONSO.RRF`, found 0" in capsys.readouterr().err
