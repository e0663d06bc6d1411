"""The privacy part of the staff API as one table, put together from its sections."""

from typing import Final

from hie.staff.model import Route
from hie.staff.privacy import accounts, consents, emergencies, keys, previews, proxies

ROUTES: Final[tuple[Route, ...]] = (
    *consents.ROUTES,
    *previews.ROUTES,
    *proxies.ROUTES,
    *emergencies.ROUTES,
    *accounts.ROUTES,
    *keys.ROUTES,
)
