"""The demo's lists: read as typed values; what is missing is named."""

import shutil

import pytest

from hie.demo.lists import load_lists
from hie.kernel.errors import Category, HieError


@pytest.fixture
def folder(config, tmp_path):
    return shutil.copytree(config / "demo", tmp_path / "demo")


def test_every_name_in_a_list_leads_to_an_entry(scene):
    clinical = scene.lists.clinical
    for row in (*clinical.conditions, *clinical.reasons):
        assert set(row.medicines) <= set(clinical.medicines)
        assert set(row.panels) <= set(clinical.panels)
    for reason in clinical.reasons:
        assert set(reason.vaccines) <= set(clinical.vaccines)
        assert reason.setting in {note.setting for note in clinical.notes}


def test_towns_name_hospitals_that_exist(scene):
    hospitals = {s.source for s in scene.lists.senders.values() if s.kind == "hospital"}
    assert {town.hospital for town in scene.lists.places.towns} == hospitals


def test_clinicians_have_numbers_no_provider_has(scene):
    numbers = [c.number for c in scene.lists.names.clinicians]
    assert len(set(numbers)) == len(numbers)
    assert all(len(n) == 10 and n.startswith("9") for n in numbers)


@pytest.mark.parametrize(
    ("file", "old", "new", "named"),
    [
        ("world.toml", "[heroine]", "[hero]", "heroine"),
        ("senders.toml", 'wire = "plain"', 'wires = "plain"', "senders.toml"),
        ("names.toml", "[nickname]", "[nick]", "nickname"),
        ("labs.toml", "[panel.cbc]", "[panel.cbc", "labs.toml"),
    ],
)
def test_a_list_that_cannot_be_read_is_named(folder, file, old, new, named):
    path = folder / file
    path.write_text(path.read_text(encoding="utf-8").replace(old, new, 1), encoding="utf-8")
    with pytest.raises(HieError) as caught:
        load_lists(folder)
    assert caught.value.category is Category.INVALID
    assert named in caught.value.text


def test_a_missing_list_is_named(folder):
    (folder / "places.toml").unlink()
    with pytest.raises(HieError, match=r"places\.toml"):
        load_lists(folder)
