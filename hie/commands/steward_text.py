"""What stewards' commands print: tasks side by side, decisions, figures, as lines of text."""

import argparse
from collections.abc import Iterator
from typing import Any, Final

from hie.flow.dossier import QueueEntry
from hie.kernel.clock import SECOND_US
from hie.kernel.errors import Category, HieError

Json = dict[str, Any]
WIDTH: Final = 44
_HOUR_US: Final = 3_600 * SECOND_US
#: Of each element of a Patient, how a value is written on one line.
_PARTS: Final = {
    "name": ("prefix", "given", "family", "suffix"),
    "identifier": ("value", "system"),
    "telecom": ("system", "value"),
    "address": ("line", "city", "state", "postalCode"),
}


def line(entry: QueueEntry, now_us: int) -> str:
    """A task on one line: number, priority, kind, state, age, best bits, vetoes."""
    task, best = entry.task, entry.candidates[:1]
    hours = (now_us - task.opened_us) / _HOUR_US
    cells = (
        str(task.id),
        str(task.priority),
        task.kind.value,
        task.assignee or task.state.value,
        f"{hours:.0f}h" if hours < 72 else f"{hours / 24:.0f}d",
        f"{best[0].bits:.1f}" if best else "-",
        ",".join(veto.value for veto in best[0].vetoes) if best else "",
    )
    return "\t".join(cells).rstrip()


def task(told: Json) -> Iterator[str]:
    """Both sides of a task, element by element, then how they compare."""
    yield f"task {told['id']}: {told['kind']}, {told['state']}, priority {told['priority']}"
    yield told["question"]
    others = told["others"]
    if told["held"]:
        others = [{"id": "held back", "golden": told["held"], "comparison": None}]
    for other in others:
        yield ""
        yield from _side_by_side(told["subject"], other)
        yield from _comparison(other["comparison"])
    yield ""
    for choice in told["choices"]:
        yield f"{choice['decision']:<16}{choice['effect']}"
    for event in told["history"]:
        yield f"{event['at']}\t{event['actor']}\t{event['action']}\t{event['note'] or ''}".rstrip()


def decision(told: Json) -> str:
    """A decision on one line: number, time, kind, who, why, and whether it holds."""
    state = "taken back" if len(told["taken_back_by"]) % 2 else "holds"
    cells = (told["id"], told["at"], told["kind"], told["actor"], told["reason"], state)
    return "\t".join(_plain(str(cell)) for cell in cells)


def done(told: Json) -> Iterator[str]:
    """What a decision did, or would do."""
    number = told["decision"]
    head = f"decision {number}: " if number else "would do: "
    yield f"{head}{told['kind']}, {len(told['persons'])} persons, {len(told['moves'])} records"
    for move in told["moves"]:
        yield f"moved\t{move['record']}\t{move['from']}\t{move['to']}"
    for kind, count in sorted(told["resources"].items()):
        yield f"resources\t{kind}\t{count}"
    left = told["left_where_they_are"]
    for item in (*left["records"], *left["resources"]):
        yield f"left, touched since\t{item}"
    if told["corrections"]["number"]:
        yield f"corrections\t{told['corrections']['number']}\tsee `hie mpi corrections {number}`"


def preview(told: Json) -> Iterator[str]:
    """What a decision would do, and each golden Patient before it and after it."""
    yield from done(told)
    for person, after in told["after"].items():
        before = told["before"].get(person)
        yield ""
        left = {"id": f"{person} before", "golden": before or {}}
        yield from _side_by_side(left, {"id": "after", "golden": after or {}})
        if after is None:
            yield "no records left: the id redirects"


def figures(told: Json) -> Iterator[str]:
    """The figures that fit on a screen."""
    duplicates, queue = told["duplicates"], told["queue"]
    yield f"duplicate rate\t{duplicates['rate']:.4%}\t{duplicates['definition']}"
    yield f"records\t{duplicates['records']}\tin pairs {duplicates['records_in_pairs']}"
    yield f"persons\t{duplicates['persons']}\tpairs {duplicates['pairs']}"
    yield f"open tasks\t{queue['open']}\toverdue {queue['overdue']}, deferred {queue['deferred']}"
    for kind, ages in queue["age_seconds"].items():
        days = ages["oldest"] / 86_400
        yield f"age of {kind}\t{ages['open']} open\toldest {days:.1f} days"
    for window in told["windows"]:
        new = window["new_records"]
        yield (
            f"{window['days']} days\t{new['number']} new records\t"
            f"auto {new['auto_rate']:.1%}, review {new['review_rate']:.1%}, "
            f"new {new['new_rate']:.1%}; undone {window['undo_rate']:.1%}"
        )
    for each in told["drift"]:
        yield f"drift of {each['comparison']}\t{each['index']:.3f}\tof {each['links']} links"
    for full in told["full_keys"]:
        yield f"full keys\t{full['kind']}\t{full['keys']}, refused {full['refused_records']}"


def require_reason(arguments: argparse.Namespace) -> None:
    """Refuse a decision that says nothing of why.

    Raises:
        HieError: INVALID.
    """
    is_decision = "reason" in arguments and not arguments.preview
    if is_decision and not arguments.reason.strip():
        text = "`--reason`: expected why, in your words; it is kept sealed"
        raise HieError(Category.INVALID, text)


def _side_by_side(subject: Json, other: Json) -> Iterator[str]:
    yield f"{'':<16}{subject['id']:<{WIDTH}}{other['id']}"
    mine, theirs = subject["golden"], other["golden"]
    for element in dict.fromkeys((*mine, *theirs)):
        left, right = _values(element, mine), _values(element, theirs)
        for number in range(max(len(left), len(right))):
            label = element if number == 0 else ""
            one = left[number] if number < len(left) else ""
            two = right[number] if number < len(right) else ""
            mark = " " if one == two else "*"
            yield f"{label:<15}{mark}{one[: WIDTH - 2]:<{WIDTH}}{two[:WIDTH]}".rstrip()


def _values(element: str, patient: Json) -> list[str]:
    value = patient.get(element)
    values = value if isinstance(value, list) else [] if value is None else [value]
    return [_plain(_text(element, each)) for each in values]


def _text(element: str, value: Any) -> str:
    if not isinstance(value, dict):
        return str(value)
    parts = _PARTS.get(element, ())
    found = [value[part] for part in parts if part in value]
    words = [" ".join(part) if isinstance(part, list) else str(part) for part in found]
    return " ".join(words) or "(see --json)"


def _comparison(told: Json | None) -> Iterator[str]:
    if told is None:
        return
    for step in told["waterfall"]:
        yield f"  {step['step']:<24}{step['text']:<48}{step['bits']:>8.2f}{step['total']:>9.2f}"
    for veto in told["vetoes"]:
        yield f"  guard: {veto['text']}"


def _plain(text: str) -> str:
    """Text without what would command a terminal."""
    return "".join(c if c.isprintable() else " " for c in text)
