"""What a token carries: scopes and the terms of a grant (pure).

Scopes of SMART open FHIR; `staff/<area>.<role>` opens the staff API, and nothing else.

Spec: https://hl7.org/fhir/smart-app-launch/STU2.2/scopes-and-launch-context.html
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from hie.emergencies.model import SCOPE as ASK
from hie.kernel.context import Scope
from hie.kernel.errors import Category, HieError, Issue
from hie.kernel.fhir import ID
from hie.kernel.ids import OrganizationId, PersonId
from hie.proxies.model import USER_PREFIX

ACTIONS: Final = "cruds"
LONGEST_USER: Final = 200
#: SMART v1 says what it grants in three words.
_V1: Final = {"read": "rs", "write": "cud", "*": ACTIONS}
_SCOPE: Final = re.compile(
    r"^(?P<level>patient|user|system)/(?P<resource>[A-Z][A-Za-z]+|\*)\.(?P<actions>[a-z]+|\*)$"
)
_V2: Final = re.compile(r"^(?=.)c?r?u?d?s?$")
_PURPOSE: Final = re.compile(r"^[A-Z]{2,20}$")
_FACTOR: Final = re.compile(r"^[a-z0-9]{2,12}$")
MOST_FACTORS: Final = 10
_ROLE: Final = re.compile(r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,63}\Z")
MOST_ROLES: Final = 10
EMERGENCY: Final = "emergency"
STAFF: Final = "staff"
#: The roles of each area of the staff API, the weakest first; each includes those before it.
STAFF_ROLES: Final[Mapping[str, tuple[str, ...]]] = MappingProxyType(
    {"identity": ("read", "steward", "admin"), "privacy": ("read", "clerk", "officer")}
)
_STAFF_SCOPE: Final = re.compile(r"^staff/(?P<area>[a-z]+)\.(?P<role>[a-z]+)$")
#: What staff may look at records for: running the exchange, never treating anybody.
STAFF_PURPOSES: Final = ("HOPERAT", "PATADMIN", "HSYSADMIN")


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """The terms of a token, before they are checked.

    Attributes:
        organization: id, `system|value` or identifier value of who asks; empty for none.
        user: who sits at the screen.
        patient: the person whose own record a patient's token opens; empty for none.
        scopes: separated by spaces.
        is_steward: may see every source record of Patient.
        ttl_seconds: how long the token is good for.
        amr: how its user signed in, words of RFC 8176 such as `pwd` and `otp`.
        roles: codes of the roles that the user acts in, as whoever signed them in knows them; a
            Consent may permit or deny a role.
    """

    organization: str = ""
    user: str = ""
    patient: str = ""
    purpose: str = "TREAT"
    scopes: str = ""
    is_steward: bool = False
    ttl_seconds: int = 3600
    amr: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessToken:
    """A token as the database knows it; the secret itself is nowhere.

    Attributes:
        token_hash: SHA-256 of the secret, which has 256 random bits of its own.
        revoked_us: None while it holds.
    """

    pk: int
    token_hash: bytes
    created_us: int
    expires_us: int
    revoked_us: int | None
    organization: OrganizationId | None
    user: str | None
    patient: PersonId | None
    purpose: str
    scopes: str
    is_steward: bool
    amr: tuple[str, ...] = ()
    roles: tuple[str, ...] = ()

    def holds_at(self, now_us: int) -> bool:
        """Whether the token opens anything at this time."""
        return self.revoked_us is None and now_us < self.expires_us


@dataclass(frozen=True, slots=True, kw_only=True)
class Issued:
    """A fresh token: the only time its secret is seen.

    Attributes:
        bearer: what the client sends.
        token_id: what audit events call it.
    """

    bearer: str
    token_id: str
    expires_us: int


def parse_scopes(text: str) -> tuple[Scope, ...]:
    """The scopes of a grant, SMART v2 (`.rs`) or v1 (`.read`), each once.

    Raises:
        HieError: INVALID, with one issue for each scope that grants nothing the hub knows;
            a filter (`?category=...`) is refused rather than widened.
    """
    found: dict[Scope, None] = {}
    issues: list[Issue] = []
    for number, word in enumerate(text.split(), start=1):
        scope = _scope(word)
        if scope is None:
            issues.append(Issue(text=f"scope {number}: {_EXPECTED}", code="value"))
        else:
            found[scope] = None
    if not found and not issues:
        issues.append(Issue(text=f"a token needs a scope: {_EXPECTED}", code="required"))
    if issues:
        raise HieError(Category.INVALID, issues[0].text, issues)
    return tuple(found)


_EXPECTED: Final = (
    "expected `patient|user|system`/`[type]|*`.`cruds`, actions in this order, "
    "or `.read`, `.write`, `.*`; or `staff/identity.read|steward|admin`, "
    "`staff/privacy.read|clerk|officer`; or `emergency/access.ask`"
)


def require_terms(
    grant: Grant,
    scopes: Sequence[Scope],
    longest_seconds: int,
    emergencies: Collection[str] = (),
) -> None:
    """Refuse a grant whose parts do not fit together.

    Args:
        grant: the terms.
        scopes: its scopes, read.
        longest_seconds: the longest life a token may be given.
        emergencies: purposes that open nobody's record without an emergency access.

    Raises:
        HieError: INVALID, with one issue per fault.
    """
    is_staff = opens_staff(scopes)
    rules = (
        (
            not 0 < grant.ttl_seconds <= longest_seconds,
            f"a token is good for 1 to {longest_seconds} seconds",
        ),
        (
            not _PURPOSE.match(grant.purpose),
            "a purpose is a v3-ActReason code in capitals, such as `TREAT`",
        ),
        (
            not (grant.organization or grant.patient or grant.is_steward or is_staff),
            "a token speaks for an organization, a patient or a steward",
        ),
        (
            bool(grant.patient) and not ID.match(grant.patient),
            "a patient is named by the id of a FHIR Patient",
        ),
        (
            grant.user.startswith(USER_PREFIX) and not grant.patient,
            "a relationship opens one patient's record: name the patient",
        ),
        *_user_rules(grant),
        (
            any(scope.level == "patient" for scope in scopes) and not grant.patient,
            "a `patient/` scope needs the patient",
        ),
        *(_staff_rules(grant, scopes) if is_staff else ()),
        *_emergency_rules(grant, scopes, is_emergency=grant.purpose in emergencies),
    )
    issues = [Issue(text=text, code="value") for is_broken, text in rules if is_broken]
    if issues:
        raise HieError(Category.INVALID, issues[0].text, issues)


def _user_rules(grant: Grant) -> tuple[tuple[bool, str], ...]:
    return (
        (len(grant.user) > LONGEST_USER, f"a user's name has at most {LONGEST_USER} characters"),
        (
            len(grant.roles) > MOST_ROLES or not all(_ROLE.match(each) for each in grant.roles),
            f"roles are at most {MOST_ROLES} codes, such as `106292003`",
        ),
        (
            bool(grant.roles) and not grant.organization,
            "who acts in a role acts for an organization: name it",
        ),
    )


def opens_staff(scopes: Sequence[Scope]) -> bool:
    """Whether any of the scopes opens a part of the staff API."""
    return any(scope.level == STAFF for scope in scopes)


def _emergency_rules(
    grant: Grant, scopes: Sequence[Scope], *, is_emergency: bool
) -> Iterator[tuple[bool, str]]:
    """Rules of a grant for emergencies, and of how its user signed in."""
    asks = [scope for scope in scopes if scope.level == EMERGENCY]
    yield (
        bool(asks) is not is_emergency,
        f"the scope `{ASK}` and an emergency purpose come together",
    )
    yield (
        len(grant.amr) > MOST_FACTORS or not all(_FACTOR.match(each) for each in grant.amr),
        f"how a user signed in is at most {MOST_FACTORS} words of RFC 8176, such as `otp`",
    )
    if is_emergency:
        yield (
            not grant.user.strip() or not grant.organization or bool(grant.patient),
            "an emergency access is a user's of an organization: name both, and no patient",
        )
        yield (
            grant.is_steward
            or any(
                scope.level != "user" or set(scope.actions) - {"r", "s"}
                for scope in scopes
                if scope not in asks
            ),
            "an emergency access reads as its user: `user/*.rs` at most",
        )


def _staff_rules(grant: Grant, scopes: Sequence[Scope]) -> tuple[tuple[bool, str], ...]:
    """Rules of a grant with a `staff/` scope: who breaks one is told the text beside it."""
    return (
        (
            any(scope.level != STAFF for scope in scopes),
            "a token has `staff/` scopes or scopes of SMART, not both",
        ),
        (bool(grant.patient), "a `staff/` scope opens nobody's own record: name no patient"),
        (
            not grant.user.strip() and any(scope.actions != "read" for scope in scopes),
            "who decides is a person: a `staff/` scope other than `.read` needs the user",
        ),
        (
            grant.purpose not in STAFF_PURPOSES,
            f"the purpose of a `staff/` scope is one of {', '.join(STAFF_PURPOSES)}",
        ),
    )


def _scope(word: str) -> Scope | None:
    staff = _STAFF_SCOPE.match(word)
    if staff is not None:
        is_known = staff["role"] in STAFF_ROLES.get(staff["area"], ())
        named = Scope(level=STAFF, resource=staff["area"], actions=staff["role"])
        return named if is_known else None
    if word == ASK:
        return Scope(level=EMERGENCY, resource="access", actions="ask")
    found = _SCOPE.match(word)
    if found is None:
        return None
    actions = _V1.get(found["actions"], found["actions"])
    if not _V2.match(actions):
        return None
    return Scope(level=found["level"], resource=found["resource"], actions=actions)
