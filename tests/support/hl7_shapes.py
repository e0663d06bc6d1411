"""Synthetic HL7 v2 messages in the shapes that real feeds have; every person is made up."""

from dataclasses import dataclass

#: One line per segment; the same person throughout.
LINES = {
    "SFT": "SFT|Makers of Feeds|4.2|Feedmaker|B-77||20260101",
    "EVN": "EVN||20260131093000-0500|||KEEPER1|20260131092900-0500",
    "PID": (
        "PID|1||K-1001^^^HOSP&1.2.840.99&ISO^MR~999-55-0001^^^USA^SS||Testperson^Ada^Q^^^^L"
        "||19800229|F||2106-3^White^HL70005|1 Sample Road^^Springfield^MA^01101^USA^H"
        "||^PRN^PH^^1^413^5550100||en^English^HL70296|M^Married^HL70002"
    ),
    "PD1": "PD1||||1122334455^Practice^Pat^^^^^^NPI^L",
    "ARV": "ARV||A|DEM^Demographics^HL70717",
    "ROL": "ROL|R-1|AD|PP^Primary Care Provider^HL70443|1122334455^Practice^Pat",
    "MRG": "MRG|K-0999^^^HOSP&1.2.840.99&ISO^MR",
    "NK1": "NK1|1|Testperson^Bob|SPO^Spouse^HL70063|1 Sample Road^^Springfield^MA^01101",
    "PV1": "PV1|1|I|3W^301^1^HOSP|||||5566778899^Attend^Ann|||MED||||||||V-2001^^^HOSP|||||||||"
    "||||||||||||||||20260131090000-0500",
    "PV2": "PV2||||||||20260131",
    "DB1": "DB1|1|PT",
    "OBX": "OBX|1|NM|8867-4^Heart rate^LN||72|/min^per minute^UCUM|60-100||||F|||20260131091500",
    "AL1": "AL1|1|DA^Drug allergy^HL70127|7980^Penicillin^RXNORM|SV|Hives",
    "IAM": "IAM|1|DA^Drug allergy^HL70127|7980^Penicillin^RXNORM|SV|Hives|A^Add^HL70323",
    "IAR": "IAR|39579001^Anaphylaxis^SCT|SV",
    "DG1": "DG1|1||E11.9^Type 2 diabetes^I10C||20250101|F",
    "PR1": "PR1|1||80146002^Appendectomy^SCT||20260130120000",
    "GT1": "GT1|1||Testperson^Bob",
    "IN1": "IN1|1|PLAN1^Plan One|INS1|Insurer One",
    "IN2": "IN2|1",
    "RF1": "RF1|A^Accepted^HL70283|||||REF-1",
    "ACC": "ACC|20260101",
    "PDA": "PDA|I10^Hypertension^I10C",
    "PRT": "PRT||AD||AP^Attending Provider^HL70912|5566778899^Attend^Ann",
    "FT1": "FT1|1|||20260131|20260131|CG|99213^Office visit^C4",
    "ORC": "ORC|RE|P-1^HOSP|F-1^LAB||CM||||20260131",
    "OBR": "OBR|1|P-1^HOSP|F-1^LAB|57021-8^CBC panel^LN|||20260131091000|||||||||"
    "5566778899^Attend^Ann||||||20260131100000||LAB|F",
    "SPM": "SPM|1|S-1&HOSP^S-1&LAB||119297000^Blood specimen^SCT|||||||||||||20260131091000",
    "TXA": "TXA|1|CN^Consultation^HL70270|TX|20260131||||||||D-1|||||AU",
    "CON": "CON|1|001",
    "NTE": "NTE|1||Seen in good spirits",
    "TQ1": "TQ1|1||BID&Twice a day&HL70335",
    "CTD": "CTD|PR^Primary^HL70131|Contact^Carl",
    "SAC": "SAC|E-1",
    "BLG": "BLG|D",
    "CTI": "CTI|STUDY-1",
    "RXO": "RXO|314076^Lisinopril 10 MG^RXNORM|10||mg^milligram^UCUM",
    "RXR": "RXR|PO^Oral^HL70162",
    "RXC": "RXC|B|314076^Lisinopril 10 MG^RXNORM|10|mg^milligram^UCUM",
    "RXE": "RXE||314076^Lisinopril 10 MG^RXNORM|10||mg^milligram^UCUM|||||30",
    "RXD": "RXD|1|314076^Lisinopril 10 MG^RXNORM|20260131|30|||RX-1",
    "RXA": "RXA|0|1|20260131|20260131|08^Hep B^CVX|0.5|mL^milliliter^UCUM||00^New^NIP001"
    "||||||LOT1|20270101|MSD^Merck^MVX||||A",
    "CDO": "CDO|1",
    "SCH": "SCH|A-1|||||CHECKUP^Routine check^HL70276|||30|min^minute^UCUM",
    "RGS": "RGS|1",
    "AIS": "AIS|1||CHECK^Check",
    "AIG": "AIG|1||ROOM",
    "AIL": "AIL|1||R1^^^HOSP",
    "AIP": "AIP|1||5566778899^Attend^Ann",
    "ZPI": "ZPI|1|local&sub^value~again",
}

