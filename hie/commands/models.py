"""Commands about which linkage model decides: list, show, compare, activate, go back."""

import argparse
import asyncio
import getpass
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

from sqlalchemy.ext.asyncio import AsyncConnection

from hie.audit.event import AuditRecord
from hie.commands.judging import judge_file, told
from hie.commands.parser import Group, command, settings_of
from hie.commands.progress import ProgressBar
from hie.kernel.clock import instant
from hie.kernel.errors import Category, HieError
from hie.services import Services
from mpi.models import Why
from mpi.redecide import Redecided
from mpi.redecide import lines as moves
from mpi.settings import LinkageModel, load_model
from mpi.training import gates as gate_keeper
from mpi.training.difference import difference, lines
from mpi.training.gates import Gate
from mpi.training.plan import load_plan

_STAGES = {"links": "deciding"}
Act = Callable[[Services, argparse.Namespace], Awaitable[int]]
_WHICH = "a version on record, or a file"


def register(actions: Group) -> None:
    """Add the group `hie mpi model`."""
    group = actions.add_parser("model", help="Linkage models: which one decides, and since when.")
    models = group.add_subparsers(title="actions", required=True, metavar="ACTION")
    command(
        models,
        "list",
        "List the models on record and the decisions which of them decides.",
        lambda a: _run(show_list, a),
    )
    arguments = command(
        models,
        "show",
        "Print a model file.",
        lambda a: _run(show, a),
    )
    arguments.add_argument("model", nargs="?", default="", metavar="MODEL", help=_WHICH)
    arguments = command(
        models,
        "diff",
        "Show level by level what a model changes, old and new bits.",
        lambda a: _run(diff, a),
    )
    arguments.add_argument("model", metavar="MODEL", help=_WHICH)
    arguments.add_argument("--against", default="", metavar="MODEL", help="default: the one in use")
    arguments = command(
        models,
        "activate",
        "Let a model decide, if it passes its gates; audited, taken up within seconds.",
        lambda a: _run(activate, a),
    )
    arguments.add_argument("model", metavar="MODEL", help=_WHICH)
    arguments.add_argument(
        "--accept-changes",
        action="store_true",
        help="activate though more links than usual would change; the other gates stay",
    )
    arguments.add_argument("--dry-run", action="store_true", help="show the gates only")
    _add_why(arguments)
    arguments = command(
        models,
        "back",
        "Let the model decide again that did before; audited.",
        lambda a: _run(back, a),
    )
    _add_why(arguments)


def _add_why(arguments: argparse.ArgumentParser) -> None:
    arguments.add_argument("--reason", default="", metavar="TEXT", help="why; names no patient")
    arguments.add_argument("--by", default="", metavar="NAME", help="who; else who is logged in")


def _run(act: Act, arguments: argparse.Namespace) -> int:
    async def run() -> int:
        async with Services(settings_of()) as hub:
            return await act(hub, arguments)

    return asyncio.run(run())


async def show_list(hub: Services, _: argparse.Namespace) -> int:
    """Print models, then choices, newest first."""
    async with hub.db.reading() as conn:
        stored = await hub.mpi.models.listed(conn)
        choices = await hub.mpi.models.choices(conn)
    for model in stored:
        is_deciding = model.active_from_us is not None and model.active_to_us is None
        since = instant(model.active_from_us) if model.active_from_us else "-"
        print(f"{'*' if is_deciding else ' '} {model.version}\t{since}\t{model.content_hash[:12]}")
    for choice in choices:
        version = choice.version or "the one of config/mpi"
        print(f"{instant(choice.at_us)}\t{version}\t{choice.actor}\t{choice.reason}")
    return 0


async def show(hub: Services, arguments: argparse.Namespace) -> int:
    """Print a model file; without a name that of the model in use."""
    async with hub.db.reading() as conn:
        model = await _model(hub, conn, arguments.model)
    print(model.text, end="")
    return 0


async def diff(hub: Services, arguments: argparse.Namespace) -> int:
    """Print what a model changes."""
    async with hub.db.reading() as conn:
        after = await _model(hub, conn, arguments.model)
        before = await _model(hub, conn, arguments.against)
    for line in lines(difference(before, after)):
        print(line)
    return 0


async def activate(hub: Services, arguments: argparse.Namespace) -> int:
    """Let a model decide; 3 where a gate is shut, and then nothing has changed."""
    if not arguments.dry_run and not arguments.reason:
        raise HieError(Category.INVALID, "`--reason`: expected why the model is to decide")
    async with hub.db.surveying() as conn:
        model = hub.mpi.models.fitted(await _model(hub, conn, arguments.model))
        gates, redecided = await _judge(hub, conn, model)
    for line in (*lines(difference(hub.mpi.trials.model, model)), *moves(redecided)):
        print(line)
    told(gates)
    shut = {gate.name for gate in gates if not gate.is_open}
    if arguments.dry_run or shut - ({gate_keeper.LINKS} if arguments.accept_changes else set()):
        print("nothing was activated", file=sys.stderr)
        return 3 if shut else 0
    findings = {
        "gates": {gate.name: list(gate.faults) for gate in gates},
        "changed": redecided.changed,
        "looked_at": redecided.looked_at,
    }
    why = Why(actor=_actor(arguments), reason=arguments.reason, findings=findings)
    async with hub.db.transaction() as conn:
        await hub.db.serialize(conn, "model")
        await hub.mpi.models.activate(conn, model, why, now_us=hub.clock.now_us())
        await hub.audit.append(conn, [_audited(hub, arguments, f"activate {model.version}")])
    print(f"{model.version} decides from now on")
    return 0


async def _judge(
    hub: Services, conn: AsyncConnection, model: LinkageModel
) -> tuple[list[Gate], Redecided]:
    folder = hub.settings.config / "mpi"
    plan = load_plan(folder)
    gates = judge_file(folder, hub.config.mpi, hub.mpi.trials.model, model, plan.gates)
    redecided = await hub.mpi.trials.redecide(
        conn, model, plan.gates.looked_at, plan.seed, ProgressBar(_STAGES)
    )
    return [*gates, gate_keeper.links(redecided, plan.gates)], redecided


async def back(hub: Services, arguments: argparse.Namespace) -> int:
    """Let the model before decide again."""
    if not arguments.reason:
        raise HieError(Category.INVALID, "`--reason`: expected why the model before is to decide")
    async with hub.db.transaction() as conn:
        await hub.db.serialize(conn, "model")
        why = Why(actor=_actor(arguments), reason=arguments.reason)
        version = await hub.mpi.models.go_back(conn, why, now_us=hub.clock.now_us())
        await hub.audit.append(conn, [_audited(hub, arguments, f"back to {version}")])
    print(f"{version} decides from now on")
    return 0


async def _model(hub: Services, conn: AsyncConnection, which: str) -> LinkageModel:
    """A model by file or by version; without either the one in use."""
    if not which:
        return hub.mpi.trials.model
    path = Path(which)
    if path.suffix == ".toml":
        return load_model(path)
    return hub.mpi.models.usable(await hub.mpi.models.find(conn, which))


def _audited(hub: Services, arguments: argparse.Namespace, what: str) -> AuditRecord:
    return AuditRecord(
        recorded_us=hub.clock.now_us(),
        action="U",
        subtype="operation",
        user=_actor(arguments),
        detail={"query": f"hie mpi model {what}", "reason": arguments.reason},
    )


def _actor(arguments: argparse.Namespace) -> str:
    name: str = arguments.by or getpass.getuser()
    return name
