"""Faults on the exchange's side of the account: closed markets, lost orders, liquidation, a person's hand, changed rules.

Acts on the venue's engine as the exchange would, so that its streams and lists tell of it. Knows nothing of the daemon.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import ROUND_DOWN, Decimal
from math import ceil, inf
from typing import Final, Literal, Protocol

import trio
from msgspec.structs import replace

from protocol.kraken.markets import Notice
from protocol.messages.base import Message, from_edge
from protocol.messages.futures import CancelOrder, OpenOrder, PlaceOrder
from protocol.ports import Command
from protocol.units import MINUTE_US, SECOND_US, OrderSide
from sim.engine import Answer, Engine
from sim.faults.plan import Fault
from sim.faults.timeline import Active, Faults, Hook

OTHER_SIDE: Final[dict[OrderSide, OrderSide]] = {"buy": "sell", "sell": "buy"}
ROLE_TYPES: Final = {"stop": ("stp",), "target": ("take_profit",), "all": ("stp", "take_profit", "lmt", "post")}

GAP_S: Final = 60.0
"""A market that opens elsewhere is back where spot is after so long."""


class Exchange(Protocol):
    """The venue as these faults see it."""

    engine: Engine
    contracts: tuple[str, ...]
    notices: list[Notice]
    leverage: dict[str, Decimal]

    def now_us(self) -> int: ...

    def carry_out(self, command: Command) -> Answer: ...

    def delist(self, symbol: str) -> None:
        """End a contract now."""
        ...

    def tell(self, messages: Sequence[Message]) -> None:
        """Reports that no wish caused, to the streams."""
        ...


class Account:
    """Registers with `faults` what each of these kinds does to `exchange`."""

    def __init__(self, exchange: Exchange, faults: Faults) -> None:
        self._exchange = exchange
        self._engine = exchange.engine
        self._faults = faults
        table: dict[str, tuple[Hook, Hook | None]] = {
            "ex.mode": (self._close, self._open),
            "ex.maint": (self._shut, self._reopen),
            "ex.kill_order": (self._lose_orders, None),
            "ex.liquidate": (lambda active: self._force(active, "liquidation"), None),
            "ex.unwind": (lambda active: self._force(active, "unwindBankrupt"), None),
            "ex.assign": (self._assign, None),
            "op.manual": (self._by_hand, None),
            "ex.partial": (self._thin, self._deep),
            "ex.margin": (self._demand_more, self._demand_as_before),
            "ex.spec": (self._change_rules, None),
            "ex.mkt_protect": (self._protect_closely, self._protect_as_before),
            "ex.stop_gap": (self._leap_over_stops, None),
            "ex.stop_unfilled": (lambda active: self._stops_fill(False), lambda active: self._stops_fill(True)),
            "ex.ro_stack": (lambda active: self._stack(active.text("mode")), lambda active: self._stack("allow")),
            "ex.delist": (self._delist, None),
            "proc.twin": (self._twin, None),
            "op.flood": (self._flood, None),
        }
        for kind, (begin, end) in table.items():
            faults.on(kind, begin, end)

    # --- market states ------------------------------------------------------------------------------------------

    def _symbols(self, active: Active) -> list[str]:
        wanted = active.get("sym", "any")
        return [symbol for symbol in self._exchange.contracts if wanted in ("any", symbol)]

    def _close(self, active: Active) -> None:
        for symbol in self._symbols(active):
            self._engine.close_market(symbol, active.text("mode"))

    def _open(self, active: Active) -> None:
        for symbol in self._symbols(active):
            self._engine.close_market(symbol, None)

    def _shut(self, active: Active) -> None:
        """Now, or as announced; what is announced is part of how long it takes."""
        lead_s = float(active.get("lead_s", 0))
        if lead_s and self._faults.nursery is not None:
            self._announce(active, lead_s)
            self._faults.nursery.start_soon(self._shut_later, active, lead_s)
        else:
            self._shut_all()

    def _announce(self, active: Active, lead_s: float) -> None:
        begins = active.began_us + round(lead_s * SECOND_US)
        minutes = ceil((active.until_us - begins) / MINUTE_US) if begins < active.until_us < inf else None
        notice = Notice(
            kind="maintenance", priority="high", text="Planned maintenance.", effective=begins, downtime_minutes=minutes
        )
        active.memory["notice"] = notice
        self._exchange.notices.append(notice)

    async def _shut_later(self, active: Active, lead_s: float) -> None:
        await trio.sleep(lead_s)
        if active in self._faults.in_force():
            self._shut_all()

    def _shut_all(self) -> None:
        for symbol in self._exchange.contracts:
            self._engine.close_market(symbol, "suspended")

    def _reopen(self, active: Active) -> None:
        self._exchange.notices[:] = [n for n in self._exchange.notices if n is not active.memory.get("notice")]
        for symbol in self._exchange.contracts:
            self._engine.close_market(symbol, None)
        if not self._faults.healed:
            self._leap(float(active.number("reopen_gap_pct")), "any", GAP_S)

    def _delist(self, active: Active) -> None:
        wanted, contracts = active.text("sym"), self._exchange.contracts
        symbol = contracts[0] if wanted == "first" else contracts[-1] if wanted == "last" else wanted
        self._engine.close_market(symbol, "post_only")
        if self._faults.nursery is not None:
            self._faults.nursery.start_soon(self._settle, symbol, active.number("notice_s"))

    async def _settle(self, symbol: str, notice_s: float) -> None:
        await trio.sleep(notice_s)
        self._exchange.delist(symbol)

    def _thin(self, active: Active) -> None:
        active.memory["before"] = self._engine.matching.depth_usd
        self._engine.matching.depth_usd = Decimal(str(active.number("depth_usd")))

    def _deep(self, active: Active) -> None:
        before = active.memory["before"]
        self._engine.matching.depth_usd = before if isinstance(before, Decimal) else None

    def _protect_closely(self, active: Active) -> None:
        self._thin(active)
        active.memory["protection"] = self._engine.matching.protection_pct
        self._engine.matching.protection_pct = Decimal(str(active.number("pct")))

    def _protect_as_before(self, active: Active) -> None:
        self._deep(active)
        before = active.memory["protection"]
        assert isinstance(before, Decimal)
        self._engine.matching.protection_pct = before

    def _leap_over_stops(self, active: Active) -> bool:
        """The mark of each contract that a stop rests on is from one tick to the next so far beyond the stop."""
        stops = self._resting(ROLE_TYPES["stop"])
        for stop in stops:
            mark = self._engine.state.ticks[stop.symbol].mark
            if stop.stop_price is None:
                continue
            away_pct = float((stop.stop_price / mark - 1) * 100)
            beyond_pct = active.number("pct") * (1 if stop.side == "buy" else -1)
            self._leap(away_pct + beyond_pct, stop.symbol, (active.until_us - active.began_us) / SECOND_US)
        return bool(stops)

    def _leap(self, pct: float, symbol: str, for_s: float) -> None:
        """Prices of the perpetuals are elsewhere for a while."""
        self._faults.add(Fault(fault="px.basis", for_s=for_s, params={"bps": pct * 100, "sym": symbol}))

    def _stops_fill(self, fill: bool) -> None:
        self._engine.matching.stops_fill = fill

    def _stack(self, mode: str) -> None:
        self._engine.matching.stacking = (
            "refuse" if mode == "refuse" else "autocancel" if mode == "autocancel" else "allow"
        )

    # --- rules --------------------------------------------------------------------------------------------------

    def _demand_more(self, active: Active) -> None:
        isolated_x = Decimal(str(active.get("isolated_x", 0)))
        if isolated_x:  # a person's setting: the venue tells it, its margin and liquidation stay cross
            self._exchange.leverage |= dict.fromkeys(self._symbols(active), isolated_x)
            return
        factor = Decimal(str(active.number("factor")))
        for symbol, rule in self._engine.rules.items():
            active.memory[symbol] = rule
            levels = tuple(
                (start, min(im * factor, Decimal(1)), min(mm * factor, Decimal(1)))
                for start, im, mm in rule.margin_levels
            )
            self._engine.rules[symbol] = replace(rule, margin_levels=levels)
        self._exchange.tell(self._engine.standing(self._exchange.now_us()))

    def _demand_as_before(self, active: Active) -> None:
        if active.get("isolated_x", 0):
            for symbol in self._symbols(active):
                self._exchange.leverage.pop(symbol, None)
            return
        for symbol, rule in self._engine.rules.items():
            before = active.memory[symbol]
            self._engine.rules[symbol] = replace(rule, margin_levels=before.margin_levels)  # type: ignore[attr-defined]
        self._exchange.tell(self._engine.standing(self._exchange.now_us()))

    def _change_rules(self, active: Active) -> None:
        field = active.text("field")
        # The contract list tells a lot by its decimals: it is a power of ten.
        factor = 10 if field == "lot" else int(active.number("factor"))
        for symbol, rule in self._engine.rules.items():
            self._engine.rules[symbol] = replace(rule, **{field: getattr(rule, field) * factor})

    # --- orders and positions -----------------------------------------------------------------------------------

    def _lose_orders(self, active: Active) -> bool:
        at, lost = self._exchange.now_us(), self._resting(ROLE_TYPES[active.text("role")])
        for order in lost:
            self._exchange.carry_out(
                from_edge(CancelOrder, at, "lost", order.order_id, at, symbol=order.symbol, order_id=order.order_id)
            )
        return bool(lost)

    def _resting(self, types: Sequence[str]) -> list[OpenOrder]:
        return [w.order for w in self._engine.state.working.values() if w.order.order_type in types]

    def _force(self, active: Active, fill_type: str) -> bool:
        """The exchange closes a part of each position, by a fill of its own kind and no order of ours."""
        did = False
        for position in self._engine.positions():
            size = self._lots(position.symbol, abs(position.size) * Decimal(str(active.number("fraction"))))
            if size:
                did = True
                self._exchange.tell(
                    self._engine.force(
                        position.symbol, -size if position.size > 0 else size, fill_type, self._exchange.now_us()
                    )
                )
        return did

    def _assign(self, active: Active) -> bool:
        symbol = self._exchange.contracts[int(active.rng.integers(len(self._exchange.contracts)))]
        tick = self._engine.state.ticks.get(symbol)
        if tick is None or not self._engine.rules[symbol].tradeable:
            return False  # nobody holds a contract that was settled (storm 67489)
        quantity = Decimal(str(active.get("qty", 0))) or Decimal(str(active.number("notional_usd"))) / tick.mark
        size = self._lots(symbol, quantity)
        if size:
            signed = -size if active.get("side", "buy") == "sell" else size
            self._exchange.tell(self._engine.force(symbol, signed, "assignee", self._exchange.now_us()))
        return bool(size)

    def _by_hand(self, active: Active) -> bool:
        """A person places an order, closes what is held, or turns it round."""
        what = active.text("what")
        if what == "order":
            symbol = self._exchange.contracts[0]
            tick = self._engine.state.ticks[symbol]
            rule = self._engine.rules[symbol]
            price = tick.mark * Decimal("0.97") // rule.tick * rule.tick
            self._hand(active, symbol, "buy", rule.lot * 10, price)
            return True
        positions = self._engine.positions()
        for position in positions:
            factor = 1 if what == "close" else 2
            self._hand(
                active, position.symbol, "sell" if position.size > 0 else "buy", abs(position.size) * factor, None
            )
        return bool(positions)

    def _hand(
        self,
        active: Active,
        symbol: str,
        side: OrderSide,
        size: Decimal,
        price: Decimal | None = None,
        name: str = "",
        order_type: Literal["mkt", "lmt", "stp"] | None = None,
        stop_price: Decimal | None = None,
        reduce_only: bool = False,
    ) -> None:
        """An order of somebody else's."""
        at = self._exchange.now_us()
        self._exchange.carry_out(
            from_edge(
                PlaceOrder,
                at,
                "by hand",
                active.place,
                symbol,
                name,
                client_order_id=name,
                signal_id="",
                role="entry",
                symbol=symbol,
                side=side,
                order_type=order_type or ("mkt" if price is None else "lmt"),
                size=size,
                limit_price=price,
                stop_price=stop_price,
                reduce_only=reduce_only or order_type == "stp",
            )
        )

    def _twin(self, active: Active) -> None:
        """Another daemon, which knows nothing of ours: while it runs it enters with a stop of its own, and leaves again."""
        if self._faults.nursery is not None:
            self._faults.nursery.start_soon(self._trade_beside, active)

    async def _trade_beside(self, active: Active) -> None:
        symbol, rounds = self._exchange.contracts[-1], 0
        rule = self._engine.rules[symbol]
        while active in self._faults.in_force():
            tick, name = self._engine.state.ticks.get(symbol), f"twin-{active.place}-{rounds}"
            if tick is not None and self._engine.held(symbol) == 0:
                stop = tick.mark * Decimal("0.98") // rule.tick * rule.tick
                self._hand(active, symbol, "buy", rule.lot * 10, name=name)
                self._hand(
                    active, symbol, "sell", rule.lot * 10, name=f"{name}-stop", order_type="stp", stop_price=stop
                )
                rounds += 1
            await trio.sleep(active.number("every_s"))
            self._leave_beside(active, symbol, name)

    def _leave_beside(self, active: Active, symbol: str, name: str) -> None:
        at = self._exchange.now_us()
        for order in self._resting(ROLE_TYPES["stop"]):
            if order.client_order_id == f"{name}-stop":
                self._hand(active, symbol, "sell", order.size, name=f"{name}-exit", reduce_only=True)
                wish = from_edge(CancelOrder, at, "twin", name, symbol=symbol, order_id=order.order_id)
                self._exchange.carry_out(wish)

    def _flood(self, active: Active) -> None:
        """So many orders that nobody here placed."""
        symbol = self._exchange.contracts[0]
        tick, rule = self._engine.state.ticks.get(symbol), self._engine.rules[symbol]
        if tick is None:
            return
        for count in range(int(active.number("n"))):
            price = tick.mark * (Decimal("0.95") - Decimal(count) / 1000) // rule.tick * rule.tick
            self._hand(active, symbol, "buy", rule.lot, price, f"flood-{active.place}-{count}")

    def _lots(self, symbol: str, size: Decimal) -> Decimal:
        lot = self._engine.rules[symbol].lot
        return (size / lot).to_integral_value(ROUND_DOWN) * lot
