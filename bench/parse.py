"""Microseconds a message: tokenize, conform and map, beside hl7apy and python-hl7 in one run."""

import gc
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import hl7
from hl7apy.consts import VALIDATION_LEVEL
from hl7apy.exceptions import HL7apyException
from hl7apy.parser import parse_message

from adapters.hl7v2 import ack, er7
from adapters.hl7v2.conform import Conformer
from adapters.hl7v2.er7 import Message
from adapters.hl7v2.mapper import Mapper
from adapters.hl7v2.maps import load_maps
from adapters.hl7v2.rules import load_rules
from adapters.sources import Source, adhoc_source
from bench.machine import print_table
from bench.messages import oru
from hie.kernel.ids import MessageId

CONFIG = Path(__file__).resolve().parents[1] / "config"
RECEIVED_US = 1_700_000_000_000_000
ROUNDS = 20  # short ones: another process disturbs some of them, hardly all
PATIENT = (
    "PID|1||K-1001^^^BENCHLAB&1.2.840.99&ISO^MR~999-55-0001^^^USA^SS||Testperson^Ada^Q^^^^L"
    "||19800229|F||2106-3^White^HL70005|1 Sample Road^^Springfield^MA^01101^USA^H||^PRN^PH^^1^413"
    "^5550100||en^English^HL70296|M^Married^HL70002"
)
PARTS = {
    "ADT^A01, 12 segments": (
        "ADT^A01^ADT_A01",
        "EVN||20260131093000-0500|||KEEPER1|20260131092900-0500",
        PATIENT,
        "PD1||||1122334455^Practice^Pat^^^^^^NPI^L",
        "NK1|1|Testperson^Bob|SPO^Spouse^HL70063|1 Sample Road^^Springfield^MA^01101",
        "PV1|1|I|3W^301^1^HOSP|||||5566778899^Attend^Ann|||MED||||||||V-2001^^^HOSP|||||||||||||||||||||"
        "||||20260131090000-0500",
        "OBX|1|NM|8867-4^Heart rate^LN||72|/min^per minute^UCUM|60-100||||F|||20260131091500",
        "AL1|1|DA^Drug allergy^HL70127|7980^Penicillin^RXNORM|SV|Hives",
        "AL1|2|FA^Food allergy^HL70127|256349002^Peanut^SCT|MO|Rash",
        "DG1|1||E11.9^Type 2 diabetes^I10C||20250101|F",
        "DG1|2||I10^Hypertension^I10C||20250101|F",
        "IN1|1|PLAN1^Plan One|INS1|Insurer One||||||||20260101",
    ),
    "VXU^V04, 9 segments": (
        "VXU^V04^VXU_V04",
        PATIENT,
        "PD1||||1122334455^Practice^Pat^^^^^^NPI^L",
        "NK1|1|Testperson^Bob|MTH^Mother^HL70063|1 Sample Road^^Springfield^MA^01101",
        "ORC|RE|P-1^HOSP|F-1^HOSP",
        "RXA|0|1|20260131|20260131|08^Hep B^CVX|0.5|mL^milliliter^UCUM||00^New^NIP001||||||LOT1"
        "|20270101|MSD^Merck^MVX||||A",
        "RXR|IM^Intramuscular^HL70162|LA^Left arm^HL70163",
        "OBX|1|CE|64994-7^Eligibility^LN|1|V02^Medicaid^HL70064||||||F|||20260131",
        "OBX|2|CE|30963-3^Funding^LN|1|VXC50^Public^CDCPHINVS||||||F|||20260131",
    ),
    "RDE^O11, 8 segments": (
        "RDE^O11^RDE_O11",
        PATIENT,
        "PV1|1|O",
        "ORC|NW|P-1^HOSP|F-1^HOSP||IP||||20260131091000|||5566778899^Attend^Ann",
        "RXE||314076^Lisinopril 10 MG^RXNORM|10||mg^milligram^UCUM|TAB^Tablet^HL70292|Take daily||"
        "|30|TAB^Tablet|3||||RX-77",
        "TQ1|1||QD&Once a day&HL70335||||20260131|20260302",
        "RXR|PO^Oral^HL70162",
        "RXC|B|314076^Lisinopril 10 MG^RXNORM|10|mg^milligram^UCUM",
    ),
}


def samples() -> dict[str, bytes]:
    """The messages, 2.5.1, segments ended by CR."""
    found = {}
    for name, (kind, *lines) in PARTS.items():
        header = f"MSH|^~\\&|BENCH|BENCHLAB|HUB|STATE|20260131093000-0500||{kind}|C-1|P|2.5.1"
        found[name] = "".join(f"{line}\r" for line in (header, *lines)).encode()
    found["ORU^R01, 20 results"] = oru(1)
    return found


def measure(folder: Path, *, count: int) -> None:
    """Print the table of microseconds.

    Args:
        folder: not used; nothing is stored.
        count: calls a round of what is fast; a round has a tenth of it, the best counts.
    """
    del folder
    conformer = Conformer(load_rules(CONFIG / "hl7v2" / "conformance.toml"))
    mapper, source = Mapper(load_maps(CONFIG)), adhoc_source("BENCH", "BENCHLAB")
    rows = []
    for name, payload in samples().items():
        times = _ours(payload, conformer, mapper, source, count) | _theirs(payload, count)
        ours = times["tokenize"] + times["conform"]
        rows.append(
            (
                name,
                str(len(payload)),
                *(f"{times[step]:,.0f}" for step in times),
                f"{times['python-hl7'] / ours:.0f} x",
                f"{times['hl7apy'] / ours:.0f} x",
            )
        )
    header = ("message", "bytes", *times, "hl7 / t+c", "hl7apy / t+c")
    print_table(
        "µs of processor time a message, best round; parsers read text, ours bytes", header, rows
    )


def _ours(
    payload: bytes, conformer: Conformer, mapper: Mapper, source: Source, count: int
) -> dict[str, float]:
    def fresh() -> Message:
        return er7.parse(payload)

    def judged() -> None:
        message = fresh()
        ack.header_of(message)
        conformer.conform(message, source)

    def mapped() -> None:
        mapper.map(fresh(), source, message_id=MessageId(1), received_us=RECEIVED_US)

    tokenize = _microseconds(fresh, count)
    return {
        "tokenize": tokenize,
        "conform": _microseconds(judged, count) - tokenize,
        "map": _microseconds(mapped, max(10, count // 10)) - tokenize,
    }


def _theirs(payload: bytes, count: int) -> dict[str, float]:
    text = payload.decode()

    def hl7apy_parse() -> Any:
        return parse_message(text, validation_level=VALIDATION_LEVEL.TOLERANT)

    def hl7apy_validate() -> None:
        with suppress(HL7apyException):  # it raises the first of what it reports
            hl7apy_parse().validate(report_file="/dev/null")

    return {
        "python-hl7": _microseconds(lambda: hl7.parse(text), max(5, count // 20)),
        "hl7apy": _microseconds(hl7apy_parse, max(2, count // 500), 4),
        "+ validate": _microseconds(hl7apy_validate, max(2, count // 500), 4),
    }


def _microseconds(call: Callable[[], Any], count: int, rounds: int = ROUNDS) -> float:
    """Processor time of a call, the best round, garbage collection off."""
    call()
    count = max(1, count // 10)
    best = float("inf")
    gc.disable()
    for _ in range(rounds):
        started = time.process_time()
        for _ in range(count):
            call()
        best = min(best, time.process_time() - started)
        gc.collect()
    gc.enable()
    return best / count * 1_000_000
