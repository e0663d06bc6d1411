"""Plausible laboratory results: a number near its range, a limit, or one of a few answers."""

import random

from hie.demo.events import Result
from hie.demo.lists import LabTest


def measure(test: LabTest, rng: random.Random) -> Result:
    """One result of a test, with its flag (HL7 table 0078)."""
    if test.answers:
        answer = rng.choice(test.answers)
        return Result(test=test, value=answer, flag="N" if answer == test.normal else "A")
    if test.less_than is not None:
        return Result(test=test, value=f"{test.less_than:g}", flag="N", is_below_limit=True)
    low, high = test.low or 0.0, test.high or 1.0
    value = low + (high - low) * (0.5 + test.spread * rng.gauss(0, 0.24))
    value = round(max(value, low / 3), test.digits)
    return Result(test=test, value=f"{value:.{test.digits}f}", flag=_flag(value, low, high))


def _flag(value: float, low: float, high: float) -> str:
    if value < low:
        return "L"
    return "H" if value > high else "N"
