"""Every figure of a report is made a second time from the trades' own executions, the marks and what was said, by other means.

`AGAIN` and `ROW` name each field of the document and of a trade: one that is in neither, nor among what is given, fails.
"""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import Decimal
from functools import cached_property
from html import escape
from itertools import accumulate, pairwise
from typing import Any

import pytest

from protocol.messages.futures import EnterPosition, EntryBlocked, Filled, Protected, SignalRefused, TradeClosed
from protocol.messages.signal import Signal
from protocol.units import DAY_US, HOUR_US
from sim.market.track import BAR_US
from sim.report.account import Execution
from sim.report.bootstrap import LEAST, intervals
from sim.report.breakdown import falls
from sim.report.document import Findings, find
from sim.report.html import report
from sim.report.prose import GAPS, INTRABAR, LIMITS, assumed_text
from tests.fakes.backtests import Ran, busy_backtest, real_backtest

pytestmark = pytest.mark.slow

MONEY = ("gross", "slippage", "fees", "funding", "net")
ZERO = Decimal(0)


@pytest.fixture(scope="module", params=["synthetic", "real"])
def ran(request: pytest.FixtureRequest) -> Ran:
    """The run: a busy one on the synthetic market, and three weeks of real candles with the real basis and the real funding."""
    if request.param == "synthetic":
        return busy_backtest()
    found = real_backtest()
    if found is None:
        pytest.skip("../shared/data is not here")
    return found


@pytest.fixture(scope="module")
def found(ran: Ran) -> Findings:
    """What is said of it."""
    return find(*ran, {"basis": "", "funding": "", "path": ""})


@pytest.fixture(scope="module")
def document(found: Findings) -> dict[str, Any]:
    """The document of `--json`."""
    return found.document


@pytest.fixture(scope="module")
def again(ran: Ran) -> Again:
    """The same, made a second time."""
    return Again(ran)


# --- a trade, a second time ------------------------------------------------------------------------------------------------


