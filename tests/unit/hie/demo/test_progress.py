"""The progress line: a bar on a terminal, a line a second elsewhere."""

import io

from hie.demo.progress import Progress


class _Terminal(io.StringIO):
    def isatty(self):
        return True


class _Clock:
    def __init__(self):
        self.seconds = 0.0

    def __call__(self):
        return self.seconds


def test_without_a_terminal_there_is_one_line_a_second():
    clock, out = _Clock(), io.StringIO()
    progress = Progress(100, out, clock)
    for _ in range(100):
        clock.seconds += 0.05
        progress.step("AA")
    progress.finish()
    lines = out.getvalue().splitlines()
    assert 4 <= len(lines) <= 6  # five seconds, and the end
    assert "100/100" in lines[-1]
    assert "\r" not in out.getvalue()


def test_on_a_terminal_the_line_is_redrawn():
    clock, out = _Clock(), _Terminal()
    progress = Progress(10, out, clock)
    for _ in range(10):
        clock.seconds += 0.2
        progress.step("AA")
    progress.finish()
    assert out.getvalue().count("\r") == 11
    assert out.getvalue().count("\n") == 1


def test_the_line_counts_by_answer():
    clock, out = _Clock(), io.StringIO()
    progress = Progress(4, out, clock)
    for answer in ("AA", "AE", "AA", "201"):
        clock.seconds += 0.5
        progress.step(answer)
    progress.finish()
    last = out.getvalue().splitlines()[-1]
    assert last == "  [##############################] 4/4    2/s  201 1 AA 2 AE 1"


def test_nothing_to_do_is_all_done():
    out = io.StringIO()
    Progress(0, out, _Clock()).finish()
    assert "0/0" in out.getvalue()
