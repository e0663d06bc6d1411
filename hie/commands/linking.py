"""Commands that link records of a file, and show why two are linked."""

import argparse
import json
import os
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

from adapters.source_files import load_sources
from hie.commands.parser import Group, command, config_of, positive
from hie.commands.progress import ProgressBar
from hie.kernel.errors import Category, HieError
from hie.kernel.fhir import FhirJson
from hie.kernel.ids import PersonId, SourceRecordId
from mpi.config_table import ConfigTable
from mpi.decide import Matcher, decide, judge_person
from mpi.demographics import Demographics
from mpi.fit import FEWEST_RECORDS
from mpi.model_text import model_text
from mpi.normalize import Normalizer
from mpi.offline.columns import column_map
from mpi.offline.file import CsvFile, WholeFile
from mpi.offline.link import LINK_COLUMNS, PAIR_COLUMNS, Linked, link, train
from mpi.offline.read import read_records
from mpi.settings import MpiSettings, load_model, load_mpi_settings, read_model
from mpi.waterfall import as_table, explained_pair, waterfall
from mpi.waterfall_svg import as_svg
from mpi.words import load_words

_STAGES = {"read": "reading", "keys": "keys", "fit": "fitting", "compare": "comparing"}


def register(actions: Group) -> None:
    """Add them to `hie mpi`."""
    arguments = command(
        actions,
        "link",
        "Link the records of a CSV file among themselves, without a hub: who is one person.",
        lambda a: link_file(config_of(), a),
    )
    arguments.add_argument("file", type=Path, metavar="FILE.csv", help="plain or .gz")
    arguments.add_argument(
        "--map", type=Path, required=True, metavar="columns.toml", help="which column holds what"
    )
    arguments.add_argument(
        "--out", type=Path, required=True, metavar="links.csv", help="record_id,person_id,..."
    )
    arguments.add_argument(
        "--pairs", type=Path, metavar="FILE", help="pairs linked, and pairs for a human to look at"
    )
    arguments.add_argument(
        "--train", action="store_true", help="fit the weights to this file first, unsupervised"
    )
    arguments.add_argument(
        "--model",
        type=Path,
        metavar="FILE",
        help="weights to use instead of config/mpi/linkage.toml; with --train, where the fitted "
        "ones are written",
    )
    arguments.add_argument(
        "--jobs",
        type=positive,
        default=os.cpu_count() or 1,
        metavar="N",
        help="processes that score",
    )
    _add_as_of(arguments)
    arguments = command(
        actions,
        "compare",
        "Show how the evidence about two Patients adds up, and what would be decided.",
        lambda a: compare_files(config_of(), a),
    )
    for name in ("one", "other"):
        arguments.add_argument(name, type=Path, metavar=f"{name.upper()}.json", help="FHIR Patient")
    arguments.add_argument("--svg", type=Path, metavar="FILE", help="draw it as well")
    arguments.add_argument("--json", action="store_true", help="print JSON instead of a table")
    arguments.add_argument("--model", type=Path, metavar="FILE", help="weights to use")
    arguments.set_defaults(train=False)
    _add_as_of(arguments)


def _add_as_of(arguments: argparse.ArgumentParser) -> None:
    arguments.add_argument(
        "--as-of",
        type=date.fromisoformat,
        default=_today(),
        metavar="YYYY-MM-DD",
        help="the day ages are counted on; default: today",
    )


def _today() -> date:
    return datetime.now(UTC).date()


def link_file(config: Path, arguments: argparse.Namespace) -> int:
    """Link a file; outputs appear only when they are complete."""
    _check_places(arguments)
    columns = column_map(ConfigTable.read(arguments.map), arguments.as_of)
    mpi = _settings(config, arguments)
    bar = ProgressBar(_STAGES)
    file = CsvFile(arguments.file, columns)
    with ExitStack() as outputs:
        out = outputs.enter_context(WholeFile(arguments.out))
        pairs = outputs.enter_context(WholeFile(arguments.pairs)) if arguments.pairs else None
        try:
            normalizer = Normalizer(mpi.forms, mpi.defaults)
            records = read_records(file, columns, normalizer, arguments.as_of, bar, arguments.jobs)
            if arguments.train:
                mpi = _trained(records.by_id, mpi, arguments.model, outputs, bar)
            linked = link(records.by_id, mpi, bar, arguments.jobs)
        except BaseException:
            bar.stop()
            raise
        if pairs:
            pairs.write_rows(PAIR_COLUMNS, linked.pairs())
            pairs.finish()
        out.write_rows(LINK_COLUMNS, linked.links())
        out.finish()
    _tell(linked, records.unread_dates)
    return 0


