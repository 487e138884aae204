"""Every recorded payload becomes a typed value or a typed error. The recordings may be absent; the project's own payloads are not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from protocol.kraken import account, batch, futures_rest, futures_ws, markets, orders, spot
from protocol.kraken.wire import MalformedPayload, Parsed, Refused, encode
from tests.fakes.kraken_payloads import AT, CANCEL, EDIT, ORDER, PLACE, READERS

SHARED = Path(__file__).parents[2].parent / "shared"
FOLDERS = (SHARED / "kraken", SHARED / "data" / "kraken_messages")
NO_PAYLOAD = ("auth-vectors",)
"""Signature vectors: test_kraken_signing reads them."""
Reader = Callable[[bytes], Any]


def answer_to(command: orders.Command) -> Reader:
    """A reader of answers to `command`."""
    return lambda data: orders.parse_answer(command, data, AT)


BY_PREFIX: tuple[tuple[str, Reader], ...] = (
    ("futures_rest_accounts", futures_rest.parse_accounts),
    ("futures_rest_batchorder", lambda data: batch.parse_batch([PLACE, CANCEL], data, AT)),
    ("futures_rest_cancelallordersafter", account.parse_cancel_all_after),
    ("futures_rest_cancelallorders", orders.parse_cancel_all),
    ("futures_rest_cancelorder", answer_to(CANCEL)),
    ("futures_rest_candles", markets.parse_chart),
    ("http_futures_candles", markets.parse_chart),
    ("futures_rest_editorder", answer_to(EDIT)),
    ("futures_rest_error", futures_rest.parse_open_orders),
    ("futures_rest_feeschedules", markets.parse_fee_schedules),
    ("futures_rest_fills", futures_rest.parse_fills),
    ("futures_rest_historical_funding_rates", markets.parse_funding_rates),
    ("futures_rest_instruments_status", markets.parse_instruments_status),
    ("futures_rest_instruments", futures_rest.parse_instruments),
    ("futures_rest_leveragepreferences", account.parse_leverage_preferences),
    ("futures_rest_market_executions", lambda data: markets.parse_market_executions(data, "PF_XBTUSD")),
    ("futures_rest_notifications", markets.parse_notifications),
    ("futures_rest_openorders", futures_rest.parse_open_orders),
    ("futures_rest_openpositions", futures_rest.parse_open_positions),
    ("futures_rest_orderbook", lambda data: markets.parse_order_book(data, "PF_XBTUSD")),
    ("futures_rest_orders_status", futures_rest.parse_orders_status),
    ("futures_rest_pnlpreferences", account.parse_pnl_preferences),
    ("futures_rest_sendorder", answer_to(PLACE)),
    ("futures_rest_tickers", lambda data: futures_rest.parse_tickers(data, AT)),
    ("futures_ws", lambda data: futures_ws.parse_futures_frame(data, AT, {ORDER.order_id: ORDER})),
    ("ws_futures", lambda data: futures_ws.parse_futures_frame(data, AT)),
    ("spot_rest_assetpairs", spot.parse_asset_pairs),
    ("spot_rest_error", spot.parse_time),
    ("spot_rest_ohlc", lambda data: spot.parse_ohlc(data, "BTC/USD", "15m", AT)),
    ("spot_rest_systemstatus", spot.parse_system_status),
    ("spot_rest_ticker", lambda data: spot.parse_ticker(data, "BTC/USD")),
    ("spot_rest_time", spot.parse_time),
    ("spot_ws", lambda data: spot.parse_spot_frame(data, AT)),
)
UNTYPED = (spot.SpotOther, futures_ws.FuturesOther)


def recordings() -> list[Path]:
    """Every recorded payload that is at hand."""
    files = [file for folder in FOLDERS if folder.exists() for file in sorted(folder.glob("*.json"))]
    return [file for file in files if file.stem not in NO_PAYLOAD]


@pytest.mark.parametrize("file", recordings() or [None], ids=lambda file: file.stem if file else "absent")
def test_a_recording_is_a_typed_value_or_a_typed_error(file: Path | None) -> None:
    """Each file has a reader, and what it gives is no frame of an unknown kind."""
    if file is None:
        pytest.skip("the recorded payloads are not at hand")
    reader = next((reader for prefix, reader in BY_PREFIX if file.stem.startswith(prefix)), None)
    assert reader is not None, f"no reader for {file.stem}"
    try:
        value = reader(file.read_bytes())
    except (Refused, MalformedPayload):
        assert "_error" in file.stem
        return
    assert not isinstance(value, UNTYPED)
    if isinstance(value, Parsed):
        assert value.values or value.quarantined


@pytest.mark.parametrize("name", READERS)
def test_a_payload_of_our_own_is_a_typed_value_or_a_typed_error(name: str) -> None:
    """Without any recording each type is still covered, and nothing of it is set aside."""
    payload, reader = READERS[name]
    try:
        value = reader(encode(payload))
    except Refused:
        assert "refused" in name
        return
    assert not isinstance(value, UNTYPED)
    assert not getattr(value, "quarantined", ())
