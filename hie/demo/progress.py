"""A progress line: redrawn on a terminal, one line a second elsewhere."""

import time
from collections import Counter
from collections.abc import Callable
from typing import Final, TextIO

_BAR: Final = 30
_REDRAW_SECONDS: Final = 0.1
_LINE_SECONDS: Final = 1.0


class Progress:
    """Counts steps of a known total and shows them.

    Args:
        total: steps there will be.
        stream: where to write, usually standard output.
        now: seconds on a clock that never goes back.
    """

    def __init__(
        self, total: int, stream: TextIO, now: Callable[[], float] = time.monotonic
    ) -> None:
        self._total = total
        self._stream = stream
        self._now = now
        self._is_terminal = stream.isatty()
        self._begun = self._shown = now()
        self._done = 0
        self._answers: Counter[str] = Counter()

    def step(self, answer: str) -> None:
        """One more message has its answer."""
        self._done += 1
        self._answers[answer] += 1
        pause = _REDRAW_SECONDS if self._is_terminal else _LINE_SECONDS
        if self._now() - self._shown >= pause:
            self._show()

    def finish(self) -> None:
        """Show the end, whatever the time."""
        self._show()
        if self._is_terminal:
            print(file=self._stream)

    def _show(self) -> None:
        self._shown = self._now()
        line = self._line()
        end = "" if self._is_terminal else "\n"
        start = "\r" if self._is_terminal else ""
        print(f"{start}{line}", end=end, file=self._stream, flush=True)

    def _line(self) -> str:
        share = self._done / self._total if self._total else 1.0
        filled = round(share * _BAR)
        seconds = self._now() - self._begun
        rate = self._done / seconds if seconds else 0.0
        answers = " ".join(f"{name} {count:,}" for name, count in sorted(self._answers.items()))
        bar = "#" * filled + "." * (_BAR - filled)
        return f"  [{bar}] {self._done:,}/{self._total:,} {rate:4.0f}/s  {answers}"
