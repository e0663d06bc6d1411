"""How far a re-label is, and what counts meanwhile where nobody has begun it (pure)."""

from dataclasses import dataclass
from typing import Final

from consent.changes import Gains
from hie.store.residual import Pending

_LAST_PK: Final = (1 << 63) - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a re-label is.

    Attributes:
        done: resources looked at again.
        total: resources there were at its start.
        raised: resources or older versions that gained labels.
        lowered: those that lost some.
        is_over: nothing is left to do.
        since_us: when it began; 0 where none is under way.
    """

    done: int = 0
    total: int = 0
    raised: int = 0
    lowered: int = 0
    is_over: bool = True
    since_us: int = 0

    @property
    def waiting(self) -> int:
        """How many have not been looked at."""
        return 0 if self.is_over else self.total - self.done


def everywhere(owed: Gains) -> Pending:
    """Whatever is stored counts as having what it may gain."""
    return Pending(
        passed=(),
        later=(),
        done_pk=0,
        last_pk=_LAST_PK,
        since_us=0,
        current_mask=owed.by_codes | owed.by_rest,
        older_mask=owed.by_codes | owed.by_rest,
    )


def over(last: Progress) -> Progress:
    """The same once it is through."""
    return Progress(done=last.total, total=last.total, raised=last.raised, lowered=last.lowered)
