"""Every setting, its unit, its range and its default. Unknown keys are errors; hard ceilings cannot be raised.

Knows no actor. Names carry their unit last: `_pct` percent, `_s` seconds, `_ms` milliseconds, `_usd` dollars, `_x` multiples of equity.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from config.strategy import StrategyParams

Mode = Literal["backtest", "paper", "live"]
Environment = Literal["dev", "paper", "prod"]
Foreign = Literal["report", "adopt", "flatten"]

EARLIEST, LATEST = datetime(2002, 1, 1, tzinfo=UTC), datetime(2280, 1, 1, tzinfo=UTC)
"""Of a simulated market's first moment: candle files are read within these years, history included."""

HTTP_ADDRESS = r"^https?://[^@\s]+$"
WS_ADDRESS = r"^wss?://[^@\s]+$"
"""Without user or password: addresses are shown."""


class Section(BaseModel):
    """A group of settings: frozen, and refuses keys it does not know."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class SymbolSettings(Section):
    """A spot market that gives signals and the contract that is traded on them."""

    spot: str = Field(pattern=r"^[A-Z0-9]+/[A-Z]+$")
    futures: str = Field(pattern=r"^PF_[A-Z0-9]+$", description="a linear contract; inverse ones (PI_) are not traded")


class RiskSettings(Section):
    """How much may be lost, and what is refused before it can be."""

    risk_pct: Decimal = Field(Decimal("0.5"), gt=0, le=1, description="equity lost when a stop is hit, percent")
    leverage_cap: Decimal = Field(
        Decimal(10), gt=0, le=10, description="total notional / equity, a cap and never a target"
    )
    leverage_alert: Decimal = Field(Decimal(9), gt=0, le=10)
    exposure_max_x: Decimal = Field(Decimal(3), gt=0, le=10, description="total notional / equity of all positions")
    liquidation_buffer_pct: Decimal = Field(Decimal(35), ge=30, le=40, description="least distance mark to liquidation")
    basis_max_pct: Decimal = Field(Decimal("0.5"), gt=0, le=5, description="|spot - mark| / spot at entry")
    basis_on_wide: Literal["reject", "delay"] = Field(
        "reject",
        description="a signal met by a wide basis is refused, or waits while it is valid until the basis narrows",
    )
    basis_max_post_pct: Decimal = Field(Decimal("1.0"), gt=0, le=10, description="the same while a position is open")
    positions_max: int = Field(2, ge=1, le=20)
    daily_loss_max_pct: Decimal = Field(
        Decimal(2), gt=0, le=20, description="of equity at 00:00 UTC, realised + unrealised"
    )
    daily_loss_action: Literal["halt", "kill"] = Field(
        "halt", description="halt: no entries until the next day. kill: the kill switch"
    )
    drawdown_max_pct: Decimal = Field(
        Decimal(15), gt=0, le=50, description="from the highest equity seen; no increase beyond"
    )
    loss_streak_max: int = Field(3, ge=1, le=100)
    cooldown_h: int = Field(12, ge=0, le=720, description="no entries after a loss streak")
    mark_age_max_s: float = Field(3, gt=0, le=60)
    spot_age_max_s: float = Field(5, gt=0, le=60)
    basis_skew_max_s: float = Field(
        2, gt=0, le=60, description="spot and mark further apart in time than this give no basis"
    )
    spread_max_pct: Decimal = Field(Decimal("0.5"), gt=0, le=5, description="(ask - bid) / mark at entry")
    spread_wide_pct: Decimal = Field(
        Decimal(0), ge=0, le=5, description="from this spread on an entry is smaller and slips more; 0: off"
    )
    spread_wide_size_x: Decimal = Field(
        Decimal("0.5"), gt=0, le=1, description="share of its size that an entry keeps at a wide spread"
    )
    book_share_max_pct: Decimal = Field(
        Decimal(0), ge=0, le=1000, description="an entry is at most this share of what the best price holds; 0: off"
    )
    slippage_pct: Decimal = Field(Decimal(0), ge=0, le=5, description="expected on a market order, each way; a cost")
    slippage_wide_pct: Decimal = Field(Decimal(0), ge=0, le=5, description="the same at a wide spread")
    entries_per_day_max: int = Field(3, ge=1, le=100, description="a symbol and side, in 24 hours")
    taker_fee_pct: Decimal = Field(Decimal("0.05"), ge=0, le=1)
    maker_fee_pct: Decimal = Field(Decimal("0.02"), ge=-1, le=1)
    cost_max_r: Decimal = Field(
        Decimal("0.25"), gt=0, description="fees both ways and expected funding against the risked distance"
    )
    expected_hold_h: Decimal = Field(
        Decimal(72),
        gt=0,
        le=8760,
        description="hours a trade is open on average, each preset's own; funding is reckoned for so long, or for max_hold_bars if shorter",
    )
    funding_max_pct: Decimal = Field(Decimal("0.02"), gt=0, description="adverse relative funding rate an hour")
    funding_spike_x: Decimal = Field(
        Decimal(0), ge=0, le=100, description="refuse above so many times the mean of the last 24 hourly rates; 0: off"
    )


class ExecutionSettings(Section):
    """How orders are sent and how positions are protected."""

    protect_within_s: float = Field(5, gt=0, le=60, description="unprotected longer than this: flatten")
    process_before_s: float = Field(
        5, gt=0, le=30, description="an entry that arrives later is refused by the exchange"
    )
    request_timeout_s: float = Field(5, gt=0, le=60)
    entry_collar_pct: Decimal = Field(Decimal(2), gt=0, le=10)
    orders_per_minute: int = Field(10, ge=1, le=100, description="entries per symbol")
    order_notional_max_usd: Decimal = Field(Decimal(25_000), gt=0)
    reconcile_s: float = Field(15, ge=1, le=300)
    reconcile_after_s: float = Field(
        1, gt=0, le=300, description="the exchange is read so long after a fill, a lost order or a difference"
    )
    unknown_within_s: float = Field(60, ge=5, le=600)
    foreign_positions: Foreign = Field(
        "report", description="a position not of our making: report it, adopt it with a stop, or flatten it"
    )
    foreign_orders: Foreign = Field(
        "report", description="an order not of our making: report it, adopt (leave) it, or cancel it (flatten)"
    )
    adopt_stop_pct: Decimal = Field(Decimal(2), gt=0, le=15, description="stop of an adopted position, from the mark")


class KillSwitchSettings(Section):
    """What latches the kill switch by itself. Each cause is a row of `actors.kill_switch.causes`."""

    not_converging_s: float = Field(
        120, ge=15, le=3600, description="a difference with the exchange that we should have mended lasts so long"
    )
    auth_errors: int = Field(3, ge=1, le=10, description="refusals of our key in a row")
    api_errors: int = Field(10, ge=2, le=1000, description="failed requests in a row")
    data_failure_s: float = Field(
        600, ge=10, le=86_400, description="with a position open: no futures stream, or no exchange truth, for so long"
    )
    margin_critical_pct: Decimal = Field(
        Decimal(80),
        gt=0,
        le=100,
        description="maintenance margin of what backs it (collateral and unrealised) at which everything is closed",
    )


class FeedSettings(Section):
    """When a feed counts as lost and how it comes back."""

    spot_idle_s: float = Field(5, gt=0, le=120)
    futures_idle_s: float = Field(
        12, gt=0, le=120, description="in a quiet market nothing but a heartbeat each 10 s comes"
    )
    settle_ms: int = Field(3000, ge=0, le=60_000, description="wait after a candle's end before it counts as closed")
    request_timeout_s: float = Field(10, gt=0, le=60, description="spot REST answers and subscriptions")
    clock_off_max_s: float = Field(
        2, gt=0, le=5, description="this host's clock may be so far from the exchange's; beyond that entries are halted"
    )
    bar_late_s: float = Field(30, gt=0, le=600, description="closed candle not in hand after its end: ask by REST")


class MarketSettings(Section):
    """The simulated market of environment `dev` and of tests."""

    seed: int = Field(97, ge=0)
    speed: float = Field(300, gt=0, description="simulated seconds a second")
    tick_s: int = Field(1, ge=1, le=900, description="seconds between marks; what lies between two fires no stop")
    start: str = Field("2026-01-05T00:00:00Z", description="first moment of trading; history lies before it")
    equity_usd: Decimal = Field(Decimal(10_000), gt=0, description="paper balance")
    slippage_pct: Decimal = Field(Decimal("0.01"), ge=0, le=5)
    spread_pct: Decimal = Field(Decimal("0.01"), ge=0, le=5)
    slippage_range_share: Decimal = Field(
        Decimal(0), ge=0, le=1, description="of the last closed candle's range, added to the slippage: volatile is dear"
    )
    slippage_spread_share: Decimal = Field(
        Decimal(0), ge=0, le=5, description="of the spread, added to the slippage: a wide market is dear"
    )
    slippage_size_pct: Decimal = Field(
        Decimal(0),
        ge=0,
        le=5,
        description="added for an order as large as the turnover of the last closed candle; smaller ones by the root of their share",
    )
    spread_range_share: Decimal = Field(
        Decimal(0), ge=0, le=1, description="of the last closed candle's range, added to the spread"
    )
    fee_schedule: Literal["flat", "kraken"] = Field(
        "flat",
        description="flat: risk.taker_fee_pct and maker_fee_pct. kraken: tiers by the account's own 30-day volume",
    )
    latency_ms: int = Field(
        0, ge=0, le=2000, description="from a decision to the exchange, in backtests; one order of a symbol at a time"
    )
    depth_usd: Decimal | None = Field(
        None, gt=0, description="what the book holds at each price; a larger order fills in parts; none: endless"
    )
    limit_fills: Literal["touch", "through"] = Field(
        "through", description="a resting limit fills when the market touches its price, or only beyond it"
    )
    intrabar: Literal["pessimistic", "path"] = Field(
        "pessimistic",
        description="a candle that reaches stop and target: the stop comes first, or whatever the path inside says",
    )
    basis: Literal["static", "stochastic"] = Field(
        "static", description="of recorded spot candles without perpetual candles: fixed, or a seeded walk"
    )
    basis_pct: Decimal = Field(Decimal(0), ge=-5, le=5, description="mark above spot, for a static basis")
    funding: Literal["static", "stochastic"] = Field(
        "static", description="of recorded spot candles without funding rates: fixed, or a seeded walk"
    )
    funding_pct: Decimal = Field(
        Decimal(0), ge=-1, le=1, description="paid by longs an hour, for a static rate; 0: none is paid"
    )

    @field_validator("start")
    @classmethod
    def _is_midnight(cls, start: str) -> str:
        try:
            moment = datetime.fromisoformat(start)
        except ValueError:
            raise ValueError(f"{start!r} is no date: write 2026-01-05") from None
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        if (moment - EARLIEST) % timedelta(days=1) or not EARLIEST <= moment < LATEST:
            raise ValueError(f"{start!r} is no midnight UTC between {EARLIEST:%Y} and {LATEST:%Y}")
        return start


class ExchangeSettings(Section):
    """Where the exchange of mode `live` is. The key pair is no setting: see `actors.gateway.credentials`."""

    spot_url: str = Field("https://api.kraken.com", pattern=HTTP_ADDRESS)
    spot_ws_url: str = Field("wss://ws.kraken.com/v2", pattern=WS_ADDRESS)
    futures_url: str = Field("https://futures.kraken.com", pattern=HTTP_ADDRESS)
    futures_ws_url: str = Field("wss://futures.kraken.com/ws/v1", pattern=WS_ADDRESS)

    @property
    def addresses(self) -> tuple[str, ...]:
        """All four."""
        return self.spot_url, self.spot_ws_url, self.futures_url, self.futures_ws_url


class StoreSettings(Section):
    """Where state is kept. `database` empty: SQLite in `directory`."""

    directory: str = "state"
    database: str = Field(
        "", pattern=r"^$|^postgresql(\+psycopg)?://.+$", description="postgresql://user:password@host/name"
    )


class Settings(Section):
    """The whole configuration of one run."""

    mode: Mode = "paper"
    env: Environment = "dev"
    profile: str = "standard"
    symbols: tuple[SymbolSettings, ...] = (
        SymbolSettings(spot="BTC/USD", futures="PF_XBTUSD"),
        SymbolSettings(spot="ETH/USD", futures="PF_ETHUSD"),
    )
    strategy: StrategyParams = StrategyParams()
    risk: RiskSettings = RiskSettings()
    execution: ExecutionSettings = ExecutionSettings()
    kill_switch: KillSwitchSettings = KillSwitchSettings()
    feeds: FeedSettings = FeedSettings()
    market: MarketSettings = MarketSettings()
    exchange: ExchangeSettings = ExchangeSettings()
    store: StoreSettings = StoreSettings()

    @field_validator("symbols")
    @classmethod
    def _each_once(cls, symbols: tuple[SymbolSettings, ...]) -> tuple[SymbolSettings, ...]:
        for name, values in (("spot", [s.spot for s in symbols]), ("futures", [s.futures for s in symbols])):
            if len(set(values)) != len(values):
                raise ValueError(f"a {name} market is named twice")
        if not symbols:
            raise ValueError("at least one is needed")
        return symbols

    @model_validator(mode="after")
    def _consistent(self) -> Settings:
        waited, asked = self.feeds.settle_ms, self.strategy.settle_ms
        if asked not in (waited, StrategyParams.model_fields["settle_ms"].default):
            raise ValueError(
                f"strategy.settle_ms: {asked} is not feeds.settle_ms ({waited}), by which candles wait: set both"
            )
        return self

    @property
    def futures_of(self) -> dict[str, str]:
        """Spot symbol -> futures symbol."""
        return {s.spot: s.futures for s in self.symbols}

    @property
    def spot_of(self) -> dict[str, str]:
        """Futures symbol -> spot symbol."""
        return {s.futures: s.spot for s in self.symbols}
