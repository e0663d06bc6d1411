"""A trained model as a file: named by its content, with where its numbers come from."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace

from mpi.levels import COMPARISONS
from mpi.model_text import model_text
from mpi.settings import LinkageModel, read_model
from mpi.training.train import Trained

_LETTERS = 10


def finished(trained: Trained) -> LinkageModel:
    """The model as it is read back from its file; its `text` is the file.

    The version is made of the content: the same records and seed give the same model.
    """
    remarks = list(_remarks(trained))
    plain = model_text(replace(trained.model, version=""), remarks)
    version = f"trained-{hashlib.sha256(plain.encode()).hexdigest()[:_LETTERS]}"
    text = model_text(replace(trained.model, version=version), remarks)
    return read_model(text, version)


def _remarks(trained: Trained) -> Iterator[str]:
    notes = trained.notes
    yield "Written by `hie mpi train`. m = P(level | one person), u = P(level | two persons)."
    yield f"Learnt from {notes['records']:,} records by Splink: u from {notes['random_pairs']:,} "
    yield f"random pairs (seed {notes['seed']}), m from pairs that agree on {notes['rules']}."
    yield f"What the records hardly show is drawn towards the model `{notes['from']}`. Pairs that"
    yield "showed a comparison, of two persons and of one:"
    for name in COMPARISONS:
        rested = trained.rested[name]
        yield f"  {name}: {rested.strangers:,.0f} and {rested.matches:,.0f}"
