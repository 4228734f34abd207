"""Several labels, and numbers, labelled on the page in a real browser."""

from __future__ import annotations

import json
from typing import Any

from selenium.webdriver import Keys

from browser.labelling_window import Serve, Window, wait_for

EMOTIONS = ("joy", "anger", "fear")


def said(serving: Any) -> dict[Any, Any]:
    """The last word on each item."""
    items = serving.desk.state.items.values()
    return {item.id: item.current[-1].label for item in items if item.current}


def wait_for_labels(window: Window, serving: Any, count: int) -> dict[Any, Any]:
    window.wait_until_sent()
    return wait_for(lambda: len(found := said(serving)) == count and found, "the labels")


def pressed(window: Window) -> list[str]:
    code = (
        "return [...document.querySelectorAll('#choice [aria-pressed=true]')].map((b) => b.title)"
    )
    return window.script(code)


def test_keys_toggle_labels_and_enter_confirms(serve: Serve, window: Window) -> None:
    serving = serve(classes=EMOTIONS, task="labels")
    window.enter(serving.address)
    assert window.text() == "Good."
    window.press("1", "3")
    assert pressed(window) == ["joy", "fear"]
    window.press("3")
    assert pressed(window) == ["joy"]
    window.press("2", Keys.ENTER)
    wait_for(lambda: window.text() == "Bad.", "the next item")
    assert pressed(window) == []  # nothing is carried over
    assert wait_for_labels(window, serving, 1) == {"item-0000": ("anger", "joy")}


def test_none_of_these_has_to_be_said(serve: Serve, window: Window) -> None:
    serving = serve(classes=EMOTIONS, task="labels")
    window.enter(serving.address)
    assert window.text() == "Good."
    window.press(Keys.ENTER)  # nothing is chosen: that is no answer
    assert "none of these" in window.find("#status").text
    assert window.text() == "Good."
    window.press("n")
    wait_for(lambda: window.text() == "Bad.", "the next item")
    window.find("#nothing").click()
    assert wait_for_labels(window, serving, 2) == {"item-0000": (), "item-0001": ()}
    window.press("u")  # and can be taken back
    wait_for(lambda: window.text() == "Bad.", "the item again")
    window.press("1", Keys.ENTER)
    window.wait_until_sent()
    wait_for(lambda: said(serving)["item-0001"] == ("joy",), "the correction")


def test_a_mouse_toggles_and_confirms(serve: Serve, window: Window) -> None:
    serving = serve(classes=EMOTIONS, task="labels")
    window.enter(serving.address)
    window.text()
    buttons = window.buttons()
    buttons["anger"].click()
    window.press(Keys.ENTER)  # the focus is on the button: Enter confirms, and toggles nothing
    assert wait_for_labels(window, serving, 1) == {"item-0000": ("anger",)}
    window.buttons()["fear"].click()
    window.find("#confirm").click()
    assert wait_for_labels(window, serving, 2)["item-0001"] == ("fear",)


def test_many_labels_are_searched_for_and_toggled(serve: Serve, window: Window) -> None:
    names = [f"label {number}" for number in range(28)]
    serving = serve(classes=names, task="labels")
    window.enter(serving.address)
    window.text()
    for number in ("27", "13"):
        window.press("/", number, Keys.ENTER)
    assert pressed(window) == ["label 13", "label 27"]
    window.press(Keys.ENTER)
    assert wait_for_labels(window, serving, 1)["item-0000"] == ("label 13", "label 27")


def test_a_number_is_checked_and_confirmed(serve: Serve, window: Window) -> None:
    serving = serve(classes=("price",), task="number")
    window.enter(serving.address)
    assert window.text() == "Good."
    for wrong in ("", "dear", "3,5", "1e99"):
        window.press(*wrong, Keys.ENTER)
        assert window.script("return document.querySelector('.amount input').ariaInvalid") == "true"
        assert window.text() == "Good."
        window.press(Keys.BACKSPACE * 9)
    window.press(*"-3.5", Keys.ENTER)
    wait_for(lambda: window.text() == "Bad.", "the next item")
    window.press(*"12", Keys.ENTER)
    assert wait_for_labels(window, serving, 2) == {"item-0000": (-3.5,), "item-0001": (12.0,)}
    window.press("s")  # in the field, too: no number has this letter
    wait_for(lambda: serving.desk.state.counts()["skipped"] == 1, "the skip")


def test_several_numbers_have_a_field_each(serve: Serve, window: Window) -> None:
    serving = serve(classes=("wide", "high"), task="number")
    window.enter(serving.address)
    window.text()
    window.press("2", Keys.TAB, *"1.5")
    window.press(Keys.ENTER)
    assert wait_for_labels(window, serving, 1) == {"item-0000": (2.0, 1.5)}


def test_a_disputed_number_shows_who_said_what(serve: Serve, window: Window) -> None:
    serving = serve(["One."], classes=("price",), task="number", tolerance=[1.0], votes=2)
    window.enter(serving.address, "Ann")
    window.text()
    window.press("1", Keys.ENTER)
    window.wait_until_sent()
    for who, number in (("Ben", "9"), ("Cem", "1")):
        window.script("sessionStorage.clear(); localStorage.setItem('keepers/annotator', '')")
        window.enter(serving.address, who)
        window.text()
        if who == "Cem":
            assert "Ann: 1" in window.banner("dispute")
            assert "Ben: 9" in window.banner("dispute")
        window.press(number, Keys.ENTER)
        window.wait_until_sent()
    wait_for(lambda: serving.desk.state.labels == {"item-0000": (1.0,)}, "the median")
    assert json.loads(json.dumps(serving.desk.state.counts()))["labelled"] == 1
