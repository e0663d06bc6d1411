"""A source's own codes: CSV files beside its TOML, checked row by row."""

from pathlib import Path

import pytest

from adapters.source_codes import faults_of
from adapters.source_files import load_sources
from adapters.sources import Source
from adapters.terminology import Concept, ConceptMap, Terminology
from hie.kernel.errors import Category, HieError
from tests.unit.adapters.test_sources import LEAST

HEADER = "code,target,display,system\n"
SEX = ConceptMap("sex", {"F": Concept(target="female", system="http://hl7.org/fhir/sex")})
LOCAL = ConceptMap("local", {})
TERMS = Terminology({"sex": SEX, "local": LOCAL})


def written(folder: Path, files: dict[str, str], more: str = "") -> Path:
    (folder / "lab.toml").write_text(LEAST + more)
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(content)
    return folder


def lab(folder: Path) -> Source:
    (source,) = load_sources(folder, allow_adhoc=False).all()
    return source


def test_files_beside_the_toml_translate_the_map_of_their_name(tmp_path):
    folder = written(tmp_path, {"lab/sex.csv": f"# ours\n{HEADER}1,female,,\n9,,,\n"})
    source = lab(folder)
    assert dict(source.codes["sex"]) == {"1": Concept(target="female"), "9": Concept(target="")}
    assert faults_of(source.id, source.codes, TERMS) == []


def test_the_toml_may_name_a_file_that_several_share(tmp_path):
    files = {"shared/sex.csv": f"{HEADER}1,female,,\n", "lab/sex.csv": f"{HEADER}1,other,,\n"}
    source = lab(written(tmp_path, files, '[codes]\nsex = "shared/sex.csv"\n'))
    assert source.codes["sex"]["1"].target == "female"


@pytest.mark.parametrize("name", ["nowhere.csv", "../sex.csv", "/etc/hostname"])
def test_a_named_file_must_be_there_and_below_the_sources(tmp_path, name):
    folder = written(tmp_path, {}, f'[codes]\nsex = "{name}"\n')
    with pytest.raises(HieError, match=r"lab\.toml \[codes\]: `sex` must be a CSV file"):
        load_sources(folder, allow_adhoc=False)


def test_every_wrong_row_of_a_file_is_named(tmp_path):
    rows = "1,female,,\n1,other,,\n2,x\n,x,,\n3, x,,\n4,x,,not a uri\n"
    folder = written(tmp_path, {"lab/sex.csv": HEADER + rows})
    with pytest.raises(HieError) as caught:
        load_sources(folder, allow_adhoc=False)
    assert caught.value.category is Category.INVALID
    texts = [issue.text for issue in caught.value.issues]
    assert all(text.startswith("`lab/sex.csv`: row ") for text in texts)
    assert [text.split("row ")[1][0] for text in texts] == ["2", "3", "4", "5", "6"]


@pytest.mark.parametrize("content", ["", "code,target\n1,x\n", "\x00\n"])
def test_a_file_without_its_header_is_named(tmp_path, content):
    folder = written(tmp_path, {"lab/sex.csv": content})
    with pytest.raises(HieError, match=r"`lab/sex\.csv`: .*header"):
        load_sources(folder, allow_adhoc=False)


def test_targets_are_checked_against_the_table(tmp_path):
    folder = written(
        tmp_path,
        {
            "lab/sex.csv": f"{HEADER}1,feminine,,http://example.org\n",
            "lab/local.csv": f"{HEADER}GLU,2345-7,Glucose,http://loinc.org\nNA,2951-2,,\n",
            "lab/colour.csv": f"{HEADER}1,red,,\n",
        },
    )
    source = lab(folder)
    faults = sorted(faults_of(source.id, source.codes, TERMS))
    assert [fault.split(":")[0] for fault in faults] == [
        "`lab/colour.csv`",
        "`lab/local.csv`",
        "`lab/sex.csv`",
    ]
    assert "row 2: `system` must be" in faults[1]
    assert "row 1: `target` must be one of female" in faults[2]
