"""A resource on its way into the store, under the id the hub gave it."""

from dataclasses import dataclass

from adapters.lifecycle import Lifecycle
from hie.flow.state import Stamp
from hie.kernel.envelope import WriteMode
from hie.kernel.fhir import FhirJson
from hie.kernel.ids import MessageId, SourceId, SourceRecordId


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Which message of which source the resources come from, and when it is placed."""

    source_id: SourceId
    message_id: MessageId
    now_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """A resource with its hub id, its references pointing to hub ids.

    Attributes:
        owner: source record it is filed under when it names no patient itself.
        label_mask: labels it has, whatever its content says.
        stamp: when it was so; None = it holds whenever it comes (a write by FHIR).
        lifecycle: the order its status moves in.
        status_rank: the step its status is at, once that is known.
        since, undoes: see `hie.flow.visit`.
        adds: lists of which a patch says some entries only.
        is_rewritten: nobody said anything new: what is stored is written again, under other
            labels, another record or with other references.
    """

    type: str
    id: str
    resource: FhirJson
    mode: WriteMode = WriteMode.UPSERT
    owner: SourceRecordId | None = None
    label_mask: int = 0
    stamp: Stamp | None = None
    lifecycle: Lifecycle | None = None
    status_rank: int | None = None
    since: str = ""
    undoes: tuple[str, ...] = ()
    adds: tuple[str, ...] = ()
    is_rewritten: bool = False
