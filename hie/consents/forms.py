"""Consent forms as data: what is filled in, and the FHIR Consent that comes of it (pure).

One form is one file of `config/consent/forms/`. The Consent is R4, of the shape that IHE PCF
asks for: a scope, a category, a policy, a root provision with its type.
Spec: https://profiles.ihe.net/ITI/PCF/content.html
"""

import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any, Final

from hie.kernel.errors import Category, HieError, Issue
from hie.kernel.fhir import FhirJson

_TERMS: Final = "http://terminology.hl7.org/CodeSystem/"
_ACT_CODE: Final = f"{_TERMS}v3-ActCode"
_PARTICIPATION: Final = f"{_TERMS}v3-ParticipationType"
#: Confidentiality codes stand in a system of their own.
_CONFIDENTIALITY: Final = frozenset({"U", "L", "M", "N", "R", "V"})
#: What a field may hold, and the kind of its values.
KINDS: Final = ("organizations", "senders", "purposes", "labels", "date")
#: Who an organisation of a field is to the provision.
_ROLES: Final = {
    "organizations": ("IRCP", "information recipient"),
    "senders": ("CST", "custodian"),
}
#: An organisation as staff or a portal names it, to `Reference`; None where there is none.
Resolve = Callable[[str], FhirJson | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class FormField:
    """One thing to be filled in.

    Attributes:
        kind: one of `KINDS`; all but a date take several values.
        choices: the only values taken; empty = any.
    """

    name: str
    kind: str
    text: str
    is_required: bool = False
    choices: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Form:
    """A form.

    Attributes:
        name: its file's.
        about: what it does, for who picks it.
        effect: `permit` or `deny`.
        policy: `Consent.policy.uri`.
        rule: code of `Consent.policyRule`.
        purposes, labels: of the provision, whatever is filled in.
    """

    name: str
    title: str
    about: str
    effect: str
    policy: str
    rule: str
    purposes: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    fields: tuple[FormField, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """Who signed, when (a date or dateTime as written), and who saw it."""

    by: str = ""
    on: str = ""
    witness: str = ""


def load_forms(folder: Path) -> dict[str, Form]:
    """The forms of a folder by name.

    Raises:
        HieError: INVALID, naming file, key and what was expected there.
    """
    return {path.stem: _form(path) for path in sorted(folder.glob("*.toml"))}


def _form(path: Path) -> Form:
    try:
        told = tomllib.loads(path.read_text())
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise HieError(Category.INVALID, f"forms/{path.name}: expected TOML") from error

    def text(values: Mapping[str, Any], key: str) -> str:
        found = values.get(key)
        if not isinstance(found, str) or not found:
            raise HieError(Category.INVALID, f"forms/{path.name}: `{key}`: expected a text")
        return found

    def texts(values: Mapping[str, Any], key: str) -> tuple[str, ...]:
        found = values.get(key, [])
        if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
            raise HieError(Category.INVALID, f"forms/{path.name}: `{key}`: expected texts")
        return tuple(found)

    def one(values: Mapping[str, Any], key: str, choices: Sequence[str]) -> str:
        found = text(values, key)
        if found not in choices:
            listed = ", ".join(choices)
            raise HieError(Category.INVALID, f"forms/{path.name}: `{key}`: expected {listed}")
        return found

    return Form(
        name=path.stem,
        title=text(told, "title"),
        about=text(told, "about"),
        effect=one(told, "effect", ("permit", "deny")),
        policy=text(told, "policy"),
        rule=one(told, "rule", ("OPTIN", "OPTOUT")),
        purposes=texts(told, "purposes"),
        labels=texts(told, "labels"),
        fields=tuple(
            FormField(
                name=text(each, "name"),
                kind=one(each, "kind", KINDS),
                text=text(each, "text"),
                is_required=each.get("is_required") is True,
                choices=texts(each, "choices"),
            )
            for each in told.get("field", ())
        ),
    )


def filled(
    form: Form,
    values: Mapping[str, Sequence[str]],
    *,
    patient: str,
    signature: Signature,
    resolve: Resolve,
) -> FhirJson:
    """The Consent that a filled-in form is.

    Args:
        form: which.
        values: by the name of a field; a date is one value.
        patient: `Patient/<id>`.
        signature: goes into `dateTime`.
        resolve: finds organisations.

    Raises:
        HieError: INVALID, one issue per field.
    """
    issues: list[Issue] = []
    known = {each.name for each in form.fields}
    issues += [_at(name, "this form has no such field") for name in values if name not in known]
    actors: list[FhirJson] = []
    told = _Told(purposes=[*form.purposes], labels=[*form.labels])
    for each in form.fields:
        sent = [one for one in values.get(each.name, ()) if one]
        issues += _faults(each, sent)
        if each.kind in _ROLES:
            actors += _actors(each, sent, resolve, issues)
        else:
            getattr(told, each.kind).extend(sent)
    if issues:
        raise HieError(Category.INVALID, issues[0].text, issues)
    return _consent(form, patient, signature, _provision(form, told, actors))


@dataclass(slots=True, kw_only=True)
class _Told:
    """What was filled in, by the kind of the field."""

    purposes: list[str]
    labels: list[str]
    date: list[str] = field(default_factory=list)


def _provision(form: Form, told: _Told, actors: Sequence[FhirJson]) -> FhirJson:
    found: FhirJson = {"type": form.effect}
    if told.date:
        found["period"] = {"end": told.date[0]}
    if actors:
        found["actor"] = [*actors]
    if told.purposes:
        found["purpose"] = [
            {"system": f"{_TERMS}v3-ActReason", "code": code} for code in told.purposes
        ]
    if told.labels:
        found["securityLabel"] = [_label(code) for code in told.labels]
    return found


def _consent(form: Form, patient: str, signature: Signature, provision: FhirJson) -> FhirJson:
    found: FhirJson = {
        "resourceType": "Consent",
        "status": "active",
        "scope": {
            "coding": [{"system": f"{_TERMS}consentscope", "code": "patient-privacy"}],
            "text": form.title,
        },
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "patient": {"reference": patient},
    }
    if signature.on:
        found["dateTime"] = signature.on
    found["performer"] = [{"reference": patient}]
    found["policy"] = [{"uri": form.policy}]
    found["policyRule"] = {"coding": [{"system": _ACT_CODE, "code": form.rule}]}
    found["provision"] = provision
    return found


def _faults(each: FormField, sent: Sequence[str]) -> list[Issue]:
    if each.is_required and not sent:
        return [_at(each.name, f"expected: {each.text}", "required")]
    if each.choices and not set(sent) <= set(each.choices):
        return [_at(each.name, f"expected some of {', '.join(each.choices)}")]
    if each.kind == "date" and sent and (len(sent) > 1 or not _is_date(sent[0])):
        return [_at(each.name, "expected one date, `2027-01-31`")]
    return []


def _actors(
    each: FormField, sent: Sequence[str], resolve: Resolve, issues: list[Issue]
) -> list[FhirJson]:
    code, display = _ROLES[each.kind]
    role = {"coding": [{"system": _PARTICIPATION, "code": code, "display": display}]}
    found = []
    for named in sent:
        reference = resolve(named)
        if reference is None:
            issues.append(_at(each.name, "expected an organization of the directory", "not-found"))
        else:
            found.append({"role": role, "reference": reference})
    return found


def _label(code: str) -> FhirJson:
    is_level = code in _CONFIDENTIALITY
    return {"system": f"{_TERMS}v3-Confidentiality" if is_level else _ACT_CODE, "code": code}


def _is_date(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return len(text) == 10


def _at(name: str, text: str, code: str = "value") -> Issue:
    return Issue(text=text, code=code, expression=(f"#/body/fields/{name}",))
