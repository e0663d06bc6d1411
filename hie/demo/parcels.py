"""What each source will send, in order: its story as bytes, and the mistakes among it."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from hie.demo import events as e
from hie.demo.fhir import FhirWriter, as_json
from hie.demo.hl7 import Hl7Writer, Written
from hie.demo.lists import Lists
from hie.demo.wishes import Wish


class Wire(StrEnum):
    """How a parcel travels."""

    MLLP = "MLLP"
    FHIR = "FHIR"


class Expected(StrEnum):
    """What the hub should answer."""

    ACCEPTED = "accepted"
    REFUSED = "refused"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parcel:
    """One message on its way.

    Attributes:
        kind: `ADT^A01`, or `FHIR transaction`.
        control_id: MSH-10, or the X-Request-Id of a FHIR request.
        path: below the FHIR base, `/Consent`; empty for a transaction.
        note: what is wrong with it; empty for the ordinary ones.
    """

    source: str
    wire: Wire
    kind: str
    control_id: str
    payload: bytes
    path: str = ""
    expected: Expected = Expected.ACCEPTED
    note: str = ""


def parcels(lists: Lists, told: Mapping[str, tuple[e.Event, ...]]) -> dict[str, tuple[Parcel, ...]]:
    """Every source's parcels in the order of sending, its mistakes and one repeat included."""
    return {source: _feed(_Packer(lists, source), events) for source, events in told.items()}


def consent_parcels(wishes: Sequence[Wish]) -> dict[str, tuple[Parcel, ...]]:
    """The Consents of each source, in the order of its people."""
    found: dict[str, list[Parcel]] = {}
    for wish in wishes:
        for n, payload in enumerate(wish.payloads, start=1):
            parcel = Parcel(
                source=wish.source,
                wire=Wire.FHIR,
                kind="FHIR Consent",
                control_id=f"consent-{wish.person:04d}-{n}",
                payload=payload,
                path="/Consent",
            )
            found.setdefault(wish.source, []).append(parcel)
    return {source: tuple(parcels) for source, parcels in found.items()}


