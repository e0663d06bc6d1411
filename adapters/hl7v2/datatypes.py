"""The datatype converters by the names tables use (`as = "CX"`), and the simplest of them.

A converter takes the raw text of one repetition (of the whole field where a row says
`all = true`) and gives a FHIR value, or None when there is nothing to say.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from adapters.hl7v2 import (
    attachments,
    codes,
    dosage,
    durations,
    identifiers,
    names,
    parties,
    people,
    providers,
    quantities,
    ranges,
    readable,
    roles,
    scheduling,
    temporal,
    timing,
)
from adapters.hl7v2.context import Context, Converter, Parts
from adapters.hl7v2.observed import ValueType, attachment_extension, observation_value
from adapters.terminology import ConceptMap, Terminology
from hie.kernel.clock import instant as instant_of
from hie.kernel.fhir import FhirJson


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What converters are made with: the concept maps, and what each OBX-2 becomes."""

    terminology: Terminology
    values: Mapping[str, ValueType]


#: Makes a converter; the name is of the row's concept map, "" when it has none.
Factory = Callable[[Tools, str], Converter]


def text(raw: str, context: Context) -> str | None:
    """The whole repetition as text, component marks kept."""
    return context.text(raw) or None


def first(raw: str, context: Context) -> str | None:
    """The first component as text."""
    return Parts(raw, context)(1) or None


def lines(raw: str, context: Context) -> str | None:
    """All repetitions of a field as lines of one text."""
    parts = [context.text(part) for part in raw.split(context.repetition_mark)]
    return "\n".join(part for part in parts if part) or None


def title(raw: str, context: Context) -> str | None:
    """What a CWE says, as text: its original text, its first text, its code."""
    parts = Parts(raw, context)
    return parts(9) or parts(2) or parts(1) or None


def titles(raw: str, context: Context) -> str | None:
    """What every repetition of a CWE says, as lines of one text."""
    parts = [title(part, context) for part in raw.split(context.repetition_mark)]
    return "\n".join(part for part in parts if part) or None


def address_text(raw: str, context: Context) -> FhirJson | None:
    """An Address that is only text."""
    found = context.text(raw)
    return {"text": found} if found else None


def url_safe(raw: str, context: Context) -> str | None:
    """The first component without white space, for an id or code element."""
    return "".join(Parts(raw, context)(1).split()) or None


def _temporal(kind: str, convert: Callable[[str, Context], str | None]) -> Factory:
    """A converter of dates and times: bad ones are reported and left out."""

    def read(raw: str, context: Context) -> str | None:
        key = (kind, raw)
        if key in context.memo:
            remembered: str | None = context.memo[key]
            return remembered
        found: str | None = None
        given = context.text(raw.split(context.component, 1)[0])
        try:
            found = convert(given, context) if given else None
        except temporal.TemporalError:
            context.report("datatype", "must be a date or time, `YYYYMMDD[HHMM[SS]][+/-ZZZZ]`")
            return None
        context.memo[key] = found
        return found

    return lambda _tools, _concepts: read


def _date_time(given: str, context: Context) -> str:
    found = temporal.date_time(given, context.zone)
    if len(found) == 10 and temporal.has_time(given):
        context.report("no-time-zone", "has no offset and the source no time zone; date kept")
    return found


def _instant(given: str, context: Context) -> str | None:
    return temporal.instant(given, context.zone)


def _birth_time(given: str, context: Context) -> str | None:
    """A dateTime only where a time of day with an offset is known."""
    return temporal.instant(given, context.zone)


