"""Commands about HL7 v2 messages outside the hub: send, convert, lint."""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from adapters.hl7v2.convert import (
    Report,
    SourceFinder,
    convert_files,
    coverage_files,
    lint_files,
)
from adapters.hl7v2.er7 import Message
from adapters.hl7v2.query_reply import told_in
from adapters.hl7v2.send import (
    SILENCE,
    Destination,
    as_batch,
    read_batch_reply,
    send_all,
    split_messages,
)
from adapters.hl7v2.tls import TlsSettings
from adapters.sources import Source, adhoc_source
from hie.commands.parser import Group, command, settings_of
from hie.config import Config
from hie.kernel.errors import Category, HieError
from hie.settings import Settings

_MESSAGE_SECONDS: Final = 30.0  # for the answer to a message
_BATCH_SECONDS: Final = 600.0  # for the answer to a whole batch


def register(group: Group) -> None:
    """Add the commands about messages."""
    arguments = command(
        group,
        "send",
        "Send files of HL7 v2 messages over MLLP and print each answer.",
        lambda a: asyncio.run(send(a)),
    )
    arguments.add_argument("files", nargs="+", type=Path, metavar="FILE")
    arguments.add_argument("--to", required=True, metavar="HOST:PORT")
    arguments.add_argument(
        "--ca", type=Path, metavar="PEM", help="use TLS, trusting this authority"
    )
    arguments.add_argument("--certificate", type=Path, metavar="PEM", help="client certificate")
    arguments.add_argument("--key", type=Path, metavar="PEM", help="its private key")
    arguments.add_argument(
        "--batch", action="store_true", help="send each file as one batch, in one frame"
    )
    arguments = command(
        group,
        "convert",
        "Show what HL7 v2 messages become: one Bundle a line; stores nothing.",
        lambda a: (coverage if a.coverage else convert)(settings_of(), a),
    )
    arguments.add_argument("files", nargs="+", metavar="FILE", help="a file, or - for input")
    arguments.add_argument("--source", default="", help="read as this source's; else by MSH-3, -4")
    arguments.add_argument(
        "--coverage", action="store_true", help="count fields present, mapped and kept, instead"
    )
    arguments.add_argument("--json", action="store_true", help="the counts as one object a line")
    arguments = command(
        group,
        "lint",
        "List what is wrong with HL7 v2 messages: place, severity, text.",
        lambda a: lint(settings_of(), a.files, a.source, is_deep=a.deep),
    )
    arguments.add_argument("files", nargs="+", metavar="FILE", help="a file, or - for input")
    arguments.add_argument("--source", default="", help="read as this source's; else by MSH-3, -4")
    arguments.add_argument("--deep", action="store_true", help="add the verdict of hl7apy's parser")


async def send(arguments: argparse.Namespace) -> int:
    """Send files over MLLP; 1 when any message was not accepted."""
    host, _, port = arguments.to.rpartition(":")
    if not port.isdigit():
        raise HieError(Category.INVALID, "`--to`: expected HOST:PORT")
    tls = _client_tls(arguments)
    contents = [file.read_bytes() for file in arguments.files]
    if arguments.batch:
        payloads = [batch for content in contents if (batch := as_batch(content))]
    else:
        payloads = [message for content in contents for message in split_messages(content)]
    if not payloads:
        raise HieError(Category.INVALID, "the files hold no message")
    seconds = _BATCH_SECONDS if arguments.batch else _MESSAGE_SECONDS
    destination = Destination(host=host, port=int(port), tls=tls, timeout_seconds=seconds)
    refused = 0
    async for answer in send_all(payloads, destination):
        for reply in read_batch_reply(answer.answer) if arguments.batch else [answer]:
            print(f"{reply.control_id}\t{reply.code}\t{reply.text}", flush=True)
            for line in told_in(reply.answer):
                print(f"  {line}", flush=True)
            refused += reply.code not in ("AA", "CA", SILENCE)
    return 1 if refused else 0


def convert(settings: Settings, arguments: argparse.Namespace) -> int:
    """Print one Bundle per message; findings and coverage on standard error."""
    config = Config(settings)
    finder = _source_finder(config, arguments.source)
    return _told(convert_files(_contents(arguments.files), config.mapper, finder))


def coverage(settings: Settings, arguments: argparse.Namespace) -> int:
    """Print how many fields each message holds, and how many are mapped and kept."""
    config = Config(settings)
    finder = _source_finder(config, arguments.source)
    contents = _contents(arguments.files)
    return _told(coverage_files(contents, config.mapper, finder, is_json=arguments.json))


def lint(settings: Settings, files: Sequence[str], source: str, *, is_deep: bool) -> int:
    """Print the findings of each message."""
    config = Config(settings)
    finder = _source_finder(config, source)
    return _told(
        lint_files(_contents(files), config.mapper, config.conformer, finder, is_deep=is_deep)
    )


def _told(report: Report) -> int:
    for line in report.output:
        print(line)
    for line in report.remarks:
        print(line, file=sys.stderr)
    return report.exit_code


def _source_finder(config: Config, named: str) -> SourceFinder:
    """Whose a message is: the named source, else the one its MSH says, else an ad-hoc one."""
    if named:
        source = config.sources.by_id(named)
        if source is None:
            known = ", ".join(s.id for s in config.sources.all())
            raise HieError(Category.NOT_FOUND, f"`--source`: expected one of {known}")
        return lambda _: source

    def found(message: Message) -> Source:
        sender = (message.application, message.facility)
        return config.sources.for_message(*sender) or adhoc_source(*sender)

    return found


def _client_tls(arguments: argparse.Namespace) -> TlsSettings | None:
    if arguments.ca is None:
        return None
    return TlsSettings(
        certificate=arguments.certificate,
        private_key=arguments.key,
        authorities=arguments.ca,
    )


def _contents(files: Sequence[str]) -> list[tuple[str, bytes]]:
    return [
        (name, sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes())
        for name in files
    ]
