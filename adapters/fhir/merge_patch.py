"""JSON Merge Patch on a FHIR resource: members put in the place of others, null takes away (pure).

Lists are replaced whole. For clients that send the elements they changed and nothing else.
Spec: RFC 7396
"""

from typing import Any, Final

from hie.kernel.fhir import FhirJson

MEDIA_TYPE: Final = "application/merge-patch+json"


def merge_patch(document: FhirJson, patch: FhirJson) -> FhirJson:
    """The document as patched; `document` itself is not changed.

    Args:
        document: a parsed resource.
        patch: a parsed JSON object; as deep as the body it came in may be.
    """
    merged = dict(document)
    for name, value in patch.items():
        if value is None:
            merged.pop(name, None)
        else:
            merged[name] = _merged(merged.get(name), value)
    return merged


def _merged(there: Any, value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return merge_patch(there if isinstance(there, dict) else {}, value)