def omb(raw: str, context: Context, concepts: ConceptMap) -> list[FhirJson] | None:
    """The inner extensions of US Core race or ethnicity, of all repetitions of a CWE."""
    found: list[FhirJson] = []
    words: list[str] = []
    for part in raw.split(context.repetition_mark):
        concept = codes.codeable_concept(part, context, concepts)
        for coding in (concept or {}).get("coding", ()):
            if _is_category(coding, concepts):
                entry = {"url": "ombCategory", "valueCoding": coding}
            elif coding.get("system") == "urn:oid:2.16.840.1.113883.6.238":
                entry = {"url": "detailed", "valueCoding": coding}
            else:
                continue
            if entry not in found:
                found.append(entry)
        if concept:
            words.append(concept.get("text") or concept["coding"][0].get("display", ""))
    label = ", ".join(dict.fromkeys(word for word in words if word))
    return [*found, {"url": "text", "valueString": label}] if label else found or None


def _is_category(coding: FhirJson, concepts: ConceptMap) -> bool:
    concept = concepts.exact(coding.get("code", ""))
    return bool(concept) and concept.coding() == coding if concept else False


def sender(_raw: str, context: Context) -> FhirJson:
    """A Reference to the organisation the source speaks for, by its identifier."""
    return people.speaker(context)


def journal_id(_raw: str, context: Context) -> FhirJson | None:
    """The Identifier of the journaled message; None for one that is not in the journal."""
    if not context.journal[0]:
        return None
    return {"system": "urn:hie:message", "value": str(context.journal[0])}


def received(_raw: str, context: Context) -> str:
    """When the hub received the message, as an instant."""
    return instant_of(context.journal[1])


def _plain(convert: Converter) -> Factory:
    return lambda _tools, _concepts: convert


def _coded(convert: Callable[[str, Context, ConceptMap], Any]) -> Factory:
    """A converter that cannot do without a concept map."""

    def make(tools: Tools, name: str) -> Converter:
        tools.terminology.map(name)  # a map that is not there fails at start
        # The table itself is the message's: its source may have codes of its own.
        return lambda raw, context: convert(raw, context, context.terminology.map(name))

    return make


def _maybe_coded(convert: Callable[[str, Context, ConceptMap | None], Any]) -> Factory:
    """A converter that may have a concept map."""

    def make(tools: Tools, name: str) -> Converter:
        if not name:
            return lambda raw, context: convert(raw, context, None)
        tools.terminology.map(name)  # a map that is not there fails at start
        return lambda raw, context: convert(raw, context, context.terminology.map(name))

    return make


def _observed(tools: Tools, _concepts: str) -> Converter:
    return lambda raw, context: observation_value(raw, context, tools.values)


def _attached(convert: Converter) -> Factory:
    """A converter to Observation elements of an attachment."""

    def read(raw: str, context: Context) -> FhirJson | None:
        found = convert(raw, context)
        return attachment_extension(found) if found else None

    return lambda _tools, _concepts: read


