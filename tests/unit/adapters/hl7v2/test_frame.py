"""HL7 Transport Specification: MLLP, Release 1: VT payload FS CR."""

import time

import pytest

from adapters.hl7v2.frame import (
    Event,
    FrameLimits,
    Framer,
    Hopeless,
    Noise,
    Oversize,
    Payload,
    Quirk,
    Stranger,
    Truncated,
    frame,
)

VT, FS, CR = b"\x0b", b"\x1c", b"\r"
A, B = Payload(b"MSH|a"), Payload(b"MSH|b")


def odd(payload: Payload, *quirks: Quirk) -> Payload:
    """The same payload in a frame that has these quirks."""
    return Payload(payload.data, frozenset(quirks))


NO_CR = odd(A, Quirk.NO_CR)
RESTARTED = odd(A, Quirk.RESTART)

TABLE: dict[str, tuple[bytes, list[Event]]] = {
    "one frame": (frame(b"MSH|a"), [A]),
    "two frames": (frame(b"MSH|a") + frame(b"MSH|b"), [A, B]),
    "an empty frame": (frame(b""), [Payload(b"")]),
    "segments inside": (frame(b"MSH|a\rPID|1\r"), [Payload(b"MSH|a\rPID|1\r")]),
    "line feed behind": (
        frame(b"MSH|a") + b"\n" + frame(b"MSH|b"),
        [A, odd(B, Quirk.LINE_FEED)],
    ),
    "carriage returns between": (frame(b"MSH|a") + CR + CR + frame(b"MSH|b"), [A, B]),
    "blank lines between": (
        b"\r\n" + frame(b"MSH|a") + b"\r\n\r\n" + frame(b"MSH|b"),
        [odd(A, Quirk.LINE_FEED), odd(B, Quirk.LINE_FEED)],
    ),
    "LF instead of CR": (
        VT + b"MSH|a" + FS + b"\n" + frame(b"MSH|b"),
        [odd(A, Quirk.NO_CR, Quirk.LINE_FEED), B],
    ),
    "no CR before the next frame": (VT + b"MSH|a" + FS + frame(b"MSH|b"), [NO_CR, B]),
    "no CR at the end of the stream": (VT + b"MSH|a" + FS, [NO_CR]),
    "noise before": (b"xyz" + frame(b"MSH|a"), [Noise(3), odd(A, Quirk.NOISE)]),
    "noise between": (
        frame(b"MSH|a") + b"??" + frame(b"MSH|b"),
        [A, Noise(2), odd(B, Quirk.NOISE)],
    ),
    "noise behind": (frame(b"MSH|a") + b"garbage", [A, Noise(7)]),
    "only noise": (b"\x00\x01 hello", [Noise(8)]),
    "a message without frame": (b"MSH|^~\\&|\rPID|1\r", [Noise(14)]),
    "a run of VT": (VT * 9 + b"MSH|a" + FS + CR, [A]),
    "a frame that begins again": (
        VT + b"MSH|lost" + VT + b"MSH|a" + FS + CR,
        [Truncated(8), RESTARTED],
    ),
    "a frame that begins again behind blanks": (
        VT + b"MSH|lost" + VT + b"\r\n\xef\xbb\xbfMSH|a" + FS + CR,
        [Truncated(8), odd(Payload(b"\r\n\xef\xbb\xbfMSH|a"), Quirk.RESTART)],
    ),
    "a batch that begins inside": (
        VT + b"MSH|lost" + VT + b"FHS|a" + FS + CR,
        [Truncated(8), odd(Payload(b"FHS|a"), Quirk.RESTART)],
    ),
    "VT in a text": (
        VT + b"MSH|x" + VT + b"|rest" + FS + CR,
        [odd(Payload(b"MSH|x\x0b|rest"), Quirk.VT)],
    ),
    "VT at the end of a text": (
        VT + b"MSH|x" + VT + FS + CR + frame(b"MSH|b"),
        [odd(Payload(b"MSH|x\x0b"), Quirk.VT), B],
    ),
    "VTs and half a head in a text": (
        VT + b"MSH|x" + VT + VT + b"MS" + VT + b"MSH|a" + FS + CR,
        [Truncated(9), RESTARTED],
    ),
    "VT with nothing behind": (VT + b"MSH|x" + VT + b"MS", [Truncated(8)]),
    "FS inside": (
        VT + b"MSH" + FS + b"|a" + FS + CR,
        [odd(Payload(b"MSH\x1c|a"), Quirk.FS)],
    ),
    "a run of FS": (
        VT + b"MSH|a" + FS * 3 + CR,
        [odd(Payload(b"MSH|a\x1c\x1c"), Quirk.FS)],
    ),
    "FS then VT": (VT + b"MSH|a" + FS + VT + b"MSH|b" + FS + CR, [NO_CR, B]),
    "FS outside": (FS + CR + frame(b"MSH|a"), [Noise(1), odd(A, Quirk.NOISE)]),
    "half a frame": (VT + b"MSH|a", [Truncated(5)]),
    "only VT": (VT, [Truncated(0)]),
    "an HTTP request": (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", [Hopeless(Stranger.HTTP)]),
    "an HTTP post": (b"POST /hl7v2 HTTP/1.1\r\n\r\n" + frame(b"MSH|a"), [Hopeless(Stranger.HTTP)]),
    "an HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", [Hopeless(Stranger.HTTP)]),
    "a TLS hello with VT": (b"\x16\x03\x01\x0b\x0b\x1c\r" * 4, [Hopeless(Stranger.TLS)]),
    "nearly an HTTP request": (
        b"GETTING" + frame(b"MSH|a"),
        [Noise(7), odd(A, Quirk.NOISE)],
    ),
    "half of an HTTP request": (b"GE", [Noise(2)]),
    "a method later on": (frame(b"MSH|a") + b"GET / HTTP/1.1\r\n", [A, Noise(14)]),
    "nothing": (b"", []),
}

