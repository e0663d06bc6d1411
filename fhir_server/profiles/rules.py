"""The invariants of R4 and US Core, by their keys, each as a small function (pure).

A rule gets the value it stands at and the resource around it, and says whether it holds. A key
without a rule is not judged; docs/reference/validation.md lists which.
Spec: https://hl7.org/fhir/R4/conformance-rules.html#constraints, https://hl7.org/fhir/us/core
"""

import re
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final

from fhir_server.profiles.rule import Holds, Rule, coded, has, needs, needs_if, not_both
from fhir_server.profiles.rules_shared import SHARED
from fhir_server.profiles.values import inside
from hie.kernel.fhir import FhirJson

SNOMED: Final = "http://snomed.info/sct"
UCUM: Final = "http://unitsofmeasure.org"
NDC: Final = "http://hl7.org/fhir/sid/ndc"
HL7: Final = "http://terminology.hl7.org/CodeSystem/"
ABSENT: Final = "http://hl7.org/fhir/StructureDefinition/data-absent-reason"
ERROR: Final = "entered-in-error"
ORDERS: Final = frozenset(
    {"order", "original-order", "reflex-order", "filler-order", "instance-order"}
)
REPORTED: Final = frozenset({"partial", "preliminary", "final", "amended", "corrected", "appended"})
_DIGITS: Final = re.compile(r"^[0-9]{10}$")
_CLIA: Final = re.compile(r"^[0-9]{2}D[0-9]{7}$")
_NAIC: Final = re.compile(r"^[0-9]{5}$")


def _if_status(statuses: Iterable[str], needed: str, element: str = "status") -> Holds:
    asked = frozenset(statuses)
    return lambda node, _: node.get(element) not in asked or has(node, needed)


def _without_use(use: str) -> Holds:
    return lambda node, _: node.get("use") != use


def _matches(pattern: re.Pattern[str]) -> Holds:
    return lambda node, _: bool(pattern.match(str(node.get("value", ""))))


def _dated(least: int) -> Holds:
    """Whether a dateTime has so many characters, 10 to the day; periods pass."""
    return lambda value, _: not isinstance(value, str) or len(value) >= least


def _npi(node: Any, _: FhirJson) -> bool:
    """The check digit of a National Provider Identifier (Luhn, prefix 80840)."""
    digits = str(node.get("value", ""))
    if not _DIGITS.match(digits):
        return True  # another rule says so
    total = 24 + sum(
        digit if position % 2 else sum(divmod(digit * 2, 10))
        for position, digit in enumerate(map(int, digits))
    )
    return total % 10 == 0


def _named(node: Any, resource: FhirJson) -> bool:
    """Of a name: itself or the reason why there is none; of a document: where or what it is."""
    if resource.get("resourceType") == "DocumentReference":
        return has(node, "url", "data")
    is_absent = any(each.get("url") == ABSENT for each in inside(node, "extension"))
    return has(node, "family", "given") != is_absent


def _ordered(node: Any, start: str, end: str) -> bool:
    """Whether one time is not after another, as far as both say."""
    low, high = node.get(start), node.get(end)
    if not (isinstance(low, str) and isinstance(high, str)):
        return True
    size = min(len(low), len(high), 10)  # zones make later characters incomparable
    return low[:size] <= high[:size]


def _ordered_by(start: str, end: str) -> Holds:
    return lambda node, _: _ordered(node, start, end)


def _range(node: Any, _: FhirJson) -> bool:
    low, high = node.get("low") or {}, node.get("high") or {}
    least, most = low.get("value"), high.get("value")
    if least is None or most is None or low.get("code") != high.get("code"):
        return True
    return bool(least <= most)


def _ratio(node: Any, _: FhirJson) -> bool:
    both = has(node, "numerator") and has(node, "denominator")
    neither = not has(node, "numerator") and not has(node, "denominator")
    return both or (neither and has(node, "extension"))


def _other_codes(node: Any, _: FhirJson) -> bool:
    """A component repeats the code of the whole: then the whole has no value."""
    own = {(c.get("system"), c.get("code")) for c in inside(node, "code.coding")}
    parts = {(c.get("system"), c.get("code")) for c in inside(node, "component.code.coding")}
    return not has(node, "value[x]") or not own & parts


