"""The answer to a query as lines for a person at a terminal. Pure."""

from collections.abc import Iterator
from typing import Final

from adapters.hl7v2 import er7
from adapters.hl7v2.er7 import Segment
from hie.kernel.errors import HieError

_CODES: Final = {"OK": "found", "NF": "nothing found", "AE": "not answered", "AR": "refused"}
#: PID fields shown, and what they are called.
_FIELDS: Final = {5: "name", 7: "born", 8: "sex", 11: "address", 13: "phone", 14: "work phone"}


def told_in(answer: bytes) -> Iterator[str]:
    """What a response says: its status, a line for each person, and where it goes on.

    Nothing for an answer that is no response to a query; never raises.
    """
    try:
        message = er7.parse(answer)
    except HieError:
        return
    qak = message.first("QAK")
    if qak is None:
        return
    status = qak.value(2)
    yield f"{status}: {_CODES.get(status, 'unknown status')}"
    for err in message.all("ERR"):
        yield _printable(f"{err.field(2)} {err.value(8)}")
    for pid in message.all("PID"):
        yield _printable(_person(pid))
    dsc = message.first("DSC")
    if dsc is not None and dsc.value(1):
        yield f"more: send the query again with DSC|{_printable(dsc.field(1))}|I"


def _person(pid: Segment) -> str:
    numbers = ", ".join(
        f"{one.value(1)} ({one.component(4).sub(1) or one.component(4).sub(2)})"
        for one in pid.reps(3)
    )
    parts = [f"{name} {' '.join(text for text in _words(pid, n))}" for n, name in _FIELDS.items()
             if any(_words(pid, n))]  # fmt: skip
    return "; ".join([numbers, *parts])


def _words(pid: Segment, number: int) -> list[str]:
    """The valued components of a field's last repetition, but for codes at its end."""
    found = [one for one in pid.reps(number) if one.value(1)]
    return [str(part.text) for part in found[0].components[:5] if part.text] if found else []


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else " " for c in text)
