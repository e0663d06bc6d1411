"""Commands about Consents: decide, receipt, rebuild."""

import argparse
import asyncio
import getpass
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from adapters.fhir.body import Limits, parse_json
from consent.casefile import Filed, Files, filed, read_request
from consent.dry_run import DryRun
from consent.evaluate import Law
from consent.settings import load_consent_settings
from hie.audit.event import AuditRecord
from hie.commands import receipts
from hie.commands.parser import Group, command, config_of, settings_of
from hie.flow.rebuild import rules_of
from hie.kernel.clock import SystemClock
from hie.kernel.errors import Category, HieError
from hie.services import Services
from hie.settings import REGIME, Settings
from hie.store.index import load_index

REGIME_VARIABLE: Final = "HIE_REGIME"
#: A file beyond them is none of the dry run's. A Consent nested deeper than the hub reads is no
#: fault of the file: it denies.
_LIMITS: Final = Limits(body_bytes=50_000_000, depth=200)


def register(group: Group) -> None:
    """Add the commands about Consents."""
    consents = group.add_parser(
        "consent", help="Decide over files, check receipts, compile rules anew."
    )
    actions = consents.add_subparsers(title="actions", required=True, metavar="ACTION")
    arguments = command(
        actions,
        "decide",
        "Print what a request would be shown, and why: a dry run over files, without a database. "
        "0: a decision was printed, permit or deny; 2: a file cannot be used, and is named.",
        decide,
    )
    arguments.add_argument(
        "--consents", type=Path, required=True, metavar="DIR", help="one JSON resource a file"
    )
    arguments.add_argument(
        "--request", type=Path, required=True, metavar="FILE", help="who asks, for what purpose"
    )
    arguments.add_argument(
        "--regime", default="", help=f"a file of config/consent/; {REGIME_VARIABLE}, {REGIME}"
    )
    arguments.add_argument(
        "--resources", type=Path, metavar="DIR", help="what is asked for: each is judged"
    )
    arguments.add_argument(
        "--explain", action="store_true", help="print the trace and the patient's words, too"
    )
    receipts.register_in(actions)
    command(
        actions,
        "rebuild",
        "Compile the rules of every Consent anew, beside a working hub; a hub that starts does "
        "what is due by itself; audited.",
        lambda _: asyncio.run(rebuild(settings_of())),
    )


def decide(arguments: argparse.Namespace) -> int:
    """Print a decision over files as one JSON object."""
    config = config_of()
    regime = arguments.regime or os.environ.get(REGIME_VARIABLE) or REGIME
    settings = load_consent_settings(config, regime)
    named = _filed(arguments.consents)
    asked_for = _filed(arguments.resources) if arguments.resources else []
    files = Files.of([*named, *asked_for], settings)
    asked = read_request(
        _json(arguments.request),
        arguments.request.name,
        files,
        settings,
        SystemClock().now_us(),
    )
    if asked.request.purpose not in settings.purposes.known():
        file = arguments.request.name
        print(
            f"`{file}`: `purpose`: `{asked.request.purpose}` is no code of purposes.toml: only "
            "what holds for any purpose, or names just this one, is about it",
            file=sys.stderr,
        )
    run = DryRun(Law(settings), load_index(config / "fhir"), files)
    told = run.decided(asked, asked_for, explains=arguments.explain)
    json.dump(told, sys.stdout, indent=2, ensure_ascii=False)
    print()
    return 0


def _filed(folder: Path) -> list[Filed]:
    return filed((path.name, _json(path)) for path in _files(folder))


def _files(folder: Path) -> Iterator[Path]:
    if not folder.is_dir():
        raise HieError(Category.INVALID, f"`{folder}`: expected a folder")
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() == ".json":
            yield path
        else:  # a denial in it would not count
            print(f"`{path.name}`: not read: no file named `.json`", file=sys.stderr)


def _json(path: Path) -> Any:
    """The JSON of a file.

    Raises:
        HieError: INVALID, naming the file and the line.
    """
    if not path.is_file():
        raise HieError(Category.INVALID, f"`{path.name}`: expected a file that is there")
    if path.stat().st_size > _LIMITS.body_bytes:
        text = f"`{path.name}`: expected a file of at most {_LIMITS.body_bytes} bytes"
        raise HieError(Category.INVALID, text)
    # As strictly as the hub reads a body: of a property given twice nobody knows which is meant.
    try:
        return parse_json(path.read_bytes(), _LIMITS)
    except HieError as error:
        where = "".join(f" at `{place}`" for issue in error.issues for place in issue.expression)
        raise HieError(Category.INVALID, f"`{path.name}`: {error.text}{where}") from None


async def rebuild(settings: Settings) -> int:
    """Compile every person's Consents; what they say holds from the next request on."""
    async with Services(settings) as hub:
        record = AuditRecord(
            recorded_us=hub.clock.now_us(),
            action="E",
            subtype="operation",
            user=getpass.getuser(),
            purpose="HSYSADMIN",
            resource_type="Consent",
            detail={"query": "hie consent rebuild"},
        )
        async with hub.db.transaction() as conn:
            await hub.audit.append(conn, [record])
        count = await rules_of(hub).again()
    print(f"the Consents of {count} persons are compiled anew")
    return 0