def _status_known(node: Any, _: FhirJson) -> bool:
    is_error = coded(node.get("verificationStatus"), HL7 + "condition-ver-status", ERROR)
    is_problem = coded(node.get("category"), HL7 + "condition-category", "problem-list-item")
    return has(node, "clinicalStatus") or is_error or not is_problem


def _abated(node: Any, _: FhirJson) -> bool:
    ended = ("resolved", "remission", "inactive")
    is_over = coded(node.get("clinicalStatus"), HL7 + "condition-clinical", *ended)
    return not has(node, "abatement[x]") or is_over


def _error_or(system: str, *, has_status: bool) -> Holds:
    """Entered in error and a clinical status exclude each other (False) or need (True)."""

    def holds(node: Any, _: FhirJson) -> bool:
        is_error = coded(node.get("verificationStatus"), HL7 + system, ERROR)
        told = has(node, "clinicalStatus")
        return (is_error or told) if has_status else not (is_error and told)

    return holds


def _measured(node: Any, _: FhirJson) -> bool:
    """A single observation has a value or says why there is none."""
    return has(node, "component", "hasMember", "dataAbsentReason", "value[x]")


def _unit(node: Any, _: FhirJson) -> bool:
    quantity = node.get("valueQuantity")
    return not isinstance(quantity, dict) or quantity.get("system") in (None, UCUM)


def _snomed(node: Any, _: FhirJson) -> bool:
    systems = set(inside(node, "valueCodeableConcept.coding.system"))
    return not systems or SNOMED in systems


def _no_ndc(node: Any, _: FhirJson) -> bool:
    return NDC not in set(inside(node, "vaccineCode.coding.system"))


def _behalf(node: Any, _: FhirJson) -> bool:
    """Who acts as a person or device does so for an organisation."""
    who = (node.get("who") or {}).get("reference")
    named = who.split("/")[-2:-1] if isinstance(who, str) else []
    return named not in (["Practitioner"], ["Device"]) or has(node, "onBehalfOf")


def _behalf_of_practitioner(node: Any, _: FhirJson) -> bool:
    member = (node.get("member") or {}).get("reference")
    if not has(node, "onBehalfOf") or not isinstance(member, str) or "/" not in member:
        return True
    return member.split("/")[-2] == "Practitioner"


def _member_number(node: Any, _: FhirJson) -> bool:
    types = list(inside(node, "identifier.type"))
    return has(node, "subscriberId") or coded(types, HL7 + "v2-0203", "MB")


def _answers_once(node: Any, _: FhirJson) -> bool:
    """A question that was answered stands once among its neighbours."""
    stack = [node]
    while stack:
        found = stack.pop()
        answered = [i.get("linkId") for i in inside(found, "item") if has(i, "answer")]
        if len(answered) != len(set(answered)):
            return False
        stack += [*inside(found, "item"), *inside(found, "item.answer")]
    return True


def _narrative(node: Any, _: FhirJson) -> bool:
    """Narrative is XHTML without scripts, forms and references to elsewhere."""
    text = node if isinstance(node, str) else str(node.get("div", ""))
    return not _ACTIVE.search(text)


_ACTIVE: Final = re.compile(
    r"<\s*(script|form|iframe|object|embed|link|base|input|head|body|frame)\b|\son[a-z]+\s*=",
    re.IGNORECASE,
)


def _not_blank(node: Any, _: FhirJson) -> bool:
    text = node if isinstance(node, str) else str(node.get("div", ""))
    return "<img" in text.lower() or bool(re.sub(r"<[^>]*>|\s", "", text))


_PERIOD: Final = Rule("the start not to be after the end", _ordered_by("start", "end"))
_OBSERVED: Final = Rule("a value, a reason for its absence, components or members", _measured)
_ORG_HOME: Final = Rule("a use other than `home`", _without_use("home"))

