"""HL7 v2.8.2 chapter 2, 2.10.3 batch protocol and 2.14 BHS, BTS, FHS, FTS."""

import os
import random
from itertools import count

import pytest

from adapters.hl7v2.batch import Enclosed, Envelope, Overlong, Splitter, Stray, Unit, is_batch
from adapters.hl7v2.batch_answer import BatchLedger
from adapters.hl7v2.batch_intake import batch_control_id
from adapters.hl7v2.rules import Place
from hie.kernel.envelope import Finding, Severity

MANY = 40_000 if os.environ.get("HIE_TEST_LONG") == "1" else 2_000


def split(data: bytes, cuts: list[int] | None = None, *, most: int = 1_000) -> list[Unit]:
    splitter = Splitter(message_bytes=most, head_bytes=10)
    units: list[Unit] = []
    last = 0
    for cut in [*sorted(cuts or []), len(data)]:
        units += splitter.receive(data[last:cut])
        assert splitter.held_bytes <= max(most, 8 * 1024) + len(data[last:cut]) + 10
        last = cut
    return units + splitter.close()


FHS, BHS = Envelope("FHS", b"FHS|^~\\&|A"), Envelope("BHS", b"BHS|^~\\&|A")
ONE, TWO = Enclosed(b"MSH|^~\\&|A\rPID|1\r"), Enclosed(b"MSH|^~\\&|B\r")
WHOLE = b"FHS|^~\\&|A\rBHS|^~\\&|A\rMSH|^~\\&|A\rPID|1\rMSH|^~\\&|B\rBTS|2\rFTS|1\r"


@pytest.mark.parametrize(
    ("data", "units"),
    [
        (WHOLE, [FHS, BHS, ONE, TWO, Envelope("BTS", b"BTS|2"), Envelope("FTS", b"FTS|1")]),
        (b"\xef\xbb\xbf\r\nBHS|^~\\&|A\nMSH|^~\\&|B\n", [BHS, TWO]),
        (b"MSH|^~\\&|B\r\nMSH|^~\\&|B", [TWO, TWO]),
        (b"\x0bMSH|^~\\&|B\r\x1c\r\x0bMSH|^~\\&|B\r\x1c\r", [TWO, TWO]),
        (b"BHS#*~!@#X\rMSH#*~!@#Y", [Envelope("BHS", b"BHS#*~!@#X"), Enclosed(b"MSH#*~!@#Y\r")]),
        (b"BTS", [Envelope("BTS", b"BTS")]),
        (b"BTSX|1\rMSHA|\r", [Stray(11)]),
        (b"BHS|^~\\&|A\rNTE|1\rMSH|^~\\&|B\r", [BHS, Stray(5), TWO]),
        (b"", []),
        (b"\r\n\r\n", []),
        (b"MSH|" + b"x" * 2_000 + b"\rMSH|^~\\&|B", [Overlong(b"MSH|xxxxxx"), TWO]),
    ],
    ids=str,
)
def test_a_file_is_cut_into_its_units(data: bytes, units: list[Unit]):
    assert split(data) == units
    assert split(data, list(range(len(data)))) == units


def test_cutting_a_file_otherwise_never_changes_its_units():
    pieces = [b"FHS|^~\\&|a\r", b"BHS|^~\\&\r", b"BTS|2\r", b"FTS", b"BHS", b"MSH|^~\\&|x\rPID|1\r"]
    pieces += [b"MSH", b"\r", b"\n", b"\x0b", b"x" * 70, b"MSH|" + b"\r" * 90 + b"z", b"\x1c\r"]
    pieces += [b"MSH|" + b"y" * 80, b"\xef\xbb\xbf", b"MS", b"BTS\r", b"FTS|1\n"]
    for seed in range(MANY):
        dice = random.Random(seed)
        data = b"".join(dice.choice(pieces) for _ in range(dice.randrange(12)))
        cuts = [dice.randrange(len(data) + 1) for _ in range(dice.randrange(9))]
        assert split(data, cuts, most=60) == split(data, most=60), (seed, data)