class Trade:
    """One trade from its fills alone; `told` are the messages about it."""

    def __init__(self, ran: Ran, entry: EnterPosition, fills: list[Filled], closed: TradeClosed | None) -> None:
        self.ran, self.entry, self.fills, self.closed = ran, entry, fills, closed
        self.track = next(t for t in ran.tape.tracks.values() if t.instrument.symbol == entry.symbol)
        self.way = 1 if entry.side == "long" else -1
        self.end = closed.at if closed else ran.tape.end_us
        self.signal = next(m for m in ran.result.of(Signal) if m.id == entry.signal_id)
        kept = [m for m in ran.result.of(Protected) if m.trade_id == entry.signal_id]
        self.protected = kept[0] if kept else None

    @cached_property
    def legs(self) -> list[tuple[int, Decimal, Decimal, Decimal]]:
        """(moment, signed size, price, mark) of each fill."""
        signed = [m.fill.size * (1 if m.fill.side == "buy" else -1) for m in self.fills]
        marks = [self.ran.tape.tick(self.entry.symbol, m.at).mark for m in self.fills]
        return [(m.at, size, m.fill.price, mark) for m, size, mark in zip(self.fills, signed, marks, strict=True)]

    def side_of(self, way: int) -> list[tuple[Decimal, Decimal]]:
        """(size, price) of the fills that open (way) or close (-way)."""
        return [(abs(size), price) for _, size, price, _ in self.legs if size * way > 0]

    @property
    def size(self) -> Decimal:
        return sum((size for size, _ in self.side_of(self.way)), ZERO)

    @property
    def entry_price(self) -> Decimal:
        return sum((size * price for size, price in self.side_of(self.way)), ZERO) / self.size

    @property
    def last_mark(self) -> Decimal:
        return self.ran.tape.tick(self.entry.symbol, self.end).mark

    @property
    def exit_price(self) -> Decimal:
        if self.closed is None:
            return self.last_mark
        return sum((size * price for size, price in self.side_of(-self.way)), ZERO) / self.size

    def worth(self, until: int) -> Decimal:
        """Fees, funding and price moves up to a moment, the open rest at its mark."""
        legs = [leg for leg in self.legs if leg[0] <= until]
        held = sum((size for _, size, _, _ in legs), ZERO)
        mark = self.ran.tape.tick(self.entry.symbol, until).mark if held else ZERO
        cash = -sum((size * price for _, size, price, _ in legs), ZERO)
        fees = sum((abs(size) * price for _, size, price, _ in legs), ZERO) * Decimal("0.0005")
        return cash + held * mark - fees - self.funding(until)

    def funding(self, until: int) -> Decimal:
        """Paid second by second at the rate that each hour's first mark fixes: hour by hour, fill by fill."""
        paid = ZERO
        legs = [leg for leg in self.legs if leg[0] <= until]
        stops = [*(at for at, *_ in legs), min(until, self.end)]
        for (since, *_), stop, held in zip(legs, stops[1:], accumulate(size for _, size, _, _ in legs), strict=True):
            hour = (since - 1) // HOUR_US * HOUR_US
            while held and hour < stop:
                rate, index = self.ran.tape.funding_terms(self.entry.symbol, hour + 1)
                span = min(stop, hour + HOUR_US + 1) - max(since, hour + 1)
                paid += held * rate * index * max(span, 0) / HOUR_US
                hour += HOUR_US
        return paid

    @property
    def gross(self) -> Decimal:
        moved = -sum((size * mark for _, size, _, mark in self.legs), ZERO)
        return moved + sum((size for _, size, _, _ in self.legs), ZERO) * self.last_mark

    @property
    def slippage(self) -> Decimal:
        return sum((size * (price - mark) for _, size, price, mark in self.legs), ZERO)

    @property
    def fees(self) -> Decimal:
        return sum((abs(size) * price for _, size, price, _ in self.legs), ZERO) * Decimal("0.0005")

    @property
    def net(self) -> Decimal:
        return self.gross - self.slippage - self.fees - self.funding(self.end)

    @property
    def risk(self) -> Decimal:
        assert self.protected is not None
        return abs(self.entry_price - self.protected.stop_price) * self.size

    def excursion(self, worst: bool) -> float:
        """What a look each second finds, in R."""
        begin = self.legs[0][0]
        looks = [self.track.mark(at) for at in (*range(begin, self.end, 1_000_000), self.end)]
        runs = [(mark - float(self.entry_price)) * self.way / float(self.risk / self.size) for mark in looks]
        return min(runs) if worst else max(runs)


ROW: dict[str, Callable[[Trade], Any]] = {
    "trade_id": lambda t: t.signal.id,
    "symbol": lambda t: t.entry.symbol,
    "spot_symbol": lambda t: t.signal.symbol,
    "timeframe": lambda t: t.signal.timeframe,
    "side": lambda t: t.signal.side,
    "size": lambda t: t.size,
    "opened_at": lambda t: t.legs[0][0],
    "closed_at": lambda t: t.closed.at if t.closed else None,
    "entry_price": lambda t: t.entry_price,
    "exit_price": lambda t: t.exit_price,
    "stop_price": lambda t: t.protected.stop_price if t.protected else None,
    "target_price": lambda t: t.protected.target_price if t.protected else None,
    "reason": lambda t: t.closed.reason if t.closed else "open",
    "zone_id": lambda t: t.signal.zone_id,
    "leverage_x": lambda t: t.entry.leverage,
    "gross_usd": lambda t: t.gross,
    "slippage_usd": lambda t: t.slippage,
    "fees_usd": lambda t: t.fees,
    "funding_usd": lambda t: t.funding(t.end),
    "net_usd": lambda t: t.net,
    "risk_usd": lambda t: t.risk,
    "net_r": lambda t: t.net / t.risk,
    "fills": lambda t: len(t.fills),
    "pnl_usd": lambda t: t.gross - t.slippage - t.fees,
    "r_multiple": lambda t: (t.gross - t.slippage - t.fees) / t.risk,
}
ROW_LOOKED: dict[str, Callable[[Trade], float]] = {
    "mae_r": lambda t: t.excursion(worst=True),
    "mfe_r": lambda t: t.excursion(worst=False),
}
"""A look each second sees nearly as far as the report, never further."""
ROW_GIVEN = {"type", "id", "cause", "at"}
"""Of the message that told the end."""


