"""The real daemon against the real venue over loopback TCP, one of them killed with SIGKILL at random moments: `make killed`.

Not simulated: two processes, a real file system, real time (the market runs fast). After each restart, once the daemon says that
entries are open, the exchange and the journal are asked, never the daemon's memory:

- every position has reduce-only stops on the mark over exactly its size, and nothing that reduces rests without a position;
- no signal was entered twice;
- the journal's chain of seals is whole.

Exit 1 names the kill after which something was wrong.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final
from urllib.parse import urlsplit

import numpy as np
import trio
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from actors.ledger.journal import open_reader
from protocol.messages.futures import SnapshotSeen
from tests.fakes.restless import STRATEGY, candle_files

sys.path.append(str(Path(__file__).parents[1] / "cli"))
from homes import Home, stop_all
from served import Served, serving

SPEED: Final = 240
SETTINGS: Final[dict[str, Any]] = {
    "risk": {"risk_pct": "0.05", "cost_max_r": 100, "loss_streak_max": 100, "cooldown_h": 0, "entries_per_day_max": 100, "basis_skew_max_s": 60},
    "execution": {"orders_per_minute": 100, "order_notional_max_usd": 1_000_000},
    "feeds": {"settle_ms": 0},
    "market": {"tick_s": 15, "equity_usd": 1_000_000, "speed": SPEED},
    "strategy": STRATEGY,
}  # fmt: skip
"""Entries often: a kill should meet a trade."""
TRADED: Final = 1_000
"""Candles: more than an ordeal lasts."""
UP_S: Final = 8.0
"""At most so long a daemon lives on after its state was found whole."""
START_UP_S: Final = 3.0
"""One kill in three comes this soon after the start, whatever the daemon is doing."""
SETTLES_S: Final = 10.0
"""What is being sent may still be on its way for this long."""


class Wrong(Exception):
    """What must never be, was."""


def truth_is_whole(truth: SnapshotSeen) -> None:
    """Raises Wrong."""
    held = {position.symbol: position.size for position in truth.positions if position.size}
    for symbol, size in held.items():
        stops = [o for o in truth.orders if o.symbol == symbol and o.order_type == "stp" and o.reduce_only]
        covered = sum((order.size for order in stops), Decimal(0))
        if covered != abs(size) or any(order.trigger != "mark" for order in stops):
            raise Wrong(f"{symbol}: a position of {size} with stops over {covered}")
    left = [f"{o.order_type} {o.symbol}" for o in truth.orders if o.reduce_only and o.symbol not in held]
    if left:
        raise Wrong(f"reduce-only orders without a position: {', '.join(left)}")


def entries_of(home: Home) -> int:
    """How many entries the journal holds. Raises Wrong."""
    with open_reader(f"sqlite:///{home.path / 'ledger.sqlite'}") as reader:
        if fault := reader.verify().fault:
            raise Wrong(f"the journal: {fault}")
        entries = Counter(row["signal_id"] for row in reader.orders() if row["role"] == "entry")
    if twice := sorted(signal for signal, count in entries.items() if count > 1):
        raise Wrong(f"entered more than once: {', '.join(twice)}")
    return entries.total()


async def settle(served: Served) -> None:
    """The exchange's books are whole, at once or when what is on its way has arrived. Raises Wrong."""
    with trio.move_on_after(SETTLES_S):
        while True:
            try:
                return truth_is_whole(await trio.to_thread.run_sync(served.truth))  # noqa: TID251  two clients in one process
            except Wrong:
                await trio.sleep(0.2)
    truth_is_whole(await trio.to_thread.run_sync(served.truth))  # noqa: TID251


def until_open(home: Home) -> None:
    """The daemon that was started last says that entries are open."""
    file = home.path / "status.json"
    before = file.stat().st_mtime_ns if file.exists() else 0
    try:
        home.page_where(lambda page: page["entries"] == "open" and file.stat().st_mtime_ns > before)
    except trio.TooSlowError:
        raise Wrong(f"entries stay closed: {home.status}") from None


