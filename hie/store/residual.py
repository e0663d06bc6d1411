"""What of a consent decision is left to the database: one frozen value, one SQL predicate.

`consent.service` makes a `Residual` for a request; `hie.store.repository` turns it into one
predicate and puts it on every alias of every read before LIMIT. `consent.evaluate.decide` is
the oracle of that predicate.

    visible(r) :=
         r.type in DIRECTORY_TYPES and r.person_id is null
      or r.source_id in own_sources
      or r.person_id = self_person and r.label_mask & withheld_mask = 0
      or sees_source_records and r.type = 'Patient'
      or r.person_id is not null
         and for each h in hard_bits: (r.label_mask & h = 0 or some lift row frees h)
         and r.person_id in only_persons, where that is set
         and no deny row speaks, of those that `denials` lets count
         and (a permit row speaks or the regime permits)

A Provenance that is of something besides Patients and the directory is visible only if one of
these is, too (what is of several persons, a Binary or a Provenance does not count).
A Binary that documents of its own source refer to is visible only if one of them is, too, and is
about one person.
One that they referred to once, and none does now, is visible to its source.
An older version is visible only if, besides, no rule about the caller looks at codes, dates,
authors or encounters; its source and the person alone see it even so.
A resource in the compartments of several persons is visible only if the formula holds with
each of them in the place of `r.person_id`.

A row of `consent_rule` (of that person) **matches** when all of this holds; null = any:

    grantee in grantees, or "" (whoever asks); purpose in purposes; action = action;
    valid_from_us <= now_us; now_us < valid_to_us;
    type_id = r.type_id; source_id = r.source_id; instance = r.id;
    record_id = r.source_record_id, of a further person the record it is filed under for them;
    record_id = r.source_record_id (in the place of a further person: the record it is filed
        under for that person);
    author: r has an indexed reference (`sp_ref`) to it;
    encounter: r is that resource or has an indexed reference to it;
    code_set: r has a row in `sp_token` whose (system, code) the set in `consent_code` names;
    date_lo_us, date_hi_us: r.clinical_hi_us >= date_lo_us and r.clinical_lo_us <= date_hi_us,
        each null end open (`consent.rules` writes the two so that this is the overlap of
        half-open ranges). A resource with both ends null is matched by a deny, not by a permit
        or lift;
    label_mask: a permit covers every bit of the resource (r.label_mask & ~label_mask = 0; null
        covers all: hard bits are held back by the lift test); a deny shares a bit; a lift
        frees `h` when label_mask & h != 0 and asks nothing else of the labels.

`author` and `encounter` are texts of the form `Type/id`; as the hub gives no id twice, their
ids alone may be compared. A matching row **speaks** when no matching permit, spare or deny row of
the same consent has a path below its own (`/1/2/` is below `/1/` and `/`). Lift rows take no
part in that. A spare row matches as a permit does, and permits nothing.

The regime **permits** r when one of its permit rules covers every bit of the resource (null
covers all) and none of its deny rules shares a bit with it (null: any resource). Of both, only
those count whose types and sources name the resource's own (null: any).
"""

from dataclasses import dataclass
from typing import Final, Literal

#: Types that are about no person by nature: seen by every caller whose scopes name them.
DIRECTORY_TYPES: Final = frozenset(
    {
        "Endpoint",
        "HealthcareService",
        "InsurancePlan",
        "Location",
        "Medication",
        "MedicationKnowledge",
        "Organization",
        "OrganizationAffiliation",
        "Practitioner",
        "PractitionerRole",
        "Substance",
    }
)
#: Types that keep their content in a Binary of their own: it is seen with them.
DOCUMENT_TYPES: Final = frozenset({"DiagnosticReport", "DocumentReference", "Media"})
#: The grantee of a rule about whoever asks: a value, so that an index finds it beside others.
WHOEVER: Final = ""


#: Which denials of a patient count: in an emergency not always all.
Denials = Literal["all", "named", "none"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DefaultRule:
    """What the regime says where no consent speaks, already narrowed to the request.

    Attributes:
        label_mask: labels a permit covers, or a deny shares one of; None = any.
        types, sources: what kind of resource it is about, and who sent it; None = any.
    """

    effect: Literal["permit", "deny"]
    label_mask: int | None = None
    types: frozenset[str] | None = None
    sources: frozenset[str] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """Resources that were labelled by other lists and not looked at again: the stricter counts.

    A resource is pending while it is at most `last_pk`, was changed no earlier than `since_us`,
    and either of a `later` type, or behind `done_pk` and of none that is `passed`.

    Attributes:
        passed, later: numbers of types that are done with, and that come after the present ones.
        current_mask: the labels its current version may have gained; it counts as having them.
        older_mask: the same of its older versions.
    """

    passed: tuple[int, ...]
    later: tuple[int, ...]
    done_pk: int
    last_pk: int
    since_us: int
    current_mask: int
    older_mask: int

    def counted(self, type_id: int, pk: int, last_updated_us: int) -> int:
        """What counts for the current version of a resource beside its own labels."""
        is_left = type_id in self.later or (pk > self.done_pk and type_id not in self.passed)
        is_concerned = pk <= self.last_pk and last_updated_us >= self.since_us
        return self.current_mask if is_left and is_concerned else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Residual:
    """The request side of the decision, ready to be joined with the rows of `consent_rule`.

    Attributes:
        own_sources: feeds whose resources are the caller's own.
        self_person: the person who asks about the own record.
        withheld_mask: labels of that record kept from who asks in the person's place.
        grantees: what a consent may name to mean the caller: `Organization/<id>`; `*` for
            every organisation, so that a consent for anyone opens nothing to a patient.
        purposes: the request's purpose and what it is subsumed by.
        action: `access`, `collect` or `correct`.
        now_us: time of the request, microseconds UTC.
        defaults: the regime where no consent speaks; empty = deny.
        hard_bits: single label bits that each need a lift row.
        sees_source_records: whether the caller is a steward.
        only_persons: nobody else is seen by right of consents: those whom an emergency access
            opens; None = not asked in an emergency.
        denials: which deny rows count: `all`, those that are `named`, for they name a purpose or
            have a note (they are stricter than written), or `none`.
        pending: what counts as more sensitive than it is labelled; None = nothing.
    """

    own_sources: frozenset[str] = frozenset()
    self_person: str | None = None
    withheld_mask: int = 0
    grantees: frozenset[str] = frozenset()
    purposes: frozenset[str] = frozenset()
    action: str = "access"
    now_us: int = 0
    defaults: tuple[DefaultRule, ...] = ()
    hard_bits: tuple[int, ...] = ()
    sees_source_records: bool = False
    only_persons: frozenset[str] | None = None
    denials: Denials = "all"
    pending: Pending | None = None
