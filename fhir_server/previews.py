"""Who says what a recipient would see of a record (`hie.flow.previews`)."""

from typing import Protocol

from consent.preview import Preview, Question
from hie.kernel.context import RequestContext


class Previews(Protocol):
    """Answers "what would this recipient see?", on record before it is told."""

    async def of(self, ctx: RequestContext, question: Question, /) -> Preview:
        """NOT_FOUND where the record is not the caller's own, INVALID for an unknown recipient."""
        ...
