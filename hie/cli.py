"""The program `hie`: parse arguments, call one function."""

import argparse
import asyncio
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from hie import commands
from hie.kernel.errors import HieError
from hie.settings import load_settings

Handler = Callable[[argparse.Namespace], int]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; its exit code."""
    parsed = _parser().parse_args(arguments)
    try:
        return int(parsed.run(parsed))
    except HieError as error:
        print(f"hie: {error.text}", file=sys.stderr)
        for issue in error.issues:
            print(f"  - {issue.text}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # `hie ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:  # a file that is not there, a port that is taken
        print(f"hie: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="hie", description="A statewide health information exchange hub."
    )
    commands_ = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_running(commands_)
    _add_messages(commands_)
    _add_access(commands_)
    return parser


def _add(
    group: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    text: str,
    run: Handler,
) -> argparse.ArgumentParser:
    parser = group.add_parser(name, help=text, description=text)
    parser.set_defaults(run=run)
    return parser


def _add_running(group: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    _add(
        group,
        "serve",
        "Run the hub: FHIR and HL7 v2 over HTTP, MLLP, MLLP over TLS.",
        lambda _: asyncio.run(commands.serve(_settings())),
    )
    demo = _add(
        group,
        "demo",
        "Run the hub on a synthetic state: five sources feed it, then it shows what came out.",
        lambda a: asyncio.run(commands.demo(_settings(), is_once=a.once)),
    )
    demo.add_argument("--once", action="store_true", help="check the outcome and exit")
    _add(
        group,
        "migrate",
        "Bring the database to this version's schema.",
        lambda _: asyncio.run(commands.migrate(_settings())),
    )
    _add(
        group,
        "check-config",
        "Read every file of config/ and the HIE_* variables; say what is wrong.",
        lambda _: commands.check_config(_settings()),
    )


def _add_messages(group: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    send = _add(
        group,
        "send",
        "Send files of HL7 v2 messages over MLLP and print each answer.",
        lambda a: asyncio.run(commands.send(a)),
    )
    send.add_argument("files", nargs="+", type=Path, metavar="FILE")
    send.add_argument("--to", required=True, metavar="HOST:PORT")
    send.add_argument("--ca", type=Path, metavar="PEM", help="use TLS, trusting this authority")
    send.add_argument("--certificate", type=Path, metavar="PEM", help="client certificate")
    send.add_argument("--key", type=Path, metavar="PEM", help="its private key")
    convert = _add(
        group,
        "convert",
        "Show what HL7 v2 messages become: one Bundle a line; stores nothing.",
        lambda a: commands.convert(_settings(), a.files, a.source),
    )
    convert.add_argument("files", nargs="+", metavar="FILE", help="a file, or - for input")
    convert.add_argument("--source", default="", help="read as this source's; else by MSH-3, -4")
    lint = _add(
        group,
        "lint",
        "List what is wrong with HL7 v2 messages: place, severity, text.",
        lambda a: commands.lint(_settings(), a.files, a.source, is_deep=a.deep),
    )
    lint.add_argument("files", nargs="+", metavar="FILE", help="a file, or - for input")
    lint.add_argument("--source", default="", help="read as this source's; else by MSH-3, -4")
    lint.add_argument("--deep", action="store_true", help="add the verdict of hl7apy's parser")
    parked = _add(
        group,
        "parked",
        "List messages that were acknowledged and then failed.",
        lambda a: asyncio.run(commands.parked(_settings(), is_kept=a.kept, limit=a.limit)),
    )
    parked.add_argument("--kept", action="store_true", help="those that no map reads, instead")
    parked.add_argument("--limit", type=int, default=100)
    replay = _add(
        group,
        "replay",
        "Put parked or kept messages back in the queue, by id.",
        lambda a: asyncio.run(commands.replay(_settings(), a.ids)),
    )
    replay.add_argument(
        "ids", nargs="+", type=_message_id, metavar="ID", help="as `hie parked` lists them"
    )


def _add_access(group: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    token = _add(
        group,
        "token",
        "Print a bearer token for the FHIR API; audited.",
        lambda a: asyncio.run(commands.token(_settings(), a)),
    )
    token.add_argument("--scope", default="system/*.rs", help='SMART scopes, "system/*.cruds"')
    token.add_argument("--organization", default="", help="id or identifier of who asks")
    token.add_argument("--purpose", default="TREAT", help="v3-ActReason code")
    token.add_argument("--patient", default="", help="person whose own record it opens")
    token.add_argument("--user", default="", help="who sits at the screen")
    token.add_argument("--ttl", type=int, default=3600, metavar="SECONDS")
    audit = group.add_parser("audit", help="Check or export the audit trail.")
    actions = audit.add_subparsers(title="actions", required=True, metavar="ACTION")
    _add(
        actions,
        "verify",
        "Follow the audit chain from its first row; name the first fault.",
        lambda _: asyncio.run(commands.audit_verify(_settings())),
    )
    _add(
        actions,
        "export",
        "Print every AuditEvent, one JSON object a line.",
        lambda _: asyncio.run(commands.audit_export(_settings())),
    )


def _message_id(text: str) -> int:
    if not 0 < int(text) < 1 << 63:
        raise ValueError
    return int(text)


def _settings() -> commands.Settings:
    return load_settings(os.environ)
