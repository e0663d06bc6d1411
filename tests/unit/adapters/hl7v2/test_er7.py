"""HL7 v2.8.2 chapter 2, sections 2.5 (message construction) and 2.7 (escape sequences)."""

import time

import pytest

from adapters.hl7v2 import charset, er7
from adapters.hl7v2.er7 import NULL, Delimiters, unescape
from hie.kernel.envelope import Severity
from hie.kernel.errors import Category, HieError
from tests.support.hl7_shapes import SHAPES, Shape

HEADER = r"MSH|^~\&|FEED|HOSP|HUB|STATE|20260131||ADT^A01^ADT_A01|C-1|P|2.5.1"


def message(*lines: str, end: str = "\r") -> er7.Message:
    return er7.parse("".join(line + end for line in (HEADER, *lines)).encode())


def rules(parsed: er7.Message) -> list[str]:
    return [finding.rule for finding in parsed.findings]


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_every_known_shape_is_read_and_given_back_byte_for_byte(shape: Shape):
    parsed = er7.parse(shape.payload())
    assert [s.name for s in parsed.segments] == ["MSH", *shape.segments.split()]
    assert parsed.encode() == shape.payload()
    assert parsed.trigger == shape.trigger
    assert parsed.version == shape.version


def test_all_forty_six_shapes_are_there():
    assert len(SHAPES) == 46


def test_the_header_says_what_the_message_is():
    parsed = message()
    assert (parsed.code, parsed.event, parsed.structure) == ("ADT", "A01", "ADT_A01")
    assert parsed.trigger == "ADT^A01"
    assert (parsed.control_id, parsed.processing_id, parsed.version) == ("C-1", "P", "2.5.1")
    assert (parsed.application, parsed.facility) == ("FEED", "HOSP")


def test_a_type_without_event_is_its_own_trigger():
    assert er7.parse(b"MSH|^~\\&|||||||ACK|1|P|2.3\r").trigger == "ACK"


PID = r"PID|1||A^^^X&1.2.3&ISO^MR~B^^^Y||O\T\Neil^Ann~Ann2||\"\"|F|\"\"^x^\"\"".replace(r"\"", '"')


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("PID-1", "1"),
        ("PID-2", ""),
        ("PID-3", "A"),
        ("PID-3.4", "X"),
        ("PID-3.4.2", "1.2.3"),
        ("PID-3[2]", "B"),
        ("PID-3[2].4.1", "Y"),
        ("PID-3[3]", ""),
        ("PID-3[0]", ""),
        ("PID-3.99", ""),
        ("PID-5", "O&Neil"),
        ("PID-5[2].1", "Ann2"),
        ("PID-99", ""),
        ("PID[2]-1", ""),
        ("ZZZ-1", ""),
        ("MSH-1", "|"),
        ("MSH-2", r"^~\&"),
        ("MSH-3", "FEED"),
        ("MSH-9.3", "ADT_A01"),
        ("MSH-12", "2.5.1"),
    ],
)
def test_a_path_leads_to_its_leaf(path: str, expected: str):
    assert message(PID).get(path) == expected


@pytest.mark.parametrize("path", ["", "PID", "PID-", "PID3", "PID-x", "PI-3", "PID-3.", "PID-3[]"])
def test_a_path_that_is_none_is_refused(path: str):
    with pytest.raises(ValueError, match="path must look like"):
        message(PID).get(path)


def test_an_explicit_null_is_not_an_empty_value():
    parsed = message(PID)
    assert parsed.get("PID-7") is NULL
    assert parsed.get("PID-9.1") is NULL
    assert parsed.get("PID-9.3") is NULL
    assert parsed.get("PID-2") == ""
    assert parsed.get("PID-2") is not NULL
    pid = parsed.first("PID")
    assert pid is not None
    assert pid.value(7) is NULL
    assert pid.reps(7)[0].is_null
    assert pid.reps(7)[0].text is NULL
    assert NULL != ""


