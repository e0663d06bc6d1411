"""Breaking the glass: a person is known or not, then the record opens for a time.

Whether somebody is known is decided by all records of Patient, whoever may see them: so the
answer is the same whether or not anything is hidden. It is an id and nothing more. Opening is
one transaction: the access, the privacy officer's task, the audit row.
"""

import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from sqlalchemy.ext.asyncio import AsyncConnection

from consent.evaluate import Law
from hie.audit.event import Description, record_of
from hie.audit.repository import AuditLog
from hie.db import Database
from hie.disclosure import Disclosures
from hie.emergencies import repository
from hie.emergencies.model import SCOPE, Emergency, EmergencyState, Stated
from hie.emergencies.notice import notice_of
from hie.emergencies.policy import Cause, EmergencyPolicy
from hie.fitting import Fitting
from hie.identities import unsearchable
from hie.kernel.clock import SECOND_US
from hie.kernel.context import Caller, RequestContext
from hie.kernel.errors import Category, HieError
from hie.kernel.fhir import FhirJson
from hie.kernel.ids import OrganizationId, PersonId
from hie.keystore import KeyKind, KeyStore
from hie.proxies.model import USER_PREFIX
from hie.store.residual import Residual
from hie.tasks.model import TaskKind
from hie.tasks.service import Tasks
from mpi.levels import MatchGrade
from mpi.service import Mpi

_log: Final = logging.getLogger(__name__)
#: DICOM: emergency override started and stopped.
STARTED, STOPPED = "110127", "110128"
#: Characters of a description kept with its audit row.
_TOLD: Final = 2_000


@dataclass(frozen=True, slots=True)
class Standing:
    """What the hub knows of those who ask.

    Attributes:
        is_privileged: whether an organisation may break the glass.
        name_of: an organisation's name.
        persons_of: a person, and the ids that meant it before merges.
        factors: how the holder of a token had signed in (`amr`).
    """

    is_privileged: Callable[[OrganizationId], bool]
    name_of: Callable[[str], str]
    persons_of: Callable[[AsyncConnection, str], Awaitable[Sequence[str]]]
    factors: Callable[[AsyncConnection, str], Awaitable[tuple[str, ...]]]


