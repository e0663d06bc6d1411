"""Page links: sealed, so that nobody builds one, and bound to the caller (pure)."""

import base64
import binascii
from collections.abc import Sequence
from typing import Any, Final, Protocol
from urllib.parse import urlencode

import orjson

from hie.kernel.clock import instant
from hie.kernel.errors import HieError
from hie.staff.model import FLAG, LIST, TIME, Call, Field
from hie.staff.problem import at, invalid

PARAM: Final = "cursor"


class Sealer(Protocol):
    """Seals bytes for one place and opens them there only (`hie.crypto.DataKey`)."""

    def seal(self, plaintext: bytes, *, table: str, column: str, row: str) -> bytes:
        """Nonce and ciphertext."""
        ...

    def open(self, sealed: bytes, *, table: str, column: str, row: str) -> bytes:
        """The plaintext; HieError FAULT when changed or sealed for another place."""
        ...


def next_link(sealer: Sealer, call: Call, path: str, position: Sequence[Any]) -> str:
    """The address of the page that begins after a position."""
    sealed = sealer.seal(
        orjson.dumps(list(position)), table="staff", column=call.route.name, row=_who(call)
    )
    token = base64.urlsafe_b64encode(sealed).decode().rstrip("=")
    query = [
        (each.name, one)
        for each in call.route.query
        if each.name != PARAM and call.args[each.name] is not None
        for one in _spelled(each, call.args[each.name])
    ]
    return f"{path}?{urlencode([*query, (PARAM, token)])}"


def position_of(sealer: Sealer, call: Call) -> list[Any] | None:
    """Where the page asked for begins; None for the first.

    Raises:
        HieError: INVALID for a link that is not this caller's, or was changed.
    """
    token = call.args.get(PARAM)
    if not token:
        return None
    try:
        sealed = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
        opened = sealer.open(sealed, table="staff", column=call.route.name, row=_who(call))
        position: list[Any] = orjson.loads(opened)
    except (HieError, binascii.Error, ValueError) as error:
        text = "expected the `next` address of the page before, as given to this user"
        raise invalid([at("#/query/cursor", text)]) from error
    return position


def _who(call: Call) -> str:
    return f"{call.ctx.caller.organization}|{call.ctx.caller.user}"


def _spelled(field: Field, value: Any) -> list[str]:
    if field.kind == LIST:
        return list(value)
    if field.kind == TIME:
        return [instant(value)]
    return [("true" if value else "false") if field.kind == FLAG else str(value)]
