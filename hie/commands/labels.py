"""Commands about labels: `hie relabel` and `hie sensitivity`."""

import argparse
import asyncio
import getpass
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from consent.closures.files import keep, put_back
from consent.closures.rxnorm import compile_rxnorm, load_rules
from consent.closures.snomed import compile_snomed
from consent.labels import Labeller
from consent.loaded import FOLDER, with_loaded
from consent.settings import load_sensitivity
from hie.commands.parser import Group, command, positive, settings_of
from hie.commands.progress import ProgressBar
from hie.flow.lowering import Lowering
from hie.services import Services
from hie.settings import Settings
from hie.store.marks import Marks

_DAY = 86_400.0
_WORDS = {
    "names": "names",
    "relations": "relations",
    "packages": "packages",
    "descriptions": "descriptions",
}
#: A release to the lists that are compiled from it.
_LISTS = {"rxnorm": ("rxnorm", "ndc"), "snomed": ("snomed",)}


def register(group: Group) -> None:
    """Add the commands about labels."""
    _register_relabel(group)
    lists = group.add_parser(
        "sensitivity", help="Sensitive codes from RxNorm or SNOMED CT; labels raised by mistake."
    )
    actions = lists.add_subparsers(title="actions", required=True, metavar="ACTION")
    load = command(
        actions,
        "load",
        "Find all that contains a listed ingredient, or is a kind of a listed concept.",
        lambda a: load_lists(settings_of(), a),
    )
    release = load.add_mutually_exclusive_group(required=True)
    text = "folder with RXNCONSO.RRF and RXNREL.RRF; RXNSAT.RRF for package codes (NDC)"
    release.add_argument("--rxnorm", type=Path, metavar="DIR", help=text)
    text = "folder of an RF2 release: the snapshot of relationships, of descriptions if it is there"
    release.add_argument("--snomed", type=Path, metavar="DIR", help=text)
    undo = command(
        actions,
        "undo",
        "Take the last compiled lists back: those before them hold, or none.",
        lambda a: put_lists_back(settings_of(), a.release),
    )
    undo.add_argument("release", choices=sorted(_LISTS))
    _register_lowering(actions)
    command(
        actions,
        "status",
        "How many codes each list has, and how far labelling by them is.",
        lambda _: asyncio.run(status(settings_of())),
    )


def _register_lowering(actions: Group) -> None:
    lower = command(
        actions,
        "take-back",
        "Take a label back that a sender raised by mistake; of a visit or patient, on all of it.",
        lambda a: asyncio.run(take_back(settings_of(), a)),
    )
    lower.add_argument("resource", help="`Type/id`; a Patient by the id of its source record")
    text = "code of labels.toml; may be given several times"
    lower.add_argument("--label", action="append", default=[], metavar="CODE", help=text)
    undo = command(
        actions,
        "put-back",
        "Undo a taking back: the label is raised again.",
        lambda a: asyncio.run(raise_again(settings_of(), a)),
    )
    undo.add_argument("number", type=positive, help="as `take-back` printed it")
    for one in (lower, undo):
        text = "why; kept sealed in the audit trail"
        one.add_argument("--reason", required=True, metavar="TEXT", help=text)
        one.add_argument("--user", default=getpass.getuser(), help="who asks; the login name")


async def take_back(settings: Settings, arguments: argparse.Namespace) -> int:
    """Take raised labels back; prints the number to undo it by."""
    kind, _, key = arguments.resource.partition("/")
    async with Services(settings) as hub:
        done = await _lowering(hub).take_back(
            (kind, key), arguments.label, reason=arguments.reason, user=arguments.user
        )
    print(f"taken back as {done.number}: {done.resources} resources have fewer labels")
    return 0


async def raise_again(settings: Settings, arguments: argparse.Namespace) -> int:
    """Undo a taking back."""
    async with Services(settings) as hub:
        done = await _lowering(hub).put_back(
            arguments.number, reason=arguments.reason, user=arguments.user
        )
    print(f"put back: {done.resources} resources have more labels")
    return 0


def _lowering(hub: Services) -> Lowering:
    marks = Marks(hub.keys, hub.config.index)
    return Lowering(hub.db, hub.labeller, hub.repository, marks, hub.audit, hub.clock)


