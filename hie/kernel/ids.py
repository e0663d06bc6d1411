"""Own types for the identifiers that cross package borders."""

from typing import NewType

#: A sending facility and application, named by its file in `config/sources/`.
SourceId = NewType("SourceId", str)
#: One source's record of someone; also the FHIR id of that source's `Patient`.
SourceRecordId = NewType("SourceRecordId", str)
#: The human, as the master patient index believes; the FHIR id of the golden `Patient`.
PersonId = NewType("PersonId", str)
#: The FHIR id of a resource, assigned by the hub.
ResourceId = NewType("ResourceId", str)
#: An `Organization`'s FHIR id: what consent actors and tokens name.
OrganizationId = NewType("OrganizationId", str)
#: One journaled message.
MessageId = NewType("MessageId", int)
