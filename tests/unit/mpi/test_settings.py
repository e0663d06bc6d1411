"""`config/mpi`: every fault names file, key and the kind of value expected."""

import shutil
from pathlib import Path

import pytest

from hie.kernel.errors import Category, HieError
from mpi.settings import load_model, load_mpi_settings
from tests.support.mpi import MODEL, SETTINGS
from tests.support.tree import ROOT

FOLDER = ROOT / "config" / "mpi"


def changed(tmp_path: Path, file: str, old: str, new: str) -> Path:
    """A copy of the folder with one text replaced."""
    folder = Path(shutil.copytree(FOLDER, tmp_path / "mpi"))
    text = (folder / file).read_text()
    assert old in text
    (folder / file).write_text(text.replace(old, new, 1))
    return folder


@pytest.mark.parametrize(
    ("file", "old", "new", "expected"),
    [
        ("linkage.toml", 'version = "', 'verse = "', "`version`: expected a string"),
        ("linkage.toml", "= -20.0", "= []", "`prior_bits`: expected a number"),
        ("linkage.toml", "[thresholds]", "[levels]", "key `thresholds`: expected a table"),
        ("linkage.toml", "margin = 3.0", "margin = true", "`thresholds.margin`: expected a number"),
        ("linkage.toml", "m = 0.78,", "m = 1.78,", "`comparison.name.exact`: expected m and u"),
        ("linkage.toml", "first-typo =", "first-tpyo =", "name.first-tpyo`: expected a"),
        ("linkage.toml", '= ["ssn"]', '= "ssn"', "`blocking.key[1].parts`: expected an"),
        ("linkage.toml", "[[blocking.key]]", "[blocking.key]", "`linkage.toml`: must be TOML"),
        ("linkage.toml", '["first", "birth", "mbi"]', '["mbi"]', "].fields`: expected two or"),
        ("linkage.toml", '["first", "birth", "mbi"]', '["frist", "mbi"]', "].fields`: expected"),
        ("linkage.toml", '["first", "birth", "mbi"]', '["first", "birth"]', "more than names"),
        ("linkage.toml", '["first", "birth", "mbi"]', '["first", "mbi*"]', "`*` only at birth"),
        ("linkage.toml", "fuzzy = 9e-13", "", "`combination[0].exact`: expected a probability"),
        ("defaults.toml", "[phone]", "[telephone]", "`defaults.toml` key `phone`: expected a"),
        ("defaults.toml", "'666\\d{6}'", "'666('", "`ssn.patterns`: expected regular"),
        ("defaults.toml", "phone = 12", 'phone = "12"', "key `shared.phone`: expected a number"),
        ("normalize.toml", 'jnr = "jr"', "jnr = 1", "key `name.suffix.jnr`: expected a string"),
        ("given_names.csv", "\nname\n", "\nnom\n", "expected a CSV file with a column `name`"),
    ],
)  # fmt: skip
def test_a_fault_names_its_file_and_key(
    tmp_path: Path, file: str, old: str, new: str, expected: str
):
    with pytest.raises(HieError) as raised:
        load_mpi_settings(changed(tmp_path, file, old, new))
    assert raised.value.category is Category.INVALID
    assert expected in raised.value.text


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(HieError, match=r"linkage.toml`: expected a file that can be read"):
        load_model(tmp_path / "linkage.toml")


@pytest.mark.parametrize("content", [b"[columns", b"# \xe9"])
def test_a_file_that_is_no_toml_in_utf_8_is_named(tmp_path: Path, content: bytes):
    (tmp_path / "linkage.toml").write_bytes(content)
    with pytest.raises(HieError, match=r"`linkage.toml`: must be TOML in UTF-8"):
        load_model(tmp_path / "linkage.toml")


def test_a_key_must_be_an_array_of_tables(tmp_path: Path):
    folder = changed(tmp_path, "linkage.toml", "[blocking]\n", "[blocking]\nkey = 3\n")
    text = (folder / "linkage.toml").read_text().split("[[blocking.key]]")[0]
    (folder / "linkage.toml").write_text(text)
    with pytest.raises(HieError, match=r"key `blocking.key`: expected an array of tables"):
        load_model(folder / "linkage.toml")


def test_the_shared_limits_are_those_that_keys_name():
    named = {key.shared for key in MODEL.keys if key.shared}
    assert named == set(SETTINGS.defaults.shared)


def test_the_given_names_are_folded():
    assert all(name == name.lower() and name.isalpha() for name in SETTINGS.given_names)
