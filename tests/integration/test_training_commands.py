"""`hie mpi export`, `train` and `model` as whoever keeps the index calls them."""

import argparse
import base64
import csv
import importlib.util
import json
import stat
from collections.abc import AsyncIterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from hie.cli import _parser
from hie.commands import models, training
from hie.kernel.errors import HieError
from hie.kernel.ids import MessageId, SourceId
from hie.services import Services
from hie.settings import load_settings
from mpi.model_text import model_text
from tests.support import gold
from tests.support.made_once import config_of, with_tables
from tests.support.mpi import MODEL, mrn, patient

HAS_EXTRA = importlib.util.find_spec("splink") is not None
NAMES = ("Abelard", "Quindale", "Zweig")
PEOPLE = [
    patient(
        given=[given],
        family=family,
        born=f"19{year}-0{month}-11",
        phone=f"617-234-{year}41",
        line=f"{year} Elm Street",
    )
    for given, family, year, month in zip(
        ("Ada", "Nora", "Ximena"), NAMES, (41, 65, 88), (3, 5, 9), strict=True
    )
]


def said(**more: Any) -> argparse.Namespace:
    """What was written behind the command."""
    usual = {
        "file": None, "map": None, "from_index": False, "out": None, "pairs": None, "splink": None,
        "reason": "", "by": "kim", "seed": None, "spark": None, "accept_changes": False,
        "dry_run": False, "model": "", "against": "",
    }  # fmt: skip
    return argparse.Namespace(**usual | more)


@pytest.fixture
async def hub(tmp_path: Path) -> AsyncIterator[Services]:
    """A hub whose index holds three people, each known at two sources."""
    settings = load_settings({"HIE_HOME": str(tmp_path / "home")})
    await with_tables(tmp_path / "home" / "hub.db")
    async with Services(settings, config=config_of(settings)) as found:
        for number, person in enumerate(PEOPLE):
            for source in ("mercy", "union"):
                async with found.db.transaction() as conn:
                    await found.mpi.identify(
                        conn,
                        person,
                        source_id=SourceId(source),
                        own=mrn(f"{number}", source),
                        message_id=MessageId(number + 1),
                        now_us=found.clock.now_us(),
                        may_update=True,
                    )
        yield found


@pytest.fixture
def people(tmp_path: Path) -> argparse.Namespace:
    """A file of six records and its map, as arguments."""
    file, columns = tmp_path / "people.csv", tmp_path / "columns.toml"
    header = [name for name in gold.HEADER if name not in ("pair", "category", "truth")]
    rows = [row for row in gold.rows() if row[2] == "clean"][:6]
    with file.open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(header)
        writer.writerows([row[1], *row[4:]] for row in rows)
    columns.write_text("".join(f'{name} = "{name}"\n' for name in header))
    return said(file=file, map=columns)


async def audited(hub: Services, reason: str) -> list[dict[str, Any]]:
    """The audit events of a command that was given this reason."""
    events = [json.loads(line) async for line in hub.audit.export()]
    return [event for event in events if event.get("outcomeDesc") == reason]


def asked(event: dict[str, Any]) -> str:
    """What an audit event says was done."""
    (query,) = [entity["query"] for entity in event["entity"] if "query" in entity]
    return base64.b64decode(query).decode()


def is_open(hub: Services) -> training.Opening:
    """The hub that is open, as what a command would open."""
    return lambda _: nullcontext(hub)


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


async def test_an_export_of_the_index_is_private_audited_and_never_overwrites(hub, tmp_path):
    out, pairs = tmp_path / "records.csv", tmp_path / "pairs.csv"
    arguments = said(from_index=True, out=out, pairs=pairs, reason="yearly training")
    assert await training.export(hub.settings, arguments, is_open(hub)) == 0
    rows = table(out)
    assert len(rows) == 6
    assert {row["last"] for row in rows} == {name.lower() for name in NAMES}
    persons = {row["person_id"] for row in rows}
    assert len(persons) == 3
    compared = table(pairs)
    assert [row["name"] for row in compared] == ["exact"] * 3
    assert max(float(row["bits"]) for row in compared) > MODEL.thresholds.auto
    assert [stat.S_IMODE(path.stat().st_mode) for path in (out, pairs)] == [0o600, 0o600]
    assert list(tmp_path.glob(".*.part")) == []
    events = await audited(hub, "yearly training")
    told = {
        entity["what"]["reference"]
        for event in events
        for entity in event.get("entity", [])
        if entity.get("what", {}).get("reference", "").startswith("Patient/")
    }
    assert told == {f"Patient/{person}" for person in persons}
    assert len(events) == 4  # one a person, one for the whole
    with pytest.raises(HieError, match="is there already"):
        await training.export(hub.settings, arguments, is_open(hub))


async def test_an_export_of_the_index_says_what_for_or_writes_nothing(hub, tmp_path):
    out = tmp_path / "records.csv"
    with pytest.raises(HieError, match="--reason"):
        await training.export(hub.settings, said(from_index=True, out=out), is_open(hub))
    assert not out.exists()
    assert await audited(hub, "") == []


