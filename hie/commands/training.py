"""Commands that export records, and train linkage models on them."""

import argparse
import asyncio
import getpass
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from adapters.source_files import load_sources
from hie.audit.event import AuditRecord
from hie.commands import models
from hie.commands.judging import judge_file, told
from hie.commands.parser import Group, command, settings_of
from hie.commands.progress import ProgressBar
from hie.kernel.errors import Category, HieError
from hie.services import Services
from hie.settings import Settings
from mpi.config_table import ConfigTable
from mpi.demographics import Demographics
from mpi.normalize import Normalizer
from mpi.offline.columns import column_map
from mpi.offline.file import CsvFile
from mpi.offline.read import read_records
from mpi.settings import LinkageModel, MpiSettings, load_mpi_settings
from mpi.training.difference import difference, lines
from mpi.training.engine import Engine, Function, duckdb_engine, require, spark_engine
from mpi.training.export import (
    PAIR_COLUMNS,
    RECORD_COLUMNS,
    Cell,
    Exported,
    PrivateFile,
    pair_rows,
    record_rows,
)
from mpi.training.fields import Knowledge, level_functions, term_functions
from mpi.training.finish import finished
from mpi.training.plan import TrainingPlan, load_plan
from mpi.training.records import Records
from mpi.training.splink_settings import splink_settings
from mpi.training.train import train

_STAGES = {"read": "reading"}
#: What opens the hub of some settings; tests hand over one that is open.
Opening = Callable[[Settings], AbstractAsyncContextManager[Services]]
#: Rules of the settings that `hie mpi export` writes for use with Splink elsewhere.
_ELSEWHERE = ("l.birth = r.birth", "l.name = r.name", "l.ssn = r.ssn")


def register(actions: Group) -> None:
    """Add them to `hie mpi`."""
    arguments = command(
        actions,
        "export",
        "Write records as training sees them into a file you name. IT HOLDS PATIENT DATA; audited.",
        lambda a: asyncio.run(export(settings_of(), a)),
    )
    _add_input(arguments)
    arguments.add_argument("--out", type=Path, metavar="FILE", help="records, .csv or .parquet")
    arguments.add_argument(
        "--pairs", type=Path, metavar="FILE", help="pairs that share a key, with their levels"
    )
    arguments.add_argument(
        "--splink", type=Path, metavar="FILE.json", help="the model as Splink's settings"
    )
    arguments.add_argument("--reason", default="", help="what for; kept in the audit trail")
    arguments.add_argument("--by", default="", metavar="NAME", help="who; else who is logged in")
    arguments = command(
        actions,
        "train",
        "Learn a linkage model from records with Splink, judge it, and write it to a file.",
        lambda a: asyncio.run(train_model(settings_of(), a)),
    )
    _add_input(arguments)
    arguments.add_argument(
        "--out", type=Path, default=Path("model.toml"), metavar="model.toml", help="the model"
    )
    arguments.add_argument("--seed", type=int, metavar="N", help="of the sample")
    arguments.add_argument("--pairs", type=int, metavar="N", help="random pairs for u")
    arguments.add_argument(
        "--spark",
        nargs="?",
        const="local[*]",
        metavar="MASTER",
        help="compute on Spark instead of DuckDB; default: in this process",
    )
    arguments.add_argument("--by", default="", metavar="NAME", help="who; else who is logged in")
    models.register(actions)


def _add_input(arguments: argparse.ArgumentParser) -> None:
    arguments.add_argument(
        "file", type=Path, nargs="?", metavar="FILE.csv", help="records of a file, with --map"
    )
    arguments.add_argument("--map", type=Path, metavar="columns.toml", help="which column is what")
    arguments.add_argument(
        "--from-index", action="store_true", help="the records of this hub instead of a file"
    )


async def export(
    settings: Settings, arguments: argparse.Namespace, opened: Opening = Services
) -> int:
    """Write records and pairs; what comes out of the index is on record before it is written."""
    outputs = [path for path in (arguments.out, arguments.pairs, arguments.splink) if path]
    if not outputs:
        raise HieError(Category.INVALID, "`--out`, `--pairs` or `--splink`: expected a file")
    files = {path: PrivateFile(path) for path in outputs}
    mpi = _settings(settings)
    if arguments.splink:
        with files[arguments.splink] as file:
            file.write_json(splink_settings(mpi.model, _ELSEWHERE, has_terms=True))
    if not (arguments.out or arguments.pairs):
        return 0
    exported, model = await _exported(settings, arguments, mpi, opened)
    tables: dict[Path, tuple[str, Sequence[str], Iterable[list[Cell]]]] = {
        arguments.out: ("records", RECORD_COLUMNS, record_rows(exported)),
        arguments.pairs: ("pairs", PAIR_COLUMNS, pair_rows(exported, model, Knowledge.of(mpi))),
    }
    for path, (what, header, rows) in tables.items():
        if path:
            with files[path] as file:
                count = file.write(header, rows)
            _say(f"{count} {what}: {path} holds patient data in clear")
    return 0


