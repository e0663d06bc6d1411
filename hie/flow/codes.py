"""Codes no concept map knows: counted, asked about, and mapped again once somebody answered.

INVARIANT: no message slips between a question and its answer. Whoever notes a code holds the
task's row until the message is stored, and so does whoever answers: the answer sees every
message noted before it, and a message that comes to its task after the answer is mapped again
before it is stored.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from adapters.hl7v2.mapper import Mapper
from adapters.terminology import Concept, Terminology
from hie.audit.event import AuditRecord
from hie.audit.repository import AuditLog
from hie.kernel.clock import Clock
from hie.kernel.envelope import Submission
from hie.kernel.errors import Category, HieError
from hie.kernel.ids import MessageId
from hie.tasks.model import Occurrence, Outcome, StaffTask, TaskKind
from hie.tasks.service import Tasks
from hie.translations.service import Translation, Translations

#: Why a message is mapped again; kept with it.
ANSWERED: Final = "a code of it was answered"
TAKEN_BACK: Final = "the answer to a code of it was taken back"
_log = structlog.get_logger(__name__)


class Reopens(Protocol):
    """Puts messages back in the queue, whatever became of them."""

    async def reopen(
        self, conn: AsyncConnection, message_ids: Sequence[MessageId], reason: str, actor: str
    ) -> int:
        """How many were put back, in the caller's transaction."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """What an answer did: the task, how many messages are mapped again."""

    task: StaffTask
    reopened: int


