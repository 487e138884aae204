"""How the real world is reached."""

from __future__ import annotations

from actors.gateway.dial import KEPT_OPEN_S
from config.settings import Settings


def test_a_reading_each_period_keeps_the_connection_open_for_orders() -> None:
    """By default an order finds a connection that the last reconciliation used, two missed ones included."""
    assert Settings().execution.reconcile_s * 3 <= KEPT_OPEN_S < 60
