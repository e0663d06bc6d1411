"""What codes mean, in the words a steward reads; a test holds that none is missing."""

from collections.abc import Mapping
from typing import Final

from mpi.levels import Veto
from mpi.model import DecisionKind, TaskKind

QUESTIONS: Final[Mapping[TaskKind, str]] = {
    TaskKind.POSSIBLE: "Is this record one of the persons proposed?",
    TaskKind.MARGIN: "Several persons fit this record about as well: which one is it?",
    TaskKind.TWIN: "Twins or two records of one child? The household agrees, the first name not.",
    TaskKind.OVERLAY: "The source sent another human's data under this number: take it over?",
    TaskKind.DRIFT: "The record no longer fits its person: does it still belong there?",
    TaskKind.DUPLICATE_PERSON: "Are these persons one human?",
    TaskKind.SOURCE_CONFLICT: "The source merged two numbers that look like two humans: are they?",
    TaskKind.SOURCE_LINK: "The source says that these persons are one human: are they?",
    TaskKind.SOURCE_UNLINK: "The source says that this person is two humans: which records leave?",
}
VETOES: Final[Mapping[Veto, str]] = {
    Veto.FIRST_NAME: "the first names differ",
    Veto.SURNAME: "the surnames differ",
    Veto.BIRTH_DATE: "the birth dates differ",
    Veto.TWIN: "same birth date, surname and home but another first name: may be twins",
    Veto.GENERATION: "same name, but a generation apart",
    Veto.SUFFIX: "the suffixes differ, as of father and son",
    Veto.SSN: "the social security numbers differ",
    Veto.BIRTH_ORDER: "the places in a multiple birth differ",
    Veto.SEX: "all agrees but the sex",
    Veto.SAME_AUTHORITY: "one source keeps both under different numbers",
    Veto.PLACEHOLDER_NAME: "a name stands for an unknown one, as `BABY BOY` does",
    Veto.NO_FIRST_NAME: "a first name is missing",
    Veto.NO_BIRTH_DATE: "a birth date is missing",
}
#: What may be decided, and what it does.
CHOICES: Final[Mapping[str, str]] = {
    "link": "The record moves to the person named; a person left without records redirects there.",
    "merge": "The two persons become one; the id that goes redirects to the one kept.",
    "reject": "None of those proposed: records are held apart, and nobody asks again.",
    "confirm": "The record stays where it is, and questions about that end.",
    "unlink": "The record gets a person of its own and is held apart from those it was with.",
    "split": "The records named get a new person together, apart from those that stay.",
    "overlay-accept": "The data held back replaces what is stored of the record.",
    "overlay-refuse": "The data held back is dropped; the record stays as it is.",
    "review-consents": "Consents of the persons a decision changed hold as they are again.",
    "undo": "The decision is taken back; what was touched since is left, and named.",
}
DECISIONS: Final[Mapping[str, str]] = {
    DecisionKind.NEW.value: "a person of its own for a new record",
    DecisionKind.LINK.value: "a new record linked by the index",
    DecisionKind.RELINK.value: "a record moved to another person",
    DecisionKind.UNLINK.value: "a record given a person of its own",
    DecisionKind.MERGE.value: "two persons made one",
    DecisionKind.UNMERGE.value: "a merge taken back",
    DecisionKind.UNDO.value: "a decision taken back",
    DecisionKind.SOURCE_MERGE.value: "a merge or move by the source",
    DecisionKind.REJECT.value: "two persons held apart",
    DecisionKind.CONFIRM.value: "a record confirmed where it is",
    DecisionKind.OVERLAY_HOLD.value: "contradicting data held back",
    DecisionKind.FLAG.value: "a steward asked",
}
COMPARISONS: Final[Mapping[str, str]] = {
    "name": "name",
    "middle": "further given names",
    "birth": "birth date",
    "sex": "sex",
    "suffix": "suffix",
    "birth_order": "place in a multiple birth",
    "household": "address and telephone",
    "email": "e-mail",
    "ssn": "social security number",
    "identifier": "other identifiers",
    "mother": "mother's name",
}


def veto(code: str) -> dict[str, str]:
    """A veto as code and words."""
    return {"code": code, "text": VETOES.get(Veto(code), code)}
