"""What became of each code of the guide's vocabulary maps: looked up in our concept maps."""

from dataclasses import dataclass
from typing import Final

from adapters.hl7v2.codes import V2_TABLE
from adapters.terminology import Concept, Terminology
from docs.guide.rows import Fate, Stated, guide_codes

#: In `[tables]` of stated.toml: the sender's own code is kept, with its v2 table as system.
KEPT: Final = "kept"


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgedCode:
    """One code of one of the guide's maps, and what became of it."""

    map: str
    code: str
    fate: Fate
    where: str = ""


def code_rows(terminology: Terminology, stated: Stated) -> list[JudgedCode]:
    """The rows of the vocabulary maps."""
    return [_judge(*row, terminology, stated) for row in guide_codes()]


def _judge(  # noqa: PLR0913, PLR0917 - one row of the table, and where to look
    name: str,
    code: str,
    system: str,
    target: str,
    target_system: str,
    terminology: Terminology,
    stated: Stated,
) -> JudgedCode:
    tables = stated.content["tables"].get(name, [])
    for table in tables:
        if table == KEPT:
            # What a CWE converter does with a code no map translates: HL70487 becomes v2-0487.
            if code == target and target_system == V2_TABLE + system.removeprefix("HL7"):
                return JudgedCode(map=name, code=code, fate=Fate.MAPPED, where=KEPT)
            continue
        concept = terminology.map(table).translate(code)
        if concept is not None and _is_same(concept, target, target_system):
            return JudgedCode(map=name, code=code, fate=Fate.MAPPED, where=f"`{table}`")
    if said := stated.find("codes", name, code, code):
        return JudgedCode(map=name, code=code, fate=said[0], where=said[1])
    return JudgedCode(map=name, code=code, fate=Fate.OPEN)


def _is_same(concept: Concept, target: str, system: str) -> bool:
    if concept.target != target:
        return False
    # A code element has no system: there a table names one only where it says more than ours.
    return not concept.system or not system or _plain(concept.system) == _plain(system)


def _plain(system: str) -> str:
    return system.replace("https:", "http:").rstrip("/").lower()