class CodeTasks:
    """Unmapped codes and their answers.

    Args:
        tasks: the questions.
        translations: the answers.
        mapper: told what was decided.
        terms: the tables of `config/terminology`.
        replay: maps again what waited.
        audit: keeps that somebody decided.
        clock: the time of decisions.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - joined once, in services.py
        self,
        tasks: Tasks,
        translations: Translations,
        mapper: Mapper,
        terms: Terminology,
        replay: Reopens,
        audit: AuditLog,
        clock: Clock,
    ) -> None:
        self._tasks = tasks
        self._translations = translations
        self._mapper = mapper
        self._terms = terms
        self._replay = replay
        self._audit = audit
        self._clock = clock
        self._version = 0
        #: Called with source and concept map for each code counted; the hub sets its metric.
        self.on_counted: Callable[[str, str], None] = lambda _source, _map: None

    async def refresh(self, conn: AsyncConnection) -> None:
        """Take up what was decided since the last time, by whichever process; one cheap query."""
        version = await self._translations.version(conn)
        if version != self._version:
            self._mapper.learn(await self._translations.load(conn))
            self._version = version
            _log.info("codes.learned", count=version)

    async def note(
        self, conn: AsyncConnection, submissions: Sequence[Submission]
    ) -> frozenset[MessageId]:
        """Count the unmapped codes of messages; which messages must be mapped again first.

        An answer that was used remembers the message, for the day it is taken back.

        Args:
            conn: the transaction the messages are stored in.
            submissions: what they were mapped to.
        """
        found = [
            _occurrence(submission, code)
            for submission in submissions
            for code in sorted(submission.codes)
        ]
        noted = await self._tasks.note(conn, found)
        for one, task in zip(found, noted, strict=True):
            if task.is_counted:
                self.on_counted(one.source_id, one.topic)
        late = frozenset(
            one.message_id
            for one, task in zip(found, noted, strict=True)
            if task.outcome is Outcome.ANSWERED and one.message_id is not None
        )
        used = [(task, s.message_id) for s in submissions for task in s.answers]
        return late | await self._tasks.remember(conn, used) if used else late

    async def answer(
        self, conn: AsyncConnection, task_id: int, concept: Concept, *, actor: str, note: str = ""
    ) -> Answered:
        """Let a code mean `concept` at its source from now on, and map again what waited.

        Args:
            conn: open write transaction.
            task_id: a task of kind unmapped-code.
            concept: without a target: the code has no counterpart, its text is enough.
            actor: who decides, as kept with the task.
            note: the decider's own words.

        Raises:
            HieError: NOT_FOUND; CONFLICT when it is closed; INVALID where the target is none.
        """
        task = await self._code_task(conn, task_id)
        concept = self._checked(task.topic, concept)
        now_us = self._clock.now_us()
        decided = self._translation(task, concept, actor, now_us)
        await self._tasks.close(conn, task, Outcome.ANSWERED, actor=actor, note=note, now_us=now_us)
        await self._translations.add(conn, decided)
        return await self._again(conn, task, "answered", ANSWERED, actor)

    async def take_back(
        self, conn: AsyncConnection, task_id: int, *, actor: str, note: str = ""
    ) -> Answered:
        """Let an answered code be unmapped again; its messages are mapped anew.

        Raises:
            HieError: NOT_FOUND; CONFLICT when the task is open.
        """
        task = await self._code_task(conn, task_id)
        now_us = self._clock.now_us()
        await self._tasks.reopen(conn, task, actor=actor, note=note, now_us=now_us)
        if task.outcome is not Outcome.ANSWERED:
            return Answered(task=task, reopened=0)
        nothing = self._translation(task, Concept(target=""), actor, now_us)
        await self._translations.withdraw(conn, nothing)
        return await self._again(conn, task, "undone", TAKEN_BACK, actor)

    async def decided(
        self, conn: AsyncConnection, source_id: str, concept_map: str
    ) -> Mapping[str, Concept]:
        """What staff decided for one source and map, by code."""
        return (await self._translations.load(conn)).get(source_id, {}).get(concept_map, {})

    async def _again(
        self, conn: AsyncConnection, task: StaffTask, action: str, reason: str, actor: str
    ) -> Answered:
        waiting = await self._tasks.messages(conn, task.id)
        count = await self._replay.reopen(conn, waiting, reason, actor) if waiting else 0
        detail = {
            "task": task.id,
            "decision": action,
            "source": task.source_id,
            "map": task.topic,
            "messages": count,
        }
        record = AuditRecord(
            recorded_us=self._clock.now_us(),
            action="U",
            subtype="update",
            user=actor,
            resource_type="ConceptMap",
            detail=detail,
        )
        await self._audit.append(conn, [record])
        return Answered(task=task, reopened=count)

    async def _code_task(self, conn: AsyncConnection, task_id: int) -> StaffTask:
        task = await self._tasks.get(conn, task_id, is_locked=True)
        if task.kind is not TaskKind.UNMAPPED_CODE or not task.detail.get("code"):
            raise HieError(Category.INVALID, "`ID`: expected a task about one unmapped code")
        return task

    def _checked(self, concept_map: str, concept: Concept) -> Concept:
        """The concept with what the map knows of its target.

        Raises:
            HieError: INVALID, saying what is expected.
        """
        table = self._terms.map(concept_map)
        known = table.targets.get(concept.target)
        if not concept.target:
            return Concept(target="")
        if known is not None and concept.system in ("", known.system):
            return (
                known
                if not concept.display
                else Concept(target=known.target, display=concept.display, system=known.system)
            )
        if table.is_closed:
            listed = ", ".join(sorted(table.targets))
            raise HieError(Category.INVALID, f"`--target`: expected one of {listed}")
        if not concept.system:
            text = "`--system`: expected the URI of the target's code system"
            raise HieError(Category.INVALID, text)
        return concept

    @staticmethod
    def _translation(task: StaffTask, concept: Concept, actor: str, now_us: int) -> Translation:
        return Translation(
            source_id=task.source_id,
            map=task.topic,
            code=task.detail["code"],
            concept=concept,
            task_id=task.id,
            decided_us=now_us,
            decided_by=actor,
        )


def _occurrence(submission: Submission, code: tuple[str, str, str]) -> Occurrence:
    concept_map, text, beside = code
    return Occurrence(
        kind=TaskKind.UNMAPPED_CODE,
        # As the maps are asked: in any case.
        key=(submission.source_id, concept_map, text.upper()),
        at_us=submission.received_us,
        source_id=submission.source_id,
        topic=concept_map,
        detail={"code": text, "text": beside},
        message_id=submission.message_id,
    )
