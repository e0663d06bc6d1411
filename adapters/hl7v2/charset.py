"""From the bytes of a message to its text, and back without loss.

Order of belief: the source's own setting, a byte-order mark, MSH-18, then UTF-8, then
Windows-1252, then Latin-1, which reads anything. Each step down leaves a finding.
Spec: HL7 v2.8.2 chapter 2, MSH-18 and table 0211.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from hie.kernel.envelope import Finding, Severity

_UTF8_BOM: Final = b"\xef\xbb\xbf"
_WIDE: Final = (
    (b"\xff\xfe", "utf-16-le", 2),
    (b"\xfe\xff", "utf-16-be", 2),
    (b"M\0S\0H\0", "utf-16-le", 0),
    (b"\0M\0S\0H", "utf-16-be", 0),
)
#: HL7 table 0211, and what senders write instead, without blanks and punctuation.
_CODECS: Final = {
    "ASCII": "ascii",
    "USASCII": "ascii",
    "ISOIR6": "ascii",
    "UNICODEUTF8": "utf-8",
    "UTF8": "utf-8",
    "WINDOWS1252": "cp1252",
    "CP1252": "cp1252",
    "LATIN1": "iso8859-1",
    "ISOIR14": "shift_jis",
    "ISOIR87": "iso2022_jp",
    "ISOIR159": "iso2022_jp_1",
    "GB180302000": "gb18030",
    "KSX1001": "euc_kr",
    "BIG5": "big5",
} | {
    f"{prefix}8859{part}": f"iso8859-{part}"
    for prefix in ("", "ISO")
    for part in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 13, 14, 15, 16)
}
#: Codecs that give one text for one byte string and back; for the others the bytes are kept.
_REVERSIBLE: Final = frozenset(
    {"ascii", "utf-8", "cp1252"} | {codec for codec in _CODECS.values() if "8859" in codec}
)
_HEADER_BYTES: Final = 4096
_GUESSES: Final = ("utf-8", "cp1252", "iso8859-1")


@dataclass(frozen=True, slots=True, kw_only=True)
class Text:
    """A payload as text.

    Attributes:
        body: from the first character that is not blank.
        lead: the blanks before it.
        codec: the Python codec it was read with.
        mark: the byte-order mark that was dropped.
        verbatim: the payload, where writing the text again might give other bytes.
        findings: what had to be tolerated.
    """

    body: str
    lead: str
    codec: str
    mark: bytes = b""
    verbatim: bytes | None = None
    findings: tuple[Finding, ...] = ()

    def encode(self, body: str) -> bytes:
        """The payload again, given its body."""
        if self.verbatim is not None:
            return self.verbatim
        return self.mark + (self.lead + body).encode(self.codec)


def read(payload: bytes, override: str | None = None) -> Text:
    """The text of a payload; never fails.

    Args:
        payload: any bytes.
        override: HL7 table 0211 code that counts more than MSH-18.
    """
    for start, codec, size in _WIDE:
        if payload.startswith(start):
            return _text(payload[size:].decode(codec, "replace"), codec, verbatim=payload)
    mark = _UTF8_BOM if payload.startswith(_UTF8_BOM) else b""
    rest = payload[len(mark) :]
    findings = [note("byte-order-mark", "byte order mark before `MSH` dropped")] if mark else []
    text, codec = _narrow(rest, override, "utf-8" if mark else None, findings)
    verbatim = None if codec in _REVERSIBLE else payload
    return _text(text, codec, mark=mark, verbatim=verbatim, findings=findings)


@lru_cache(maxsize=256)
def codec_of(charset: str) -> str | None:
    """The Python codec of an HL7 table 0211 code or a usual name of it; None if unknown."""
    return _CODECS.get(re.sub(r"[^A-Z0-9]", "", charset.upper()))


def note(rule: str, text: str) -> Finding:
    """A finding about the message as a whole, of the lightest severity."""
    return Finding(code="102", rule=rule, text=text, severity=Severity.NOTE)


def _text(
    text: str,
    codec: str,
    *,
    mark: bytes = b"",
    verbatim: bytes | None = None,
    findings: list[Finding] | None = None,
) -> Text:
    body = text.lstrip()
    lead = text[: len(text) - len(body)]
    found = findings or []
    if lead:
        found.append(note("leading-blanks", "blanks before `MSH` dropped"))
    return Text(
        body=body, lead=lead, codec=codec, mark=mark, verbatim=verbatim, findings=tuple(found)
    )


def _narrow(
    payload: bytes, override: str | None, default: str | None, findings: list[Finding]
) -> tuple[str, str]:
    """(text, codec) of a payload whose characters below 128 are ASCII."""
    wanted = override or ("" if default else _declared(payload))
    codec = codec_of(wanted) if wanted else default
    if wanted and codec is None:
        findings.append(_doubt("charset-unknown", "character set is not one of table 0211"))
    first = codec or _GUESSES[0]
    for guess in (first, *_GUESSES):
        try:
            text = payload.decode(guess)
        except UnicodeDecodeError:
            continue
        break
    if guess != first:
        # Latin-1 reads anything, so it proves nothing.
        rule = "charset-fallback" if guess != _GUESSES[-1] else "charset-unreadable"
        findings.append(_doubt(rule, f"not readable as declared, read as {guess}"))
    return text, guess


def _doubt(rule: str, text: str) -> Finding:
    return Finding(
        code="102",
        rule=rule,
        text=text,
        severity=Severity.WARNING,
        segment="MSH",
        sequence=1,
        field=18,
    )


def _declared(payload: bytes) -> str:
    """MSH-18, read before the character set is known."""
    line = payload[:_HEADER_BYTES].lstrip().partition(b"\r")[0].partition(b"\n")[0]
    if line[:3] != b"MSH" or len(line) < 4:
        return ""
    fields = line.split(line[3:4], 18)
    if len(fields) < 18:
        return ""
    repetition = fields[1][1:2]
    value = fields[17].partition(repetition)[0] if repetition else fields[17]
    return value.decode("ascii", "replace")