_FRONT = "SFT EVN PID PD1 ARV ROL"
_VISIT = "PV1 PV2 ARV ROL DB1"
_TAIL = "AL1 DG1 PR1 ROL GT1 IN1 IN2"
_FULL = f"{_FRONT} NK1 {_VISIT} OBX {_TAIL} RF1 ACC"
_SHORT = "SFT EVN PID PD1 PV1 PV2 DB1 OBX"


@dataclass(frozen=True)
class Shape:
    """How one kind of message looks: type, version, segments, line ends."""

    trigger: str
    segments: str
    version: str = "2.8"
    structure: str | None = None  # None = as the trigger, "" = not sent
    end: bytes = b"\n"
    mark: bytes = b""

    @property
    def name(self) -> str:
        """For a test's id."""
        return f"{self.trigger}-{self.version}-{len(self.segments.split())}"

    def lines(self, control_id: str = "C-1") -> list[str]:
        """The segments, MSH first."""
        structure = self.trigger.replace("^", "_") if self.structure is None else self.structure
        kind = f"{self.trigger}^{structure}" if structure else self.trigger
        msh = f"MSH|^~\\&|FEED|HOSP|HUB|STATE|20260131093000-0500||{kind}|{control_id}|P|"
        return [msh + self.version, *(LINES[name] for name in self.segments.split())]

    def payload(self, control_id: str = "C-1") -> bytes:
        """The message as a file would hold it."""
        lines = [line.encode() + self.end for line in self.lines(control_id)]
        return self.mark + b"".join(lines)


_BOM = b"\xef\xbb\xbf"
_LABS = "OBX " * 5

