"""The judges: two programs of other people, our own check, and HL7's where somebody has it."""

import json
import os
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import fhirkit

from adapters.sources import SourceRegistry
from adapters.terminology import Terminology
from fhir_server.judge import Judge
from fhir_server.profiles.load import load_profiles
from fhir_server.terminology.load import load_vocabulary
from tests.conformance.model import Found, Subject, place_of
from tests.support.tree import ROOT

NODE_FOLDER = ROOT / ".venv/node"
SCRIPT = Path(__file__).with_name("judge.js")
#: Of HL7's validator; its definitions of R4 and US Core come from where it is told they are.
_IG = "hl7.fhir.us.core#6.1.0"


@cache
def own() -> Judge:
    """Our check, with the tables of config/."""
    config = ROOT / "config/fhir"
    vocabulary = load_vocabulary(config / "terminology", Terminology({}))
    sources = SourceRegistry((), allow_adhoc=False)
    return Judge(load_profiles(config / "profiles"), vocabulary, sources)


def by_ourselves(subjects: Iterable[Subject]) -> Iterator[Found]:
    """Structure, invariants, bindings and claimed profiles by `fhir_server.judge`."""
    judge = own()
    for each in subjects:
        for issue in judge.issues(each.resource):
            if issue.expression and issue.expression[0].startswith("Bundle.entry"):
                continue  # its resources are subjects of their own
            at = issue.expression[0] if issue.expression else each.resource["resourceType"]
            text = issue.text.partition("`: ")[2] or issue.text
            yield Found("own", issue.severity, place_of(at), text, each.name)


def by_us_core(subjects: Iterable[Subject]) -> Iterator[Found]:
    """What resources lack to the fitting profile of US Core, though they claim none."""
    judge, urls = own(), _us_core()
    for each in subjects:
        if "/us/core/" in json.dumps(each.resource.get("meta", {})):
            continue  # held to it already
        known = set(judge.findings(each.resource))
        for one in judge.findings(each.resource, asked=urls):
            if one.issue.severity == "error" and one not in known:
                text = one.issue.text.partition("`: ")[2]
                place = place_of(one.issue.expression[0])
                yield Found("us-core", "error", place, text, each.name)


@cache
def _us_core() -> tuple[str, ...]:
    profiles = load_profiles(ROOT / "config/fhir/profiles")
    return tuple(each.url for each in profiles.all() if "/us/core/" in each.url)


def by_fhirkit(subjects: Iterable[Subject]) -> Iterator[Found]:
    """Structure of R4 by PyPI `fhirkit-rs`."""
    for each in subjects:
        try:
            issues = fhirkit.validate(written(each.resource))
        except fhirkit.ParseError as error:
            yield Found("fhirkit", "fatal", each.resource["resourceType"], str(error), each.name)
            continue
        for issue in issues:
            place = place_of(issue.path)
            yield Found("fhirkit", issue.severity, place, issue.message, each.name)


def node() -> str | None:
    """The program of Node.js: the machine's, or the one that set-up installed."""
    own_one = ROOT / ".venv/bin/node"
    return shutil.which("node") or (str(own_one) if own_one.exists() else None)


def by_fhir_js(subjects: Sequence[Subject]) -> Iterator[Found]:
    """Structure and bindings by npm `fhir`.

    Raises:
        RuntimeError: it, or Node.js, is not installed (`make node`), or it failed.
    """
    program = node()
    if program is None or not (NODE_FOLDER / "node_modules/fhir").is_dir():
        raise RuntimeError("npm `fhir` is not installed: make node")
    lines = b"\n".join(written(each.resource) for each in subjects)
    told = subprocess.run(
        [program, str(SCRIPT)],
        input=lines,
        capture_output=True,
        check=False,
        env={**os.environ, "NODE_PATH": str(NODE_FOLDER / "node_modules")},
        timeout=600,
    )
    if told.returncode:
        raise RuntimeError(f"npm `fhir` failed: {told.stderr.decode()[-500:]}")
    for line in told.stdout.splitlines():
        number, severity, location, message = json.loads(line)
        yield Found("fhir", severity, place_of(location), message, subjects[number].name)


def by_official(subjects: Sequence[Subject], jar: Path) -> Iterator[Found]:
    """Everything, by HL7's validator that somebody supplied.

    Raises:
        RuntimeError: Java is absent, or the validator gave no outcome.
    """
    java = shutil.which("java")
    if java is None:
        raise RuntimeError("java is not installed")
    with TemporaryDirectory() as folder:
        paths = []
        for number, each in enumerate(subjects):
            paths.append(Path(folder) / f"{number:06d}.json")
            paths[-1].write_bytes(written(each.resource))
        output = Path(folder) / "outcome.json"
        asked = ["-version", "4.0.1", "-ig", _IG, "-output", str(output)]
        command = [java, "-jar", str(jar), str(Path(folder) / "*.json"), *asked]
        told = subprocess.run(command, capture_output=True, check=False, timeout=7200)
        if not output.exists():
            raise RuntimeError(f"the validator gave no outcome: {told.stderr.decode()[-500:]}")
        yield from _outcomes(json.loads(output.read_text(encoding="utf-8")), subjects)


def _outcomes(told: dict[str, Any], subjects: Sequence[Subject]) -> Iterator[Found]:
    outcomes = [entry["resource"] for entry in told.get("entry", ())] or [told]
    for each, outcome in zip(subjects, outcomes, strict=True):
        for issue in outcome.get("issue", ()):
            if issue["severity"] in ("error", "fatal"):
                place = place_of((issue.get("expression") or [""])[0])
                text = issue.get("details", {}).get("text", "")
                yield Found("official", issue["severity"], place, text, each.name)


def written(resource: dict[str, Any]) -> bytes:
    """A resource as JSON on one line."""
    return json.dumps(resource, default=_number, ensure_ascii=False).encode()


def _number(value: Any) -> float:
    if isinstance(value, Decimal):
        return float(value)
    raise TypeError(type(value).__name__)
