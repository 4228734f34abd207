"""A campaign that is served, and a window of a real browser in which somebody labels."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from typing import Any

import uvicorn
from selenium.webdriver import ActionChains, Chrome, Keys
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webelement import WebElement

from keepers.campaign import Desk, Planned, PlannedItem
from keepers.data import Source
from keepers.integrations.labelling import create_app
from keepers.integrations.labelling.server import address_for, bind


class Serving:
    """The labelling page of a desk, in a thread, on one port that it keeps over restarts."""

    def __init__(self, desk: Desk) -> None:
        self.desk = desk
        self.port = 0
        self.token = secrets.token_urlsafe()
        self.address = ""
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None

    def start(self, token: str = "") -> None:
        self.token = token or self.token
        listening = bind("127.0.0.1", self.port)
        self.port = listening.getsockname()[1]
        self.address = address_for(listening, self.token)
        config = uvicorn.Config(
            create_app(self.desk, self.token), log_level="warning", lifespan="off", ws="none"
        )
        server = self._server = uvicorn.Server(config)

        def run() -> None:
            server.run(sockets=[listening])
            listening.close()

        self._thread = threading.Thread(target=run)
        self._thread.start()

    def stop(self) -> None:
        if self._server and self._thread:
            self._server.should_exit = self._server.force_exit = True
            self._thread.join(20)
            assert not self._thread.is_alive()
        self._server = self._thread = None


def whole_batch(source: Source) -> Planned:
    ids = source.ids.tolist()
    items = tuple(PlannedItem(item=item, rank=rank) for rank, item in enumerate(ids))
    return Planned(round=1, asked=len(items), labels_seen=0, method="random", items=items)


Serve = Callable[..., Serving]


def wait_for(condition: Callable[[], Any], what: str, seconds: float = 20.0) -> Any:
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"waited for {what}"
        time.sleep(0.02)
    return found


class Window:
    """What a person sees of the page and does there."""

    def __init__(self, browser: Chrome) -> None:
        self.browser = browser
        self.handle = browser.current_window_handle

    def find(self, selector: str) -> WebElement:
        return self.browser.find_element(By.CSS_SELECTOR, selector)

    def script(self, code: str, *given: Any) -> Any:
        return self.browser.execute_script(code, *given)  # pyright: ignore[reportUnknownMemberType]

    def enter(self, address: str, name: str | None = "Ann") -> None:
        """Open the page; give the name where it is asked for, None where it is known."""
        self.browser.get(address)
        if name is not None:
            wait_for(self.find("#naming").is_displayed, "the question for the name")
            self.find("#naming-name").send_keys(name, Keys.ENTER)

    def press(self, *keys: str) -> None:
        for key in keys:
            ActionChains(self.browser).send_keys(key).perform()

    def switch(self) -> Window:
        self.browser.switch_to.window(self.handle)
        return self

    def shown(self) -> str | None:
        """The text before the person, None where there is none."""
        code = "const t = document.getElementById('text'); return t.hidden ? null : t.textContent"
        return self.script(code)

    def text(self) -> str:
        return wait_for(self.shown, "an item")

    def message(self) -> str:
        element = self.find("#message")
        return element.text if element.is_displayed() else ""

    def banner(self, name: str) -> str:
        element = self.find(f"#{name}")
        return element.text if element.is_displayed() else ""

    def buttons(self) -> dict[str, WebElement]:
        found = self.browser.find_elements(By.CSS_SELECTOR, "#choice button")
        return {
            button.find_element(By.TAG_NAME, "bdi").text: button
            for button in found
            if button.is_displayed()
        }

    def num_unsent(self) -> int:
        code = "return Object.keys(localStorage).filter((key) => key.includes('/vote/')).length"
        return self.script(code)

    def wait_until_sent(self) -> None:
        wait_for(lambda: self.num_unsent() == 0, "the votes to be sent")
