"""MLLP framing: how a stream is cut never matters, and no byte is worth a crash."""

import os
from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.hl7v2.frame import (
    Event,
    FrameLimits,
    Framer,
    Hopeless,
    Noise,
    Oversize,
    Payload,
    Truncated,
    frame,
)

#: Up to 20,000 frames in the short form, 250,000 in the long.
EXAMPLES = 5_000 if os.environ.get("HIE_TEST_LONG") == "1" else 400
FRAMES_EACH = 50

PLAIN = st.binary(max_size=30).map(lambda raw: raw.translate(None, b"\x0b\x1c"))
PIECE = st.one_of(
    PLAIN.map(frame),
    st.sampled_from([b"\x0b", b"\x1c", b"\r", b"\n", b"\x1c\r", b"MSH|", b"\x16\x03", b"GET /"]),
    st.binary(max_size=20),
)
STREAM = st.lists(PIECE, max_size=FRAMES_EACH).map(b"".join)
LIMITS = FrameLimits(payload_bytes=40, head_bytes=8, noise_bytes=10_000, refused_bytes=200)


def run(stream: bytes, cuts: list[int], limits: FrameLimits | None = None) -> list[Event]:
    framer = Framer(limits)
    borders = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    events: list[Event] = []
    for begin, end in pairwise(borders):
        events += framer.receive(stream[begin:end])
    return events + framer.close()


@settings(max_examples=EXAMPLES)
@given(payloads=st.lists(PLAIN, max_size=FRAMES_EACH), cuts=st.lists(st.integers(0, 10_000)))
def test_every_payload_comes_out_as_it_went_in(payloads: list[bytes], cuts: list[int]):
    stream = b"".join(map(frame, payloads))
    assert run(stream, cuts) == [Payload(payload) for payload in payloads]


@settings(max_examples=EXAMPLES)
@given(stream=STREAM, cuts=st.lists(st.integers(0, 10_000), max_size=30))
def test_cutting_a_stream_otherwise_never_changes_its_events(stream: bytes, cuts: list[int]):
    assert run(stream, cuts) == run(stream, [])
    assert run(stream, cuts, LIMITS) == run(stream, [], LIMITS)


@settings(max_examples=EXAMPLES // 4)
@given(stream=STREAM)
def test_feeding_single_bytes_never_changes_the_events(stream: bytes):
    assert run(stream, list(range(len(stream)))) == run(stream, [])


@given(stream=STREAM)
def test_no_byte_is_counted_twice(stream: bytes):
    events = run(stream, [], LIMITS)
    counted = 0
    for event in events:
        match event:
            case Payload(data):
                assert len(data) <= LIMITS.payload_bytes
                counted += len(data)
            case Oversize(head):
                assert len(head) <= LIMITS.head_bytes
                counted += len(head)
            case Noise(size) | Truncated(size):
                counted += size
            case Hopeless():
                assert event is events[-1]
    assert counted <= len(stream)


@given(stream=st.binary(max_size=2_000))
def test_no_bytes_break_the_framer(stream: bytes):
    run(stream, [], LIMITS)
