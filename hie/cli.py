"""The program `hie`: parse arguments, call one function."""

import argparse
import os
import sys
from collections.abc import Sequence

from hie.commands import (
    access,
    acknowledgements,
    audits,
    consents,
    exports,
    identity,
    indexing,
    journal,
    keys,
    labels,
    messages,
    notices,
    running,
    sources,
    subscribing,
    tasks,
    trace,
)
from hie.kernel.errors import HieError

#: In the order `hie --help` lists them.
_GROUPS = (
    running,
    messages,
    journal,
    acknowledgements,
    notices,
    exports,
    trace,
    sources,
    tasks,
    identity,
    consents,
    access,
    audits,
    keys,
    indexing,
    labels,
    subscribing,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; its exit code."""
    parsed = _parser().parse_args(arguments)
    try:
        return int(parsed.run(parsed))
    except HieError as error:
        print(f"hie: {error.text}", file=sys.stderr)
        for issue in error.issues:
            if issue.text != error.text:
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
    group = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for module in _GROUPS:
        module.register(group)
    return parser
