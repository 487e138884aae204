"""The report over all real candles, opened in a real browser: `make report-pictures`. Not part of the suite, it takes a minute.

Every card, metric, cut and trade on the page is compared with the document, as the suite does on three weeks; then the top, the trades
and one trade's chart are photographed in light and dark, for a person to judge. Exit 1 when the page complains or differs.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from playwright.sync_api import sync_playwright
from rich.console import Console

from actors.cli.chart import BROWSERS
from actors.modes.backtest import Sources, run_backtest
from config.load import load
from tests.browser.test_browser_report import assert_shows
from tests.integration.results import DATA, FILES, sources

DRAWN: Final = "#plot-stakes .scatterlayer .trace path"


def photograph(page: Any, save: Callable[[str], str], document: dict[str, Any]) -> None:
    """What a person looks at first, then the tables, then the best and the worst trade."""
    page.screenshot(path=save("top"))
    page.screenshot(path=save("whole"), full_page=True)
    trades = sorted(document["trades"], key=lambda trade: float(trade["net_usd"]))
    for name, trade in (("worst", trades[0]), ("best", trades[-1])):
        page.evaluate(f"location.hash = 'trade-{trade['trade_id']}'")
        page.wait_for_function("document.getElementById('plot-trade').data?.some(t => t.name === 'entry')")
        page.wait_for_timeout(400)
        page.screenshot(path=save(f"trade-{name}"))


def main() -> int:
    """Run, open, compare, photograph."""
    told = Console()
    if not DATA.is_dir():
        told.print(f"the real candles are not here: {DATA}")
        return 1
    folder = Path(sys.argv[1] if len(sys.argv) > 1 else "build/report")
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "report.html"
    files = Sources(**sources(DATA, FILES))  # type: ignore[arg-type]
    run_backtest(load("backtest", "paper", None, {}, {}), files, start_us=None, end_us=None, driver="loop", report=file)
    complaints: list[str] = []
    found = next(path for name in BROWSERS if (path := shutil.which(name)))
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=["--no-sandbox"] if os.geteuid() == 0 else [])
        for theme in ("light", "dark"):
            context = browser.new_context(viewport={"width": 1400, "height": 1000}, color_scheme=theme)
            context.set_offline(True)
            page = context.new_page()
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.on("requestfailed", lambda request: complaints.append(request.url))
            page.goto(file.resolve().as_uri())
            page.wait_for_selector(DRAWN)
            document = assert_shows(page)
            photograph(page, lambda name, theme=theme: str(folder / f"{name}-{theme}.png"), document)
            context.close()
        browser.close()
    told.print(f"{document['trade_count']} trades, all figures as in the document; pictures are in {folder}")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
