"""Whatever begins like a message is read, and given back byte for byte."""

import os

from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.hl7v2 import er7
from adapters.hl7v2.er7 import NULL, Delimiters, unescape
from hie.kernel.errors import Category, HieError

EXAMPLES = 20_000 if os.environ.get("HIE_TEST_LONG") == "1" else 1_500

HEADER = st.sampled_from(
    [
        b"MSH|^~\\&|A|B|C|D|20260131||ADT^A01^ADT_A01|1|P|2.5.1\r",
        b"MSH|^~\\&|A|B|||||ADT^A01|1|P|2.3||||||8859/1\r",
        b"MSH|^~\\&|A|B|||||ADT^A01|1|P|2.3||||||GB 18030-2000\r",
        b"MSH|^~\\&|A|B|||||ADT^A01|1|P|2.3||||||ISO IR87\r",
        b"\xef\xbb\xbf\nMSH#*!?@#A\n",
        b"MSH|",
        b"MSH|^^^^|",
        b"M\0S\0H\0|\0",
    ]
)
ALPHABET = st.sampled_from(
    [
        b"\r",
        b"\n",
        b"|",
        b"^",
        b"~",
        b"\\",
        b"&",
        b'""',
        b"\\X",
        b"\\.sp9\\",
        b"PID|",
        b"ZZ1",
        b"\0",
    ]
)
BODY = st.lists(st.one_of(ALPHABET, st.binary(max_size=12)), max_size=40).map(b"".join)


@settings(max_examples=EXAMPLES)
@given(header=HEADER, body=BODY)
def test_reading_then_writing_is_the_identity(header: bytes, body: bytes):
    parsed = er7.parse(header + body)
    assert parsed.encode() == header + body


@settings(max_examples=EXAMPLES // 5)
@given(payload=st.binary(max_size=300))
def test_any_bytes_are_read_or_refused_as_no_message(payload: bytes):
    try:
        read = er7.parse(payload)
    except HieError as error:
        refused = error
    else:
        assert read.encode() == payload
        return
    assert refused.category is Category.INVALID


@settings(max_examples=EXAMPLES // 5)
@given(header=HEADER, body=BODY, field=st.integers(0, 12), rest=st.integers(0, 4))
def test_every_accessor_answers_for_every_segment(
    header: bytes, body: bytes, field: int, rest: int
):
    parsed = er7.parse(header + body)
    assert isinstance(parsed.trigger, str)
    for segment in parsed.segments:
        value = segment.value(field, rest, rest, rest)
        assert value is NULL or isinstance(value, str)
        for element in segment.reps(field):
            assert element.text is NULL or isinstance(element.text, str)
            assert isinstance(element.component(rest).sub(rest), str)
            assert all(isinstance(sub, str) for sub in element.subs)
    assert sum(len(parsed.all(name)) for name in {s.name for s in parsed.segments}) == len(
        parsed.segments
    )


@given(text=st.text(max_size=200))
def test_escaping_what_is_special_is_undone_by_reading(text: str):
    letters = {"\\": "E", "|": "F", "^": "S", "~": "R", "&": "T"}
    escaped = "".join(f"\\{letters[c]}\\" if c in letters else c for c in text)
    assert unescape(escaped, Delimiters()) == text


@given(raw=st.lists(st.sampled_from(["\\", ".sp", "9", "99", "T", "X41", "x"])).map("".join))
def test_an_escaped_value_grows_by_no_more_than_the_limit(raw: str):
    assert len(unescape(raw, Delimiters(), limit=50)) <= len(raw) + 50