def test_elements_cut_repetitions_components_and_subcomponents():
    pid = message(PID).first("PID")
    assert pid is not None
    first, second = pid.reps(3)
    assert first.raw == "A^^^X&1.2.3&ISO^MR"
    assert first.value() == "A"
    assert first.component(4).raw == "X&1.2.3&ISO"
    assert first.component(4).sub(2) == "1.2.3"
    assert first.component(4).subs == ("X", "1.2.3", "ISO")
    assert first.component(9).raw == ""
    assert first.component(9).subs == ()
    assert [part.raw for part in second.components] == ["B", "", "", "Y"]
    assert second.value(4) == "Y"
    assert pid.reps(2) == ()
    assert first.component(2).components == ()
    assert pid.reps(5)[0].text == "O&Neil^Ann"
    assert pid.value(3, 4, 2) == "1.2.3"
    assert pid.value(3, 1, 1, 2) == "B"


def test_a_note_keeps_what_looks_like_a_separator_when_read_as_text():
    obx = message("OBX|1|TX|||Smith & Sons ^ more").first("OBX")
    assert obx is not None
    assert obx.reps(5)[0].text == "Smith & Sons ^ more"


def test_nothing_shown_by_a_debugger_is_patient_data():
    pid = message(PID).first("PID")
    assert pid is not None
    assert "Neil" not in repr(pid)
    assert "Neil" not in repr(pid.reps(5)[0])


def test_segments_know_their_place():
    parsed = message("OBX|1", "ZPI|x", "OBX|2")
    assert [(s.name, s.sequence, s.position) for s in parsed.segments] == [
        ("MSH", 1, 0),
        ("OBX", 1, 1),
        ("ZPI", 1, 2),
        ("OBX", 2, 3),
    ]
    assert [s.field(1) for s in parsed.all("OBX")] == ["1", "2"]
    assert parsed.all("NTE") == ()
    assert parsed.first("NTE") is None
    assert parsed.segments[1].count == 1
    assert parsed.segments[0].count == 12
    assert parsed.segments[0].reps(2)[0].raw == r"^~\&"


@pytest.mark.parametrize("end", ["\r", "\n", "\r\n", "\r\r", "\n\n", "\r\n\r\n"])
def test_any_line_end_ends_a_segment(end: str):
    parsed = message("PID|1", "PV1|1", end=end)
    assert [s.raw for s in parsed.segments[1:]] == ["PID|1", "PV1|1"]
    assert parsed.encode().count(end.encode()) == 3
    assert ("segment-end" in rules(parsed)) is ("\n" in end)


def test_the_last_segment_needs_no_end():
    payload = HEADER.encode() + b"\rPID|1"
    parsed = er7.parse(payload)
    assert parsed.segments[-1].raw == "PID|1"
    assert parsed.encode() == payload


def test_a_line_feed_inside_a_note_is_text():
    payload = (HEADER + "\rOBX|1|TX|||first line\nsecond line\n\nthird\rPV1|1\n").encode()
    parsed = er7.parse(payload)
    assert [s.name for s in parsed.segments] == ["MSH", "OBX", "PV1"]
    assert parsed.get("OBX-5") == "first line\nsecond line\n\nthird"
    assert parsed.encode() == payload


def test_a_line_that_is_no_segment_is_kept_without_a_name():
    parsed = message("PID|1", "rubbish", "X", "", "pid|2", "TOOLONG|1")
    assert [s.name for s in parsed.segments] == ["MSH", "PID", "", "", "pid", ""]
    assert [s.raw for s in parsed.all("")] == ["rubbish", "X", "TOOLONG|1"]


