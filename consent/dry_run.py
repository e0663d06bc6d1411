"""The dry run of a consent decision: files in, the decision as JSON values out (pure).

The same `gate` and `decide` as the hub's own, on the same labels and the same index.
"""

import copy
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from consent.casefile import Asked, Filed, Files, literal
from consent.evaluate import Judge, Law, in_words, sentences
from consent.facts import facts_of_resource
from consent.from_fhir.directive import ConsentReader
from consent.from_fhir.supersede import claims_of
from consent.gate import Clause, Verb, gate
from consent.labels import Labeller
from consent.model import (
    Decision,
    Directive,
    Effect,
    Obligation,
    ResourceFacts,
    Rule,
    TargetKind,
)
from consent.supersede import without_superseded
from hie.kernel.fhir import FhirJson, objects, rewrite_references
from hie.store.index import SearchIndex

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MEANING: Final = {
    TargetKind.INSTANCE: "instance",
    TargetKind.AUTHOR: "authoredby",
    TargetKind.ENCOUNTER: "related",
    TargetKind.SOURCE: "source",
}
_DOCUMENTS: Final = frozenset({"DiagnosticReport", "DocumentReference", "Media"})


class DryRun:
    """Decides over files.

    Args:
        law: regime, hard rules, labels.
        index: which codes, dates and references of a resource count.
        files: consents and whom they name.
    """

    def __init__(self, law: Law, index: SearchIndex, files: Files) -> None:
        self._law, self._index, self._files = law, index, files
        self._labeller = Labeller(law.settings.sensitivity)
        self._directives: dict[str, tuple[Directive, ...]] = {}

    def decided(
        self, asked: Asked, resources: Sequence[Filed], *, explains: bool = False
    ) -> FhirJson:
        """What is printed.

        Args:
            asked: the request.
            resources: each is judged by itself.
            explains: the trace of each resource and the words for the patient, too.
        """
        found = gate(asked.request, asked.patient, self.directives(asked.patient), self._law)
        staff, patient = sentences((*found.reasons, *found.silent), self._law)
        judged = [(one, *self._judged(asked, one, resources)) for one in resources]
        released = [(one, each) for one, each, why in judged if each.is_permitted and not why]
        carried = {o: None for _, each in released for o in each.obligations}
        told: FhirJson = {
            "decision": found.effect.value,
            "reasons": list(staff),
            "residual": [self._clause(clause) for clause in found.clauses],
            "obligations": _obligations(tuple(carried) if resources else found.obligations),
            "released": [one.ref for one, _ in released],
            "withheld": [
                {"ref": one.ref, "reason": why or " ".join(in_words(each, self._law)[0])}
                for one, each, why in judged
                if why or not each.is_permitted
            ],
        }
        if explains:
            told["patient"] = list(patient)
            told["trace"] = [self._trace(one, each) for one, each, _ in judged]
        return told

    def directives(self, patient: str) -> tuple[Directive, ...]:
        """The Consents of a patient, read; of those superseded, what is left."""
        if patient not in self._directives:
            read = [(filed, self._read(filed)) for filed in self._about(patient)]
            claims = [
                claim
                for filed, directive in read
                for claim in claims_of(
                    filed.resource,
                    consent_id=directive.consent_id,
                    may_widen=True,
                    settings=self._law.settings,
                    directory=self._files,
                )
            ]
            found = without_superseded([directive for _, directive in read], claims)
            self._directives[patient] = found
        return self._directives[patient]

    def _about(self, patient: str) -> Iterator[Filed]:
        """The Consents about a patient; one that names nobody may be about anybody."""
        for filed in self._files.of_type("Consent"):
            if self._whose(filed.resource) in (patient, ""):
                yield filed

    def _whose(self, consent: FhirJson) -> str:
        named = consent.get("patient", consent.get("subject"))
        found = self._files.grantee({"type": "Patient", **named}) if isinstance(named, dict) else ""
        return found if found and found.startswith("Patient/") else ""

    def _read(self, filed: Filed) -> Directive:
        meta = filed.resource.get("meta")
        written = str(meta.get("versionId")) if isinstance(meta, dict) else ""
        directive = ConsentReader(self._law.settings, self._law.labels).directive(
            filed.resource,
            consent_id=filed.id,
            version=int(written) if written.isdecimal() and len(written) <= 9 else 1,
            directory=self._files,
        )
        if self._whose(filed.resource) or directive.ignored:
            return directive
        deny = Rule(path="/", effect=Effect.DENY, note="unknown-patient")
        return Directive(consent_id=directive.consent_id, version=directive.version, rules=(deny,))

    def _judged(
        self, asked: Asked, filed: Filed, resources: Sequence[Filed]
    ) -> tuple[Decision, str]:
        """The decision on a resource, and why it is withheld beside that; "" = no reason."""
        nobody = ResourceFacts(type=filed.type, id=filed.id, source_id="", person_id=None)
        judge = Judge(asked.request, self._law)
        if not self._index.has_type(filed.type):
            return judge.decide(nobody, ()), f"`{filed.file}`: no resource type of FHIR R4."
        try:
            views = list(self._views(filed, resources))
        except (AttributeError, LookupError, TypeError, ValueError):
            return judge.decide(nobody, ()), f"`{filed.file}`: not shaped as FHIR R4 has it."
        if views[0].person_id and asked.patient not in {view.person_id for view in views}:
            return judge.decide(nobody, ()), "It is about another patient than the request."
        decisions = [
            judge.decide(view, self.directives(view.person_id) if view.person_id else ())
            for view in views
        ]
        return next((one for one in decisions if not one.is_permitted), decisions[0]), ""

    def _views(self, filed: Filed, resources: Sequence[Filed]) -> Iterator[ResourceFacts]:
        """The facts of a resource, once for each patient it is about."""
        resource = _relative(filed.resource)
        mask = self._mask(filed, resource, resources)
        patients = self._index.patients_of(filed.type, filed.id, resource)
        for patient in patients or (None,):
            yield facts_of_resource(
                self._index,
                resource,
                resource_id=filed.id,
                source_id=self._files.source_of(resource),
                person_id=None if patient is None else f"Patient/{patient}",
                label_mask=mask,
            )

    def _mask(self, filed: Filed, resource: FhirJson, resources: Sequence[Filed]) -> int:
        """Its labels: with those of the Medication it names, or of documents it is content of."""
        taken = (resource.get("medicationReference") or {}).get("reference")
        beside = [one.resource for one in resources if one.ref == taken]
        source = self._files.source_of(resource)
        mask = self._labeller.labels(resource, source_id=source, beside=beside).mask
        if filed.type == "Binary":
            for one in resources:
                if one.type in _DOCUMENTS and _names(one.resource, filed.ref):
                    mask |= self._labeller.labels(one.resource).mask
        return mask

    def _clause(self, clause: Clause) -> FhirJson:
        """A clause in the words of IHE PCF's residual, and where it comes from."""
        rule = clause.rule
        told: FhirJson = {"type": clause.verb.value}
        mask = clause.label_mask if rule is None else rule.label_mask
        if mask is not None:
            told["securityLabel"] = self._codes(mask, clause.verb)
        if rule is not None:
            told |= _conditions(rule)
        if rule is not None and clause.consent_id:
            told |= {"consent": f"Consent/{clause.consent_id}", "version": clause.version}
            told["path"] = rule.path
        elif rule is not None:
            told["regime"] = self._law.settings.regime.name
        if clause.hard:
            told["law"] = clause.hard
        return told

    def _codes(self, mask: int, verb: Verb) -> list[str]:
        """Labels by code: those covered by a permit, any one of which a prohibition means."""
        levels = self._law.settings.sensitivity.levels
        reached = [
            level.code for level in levels if level.bit is not None and mask >> level.bit & 1
        ]
        if verb is Verb.PERMIT:
            reached = reached[-1:] or [self._law.settings.sensitivity.normal]
        return [*reached, *self._law.labels.codes(mask)]

    def _trace(self, filed: Filed, decision: Decision) -> FhirJson:
        """Every rule that matched a resource, and whether it spoke."""
        return {
            "ref": filed.ref,
            "decision": decision.effect.value,
            "reasons": [reason.kind.value for reason in decision.reasons],
            "patient": list(in_words(decision, self._law)[1]),
            "rules": [
                {
                    "consent": f"Consent/{step.consent_id}",
                    "version": step.version,
                    "path": step.path,
                    "effect": step.effect.value,
                    "speaks": step.speaks,
                }
                for step in decision.trace
            ],
        }


