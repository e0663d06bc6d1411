"""Which linkage model decides: that of `config/mpi`, or one that was activated instead.

An activation is a decision on record and can be taken back. An activated model brings weights,
prior and name frequencies; thresholds, blocking keys and combinations stay those of the file,
because the keys of the index are made by them.
"""

import hashlib
from dataclasses import dataclass, replace

import orjson
from sqlalchemy.ext.asyncio import AsyncConnection

from hie.db import Database
from hie.kernel.errors import Category, HieError
from mpi.repository import models
from mpi.repository.models import Choice, StoredModel
from mpi.repository.writes import Writes
from mpi.settings import LinkageModel, read_model

#: Choices that are read to find the one before.
_MOST_CHOICES = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Why:
    """The grounds of a choice.

    Attributes:
        actor: who chooses.
        reason: in words that name no patient.
        findings: what was found of the model before, as JSON values.
    """

    actor: str
    reason: str
    findings: object = None


class Models:
    """The models on record.

    Args:
        db: gives primary keys.
        file: the model of `config/mpi`.
    """

    def __init__(self, db: Database, file: LinkageModel) -> None:
        self._db = db
        self.file = file

    async def chosen(self, conn: AsyncConnection) -> tuple[int, LinkageModel]:
        """The number of the choice that holds (0 where nobody chose), and the model."""
        newest = await models.newest_choice(conn)
        if newest is None:
            return 0, self.file
        number, model_id = newest
        stored = await models.by_id(conn, model_id) if model_id is not None else None
        return number, self.usable(stored) if stored else self.file

    async def newest(self, conn: AsyncConnection) -> int:
        """The number of the choice that holds; 0 where nobody chose."""
        found = await models.newest_choice(conn)
        return found[0] if found else 0

    def usable(self, stored: StoredModel) -> LinkageModel:
        """A stored model as it decides here.

        Raises:
            HieError: INVALID; a later version of the hub may ask more of a model.
        """
        return self.fitted(read_model(stored.body, f"model {stored.version}"))

    def fitted(self, model: LinkageModel) -> LinkageModel:
        """A model with thresholds, keys and combinations of the file."""
        file = self.file
        return replace(
            model,
            thresholds=file.thresholds,
            keys=file.keys,
            key_cap=file.key_cap,
            keys_per_record=file.keys_per_record,
            combinations=file.combinations,
        )

    async def register(
        self, conn: AsyncConnection, model: LinkageModel, *, metrics: object = None
    ) -> int:
        """Put a model on record, once per version and content; its number."""
        content_hash = hashlib.sha256(model.text.encode()).hexdigest()
        stored = await models.by_content(conn, model.version, content_hash)
        if stored is not None:
            return stored.id
        writes = Writes(self._db)
        number = writes.add(
            "model",
            version=model.version,
            content_hash=content_hash,
            body=model.text,
            metrics=orjson.dumps(metrics).decode() if metrics is not None else None,
        )
        await writes.send(conn)
        return number

    async def start(self, conn: AsyncConnection, *, now_us: int) -> None:
        """Put the file's model on record and, where nobody chose another, say that it decides."""
        newest = await models.newest_choice(conn)
        number = await self.register(conn, self.file)
        if newest is None or newest[1] is None:
            stored = await models.by_id(conn, number)
            if stored is None or stored.active_from_us is None or stored.active_to_us is not None:
                await models.begin(conn, number, now_us=now_us)

    async def activate(
        self, conn: AsyncConnection, model: LinkageModel | None, why: Why, *, now_us: int
    ) -> int:
        """Let a model decide from now on, in every process within seconds.

        Args:
            conn: open write transaction.
            model: None stands for that of `config/mpi`.
            why: who decides, and on what grounds.
            now_us: when.

        Returns:
            The number of the choice.
        """
        model_id = await self.register(conn, model) if model else None
        return await self._choose(conn, model_id, why, now_us)

    async def go_back(self, conn: AsyncConnection, why: Why, *, now_us: int) -> str:
        """Let the model decide that did before the one that does; its version.

        Raises:
            HieError: NOT_FOUND when none was ever activated.
        """
        found = await models.choices(conn, _MOST_CHOICES)
        if not found:
            raise HieError(Category.NOT_FOUND, "no model was ever activated: nothing to go back to")
        current = found[0].model_id
        before = next((c for c in found[1:] if c.model_id != current), None)
        await self._choose(conn, before.model_id if before else None, why, now_us)
        return before.version or self.file.version if before else self.file.version

    async def _choose(
        self, conn: AsyncConnection, model_id: int | None, why: Why, now_us: int
    ) -> int:
        writes = Writes(self._db)
        number = writes.add(
            "model_choice",
            at_us=now_us,
            model_id=model_id,
            actor=why.actor,
            reason=why.reason,
            findings=orjson.dumps(why.findings).decode(),
        )
        await writes.send(conn)
        deciding = model_id or await self.register(conn, self.file)
        await models.begin(conn, deciding, now_us=now_us)
        return number

    async def find(self, conn: AsyncConnection, version: str) -> StoredModel:
        """The newest model of a version.

        Raises:
            HieError: NOT_FOUND.
        """
        found = await models.named(conn, version)
        if not found:
            text = "no such model on record: `hie mpi model list` shows them"
            raise HieError(Category.NOT_FOUND, text)
        return found[0]

    async def listed(self, conn: AsyncConnection) -> list[StoredModel]:
        """Every model on record, the newest first."""
        return await models.all_models(conn)

    async def choices(self, conn: AsyncConnection, limit: int = 20) -> list[Choice]:
        """The decisions which model decides, the newest first."""
        return await models.choices(conn, limit)
