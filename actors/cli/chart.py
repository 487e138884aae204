"""`chart`: candles with the structure and the decisions of the strategy, as one HTML file and as a picture."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer
from rich.console import Console

from actors.cli.errors import Exit, bad_input, stop
from actors.cli.options import one_of
from actors.cli.research import Preset, Sets, columns, folder_of, minute, moment_ms, read_base, strategy_params, working
from config.strategy import StrategyParams
from protocol.units import TIMEFRAME_MS, Timeframe

if TYPE_CHECKING:
    from sim.report.chart import Trade
    from sim.report.page import Theme

NEWEST = 300
CANDLES_MOST = 20_000
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
WINDOW = (1400, 752)
RENDER_MS = 10_000
BROWSER_S = 60


def chart(
    data: Annotated[Path, typer.Option("--data", metavar="FILE", help="15m candles, csv or parquet.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE.html", help="The interactive chart; works offline.")],
    png: Annotated[
        Path | None, typer.Option("--png", metavar="FILE.png", help="Also a picture, through an installed Chromium.")
    ] = None,
    begin: Annotated[
        str | None, typer.Option("--from", help="First moment, UTC (default: 300 candles before --to).")
    ] = None,
    end: Annotated[
        str | None, typer.Option("--to", help="Until then, UTC, not included (default: end of data).")
    ] = None,
    tf: Annotated[
        str | None,
        typer.Option("--tf", help="Candles to draw, 15m to 1d (default: the strategy's first execution timeframe)."),
    ] = None,
    preset: Preset = "runner",
    sets: Sets = None,
    volume: Annotated[bool, typer.Option("--volume", help="Volume below the prices.")] = False,
    theme: Annotated[str, typer.Option("--theme", help="auto, light or dark; the page can be switched.")] = "auto",
    name: Annotated[str | None, typer.Option("--name", help="Heading (default: the file's name).")] = None,
) -> None:
    """Draw what the strategy saw: swings, BOS and CHoCH, gaps, order blocks, liquidity, entries and exits with their reasons.

    The whole file is computed, so that the part shown is as the strategy knew it then; missing candles are filled.
    """
    one_of("--theme", theme, "auto", "light", "dark")
    folder_of("--out", out)
    if png is not None:
        folder_of("--png", png)
    params = strategy_params(preset, ["gap_policy=fill", *(sets or ())])
    timeframe = cast(Timeframe, one_of("--tf", tf or params.exec_tfs[0], *TIMEFRAME_MS))
    begin_ms, end_ms = moment_ms("--from", begin), moment_ms("--to", end)
    from sim.market.files import BadCandleFile, BadPeriod
    from sim.report.chart import draw
    from sim.report.page import keep, page, place

    with bad_input(BadCandleFile, BadPeriod), working("drawing ..."):
        view = _view(data, timeframe, params, begin_ms, end_ms, volume, name or data.name)
    body = place("chart", "max(100vh - 48px, 700px)")
    html = page(view.title, view.subtitle, body, {"chart": draw(view)}, theme=cast("Theme", theme))
    try:
        keep(html, out)
    except OSError as error:
        raise stop(Exit.BAD_INPUT, f"error: --out {out}: {error.strerror}") from error
    console = Console(highlight=False, soft_wrap=True)
    console.print(f"{out}: {len(view.candles)} candles, {len(view.trades)} entries", markup=False)
    if png is not None:
        photograph(out, png, theme)
        console.print(f"{png}", markup=False)


def _view(
    file: Path, tf: Timeframe, params: StrategyParams, begin_ms: int | None, end_ms: int | None, volume: bool, name: str
) -> Any:
    """Everything the chart shows."""
    from actors.strategy.analyze import analyze
    from actors.strategy.history import decide_history
    from sim.market.files import BadPeriod, check_period, close_gaps
    from sim.market.longer import aggregate
    from sim.report.chart import View
    from sim.report.structure import read_structure

    check_period(begin_ms, end_ms)
    base, _ = close_gaps(read_base(file).between(None, end_ms), "15m", "fill")
    tf_ms = TIMEFRAME_MS[tf]
    candles = base if tf == "15m" else aggregate(base, tf)
    if not len(candles):
        raise BadPeriod(f"{file}: holds no whole {tf} candle")
    begin_ms = int(candles.time[-NEWEST:][0]) if begin_ms is None else begin_ms
    shown = candles.between(begin_ms, None)
    if len(shown) > CANDLES_MOST:
        raise BadPeriod(f"{len(shown):,} candles are too many for one chart: move --from and --to closer, or --tf 1d")
    found = analyze(columns(candles), params, tf_ms)
    first, last = int(shown.time[0]), int(shown.time[-1])
    rows = decide_history({name: columns(base)}, params, exits=True)
    ema = found["indicators"]["ema"][-len(shown) :]
    return View(
        title=f"{name} {tf}",
        subtitle=f"{minute(first)} to {minute(last + tf_ms)} UTC",
        candles=shown,
        tf_ms=tf_ms,
        structure=read_structure(found["events"], tf_ms, params.ob_mitigation, first, last),
        trades=_trades(rows, first),
        lines={f"EMA {params.ema_period}": tuple(ema)},
        has_volume=volume,
    )


def _trades(rows: Sequence[Mapping[str, Any]], first_ms: int) -> tuple[Trade, ...]:
    """Signals that were open at some time in view."""
    from sim.report.chart import Trade, at, price

    trades = []
    for row in rows:
        if row["side"] == "hold":
            continue
        tf_ms = TIMEFRAME_MS[cast(Timeframe, row["tf"])]
        entry_ms = row["time"] + tf_ms
        exit_ms = None if row["exit_time"] is None else row["exit_time"] + tf_ms
        if exit_ms is not None and exit_ms < first_ms:
            continue
        risk, multiple = row["entry"] - row["stop"], 0.0
        if exit_ms is not None:
            multiple = (row["exit_price"] - row["entry"]) / risk
        trades.append(
            Trade(
                side=row["side"],
                entry_ms=entry_ms,
                entry=row["entry"],
                stop=row["stop"],
                target=row["tp"],
                exit_ms=exit_ms,
                exit=row["exit_price"],
                entry_text=(
                    f"{row['side']} {row['tf']} at {price(row['entry'])}, {at(entry_ms)}",
                    f"in {row['zone_id']}",
                    f"stop {price(row['stop'])} ({abs(risk) / row['entry']:.2%})",
                    f"target {price(row['tp'])} ({row['tp_source']}, {(row['tp'] - row['entry']) / risk:.1f} R)",
                ),
                exit_text=()
                if exit_ms is None
                else (
                    f"{row['code']} at {price(row['exit_price'])}, {at(exit_ms)}",
                    f"{multiple:+.2f} R after {row['bars_held']} candles, before costs",
                ),
            )
        )
    return tuple(trades)


def photograph(html: Path, png: Path, theme: str) -> None:
    """The page as a picture. Exit 1 with one line when there is no browser, or it fails."""
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        raise stop(
            Exit.FAILED, f"error: --png: no Chromium is installed (looked for {', '.join(BROWSERS)}); {html} is written"
        )
    with tempfile.TemporaryDirectory() as profile:
        command = [
            browser,
            "--headless",
            "--disable-gpu",
            "--hide-scrollbars",
            *(["--no-sandbox"] if os.geteuid() == 0 else []),  # Chromium refuses its sandbox to root
            *(["--blink-settings=preferredColorScheme=0"] if theme == "dark" else []),
            f"--user-data-dir={profile}",
            f"--window-size={WINDOW[0]},{WINDOW[1]}",
            "--force-device-scale-factor=2",
            f"--virtual-time-budget={RENDER_MS}",
            f"--screenshot={png.resolve()}",
            html.resolve().as_uri(),
        ]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=BROWSER_S, check=False)
        except subprocess.TimeoutExpired:
            raise stop(
                Exit.FAILED, f"error: --png: {browser} took more than {BROWSER_S} s; {html} is written"
            ) from None
    if done.returncode or not png.is_file():
        said = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        raise stop(Exit.FAILED, f"error: --png: {browser} failed: {said}; {html} is written")