class Ordeal:
    """One state and one account, lived through by many processes. `killed` and `held` count kills, and those with a position open."""

    def __init__(self, folder: Path, random: np.random.Generator) -> None:
        self._random = random
        data = candle_files(folder, ("BTC/USD", "ETH/USD"), TRADED)
        self._venue = [folder / "config.yaml", "--speed", str(SPEED), "--books", str(folder / "books"), *data]
        self.home = Home(folder / "state", folder / "config.yaml", "live")
        self.killed, self.held, self.entries, self._port = 0, 0, 0, 0

    @contextmanager
    def venue(self) -> Iterator[Served]:
        """The exchange on its kept books, at one address for all its lives, with the daemon on it; killed at the end."""
        config, *options = self._venue
        with serving(Path(config), *map(str, options), port=self._port) as served:
            self._port = urlsplit(served.variables["KRAKEN_SMC__EXCHANGE__FUTURES_URL"]).port or 0
            self.home.variables = served.variables
            if not self.home.daemons or self.home.daemons[-1].poll() is not None:
                self.home.start()
            yield served

    def live(self, served: Served, *, hasty: bool = False) -> None:
        """Go on until the next kill; unless `hasty`, only after trading was allowed and all found whole. Raises Wrong."""
        if not hasty:
            self.look(served)
        trio.run(trio.sleep, self._random.uniform(0, START_UP_S if hasty else UP_S))
        self.held += any(position.size for position in served.truth().positions)
        self.killed += 1

    def look(self, served: Served) -> None:
        """Wait until trading is allowed and ask exchange and journal. Raises Wrong."""
        until_open(self.home)
        trio.run(settle, served)
        self.entries = entries_of(self.home)

    def kill_daemon(self) -> None:
        """SIGKILL, and the next life."""
        self.home.daemons[-1].kill()
        self.home.daemons[-1].communicate()
        self.home.start()


def run(ordeal: Ordeal, daemons: int, venues: int, hasty: Iterator[bool], advance: Callable[[], None]) -> None:
    """First the daemon so many times, then the venue. Raises Wrong."""
    with ordeal.venue() as served:
        for _ in range(daemons):
            ordeal.live(served, hasty=next(hasty))
            ordeal.kill_daemon()
            advance()
        ordeal.look(served)
    for _ in range(venues):
        with ordeal.venue() as served:
            ordeal.live(served)
        advance()
    with ordeal.venue() as served:
        ordeal.look(served)


def main() -> int:
    """Kill, restart, look; say how it went."""
    options = argparse.ArgumentParser(prog="make killed", description=(__doc__ or "").splitlines()[0])
    options.add_argument("--daemons", type=int, default=30, help="how often the daemon is killed")
    options.add_argument("--venues", type=int, default=30, help="and after that the venue")
    options.add_argument("--seed", type=int, default=0, help="of the moments")
    options.add_argument(
        "--state", type=Path, help="an empty folder to keep the state and the log in; else thrown away"
    )
    wanted = options.parse_args()
    random = np.random.default_rng(wanted.seed)
    console = Console(stderr=True)
    columns = (TextColumn("kills"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with TemporaryDirectory() as name, Progress(*columns, console=console) as progress:
        folder = wanted.state or Path(name)
        (folder / "config.yaml").write_text(json.dumps(SETTINGS))  # JSON is YAML
        bar = progress.add_task("", total=wanted.daemons + wanted.venues)
        ordeal = Ordeal(folder, random)
        hasty = (random.random() < 1 / 3 for _ in count())
        try:
            run(ordeal, wanted.daemons, wanted.venues, hasty, lambda: progress.advance(bar))
        except (Wrong, AssertionError) as error:
            console.print(f"after kill {ordeal.killed}: {error}", style="red", markup=False)
            return 1
        finally:
            stop_all(ordeal.home)
    Console().print(
        f"{ordeal.killed} kills, {ordeal.held} of them with a position open; "
        f"{ordeal.entries} entries, none twice; every stop in place"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
