"""Gates and differences of linkage models as commands show them."""

from collections.abc import Sequence
from pathlib import Path

from mpi.settings import LinkageModel, MpiSettings
from mpi.training.gates import Gate, monotone, suite
from mpi.training.plan import GateRules
from mpi.training.suite import load_suite, rates


def judge_file(
    folder: Path, mpi: MpiSettings, before: LinkageModel, after: LinkageModel, rules: GateRules
) -> list[Gate]:
    """The gates that need no index: order of levels, and the fixed pairs of `gold.csv`."""
    pairs = load_suite(folder / "gold.csv", mpi)
    return [monotone(after), suite(rates(pairs, mpi, before), rates(pairs, mpi, after), rules)]


def told(gates: Sequence[Gate]) -> bool:
    """Print the gates; whether all are open."""
    for gate in gates:
        print(f"gate `{gate.name}`: {'open' if gate.is_open else 'SHUT'}")
        for fault in gate.faults:
            print(f"  {fault}")
    return all(gate.is_open for gate in gates)
