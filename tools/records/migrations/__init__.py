"""Alembic migrations, run by `sluice migrate`."""
