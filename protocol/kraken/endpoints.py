"""Addresses, symbol spellings and what each call costs. Constants and look-ups only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from protocol.units import Timeframe

SPOT_REST_URL: Final = "https://api.kraken.com"
SPOT_WS_URL: Final = "wss://ws.kraken.com/v2"
FUTURES_REST_URL: Final = "https://futures.kraken.com"
FUTURES_WS_URL: Final = "wss://futures.kraken.com/ws/v1"

SPOT_WS_PATH: Final = "/v2"
FUTURES_WS_PATH: Final = "/ws/v1"

# --- spot REST -----------------------------------------------------------------------------------------------
OHLC: Final = "/0/public/OHLC"
SPOT_TICKER: Final = "/0/public/Ticker"
SPOT_TRADES: Final = "/0/public/Trades"
TIME: Final = "/0/public/Time"
SYSTEM_STATUS: Final = "/0/public/SystemStatus"
ASSET_PAIRS: Final = "/0/public/AssetPairs"

SPOT_CALLS_BURST: Final = 15
SPOT_CALLS_A_SECOND: Final = 1
"""Public calls cost 1 each, counted per address. Kraken publishes one a second as safe and no counter; the burst is its smallest private one."""

# --- futures REST --------------------------------------------------------------------------------------------
API: Final = "/derivatives/api/v3"
INSTRUMENTS: Final = f"{API}/instruments"
TICKERS: Final = f"{API}/tickers"
ACCOUNTS: Final = f"{API}/accounts"
OPEN_POSITIONS: Final = f"{API}/openpositions"
OPEN_ORDERS: Final = f"{API}/openorders"
FILLS: Final = f"{API}/fills"
ORDERS_STATUS: Final = f"{API}/orders/status"
SEND_ORDER: Final = f"{API}/sendorder"
EDIT_ORDER: Final = f"{API}/editorder"
CANCEL_ORDER: Final = f"{API}/cancelorder"
CANCEL_ALL_ORDERS: Final = f"{API}/cancelallorders"
CANCEL_ALL_AFTER: Final = f"{API}/cancelallordersafter"
BATCH_ORDER: Final = f"{API}/batchorder"
INSTRUMENTS_STATUS: Final = f"{API}/instruments/status"
ORDER_BOOK: Final = f"{API}/orderbook"
TRADE_HISTORY: Final = f"{API}/history"
FUNDING_RATES: Final = f"{API}/historical-funding-rates"
FUNDING_RATES_V4: Final = "/derivatives/api/v4/historicalfundingrates"
FEE_SCHEDULES: Final = f"{API}/feeschedules"
FEE_VOLUMES: Final = f"{API}/feeschedules/volumes"
LEVERAGE_PREFERENCES: Final = f"{API}/leveragepreferences"
PNL_PREFERENCES: Final = f"{API}/pnlpreferences"
NOTIFICATIONS: Final = f"{API}/notifications"
CHARTS: Final = "/api/charts/v1"
"""`/{tick type}/{symbol}/{resolution}`."""
HISTORY: Final = "/api/history"
ACCOUNT_LOG: Final = "/api/history/v3/account-log"
MARKET_EXECUTIONS: Final = "/api/history/v2/market/{symbol}/executions"

COST_WINDOW_S: Final = 10
COST_BUDGET: Final = 500
COST: Final[Mapping[str, int]] = {
    INSTRUMENTS: 0,
    TICKERS: 0,
    ACCOUNTS: 2,
    OPEN_POSITIONS: 2,
    OPEN_ORDERS: 2,
    FILLS: 2,
    ORDERS_STATUS: 1,
    SEND_ORDER: 10,
    EDIT_ORDER: 10,
    CANCEL_ORDER: 10,
    CANCEL_ALL_ORDERS: 25,
    CANCEL_ALL_AFTER: 25,
    BATCH_ORDER: 9,
    INSTRUMENTS_STATUS: 0,
    ORDER_BOOK: 0,
    TRADE_HISTORY: 0,
    FUNDING_RATES: 0,
    FEE_SCHEDULES: 0,
    LEVERAGE_PREFERENCES: 2,
    PNL_PREFERENCES: 2,
    NOTIFICATIONS: 0,
}
"""A private path that is not here costs 1; `BATCH_ORDER` one more for each row."""
COST_PREFERENCE_SET: Final = 10
"""PUT of leverage and pnl preferences."""
HISTORY_POOL: Final = 100
HISTORY_WINDOW_S: Final = 600
"""The history API has a pool of its own, refilled over ten minutes."""
COST_ACCOUNT_LOG: Final = ((25, 1), (50, 2), (1000, 3), (5000, 6), (100_000, 10))
"""(rows asked for at most, cost)."""
COST_FILLS_PAGED: Final = 25
"""`fills` with `lastFillTime`."""

# --- futures WebSocket ----------------------------------------------------------------------------------------
FEED_TICKER: Final = "ticker"
FEED_HEARTBEAT: Final = "heartbeat"
FEED_OPEN_ORDERS: Final = "open_orders"
FEED_FILLS: Final = "fills"
FEED_OPEN_POSITIONS: Final = "open_positions"
FEED_BALANCES: Final = "balances"
FEED_TICKER_LITE: Final = "ticker_lite"
FEED_TRADE: Final = "trade"
FEED_BOOK: Final = "book"
FEED_OPEN_ORDERS_VERBOSE: Final = "open_orders_verbose"
FEED_ACCOUNT_LOG: Final = "account_log"
FEED_NOTIFICATIONS: Final = "notifications_auth"
PRIVATE_FEEDS: Final = (FEED_OPEN_ORDERS, FEED_FILLS, FEED_OPEN_POSITIONS, FEED_BALANCES)
PING_WITHIN_S: Final = 60
"""Kraken closes a futures connection that sends no ping for this long."""

# --- spelling --------------------------------------------------------------------------------------------------
INTERVAL_MINUTES: Final[Mapping[Timeframe, int]] = {"15m": 15, "1h": 60, "4h": 240, "1d": 1440}
TIMEFRAME: Final[Mapping[int, Timeframe]] = {minutes: name for name, minutes in INTERVAL_MINUTES.items()}
BASE_INTERVAL: Final = INTERVAL_MINUTES["15m"]

_OLD_BASE: Final[Mapping[str, str]] = {"BTC": "XBT", "DOGE": "XDG"}
_NEW_BASE: Final[Mapping[str, str]] = {old: new for new, old in _OLD_BASE.items()}


def spot_rest_pair(symbol: str) -> str:
    """`BTC/USD` as spot REST asks for it: `XBTUSD`."""
    base, _, quote = symbol.partition("/")
    return _OLD_BASE.get(base, base) + quote


def spot_symbol(wsname: str) -> str:
    """`XBT/USD` (AssetPairs `wsname`) as WebSocket v2 and this system spell it: `BTC/USD`."""
    base, _, quote = wsname.partition("/")
    return f"{_NEW_BASE.get(base, base)}/{quote}"
