"""From what a steward chose to what is asked of the ledger (pure)."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from hie.flow.decisions import (
    Confirm,
    Link,
    Merge,
    Overlay,
    Reject,
    Request,
    ReviewConsents,
    Split,
    Unlink,
)
from hie.flow.dossier import CHOICES, QueueEntry
from hie.kernel.errors import Category, HieError
from hie.kernel.ids import PersonId, SourceRecordId
from hie.staff.model import LIST, Field, number_in
from hie.staff.problem import at, invalid
from mpi.model import Candidate
from mpi.repository.queue import QueuedTask

Args = Mapping[str, Any]
#: What a steward may decide without a task.
DIRECT: Final = (
    "merge", "link", "unlink", "split", "reject", "confirm", "review-consents",
)  # fmt: skip
WORDS: Final = 2_000
REASON = Field(
    name="reason",
    text="why, in your words; kept sealed, shown to stewards",
    is_required=True,
    most=WORDS,
)
_PERSON = Field(name="person", text="id of the person meant; of a task, one of those proposed")
_RECORDS = Field(name="records", text="ids of the records that leave", kind=LIST, most=500)
TASK_BODY: Final = (
    Field(
        name="decision",
        text="what is decided",
        is_required=True,
        choices=tuple(dict.fromkeys(choice for kind in CHOICES.values() for choice in kind)),
    ),
    _PERSON,
    Field(name="kept", text="of a merge, the id that stays; the older person's unless said"),
    Field(name="record", text="id of the record, where the task is about a person"),
    _RECORDS,
)
DIRECT_BODY: Final = (
    Field(name="decision", text="what is decided", is_required=True, choices=DIRECT),
    _PERSON,
    Field(name="other", text="of a rejection, the other person"),
    Field(name="kept", text="of a merge, the id that stays"),
    Field(name="gone", text="of a merge, the id that redirects from then on"),
    Field(name="record", text="id of the record"),
    _RECORDS,
    Field(name="about", text="of `review-consents`, the number of the decision"),
)


def of_task(
    task: QueuedTask, candidates: Sequence[Candidate], args: Args, older: PersonId | None
) -> list[Request]:
    """What a decision about a task asks of the ledger: one request, or one per candidate.

    Args:
        task: the task.
        candidates: whom it proposes.
        args: the members of `TASK_BODY`.
        older: of the subject and the person meant, who was there first; kept by a merge.

    Raises:
        HieError: BUSINESS_RULE for a decision that is no answer to the task; INVALID where
            it needs something that is not said.
    """
    choice = args["decision"]
    if choice not in CHOICES[task.kind]:
        text = f"`{choice}` answers no `{task.kind.value}` task: {', '.join(CHOICES[task.kind])} do"
        raise HieError(Category.BUSINESS_RULE, text, [at("#/body/decision", text)])
    if choice == "reject":
        return _rejections(task, candidates)
    if choice.startswith("overlay"):
        return [Overlay(task=task.id, is_accepted=choice == "overlay-accept")]
    if choice in ("link", "merge"):
        person = meant(task, candidates, args)
        return [_join(task, person, args, older)]
    return [_about_records(task, args)]


def meant(task: QueuedTask, candidates: Sequence[Candidate], args: Args) -> PersonId:
    """The person a decision means: named, or the only one proposed.

    Raises:
        HieError: INVALID for one that was not proposed, or for none where several were.
    """
    proposed = list(dict.fromkeys(c.person_id for c in candidates))
    named = args["person"]
    if named is None and len(proposed) == 1:
        return proposed[0]
    if named in proposed:
        return PersonId(named)
    raise invalid([at("#/body/person", f"expected one of the {len(proposed)} persons proposed")])


def older_of(entry: QueueEntry, args: Args, since: Mapping[PersonId, int]) -> PersonId | None:
    """Of the two sides of a merge, the person that has been there longer; else None."""
    if args["decision"] != "merge":
        return None
    sides = (entry.task.person_id, meant(entry.task, entry.candidates, args))
    return min(sides, key=lambda person: (since.get(person, 0), person))


def direct(args: Args) -> Request:
    """What a decision without a task asks of the ledger.

    Raises:
        HieError: INVALID where a member is missing that it needs.
    """
    return _DIRECT[args["decision"]](args)


def _rejections(task: QueuedTask, candidates: Sequence[Candidate]) -> list[Request]:
    """None of those proposed is the subject."""
    proposed = list(dict.fromkeys(c.person_id for c in candidates))
    if not proposed:
        raise invalid([at("#/body/decision", "the task proposes nobody: expected `confirm`")])
    # The first answers the task, which a part of the answer would close as well.
    return [
        Reject(one=task.person_id, other=other, task=task.id if other == proposed[0] else None)
        for other in proposed
    ]


def _join(task: QueuedTask, person: PersonId, args: Args, older: PersonId | None) -> Request:
    if args["decision"] == "link":
        return Link(record=_record(task, args), person=person, task=task.id)
    sides = (task.person_id, person)
    kept = args["kept"] or older
    if kept not in sides:
        raise invalid([at("#/body/kept", "expected one of the two persons that become one")])
    gone = sides[1] if kept == sides[0] else sides[0]
    return Merge(kept=PersonId(kept), gone=gone, task=task.id)


def _about_records(task: QueuedTask, args: Args) -> Request:
    choice = args["decision"]
    if choice == "split":
        records = frozenset(SourceRecordId(each) for each in args["records"] or ())
        if not records:
            raise invalid([at("#/body/records", "expected the records that leave", "required")])
        return Split(person=task.person_id, records=records, task=task.id)
    record = _record(task, args)
    if choice == "unlink":
        return Unlink(record=record, task=task.id)
    return Confirm(record=record, task=task.id)


def _record(task: QueuedTask, args: Args) -> SourceRecordId:
    """The record a decision is about: the task's, or one named where it is about persons."""
    named = args["record"] or task.record_id
    if named is None:
        raise invalid([at("#/body/record", "expected the record meant", "required")])
    return SourceRecordId(named)


def _needed(args: Args, name: str) -> str:
    value = args.get(name)
    if not value:
        text = f"`{args['decision']}` needs it"
        raise invalid([at(f"#/body/{name}", text, "required")])
    return str(value)


def _number(args: Args, name: str) -> int:
    number = number_in(_needed(args, name))
    if number is None:
        raise invalid([at(f"#/body/{name}", "expected the number of a decision")])
    return number


def _split(args: Args) -> Request:
    _needed(args, "records")
    records = frozenset(SourceRecordId(each) for each in args["records"])
    return Split(person=PersonId(_needed(args, "person")), records=records)


_DIRECT: Final[Mapping[str, Callable[[Args], Request]]] = {
    "merge": lambda a: Merge(kept=PersonId(_needed(a, "kept")), gone=PersonId(_needed(a, "gone"))),
    "link": lambda a: Link(
        record=SourceRecordId(_needed(a, "record")), person=PersonId(_needed(a, "person"))
    ),
    "unlink": lambda a: Unlink(record=SourceRecordId(_needed(a, "record"))),
    "split": _split,
    "reject": lambda a: Reject(
        one=PersonId(_needed(a, "person")), other=PersonId(_needed(a, "other"))
    ),
    "confirm": lambda a: Confirm(record=SourceRecordId(_needed(a, "record"))),
    "review-consents": lambda a: ReviewConsents(decision=_number(a, "about")),
}
