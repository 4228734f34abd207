"""A real Chromium without a window, and campaigns served to it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from selenium.webdriver import Chrome, ChromeOptions, ChromeService

from browser.labelling_window import Serve, Serving, Window, whole_batch
from keepers.campaign import Desk, Event, Journal, Schema, Started
from keepers.data import Source, open_source

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    *("--disable-dev-shm-usage", "--window-size=1100,800", "--lang=en"),
)


@pytest.fixture(scope="session")
def open_browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[], Chrome]]:
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and driver):
        pytest.skip("chromium and chromedriver are not there: apt install chromium chromium-driver")
    opened: list[Chrome] = []

    def start() -> Chrome:
        options = ChromeOptions()
        options.binary_location = chromium
        for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
            options.add_argument(flag)
        capability: Any = {"browser": "ALL"}
        options.set_capability("goog:loggingPrefs", capability)
        opened.append(Chrome(options=options, service=ChromeService(driver)))
        return opened[-1]

    yield start
    for browser in opened:
        browser.quit()


@pytest.fixture(scope="session")
def one_browser(open_browser: Callable[[], Chrome]) -> Chrome:
    return open_browser()


@pytest.fixture
def window(one_browser: Chrome) -> Iterator[Window]:
    """A window of a browser that knows nothing yet."""
    first = one_browser.current_window_handle
    one_browser.switch_to.new_window("tab")
    yield Window(one_browser)
    for handle in one_browser.window_handles:
        if handle != first:
            one_browser.switch_to.window(handle)
            one_browser.close()
    one_browser.switch_to.window(first)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Serve a campaign of texts, or of a source, whose items are all planned."""
    begun: list[Serving] = []

    def start(
        texts: Sequence[str] = ("Good.", "Bad.", "So-so."),
        classes: Sequence[str] = ("neg", "pos"),
        *,
        source: Source | None = None,
        votes: int = 1,
        planned: bool = True,
        **settings: Any,
    ) -> Serving:
        if source is None:
            keys = [f"item-{number:04d}" for number in range(len(texts))]
            table = pa.table({"key": keys, "text": list(texts)})
            source = open_source(table, id="key", input="text", require_labels=False)
        journal = Journal.create(tmp_path / f"campaign-{len(begun)}")
        events: list[Event] = [
            Started(
                settings={"votes": votes, **settings}, campaign=f"{tmp_path.name}-{len(begun)}"
            ),
            Schema(version=1, classes=tuple(classes)),
        ]
        journal.append([*events, whole_batch(source)] if planned else events)
        begun.append(Serving(Desk(journal, source)))
        begun[-1].start()
        return begun[-1]

    yield start
    for serving in begun:
        serving.stop()
        serving.desk.journal.close()
