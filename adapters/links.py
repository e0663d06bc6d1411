"""Where each numbered source's link stands: its last accepted sequence number.

The journal is the authority: a number moves in the transaction that stores its message, and
only from the number it was believed to be. What is remembered here saves asking; after a
failure it is asked again.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from adapters.port import JournalPort, SequenceStep
from hie.kernel.ids import SourceId


class Link:
    """One source's numbers, one message at a time."""

    __slots__ = ("is_known", "last", "lock")

    def __init__(self) -> None:
        self.lock = asyncio.Lock()
        self.is_known = False
        self.last: int | None = None

    def settled(self, step: SequenceStep | None, *, is_stored: bool) -> None:
        """A message was journaled with this step, or was not."""
        if not is_stored:
            self.is_known = False
        elif step is not None:
            self.last = step.after


class Links:
    """The links of all sources."""

    def __init__(self, journal: JournalPort) -> None:
        self._journal = journal
        self._links: dict[SourceId, Link] = {}

    @asynccontextmanager
    async def link(self, source_id: SourceId) -> AsyncIterator[Link]:
        """The source's link; its messages go through one after the other, in order of arrival."""
        link = self._links.setdefault(source_id, Link())
        async with link.lock:
            if not link.is_known:
                link.last = await self._journal.last_sequence(source_id)
                link.is_known = True
            try:
                yield link
            except BaseException:
                link.is_known = False
                raise
