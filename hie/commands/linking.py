"""Commands that link records of a file, and show why two are linked."""

from hie.commands.parser import Group


def register(actions: Group) -> None:
    """Add them to `hie mpi`."""
