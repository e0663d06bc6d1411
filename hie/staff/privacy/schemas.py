"""The shapes of what the privacy part of the staff API answers; names as in its routes."""

from typing import Final

from hie.staff.privacy import (
    account_schemas,
    consent_schemas,
    emergency_schemas,
    key_schemas,
    previews,
    proxy_schemas,
)
from hie.staff.shapes import Schema

SCHEMAS: Final[dict[str, Schema]] = {
    **emergency_schemas.SCHEMAS,
    **account_schemas.SCHEMAS,
    **consent_schemas.SCHEMAS,
    **previews.SCHEMAS,
    **proxy_schemas.SCHEMAS,
    **key_schemas.SCHEMAS,
}
