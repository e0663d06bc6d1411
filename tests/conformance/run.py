"""`make conformance`: what the hub makes and serves, before judges that others wrote.

    python -m tests.conformance.run [--jar PATH]

Prints the remarks by judge and what became of them; exit code 1 where a remark is neither fixed
nor listed with its reason in `known.csv`, or where a row of that table excuses nothing any more.
HL7's official validator judges only where its JAR is given: nothing is claimed without it.
"""

import argparse
import asyncio
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.conformance import judges
from tests.conformance.model import Found, Known, Report, Subject, compare, read_known
from tests.conformance.subjects import converted, served

CHARTS = 3
#: Remarks told one by one at most.
MOST = 40


async def subjects_of(charts: int, *, feeds_messages: bool, step: int = 1) -> list[Subject]:
    """Everything that is judged.

    Args:
        charts: of each set.
        feeds_messages: whether golden messages are sent to the hub too.
        step: of the golden messages each `step`-th is converted.
    """
    found = list(converted(step))
    with TemporaryDirectory() as folder:
        home = Path(folder) / "hub"
        found += [each async for each in served(home, charts, feeds_messages=feeds_messages)]
    return found


def judged(subjects: Sequence[Subject], jar: Path | None) -> list[Found]:
    """What every judge says."""
    found = [*judges.by_ourselves(subjects), *judges.by_fhirkit(subjects)]
    found += judges.by_us_core(each for each in subjects if each.is_converted)
    found += judges.by_fhir_js(subjects)
    if jar is not None:
        found += judges.by_official(subjects, jar)
    return found


def told(subjects: Sequence[Subject], report: Report, known: Sequence[Known]) -> str:
    """The outcome for a reader."""
    kinds = Counter(each.name.partition(":")[0] for each in subjects)
    whole = sum(kinds[kind] for kind in ("everything", "summary"))
    lines = [f"{len(subjects)} resources judged, {whole} of them of $everything and $summary"]
    lines += [
        f"  {count:6} {row.judge:8} {row.severity:11} {row.place.pattern}: {row.reason}"
        for row, count in report.covered.items()
    ]
    lines.append(f"{len(report.unlisted)} remarks are not listed in known.csv")
    lines += [
        f"  {each.judge} {each.severity} `{each.place}` {each.text} ({each.subject})"
        for each in report.unlisted[:MOST]
    ]
    stale = report.stale(known)
    lines += [f"  no remark any more: {row.judge} {row.place.pattern}" for row in stale]
    return "\n".join(lines)


def main() -> int:
    """Judge and tell; the exit code."""
    options = argparse.ArgumentParser(prog="make conformance", description=__doc__)
    options.add_argument("--jar", type=Path, help="HL7's validator_cli.jar")
    jar: Path | None = options.parse_args().jar
    subjects = asyncio.run(subjects_of(CHARTS, feeds_messages=True))
    known = [row for row in read_known() if jar is not None or row.judge != "official"]
    report = compare(judged(subjects, jar), known)
    sys.stdout.write(told(subjects, report, known) + "\n")
    if jar is None:
        sys.stdout.write("HL7's official validator was not asked (make conformance JAR=PATH)\n")
    return 1 if report.unlisted or report.stale(known) else 0


if __name__ == "__main__":
    sys.exit(main())