def _trained(
    records: Mapping[str, Demographics],
    mpi: MpiSettings,
    path: Path | None,
    outputs: ExitStack,
    bar: ProgressBar,
) -> MpiSettings:
    """The settings with the model fitted to the file; it is what a later run reads."""
    fitted = train(records, mpi, bar, path.stem if path else "fitted")
    if not fitted.is_fitted:
        unwritten = f"; `{path.name}` is not written" if path else ""
        text = f"too few records to fit weights to, {FEWEST_RECORDS} at least: the committed ones"
        print(f"{text} are used{unwritten}", file=sys.stderr)
        return mpi
    told = f"Fitted by `hie mpi link --train` from {mpi.model.version}, unsupervised."
    text = model_text(fitted.model, [told])
    if path:
        model_file = outputs.enter_context(WholeFile(path))
        model_file.write_text(text)
        model_file.finish()
    print(f"pairs of one person expected\t{fitted.matches:.0f}", file=sys.stderr)
    return replace(mpi, model=read_model(text, path.name if path else "fitted model"))


def _check_places(arguments: argparse.Namespace) -> None:
    """What can be refused before any work.

    Raises:
        HieError: INVALID.
    """
    inputs = {arguments.file.resolve(), arguments.map.resolve()}
    outputs = [path for path in (arguments.out, arguments.pairs) if path]
    if arguments.train and arguments.model:
        outputs.append(arguments.model)
    if len({path.resolve() for path in outputs} - inputs) < len(outputs):
        raise HieError(
            Category.INVALID, "outputs: expected files that are not read or written twice"
        )
    for path in outputs:
        if not path.parent.is_dir() or path.is_dir():
            raise HieError(Category.INVALID, f"`{path}`: expected a file in a folder that is there")


def _settings(config: Path, arguments: argparse.Namespace) -> MpiSettings:
    mpi = load_mpi_settings(config / "mpi")
    if arguments.model and not arguments.train:
        return replace(mpi, model=load_model(arguments.model))
    return mpi


def _tell(linked: Linked, unread_dates: int) -> None:
    """What came out, in figures, on standard error."""
    for name, count in linked.counts().items():
        print(f"{name}\t{count}", file=sys.stderr)
    print(f"log2 odds of two records to be one human\t{linked.prior_bits:.2f}", file=sys.stderr)
    for kind, count in sorted(linked.shared.items()):
        print(f"{kind} held by too many persons, not compared\t{count}", file=sys.stderr)
    for spec, count in sorted(linked.refused.items()):
        print(f"records under a full key `{spec}`, not compared by it\t{count}", file=sys.stderr)
    if unread_dates:
        print(f"birth dates that `date_formats` does not read\t{unread_dates}", file=sys.stderr)


def compare_files(config: Path, arguments: argparse.Namespace) -> int:
    """Print the waterfall of two Patients; they are read, and kept nowhere."""
    sources = load_sources(config / "sources", allow_adhoc=True)
    mpi = replace(_settings(config, arguments), record_systems=sources.record_systems())
    words = load_words(config / "mpi")
    normalizer = Normalizer(mpi.forms, mpi.defaults)
    one, other = (
        normalizer.demographics(_patient(path), arguments.as_of)
        for path in (arguments.one, arguments.other)
    )
    thresholds = mpi.model.thresholds
    pair = Matcher(mpi).pair(SourceRecordId("other"), one, other)
    decision = decide([judge_person(PersonId("other"), [pair], thresholds)], thresholds)
    explained = explained_pair(pair, decision, mpi.model.version, mpi.model.prior_bits)
    fall = waterfall(explained, words, thresholds)
    if arguments.svg:
        with WholeFile(arguments.svg) as out:
            out.write_text(as_svg(fall, words))
            out.finish()
    if arguments.json:
        print(json.dumps(fall.as_json(), indent=2))
    else:
        print("\n".join(as_table(fall, words)))
    return 0


def _patient(path: Path) -> FhirJson:
    """The Patient of a file.

    Raises:
        HieError: INVALID.
    """
    try:
        patient = json.loads(path.read_bytes())
    except ValueError as error:
        text = f"`{path.name}`: expected one FHIR Patient as JSON"
        raise HieError(Category.INVALID, text) from error
    if not isinstance(patient, dict) or patient.get("resourceType") != "Patient":
        raise HieError(Category.INVALID, f"`{path.name}` `resourceType`: expected Patient")
    return patient
