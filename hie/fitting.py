"""Whom a description may mean, by the records that somebody may see."""

from collections.abc import Mapping, Sequence

from sqlalchemy.ext.asyncio import AsyncConnection

from hie.store.query import Served
from hie.store.repository import ResourceRepository
from hie.store.residual import Residual
from mpi.ask import Asked, Fit
from mpi.service import Mpi


class Fitting:
    """Compares a description with persons."""

    def __init__(self, repository: ResourceRepository, mpi: Mpi) -> None:
        self._repository = repository
        self._questions = mpi.questions

    async def of(
        self, conn: AsyncConnection, residual: Residual, asked: Asked
    ) -> tuple[Sequence[Fit], Mapping[str, list[Served]]]:
        """Who fits, best first, and the visible records of everybody compared.

        Args:
            conn: an open connection.
            residual: whose eyes it is looked with: what they do not see counts for nothing.
            asked: the description.
        """
        questions = self._questions
        under = await questions.under(conn, asked)
        named = sorted({record for found in under.values() for record in found})
        visible = await self._repository.patient_persons(conn, residual, named)
        ranked = questions.ranked(asked, under, visible)
        records = await self._repository.patients(conn, residual, ranked.persons)
        whose = {served.id: person for person, found in records.items() for served in found}
        return await questions.fits(conn, ranked, whose), records