RULES: Final[Mapping[str, Rule]] = MappingProxyType(
    {
        **SHARED,
        # Data types.
        "att-1": Rule("a `contentType` beside `data`", needs_if("data", "contentType")),
        "cpt-2": Rule("a `system` beside the value", needs_if("value", "system")),
        "per-1": _PERIOD,
        "qty-3": Rule("a `system` beside the code of the unit", needs_if("code", "system")),
        "rat-1": Rule("numerator and denominator, or neither and an extension", _ratio),
        "rng-2": Rule("low not to be above high", _range),
        "txt-1": Rule("XHTML without active content", _narrative, is_of_text=True),
        "txt-2": Rule("a text that is not blank", _not_blank, is_of_text=True),
        # Resources of R4.
        "ait-1": Rule(
            "a clinical status unless entered in error",
            _error_or("allergyintolerance-verification", has_status=True),
        ),
        "ait-2": Rule(
            "no clinical status where entered in error",
            _error_or("allergyintolerance-verification", has_status=False),
        ),
        "con-1": Rule("a summary or an assessment", needs("summary", "assessment")),
        "con-2": Rule("a code or a detail", needs("code", "detail")),
        "con-3": Rule(
            "a clinical status of a problem unless entered in error", _status_known, "warning"
        ),
        "con-4": Rule("a clinical status that is over where abated", _abated),
        "con-5": Rule(
            "no clinical status where entered in error",
            _error_or("condition-ver-status", has_status=False),
        ),
        "cpl-3": Rule("a detail or a reference, not both", not_both("detail", "reference")),
        "ctm-1": Rule("a practitioner to act on behalf", _behalf_of_practitioner),
        "gol-1": Rule("a measure beside the detail", needs_if("detail[x]", "measure")),
        "imm-1": Rule("a document type or a reference", needs("documentType", "reference")),
        "mdd-1": Rule(
            "to be handed over after it was prepared",
            _ordered_by("whenPrepared", "whenHandedOver"),
        ),
        "obs-3": Rule("low, high or text", needs("low", "high", "text")),
        "obs-6": Rule(
            "a value or a reason for its absence", not_both("dataAbsentReason", "value[x]")
        ),
        "obs-7": Rule("no value beside a component of the same code", _other_codes),
        "org-1": Rule("a name or an identifier", needs("identifier", "name")),
        "org-2": _ORG_HOME,
        "org-3": _ORG_HOME,
        "pat-1": Rule(
            "a name, telecom, address or organization",
            needs("name", "telecom", "address", "organization"),
        ),
        "prr-1": Rule("a code beside order details", needs_if("orderDetail", "code")),
        "qrs-1": Rule("answers or nested items, not both", not_both("answer", "item")),
        "vs-1": Rule("a date with at least the day", _dated(8), is_of_text=True),
        "vs-2": _OBSERVED,
        "vs-3": Rule("a value or a reason for its absence", needs("value[x]", "dataAbsentReason")),
        # US Core 6.1.0.
        "pd-1": Rule("a telecom or an endpoint", needs("telecom", "endpoint")),
        "provenance-1": Rule("an organisation it acts on behalf of", _behalf),
        "sdcqr-1": Rule("a subject", needs("subject"), "warning"),
        "sdcqr-2": Rule("each answered question once", _answers_once),
        "us-core-1": Rule("a date with at least the day", _dated(10), is_of_text=True),
        "us-core-2": _OBSERVED,
        "us-core-3": Rule("units of UCUM", _unit),
        "us-core-4": Rule("a code of SNOMED CT", _snomed, "warning"),
        "us-core-5": Rule("a code beside or instead of the NDC", _no_ndc, "warning"),
        "us-core-6": Rule(
            "a family or given name, or else the reason of its absence (of a document: its "
            "address or data)",
            _named,
        ),
        "us-core-7": Rule(
            "when it was performed", _if_status(("completed", "in-progress"), "performed[x]")
        ),
        "us-core-8": Rule("when it was observed", _if_status(REPORTED, "effective[x]")),
        "us-core-9": Rule("when it was issued", _if_status(REPORTED, "issued")),
        "us-core-10": Rule("when it was observed", _if_status(REPORTED, "effective[x]")),
        "us-core-13": Rule(
            "a practitioner, organization, service or location",
            needs("practitioner", "organization", "healthcareService", "location"),
        ),
        "us-core-14": Rule("a name or a relationship", needs("name", "relationship")),
        "us-core-15": Rule("a member number (type MB) or a subscriber id", _member_number),
        "us-core-16": Rule("ten digits", _matches(_DIGITS)),
        "us-core-17": Rule("the right check digit", _npi),
        "us-core-18": Rule("a CLIA number", _matches(_CLIA)),
        "us-core-19": Rule("a NAIC number", _matches(_NAIC)),
        "us-core-20": Rule("when it was handed over", _if_status(("completed",), "whenHandedOver")),
        "us-core-21": Rule("who asked for it", _if_status(ORDERS, "requester", "intent")),
    }
)
