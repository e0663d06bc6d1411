"""What a patient's portal asks about Consents, as Parameters; nothing is recorded by asking."""

import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final

from adapters.fhir.body import Limits
from adapters.fhir.receive import Answer
from hie.consents.forms import Form, Signature
from hie.consents.plain import PlainWords, lines
from hie.flow.consent_list import ConsentList, names_in
from hie.flow.consent_operations import parameters
from hie.flow.consent_parts import Parts
from hie.flow.consent_rules import CONSENT
from hie.flow.consent_staff import Paper, StaffConsents
from hie.kernel.clock import instant
from hie.kernel.context import RequestContext
from hie.kernel.errors import Category, HieError, Issue
from hie.kernel.fhir import FhirJson
from hie.kernel.ids import PersonId

FORMS: Final = "consent-forms"
DRAFT: Final = "consent-draft"
STANDING: Final = "consent-standing"
QUESTIONS: Final = frozenset({FORMS, DRAFT, STANDING})
_FORM: Final = "form"


class ConsentQuestions:
    """Answers patients."""

    def __init__(
        self, parts: Parts, shown: ConsentList, staff: StaffConsents, words: PlainWords
    ) -> None:
        self._parts = parts
        self._list = shown
        self._staff = staff
        self._words = words

    async def answer(
        self, ctx: RequestContext, question: str, consent_id: str, body: bytes
    ) -> Answer:
        """The Parameters of a question.

        Raises:
            HieError: FORBIDDEN for who is no patient; INVALID for a form filled in wrongly;
                NOT_FOUND.
        """
        if ctx.caller.patient is None:
            text = "a patient's own token asks this; staff ask the staff API"
            raise HieError(Category.FORBIDDEN, text, [Issue(text=text, code="forbidden")])
        if question == FORMS:
            told = [_form(form) for _, form in sorted(self._staff.forms.items())]
        elif question == DRAFT:
            told = await self._draft(ctx, body)
        else:
            told = await self._standing(ctx, consent_id)
        resource = {"resourceType": "Parameters", "parameter": told}
        return Answer(status=200, body=json.dumps(resource, default=str).encode())

    async def _draft(self, ctx: RequestContext, body: bytes) -> list[FhirJson]:
        """The Consent that a filled-in form would be, and what it says."""
        asked = parameters(body, Limits())
        name, values = _filled_in(asked)
        paper = Paper(form=name, values=values, signature=Signature(on=instant(ctx.now_us)))
        async with self._parts.db.reading() as conn:
            person = await self._parts.mpi.resolve(conn, PersonId(str(ctx.caller.patient)))
            try:
                consent = await self._staff.consent_of(conn, person, paper)
            except HieError as refused:
                raise _placed(refused, asked) from refused
            names = await names_in(self._parts, conn, [consent])
        said = lines(consent, names, self._words, is_over=False)
        return [{"name": "consent", "resource": consent}, *_texts("said", said)]

    async def _standing(self, ctx: RequestContext, consent_id: str) -> list[FhirJson]:
        """What a Consent comes to now, in plain words, and its receipts."""
        async with self._parts.db.reading() as conn:
            person = await self._parts.mpi.resolve(conn, PersonId(str(ctx.caller.patient)))
            stored = await self._list.stored(conn, consent_id)
        is_own = stored is not None and stored.person_id == person
        is_hidden = stored is not None and stored.label_mask & ctx.caller.withheld_mask
        if not is_own or is_hidden:
            await self._parts.disclosures.refuse(ctx, "read", CONSENT, consent_id)
        shown = await self._list.one(ctx, consent_id)
        made = [one for one in shown.receipts if one.document_id]
        return [
            {"name": "standing", "valueCode": shown.standing},
            *_texts("why", [shown.why]),
            *_texts("said", shown.said),
            *(
                {
                    "name": "receipt",
                    "valueReference": {"reference": f"DocumentReference/{one.document_id}"},
                }
                for one in made
            ),
        ]


def _form(form: Form) -> FhirJson:
    fields = [
        {
            "name": "field",
            "part": [
                {"name": "name", "valueString": each.name},
                {"name": "kind", "valueCode": each.kind},
                {"name": "text", "valueString": each.text},
                {"name": "required", "valueBoolean": each.is_required},
                *({"name": "choice", "valueCode": one} for one in each.choices),
            ],
        }
        for each in form.fields
    ]
    told = [
        {"name": "name", "valueCode": form.name},
        {"name": "title", "valueString": form.title},
        {"name": "about", "valueString": form.about},
        {"name": "effect", "valueCode": form.effect},
        *fields,
    ]
    return {"name": _FORM, "part": told}


def _filled_in(told: FhirJson) -> tuple[str, dict[str, list[str]]]:
    """The name of a form, and what was filled in by field."""
    name, values = "", dict[str, list[str]]()
    for named, each in _named(told):
        value = next((v for n, v in each.items() if n.startswith("value")), "") if named else ""
        if named == _FORM:
            name = str(value)
        elif named:
            values.setdefault(named, []).append(str(value))
    return name, values


def _named(told: FhirJson) -> list[tuple[str, FhirJson]]:
    """The parameters in their order, each with its name; nameless where it is none."""
    listed: Any = told.get("parameter")
    found = listed if isinstance(listed, list) else []
    return [(str(e.get("name", "")), e) if isinstance(e, dict) else ("", {}) for e in found]


def _placed(refused: HieError, told: FhirJson) -> HieError:
    """A refusal in the words of the staff API, with its places in the Parameters that were sent.

    What was not sent has no position; its name is the form's then, never the sender's.
    """
    sent = {named: position for position, (named, _) in enumerate(_named(told))}

    def place(pointer: str) -> str:
        name = pointer.removeprefix("#/body/").removeprefix("fields/")
        if name in sent:
            return f"Parameters.parameter[{sent[name]}]"
        return f"Parameters.parameter.where(name = '{name}')"

    issues = [replace(one, expression=tuple(map(place, one.expression))) for one in refused.issues]
    return HieError(refused.category, refused.text, issues)


def _texts(name: str, texts: Iterable[str]) -> list[FhirJson]:
    return [{"name": name, "valueString": text} for text in texts]