#: Every name a table may use.
CONVERTERS: Final[Mapping[str, Factory]] = {
    "text": _plain(text),
    "first": _plain(first),
    "lines": _plain(lines),
    "title": _plain(title),
    "titles": _plain(titles),
    "token": _plain(url_safe),
    "address-text": _plain(address_text),
    "dateTime": _temporal("dateTime", _date_time),
    "instant": _temporal("instant", _instant),
    "date": _temporal("date", lambda given, _context: temporal.date_only(given)),
    "birth-time": _temporal("birth-time", _birth_time),
    "time": _temporal("time", lambda given, _context: temporal.time_only(given)),
    "decimal": _plain(quantities.decimal),
    "integer": _plain(quantities.whole_number),
    "quantity": _plain(quantities.quantity),
    "amount-text": _plain(quantities.amount_text),
    "NM": _plain(quantities.numeric),
    "CQ": _plain(quantities.composite_quantity),
    "SN": _plain(quantities.structured_numeric),
    "NR": _plain(quantities.numeric_range),
    "NA": _plain(quantities.numeric_array),
    "range-text": _plain(ranges.reference_range),
    "DR": _plain(readable.date_range),
    "VR": _plain(readable.value_range),
    "MO": _plain(readable.money),
    "XCN-text": _plain(readable.person),
    "XAD-text": _plain(readable.place),
    "XTN-text": _plain(readable.number_to_call),
    "timing": _plain(timing.timing),
    "as-needed": _plain(timing.as_needed),
    "period-of": _plain(timing.period_of),
    "per-time": _plain(timing.per_time),
    "TQ-dosages": _plain(timing.old_dosages),
    "dosage-amount": _plain(dosage.keep_amount),
    "dosages": _plain(dosage.finish_dosages),
    "administration": _plain(dosage.finish_administration),
    "duration": _plain(durations.duration),
    "duration-value": _plain(durations.duration_value),
    "duration-unit": _plain(durations.duration_unit),
    "minutes": _plain(durations.minutes),
    "end-after": _plain(durations.end_after),
    "minutes-after": _plain(durations.minutes_after),
    "start-before": _plain(durations.start_before),
    "scheduled": _plain(scheduling.scheduled),
    "scheduled-offset": _plain(scheduling.scheduled_offset),
    "slot-start": _plain(scheduling.slot_start),
    "slot-end": _plain(scheduling.slot_end),
    "appointment-time": _plain(scheduling.finish_appointment),
    "money": _plain(quantities.money),
    "provider": _plain(providers.provider),
    "CWE": _maybe_coded(codes.codeable_concept),
    "CWE-part": _maybe_coded(codes.inner_concept),
    "lookup": _coded(codes.lookup),
    "Coding": _maybe_coded(codes.coding),
    "code": _coded(codes.code),
    "boolean": _coded(codes.boolean),
    "omb": _coded(omb),
    "CX": _plain(identifiers.cx),
    "CX-own": _plain(identifiers.own_cx),
    "CX-above": _plain(identifiers.above_cx),
    "EI": _plain(identifiers.ei),
    "EI-group": _plain(identifiers.group_ei),
    "EI-group-filler": _plain(identifiers.filler_group_ei),
    "EIP-placer": _plain(identifiers.placer_ei),
    "EIP-filler": _plain(identifiers.filler_ei),
    "number": _plain(identifiers.plain),
    "DLN": _plain(identifiers.driver_license),
    "XPN": _plain(names.human_name),
    "XPN-old": _plain(names.previous_name),
    "XPN-family": _plain(names.family_name),
    "XPN-display": _plain(names.display_name),
    "XPN-called": _plain(names.called_name),
    "XAD": _plain(people.address),
    "XTN": _plain(people.contact_point),
    "XCN": _plain(people.practitioner),
    "XCN-acting": _plain(roles.acting),
    "XCN-agent": _plain(roles.agent),
    "XCN-director": _plain(roles.director),
    "NDL": _plain(people.interpreter),
    "XON": _plain(people.organization),
    "CWE-organization": _plain(people.manufacturer),
    "PL": _plain(people.location),
    "PL-place": _plain(people.place),
    "ED": _plain(attachments.encapsulated),
    "RP": _plain(attachments.reference_pointer),
    "ED-observed": _attached(attachments.encapsulated),
    "RP-observed": _attached(attachments.reference_pointer),
    "document": _plain(attachments.document),
    "document-type": _plain(attachments.document_type),
    "document-kind": _maybe_coded(attachments.kind_of_document),
    "media": _plain(attachments.media),
    "text-data": _plain(attachments.text_data),
    "conclusion": _coded(attachments.conclusion),
    "observation-value": _observed,
    "HD-uri": _plain(parties.endpoint),
    "sender-uri": _plain(parties.sender_endpoint),
    "HD-device": _plain(parties.designator("Device")),
    "HD-organization": _plain(parties.designator("Organization")),
    "HD-location": _plain(parties.designator("Location")),
    "XON-place": _plain(parties.named_place),
    "sender": _plain(sender),
    "journal-id": _plain(journal_id),
    "received": _plain(received),
}
