"""Commands that train, compare and activate linkage models."""

from hie.commands.parser import Group


def register(actions: Group) -> None:
    """Add them to `hie mpi`."""
