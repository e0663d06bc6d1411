"""What a patient's or an officer's Consent must be before it is recorded (pure).

Who agrees to something must be told at once when the hub would not carry it out as written:
a feed's Consent that is not understood is read the strict way, a person's is refused.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any, Final

from consent.model import Directive, Effect
from hie.kernel.errors import Category, HieError, Issue
from hie.kernel.fhir import FhirJson, objects, split_reference

#: Elements that the hub fills in.
_FILLED: Final = ("versionId", "lastUpdated")
#: What a Consent says of those whose place it takes (`consent.from_fhir`).
SUPERSEDES: Final = "urn:hie:extension:supersedes"
#: One for the whole hub, whoever sends them: a Consent may name any of them.
DIRECTORY: Final = frozenset(
    {"Organization", "Practitioner", "PractitionerRole", "Location", "Device"}
)
_ALONE: Final = "expected a reference to something in this record, or to an organization or a person of the directory"  # noqa: E501 - one sentence


def bare(resource: FhirJson) -> FhirJson:
    """The resource without what the hub fills in."""
    told = (resource.get("meta") or {}).items()
    meta = {name: value for name, value in told if value and name not in _FILLED}
    rest = {n: v for n, v in resource.items() if n not in ("id", "meta")}
    first = {"resourceType": rest.pop("resourceType")}
    return {**first, **({"meta": meta} if meta else {}), **rest}


def relative(resource: FhirJson, bases: Collection[str]) -> FhirJson:
    """A copy whose references to this hub are relative, `Patient/1`."""

    def changed(node: Any) -> Any:
        if isinstance(node, dict):
            return {
                name: _local(value, bases)
                if name == "reference" and isinstance(value, str)
                else changed(value)
                for name, value in node.items()
            }
        return [changed(each) for each in node] if isinstance(node, list) else node

    found: FhirJson = changed(resource)
    return found


def _local(reference: str, bases: Collection[str]) -> str:
    for base in bases:
        if reference.startswith(f"{base}/"):
            return reference[len(base) + 1 :]
    return reference


def references_of(consent: FhirJson) -> tuple[set[tuple[str, str]], list[Issue]]:
    """(type, id) of everything a Consent refers to here, and references that lead nowhere."""
    found: set[tuple[str, str]] = set()
    issues = []
    for element in objects(consent):
        reference = element.get("reference")
        if not isinstance(reference, str) or reference.startswith("#"):
            continue
        pair = split_reference(reference)
        if pair is None:
            issues.append(Issue(text=_ALONE, code="not-found", expression=("Consent",)))
        else:
            found.add(pair)
    return found, issues


def with_subject(consent: FhirJson, own: Collection[str], record: str) -> FhirJson:
    """A copy in which every name of the patient is that of the record it is filed under.

    Raises:
        HieError: FORBIDDEN where it names another patient.
    """

    def changed(node: Any) -> Any:
        if isinstance(node, list):
            return [changed(each) for each in node]
        if not isinstance(node, dict):
            return node
        pair = (
            split_reference(node["reference"]) if isinstance(node.get("reference"), str) else None
        )
        if pair is None or pair[0] != "Patient":
            return {name: changed(value) for name, value in node.items()}
        if pair[1] not in own:
            text = "a Consent is recorded about the own person, and names no other patient"
            issue = Issue(text=text, code="forbidden", expression=("Consent.patient",))
            raise HieError(Category.FORBIDDEN, text, [issue])
        return {**node, "reference": f"Patient/{record}"}

    found: FhirJson = changed(consent)
    return found


def not_understood(consent: FhirJson, read: Directive, notes: Mapping[str, str]) -> Iterator[Issue]:
    """What the hub would not carry out as it is written, each part with its reason.

    Args:
        consent: active, R4.
        read: what the hub reads in it.
        notes: words of the notes of rules.
    """
    if read.ignored:
        text = "expected a privacy or research consent: `Consent.scope`"
        yield Issue(text=text, code="not-supported", expression=("Consent.scope",))
        return
    for rule in read.rules:
        if rule.note:
            text = notes.get(rule.note, "it is not understood")
            yield Issue(text=text, code="not-supported", expression=(_place(rule.path),))
    heard = {rule.path for rule in read.rules if rule.effect is not Effect.DENY}
    for path in _permits(consent.get("provision"), "/"):
        if path not in heard:
            text = "this part would permit nothing: it names something the hub does not know"
            yield Issue(text=text, code="not-supported", expression=(_place(path),))


def _permits(provision: Any, path: str) -> Iterator[str]:
    if not isinstance(provision, dict):
        return
    if provision.get("type") == "permit":
        yield path
    nested = provision.get("provision")
    for number, inner in enumerate(nested if isinstance(nested, list) else (), start=1):
        yield from _permits(inner, f"{path}{number}/")


def _place(path: str) -> str:
    steps = [step for step in path.split("/") if step]
    inner = "".join(f".provision[{int(step) - 1}]" for step in steps)
    return f"Consent.provision{inner}"


def superseded_by(consent: FhirJson) -> tuple[str, ...]:
    """Ids of the Consents that one says it takes the place of."""
    found = consent.get("extension")
    named = (
        one.get("valueReference")
        for one in (found if isinstance(found, list) else ())
        if isinstance(one, dict) and one.get("url") == SUPERSEDES
    )
    pairs = (
        split_reference(str(one.get("reference", ""))) for one in named if isinstance(one, dict)
    )
    return tuple(dict.fromkeys(pair[1] for pair in pairs if pair and pair[0] == "Consent"))


def superseding(consent: FhirJson, ids: Collection[str]) -> FhirJson:
    """A copy that says it takes the place of these Consents, each once."""
    known = superseded_by(consent)
    more = [
        {"url": SUPERSEDES, "valueReference": {"reference": f"Consent/{one}"}}
        for one in ids
        if one not in known
    ]
    if not more:
        return consent
    return {**consent, "extension": [*(consent.get("extension") or ()), *more]}


def period_of(consent: FhirJson) -> tuple[str, str]:
    """Start and end of a Consent's period as written; "" = open."""
    provision = consent.get("provision")
    period = provision.get("period") if isinstance(provision, dict) else None
    told = period if isinstance(period, dict) else {}
    return str(told.get("start", "")), str(told.get("end", ""))
