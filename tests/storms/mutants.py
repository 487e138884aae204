"""Planted bugs: each is put into a copy of the program, and a storm must find it within the seeds it is given (`make mutants`).

A mutant that survives is a missing checker or a missing fault. Prints a line a mutant; exit 1 when one survives.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
PACKAGES = ("actors", "config", "protocol", "sim")
SEEDS = 3
Row = Mapping[str, object]


class Mutant(NamedTuple):
    """`patches`: (file, what stands there once, what stands there instead). `faults`: what must strike for it to matter, as in a
    plan file. A storm must find it within `seeds` seeds of `seconds`.
    """

    name: str
    patches: tuple[tuple[str, str, str], ...]
    faults: tuple[Row, ...] = ()
    seconds: int = 300
    seeds: int = SEEDS


def one(name: str, file: str, old: str, new: str, *faults: Row, seconds: int = 300, seeds: int = SEEDS) -> Mutant:
    """A mutant of one change."""
    return Mutant(name, ((file, old, new),), faults, seconds, seeds)


OPENED: Row = {"after": "position.opened", "at_s": 3}
KILL: Row = {"fault": "op.act", "seq": "kill", **OPENED}
CRASH: Row = {"fault": "proc.crash", "hook": "now", **OPENED}


DUTIES = "actors/executor/duties.py"
WISHES = "actors/executor/wishes.py"
FEED = "actors/futures_feed/decide.py"
FILLS = "actors/futures_feed/fills.py"
POSITIONS = "actors/futures_feed/positions.py"
SNAPSHOTS = "actors/futures_feed/snapshots.py"
STANDING = "actors/futures_feed/standing.py"
GATEWAY = "actors/gateway/futures.py"
NOTICES = "actors/futures_feed/notices.py"
PRETRADE = "actors/pretrade.py"
RULES = "actors/risk/rules.py"
PLAN = "actors/kill_switch/plan.py"
MARKET = "actors/futures_feed/market.py"
PASSES = "actors/reconciler/passes.py"
SHELL = "actors/shell.py"
SUPERVISOR = "actors/supervisor.py"

MUTANTS = (
    one("exit orders may open positions", WISHES, 'reduce_only=order.role != "entry"', "reduce_only=False"),
    Mutant(
        "no stop is ever placed and nobody minds",
        (
            (DUTIES, "return place_stop(desk, trade) if stop is None else", "return (trade, NOTHING) if stop is None else"),
            (DUTIES, "if trade.closing or protected:", "if True:"),
            (DUTIES, 'trade.closing or trade.working("stop") is None', "trade.closing"),
        ),
    ),
    one("stops trigger on the last price", "protocol/kraken/orders.py", 'TRIGGER_SIGNAL: Final = "mark"',
        'TRIGGER_SIGNAL: Final = "last"'),
    one("the intent is not durable before the order leaves", "actors/shell.py", "            self.journal.flush()\n", "            pass\n"),
    one("a fill told by two ways counts twice", FILLS, "if fill.fill_id not in told.fills]", "if True]"),
    one("fills are forgotten in a crash", FEED, "told = Told(lost=lost) if memory is None else _decoder.decode(memory)", "told = Told(lost=lost)",
        CRASH),
    one("nothing is kept for the next life", "actors/shell.py", "journal.keep(part.name, partial(part.durable, part.state))", "pass", CRASH),
    one("the latch is kept in memory only", "actors/shell.py", "self.latch_store.latch(latch)", "pass", KILL),
    one("the gate is not asked", "actors/door.py", "closed = self._gate.closed_by(*names)", "closed: tuple[str, ...] = ()",
        {"fault": "op.act", "seq": "kill", "at_s": 20}),
    one("the kill switch cancels the stop first", PLAN, "if not is_stop_of(order, sizes.get(order.symbol, Decimal(0)))",
        "if True", KILL),
    one("the kill switch flattens without reduce-only", PLAN, "reduce_only=True", "reduce_only=False", KILL),
    one("the kill switch latches and does nothing", "actors/kill_switch/decide.py",
        "return state, [*commands, progress, *alerts, _wake(truth)]", "return state, [progress, *alerts, _wake(truth)]", KILL),
    one("nobody is told of the latch", "actors/kill_switch/decide.py",
        'follow(cause, Alert, code="KILL_LATCHED", severity="critical", text=text),', "", KILL),
    one("a time-out is read as a refusal", GATEWAY, 'self._answered(command, "unknown", doubt, "look_up")',
        'self._answered(command, "rejected", doubt, "look_up")',
        {"fault": "rest.drop_reply", "op": "send", "times": 1}, {"fault": "rest.misreport"}),
    one("a doubtful stop is sent again under a new id", DUTIES, "return resend(desk, trade, stop)",
        'return place(desk, trade, "stop", trade.cover, trade.stop_price)',
        {"fault": "rest.drop_request", "op": "send", "after": "entry.accepted", "for_s": 60},
        {"fault": "proc.crash", "after": "stop.sent", "at_s": 1, "hook": "now"}),
    one("an order's id is used for other terms", WISHES, "trade.attempts.get(role, 0)),", "0),", {"fault": "rest.drop_request", "op": "send", "after": "entry.accepted", "for_s": 4},
        {"fault": "ex.mkt_protect", "pct": 0.01, "depth_usd": 50, "for_s": 60, "after": "position.opened"}),
    one("a lost stop is replaced further away", DUTIES,
        'replace(trade, stop_due=None), "stop", desk.lots(trade.cover), desk.stop_price(trade))',
        'replace(trade, stop_due=None), "stop", desk.lots(trade.cover), trade.stop_price * (1 - trade.attempts.get("stop", 0) * '
        '(1 if trade.plan.side == "long" else -1) * trade.cover / trade.cover / 1000))', {"fault": "ex.kill_order", "role": "stop", **OPENED}),
    one("the first stop is twice as far as agreed", "actors/executor/exits.py", "stop = plan.reference * (1 - sign * plan.stop_pct)",
        "stop = plan.reference * (1 - sign * plan.stop_pct * 2)"),
    one("fills missing from the stream are never looked for", SNAPSHOTS, "state, out = tell_fills(state, seen, seen.fills)",
        "out = list[Message]()", {"fault": "ws.drop", "feed": "fills", **OPENED}, seconds=2400),
    Mutant(
        "rows that cannot be read count as absent",
        (
            (GATEWAY, "unread = (*resting.quarantined, *positions.quarantined)", "unread = ()"),
            # A second guard of the same: a list that shows less than the stream said is believed when another agrees and the margin does, too.
            (SNAPSHOTS, "hidden = _hidden(state, seen, less)", "hidden = False"),
        ),
        ({"fault": "rest.schema", "endpoint": "positions", "kind": "unknown", "for_s": 120, **OPENED},),
    ),
    one("a list from before the entry is believed", POSITIONS, "        if symbol in trailing:\n            continue\n", "",
        {"fault": "rest.stale", "endpoint": "positions", "after": "position.opened", "at_s": 0.2, "for_s": 12}),
    one("a fill that a frame showed is taken off again", FILLS, "shown = fill.time <= state.framed and", "shown = fill.time < state.framed and",
        {"fault": "ws.drop", "feed": "fills", "after": "position.opened", "for_s": 120},
        {"fault": "ex.unwind", "fraction": 0.5, "after": "position.opened", "at_s": 0.9},
        {"fault": "rest.forget", "endpoint": "positions", "after": "position.opened", "at_s": 1, "for_s": 60}),
    one("a crossed book is no matter", RULES, "if not 0 < bid <= ask:", "if False:",
        {"fault": "px.book", "how": "crossed", "at_s": 1, "for_s": 300}),
    Mutant(
        "spot and mark may part",
        (
            (RULES, "return SKIPPED if basis is None else at_most(basis, case.settings.risk.basis_max_pct)", "return SKIPPED"),
            ("actors/risk/guards.py", "    value = view.basis_pct\n    if value is None:\n        return None\n    limit = view.settings.risk.basis_max_pct\n",
             "    value = view.basis_pct\n    if value is None:\n        return None\n    limit = Decimal(99)\n"),
        ),
        ({"fault": "px.basis", "bps": 90, "at_s": 1, "for_s": 300},),
    ),
    one("a silent stream keeps its lease", "actors/connection.py", "patience.deadline = now + idle_s",
        "patience.deadline = now + 9999", {"fault": "md.stall", "feed": "spot", "at_s": 20, "for_s": 60}),
    one("a dead child stays dead", "actors/supervisor.py", "await self._start_from(index, nursery)\n        else:",
        "return\n        else:", {"fault": "actor.raise", "who": "executor", "n": 1, "at_s": 20}),
    one("a child that dies all day is no reason to stop", "actors/supervisor.py", "            self._world.gate.halt(halt, text)\n", "",
        *({"fault": "actor.raise", "who": "spot_feed", "n": 1, "at_s": at_s} for at_s in range(10, 70, 10))),
    Mutant(
        "closed markets are entered",
        (
            (PRETRADE, 'mode = "suspended" if mark.suspended else "post-only" if mark.post_only else "open"', 'mode = "open"'),
            (RULES, "Finding(not case.mark.suspended, case.mark.suspended, False)", "SKIPPED"),
        ),
        ({"fault": "ex.mode", "mode": "suspended", "at_s": 15},),
    ),
    Mutant(
        "a mark of any age will do",
        (
            (PRETRADE, "return Seen(age_s <= oldest_s, age_s, oldest_s, \" s\")", "return Seen(True, age_s, oldest_s, \" s\")"),
            (RULES, "return at_most(age_s(case.at, case.mark.mark_time), case.settings.risk.mark_age_max_s)", "return SKIPPED"),
            # A third guard of the same: the mark must be of the moment of a spot price that is fresh.
            (RULES, "return at_most(age_s(case.spot.at, case.mark.mark_time), case.settings.risk.basis_skew_max_s)", "return SKIPPED"),
        ),
        ({"fault": "md.mute", "channel": "ticker", "at_s": 60, "for_s": 400},),
        seconds=600,
    ),
    one("twice the risk", "actors/risk/sizing.py", "wanted = weight * equity_usd * risk_pct / HUNDRED / (unit_usd * risked)",
        "wanted = 2 * equity_usd * risk_pct / HUNDRED / (unit_usd * risked)"),
    one("the key is shown to whoever reads alerts", GATEWAY, 'reason=f"{type(error).__name__}: {error}"',
        'reason=f"{error} {self.http.key}"', {"fault": "rest.auth", "scope": "all", "for_s": 60, **OPENED}),
    one("an answer that shows our signature is written down as it came", "actors/gateway/http.py", "*_forms(authent), ", "",
        {"fault": "sec.a", "for_s": 60, **OPENED}),
    Mutant(
        "orders left behind are nobody's business",
        (
            (DUTIES, "for order in trade.orders if order.live and", "for order in trade.orders if False and"),
            ("actors/executor/drifts.py", "return state, (cancel(message, message.symbol, message.client_order_id, message.order_id),)",
             "return state, NOTHING"),
            ("actors/executor/decide.py", "said.append(cancel(message, trade.plan.symbol, order.client_order_id))", "pass"),
        ),
        seconds=2400,
    ),
    Mutant(
        "a running candle is told as closed",
        (
            ("actors/spot_feed/decide.py", "due = close_time_us(candle.open_time_ms, BASE) + rules.settle_us", "due = 0"),
            ("actors/spot_feed/decide.py", "closed = candle if candle.final or place < len(waiting) - 1 else None", "closed = candle"),
        ),
    ),
    one("what is damaged on disk is used all the same", "actors/memory.py", "if seal != _seal(actor, memory):", "if False:",
        {"fault": "disk.flip", "n": 4, **OPENED}),
    one("a broken stream is opened again at once, for ever", "actors/connection.py", "if now - up_at >= STEADY_S:", "if True:",
        {"fault": "md.flap", "feed": "spot", "period_s": 1, "at_s": 10, "for_s": 200}),
    one("a new kill switch believes any list", "actors/kill_switch/decide.py", "for position in truth.lacks:", "for position in ():",
        {"fault": "rest.stale", "endpoint": "positions", "after": "position.opened", "at_s": 0.2, "for_s": 14},
        {"fault": "actor.raise", "who": "kill_switch", "n": 1, "after": "position.opened", "at_s": 2},
        {"fault": "op.act", "seq": "kill", "after": "position.opened", "at_s": 2.1}),
    one("what an actor tells once in a while is not in its table", "actors/tree.py", "            f.ModeChanged,\n", "",
        {"fault": "ex.mode", "mode": "post_only", "for_s": 60, **OPENED}),
    one("nobody hears a person ask for the kill switch", "actors/kill_switch/actor.py", "if reason is not None and not asked:", "if False:", KILL),
    one("a liquidation latches nothing", "actors/kill_switch/causes.py", '    "liquidation": _liquidation,\n', "",
        {"fault": "ex.liquidate", "fraction": 1, **OPENED}),
    one("the kill switch waits for another's reading", "actors/kill_switch/decide.py",
        'return follow(cause, RequestSnapshot, reason="kill switch", urgent=True)', "return _wake(cause)", KILL),
    one("the stop goes before the order to leave", DUTIES, "size, said = desk.lots(trade.cover), list[Message]()",
        'size, said = desk.lots(trade.cover), list[Message](cancel(desk.cause, trade.plan.symbol, o.client_order_id) for o in trade.orders '
        'if o.role == "stop" and o.resting)', seconds=2400, seeds=5),
    one("what others buy once all of ours is sold is ours", "actors/executor/fills.py", "flat = all_closed(trade) or (", "flat = (",
        {"fault": "op.act", "seq": "kill", "after": "position.opened"},
        {"fault": "ex.assign", "notional_usd": 643.0, "after": "position.closed"},
        {"fault": "rest.stale", "endpoint": "positions", "for_s": 10, "after": "position.opened", "at_s": 1}, seconds=600, seeds=5),
    one("a stop that fired and does not fill is nobody's business", DUTIES, "if trade.closing or trade.cover == 0 or desk.at < since + NOT_FILLING_US:", "if True:",
        {"fault": "ex.stop_unfilled", "for_s": 1500, "after": "position.opened"}, seconds=1800, seeds=6),
    one("nobody asks which markets are isolated", "actors/hands.py", "isolated = await world.futures.isolated()", "isolated = {}",
        {"fault": "ex.margin", "isolated_x": 5, "for_s": 300}),
    one("an isolated market is entered all the same", PRETRADE, 'if instrument.margin != "cross":', "if False:",
        {"fault": "ex.margin", "isolated_x": 5, "for_s": 300}),
    one("a closed market is called open", MARKET, "        suspended=seen.suspended,\n        post_only=seen.post_only,",
        "        suspended=False,\n        post_only=False,", {"fault": "ex.mode", "mode": "suspended", "at_s": 15}),
    one("announced maintenance halts no entries", NOTICES, "if halted and not state.maintained:", "if False:",
        {"fault": "ex.maint", "lead_s": 800, "for_s": 1800}, seconds=900, seeds=6),
    one("nobody is told of a closed market", MARKET, "return state, [changed, alert, *out]", "return state, [changed, *out]",
        {"fault": "ex.mode", "mode": "post_only", "for_s": 60, **OPENED}),
    Mutant(
        "a mark is as old as its frame",
        (
            (PRETRADE, 'return Seen(age_s <= oldest_s, age_s, oldest_s, " s")', 'return Seen(True, age_s, oldest_s, " s")'),
            (RULES, "age_s(case.at, case.mark.mark_time)", "age_s(case.at, case.mark.at)"),
            (RULES, "return at_most(age_s(case.spot.at, case.mark.mark_time), case.settings.risk.basis_skew_max_s)", "return SKIPPED"),
        ),
        # Behind by more than a mark may be in the first seed's market, by less than tells a new connection from a dead one.
        ({"fault": "md.lag", "feed": "futures", "d_s": 4.8, "at_s": 5, "for_s": 900},),
        seconds=900,
    ),
    one("what an order in doubt became is never settled", PASSES, "elif doubt.absent + 1 < ABSENT_ENOUGH:", "elif True:",
        {"fault": "rest.drop_request", "op": "send", "times": 1, "for_s": 600}),
    one("the halt of a refused key never ends", STANDING, 'if action in ("", "reject") and state.barred in ("read", what):', "if False:",
        {"fault": "rest.auth", "scope": "all", "for_s": 14, "at_s": 20}),
    one("nobody is told that our key is refused", STANDING, 'code="AUTH_FAILED", severity="critical"', 'code="AUTH_FAILED", severity="info"',
        {"fault": "rest.auth", "scope": "all", "for_s": 60, **OPENED}),
    one("nobody is told that a stop is lost", "actors/executor/answers.py", 'said.append(alert(message, "STOP_LOST", "critical",', 'said.append(alert(message, "GATE", "info",',
        {"fault": "ex.kill_order", "role": "stop", "after": "position.opened", "at_s": 60}),
    one("nobody is told that the store is behind", "actors/executor/lost.py", 'return state, found, (alert(cause, "JOURNAL_BEHIND", "critical", symbol, text),)', "return state, found, NOTHING",
        {"fault": "ex.kill_order", "role": "stop", "after": "stop.accepted", "at_s": 8},
        {"fault": "disk.rollback", "after": "stop.accepted", "at_s": 14, "age_s": 9}),
    one("a liquidation that a life did not live to hear of is forgotten", "actors/kill_switch/causes.py", "for fill in truth.forced if", "for fill in () if",
        {"fault": "actor.hang", "who": "kill_switch", "after": "position.opened", "at_s": 2, "for_s": 20},
        {"fault": "ex.liquidate", "fraction": 1, "after": "position.opened", "at_s": 5},
        {"fault": "proc.crash", "hook": "now", "after": "position.opened", "at_s": 12}),
    one("a clock that is off is not told", STANDING, 'code="CLOCK_SKEW", severity="warning"', 'code="FEED_STATE", severity="info"',
        {"fault": "clock.skew", "d_s": 4, "for_s": 200, **OPENED}),
    one("a clock that is off halts no entries", FEED, "[*out, *off, *told, *isolated]", '[*out, *(m for m in off if type(m).__name__ != "HaltEntries"), *told, *isolated]',
        {"fault": "clock.skew", "d_s": -4, "at_s": 5, "for_s": 900}, seconds=900),
    one("a mark that stands still is taken for a fresh one", MARKET, "still_us >= FROZEN_US and", "still_us >= 1000 * FROZEN_US and",
        {"fault": "px.freeze", "which": "mark", "sym": "any", "at_s": 20, "for_s": 900}, seconds=900),
    one("nobody notices that the loop stood still", "actors/pulse.py", "if late_us > BLOCKED_US * pace:", "if late_us > 600 * BLOCKED_US * pace:",
        {"fault": "sched.block", "for_s": 30, **OPENED}),
    one("nobody notices that the host slept", "actors/pulse.py", "if stepped_us > STEPPED_US * pace:", "if stepped_us > 600 * STEPPED_US * pace:",
        {"fault": "host.suspend", "for_s": 60, **OPENED}),
    one("a target that is listed is called absent", PASSES,
        "    listed = {order.order_id: order for order in snapshot.orders}\n    kept: dict[str, Resting] = {}",
        '    listed = {order.order_id: order for order in snapshot.orders if order.order_type != "take_profit"}\n    kept: dict[str, Resting] = {}'),
    one("a fill of the list is told as another", SNAPSHOTS, "state, out = tell_fills(state, seen, seen.fills)",
        "state, out = tell_fills(state, seen, [replace(fill, price=fill.price * 2) for fill in seen.fills])",
        {"fault": "ws.drop", "feed": "fills", "p": 1, "for_s": 900}, {"fault": "ex.fast_fill", "d_ms": 50, "p": 1, "for_s": 900}),
    one("nobody is told that the journal cannot be written", SHELL, 'code="JOURNAL_WRITE", severity="critical", text=text))', 'code="JOURNAL_WRITE", severity="info", text=text))',
        {"fault": "disk.full", "for_s": 60, **OPENED}),
    one("a journal that cannot be written is no reason to leave", SHELL, 'text=text))\n        self._ask_to_kill(text, now)\n', "text=text))\n",
        {"fault": "disk.full", "for_s": 60, **OPENED}),
    one("nobody is told of memories that are damaged", SHELL, 'self.alert("journal", "JOURNAL_CORRUPT", "critical", text)', 'self.alert("journal", "JOURNAL_CORRUPT", "info", text)',
        {"fault": "disk.flip", "n": 4, **OPENED}),
    one("memories that are damaged are no reason to leave", SHELL, "        self._ask_to_kill(text, self.clock.now_us())\n", "",
        {"fault": "disk.flip", "n": 4, **OPENED}),
    one("a kill that leaves something open asks nobody for help", "actors/kill_switch/decide.py", 'code="KILL_STUCK", severity="critical"', 'code="KILL_STUCK", severity="info"',
        KILL, {"fault": "ex.mode", "mode": "suspended", "for_s": 120, **OPENED}),
    one("a guard that dies too often asks for no kill", SUPERVISOR, 'self._world.mailboxes["kill_switch"].put(request)', "pass",
        {"fault": "actor.raise", "who": "executor", "n": 3, **OPENED}),
    one("nobody is told that a child has died too often", SUPERVISOR, '"CHILD_ESCALATED", "critical", f"{text}: {spec.escalation}")', '"CHILD_ESCALATED", "info", f"{text}: ")',
        {"fault": "actor.raise", "who": "executor", "n": 3, **OPENED}),
    one("deaths are counted for a thousandth of the time", SUPERVISOR, "deaths[0] <= now - seconds_us(spec.period_s):", "deaths[0] <= now - seconds_us(spec.period_s) // 1000:",
        {"fault": "actor.raise", "who": "executor", "n": 3, **OPENED}),
    one("a kill waits for the feed's pause to end", SUPERVISOR, "self._pause.cancel()", "pass",
        {"fault": "actor.raise", "who": "futures_feed", "n": 5, **OPENED}, {**KILL, "at_s": 12}),
    one("an answer that cannot be read is a refusal", GATEWAY, "        except (Unreachable, MalformedPayload) as error:\n            log.warning(",
        '        except MalformedPayload as error:\n            return (self._answered(command, "rejected", str(error), "reject"),)\n'
        "        except Unreachable as error:\n            log.warning(",
        {"fault": "rest.http", "op": "send", "accepted": "yes", "code": 200, "body": "cut", "after": "entry.sent", "for_s": 5},
        {"fault": "ws.delay", "feed": "fills", "d_s": 4, "for_s": 300}),
    one("an entry may arrive whenever it likes", "protocol/kraken/orders.py", 'form["processBefore"] = write_iso_ms(command.process_before)', "pass",
        {"fault": "rest.delay_request", "op": "send", "d_s": 25, "times": 1, "for_s": 300}),
    one("fees are reckoned one way", "actors/risk/sizing.py", "ROUND_TRIP: Final = 2", "ROUND_TRIP: Final = 1"),
    one("a minute of alerts is a fraction of a second", "actors/alerts.py", "now - self.since < MINUTE_US", "now - self.since < MINUTE_US // 1000",
        {"fault": "op.flood", "n": 25, **OPENED}),
    one("an order that a list lacks is not asked after", GATEWAY, "        if not doubted:\n", "        if True:\n",
        {"fault": "rest.forget", "endpoint": "orders", "p": 1, "for_s": 300, "after": "stop.sent"}),
    one("what an earlier stream showed is forgotten", GATEWAY, "async with opened(self._connect) as channel:\n", "async with opened(self._connect) as channel:\n            self._shown.clear()\n",
        {"fault": "rest.forget", "endpoint": "orders", "p": 1, "for_s": 120, "after": "stop.sent"},
        {"fault": "net.part", "set": "streams", "how": "silent", "after": "stop.accepted", "for_s": 30}),
    one("what a list showed is not asked after", GATEWAY, "            self._shown.setdefault(order.order_id, order)\n", "            pass\n",
        {**CRASH, "at_s": 5}, {"fault": "ws.delay", "feed": "open_orders", "d_s": 60, "for_s": 300},
        {"fault": "rest.forget", "endpoint": "orders", "p": 1, "for_s": 120, "after": "stop.sent"}),
    one("flat is never told", POSITIONS, "**{s: flat(s) for s in absent}}", "**{s: flat(s) for s in absent if s not in state.positions}}", KILL),
    Mutant(
        "edits and cancels are not written down",
        (
            ("actors/shell.py", "journal.record(part.name, message, answers)",
             'journal.record(part.name, message, [a for a in answers if type(a).__name__ not in ("CancelOrder", "EditOrder")])'),
            ("actors/door.py", "        record(NAME, answer, ())", "        record(NAME, answer, ()) if isinstance(wish, PlaceOrder) else None"),
        ),
        (KILL,),
    ),
    one("what never rests is not heard to end", FEED, "    state, ended = ended_at_once(untold(state, answers), seen)\n", "    state, ended = untold(state, answers), list[Message]()\n",
        {"fault": "ex.mkt_protect", "after": "position.opened", "at_s": 3, "for_s": 58, "pct": 0.0057, "depth_usd": 367},
        {"fault": "ex.stop_gap", "after": "stop.accepted", "at_s": 5.8, "for_s": 48, "pct": 0.1}),
    Mutant(
        "nobody asks how much is held in all",
        (
            (RULES, "return at_most(total, case.settings.risk.exposure_max_x * case.account.equity_usd)", "return SKIPPED"),
            (RULES, "    leverage = (case.exposure.notional_usd + case.plan.notional_usd) / case.account.equity_usd\n", "    return SKIPPED\n"),
            (PRETRADE, "cap = min(settings.risk.exposure_max_x, settings.risk.leverage_cap, Decimal(10))", "cap = Decimal(10)"),
        ),
        seconds=1200, seeds=30,
    ),
)  # fmt: skip


def storm(copy: Path, mutant: Mutant) -> tuple[int | None, int, str]:
    """(Seeds it took, invariant, what was seen), None when every seed passed."""
    code = (
        "import json; from actors.modes.storms import first_failure; "
        f"print(json.dumps(first_failure(range({mutant.seeds}), {list(map(dict, mutant.faults))!r}, {mutant.seconds})))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=copy,
        env={**os.environ, "PYTHONPATH": str(copy)},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        return None, 0, done.stderr.strip().splitlines()[-1]
    found = json.loads(done.stdout.splitlines()[-1])
    return (None, 0, "") if found is None else (found["seed"] + 1, found["invariant"], found["seen"])


def patch(copy: Path, mutant: Mutant) -> str:
    """Plant the bug; why not, when the program no longer reads as the mutant expects."""
    for file, old, new in mutant.patches:
        text = (copy / file).read_text()
        if text.count(old) != 1:
            return f"STALE: {file} has {text.count(old)} times: {old}"
        (copy / file).write_text(text.replace(old, new))
    return ""


def main(names: list[str]) -> int:
    """Every mutant, or those whose name holds one of `names`."""
    chosen = [m for m in MUTANTS if not names or any(name in m.name for name in names)]
    survived = 0
    with tempfile.TemporaryDirectory() as place:
        copy = Path(place)
        for package in PACKAGES:
            # with what is compiled: the kernel takes half a minute to compile anew
            shutil.copytree(ROOT / package, copy / package)
        for mutant in chosen:
            stale = patch(copy, mutant)
            seeds, invariant, seen = (None, 0, stale) if stale else storm(copy, mutant)
            for file, _, _ in mutant.patches:
                shutil.copy2(ROOT / file, copy / file)
            survived += seeds is None
            verdict = "SURVIVED" if seeds is None else f"seed {seeds:2} invariant {invariant:2}"
            print(f"{verdict:24} {mutant.name}  {seen[:90]}", flush=True)
    print(f"{len(chosen) - survived} of {len(chosen)} found")
    return survived > 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
