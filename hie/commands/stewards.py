"""Commands of identity stewards: the review queue and their decisions."""

from hie.commands.parser import Group


def register(actions: Group) -> None:
    """Add them to `hie mpi`."""
