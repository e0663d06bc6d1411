"""A source record with its open link: what is read of it, and how a row becomes one."""

from typing import Any

from hie.kernel.ids import PersonId, SourceId, SourceRecordId
from mpi import tables
from mpi.model import Member

_link, _record = tables.identity_link, tables.source_record
#: Of the record's own row.
RECORD_COLUMNS = (
    _record.c.id,
    _record.c.source_id,
    _record.c.is_active,
    _record.c.key_id,
    _record.c.norm,
)
#: What a query for members selects, by these names, where it reads the links themselves.
COLUMNS = (_link.c.person_id, *RECORD_COLUMNS)


def member_of(row: Any) -> Member:
    """The member that a row of `COLUMNS` is."""
    return Member(
        record_id=SourceRecordId(row.id),
        person_id=PersonId(row.person_id),
        source_id=SourceId(row.source_id),
        is_active=row.is_active,
        key_id=row.key_id,
        sealed=row.norm or b"",
    )