def _feed(packer: "_Packer", events: tuple[e.Event, ...]) -> tuple[Parcel, ...]:
    packed = [packer.pack(event) for event in events]
    place = next(n for n in range(len(packed) // 3, len(packed)) if packed[n].wire is Wire.MLLP)
    # A sender that missed an answer sends again: same id, same content.
    repeat = replace(packed[place], note="sent twice")
    odd = packer.mistakes(events)
    return (*packed[: place + 1], repeat, *odd, *packed[place + 1 :])


class _Packer:
    """Turns one source's events into parcels."""

    def __init__(self, lists: Lists, source: str) -> None:
        self._sender = lists.senders[source]
        self._hl7 = Hl7Writer(lists, source)
        self._fhir = FhirWriter(lists, source)
        self._bundles = 0

    def pack(self, event: e.Event) -> Parcel:
        """The parcel of an event."""
        if isinstance(event.detail, e.Measured):
            return self._bundle(self._fhir.write(event, event.detail))
        return self._message(self._hl7.write(event))

    def mistakes(self, events: tuple[e.Event, ...]) -> list[Parcel]:
        """What this source gets wrong, as its list says."""
        known: Mapping[str, Callable[[tuple[e.Event, ...]], Parcel]] = {
            "unknown-event": self._unknown_event,
            "bad-date": self._bad_date,
            "no-control-id": self._no_control_id,
            "no-medicine": self._no_medicine,
            "appointment": self._appointment,
            "bad-status": self._bad_status,
            "unknown-patient": self._unknown_patient,
        }
        return [known[name](events) for name in self._sender.mistakes]

    def _unknown_event(self, events: tuple[e.Event, ...]) -> Parcel:
        written = self._hl7.write(_nobody(_first(events, e.Registered)))
        payload = written.payload.replace(b"ADT^A28^ADT_A05", b"ADT^Z77^ADT_Z77", 1)
        return self._refused(written, "ADT^Z77", payload, "an event nobody knows")

    def _bad_date(self, events: tuple[e.Event, ...]) -> Parcel:
        event = _nobody(_first(events, e.Registered))
        written = self._hl7.write(event)
        born = f"{event.known.birth_date:%Y%m%d}".encode()
        payload = written.payload.replace(born, born[:4] + b"0230", 1)
        return self._refused(written, written.trigger, payload, "a 30th of February")

    def _no_control_id(self, events: tuple[e.Event, ...]) -> Parcel:
        written = self._hl7.write(_nobody(_first(events, e.LabReport)))
        payload = written.payload.replace(written.control_id.encode(), b"", 1)
        return self._refused(written, written.trigger, payload, "no control id")

    def _no_medicine(self, events: tuple[e.Event, ...]) -> Parcel:
        written = self._hl7.write(_nobody(_first(events, e.Dispensed)))
        kept = [s for s in written.payload.split(b"\r") if not s.startswith(b"RXD")]
        return self._refused(written, written.trigger, b"\r".join(kept), "no RXD segment")

    def _appointment(self, events: tuple[e.Event, ...]) -> Parcel:
        """No mistake: a standard event the hub keeps and does not map."""
        event = _nobody(_first(events, e.Registered))
        d, at = self._hl7.dialect, self._hl7.dialect.time(event.at)
        segments = [
            self._hl7.header("SIU^S12", event),
            d.segment("SCH", {1: d.entity("APT0001"), 6: "ROUTINE", 11: d.parts("", "", "", at)}),
            self._hl7.patient(event),
            d.segment("RGS", {1: "1", 2: "A"}),
        ]
        payload = d.message(segments)
        written = Written(trigger="SIU^S12", control_id=self._hl7.control_id, payload=payload)
        return replace(self._message(written), note="kept, not mapped")

    def _bad_status(self, events: tuple[e.Event, ...]) -> Parcel:
        event = _nobody(_first(events, e.Measured))
        payload = self._measured(event).replace(b'"status":"final"', b'"status":17', 1)
        return self._refused_bundle(payload, "a number for a code")

    def _unknown_patient(self, events: tuple[e.Event, ...]) -> Parcel:
        event = _nobody(_first(events, e.Measured))
        bundle = json.loads(self._measured(event))
        bundle["entry"] = [bundle["entry"][-1]]
        bundle["entry"][0]["resource"]["subject"] = {"reference": "Patient/nobody-at-all"}
        return self._refused_bundle(as_json(bundle), "about a patient nobody knows")

    # -- wrapping -----------------------------------------------------------------------

    def _measured(self, event: e.Event) -> bytes:
        if not isinstance(event.detail, e.Measured):
            raise TypeError("only what was measured goes out as FHIR")
        return self._fhir.write(event, event.detail)

    def _message(self, written: Written) -> Parcel:
        return Parcel(
            source=self._sender.source,
            wire=Wire.MLLP,
            kind=written.trigger,
            control_id=written.control_id,
            payload=written.payload,
        )

    def _bundle(self, payload: bytes) -> Parcel:
        self._bundles += 1
        return Parcel(
            source=self._sender.source,
            wire=Wire.FHIR,
            kind="FHIR transaction",
            control_id=f"{self._sender.source}-{self._bundles:05d}",
            payload=payload,
        )

    def _refused(self, written: Written, kind: str, payload: bytes, note: str) -> Parcel:
        parcel = replace(self._message(written), kind=kind, payload=payload)
        return replace(parcel, expected=Expected.REFUSED, note=note)

    def _refused_bundle(self, payload: bytes, note: str) -> Parcel:
        return replace(self._bundle(payload), expected=Expected.REFUSED, note=note)


def _first(events: tuple[e.Event, ...], kind: type) -> e.Event:
    return next(event for event in events if isinstance(event.detail, kind))


def _nobody(event: e.Event) -> e.Event:
    """The event about somebody the world does not have, should a mistake be taken after all."""
    known = replace(
        event.known,
        family="Nobody",
        given="Nemo",
        middle="",
        former_family="",
        phone="",
        email="",
        tax_number="",
    )
    return replace(event, value="NEMO1", known=known)
