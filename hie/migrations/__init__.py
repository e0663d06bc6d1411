"""Alembic migrations, the only reader of every package's tables."""