def test_a_hundred_megabytes_are_cut_in_bounded_memory():
    splitter = Splitter(message_bytes=100_000)
    message = b"MSH|^~\\&|A|B\rPID|1||123\rOBX|1|TX|||" + b"x" * 3_000 + b"\r"
    chunk = message * 20
    found = sum(len(splitter.receive(chunk)) for _ in range(100_000_000 // len(chunk)))
    assert splitter.held_bytes < 2 * len(message)
    assert found + len(splitter.close()) == 100_000_000 // len(chunk) * 20


@pytest.mark.parametrize(
    ("payload", "expected"),
    [
        (b"FHS|", True),
        (b"\r\n BHS|", True),
        (b"\xef\xbb\xbfBHS|", True),
        (b"BHS", True),
        (b"MSH|", False),
        (b"BHSX", False),
        (b"", False),
    ],
)
def test_a_batch_is_told_by_its_first_segment(payload: bytes, expected: bool):
    assert is_batch(payload) is expected


# --- the answer -----------------------------------------------------------------------------------


def remark(rule: str, place: Place, detail: str) -> Finding:
    return Finding(
        code="100",
        rule=rule,
        text=f"{rule} {detail}".strip(),
        severity=Severity.WARNING,
        segment=place.segment,
        sequence=place.sequence,
        field=place.field,
    )


def answered(*lines: str) -> tuple[list[str], list[str]]:
    """The answer's lines, `.` for each message's own, and the rules that were broken."""
    numbers = count(1)
    ledger = BatchLedger(remark, answer_id=lambda: f"N{next(numbers)}", now_us=0)
    answer = b""
    for line in lines:
        if line == ".":
            ledger.message(is_answered=True)
            answer += b".\r"
        else:
            answer += ledger.enter(Envelope(line[:3], line.encode()))
    answer += ledger.finish()
    return answer.decode().split("\r")[:-1], [f"{f.rule} {f.place}" for f in ledger.findings]


F, B = "FHS|^~\\&|A|B|C|D|2026||FILE||F-1", "BHS|^~\\&|A|B|C|D|2026||LOT||B-1"
F_BACK = "FHS|^~\\&|C|D|A|B|19700101000000+0000||FILE||N1|F-1"


def b_back(number: int) -> str:
    return f"BHS|^~\\&|C|D|A|B|19700101000000+0000||LOT||N{number}|B-1"


@pytest.mark.parametrize(
    ("lines", "answer", "rules"),
    [
        ((F, B, ".", ".", "BTS|2", "FTS|1"), (F_BACK, b_back(2), ".", ".", "BTS|2", "FTS|1"), []),
        ((B, ".", "BTS"), (b_back(1), ".", "BTS|1"), []),
        ((B, ".", "BTS|01"), (b_back(1), ".", "BTS|1"), []),
        ((".", "."), (".", "."), []),
        ((F, ".", "FTS|1"), (F_BACK, ".", "FTS|1"), []),
        (
            (B, ".", "BTS|3"),
            (b_back(1), ".", "BTS|1|batch-count 1"),
            ["batch-count BTS-1"],
        ),
        (
            (B, ".", "BTS|many"),
            (b_back(1), ".", "BTS|1|batch-count 1"),
            ["batch-count BTS-1"],
        ),
        (
            (F, B, ".", "BTS|1", "FTS|9"),
            (F_BACK, b_back(2), ".", "BTS|1", "FTS|1|file-count 1"),
            ["file-count FTS-1"],
        ),
        (
            (F, B, "."),
            (F_BACK, b_back(2), ".", "BTS|1|batch-trailer", "FTS|1|file-trailer"),
            ["batch-trailer BHS", "file-trailer FHS"],
        ),
        (
            (F, B, ".", "FTS|1"),
            (F_BACK, b_back(2), ".", "BTS|1|batch-trailer", "FTS|1"),
            ["batch-trailer BHS"],
        ),
        (
            (F, F, ".", "FTS|1"),
            (F_BACK, "FTS|0|file-trailer", F_BACK.replace("N1", "N2"), ".", "FTS|1"),
            ["file-trailer FHS"],
        ),
        ((".", "BTS|1"), (".",), ["batch-header BTS"]),
        ((F, "FTS|0"), (F_BACK, "FTS|0"), ["batch-empty "]),
        (
            (B, ".", B, ".", "BTS|1", "BTS|2"),
            (b_back(1), ".", b_back(2), ".", "BTS|1", "BTS|1|batch-nested"),
            ["batch-nested BHS"],
        ),
    ],
    ids=str,
)
def test_an_answer_has_the_shape_of_its_batch(
    lines: tuple[str, ...], answer: tuple[str, ...], rules: list[str]
):
    assert answered(*lines) == (list(answer), rules)


def test_an_answer_is_written_with_the_senders_separators():
    lines, _ = answered("BHS#*~!@#A#B#C#D#2026##x#y#ID|1", ".", "BTS#2")
    assert lines[0].startswith("BHS#*~!@#C#D#A#B#")
    assert lines[0].endswith("#ID|1")
    assert lines[-1] == "BTS#1#batch-count 1"


@pytest.mark.parametrize("header", ["BHS", "BHS|", "BHS|||||", "BHS\x7f^~\\&", "BHS| ~\\&|"])
def test_separators_that_cannot_be_used_are_the_standard_ones(header: str):
    assert answered(header, ".")[0][0].startswith("BHS|^~\\&|")


def test_batches_nest_no_deeper_than_a_few_levels():
    lines, _ = answered(*[B] * 1_000, ".")
    assert sum(line.startswith("BHS") for line in lines) == 1_000
    deepest = level = 0
    for line in lines:
        level += line.startswith("BHS") - line.startswith("BTS")
        deepest = max(deepest, level)
    assert (level, deepest) == (0, 8)


def test_a_batchs_control_id_is_its_headers_eleventh_field():
    assert batch_control_id(B.encode() + b"\rMSH|") == "B-1"
    assert batch_control_id(b"\xef\xbb\xbf\r\n" + F.encode()) == "F-1"
    assert batch_control_id(b"BHS|") == batch_control_id(b"BHS") == batch_control_id(b"") == ""
