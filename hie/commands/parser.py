"""How a command is put into the parser, and the settings it runs with."""

import argparse
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

from hie.settings import CONFIG_VARIABLE, DEFAULT_CONFIG, Settings, load_settings

#: Where a module adds its commands: what `add_subparsers` gives, a private type of argparse.
Group: TypeAlias = Any
Handler = Callable[[argparse.Namespace], int]


def command(group: Group, name: str, text: str, run: Handler) -> argparse.ArgumentParser:
    """A new command of a group; add its arguments to what is returned."""
    parser: argparse.ArgumentParser = group.add_parser(name, help=text, description=text)
    parser.set_defaults(run=run)
    return parser


def positive(text: str) -> int:
    """A whole number above 0, for the `type` of an argument."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError("expected a whole number above 0")
    return int(text)


def settings_of() -> Settings:
    """The settings of this process.

    Raises:
        HieError: INVALID, one issue per fault.
    """
    return load_settings(os.environ)


def config_of() -> Path:
    """The folder config/ of this process, for commands that need no hub."""
    return Path(os.environ.get(CONFIG_VARIABLE) or DEFAULT_CONFIG)
