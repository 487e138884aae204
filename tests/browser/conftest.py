"""A real browser: Debian's Chromium, offline, driven by playwright."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from actors.cli.chart import BROWSERS


class Pages:
    """Opens files as a person would, without a network. Whatever a page complains of is kept."""

    def __init__(self, browser: Any) -> None:
        self.complaints: list[str] = []
        self.context = browser.new_context(viewport={"width": 1400, "height": 900})
        self.context.set_offline(True)

    def open(self, file: Path) -> Any:
        """The page of a file, loaded and drawn."""
        page = self.context.new_page()
        page.on("console", lambda said: self.complaints.append(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("requestfailed", lambda request: self.complaints.append(request.url))
        page.goto(file.resolve().as_uri())
        return page


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """The installed browser, or a skip that says what is missing. Its driver runs an event loop, so it ends with its module."""
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip("no Chromium is installed: apt-get install chromium")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=found, args=["--no-sandbox"] if os.geteuid() == 0 else [])
        yield browser
        browser.close()


@pytest.fixture
def pages(chromium: Any) -> Iterator[Pages]:
    """Fresh pages. Fails the test if any page complained."""
    pages = Pages(chromium)
    yield pages
    pages.context.close()
    assert pages.complaints == []
