"""Alembic migrations of the ledger, run by `actors.ledger.store.upgrade`."""
