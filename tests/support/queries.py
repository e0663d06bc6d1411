"""Messages of the identity tests written short: patients arriving, and queries about them."""

from adapters.hl7v2 import er7
from adapters.hl7v2.er7 import Message


def message(kind: str, number: str, who: str, *segments: str, header: str = "") -> bytes:
    """A message; `who` is MSH-3 and MSH-4, `header` replaces what stands from MSH-11 on."""
    rest = header or "P|2.5"
    msh = f"MSH|^~\\&|{who}|{who}|HIE|HIE|20260101120000||{kind}|{number}|{rest}"
    return "".join(f"{segment}\r" for segment in (msh, *segments)).encode()


def arrival(who: str, number: str, *, name: str = "QUILL^HORTENSIA", born: str = "19510412",
            event: str = "A04", more: str = "||12 OAK ST^^SPRINGFIELD^MA^01101||4135550142",
            ssn: str = "900776655") -> bytes:  # fmt: skip
    """A patient of a source's, by a number of its own."""
    pid = f"PID|1||{number}^^^{who}^MR||{name}||{born}|F|{more}||||||{ssn}"
    evn = f"EVN|{event}|20260101120000"
    return message(f"ADT^{event}", f"{event}{number}", who, evn, pid, "PV1|1|O")


def pix(
    who: str, identifier: str, targets: str = "", *, tag: str = "T1", header: str = ""
) -> bytes:
    """QBP^Q23: which other numbers has the patient with this one?"""
    qpd = f"QPD|IHE PIX Query|{tag}|{identifier}|{targets}".rstrip("|")
    return message("QBP^Q23^QBP_Q21", f"X{tag}", who, qpd, "RCP|I", header=header)


def pdq(who: str, asked: str, *, domains: str = "", rcp: str = "I", dsc: str = "",
        tag: str = "T2", header: str = "") -> bytes:  # fmt: skip
    """QBP^Q22: who has all of this?"""
    qpd = f"QPD|IHE PDQ Query|{tag}|{asked}|||||{domains}".rstrip("|")
    more = [f"DSC|{dsc}|I"] if dsc else []
    return message("QBP^Q22^QBP_Q21", f"D{tag}", who, qpd, f"RCP|{rcp}", *more, header=header)


def read(answer: bytes) -> Message:
    """An answer as a message."""
    return er7.parse(answer)


def numbers(answer: bytes) -> list[str]:
    """PID-3 of every person in an answer, as written."""
    return [one.raw for pid in read(answer).all("PID") for one in pid.reps(3)]


def body(answer: bytes) -> bytes:
    """An answer without MSH, which has its own time and number."""
    return answer.partition(b"\r")[2]
