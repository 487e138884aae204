"""Alembic's entry: migrates over the connection it is handed, in that connection's transaction."""

from __future__ import annotations

from alembic import context

from actors.ledger.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
context.run_migrations()
