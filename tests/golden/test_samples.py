"""Messages other projects publish as samples, where they lie beside this tree.

They are not part of it: `HIE_SAMPLES` names their folder, else `../shared/samples/hl7v2` beside
the tree is looked for. `samples.csv` says what each maps to and what is found, as it was reviewed.
"""

import csv
import io
import os
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from adapters.hl7v2 import er7
from adapters.sources import adhoc_source
from fhir_server import validate
from hie.kernel.envelope import Submission
from hie.kernel.fhir import rewrite_references
from hie.kernel.ids import MessageId
from tests.support.golden import is_complete
from tests.support.mapping import RECEIVED_US, mapper
from tests.support.tree import ROOT

FOLDER = Path(os.environ.get("HIE_SAMPLES", ROOT.parent / "shared/samples/hl7v2"))
SAMPLES = sorted(FOLDER.glob("*.hl7"))
REVIEWED = Path(__file__).parent / "samples.csv"
HEADER = ("file", "trigger", "resources", "findings")

pytestmark = pytest.mark.skipif(
    not SAMPLES, reason="no sample messages: set HIE_SAMPLES to a folder of *.hl7 files"
)


def name_of(path: Path) -> str:
    return path.stem


@cache
def mapped(path: Path) -> tuple[er7.Message, Submission]:
    message = er7.parse(path.read_bytes())
    source = adhoc_source(message.application, message.facility)
    return message, mapper().map(message, source, message_id=MessageId(7), received_us=RECEIVED_US)


def summary(path: Path) -> tuple[str, ...]:
    """A row of the table: what was made and found, nothing of what the message says."""
    message, submission = mapped(path)
    kinds = Counter(d.resource["resourceType"] for d in submission.drafts if is_complete(d))
    found = Counter(
        f"{f.place} {f.rule}".strip() for f in (*message.findings, *submission.findings)
    )
    return (
        path.name,
        message.trigger,
        " ".join(f"{kind}:{count}" for kind, count in sorted(kinds.items())),
        "; ".join(f"{what} x{n}" if n > 1 else what for what, n in sorted(found.items())),
    )


def test_what_the_samples_become_is_what_was_reviewed(is_golden_update: bool):
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(HEADER)
    writer.writerows(summary(path) for path in SAMPLES)
    if is_golden_update:
        REVIEWED.write_text(out.getvalue(), encoding="utf-8")
    assert out.getvalue().splitlines() == REVIEWED.read_text(encoding="utf-8").splitlines()


@pytest.mark.parametrize("path", SAMPLES, ids=name_of)
def test_a_sample_maps(path: Path):
    _, submission = mapped(path)
    assert submission.drafts
    assert submission.subject or path.stem.startswith("ACK")


@pytest.mark.parametrize("path", SAMPLES, ids=name_of)
def test_what_a_sample_becomes_is_valid(path: Path):
    _, submission = mapped(path)
    types = {d.name: d.resource["resourceType"] for d in submission.drafts}

    def resolved(reference: str) -> str:
        name = reference.removeprefix("urn:hie:")
        return f"{types[name]}/{name}" if name in types else reference

    faults = [
        f"{draft.name}: {issue.text}"
        for draft in submission.drafts
        if is_complete(draft)
        for issue in validate.validate(
            rewrite_references({k: v for k, v in draft.resource.items() if v is not None}, resolved)
        )
        if issue.severity in ("error", "fatal")
    ]
    assert faults == []


@pytest.mark.parametrize("path", SAMPLES, ids=name_of)
def test_every_reference_in_a_sample_leads_somewhere(path: Path):
    _, submission = mapped(path)
    names = {f"urn:hie:{draft.name}" for draft in submission.drafts}
    found = {r for d in submission.drafts for r in references_of(d.resource)}
    assert {r for r in found if r.startswith("urn:hie:")} <= names


def references_of(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        for name, child in node.items():
            if name == "reference" and isinstance(child, str):
                yield child
            else:
                yield from references_of(child)
    elif isinstance(node, list):
        for one in node:
            yield from references_of(one)
