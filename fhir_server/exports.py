"""What the API asks of bulk exports."""

from typing import Protocol

from hie.exports.desk import Busy, OpenFile, Status
from hie.exports.model import Asked, Job, Part
from hie.kernel.context import RequestContext


class Exports(Protocol):
    """Bulk exports of callers (`hie.exports`); another's are NOT_FOUND."""

    async def begin(self, ctx: RequestContext, asked: Asked, /, *, is_lenient: bool) -> Job | Busy:
        """A new job, on record; or that the caller's other job is worked on still."""
        ...

    async def status(self, ctx: RequestContext, job_id: str, /) -> Status:
        """How far a job is, and what of it the caller may read now."""
        ...

    async def cancel(self, ctx: RequestContext, job_id: str, /) -> None:
        """Take a job and its files away."""
        ...

    async def open(self, ctx: RequestContext, job_id: str, name: str, /) -> OpenFile:
        """A file in portions, each decided and on record before it is given."""
        ...

    def name_of(self, part: Part, /) -> str:
        """What a file is called."""
        ...
