"""The ledger: what happened, written down before it has effect, and tables a person can ask.

`journal.open_ledger` for the one process that writes, `journal.open_reader` for everyone who asks, `journal.open_latch` for the
kill switch when the daemon is down. Nothing is imported here: a backtest seals `pages` and needs no database.
"""