async def test_a_file_is_exported_without_a_hub(people, tmp_path):
    settings = load_settings({"HIE_HOME": str(tmp_path / "nowhere")})
    people.out = tmp_path / "records.csv"
    assert await training.export(settings, people) == 0
    assert len(table(people.out)) == 6
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize(
    ("more", "fault"),
    [
        ({}, "--out"),
        ({"out": Path("records.txt")}, "ends in .csv"),
        ({"out": Path("records.csv")}, "--from-index"),
    ],
)
async def test_an_export_says_what_is_missing(more, fault, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(HieError, match=fault):
        await training.export(load_settings({"HIE_HOME": str(tmp_path)}), said(**more))


async def test_splinks_settings_can_be_had_without_any_record(tmp_path):
    out = tmp_path / "splink.json"
    await training.export(load_settings({"HIE_HOME": str(tmp_path)}), said(splink=out))
    found = json.loads(out.read_text())
    assert [c["output_column_name"] for c in found["comparisons"]][:2] == ["name", "middle"]


@pytest.mark.skipif(HAS_EXTRA, reason="the extra `mpi-train` is installed here")
async def test_training_without_the_extra_says_what_to_install(people, tmp_path):
    people.out = tmp_path / "model.toml"
    settings = load_settings({"HIE_HOME": str(tmp_path)})
    with pytest.raises(HieError, match=r"requirements-train\.txt"):
        await training.train_model(settings, people)
    assert not people.out.exists()


def written(tmp_path: Path, version: str, **changes: tuple[str, str]) -> str:
    """A model file like the committed one but for its version and some texts."""
    text = model_text(MODEL).replace(MODEL.version, version)
    for old, new in changes.values():
        assert old in text
        text = text.replace(old, new)
    path = tmp_path / f"{version}.toml"
    path.write_text(text)
    return str(path)


async def test_a_model_is_shown_activated_listed_and_taken_back(hub, tmp_path, capsys):
    file = written(tmp_path, "trained-a", prior=("prior_bits = -20", "prior_bits = -19.5"))
    assert await models.diff(hub, said(model=file)) == 0
    assert "+0.50" in capsys.readouterr().out
    arguments = said(model=file, reason="learnt from last year")
    assert await models.activate(hub, arguments) == 0
    told = capsys.readouterr().out
    assert "6 records decided again, 0 come out otherwise" in told
    assert told.count(": open") == 3
    assert await models.show_list(hub, said()) == 0
    listed = capsys.readouterr().out
    assert "* trained-a" in listed
    assert "learnt from last year" in listed
    (event,) = await audited(hub, "learnt from last year")
    assert asked(event) == "hie mpi model activate trained-a"
    async with hub.db.reading() as conn:
        assert await hub.mpi.follow(conn)
    assert await models.show(hub, said()) == 0
    assert 'version = "trained-a"' in capsys.readouterr().out
    assert await models.back(hub, said(reason="too eager")) == 0
    assert f"{MODEL.version} decides from now on" in capsys.readouterr().out
    assert await models.activate(hub, said(model="trained-a", reason="after all")) == 0


async def test_a_model_out_of_order_is_not_activated(hub, tmp_path, capsys):
    sex = ("same = { m = 0.99, u = 0.5 }", "same = { m = 0.001, u = 0.5 }")
    file = written(tmp_path, "upside-down", sex=sex)
    arguments = said(model=file, reason="let us see", accept_changes=True)
    assert await models.activate(hub, arguments) == 3
    told = capsys.readouterr()
    assert "gate `order of levels`: SHUT" in told.out
    assert "nothing was activated" in told.err
    assert await models.show_list(hub, said()) == 0
    assert "upside-down" not in capsys.readouterr().out
    assert await audited(hub, "let us see") == []


async def test_a_model_that_would_change_many_links_needs_open_eyes(hub, tmp_path, capsys):
    file = written(tmp_path, "dear", prior=("prior_bits = -20", "prior_bits = -60"))
    assert await models.activate(hub, said(model=file, reason="let us see")) == 3
    told = capsys.readouterr().out
    assert "gate `today's links`: SHUT" in told
    assert "6 records decided again, 6 come out otherwise" in told


async def test_a_dry_run_only_judges(hub, tmp_path, capsys):
    file = written(tmp_path, "trained-a", prior=("prior_bits = -20", "prior_bits = -19.5"))
    assert await models.activate(hub, said(model=file, dry_run=True)) == 0
    assert "nothing was activated" in capsys.readouterr().err


@pytest.mark.parametrize("run", [models.activate, models.back])
async def test_a_choice_needs_a_reason(hub, run):
    with pytest.raises(HieError, match="--reason"):
        await run(hub, said(model="any"))


@pytest.mark.parametrize(
    "words",
    [
        "export --from-index --out records.parquet --reason study",
        "export people.csv --map columns.toml --pairs pairs.csv",
        "train --from-index --seed 7 --pairs 1000 --out model.toml",
        "train people.csv --map columns.toml --spark local[2]",
        "model list",
        "model show",
        "model diff model.toml --against trained-a",
        "model activate model.toml --reason better --accept-changes",
        "model back --reason worse",
    ],
)
def test_commands_are_said_as_the_guide_says_them(words: str):
    assert callable(_parser().parse_args(["mpi", *words.split()]).run)


async def test_an_unknown_model_is_said_to_be_unknown(hub):
    with pytest.raises(HieError, match="hie mpi model list"):
        await models.diff(hub, said(model="no-such"))
