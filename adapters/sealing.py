"""How the journal's rows are sealed, and the small texts that stand beside the sealed values."""

import json
import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from sqlalchemy.ext.asyncio import AsyncConnection

from hie.crypto import DataKey
from hie.kernel.envelope import Finding, Severity
from hie.keystore import KeyStore

MESSAGES: Final = "inbound_message"
_KEY_PLACE: Final = "wrapped"
_ANSWER_CODE: Final = re.compile(rb'(?:\rMSA.([A-Z]{2}))|(?:^{"status": (\d{3}))')


def seal(key: DataKey, column: str, pk: int, value: bytes, *, table: str = MESSAGES) -> bytes:
    """A value sealed for one place of a row."""
    return key.seal(value, table=table, column=column, row=str(pk))


def unseal(key: DataKey, column: str, pk: int, sealed: bytes, *, table: str = MESSAGES) -> bytes:
    """The value that `seal` sealed for that place."""
    return key.open(sealed, table=table, column=column, row=str(pk))


async def row_key(
    keys: KeyStore, conn: AsyncConnection, pk: int, wrapped: bytes, wrapped_by: int | None
) -> DataKey:
    """The own key of a message's row.

    Raises:
        HieError: GONE when the source record was erased, and the message with it.
    """
    if wrapped_by is None:
        return keys.carried(wrapped)
    owner = await keys.by_id(conn, wrapped_by)
    return DataKey(0, owner.open(wrapped, table=MESSAGES, column=_KEY_PLACE, row=str(pk)))


def rewrap(key: DataKey, owner: DataKey, pk: int) -> bytes:
    """A row's own key, wrapped by the key of the source record it is about."""
    return owner.seal(key.secret, table=MESSAGES, column=_KEY_PLACE, row=str(pk))


def answer_code(answer: bytes) -> str:
    """MSA-1 of an acknowledgement, or the status of a stored HTTP answer."""
    found = _ANSWER_CODE.search(answer)
    return (found[1] or found[2]).decode() if found else ""


def findings_text(findings: Sequence[Finding]) -> str:
    """Findings as JSON."""
    return "[" + ", ".join(map(_finding_text, findings)) + "]"


def read_findings(text: str) -> tuple[Finding, ...]:
    """The findings of `findings_text`."""
    return tuple(
        Finding(**{**row, "severity": Severity(row["severity"])}) for row in json.loads(text)
    )


@lru_cache(maxsize=4096)
def _finding_text(finding: Finding) -> str:
    """One finding; a sender makes the same remarkable choices in every message."""
    return json.dumps({name: getattr(finding, name) for name in Finding.__dataclass_fields__})
