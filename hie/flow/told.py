"""A draft as a statement with its time, and what became of it as findings. Pure."""

from collections.abc import Iterable
from typing import Final

from hie.flow.place import MOVED
from hie.flow.state import DELETED, LATE, OLDER, REGRESSION, Stamp
from hie.flow.weigh import Remark
from hie.kernel.envelope import Draft, Finding, Severity, Submission

#: A time further ahead of the hub's clock is a mistake, and would outlast every later version.
_AHEAD_US: Final = 24 * 3600 * 1_000_000
#: Table 0357: the message was taken.
_TAKEN: Final = "0"
_TEXTS: Final = {
    OLDER: (Severity.NOTE, "a later version is stored; this one changed nothing"),
    LATE: (Severity.NOTE, "came after a later version; put in its place by its event time"),
    REGRESSION: (Severity.WARNING, "its status would fall back; the status stored stays"),
    DELETED: (Severity.WARNING, "it was deleted at a later time; it stays so"),
    MOVED: (
        Severity.ERROR,
        "was filed under another patient before and now is under this message's: a correction, "
        "or a number used twice; compare the two",
    ),
}


def stamp_of(submission: Submission, draft: Draft) -> Stamp | None:
    """When a draft was so; None where nobody can say it anew: it has no key."""
    if draft.event_us is None or not draft.key:
        return None
    latest = submission.received_us + _AHEAD_US
    event_us, sent_us = (
        submission.received_us if us > latest else us for us in (draft.event_us, submission.sent_us)
    )
    return Stamp(event_us, sent_us, submission.message_id)


def is_ahead(submission: Submission) -> bool:
    """Whether a time of the message lies more than a day ahead of the hub's clock."""
    latest = submission.received_us + _AHEAD_US
    return submission.sent_us > latest or any(
        d.event_us is not None and d.event_us > latest for d in submission.drafts
    )


def findings_of(submission: Submission, remarks: Iterable[Remark]) -> tuple[Finding, ...]:
    """What the message's sender should know, once each."""
    found = [_finding(remark) for remark in remarks]
    if is_ahead(submission):
        text = "a time lies more than a day ahead of the hub's clock; it orders no versions"
        found.append(Finding(code=_TAKEN, rule="time-ahead", text=text, severity=Severity.WARNING))
    return tuple(dict.fromkeys(found))


def _finding(remark: Remark) -> Finding:
    severity, text = _TEXTS[remark.rule]
    return Finding(code=_TAKEN, rule=remark.rule, text=f"{remark.type}: {text}", severity=severity)
