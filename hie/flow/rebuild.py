"""The rules of all Consents, compiled anew: after a change of what the compilation depends on.

Who is taken at his word stands in the sources' files, what a word means in `config/consent/`;
the rows of Consents that are stored already follow once they are compiled again.
"""

from typing import Final

from hie.db import Database
from hie.flow.place import Placer
from hie.kernel.ids import PersonId
from hie.store.repository import ResourceRepository

#: Persons in one transaction: readers and writers go on between two.
_BATCH: Final = 10


async def rebuild_consents(db: Database, repository: ResourceRepository, placer: Placer) -> int:
    """Compile the Consents of every person who has any; how many persons those are."""
    after, count = "", 0
    while True:
        async with db.reading() as conn:
            found = await repository.persons_with(conn, "Consent", after=after, limit=_BATCH)
        if not found:
            return count
        async with db.transaction() as conn:
            await placer.recompile(conn, [PersonId(person) for person in found])
        after, count = found[-1], count + len(found)
