"""Which message a version of a resource came from."""

from dataclasses import dataclass

from hie.kernel.ids import MessageId, PersonId, SourceId


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionOrigin:
    """Where one version came from.

    Attributes:
        message_id: the journaled message; 0 for what the hub wrote itself.
        person_id: whom the resource is about now; None for nobody.
    """

    version: int
    last_updated_us: int
    source_id: SourceId
    message_id: MessageId
    person_id: PersonId | None
