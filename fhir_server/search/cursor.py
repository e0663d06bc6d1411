"""Page links: sealed, so that they tell nothing and fit nobody else's search (pure).

A token holds where the next page starts and the whole query, encrypted and bound to the
caller; a next link therefore repeats no search value in clear.
"""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol

import orjson

from hie.kernel.context import Caller
from hie.kernel.errors import Category, HieError

CURSOR_PARAM: Final = "_cursor"


class Sealer(Protocol):
    """Seals bytes for one place and opens them there only (`hie.crypto.DataKey`)."""

    def seal(self, plaintext: bytes, *, table: str, column: str, row: str) -> bytes:
        """Nonce and ciphertext."""
        ...

    def open(self, sealed: bytes, *, table: str, column: str, row: str) -> bytes:
        """The plaintext; HieError FAULT when changed or sealed for another place."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where in a search, history or operation a page starts.

    Attributes:
        position: what the repository wrote.
        params: the parameters of the first request, without the cursor.
        at_us: when that was: what "about now" means must not move from page to page.
        is_lenient: whether it let unknown parameters be passed over.
    """

    position: str
    params: tuple[tuple[str, str], ...] = ()
    at_us: int = 0
    is_lenient: bool = False


def seal(place: Place, sealer: Sealer, caller: Caller, address: str) -> str:
    """The token of a place.

    Args:
        place: where the next page starts.
        sealer: the hub's key for cursors.
        caller: who may use it.
        address: path the token belongs to, `Observation` or `Patient/1/$everything`.
    """
    plain = orjson.dumps([place.position, place.params, place.at_us, place.is_lenient])
    sealed = sealer.seal(plain, table="cursor", column=address, row=_bound_to(caller))
    return _written(sealed)


def open_token(token: str, sealer: Sealer, caller: Caller, address: str) -> Place:
    """The place of a token.

    Raises:
        HieError: INVALID when it was changed, or made for another caller or address.
    """
    try:
        plain = sealer.open(_read(token), table="cursor", column=address, row=_bound_to(caller))
        position, params, at_us, is_lenient = orjson.loads(plain)
    except (HieError, binascii.Error, ValueError) as error:
        text = f"`{CURSOR_PARAM}`: expected a page link of this hub, as given to this caller"
        raise HieError(Category.INVALID, text) from error
    asked = tuple((name, value) for name, value in params)
    return Place(position=position, params=asked, at_us=at_us, is_lenient=is_lenient)


def _written(sealed: bytes) -> str:
    return base64.urlsafe_b64encode(sealed).decode().rstrip("=")


def _read(token: str) -> bytes:
    sealed = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True)
    if _written(sealed) != token:
        raise ValueError("there are bits behind the last byte")
    return sealed


def _bound_to(caller: Caller) -> str:
    # Not the token: a client may refresh it between two pages.
    who: Sequence[Any] = (caller.organization, caller.user, caller.patient, caller.purpose)
    return orjson.dumps(who).decode()