class Emergencies:
    """Answers those who break the glass, and tells the patient.

    Attributes:
        on_asked: told the code of the reason of each question.
        on_opened: told that of each access that is opened.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - joined once, in services.py
        self,
        db: Database,
        law: Law,
        policy: EmergencyPolicy,
        standing: Standing,
        mpi: Mpi,
        fitting: Fitting,
        tasks: Tasks,
        keys: KeyStore,
        audit: AuditLog,
        disclosures: Disclosures,
    ) -> None:
        self._db = db
        self._law = law
        self._policy = policy
        self._standing = standing
        self._mpi = mpi
        self._fitting = fitting
        self._tasks = tasks
        self._keys = keys
        self._audit = audit
        self._disclosures = disclosures
        self.on_asked: Callable[[str], Any] = lambda _code: None
        self.on_opened: Callable[[str], Any] = lambda _code: None

    def is_for(self, caller: Caller) -> bool:
        """Whether a caller's purpose is an emergency's."""
        return self._law.is_emergency(caller.purpose)

    # Is the person known?

    async def ask(
        self, ctx: RequestContext, patient: FhirJson, stated: Stated | None
    ) -> PersonId | None:
        """The one person whom a description certainly means; None for nobody, or not for certain.

        Args:
            ctx: the request.
            patient: FHIR R4 Patient with what is known.
            stated: the reason.

        Raises:
            HieError: FORBIDDEN for who may not, INVALID for a reason that is none,
                BUSINESS_RULE when the description holds nothing to search by.
        """
        self._require_privilege(ctx.caller)
        cause = self._policy.require(stated)
        # Every Patient there is: whom it is hidden from does not count here.
        whole = Residual(sees_source_records=True, now_us=ctx.now_us)
        async with self._db.reading() as conn:
            factors = await self._factors(conn, ctx.caller)
            asked = self._mpi.questions.asked(patient, ctx.now_us)
            if not asked.keys:
                raise unsearchable()
            fits, _ = await self._fitting.of(conn, whole, asked)
        certain = [fit.person_id for fit in fits if fit.grade is MatchGrade.CERTAIN]
        person = certain[0] if len(certain) == 1 else None
        words = stated.words.strip() if stated else ""
        async with self._db.transaction() as conn:
            if person is not None:
                await self._keep(conn, ctx, person, Stated(code=cause.code, words=words), factors)
            detail = {
                "query": Description(f"$match {json.dumps(patient, default=str)}"[:_TOLD]),
                **_stated(cause, words),
            }
            record = record_of(
                ctx, "E", "operation", person_id=person, resource_type="Patient", detail=detail
            )
            await self._audit.append(conn, [record])
        self.on_asked(cause.code)
        return person

    async def _keep(
        self,
        conn: AsyncConnection,
        ctx: RequestContext,
        person: PersonId,
        stated: Stated,
        factors: tuple[str, ...],
    ) -> None:
        number = self._db.next_pk()
        key = await self._keys.for_owner(conn, KeyKind.PERSON, person)
        words = key.seal(
            stated.words.encode(), table="emergency_access", column="words", row=str(number)
        )
        found = Emergency(
            id=number,
            token_id=ctx.caller.token_id,
            organization=ctx.caller.organization or "",
            user=ctx.caller.user or "",
            person_id=person,
            asked_us=ctx.now_us,
            code=stated.code,
            factors=factors,
        )
        await repository.add(conn, found, key.id, words)

    # Opening and ending

    async def open(self, ctx: RequestContext, person_id: str) -> Emergency:
        """Open the record of a person whom this token was just told of.

        Asked again while it is open, it stays as it is.

        Raises:
            HieError: FORBIDDEN for who may not; NOT_FOUND for a person this token was not told
                of, or too long ago, whether or not there is one.
        """
        self._require_privilege(ctx.caller)
        async with self._db.transaction() as conn:
            await self._factors(conn, ctx.caller)
            found = await self._asked(conn, ctx, person_id)
            is_new = found is not None and found.opened_us is None
            if found is not None and is_new:
                found = await self._open(conn, ctx, found)
        if found is None:
            await self._disclosures.refuse(ctx, "operation", "Patient", person_id)
        if is_new:
            self.on_opened(found.code)
            _log.warning("emergency.opened", extra={"emergency": found.id})
        return found

    async def _asked(
        self, conn: AsyncConnection, ctx: RequestContext, person_id: str
    ) -> Emergency | None:
        """The access that a token may open, or has open."""
        kept = await repository.newest_of(conn, ctx.caller.token_id, person_id)
        if kept is None or not _is_by(kept[0], ctx.caller):
            return None
        found = kept[0]
        state = found.state_at(ctx.now_us)
        is_timely = ctx.now_us < found.asked_us + self._policy.asked_us
        is_asked = state is EmergencyState.ASKED and found.ended_us is None and is_timely
        return found if is_asked or state is EmergencyState.OPEN else None

    async def _open(
        self, conn: AsyncConnection, ctx: RequestContext, asked: Emergency
    ) -> Emergency:
        terms, now_us = self._law.break_glass, ctx.now_us
        cause = self._policy.causes[asked.code]
        task = await self._tasks.open(
            conn,
            TaskKind.EMERGENCY,
            (str(asked.id),),
            now_us=now_us,
            detail={
                "access": str(asked.id),
                "organization": self._standing.name_of(asked.organization),
                "user": asked.user,
                "reason": cause.display,
            },
        )
        opened = replace(
            asked,
            opened_us=now_us,
            expires_us=now_us + terms.minutes * 60 * SECOND_US,
            notice_us=now_us + cause.notice_after_us,
            task_id=task,
        )
        await repository.opened(conn, opened)
        if self._policy.alert is not None:
            await repository.announce(conn, opened.id, now_us)
        await self._audit.append(conn, [_audited(ctx, STARTED, opened, _stated(cause, ""))])
        return opened

    async def end(self, ctx: RequestContext, person_id: str) -> Emergency:
        """End an access before its time.

        Raises:
            HieError: NOT_FOUND where this token has none open to that person.
        """
        async with self._db.transaction() as conn:
            kept = await repository.newest_of(conn, ctx.caller.token_id, person_id)
            found = kept[0] if kept and _is_by(kept[0], ctx.caller) else None
            if found is None or found.state_at(ctx.now_us) is not EmergencyState.OPEN:
                found = None
            else:
                found = replace(found, ended_us=ctx.now_us, ended_by="user")
                await repository.change(conn, found.id, ended_us=ctx.now_us, ended_by="user")
                ended = {"reason": "ended by its user"}
                await self._audit.append(conn, [_audited(ctx, STOPPED, found, ended)])
        if found is None:
            await self._disclosures.refuse(ctx, "operation", "Patient", person_id)
        return found

    # The patient's notice

    async def notices(self, ctx: RequestContext, patient_id: str) -> list[FhirJson]:
        """What a patient is told of emergency accesses to the own record, the newest first.

        Who stands in for a patient is told without the reason, not of those whose notice waits
        (they may be why it does), and of none where anything of the record is kept from them.

        Raises:
            HieError: NOT_FOUND for anybody else's.
        """
        caller = ctx.caller
        own = caller.patient
        if own is None or own != patient_id:
            await self._disclosures.refuse(ctx, "operation", "Communication", patient_id)
        is_other = (caller.user or "").startswith(USER_PREFIX)
        async with self._db.reading() as conn:
            persons = await self._standing.persons_of(conn, own)
            found = await repository.told_to(conn, persons, ctx.now_us)
        told = [
            notice_of(
                one,
                self._policy,
                patient=own,
                name_of=self._standing.name_of,
                zone=self._law.settings.regime.time_zone,
                is_neutral=is_other,
            )
            for one in found
            if not (is_other and (caller.withheld_mask or one.notice_us != one.opened_us))
        ]
        detail = {"query": "$emergency-notices"}
        await self._disclosures.record(ctx, "E", "operation", {own}, "Communication", detail=detail)
        return told

    # Who may

    def _require_privilege(self, caller: Caller) -> None:
        """Refuse who may not break the glass at all; nothing here depends on a patient.

        Raises:
            HieError: FORBIDDEN, saying what is missing.
        """
        organization = caller.organization
        rules = (
            (not self.is_for(caller), "the token's purpose is not an emergency's"),
            (not self._law.break_glass.is_allowed, "the law of this hub knows no emergency access"),
            (
                not any(_spelled(scope) == SCOPE for scope in caller.scopes),
                f"the token lacks the scope `{SCOPE}`",
            ),
            (not (caller.user or "").strip(), "the token names no user: it is a person's access"),
            (
                organization is None or not self._standing.is_privileged(organization),
                "the organization may not break the glass: no source file of it says so",
            ),
        )
        for is_broken, text in rules:
            if is_broken:
                raise HieError(Category.FORBIDDEN, text)

    async def _factors(self, conn: AsyncConnection, caller: Caller) -> tuple[str, ...]:
        """How the caller had signed in, where that is enough.

        Raises:
            HieError: FORBIDDEN without a second factor where one is needed, and for a user who
                may not any more.
        """
        factors = await self._standing.factors(conn, caller.token_id)
        is_strong = not self._policy.factors.isdisjoint(factors)
        if self._law.break_glass.needs_second_factor and not is_strong:
            text = "an emergency access needs a second factor: sign in with one"
            raise HieError(Category.FORBIDDEN, text)
        if await repository.is_suspended(conn, caller.organization or "", caller.user or ""):
            text = "this user may not break the glass until the privacy officer allows it again"
            raise HieError(Category.FORBIDDEN, text)
        return factors


def _is_by(found: Emergency, caller: Caller) -> bool:
    return (found.organization, found.user) == (caller.organization, caller.user)


def _spelled(scope: Any) -> str:
    return f"{scope.level}/{scope.resource}.{scope.actions}"


def _stated(cause: Cause, words: str) -> FhirJson:
    """The reason for the trail. What patients read there is `reason`; the rest stays sealed."""
    return {"reason": "emergency access", "stated": f"{cause.display}: {words}".rstrip(": ")}


def _audited(ctx: RequestContext, subtype: str, found: Emergency, detail: FhirJson) -> Any:
    return record_of(
        ctx,
        "E",
        subtype,
        person_id=found.person_id,
        resource_type="Patient",
        resource_id=found.person_id,
        detail={**detail, "emergency": str(found.id), "factors": list(found.factors)},
    )
