"""Tables of the authorization server."""

from sqlalchemy import BigInteger, Boolean, Column, LargeBinary, String, Table, Text

from hie.db import Key, metadata

access_token = Table(
    "access_token",
    metadata,
    Column("pk", Key, primary_key=True, autoincrement=False),
    Column("token_hash", LargeBinary(32), nullable=False, unique=True),
    Column("created_us", BigInteger, nullable=False),
    Column("expires_us", BigInteger, nullable=False, index=True),
    Column("revoked_us", BigInteger),
    Column("organization", String(200)),
    Column("user_name", String(200)),
    Column("patient", String(64), index=True),
    Column("purpose", String(20), nullable=False),
    Column("scopes", Text, nullable=False),
    Column("is_steward", Boolean, nullable=False),
    Column("amr", String(200)),
    Column("roles", String(700)),
)
