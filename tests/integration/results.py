"""Makes the tables of docs/results.md: every backtest of that page on the real candles, each figure as the program prints it.

Run by `make results` (some minutes), or on other files and days: `python -m tests.integration.results --data DIR --start D --end D`. What
stands between `<!-- made: NAME -->` and `<!-- end -->` is replaced; the words around are a person's.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any, Final

from rich.progress import Progress

from actors.modes.backtest import Sources
from actors.modes.many import Job, run_many
from actors.modes.plans import midnight_us, read_lengths, windows
from config.load import load
from config.settings import Settings

ROOT: Final = Path(__file__).parents[2]
PAGE: Final = ROOT / "docs" / "results.md"
DATA: Final = ROOT.parent / "shared" / "data"
COINS: Final = {"BTC/USD": "BTC", "ETH/USD": "ETH"}
FILES: Final = {
    "data": "binance_spot_{coin}USDT_15m__b.parquet",
    "perp": "binance_perp_{coin}USDT_15m__b.parquet",
    "funding": "binance_funding_{coin}USDT_8h__b.parquet",
}
FINER: Final = {"path": "binance_spot_{coin}USDT_5m__b.parquet"}
START, END = date(2023, 1, 1), date(2025, 7, 1)

Document = Mapping[str, Any]
Documents = Mapping[str, Document]

CONDITIONS: Final[dict[str, tuple[dict[str, Any], bool]]] = {
    "as above": ({}, False),
    "the path decides, not the stop first": ({"intrabar": "path"}, False),
    "5m candles tell the way (2023-01 to 2024-11)": ({}, True),
    "latency of one second": ({"latency_ms": 1000}, False),
    "slippage: also a tenth of the last candle's range": ({"slippage_range_share": "0.1"}, False),
    "slippage: also 1 % x root of the order's share of turnover": ({"slippage_size_pct": "1"}, False),
    "spread: also a twentieth of the last candle's range": ({"spread_range_share": "0.05"}, False),
    "all four at once": (
        {"latency_ms": 1000, "slippage_range_share": "0.1", "slippage_size_pct": "1", "spread_range_share": "0.05"},
        False,
    ),
    "a book of 500 USD at each price": ({"depth_usd": 500}, False),
    "Kraken's fee tiers": ({"fee_schedule": "kraken"}, False),
    "no funding": ({}, False),
}
"""Name -> settings of the market, and whether finer candles are used."""
NO_FUNDING: Final = "no funding"


# --- the runs ----------------------------------------------------------------------------------------------------------------


def sources(
    folder: Path, kinds: Mapping[str, str], symbols: Sequence[str] = tuple(COINS)
) -> dict[str, dict[str, Path]]:
    """The files of some kinds."""
    return {
        kind: {symbol: folder / name.format(coin=COINS[symbol]) for symbol in symbols} for kind, name in kinds.items()
    }


def settings(**values: Any) -> Settings:
    """Those of a backtest, with changes."""
    return load("backtest", "paper", None, values, {})


def jobs(folder: Path, start: date, end: date) -> list[Job]:
    """All backtests of the page, named by section and run."""
    files = Sources(**sources(folder, FILES))  # type: ignore[arg-type]
    finer = Sources(**sources(folder, FILES | FINER))  # type: ignore[arg-type]
    found: list[Job] = []

    def add(name: str, chosen: Settings, on: Sources = files, days: tuple[date, date] = (start, end)) -> None:
        span = {"start_us": midnight_us(days[0]), "end_us": midnight_us(days[1])}
        found.append(Job(name=name, settings=chosen, sources=on, **span))

    add("default", settings())
    years = [(date(year, 1, 1), date(year + 1, 1, 1)) for year in range(start.year, end.year + 1)]
    spans = {"all": (start, end)} | {
        str(a.year): (max(a, start), min(b, end)) for a, b in years if max(a, start) < min(b, end)
    }
    for label, symbols in (("both", list(COINS)), *((symbol, [symbol]) for symbol in COINS)):
        pairs = [pair.model_dump() for pair in settings().symbols if pair.spot in symbols]
        for span, days in spans.items():
            add(f"years/{label}, {span}", settings(symbols=pairs), files.only(symbols), days)
    for name, (market, is_finer) in CONDITIONS.items():
        on = finer if is_finer else files
        add(
            f"conditions/{name}",
            settings(market=market),
            Sources(data=on.data, perp=on.perp) if name == NO_FUNDING else on,
        )
    for preset in ("runner", "classic"):
        for profile in ("conservative", "standard", "aggressive"):
            add(f"profiles/{preset}, {profile}", settings(profile=profile, **{"strategy.preset": preset}))
    train, test = read_lengths("train=12mo,test=3mo") if (end - start).days > 500 else read_lengths("train=7d,test=7d")
    for window in windows(train, test, start, end):
        for kind, first, last in (("train", window.train, window.test), ("test", window.test, window.end)):
            add(f"walk/{kind} {first} to {last}", settings(), files, (first, last))
    return found


# --- the tables --------------------------------------------------------------------------------------------------------------

GROUP: Final = (
    "trades",
    "gross",
    "slippage",
    "fees",
    "funding",
    "net",
    "win rate, %",
    "profit factor",
    "expectancy, R",
)
RUN: Final = (
    "trades", "return, %", "a year, %", "drawdown, %", "Sharpe", "Sortino", "profit factor", "win rate, %", "expectancy, R",
    "in the market, %", "leverage, x", "gross", "slippage", "fees", "funding", "net",
)  # fmt: skip
FIGURES: Final[tuple[tuple[str, str, str], ...]] = (
    ("net", "net_usd", "+,.2f"), ("return, %", "return_pct", "+.2f"), ("a year (CAGR), %", "cagr_pct", "+.2f"),
    ("deepest drawdown, %", "max_drawdown_pct", ".2f"), ("deepest drawdown, USD", "max_drawdown_usd", ",.2f"),
    ("closed trades", "trade_count", "d"), ("win rate, %", "win_rate_pct", ".1f"), ("profit factor", "profit_factor", ".2f"),
    ("expectancy, USD", "expectancy_usd", "+.2f"), ("expectancy, R", "expectancy_r", "+.3f"), ("Sharpe", "sharpe", ".2f"),
    ("Sortino", "sortino", ".2f"), ("time in the market, %", "exposure_pct", ".1f"),
    ("highest leverage, x", "leverage_max_x", ".2f"), ("nearest liquidation, % of the mark", "liquidation_distance_min_pct", ".0f"),
)  # fmt: skip


def said(value: Any, form: str) -> str:
    """A figure as text; what cannot be known is none."""
    if value is None:
        return "none"
    return format(Decimal(value) if isinstance(value, str) else value, form)


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Markdown, the first column a name."""
    lines = [f"| {' | '.join(heads)} |", f"|---|{'--:|' * (len(heads) - 1)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])


def money(group: Mapping[str, Any]) -> list[str]:
    """Gross, costs and net."""
    forms = (("gross", "+,.2f"), ("slippage", ",.2f"), ("fees", ",.2f"), ("funding", ",.2f"), ("net", "+,.2f"))
    return [said(group[f"{name}_usd"], form) for name, form in forms]


def run_row(name: str, run: Document) -> list[str]:
    """One run as a row of RUN."""
    fields = (
        ("trade_count", "d"), ("return_pct", "+.2f"), ("cagr_pct", "+.2f"), ("max_drawdown_pct", ".2f"), ("sharpe", ".2f"),
        ("sortino", ".2f"), ("profit_factor", ".2f"), ("win_rate_pct", ".1f"), ("expectancy_r", "+.3f"), ("exposure_pct", ".1f"),
        ("leverage_max_x", ".2f"),
    )  # fmt: skip
    return [name, *(said(run[field], form) for field, form in fields), *money(run["costs"])]


def default(runs: Documents) -> str:
    """The figures of the default with what chance could have made of them, then its closed trades cut in all ways."""
    run = runs["default"]
    sure = run["confidence"]["intervals"]
    rows = []
    for label, field, form in FIGURES:
        between = sure.get(field)
        rows.append(
            [label, said(run[field], form), f"{said(between[0], form)} to {said(between[1], form)}" if between else ""]
        )
    longest = run["drawdowns"]["longest"]
    if longest is not None:
        over = "" if longest["recovered_at"] else ", not over at the end"
        rows.insert(5, ["longest drawdown", f"{longest['days']:.0f} days{over}", ""])
    d = run["decisions"]
    reasons = ", ".join(f"`{name}` {count}" for name, count in {**d["refused_by"], **d["blocked_by"]}.items())
    rows.append(["signals, approved, refused", f"{d['signals']}, {d['approved']}, {d['refused']} ({reasons})", ""])
    cuts = [
        [
            name,
            str(one["trades"]),
            *money(one),
            said(one["win_rate_pct"], ".1f"),
            said(one["profit_factor"], ".2f"),
            said(one["expectancy_r"], "+.3f"),
        ]
        for by, groups in (
            *((by, cut) for by, cut in run["by"].items() if by != "month"),
            ("", {"all, open ones too": run["costs"]}),
        )
        for name, one in groups.items()
    ]
    first = table(("figure", "value", "95 % by chance alone"), rows)
    return f"{first}\n\n{table(('closed trades', *GROUP), cuts)}\n\n{costs(run)}"


def costs(run: Document) -> str:
    """What was left of what the trades made."""
    gross, net = (Decimal(run["costs"][f"{name}_usd"]) for name in ("gross", "net"))
    share = f" Costs took {(gross - net) / gross * 100:.0f} cents of every dollar of it." if gross > 0 else ""
    return (
        f"Gross is what the trades made at the marks of their fills: {gross:+,.2f} USD; {net:+,.2f} were left.{share}"
    )


def section(prefix: str, head: str) -> Callable[[Documents], str]:
    """A table of the runs whose names begin so."""

    def made(runs: Documents) -> str:
        those = {name.removeprefix(f"{prefix}/"): run for name, run in runs.items() if name.startswith(f"{prefix}/")}
        return table((head, *RUN), [run_row(name, run) for name, run in those.items()])

    return made


def walk(runs: Documents) -> str:
    """The windows, and what the tests made together."""
    tests = [run for name, run in runs.items() if name.startswith("walk/test")]
    grown, gained = 1.0, 0
    for run in tests:
        grown *= 1 + (run["return_pct"] or 0.0) / 100
        gained += (run["return_pct"] or 0.0) > 0
    end = f"{gained} of {len(tests)} test spans gained; compounded they made {(grown - 1) * 100:+.2f} %."
    return f"{section('walk', 'window')(runs)}\n\n{end}"


BLOCKS: Final[dict[str, Callable[[Documents], str]]] = {
    "default": default,
    "years": section("years", "symbols, year"),
    "conditions": section("conditions", "assumed"),
    "profiles": section("profiles", "preset, profile"),
    "walk-forward": walk,
}


def page(text: str, runs: Documents) -> str:
    """The page with its tables made anew. KeyError when a block is not there."""
    for name, made in BLOCKS.items():
        block = re.compile(rf"(<!-- made: {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        if not block.search(text):
            raise KeyError(f"no block {name} on the page")
        text = block.sub(lambda found, made=made: f"{found[1]}\n{made(runs)}\n\n{found[2]}", text)  # type: ignore[misc]
    return text


def main() -> None:
    """Run everything and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--data", type=Path, default=DATA, help="folder of the candle files")
    parser.add_argument("--start", type=date.fromisoformat, default=START)
    parser.add_argument("--end", type=date.fromisoformat, default=END, help="the day after the last")
    parser.add_argument("--page", type=Path, default=PAGE)
    parser.add_argument("--jobs", type=int, default=None, help="processes [default: one a core]")
    options = parser.parse_args()
    if not options.data.is_dir():
        raise SystemExit(f"the candles are not here: {options.data}")
    with Progress() as progress:
        bar = progress.add_task("backtests", total=None)
        runs = run_many(
            jobs(options.data, options.start, options.end),
            workers=options.jobs,
            scheduler=None,
            on_progress=lambda done, total: progress.update(bar, completed=done, total=total),
        )
    text = page(options.page.read_text(encoding="utf-8"), {run["name"]: run for run in runs})
    options.page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
