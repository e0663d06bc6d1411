"""`$fileConsent`, `$revokeConsent` and `$verifyConsent`, for patients and for sources.

A source's are the writes they stand for, so that one set of rules holds: a transaction of the
Consent with its papers, a patch of its status.
"""

import json
import uuid
from typing import Any, Final

from adapters.fhir.body import Limits, parse_body
from adapters.fhir.json_patch import MEDIA_TYPE as JSON_PATCH
from hie.kernel.errors import Category, HieError, Issue
from hie.kernel.fhir import FhirJson, rewrite_references

FILE: Final = "fileConsent"
REVOKE: Final = "revokeConsent"
VERIFY: Final = "verifyConsent"
OPERATIONS: Final = frozenset({FILE, REVOKE, VERIFY})
#: Types that may come with a Consent.
_PAPERS: Final = frozenset({"DocumentReference", "Binary"})
_MOST_PAPERS: Final = 10


def parameters(body: bytes, limits: Limits) -> FhirJson:
    """The Parameters of an operation; an empty body is none.

    Raises:
        HieError: INVALID.
    """
    found = parse_body(body, limits) if body.strip() else {"resourceType": "Parameters"}
    if found.get("resourceType") != "Parameters":
        raise _fault("expected Parameters", "Parameters")
    return found


def resources(told: FhirJson, name: str) -> list[FhirJson]:
    """The resources of a parameter; names are compared without case, as the guide spells both."""
    return [
        each["resource"]
        for each in _listed(told)
        if str(each.get("name", "")).lower() == name and isinstance(each.get("resource"), dict)
    ]


def value(told: FhirJson, name: str) -> Any:
    """The value of a parameter, of whatever type; None without one."""
    for each in _listed(told):
        if str(each.get("name", "")).lower() == name:
            return next((v for n, v in each.items() if n.startswith("value")), None)
    return None


def filed(told: FhirJson) -> tuple[FhirJson, list[FhirJson]]:
    """The Consent to be filed, and its papers.

    Raises:
        HieError: INVALID.
    """
    consents = resources(told, "consent")
    if len(consents) != 1 or consents[0].get("resourceType") != "Consent":
        raise _fault("expected one parameter `consent` with a Consent", "Parameters.parameter")
    papers = resources(told, "document")
    if len(papers) > _MOST_PAPERS or {p.get("resourceType") for p in papers} - _PAPERS:
        text = f"expected at most {_MOST_PAPERS} DocumentReferences and their Binaries"
        raise _fault(text, "Parameters.parameter")
    return consents[0], papers


def as_transaction(told: FhirJson) -> bytes:
    """A filed Consent with its papers as the transaction it stands for.

    Papers refer to each other, and the Consent to them, by their ids.

    Raises:
        HieError: INVALID.
    """
    consent, papers = filed(told)
    listed = [*papers, consent]
    urns = [f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_OID, str(n))}" for n in range(len(listed))]
    names = {
        name: urn
        for each, urn in zip(listed, urns, strict=True)
        for name in names_of(str(each["resourceType"]), str(each.get("id", "")))
    }
    entries = [
        {
            "fullUrl": urn,
            "resource": rewrite_references(
                {n: v for n, v in each.items() if n != "id"}, lambda found: names.get(found, found)
            ),
            "request": {"method": "POST", "url": each["resourceType"]},
        }
        for each, urn in zip(listed, urns, strict=True)
    ]
    bundle = {"resourceType": "Bundle", "type": "transaction", "entry": entries}
    return json.dumps(bundle, default=str).encode()


def names_of(kind: str, name: str) -> tuple[str, ...]:
    """How what is filed together refers to a resource of that id."""
    return (f"{kind}/{name}", f"urn:uuid:{name}") if name else ()


def as_patch() -> tuple[bytes, dict[str, str]]:
    """The patch that revokes a Consent, and its headers."""
    patch = [{"op": "replace", "path": "/status", "value": "inactive"}]
    return json.dumps(patch).encode(), {"Content-Type": JSON_PATCH}


def _listed(told: FhirJson) -> list[FhirJson]:
    found = told.get("parameter")
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _fault(text: str, place: str) -> HieError:
    return HieError(Category.INVALID, text, [Issue(text=text, code="value", expression=(place,))])