def _conditions(rule: Rule) -> FhirJson:
    """What a rule asks of the data, as a provision would say it."""
    told: FhirJson = {}
    period = {
        name: _iso(at)
        for name, at in (
            ("start", rule.date_lo_us),
            ("end", None if rule.date_hi_us is None else rule.date_hi_us - 1),
        )
        if at is not None
    }
    if period:
        told["dataPeriod"] = period
    for name, values in (("class", rule.types), ("source", rule.sources)):
        if values is not None:
            told[name] = sorted(values)
    if rule.codes is not None:
        told["code"] = [{"system": system, "code": code} for system, code in sorted(rule.codes)]
    if rule.targets is not None:
        told["data"] = [
            {"meaning": _MEANING[target.kind], "reference": target.value}
            for target in sorted(rule.targets, key=lambda one: (one.kind, one.value))
        ]
    return told


def _obligations(found: Sequence[Obligation]) -> list[FhirJson]:
    return [{"code": one.code, "text": one.text} for one in sorted(found, key=lambda o: o.code)]


def _relative(resource: FhirJson) -> FhirJson:
    """The resource with its literal references in the form `Type/id`."""
    return rewrite_references(copy.deepcopy(resource), lambda found: literal(found) or found)


def _names(resource: FhirJson, ref: str) -> bool:
    """Whether a document has a Binary as its content."""
    urls: list[Any] = [element.get("url") for element in objects(resource)]
    return any(isinstance(url, str) and (literal(url) or url) == ref for url in urls)


def _iso(at_us: int) -> str:
    moment = _EPOCH + timedelta(microseconds=at_us)
    return moment.isoformat().replace("+00:00", "Z")