SMALL = FrameLimits(payload_bytes=10, head_bytes=4, noise_bytes=20, refused_bytes=50)

LIMITED: dict[str, tuple[bytes, list[Event]]] = {
    "at the limit": (frame(b"0123456789"), [Payload(b"0123456789")]),
    "one over": (frame(b"0123456789X"), [Oversize(b"0123")]),
    "over, then another": (frame(b"0123456789XYZ") + frame(b"MSH|a"), [Oversize(b"0123"), A]),
    "over, FS inside the rest": (
        VT + b"0123456789X" + FS + b"Y" + FS + CR + frame(b"MSH|a"),
        [Oversize(b"0123"), A],
    ),
    "over, then a frame that begins again": (
        VT + b"0123456789XYZ" + VT + b"MSH|a" + FS + CR,
        [Oversize(b"0123"), RESTARTED],
    ),
    "over, VT in the rest": (
        VT + b"0123456789XYZ" + VT + b"text" + FS + CR + frame(b"MSH|a"),
        [Oversize(b"0123"), A],
    ),
    "a frame that begins again at the limit": (
        VT + b"0123456789" + VT + b"MSH|a" + FS + CR,
        [Truncated(10), RESTARTED],
    ),
    "over by VT inside": (VT + b"0123456789" + VT + b"X" + FS + CR, [Oversize(b"0123")]),
    "over by a last VT": (VT + b"0123456789" + VT + FS + CR, [Oversize(b"0123")]),
    "over by FS inside": (VT + b"0123456789" + FS + b"X" + FS + CR, [Oversize(b"0123")]),
    "over, no CR": (VT + b"0123456789X" + FS + frame(b"MSH|a"), [Oversize(b"0123"), A]),
    "over, cut off": (VT + b"0123456789X", [Oversize(b"0123")]),
    "a run of FS over": (VT + FS * 30 + CR, [Oversize(FS * 4)]),
    "endless": (VT + b"x" * 80, [Oversize(b"xxxx"), Hopeless(Stranger.ENDLESS)]),
    "noise at the limit": (
        b"n" * 20 + frame(b"MSH|a"),
        [Noise(20), odd(A, Quirk.NOISE)],
    ),
    "endless noise": (b"n" * 21 + frame(b"MSH|a"), [Noise(21), Hopeless(Stranger.NOISE)]),
}


