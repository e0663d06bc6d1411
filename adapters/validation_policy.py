"""What a source asks of the FHIR it sends, beyond structure, which is always asked.

Of its file:

    [validation]
    profile = "reject"          # of faults against profiles and invariants
    reference = "warn"          # of references that lead to a type they may not
    terminology = "label"       # of codes that are not of their value set or system
    profiles = ["http://hl7.org/fhir/us/core/StructureDefinition/us-core-patient"]

Each of the three is `reject` (422), `warn` (stored, told in the OperationOutcome), `label`
(stored with a tag of system `urn:hie:validation`, and told) or `ignore`; absent = `warn`.
`profiles` are asked of resources of their type beside those that a resource claims itself; of
several for one type a resource must meet one.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from adapters.table_reader import TableReader
from hie.kernel.errors import Issue
from hie.kernel.fhir import FhirJson

#: System of the tags that `label` puts into `meta`; their codes are the kinds of faults.
TAG_SYSTEM: Final = "urn:hie:validation"


class Action(StrEnum):
    """What comes of a fault."""

    REJECT = "reject"
    WARN = "warn"
    LABEL = "label"
    IGNORE = "ignore"


@dataclass(frozen=True, slots=True, kw_only=True)
class ValidationPolicy:
    """What comes of the faults of a source's resources, by kind of fault.

    Attributes:
        profiles: urls of profiles asked of every resource of their type.
    """

    profile: Action = Action.WARN
    reference: Action = Action.WARN
    terminology: Action = Action.WARN
    profiles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What the check of a resource came to.

    Attributes:
        issues: of severity `error` where the resource is to be refused.
        labels: codes of the tags it is to be stored with.
    """

    issues: tuple[Issue, ...]
    labels: tuple[str, ...] = ()


def read_validation_policy(reader: TableReader) -> ValidationPolicy:
    """The policy of a source's file; what is wrong with it is told to the reader."""
    table = reader.table("validation")
    urls = table.names("profiles")
    return ValidationPolicy(
        profile=_action(table, "profile"),
        reference=_action(table, "reference"),
        terminology=_action(table, "terminology"),
        profiles=tuple(sorted(urls)),
    )


def _action(table: TableReader, name: str) -> Action:
    text = table.text(name)
    if text and text not in set(Action):
        table.fault(name, f"one of {', '.join(Action)}")
        return Action.WARN
    return Action(text or Action.WARN)


def labelled(resource: FhirJson, labels: tuple[str, ...]) -> FhirJson:
    """The resource with these tags, and without any such tag its sender wrote."""
    meta = resource.get("meta")
    meta = meta if isinstance(meta, dict) else {}
    sent = meta.get("tag")
    tags = sent if isinstance(sent, list) else []
    kept = [tag for tag in tags if not (isinstance(tag, dict) and tag.get("system") == TAG_SYSTEM)]
    if not labels and len(kept) == len(tags):
        return resource
    made = [*kept, *({"system": TAG_SYSTEM, "code": label} for label in labels)]
    rest = {name: value for name, value in meta.items() if name != "tag"}
    changed = {**rest, "tag": made} if made else rest
    body = {name: value for name, value in resource.items() if name != "meta"}
    return {**body, "meta": changed} if changed else body
