"""A model written and read again is the same model."""

from dataclasses import replace

from mpi.model_text import model_text
from mpi.settings import read_model
from tests.support.mpi import MODEL


def test_the_committed_model_survives_writing_and_reading():
    text = model_text(MODEL, ["where it comes from"])
    again = read_model(text, "model.toml")
    assert replace(again, text="") == replace(MODEL, text="")
    assert text.startswith("# where it comes from\n")
    assert again.text == text


def test_numbers_and_names_of_a_fitted_model_survive_too():
    first = replace(
        MODEL.frequencies["first"], average=0.00123456789, shares={"zoë": 0.01, "maryann": 1e-7}
    )
    fitted = replace(MODEL, version='a "b"', frequencies={**MODEL.frequencies, "first": first})
    once = model_text(fitted)
    again = read_model(once, "model.toml")
    assert again.version == 'a "b"'
    assert again.frequencies["first"].shares == {"zoë": 0.01, "maryann": 1e-7}
    assert model_text(again) == once


def test_what_a_model_knows_of_households_survives_too():
    birth = {label: replace(level, f=level.u / 2) for label, level in MODEL.levels["birth"].items()}
    families = replace(MODEL, family_bits=-13.5, levels={**MODEL.levels, "birth": birth})
    again = read_model(model_text(families), "model.toml")
    assert replace(again, text="") == replace(families, text="")
    assert (MODEL.family_bits, again.family_bits) == (None, -13.5)
