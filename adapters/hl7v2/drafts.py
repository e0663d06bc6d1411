"""What a rule made, as drafts: complete where it creates, only what is stated where it patches."""

from adapters.hl7v2.links import Job
from adapters.hl7v2.shapes import copied
from hie.kernel.envelope import Draft, WriteMode
from hie.kernel.fhir import FhirJson


def drafts_of(job: Job) -> list[Draft]:
    """One draft, or a PATCH and before it the CREATE_IF_ABSENT that makes it a whole resource."""
    resource, mode, founding = job.making.resource, job.rule.rule.mode, job.rule.rule.founding
    complete = resource if mode is not WriteMode.PATCH else dict(resource)
    for put in job.rule.defaults:
        put(complete)
    if mode is not WriteMode.PATCH:
        return [_draft(job, job.name, complete, mode)]
    if not job.key:
        return [_draft(job, job.name, complete, WriteMode.UPSERT)]
    stated: FhirJson = {**resource, **dict.fromkeys(sorted(job.nulls - resource.keys()))}
    if len(complete) == len(resource) and not founding:
        return [_draft(job, job.name, stated, mode)]
    stated = {n: value for n, value in stated.items() if value is None or n not in founding}
    # What is done to the one must not be done to the other.
    return [
        _draft(job, job.name, copied(complete), WriteMode.CREATE_IF_ABSENT),
        _draft(job, f"{job.name}-update", stated, mode),
    ]


def _draft(job: Job, name: str, resource: FhirJson, mode: WriteMode) -> Draft:
    return Draft(
        name=name,
        resource=resource,
        key=job.key,
        mode=mode,
        event_us=job.event_us,
        lifecycle=job.rule.rule.lifecycle,
        since=job.since,
        undoes=job.rule.rule.undoes,
        adds=job.rule.rule.adds,
    )
