"""What a rule made, as drafts: complete where it creates, only what is stated where it patches."""

from collections.abc import Iterable

from adapters.hl7v2.plans import Rule
from adapters.hl7v2.shapes import copied
from hie.kernel.envelope import Draft, WriteMode
from hie.kernel.fhir import FhirJson


def drafts_of(  # noqa: PLR0913 - what was made, each by name
    rule: Rule,
    name: str,
    key: tuple[str, ...],
    resource: FhirJson,
    *,
    nulls: Iterable[str],
    event_us: int,
    since: str = "",
) -> list[Draft]:
    """One draft, or a PATCH and before it the CREATE_IF_ABSENT that makes it a whole resource.

    Args:
        rule: what made it.
        name: of the draft.
        key: business key; () = known by the message.
        resource: what the message says.
        nulls: top-level elements it says are to be cleared.
        event_us: when that was so.
        since: the same as a FHIR dateTime, where what it changes is kept; "" elsewhere.
    """
    mode, cycle = rule.rule.mode, rule.rule.lifecycle

    def draft(name: str, resource: FhirJson, mode: WriteMode) -> Draft:
        return Draft(
            name=name,
            resource=resource,
            key=key,
            mode=mode,
            event_us=event_us,
            lifecycle=cycle,
            since=since,
            undoes=rule.rule.undoes,
        )

    complete = resource if mode is not WriteMode.PATCH else dict(resource)
    for put in rule.defaults:
        put(complete)
    if mode is not WriteMode.PATCH:
        return [draft(name, complete, mode)]
    if not key:
        return [draft(name, complete, WriteMode.UPSERT)]
    stated: FhirJson = {**resource, **dict.fromkeys(sorted(set(nulls) - resource.keys()))}
    if len(complete) == len(resource) and not rule.rule.founding:
        return [draft(name, stated, mode)]
    founding = rule.rule.founding
    stated = {n: value for n, value in stated.items() if value is None or n not in founding}
    # What is done to the one must not be done to the other.
    return [
        draft(name, copied(complete), WriteMode.CREATE_IF_ABSENT),
        draft(f"{name}-update", stated, mode),
    ]