# --- the document, a second time ----------------------------------------------------------------------------------------------


class Again:
    """All that can be said of a run, from what was said in it and the marks."""

    def __init__(self, ran: Ran) -> None:
        self.ran = ran
        self.start, self.end = ran.tape.start_us, ran.tape.end_us
        self.start_usd = ran.settings.market.equity_usd
        self.trades, self.open = self._trades()

    def _trades(self) -> tuple[list[Trade], list[Trade]]:
        entries: dict[str, EnterPosition] = {}
        fills: defaultdict[str, list[Filled]] = defaultdict(list)
        closed = []
        for message in self.ran.result.messages:
            if isinstance(message, EnterPosition):
                entries[message.symbol] = message
            elif isinstance(message, Filled):
                fills[message.fill.symbol].append(message)
            elif isinstance(message, TradeClosed):
                closed.append(Trade(self.ran, entries[message.symbol], fills.pop(message.symbol), message))
        return closed, [Trade(self.ran, entries[symbol], those, None) for symbol, those in fills.items()]

    @cached_property
    def points(self) -> list[tuple[int, float]]:
        """Equity at each boundary: the start, all trades that are over, and those that are open as they stand."""
        done = {id(trade): trade.net for trade in self.trades}
        found = []
        for at in range(self.start, self.end + 1, BAR_US):
            look = at + 10  # microseconds later every symbol has shown its mark
            usd = self.start_usd
            for trade in (*self.trades, *self.open):
                if trade.closed is not None and trade.closed.at <= look:
                    usd += done[id(trade)]
                elif trade.legs[0][0] <= look:
                    usd += trade.worth(look)
            found.append((at, float(usd)))
        return found

    @cached_property
    def returns(self) -> list[float]:
        midnights = [usd for at, usd in self.points if at % DAY_US == 0]
        return [after / before - 1 for before, after in pairwise(midnights)]

    @property
    def end_usd(self) -> Decimal:
        return self.start_usd + sum((trade.net for trade in (*self.trades, *self.open)), ZERO)

    @property
    def nets(self) -> list[Decimal]:
        return [trade.net for trade in self.trades]

    @property
    def multiples(self) -> list[Decimal]:
        return [trade.net / trade.risk for trade in self.trades]

    def group(self, trades: list[Trade]) -> dict[str, Any]:
        nets = [trade.net for trade in trades]
        won, lost = sum(net for net in nets if net > 0), -sum(net for net in nets if net < 0)
        sums = ((name, [getattr(t, name) if name != "funding" else t.funding(t.end) for t in trades]) for name in MONEY)
        return {
            "trades": len(trades),
            **{f"{name}_usd": sum(values, ZERO) for name, values in sums},
            "win_rate_pct": 100 * sum(net > 0 for net in nets) / len(nets),
            "profit_factor": won / lost if lost else None,
            "expectancy_r": statistics.mean(trade.net / trade.risk for trade in trades),
        }

    def cut(self, key: Callable[[Trade], str]) -> dict[str, Any]:
        filed: defaultdict[str, list[Trade]] = defaultdict(list)
        for trade in self.trades:
            filed[key(trade)].append(trade)
        return {name: self.group(filed[name]) for name in sorted(filed)}

    @property
    def by(self) -> dict[str, Any]:
        def when(trade: Trade, form: str) -> str:
            return datetime.fromtimestamp(trade.end // 1_000_000, UTC).strftime(form)

        return {
            "symbol": self.cut(lambda t: t.entry.symbol),
            "side": self.cut(lambda t: t.entry.side),
            "timeframe": self.cut(lambda t: t.entry.timeframe),
            "exit": self.cut(lambda t: t.closed.reason if t.closed else ""),
            "year": self.cut(lambda t: when(t, "%Y")),
            "symbol and year": self.cut(lambda t: f"{t.entry.symbol} {when(t, '%Y')}"),
            "month": self.cut(lambda t: when(t, "%Y-%m")),
        }

    def fall(self, rank: Callable[[dict[str, Any]], float]) -> dict[str, Any]:
        """The greatest of all falls, found from every peak by walking on until it is reached again."""
        points, found = self.points, []
        highs = [i for i, (_, usd) in enumerate(points) if usd >= max(u for _, u in points[: i + 1])]
        for i in highs:
            at, peak = points[i]
            below = []
            over = None
            for later, usd in points[i + 1 :]:
                if usd >= peak:
                    over = later
                    break
                below.append((usd, later))
            if below:
                lowest = min(below)
                last = over if over is not None else points[-1][0]
                found.append({
                    "peak_at": at, "bottom_at": lowest[1], "recovered_at": over,
                    "depth_pct": (peak - lowest[0]) / peak * 100, "days": (last - at) / DAY_US,
                })  # fmt: skip
        return max(found, key=rank)

    @property
    def stakes(self) -> list[tuple[float, float]]:
        """(leverage, percent to the nearest liquidation) at each boundary with something open."""
        found = []
        for at, usd in self.points:
            held = []
            for trade in (*self.trades, *self.open):
                size = float(sum(size for when, size, _, _ in trade.legs if when <= at + 10))
                if size:
                    cost = abs(size) * float(trade.entry_price)
                    level = [m for start, _, m in trade.track.instrument.margin_levels if cost >= start][-1]
                    mark = float(self.ran.tape.tick(trade.entry.symbol, at + 5).mark)
                    held.append((abs(size) * mark, cost * float(level)))
            if held:
                least = sum(maintenance for _, maintenance in held)
                found.append((sum(n for n, _ in held) / usd, min(100 * (usd - least) / n for n, _ in held)))
        return found

    @property
    def exposure(self) -> float:
        covered, reached = 0, 0
        for begin, end in sorted((trade.legs[0][0], trade.end) for trade in (*self.trades, *self.open)):
            covered += max(0, end - max(begin, reached))
            reached = max(reached, end)
        return 100 * covered / (self.end - self.start)

    @property
    def decisions(self) -> dict[str, Any]:
        refused, blocked = (self.ran.result.of(kind) for kind in (SignalRefused, EntryBlocked))
        return {
            "signals": len(self.ran.result.of(Signal)),
            "first_signal_at": min(signal.at for signal in self.ran.result.of(Signal)),
            "approved": len(self.ran.result.of(Signal)) - len(refused),
            "refused": len(refused),
            "blocked": len(blocked),
            "last_entry_at": max(trade.fills[0].at for trade in (*self.trades, *self.open)),
            "latched": None,
            "refused_by": dict(Counter(reason for one in refused for reason in one.reasons)),
            "blocked_by": dict(Counter(reason for one in blocked for reason in one.reasons)),
        }

    @property
    def month(self) -> str:
        return datetime.fromtimestamp(self.start // 1_000_000, UTC).strftime("%Y-%m")

    @property
    def holes(self) -> dict[str, list[str]]:
        """Runs of candles that nobody traded in, as a person reads them."""
        found: dict[str, list[str]] = {}
        for symbol, track in self.ran.tape.tracks.items():
            flat = [int(at) for at, made in zip(track.candles.time, track.candles.synthetic, strict=True) if made]
            firsts = [at for at in flat if at - 900_000 not in flat]
            lasts = [at for at in flat if at + 900_000 not in flat]
            form = "%Y-%m-%d %H:%M:%SZ"
            found[symbol] = [
                f"{datetime.fromtimestamp(first / 1000, UTC):{form}} to {datetime.fromtimestamp(last / 1000, UTC):{form}} "
                f"({(last - first) // 900_000 + 1} candles)"
                for first, last in zip(firsts, lasts, strict=True)
            ]
        return found

    @property
    def sharpe(self) -> float:
        return statistics.mean(self.returns) / statistics.stdev(self.returns) * 365**0.5

    @property
    def sortino(self) -> float:
        return statistics.mean(self.returns) / statistics.mean(min(r, 0) ** 2 for r in self.returns) ** 0.5 * 365**0.5

    @property
    def confidence(self) -> dict[str, Any]:
        nets, multiples = [float(net) for net in self.nets], [float(r) for r in self.multiples]
        return {
            "level_pct": 95, "resamples": 2000, "block_days": 7, "seed": 97, "intervals": intervals(nets, multiples, self.returns),
        }  # fmt: skip


AGAIN: dict[str, Callable[[Again], Any]] = {
    "days": lambda a: (a.end - a.start) / DAY_US,
    "start_equity_usd": lambda a: a.start_usd,
    "end_equity_usd": lambda a: a.end_usd,
    "net_usd": lambda a: a.end_usd - a.start_usd,
    "return_pct": lambda a: float(a.end_usd / a.start_usd - 1) * 100,
    "cagr_pct": lambda a: None,  # three weeks say nothing of a year
    "trades_net_usd": lambda a: sum(a.nets, ZERO),
    "fees_usd": lambda a: sum((t.fees for t in (*a.trades, *a.open)), ZERO),
    "funding_usd": lambda a: sum((t.funding(t.end) for t in (*a.trades, *a.open)), ZERO),
    "win_rate_pct": lambda a: 100 * sum(net > 0 for net in a.nets) / len(a.nets),
    "profit_factor": lambda a: sum(n for n in a.nets if n > 0) / -sum(n for n in a.nets if n < 0),
    "expectancy_usd": lambda a: statistics.mean(a.nets),
    "expectancy_r": lambda a: statistics.mean(a.multiples),
    "max_drawdown_pct": lambda a: a.fall(lambda fall: fall["depth_pct"])["depth_pct"],
    "max_drawdown_usd": lambda a: max(
        max(u for _, u in a.points[: i + 1]) - usd for i, (_, usd) in enumerate(a.points)
    ),
    "sharpe": lambda a: a.sharpe,
    "sortino": lambda a: a.sortino,
    "exposure_pct": lambda a: a.exposure,
    "trade_count": lambda a: len(a.trades),
    "costs": lambda a: a.group([*a.trades, *a.open]),
    "by": lambda a: a.by,
    "monthly_returns_pct": lambda a: {a.month: (a.points[-1][1] / a.points[0][1] - 1) * 100},  # the run lies within one
    "drawdowns": lambda a: {
        "deepest": a.fall(lambda fall: fall["depth_pct"]), "longest": a.fall(lambda fall: fall["days"]),
    },
    "confidence": lambda a: a.confidence,
    "leverage_max_x": lambda a: max(lever for lever, _ in a.stakes),
    "liquidation_distance_min_pct": lambda a: min(away for _, away in a.stakes),
    "decisions": lambda a: a.decisions,
    "equity_daily": lambda a: [[at, usd] for at, usd in a.points if at % DAY_US == 0],
    "candles": lambda a: 2 * int((a.end - a.start) / DAY_US * 96),
    "filled_spans": lambda a: {symbol: len(spans) for symbol, spans in a.holes.items()},
    "filled": lambda a: a.holes,
    "period": lambda a: {"start": a.start, "end": a.end},
    "profile": lambda a: "standard",
}  # fmt: skip
GIVEN = {"trades", "open_trades", "assumed", "settings", "digest"}
"""The trades are made again one by one; what was assumed and set, and the digest are no figures."""


def assert_same(said: Any, made: Any, where: str) -> None:
    """Equal keys at every depth, money to a millionth of a cent, ratios to a billionth."""
    if isinstance(made, dict):
        assert set(said) == set(made), where
        for name, value in made.items():
            assert_same(said[name], value, f"{where}.{name}")
    elif isinstance(made, list | tuple):
        assert len(said) == len(made), where
        for place, (one, other) in enumerate(zip(said, made, strict=True)):
            assert_same(one, other, f"{where}[{place}]")
    elif isinstance(made, str) or made is None:
        assert said == made, where
    else:
        assert said is not None, where
        assert float(said) == pytest.approx(float(made), rel=1e-8, abs=1e-6), where


@pytest.mark.parametrize("name", AGAIN)
def test_figure(name: str, document: dict[str, Any], again: Again) -> None:
    """One figure of the document, made a second time."""
    abs_ = {"max_drawdown_usd": 0.0051}.get(name)  # told in cents
    if abs_ is not None:
        assert float(document[name]) == pytest.approx(AGAIN[name](again), abs=abs_)
    else:
        assert_same(document[name], AGAIN[name](again), name)


def test_no_figure_is_left_out(document: dict[str, Any]) -> None:
    """A field that is neither made a second time nor given fails here: name it in one of the tables."""
    assert set(document) == AGAIN.keys() | GIVEN
    for row in document["trades"]:
        assert set(row) == ROW.keys() | ROW_LOOKED.keys() | ROW_GIVEN


@pytest.mark.parametrize("name", ROW)
def test_trade_figure(name: str, document: dict[str, Any], again: Again) -> None:
    """One column of the trade list, made a second time from fills and marks; open trades too."""
    for row, trade in zip([*document["trades"], *document["open_trades"]], [*again.trades, *again.open], strict=True):
        if name in row:
            made = ROW[name](trade)
            coarse = {"r_multiple": 1e-4}.get(name)  # rounded when it was told
            if coarse is not None:
                assert float(row[name]) == pytest.approx(float(made), abs=coarse)
            else:
                assert_same(row[name], made, f"{row['trade_id']}.{name}")


@pytest.mark.parametrize("name", ROW_LOOKED)
def test_trade_extreme(name: str, document: dict[str, Any], again: Again) -> None:
    """Worst and best mark of a trade: what a look each second finds, and never less."""
    for row, trade in list(zip(document["trades"], again.trades, strict=True))[:12]:
        made = ROW_LOOKED[name](trade)
        assert row[name] == pytest.approx(made, abs=0.01)
        assert row[name] <= made + 1e-9 if name == "mae_r" else row[name] >= made - 1e-9


def test_there_is_something_to_count(document: dict[str, Any], found: Findings, ran: Ran) -> None:
    """Both symbols, both signs, several exits: no figure is empty by luck; no fill is in no trade, and the period is whole."""
    trades = document["trades"]
    synthetic = ran is busy_backtest()
    assert len(trades) == document["trade_count"] >= (30 if synthetic else 5)
    for name in ("symbol", "side", "reason") if synthetic else ("symbol", "reason"):
        assert len({row[name] for row in trades}) >= 2
    assert {Decimal(row["net_usd"]) > 0 for row in trades} == {True, False}
    assert sum(len(trade.fills) for trade in found.trades) == len(ran.result.of(Filled))
    assert document["period"] == {"start": ran.tape.start_us, "end": ran.tape.end_us}
    assert document["days"] == (21 if synthetic else 20)


def test_the_engines_own_books_say_the_same(document: dict[str, Any], ran: Ran) -> None:
    """Net, fees and funding of all trades are what the exchange booked, to a millionth of a cent."""
    rows = [*document["trades"], *document["open_trades"]]
    books = ran.result.books
    told = {name: sum((Decimal(row[f"{name}_usd"]) for row in rows), ZERO) for name in ("fees", "funding", "net")}
    assert abs(told["net"] - (ran.result.equity_usd - books.start)) < Decimal("1e-8")
    assert abs(told["fees"] - books.fees) < Decimal("1e-8")
    if not document["open_trades"]:
        assert abs(told["funding"] - books.funding) < Decimal("1e-8")


def test_intervals(document: dict[str, Any]) -> None:
    """An interval holds its figure, the same seed gives the same, a higher level is wider, too few trades give none."""
    sure = document["confidence"]["intervals"]
    if len(document["trades"]) < LEAST:
        assert sure["expectancy_r"] is None
        return
    for name in ("expectancy_r", "win_rate_pct", "profit_factor", "sharpe", "return_pct"):
        low, high = sure[name]
        assert low < document[name] < high
    rows = [float(row["pnl_usd"]) for row in document["trades"]]
    once, again = (intervals(rows, rows, rows, seed=5) for _ in range(2))
    wide = intervals(rows, rows, rows, seed=5, level_pct=99)
    assert once == again
    assert once["expectancy_usd"] is not None
    assert wide["expectancy_usd"] is not None
    assert wide["expectancy_usd"][0] < once["expectancy_usd"][0]
    mean, error = statistics.mean(rows), statistics.stdev(rows) / len(rows) ** 0.5
    assert once["expectancy_usd"] == pytest.approx((mean - 1.96 * error, mean + 1.96 * error), abs=error / 3)
    assert set(intervals(rows[:5], rows[:5], rows[:5]).values()) == {None}


def test_falls() -> None:
    """Falls end where the peak is reached again; the last may be open."""
    points = [(at * DAY_US, Decimal(usd)) for at, usd in enumerate([100, 90, 95, 100, 110, 99, 105])]
    first, last = falls(points)  # type: ignore[arg-type]
    assert (first.peak_at, first.bottom_at, first.recovered_at) == (0, DAY_US, 3 * DAY_US)
    assert (first.depth_pct, first.days) == (10, 3)
    assert (last.bottom_at, last.recovered_at, last.depth_pct, last.days) == (5 * DAY_US, None, 10, 2)
    assert falls([]) == []


def test_slippage() -> None:
    """Bought above the mark and sold below it are both costs."""
    bought = Execution(at=0, size=Decimal(2), price=Decimal(101), mark=Decimal(100))
    sold = Execution(at=0, size=Decimal(-2), price=Decimal(99), mark=Decimal(100))
    assert bought.slippage_usd == sold.slippage_usd == 2


def test_every_assumption_is_said(document: dict[str, Any]) -> None:
    """What the document assumes stands in the paragraph, each value in a place of its own."""
    assumed = {name: f"<{name}>" for name in document["assumed"]}
    known = {"intrabar": INTRABAR, "gap_policy": GAPS, "limit_fills": LIMITS}
    assumed |= {name: next(iter(words)) for name, words in known.items()}
    assumed |= {"settle_ms": "3111", "latency_ms": "222", "depth_usd": "4444", "history": "<history>"}
    text = assumed_text({**document, "assumed": assumed}).lower()
    shown = {name: value for name, value in assumed.items() if value.startswith("<")}
    shown |= {name: words[assumed[name]].lower() for name, words in known.items()}
    shown |= {"settle_ms": "3,111", "latency_ms": "222", "depth_usd": "4,444"}
    assert [name for name, value in shown.items() if value not in text] == []
    assert set(shown) == set(assumed)


def test_a_report_holds_every_setting_its_figures_depend_on(found: Findings, ran: Ran) -> None:
    """Two presets are told apart by their report alone; where things are kept, perhaps with a password, is not in it."""
    told = found.document["settings"]
    assert told["strategy"] == ran.settings.strategy.model_dump(mode="json")
    assert told["risk"] == ran.settings.risk.model_dump(mode="json")
    assert not told.keys() & {"store", "exchange"}
    page = report("Test", ran.settings, ran.tape, ran.result, found)
    for section, values in told.items():
        for name, value in values.items():
            assert f'{section}.{name}</td><td class="prose">{escape(str(value))}<' in page
