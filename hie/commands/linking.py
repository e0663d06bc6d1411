"""Commands that link records of a file, and show why two are linked."""

import argparse
import os
import sys
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, date, datetime
from pathlib import Path

from hie.commands.parser import Group, command, settings_of
from hie.commands.progress import ProgressBar
from hie.kernel.errors import Category, HieError
from hie.settings import Settings
from mpi.config_table import ConfigTable
from mpi.normalize import Normalizer
from mpi.offline.columns import column_map
from mpi.offline.file import CsvFile, WholeFile
from mpi.offline.link import LINK_COLUMNS, PAIR_COLUMNS, Linked, link
from mpi.offline.read import read_records
from mpi.settings import MpiSettings, load_model, load_mpi_settings

_STAGES = {"read": "reading", "keys": "keys", "fit": "fitting", "compare": "comparing"}


def register(actions: Group) -> None:
    """Add them to `hie mpi`."""
    arguments = command(
        actions,
        "link",
        "Link the records of a CSV file among themselves, without a hub: who is one person.",
        lambda a: link_file(settings_of(), a),
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
        "--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="processes that score"
    )
    arguments.add_argument(
        "--as-of",
        type=date.fromisoformat,
        default=datetime.now(UTC).date(),
        metavar="YYYY-MM-DD",
        help="the day ages are counted on; default: today",
    )


def link_file(settings: Settings, arguments: argparse.Namespace) -> int:
    """Link a file; outputs appear only when they are complete."""
    _check_places(arguments)
    columns = column_map(ConfigTable.read(arguments.map), arguments.as_of)
    mpi = _settings(settings, arguments)
    bar = ProgressBar(_STAGES)
    file = CsvFile(arguments.file, columns)
    with ExitStack() as outputs:
        out = outputs.enter_context(WholeFile(arguments.out))
        pairs = outputs.enter_context(WholeFile(arguments.pairs)) if arguments.pairs else None
        try:
            normalizer = Normalizer(mpi.forms, mpi.defaults)
            records = read_records(file, columns, normalizer, arguments.as_of, bar)
            linked = link(records.by_id, mpi, bar, max(1, arguments.jobs))
        except BaseException:
            bar.stop()
            raise
        out.write_rows(LINK_COLUMNS, linked.links())
        if pairs:
            pairs.write_rows(PAIR_COLUMNS, linked.pairs())
            pairs.finish()
        out.finish()
    _tell(linked, records.unread_dates)
    return 0


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


def _settings(settings: Settings, arguments: argparse.Namespace) -> MpiSettings:
    mpi = load_mpi_settings(settings.config / "mpi")
    if arguments.model and not arguments.train:
        return replace(mpi, model=load_model(arguments.model))
    return mpi


def _tell(linked: Linked, unread_dates: int) -> None:
    """What came out, in figures, on standard error."""
    for name, count in linked.counts().items():
        print(f"{name}\t{count}", file=sys.stderr)
    for kind, count in sorted(linked.shared.items()):
        print(f"{kind} held by too many persons, not compared\t{count}", file=sys.stderr)
    for spec, count in sorted(linked.refused.items()):
        print(f"records under a full key `{spec}`, not compared by it\t{count}", file=sys.stderr)
    if unread_dates:
        print(f"birth dates that `date_formats` does not read\t{unread_dates}", file=sys.stderr)
