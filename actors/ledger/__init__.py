"""The ledger: what happened, written down before it has effect, and tables a person can ask.

`open_ledger` for the one process that writes, `open_reader` for everyone who asks, `open_latch` for the kill switch
when the daemon is down.
"""

from actors.ledger.journal import Ledger, open_latch, open_ledger, open_reader
from actors.ledger.queries import Reader
from actors.ledger.store import NoLedger, SecondInstance, database_url
