"""Alembic's entry: the MetaData of every package, and the connection it is handed."""

from alembic import context

# ruff: noqa: F401 - importing a table registers it
import adapters.tables
import consent.tables
import hie.audit.tables
import hie.auth.tables
import hie.consents.tables
import hie.corrections.tables
import hie.emergencies.tables
import hie.exports.tables
import hie.feeds.tables
import hie.keystore
import hie.notify.tables
import hie.proxies.tables
import hie.raised.tables
import hie.staff.tables
import hie.store.tables
import hie.subscriptions.tables
import hie.tasks.tables
import hie.translations.tables
import mpi.tables
from hie.db import metadata

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    render_as_batch=connection.dialect.name == "sqlite",
    transaction_per_migration=False,
)
with context.begin_transaction():
    context.run_migrations()
