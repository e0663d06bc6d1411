"""What people read for the index's codes (`config/mpi/words.toml`)."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from mpi.config_table import ConfigTable
from mpi.levels import COMPARISONS, FAMILY


@dataclass(frozen=True, slots=True, kw_only=True)
class Words:
    """Words by code; a code without words stands for itself.

    Attributes:
        comparisons: what is compared; levels: by comparison, how it agrees.
        vetoes, reasons: sentences; outcomes, grades: a few words.
        marks: thresholds, as short as a drawing needs them.
        questions: by kind of task; choices: what may be decided, and what it does.
        decisions: what was decided, by kind.
    """

    comparisons: Mapping[str, str]
    levels: Mapping[str, Mapping[str, str]]
    vetoes: Mapping[str, str]
    reasons: Mapping[str, str]
    outcomes: Mapping[str, str]
    grades: Mapping[str, str]
    marks: Mapping[str, str]
    questions: Mapping[str, str]
    choices: Mapping[str, str]
    decisions: Mapping[str, str]

    def level(self, comparison: str, level: str) -> str:
        """How a comparison turned out."""
        return self.levels.get(comparison, {}).get(level, level)

    def reason(self, code: str) -> str:
        """Why something was decided: a veto or another reason."""
        return self.vetoes.get(code) or self.reasons.get(code, code)


def load_words(folder: Path) -> Words:
    """The words of a `config/mpi` folder.

    Raises:
        HieError: INVALID; the text names file, key and kind of value.
    """
    table = ConfigTable.read(folder / "words.toml")
    levels = table.sub("level")
    return Words(
        comparisons=table.sub("comparison").strings(),
        levels=MappingProxyType(
            {name: levels.sub(name).strings() for name in (*COMPARISONS, FAMILY)}
        ),
        vetoes=table.sub("veto").strings(),
        reasons=table.sub("reason").strings(),
        outcomes=table.sub("outcome").strings(),
        grades=table.sub("grade").strings(),
        marks=table.sub("mark").strings(),
        questions=table.sub("question").strings(),
        choices=table.sub("choice").strings(),
        decisions=table.sub("decision").strings(),
    )
