"""A transaction that is tried again where it lost against another one."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from sqlalchemy.exc import TimeoutError as NoConnectionFree

from hie.db import is_passing
from hie.kernel.errors import Category, HieError

T = TypeVar("T")
_TRIES: Final = 4


async def tried(once: Callable[[], Awaitable[T]]) -> T:
    """What a transaction gives; one that lost against another process begins anew.

    Raises:
        HieError: what it raises; BUSY where it lost each time.
    """
    for attempt in range(_TRIES):
        try:
            return await once()
        except NoConnectionFree:
            raise  # the wait for a connection was long enough
        except Exception as error:
            if not is_passing(error):
                raise
            if attempt == _TRIES - 1:
                text = "the database is busy; send it again"
                raise HieError(Category.BUSY, text) from error
        await asyncio.sleep(random.uniform(0.01, 0.05) * 2**attempt)  # noqa: S311 - only spreads load
    raise AssertionError("the last try returns or raises")
