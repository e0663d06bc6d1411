"""How far a long command is, on standard error."""

import sys
import time
from typing import TextIO

#: Between two drawings of the bar, and between two lines where nobody watches, in seconds.
REDRAW = 0.1
LINE_EVERY = 10.0
_WIDTH = 30


class ProgressBar:
    """One stage after the other: a bar on a terminal, else a line now and then.

    Args:
        words: what each stage is called; a stage that is not named is not shown.
        stream: to write to.
    """

    def __init__(self, words: dict[str, str], stream: TextIO | None = None) -> None:
        self._words = words
        self._stream = stream or sys.stderr
        self._is_terminal = self._stream.isatty()
        self._stage = ""
        self._started = self._shown = 0.0

    def __call__(self, stage: str, done: int, total: int) -> None:
        """Where the work is."""
        now = time.monotonic()
        if stage != self._stage:
            self._stage, self._started, self._shown = stage, now, now
        is_end = done >= total
        wait = REDRAW if self._is_terminal else LINE_EVERY
        if stage in self._words and (is_end or now - self._shown >= wait):
            self._shown = now
            self._show(done, total, now - self._started, is_end=is_end)

    def _show(self, done: int, total: int, seconds: float, *, is_end: bool) -> None:
        share = done / total if total else 1.0
        words = f"{self._words[self._stage]:<12}"
        left = "" if is_end or not done else f", {seconds / share - seconds:.0f} s left"
        text = f"{words} {share:4.0%}  {seconds:.0f} s{left}"
        if not self._is_terminal:
            print(text, file=self._stream, flush=True)
            return
        full = int(share * _WIDTH)
        bar = "#" * full + "-" * (_WIDTH - full)
        end = "\n" if is_end else ""
        print(
            f"\r{words} [{bar}] {share:4.0%}  {seconds:.0f} s{left}\x1b[K",
            end=end,
            file=self._stream,
            flush=True,
        )

    def stop(self) -> None:
        """Leave the line of a bar that did not come to its end."""
        if self._is_terminal:
            print(file=self._stream)
