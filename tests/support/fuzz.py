"""A small coverage-guided fuzzer for messages: mutate, watch the lines reached, keep what is new.

Lines are watched by `sys.settrace` in a share of the runs, which alone would be too slow for
all; in every run the features that the target names (the rules that spoke, the answer) are
watched as well. An input that reaches a new edge or feature joins the corpus.
"""

import random
import sys
from collections.abc import Awaitable, Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from types import CodeType, FrameType
from typing import Any

LONGEST = 6_000
MOST_KEPT = 4_000

#: What a mutation may put anywhere: separators, names, escapes and the tricks of hostile senders.
TOKENS: tuple[bytes, ...] = (
    *(b"|", b"^", b"~", b"\\", b"&", b"\r", b"\n", b"\r\n", b"\x0b", b"\x1c\r", b"\x1c", b"\x00"),
    *(
        b'""',
        b"\\F\\",
        b"\\S\\",
        b"\\T\\",
        b"\\R\\",
        b"\\E\\",
        b"\\.br\\",
        b"\\.sp99999\\",
        b"\\H\\",
    ),
    *(b"\\X0D0A\\", b"\\X" + b"41" * 200 + b"\\", b"\\.sk100\\" * 50, b"\\" * 99, b"\\C2842\\"),
    *(b"MSH|^~\\&|", b"MSH#*!@%#", b"MSH|^~\\&#|", b"MSH|", b"PID|1||", b"OBX|1|NM|", b"ZZZ|"),
    *(b"BHS|^~\\&|", b"FHS|^~\\&|", b"BTS|1", b"FTS|1", b"BTS|99999999999999999999", b"MSA|AA|"),
    *(b"ADT^A01^ADT_A01", b"ADT^A40", b"ORU^R01", b"ACK", b"ZZZ^Z99", b"2.5.1", b"2.9", b"2.1"),
    *(b"UNICODE UTF-8", b"8859/1", b"ISO IR87", b"GB 18030-2000", b"UTF-16", b"AL", b"NE", b"ER"),
    *(
        b"\xef\xbb\xbf",
        b"\xff\xfe",
        b"\xfe\xff",
        b"\xff",
        b"\xc3\xa9",
        b"\xe2\x80\xa8",
        b"\xed\xa0\x80",
    ),
    *(b"20260230", b"99999999999999", b"1e309", b"-0", b"0" * 400, b"20260131250000+9999", b"NaN"),
    *(
        b"NM",
        b"SN",
        b"ED",
        b"RP",
        b"CWE",
        b"TS",
        b"DR",
        b"NA",
        b"XX",
        b"~" * 500,
        b"^" * 500,
        b"&" * 500,
    ),
    *(
        b"^^^Base64^" + b"QUJD" * 50,
        b"^application^pdf^Base64^!!!",
        b"<>",
        b">=^5",
        b"1^:^2",
        b"10-20",
    ),
)


@dataclass(slots=True)
class Fuzzer:
    """One run of inputs.

    Attributes:
        target: judges an input; gives its features; raises where a property fails.
        watched: files whose lines count.
        share: of the inputs that are traced.
    """

    target: Callable[[bytes], Awaitable[Iterable[Hashable]]]
    corpus: list[bytes]
    watched: frozenset[str]
    seed: int
    share: float = 0.02
    edges: set[tuple[CodeType, int, int]] = field(default_factory=set)
    features: set[Hashable] = field(default_factory=set)

    async def run(self, count: int) -> None:
        """Try `count` inputs.

        Raises:
            AssertionError: a property does not hold; it names the input.
        """
        dice = random.Random(self.seed)
        for number in range(count):
            data = self.corpus[number] if number < len(self.corpus) else self._mutated(dice)
            is_traced = dice.random() < self.share
            if await self._tries(data, is_traced=is_traced) and len(self.corpus) < MOST_KEPT:
                self.corpus.append(data)

    async def _tries(self, data: bytes, *, is_traced: bool) -> bool:
        """Whether an input reached something new."""
        known = len(self.edges) + len(self.features)
        if is_traced:
            sys.settrace(self._call)
        try:
            found = await self.target(data)
        except Exception as error:
            raise AssertionError(f"seed {self.seed}: {data[:LONGEST]!r}") from error
        finally:
            if is_traced:
                sys.settrace(None)
        self.features.update(found)
        return len(self.edges) + len(self.features) > known

    def _call(self, frame: FrameType, event: str, _: Any) -> Any:
        code = frame.f_code
        if code.co_filename not in self.watched:
            return None
        last, edges = 0, self.edges

        def line(frame: FrameType, event: str, _: Any) -> Any:
            nonlocal last
            if event == "line":
                edges.add((code, last, frame.f_lineno))
                last = frame.f_lineno
            return line

        return line

    def _mutated(self, dice: random.Random) -> bytes:
        # The youngest are looked at more often: they have just reached something.
        place = max(dice.randrange(len(self.corpus)), dice.randrange(len(self.corpus)))
        data = self.corpus[place]
        for _ in range(dice.choice((1, 1, 2, 3, 5))):
            data = dice.choice(MUTATIONS)(data, dice, self.corpus)
        return data[:LONGEST]


