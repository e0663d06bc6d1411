"""Who asks, for which purpose, with which rights."""

from dataclasses import dataclass, field
from typing import Protocol

from hie.kernel.ids import OrganizationId, PersonId, SourceId


@dataclass(frozen=True, slots=True)
class Scope:
    """A SMART App Launch 2 scope, `system/Observation.rs`, or staff's, `staff/identity.steward`.

    Attributes:
        level: `patient`, `user`, `system` or `staff`.
        resource: a resource type or `*`; an area of the staff API.
        actions: a subset of `cruds`; a role of that area.
    """

    level: str
    resource: str
    actions: str

    def allows(self, resource: str, action: str) -> bool:
        """Whether the scope grants one of `c r u d s` on a resource type."""
        return self.level != "staff" and self.resource in ("*", resource) and action in self.actions


@dataclass(frozen=True, slots=True, kw_only=True)
class Caller:
    """The bearer of a token.

    Attributes:
        organization: the organisation that asks; None for a patient.
        grantees: that organisation and its ancestors: what a Consent may name to mean it.
        sources: feeds of that organisation: what they sent is the caller's own.
        user: who sits at the organisation's screen, as the client says.
        roles: codes of the roles in which they act there; a Consent may mean one.
        patient: the person whose own record a patient's token opens.
        purpose: a v3-ActReason code, `TREAT` unless stated.
        withheld_mask: labels of that record kept from who asks in the patient's place.
        break_glass: persons whom an emergency access, its reason stated, opens to it now.
        is_steward: may see every source record of Patient, as the MPI does.
    """

    token_id: str
    organization: OrganizationId | None = None
    grantees: frozenset[OrganizationId] = frozenset()
    sources: frozenset[SourceId] = frozenset()
    user: str | None = None
    roles: frozenset[str] = frozenset()
    patient: PersonId | None = None
    withheld_mask: int = 0
    break_glass: frozenset[PersonId] = frozenset()
    purpose: str = "TREAT"
    scopes: tuple[Scope, ...] = field(default=())
    is_steward: bool = False

    def may(self, resource: str, action: str) -> bool:
        """Whether any scope grants one of `c r u d s` on a resource type."""
        return any(scope.allows(resource, action) for scope in self.scopes)


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestContext:
    """One request: its caller, its id (X-Request-Id) and its time."""

    caller: Caller
    request_id: str
    now_us: int


class TokenChecker(Protocol):
    """Turns a bearer token into its caller."""

    async def check(self, bearer: str) -> Caller:
        """The token's caller.

        Raises:
            HieError: UNAUTHENTICATED when unknown, expired or revoked.
        """
        ...
