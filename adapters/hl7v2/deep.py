"""hl7apy's own parser and validator, for `hie lint --deep` and as an oracle in tests.

Tens of milliseconds a message, and it stops at odd places: nothing of the hub waits for it.
"""

import re
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hl7apy.consts import VALIDATION_LEVEL
from hl7apy.parser import parse_message

from adapters.hl7v2 import er7
from hie.kernel.errors import HieError

_QUOTE: Final = re.compile(r"Value .* not in table", re.DOTALL)
_OLD_MARKS: Final = "^~\\&#"
_MOST_PROBLEMS: Final = 100
_LONGEST: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class DeepVerdict:
    """What hl7apy's own parser and validator say.

    Attributes:
        is_valid: whether it found no error.
        problems: in its words, without the values it quotes.
        has_stopped: it gave up before it had looked at everything.
    """

    is_valid: bool
    problems: tuple[str, ...]
    has_stopped: bool = False


def deep_verdict(payload: bytes) -> DeepVerdict:
    """hl7apy's opinion of a message; never raises, whatever hl7apy does.

    Line ends are brought to CR first, and the fifth encoding character is dropped below v2.7,
    which hl7apy cannot read.
    """
    try:
        message = er7.parse(payload)
    except HieError as error:
        return DeepVerdict(is_valid=False, problems=(error.text,), has_stopped=True)
    text = "\r".join(segment.raw for segment in message.segments) + "\r"
    if message.segments[0].value(2) == _OLD_MARKS and message.version < "2.7":
        text = text.replace(_OLD_MARKS, _OLD_MARKS[:-1], 1)
    with tempfile.TemporaryDirectory() as folder:
        return _judged(text, Path(folder) / "report")


def _judged(text: str, report: Path) -> DeepVerdict:
    stop = ""
    try:
        parsed = parse_message(text, validation_level=VALIDATION_LEVEL.TOLERANT)
        parsed.validate(report_file=str(report))
    except (Exception, RecursionError) as error:  # noqa: BLE001 - whatever hl7apy does, it is an opinion
        stop = f"stopped: {type(error).__name__}"  # its text may quote the message
    lines = report.read_text(encoding="utf-8", errors="replace") if report.exists() else ""
    problems = [_unquoted(line) for line in lines.splitlines()[:_MOST_PROBLEMS]]
    # What it writes into its report it may raise as well, the first of them.
    has_stopped = bool(stop) and not any(line.startswith("Error") for line in problems)
    if has_stopped:
        problems.append(stop)
    is_valid = not has_stopped and not any(line.startswith("Error") for line in problems)
    return DeepVerdict(is_valid=is_valid, problems=tuple(problems), has_stopped=has_stopped)


def _unquoted(text: str) -> str:
    """A remark of hl7apy without the value it quotes."""
    return _QUOTE.sub("Value not in table", text)[:_LONGEST]