SHAPES = (
    *(Shape(f"ADT^{event}", f"{_FULL} PDA") for event in ("A01", "A04", "A08", "A13")),
    Shape("ADT^A02", f"{_FRONT} {_VISIT} OBX PDA"),
    Shape("ADT^A03", f"{_FRONT} NK1 {_VISIT} AL1 DG1 PR1 ROL OBX GT1 IN1 IN2 RF1 ACC PDA"),
    *(Shape(f"ADT^{event}", _FULL) for event in ("A05", "A14", "A16", "A28", "A31")),
    *(
        Shape(f"ADT^{event}", f"{_FRONT} MRG NK1 {_VISIT} OBX {_TAIL} ACC")
        for event in ("A06", "A07")
    ),
    *(Shape(f"ADT^{event}", _SHORT) for event in ("A09", "A10", "A11", "A25", "A26", "A27", "A29")),
    Shape("ADT^A15", f"{_FRONT} {_VISIT} OBX"),
    Shape("ADT^A40", "EVN PID MRG"),
    *(Shape(f"ADT^{event}", "SFT EVN PID PD1 MRG PV1") for event in ("A41", "A45")),
    Shape("ADT^A47", "SFT EVN PID MRG"),
    Shape("ADT^A60", "SFT EVN PID ARV PV1 PV2 ARV IAM NTE IAR"),
    Shape("ADT^A01", "EVN PID NK1 PV1 GT1 DG1 IN1 IN2 IN1 IN2 IN1", "2.3", "", mark=_BOM),
    Shape("ADT^A01", "EVN PID NK1 PV1", "2.5.1", mark=_BOM),
    Shape("ADT^A04", "EVN PID NK1 NK1 PV1 IN1 IN1", "2.3", "", mark=_BOM),
    Shape("ADT^A04", "PID NK1 PV1", "2.3", "", mark=_BOM),
    Shape("ADT^A04", "EVN PID PD1 NK1 PV1 GT1 IN1", "2.3", "", end=b"\r\n", mark=_BOM),
    Shape("DFT^P03", "EVN PID PD1 PRT PV1 PRT ORC OBR OBX FT1 PRT PR1 PRT FT1 DG1 DG1 IN1 IN2"),
    Shape("VXU^V04", "PID PD1 NK1 ORC RXA RXR OBX OBX OBX OBX", "2.5.1", mark=_BOM),
    Shape("ORU^R01", f"PID OBR {_LABS} SPM OBR {_LABS} SPM", "2.5", "", mark=_BOM),
    Shape("ORU^R01", f"PID ORC OBR {'OBX ' * 28} SPM", "2.5.1", mark=_BOM),
    Shape("MDM^T02", "EVN PID PV1 ORC TQ1 OBR NTE TXA CON OBX NTE OBX"),
    Shape(
        "OML^O21",
        "PID PV1 IN1 IN2 GT1 AL1 ORC TQ1 OBR NTE CTD DG1 OBX OBX NTE SPM OBX SAC OBX FT1 FT1 BLG",
        "2.6",
        mark=_BOM,
    ),
    Shape("ORM^O01", "PID PV1 AL1 ORC OBR CTD DG1 OBX FT1 CTI BLG", "2.6", mark=_BOM),
    Shape("ORM^O01", "PID PV1 IN1 IN2 GT1 AL1 ORC OBR NTE CTD DG1 OBX OBX NTE", "2.6", mark=_BOM),
    Shape("ORM^O01", "PID PV1 ORC OBR DG1 FT1 CTI BLG ORC OBR FT1 CTI BLG", "2.6", mark=_BOM),
    Shape(
        "ORU^R01",
        "SFT PID PRT OBX PRT PV1 PRT ORC PRT OBX PRT TXA OBR NTE NTE PRT TQ1 CTD OBX PRT NTE NTE "
        "FT1 CTI SPM OBX OBX PRT",
        "2.5.1",
    ),
    Shape(
        "RDE^O11",
        "SFT PID PD1 PRT PV1 PV2 PRT IN1 IN2 GT1 ORC PRT TQ1 RXO PRT RXR RXC RXE PRT TQ1 RXR RXC "
        "CDO OBX PRT FT1 BLG CTI",
    ),
    Shape(
        "RDS^O13",
        "SFT PID PD1 PRT PV1 PV2 PRT ORC PRT TQ1 RXO PRT RXR RXC RXE PRT TQ1 RXR RXC RXD PRT RXR "
        "RXC CDO OBX PRT FT1",
    ),
    Shape("SIU^S12", "SCH TQ1 NTE PID PV1 PV2 OBX DG1 RGS AIS NTE NTE AIG NTE AIL NTE AIP"),
    Shape(
        "VXU^V04",
        "SFT PID PD1 NK1 PV1 PV2 GT1 IN1 IN2 OBX PRT NTE ORC PRT TQ1 RXA RXR OBX OBX OBX OBX PRT",
        mark=_BOM,
    ),
    Shape("VXU^V04", "PID PD1 ORC RXA RXR OBX OBX OBX OBX ORC RXA ORC RXA", "2.5.1", mark=_BOM),
)