def run(stream: bytes, size: int, limits: FrameLimits | None = None) -> list[Event]:
    framer = Framer(limits)
    events: list[Event] = []
    for begin in range(0, len(stream), size):
        events += framer.receive(stream[begin : begin + size])
    return events + framer.close()


@pytest.mark.parametrize("size", [1, 2, 3, 7, 10_000])
@pytest.mark.parametrize("row", TABLE)
def test_bytes_become_these_events_however_they_are_cut(row: str, size: int):
    stream, expected = TABLE[row]
    assert run(stream, size) == expected


@pytest.mark.parametrize("size", [1, 2, 3, 7, 10_000])
@pytest.mark.parametrize("row", LIMITED)
def test_what_is_too_much_is_bounded_however_it_is_cut(row: str, size: int):
    stream, expected = LIMITED[row]
    events = run(stream, size, SMALL)
    if Hopeless(Stranger.NOISE) in events:
        # How much was read before giving up depends on the read; that it was does not.
        assert [type(event) for event in events] == [type(event) for event in expected]
    else:
        assert events == expected


def test_a_frame_split_over_reads_is_one_message():
    framer = Framer()
    assert framer.receive(VT + b"MS") == []
    assert framer.is_inside
    assert framer.receive(b"H|a" + FS) == []
    assert framer.is_ending
    assert framer.receive(CR) == [A]
    assert not framer.is_inside


def test_a_pause_ends_a_frame_whose_cr_does_not_come():
    framer = Framer()
    assert framer.receive(VT + b"MSH|a" + FS) == []
    assert framer.pause() == [NO_CR]
    assert framer.pause() == []
    assert framer.receive(CR + frame(b"MSH|b")) == [B]


def test_a_pause_inside_a_frame_ends_nothing():
    framer = Framer()
    framer.receive(VT + b"MSH")
    assert framer.pause() == []
    assert framer.receive(b"|a" + FS + CR) == [A]


def test_a_pause_ends_a_refused_frame_too():
    framer = Framer(SMALL)
    assert framer.receive(VT + b"0123456789X" + FS) == [Oversize(b"0123")]
    assert framer.pause() == []
    assert framer.receive(frame(b"MSH|a")) == [A]


def test_nothing_is_read_after_the_connection_was_given_up():
    framer = Framer()
    assert framer.receive(b"GET / HTTP/1.1\r\n\r\n") == [Hopeless(Stranger.HTTP)]
    assert framer.receive(frame(b"MSH|a")) == []
    assert framer.close() == []


@pytest.mark.parametrize(
    "unit", [VT, FS, VT + FS, FS + b"x", VT + b"x", frame(b""), b"n" + VT, CR, b"x"]
)
def test_no_run_of_anything_takes_more_than_linear_time(unit: bytes):
    def seconds(size: int) -> float:
        stream = VT + unit * size
        begin = time.process_time()
        framer = Framer()
        for start in range(0, len(stream), 65_536):
            framer.receive(stream[start : start + 65_536])
        return time.process_time() - begin

    small, large = (min(seconds(size) for _ in range(3)) for size in (4_000, 40_000))

    assert large < max(small, 0.001) * 40  # ten times the bytes; a square would take 100


def test_twenty_megabytes_in_small_reads_are_one_payload():
    report = b"QmFzZTY0" * (20 * 131_072)
    stream = frame(report)
    framer = Framer()
    events = [
        event
        for begin in range(0, len(stream), 16_384)
        for event in framer.receive(stream[begin : begin + 16_384])
    ]
    assert events == [Payload(report)]
