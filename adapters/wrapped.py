"""Where the journal keeps data keys that a wrapping key seals: for `hie.rewrap`."""

from typing import Final

from adapters.tables import inbound_batch, inbound_message
from hie.keystore import CARRIED
from hie.rewrap import Wrapped

#: A message's key, until it is known whose the message is; then that record's key wraps it.
COLUMNS: Final = (
    Wrapped(
        name="messages",
        table=inbound_message,
        pk=inbound_message.c.pk,
        wrapped=inbound_message.c.wrapped,
        where=inbound_message.c.wrapped_by.is_(None),
        place=lambda _: CARRIED,
    ),
    Wrapped(
        name="batches",
        table=inbound_batch,
        pk=inbound_batch.c.pk,
        wrapped=inbound_batch.c.wrapped,
        place=lambda _: CARRIED,
    ),
)
