"""The topics as clients find them: Basic resources that stand for SubscriptionTopic (pure).

Spec: https://hl7.org/fhir/uv/subscriptions-backport/STU1.1/components.html
"""

from typing import Final

from hie.kernel.fhir import FhirJson
from hie.subscriptions.topics import PANEL, Topic

_R5: Final = "http://hl7.org/fhir/5.0/StructureDefinition/extension-SubscriptionTopic."
_VERSION: Final = "1"


def basic(topic: Topic) -> FhirJson:
    """A topic as Basic, with the extensions that carry the elements of R5."""
    return {
        "resourceType": "Basic",
        "id": f"topic-{topic.name}",
        "extension": [
            {"url": f"{_R5}url", "valueUri": topic.url},
            {"url": f"{_R5}version", "valueString": _VERSION},
            {"url": f"{_R5}title", "valueString": topic.title},
            *([_trigger(topic)] if topic.triggers else []),
            *(_filter(topic, name) for name in (*topic.filters, PANEL)),
        ],
        "modifierExtension": [{"url": f"{_R5}status", "valueCode": "active"}],
        "code": {
            "coding": [{"system": "http://hl7.org/fhir/fhir-types", "code": "SubscriptionTopic"}]
        },
    }


def _trigger(topic: Topic) -> FhirJson:
    criteria = " or ".join(
        " and ".join(f"{path} in ({', '.join(sorted(codes))})" for path, codes in one.items())
        for one in topic.triggers
    )
    return {
        "url": f"{_R5}resourceTrigger",
        "extension": [
            {
                "url": "description",
                "valueMarkdown": f"A version meets this and the one before did not: {criteria}",
            },
            {
                "url": "resource",
                "valueUri": f"http://hl7.org/fhir/StructureDefinition/{topic.resource}",
            },
            {"url": "supportedInteraction", "valueCode": "create"},
            {"url": "supportedInteraction", "valueCode": "update"},
        ],
    }


def _filter(topic: Topic, name: str) -> FhirJson:
    return {
        "url": f"{_R5}canFilterBy",
        "extension": [
            {"url": "resource", "valueUri": topic.resource},
            {"url": "filterParameter", "valueString": name},
        ],
    }