def _register_relabel(group: Group) -> None:
    arguments = command(
        group,
        "relabel",
        "Label again what was labelled by other lists.",
        lambda a: asyncio.run(relabel(settings_of(), a)),
    )
    how = arguments.add_mutually_exclusive_group()
    text = "raise what the lists of this configuration raise while the hub goes by others"
    how.add_argument("--ahead", action="store_true", help=text)
    text = "every resource, also where the lists are those it was labelled by"
    how.add_argument("--all", action="store_true", help=text)
    text = "stop after so long; the next run, or the hub itself, goes on from there"
    arguments.add_argument("--seconds", type=float, default=_DAY, metavar="N", help=text)


async def relabel(settings: Settings, arguments: argparse.Namespace) -> int:
    """Label again, beside a running hub or without one; 3 where time ran out before the end."""
    bar = ProgressBar({"labels": "resources"})
    services = Services(settings)
    services.relabel.begins = not arguments.ahead
    async with services as hub:
        if arguments.ahead:
            await hub.relabel.ahead()
        elif arguments.all:
            await hub.relabel.again()
        done = await hub.relabel.work(
            arguments.seconds, lambda count, total: bar("labels", count, total)
        )
    if done.is_over and not done.total:
        print("everything is labelled by these lists")
        return 0
    print(f"{done.done} of {done.total} resources looked at again")
    print(f"{done.raised} gained a label, {done.lowered} lost one")
    if not done.is_over:
        print("not through yet: run it again to go on", file=sys.stderr)
        return 3
    if arguments.ahead:
        print("restart the hub with this configuration now")
    return 0


def load_lists(settings: Settings, arguments: argparse.Namespace) -> int:
    """Compile a release into the hub's home."""
    bar = ProgressBar(_WORDS)
    folder = settings.config / "sensitivity"
    labeller = Labeller(load_sensitivity(folder))
    target = settings.home / FOLDER
    if arguments.rxnorm is not None:
        rules = load_rules(folder / "closures.toml")
        compiled = compile_rxnorm(arguments.rxnorm, labeller, rules, bar)
        products = keep(target, "rxnorm", _noted(compiled.products))
        found = sorted(compiled.packages.items())
        packages = keep(target, "ndc", ((code, sorted(labels), "") for code, labels in found))
        print(f"{products} products and {packages} packages compiled")
        if compiled.unknown:
            codes = " ".join(compiled.unknown)
            print(f"listed, but nothing in this release: {codes}", file=sys.stderr)
    else:
        concepts = compile_snomed(arguments.snomed, labeller, bar)
        count = keep(target, "snomed", _noted(concepts))
        print(f"{count} concepts compiled")
    with_loaded(load_sensitivity(folder), target)  # what cannot be read back is said now
    print("they hold when the hub is restarted; `hie relabel --ahead` before it keeps that short")
    return 0


def _noted(
    found: Mapping[str, tuple[frozenset[str], frozenset[str]]],
) -> Iterable[tuple[str, Iterable[str], str]]:
    """Lines with the listed codes that bring the labels as their note."""
    for code, (labels, brought_by) in sorted(found.items()):
        yield code, sorted(labels), "of " + " ".join(sorted(brought_by)) if brought_by else ""


def put_lists_back(settings: Settings, release: str) -> int:
    """Take the last compiled lists of a release back."""
    for name in _LISTS[release]:
        is_there = put_back(settings.home / FOLDER, name)
        print(f"{name}: {'the list before it holds' if is_there else 'no compiled list holds'}")
    print("from the next start of the hub on")
    return 0


async def status(settings: Settings) -> int:
    """The lists, and what is still to be labelled by them."""
    async with Services(settings) as hub:
        lists = hub.labeller.sensitivity.lists
        for found in lists:
            print(f"{found.name:<12} {len(found.lines):>8}")
        print(f"{'words':<12} {len(hub.labeller.sensitivity.words):>8}")
        is_due = await hub.relabel.is_due()
        done = hub.relabel.last
    if not done.is_over:
        print(f"labelling: {done.done} of {done.total} resources looked at again")
    elif is_due:
        print("labelling: not begun; it begins when the hub starts, or by `hie relabel`")
    else:
        print("labelling: everything is labelled by these lists")
    return 0