async def _exported(
    settings: Settings, arguments: argparse.Namespace, mpi: MpiSettings, opened: Opening
) -> tuple[Exported, LinkageModel]:
    """The records to write, and the model that scores their pairs."""
    exported = Exported()
    if not arguments.from_index:
        for record_id, demographics in _of_file(arguments, mpi):
            exported.add(record_id, demographics)
        return exported, mpi.model
    if not arguments.reason:
        raise HieError(Category.INVALID, "`--reason`: expected what the export is for")
    async with opened(settings) as hub:
        return exported, await _export_index(hub, arguments, exported)


async def _export_index(
    hub: Services, arguments: argparse.Namespace, exported: Exported
) -> LinkageModel:
    """Read every record; one audit event a person and one for the whole, before a byte is out."""
    async with hub.db.surveying() as conn:
        async for page in hub.mpi.trials.records(conn):
            for opened in page:
                member = opened.member
                exported.add(member.record_id, opened.demographics, member.person_id)
    await _record(hub, arguments, [*sorted(set(exported.persons)), None])
    return hub.mpi.trials.model


async def _record(
    hub: Services, arguments: argparse.Namespace, persons: "list[str | None]"
) -> None:
    """Put an export on record, a few thousand events at a time."""
    now_us = hub.clock.now_us()
    for start in range(0, len(persons), 2_000):
        records = [
            AuditRecord(
                recorded_us=now_us,
                action="R",
                subtype="disclose",
                person_id=person,
                user=_user(arguments),
                detail={"query": "hie mpi export", "reason": arguments.reason},
            )
            for person in persons[start : start + 2_000]
        ]
        async with hub.db.transaction() as conn:
            await hub.audit.append(conn, records)


async def train_model(
    settings: Settings, arguments: argparse.Namespace, opened: Opening = Services
) -> int:
    """Learn a model, show what it changes, judge it and write it; 3 where a gate is shut."""
    if not arguments.out.parent.is_dir():
        raise HieError(Category.INVALID, f"`{arguments.out}`: expected a file in a folder")
    require(is_spark=bool(arguments.spark))
    mpi, plan = _settings(settings), _plan(settings, arguments)
    began = time.perf_counter()
    records = Records()
    if arguments.from_index:
        async with opened(settings) as hub:
            base = await _learn_from_index(hub, arguments, records)
    else:
        base = mpi.model
        for record_id, demographics in _of_file(arguments, mpi):
            records.add(record_id, demographics)
    _say(f"{len(records):,} records, {time.perf_counter() - began:.1f} s")
    knowledge = Knowledge.of(mpi)
    levels = level_functions(base, knowledge)
    with _engine(arguments, (*levels, *term_functions(base, knowledge))) as engine:
        model = finished(train(records, base, levels, plan, engine, _say))
    arguments.out.write_text(model.text, encoding="utf-8")
    for line in lines(difference(base, model)):
        print(line)
    gates = judge_file(settings.config / "mpi", mpi, base, model, plan.gates)
    is_open = told(gates)
    print(f"{model.version} written to {arguments.out}")
    return 0 if is_open else 3


async def _learn_from_index(
    hub: Services, arguments: argparse.Namespace, records: Records
) -> LinkageModel:
    """Read every record into memory; audited once, because nothing leaves."""
    async with hub.db.surveying() as conn:
        async for page in hub.mpi.trials.records(conn):
            for opened in page:
                member = opened.member
                records.add(member.record_id, opened.demographics, member.person_id)
    audited = AuditRecord(
        recorded_us=hub.clock.now_us(),
        action="E",
        subtype="operation",
        user=_user(arguments),
        detail={"query": "hie mpi train", "reason": f"{len(records)} records in memory"},
    )
    async with hub.db.transaction() as conn:
        await hub.audit.append(conn, [audited])
    return hub.mpi.trials.model


def _engine(
    arguments: argparse.Namespace, functions: tuple[Function, ...]
) -> AbstractContextManager[Engine]:
    if arguments.spark:
        return spark_engine(functions, arguments.spark)
    return duckdb_engine(functions)


def _of_file(arguments: argparse.Namespace, mpi: MpiSettings) -> Iterator[tuple[str, Demographics]]:
    """The records of a CSV file.

    Raises:
        HieError: INVALID; names what is missing, or file, line and column.
    """
    if arguments.file is None or arguments.map is None:
        text = "expected `--from-index`, or a file and its `--map`"
        raise HieError(Category.INVALID, text)
    today = datetime.now(UTC).date()
    columns = column_map(ConfigTable.read(arguments.map), today)
    normalizer = Normalizer(mpi.forms, mpi.defaults)
    bar = ProgressBar(_STAGES)
    found = read_records(CsvFile(arguments.file, columns), columns, normalizer, today, bar)
    yield from found.by_id.items()


def _settings(settings: Settings) -> MpiSettings:
    sources = load_sources(settings.config / "sources", allow_adhoc=not settings.is_production)
    return load_mpi_settings(settings.config / "mpi", sources.record_systems())


def _plan(settings: Settings, arguments: argparse.Namespace) -> TrainingPlan:
    plan = load_plan(settings.config / "mpi")
    if arguments.seed is not None:
        plan = replace(plan, seed=arguments.seed)
    return replace(plan, pairs=arguments.pairs) if arguments.pairs else plan


def _user(arguments: argparse.Namespace) -> str:
    return arguments.by or getpass.getuser()


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