def test_separators_are_the_senders_own():
    payload = b"MSH#*!?@#FEED#HOSP#HUB#X#1##ADT*A01*ADT_A01#7#P#2.4\rPID###A*B@C!D*?S?E\r"
    parsed = er7.parse(payload)
    assert parsed.delimiters == Delimiters("#", "*", "!", "?", "@")
    assert parsed.trigger == "ADT^A01"
    assert parsed.get("PID-3.2.2") == "C"
    assert parsed.get("PID-3[2].2") == "*E"
    assert parsed.encode() == payload


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [
        (r"^~\&", Delimiters("|", "^", "~", "\\", "&")),
        (r"^~\&#", Delimiters("|", "^", "~", "\\", "&")),  # the fifth marks truncation
        ("^~", Delimiters("|", "^", "~", "", "")),
        ("^", Delimiters("|", "^", "", "", "")),
        ("", Delimiters()),
        ("ABC", Delimiters()),
    ],
)
def test_encoding_characters_may_be_fewer_more_or_none(encoding: str, expected: Delimiters):
    payload = f"MSH|{encoding}|FEED|HOSP\rPID|1||A^B~C\\T\\D&E\r".encode()
    parsed = er7.parse(payload)
    assert parsed.delimiters == expected
    assert parsed.encode() == payload
    assert parsed.get("PID-3") != ""
    assert ("encoding-characters" in rules(parsed)) is (encoding in ("", "ABC"))


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"\r",
        b"MSH",
        b"MS",
        b"MSH\r",
        b"MSHA^~\\&",
        b"MSH\0^~\\&",
        b"MSH\x1c^~\\&",
        b"PID|1\r",
        b"FHS|^~\\&|\rMSH|^~\\&|",
        b"\xff\xfe",
        b"GET / HTTP/1.1\r\n",
        b"\x00" * 50,
    ],
)
def test_what_does_not_begin_with_a_header_is_refused(payload: bytes):
    with pytest.raises(HieError) as caught:
        er7.parse(payload)
    assert caught.value.category is Category.INVALID
    assert caught.value.issues[0].code == "structure"


def test_a_byte_order_mark_and_blanks_before_the_header_are_dropped_with_a_note():
    payload = b"\xef\xbb\xbf \r\n" + HEADER.encode() + b"\rPID|1\r"
    parsed = er7.parse(payload)
    assert parsed.control_id == "C-1"
    assert rules(parsed) == ["byte-order-mark", "leading-blanks"]
    assert all(finding.severity is Severity.NOTE for finding in parsed.findings)
    assert parsed.encode() == payload


def with_charset(declared: str, name: bytes) -> bytes:
    return f"{HEADER}||||||{declared}\rPID|1||||".encode() + name + b"\r"


@pytest.mark.parametrize(
    ("declared", "name", "expected", "codec", "rule"),
    [
        ("", "Zoë".encode(), "Zoë", "utf-8", None),
        ("UNICODE UTF-8", "Zoë".encode(), "Zoë", "utf-8", None),
        ("utf-8", "Zoë".encode(), "Zoë", "utf-8", None),
        ("8859/1", b"Zo\xeb", "Zoë", "iso8859-1", None),
        ("ISO-8859-1", b"Zo\xeb", "Zoë", "iso8859-1", None),
        ("8859/2", b"\xa3ucja", "Łucja", "iso8859-2", None),
        ("8859/15~UNICODE UTF-8", b"\xa4", "€", "iso8859-15", None),
        ("ASCII", b"Zoe", "Zoe", "ascii", None),
        ("ASCII", b"Zo\xeb", "Zoë", "cp1252", "charset-fallback"),
        ("ASCII", "Zoë".encode(), "Zoë", "utf-8", "charset-fallback"),
        ("UNICODE UTF-8", b"\x80 Zo\xeb", "€ Zoë", "cp1252", "charset-fallback"),
        ("", b"Zo\xeb", "Zoë", "cp1252", "charset-fallback"),
        ("", b"Zo\xeb\x81", "Zoë\x81", "iso8859-1", "charset-unreadable"),
        ("MARTIAN", "Zoë".encode(), "Zoë", "utf-8", "charset-unknown"),
        ("GB 18030-2000", "王芳".encode("gb18030"), "王芳", "gb18030", None),
        ("KS X 1001", "김영희".encode("euc_kr"), "김영희", "euc_kr", None),
        ("ISO IR87", "花子".encode("iso2022_jp"), "花子", "iso2022_jp", None),
    ],
)
def test_the_character_set_is_the_declared_one_or_the_best_guess(
    declared: str, name: bytes, expected: str, codec: str, rule: str | None
):
    payload = with_charset(declared, name)
    parsed = er7.parse(payload)
    assert parsed.get("PID-5") == expected
    assert parsed.charset == codec
    assert rules(parsed) == ([rule] if rule else [])
    assert parsed.encode() == payload


def test_the_sources_own_character_set_counts_more_than_the_declared_one():
    payload = with_charset("UNICODE UTF-8", b"\xa3ucja")
    parsed = er7.parse(payload, "8859/2")
    assert parsed.get("PID-5") == "Łucja"
    assert parsed.encode() == payload


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("mark", ["\ufeff", ""])
def test_two_byte_text_is_recognised(codec: str, mark: str):
    payload = (mark + HEADER + "\rPID|1||||Zoë\r").encode(codec)
    parsed = er7.parse(payload)
    assert parsed.get("PID-5") == "Zoë"
    assert parsed.encode() == payload


