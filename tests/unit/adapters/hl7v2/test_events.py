"""HL7 table 0354: the structure of every event, also where MSH-9.3 does not say."""

from pathlib import Path

import pytest

from adapters.hl7v2.conform import Conformer
from adapters.hl7v2.er7 import parse
from adapters.hl7v2.rules import load_rules
from adapters.hl7v2.standard import VERSIONS

CONFORMER = Conformer(load_rules(Path(__file__).parents[4] / "config/hl7v2/conformance.toml"))

#: Structure to the events it serves, as the standard's table has them.
FACTS = """
ADT_A01 A01 A04 A08 A13|ADT_A02 A02|ADT_A03 A03|ADT_A05 A05 A14 A28 A31|ADT_A06 A06 A07
ADT_A09 A09 A10 A11|ADT_A12 A12|ADT_A15 A15|ADT_A16 A16|ADT_A17 A17|ADT_A18 A18|ADT_A20 A20
ADT_A21 A21 A22 A23 A25 A26 A27 A29 A32 A33|ADT_A24 A24|ADT_A30 A30 A34 A35 A36 A46 A47 A48 A49
ADT_A37 A37|ADT_A38 A38|ADT_A39 A39 A40 A41 A42|ADT_A43 A43|ADT_A44 A44|ADT_A45 A45
ADT_A50 A50 A51|ADT_A52 A52 A53|ADT_A54 A54 A55|ADT_A60 A60|ADT_A61 A61 A62|BAR_P01 P01
BAR_P02 P02|BAR_P05 P05|BAR_P06 P06|BAR_P10 P10|BAR_P12 P12|BPS_O29 O29|BRP_O30 O30|BRT_O32 O32
BTS_O31 O31|CCF_I22 I22|CCR_I16 I16 I17 I18|CRM_C01 C01 C02 C03 C04 C05 C06 C07 C08
CSU_C09 C09 C10 C11 C12|DFT_P03 P03|DFT_P11 P11|EAC_U07 U07|EAN_U09 U09|EAR_U08 U08|ESR_U02 U02
ESU_U01 U01|INR_U06 U06|INU_U05 U05|LSU_U12 U12 U13|MDM_T01 T01 T03 T05 T07 T09 T11
MDM_T02 T02 T04 T06 T08 T10|MFK_M01 M01 M04 M05 M06 M07 M08 M09 M10 M11|MFN_M02 M02|MFN_M04 M04
MFN_M05 M05|MFN_M15 M15|MFQ_M01 M01 M02 M03 M04 M05 M06|NMD_N02 N02|OMB_O27 O27|OMD_O03 O03
OMG_O19 O19|OMI_O23 O23|OML_O21 O21|OML_O33 O33|OML_O35 O35|OMN_O07 O07|OMP_O09 O09|OMS_O05 O05
OPL_O37 O37|OPR_O38 O38|ORB_O28 O28|ORD_O04 O04|ORF_R04 R04|ORG_O20 O20|ORI_O24 O24|ORL_O22 O22
ORM_O01 O01|ORN_O08 O08|ORP_O10 O10|ORR_O02 O02|ORS_O06 O06|ORU_R01 R01|ORU_R30 R30 R31 R32
OSQ_Q06 Q06|OSR_Q06 Q06|OUL_R21 R21|OUL_R22 R22|OUL_R23 R23|OUL_R24 R24|PEX_P07 P07 P08
PGL_PC6 PC6 PC7 PC8|PMU_B01 B01 B02|PMU_B03 B03|PMU_B04 B04 B05 B06|PMU_B07 B07
PPG_PCG PCC PCG PCH PCJ|PPP_PCB PCB PCD|PPR_PC1 PC1 PC2 PC3|PPT_PCL PCL|PPV_PCA PCA|PRR_PC5 PC5
PTR_PCF PCF|QBP_Q21 Q21 Q22 Q23 Q24 Q25|QCN_J01 J01 J02|QRY_A19 A19|QRY_PC4 PC4 PC9 PCE PCK
QRY_Q01 Q01 Q26 Q27 Q28 Q29 Q30|QRY_R02 R02|QSB_Q16 Q16|QVR_Q17 Q17|RAS_O17 O17|RCI_I05 I05
RCL_I06 I06|RDE_O11 O11 O25|RDS_O13 O13|RDY_K15 K15|REF_I12 I12 I13 I14 I15|RGV_O15 O15
RPA_I08 I08 I09 I10 I11|RPI_I01 I01|RPI_I04 I04|RPL_I02 I02|RQA_I08 I08 I09 I10 I11
RQC_I05 I05 I06|RQI_I01 I01 I02 I03|RQP_I04 I04|RRA_O18 O18|RRD_O14 O14|RRE_O12 O12 O26
RRG_O16 O16|RRI_I12 I12 I13 I14 I15|RSP_K21 K21|RSP_K22 K22|RSP_K23 K23|RSP_K25 K25
SDR_S31 S31 S36|SDR_S32 S32 S37|SIU_S12 S12 S13 S14 S15 S16 S17 S18 S19 S20 S21 S22 S23 S24 S26
SLR_S28 S28 S29 S30 S34 S35|SQM_S25 S25|SRM_S01 S01 S02 S03 S04 S05 S06 S07 S08 S09 S10 S11
SRR_S01 S01 S02 S03 S04 S05 S06 S07 S08 S09 S10 S11|SSR_U04 U04|SSU_U03 U03|STC_S33 S33
SUR_P09 P09|TCU_U10 U10 U11|UDM_Q05 Q05|VXQ_V01 V01|VXR_V03 V03|VXU_V04 V04|VXX_V02 V02
"""
ROWS = [row.split() for row in FACTS.strip().replace("\n", "|").split("|")]
EVENTS = [(structure, event) for structure, *events in ROWS for event in events]


def remarks(kind: str, version: str) -> tuple[str, list[str]]:
    payload = f"MSH|^~\\&|A|B|C|D|2026||{kind}|1|P|{version}\r".encode()
    found = CONFORMER.conform(parse(payload))
    about = ("structure-mismatch", "trigger-unknown")
    return found.structure, [f.rule for f in found.findings if f.rule in about]


@pytest.mark.parametrize(("structure", "event"), EVENTS)
def test_an_event_has_the_structure_of_the_table(structure: str, event: str):
    trigger = f"{structure[:3]}^{event}"
    read, rules = remarks(f"{trigger}^{structure}", "2.8.2")
    assert (read, rules) == (structure, [])
    # Where MSH-9.3 is empty an older table's own structure of the event may serve as well.
    guessed, rules = remarks(trigger, "2.8.2")
    assert guessed in (structure, f"{structure[:3]}_{event}")
    assert rules == []


@pytest.mark.parametrize("version", VERSIONS)
def test_every_event_is_known_in_every_version(version: str):
    for structure, event in EVENTS:
        assert remarks(f"{structure[:3]}^{event}", version)[1] == []