Mutation = Callable[[bytes, random.Random, Sequence[bytes]], bytes]


def _cut(data: bytes, dice: random.Random) -> tuple[int, int]:
    begin = dice.randrange(len(data) + 1)
    return begin, min(len(data), begin + dice.choice((0, 1, 3, 9, 40, 200)))


def _insert(data: bytes, dice: random.Random, _: Sequence[bytes]) -> bytes:
    place = dice.randrange(len(data) + 1)
    return data[:place] + dice.choice(TOKENS) + data[place:]


def _delete(data: bytes, dice: random.Random, _: Sequence[bytes]) -> bytes:
    begin, end = _cut(data, dice)
    return data[:begin] + data[end:]


def _flip(data: bytes, dice: random.Random, _: Sequence[bytes]) -> bytes:
    if not data:
        return data
    place = dice.randrange(len(data))
    return data[:place] + bytes([dice.randrange(256)]) + data[place + 1 :]


def _repeat(data: bytes, dice: random.Random, _: Sequence[bytes]) -> bytes:
    begin, end = _cut(data, dice)
    return data[:end] + data[begin:end] * dice.choice((1, 2, 10, 300)) + data[end:]


def _field(data: bytes, dice: random.Random, _: Sequence[bytes]) -> bytes:
    """Another value in one field."""
    fields = data.split(b"|")
    fields[dice.randrange(len(fields))] = dice.choice(TOKENS) * dice.choice((1, 1, 1, 2, 40))
    return b"|".join(fields)


def _segments(data: bytes, dice: random.Random, corpus: Sequence[bytes]) -> bytes:
    """A segment doubled, moved, left out, or taken from elsewhere."""
    lines = data.split(b"\r")
    other = dice.choice(corpus).split(b"\r")
    place = dice.randrange(len(lines))
    match dice.randrange(4):
        case 0:
            lines.insert(place, dice.choice(lines))
        case 1:
            lines.insert(place, dice.choice(other))
        case 2:
            del lines[place]
        case _:
            dice.shuffle(lines)
    return b"\r".join(lines)


def _splice(data: bytes, dice: random.Random, corpus: Sequence[bytes]) -> bytes:
    other = dice.choice(corpus)
    return data[: dice.randrange(len(data) + 1)] + other[dice.randrange(len(other) + 1) :]


def _separators(data: bytes, dice: random.Random, _: Sequence[bytes]) -> bytes:
    old, new = dice.sample(b"|^~\\&\r\n#@!$%*", 2)
    return data.replace(bytes([old]), bytes([new]))


def _recoded(data: bytes, dice: random.Random, _: Sequence[bytes]) -> bytes:
    codec = dice.choice(("utf-16", "utf-16-be", "utf-8-sig", "utf-7", "shift_jis", "iso2022_jp"))
    return data.decode("latin-1").encode(codec, "replace")


MUTATIONS: tuple[Mutation, ...] = (
    *(_insert, _insert, _delete, _flip, _repeat, _field, _field, _field, _segments, _segments),
    *(_splice, _separators, _recoded),
)