def test_the_names_of_character_sets_are_known_however_they_are_written():
    assert charset.codec_of("8859/1") == "iso8859-1"
    assert charset.codec_of("Windows-1252") == "cp1252"
    assert charset.codec_of("klingon") is None


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("plain", "plain"),
        (r"a\F\b\S\c\T\d\R\e\E\f", "a|b^c&d~e\\f"),
        (r"one\.br\two", "one\ntwo"),
        (r"\.sp\x", "\nx"),
        (r"\.sp3\x", "\n\n\nx"),
        (r"\.sp+2\x", "\n\nx"),
        (r"a\.sk4\b", "a    b"),
        (r"\.in4\\.ti2\\.fi\\.nf\x\.ce\y", "x\ny"),
        (r"\H\bold\N\ rest", "bold rest"),
        (r"\X48656C6C6F\!", "Hello!"),
        (r"\XC3AB\ ", "ë "),
        (r"\X4\ ", r"\X4\ "),  # half a byte
        (r"\X\ ", r"\X\ "),
        (r"\Xzz\ ", r"\Xzz\ "),
        (r"\Zlocal\ ", r"\Zlocal\ "),
        (r"\.unknown\ ", r"\.unknown\ "),
        (r"\C2842\ ", r"\C2842\ "),
        ("C:\\temp", "C:\\temp"),
        ("lonely\\", "lonely\\"),
        ("\\\\", "\\\\"),
        (r"a\b\T\c", r"a\b&c"),  # the mark that ends an unknown sequence begins the next
        (r"\E\.br\E\ ", r"\.br\ "),  # escaped twice by the sender: read once
        (r"\P\ ", "# "),
    ],
)
def test_escape_sequences_become_text(raw: str, expected: str):
    assert unescape(raw, Delimiters()) == expected


def test_without_an_escape_character_nothing_is_escaped():
    assert unescape(r"\T\ ", Delimiters(escape="")) == r"\T\ "


def test_hexadecimal_bytes_are_read_in_the_messages_character_set():
    parsed = er7.parse(with_charset("8859/1", rb"Zo\XEB\ "))
    assert parsed.get("PID-5") == "Zoë "


@pytest.mark.parametrize("bomb", [r"\.sp9999\ ", r"\.sk9999\ ", r"\.sp99999999999999999999\ "])
def test_escape_bombs_stay_small(bomb: str):
    grown = unescape(bomb * 50_000, Delimiters())
    assert len(grown) < 200_000  # 10,000 from the commands, then one each, and the blanks


def best_of(times: int, work) -> float:
    durations = []
    for _ in range(times):
        begin = time.process_time()
        work()
        durations.append(time.process_time() - begin)
    return min(durations)


def test_a_message_of_twenty_megabytes_is_read_at_once():
    report = b"QmFzZTY0" * 131_072  # 1 MiB
    lines = [b"OBX|%d|ED|||^^^Base64^" % n + report + b"\r" for n in range(20)]
    payload = HEADER.encode() + b"\r" + b"".join(lines)
    begin = time.process_time()
    parsed = er7.parse(payload)
    assert time.process_time() - begin < 2  # some 0.05 s; the rest is for a busy machine
    assert len(parsed.segments) == 21
    assert parsed.encode() == payload


@pytest.mark.parametrize(
    "filler",
    [b"\n", b"\r\n", b"\r", b" ", b"\\", b"\\T", b"^", b"~", b"&", b"|", b"\nPI", b"A\n", b"\r "],
)
def test_no_run_of_anything_takes_more_than_linear_time(filler: bytes):
    def read(size: int) -> None:
        parsed = er7.parse(HEADER.encode() + b"\rOBX|1|TX|||x" + filler * size)
        for segment in parsed.segments[:3]:
            for element in segment.reps(5):
                assert element.text is not None
                assert element.components is not None

    ratio = best_of(3, lambda: read(40_000)) / best_of(3, lambda: read(4_000))
    assert ratio < 40
