"""The labelling page in a real browser: what people do, and what must not happen to them."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from selenium.common import NoAlertPresentException
from selenium.webdriver import Chrome, Keys

from browser.labelling_window import Serve, Window, wait_for, whole_batch
from keepers.data import open_source

pytestmark = pytest.mark.browser

CLASSES = ("negative", "neutral", "positive")
DONE = "Nothing to label: this batch is done"


INTENTS = tuple(
    f"{what}_{how}"
    for what in ("balance_not_updated_after_bank_transfer", "card_payment", "cash_withdrawal")
    for how in ("fee_charged", "not_recognised", "pending", "wrong_exchange_rate")
)
LINES = """
return [...document.querySelectorAll('.class bdi')].map((name) => {
  const lines = new Map();
  for (const node of name.childNodes) {
    if (node.nodeType !== Node.TEXT_NODE || !node.length) continue;
    for (let at = 0; at < node.length; at += 1) {
      const range = document.createRange();
      range.setStart(node, at);
      range.setEnd(node, at + 1);
      const top = Math.round(range.getBoundingClientRect().top);
      lines.set(top, (lines.get(top) ?? '') + node.data[at]);
    }
  }
  return [...lines.values()];
})
"""
"""What stands in each line of each name."""


def parts_of(name: str) -> list[str]:
    """What a line of this name may hold: whole words, one after another."""
    words = [f"{word}_" for word in name.split("_")[:-1]] + [name.split("_")[-1]]
    return ["".join(words[i:j]) for i in range(len(words)) for j in range(i + 1, len(words) + 1)]


def numbered(count: int) -> list[str]:
    return [f"Text {number}" for number in range(count)]


def number_of(text: str) -> int:
    return int(text.rpartition(" ")[2])


def test_200_items_by_keys_with_skips_undos_and_a_reload(serve: Serve, window: Window) -> None:
    serving = serve(numbered(200), CLASSES)
    window.enter(serving.address)
    for position in range(200):
        text = window.text()
        assert text == f"Text {position}"
        if position % 40 == 7:
            window.press("3", "u")
            assert window.text() == text
        window.press("s" if position % 25 == 3 else str(position % 3 + 1))
        if position == 100:
            window.browser.refresh()
            assert not window.find("#naming").is_displayed()
    wait_for(lambda: DONE in window.message(), "the end of the batch")
    window.wait_until_sent()
    state = serving.desk.state
    skipped = {f"item-{number:04d}" for number in range(3, 200, 25)}
    assert set(state.skipped) == skipped
    assert dict(state.labels) == {
        f"item-{number:04d}": CLASSES[number % 3]
        for number in range(200)
        if f"item-{number:04d}" not in skipped
    }
    votes = [vote for item in state.items.values() for vote in item.votes]
    assert {(vote.annotator, vote.source) for vote in votes} == {("Ann", "page")}
    assert all(vote.seconds is not None for vote in votes if vote.kind != "undo")
    assert 0 < state.seconds < 300
    assert "200 of 200 done · 0 left · 200 by you" in window.find("#counts").text


def test_the_token_leaves_the_address_and_the_page_needs_it(serve: Serve, window: Window) -> None:
    serving = serve()
    window.browser.get(serving.address.partition("?")[0])
    assert "Open the whole address" in window.browser.page_source
    window.enter(serving.address)
    assert window.browser.current_url == f"http://127.0.0.1:{serving.port}/"
    assert not [each for each in window.browser.get_cookies() if not each["httpOnly"]]


def test_undo_goes_back_by_key_control_z_and_button_also_after_a_reload(
    serve: Serve, window: Window
) -> None:
    serving = serve(numbered(4))
    window.enter(serving.address)
    assert window.text() == "Text 0"
    window.press("1", "s", "2")
    assert window.text() == "Text 3"
    window.find("#undo").click()
    assert window.text() == "Text 2"
    window.wait_until_sent()
    window.browser.refresh()
    assert window.text() == "Text 2"
    window.browser.switch_to.active_element.send_keys(Keys.CONTROL, "z")
    wait_for(lambda: window.shown() == "Text 1", "the item before")
    window.press("u")
    wait_for(lambda: window.shown() == "Text 0", "the first item")
    window.press("u")
    assert window.shown() == "Text 0"
    assert window.find("#status").text == "Nothing to undo"
    window.wait_until_sent()
    wait_for(lambda: len(serving.desk.state.pending()) == 4, "all votes to be undone")
    window.press("2", "2", "2", "2")
    window.wait_until_sent()
    assert set(serving.desk.state.labels.values()) == {"pos"}
    assert len(serving.desk.state.labels) == 4


def test_buttons_do_what_keys_do_and_have_names(serve: Serve, window: Window) -> None:
    serving = serve(numbered(3))
    window.enter(serving.address)
    window.text()
    buttons = window.buttons()
    assert [button.accessible_name for button in buttons.values()] == ["neg", "pos"]
    buttons["pos"].click()
    assert window.shown() == "Text 1"
    window.find("#skip").click()
    assert window.shown() == "Text 2"
    window.press("9", "0", "x", Keys.F2)
    assert window.shown() == "Text 2"
    window.wait_until_sent()
    assert (dict(serving.desk.state.labels), serving.desk.state.skipped) == (
        {"item-0000": "pos"},
        ("item-0001",),
    )


def test_a_key_that_is_held_labels_one_item(serve: Serve, window: Window) -> None:
    window.enter(serve(numbered(9)).address)
    window.text()
    for again in (False, True, True, True):
        key = {"type": "keyDown", "key": "1", "code": "Digit1", "autoRepeat": again}
        window.browser.execute_cdp_cmd("Input.dispatchKeyEvent", key)
    assert window.shown() == "Text 1"


def test_two_annotators_in_two_windows_at_once(serve: Serve, window: Window) -> None:
    serving = serve(numbered(60), CLASSES)
    window.enter(serving.address, "Ann")
    window.text()
    window.browser.switch_to.new_window("window")
    other = Window(window.browser)
    other.enter(serving.address, None)
    wait_for(lambda: other.find("#who").is_displayed(), "the name")
    other.find("#who").click()
    other.find("#naming-name").send_keys(Keys.CONTROL, "a")
    other.find("#naming-name").send_keys("Ben", Keys.ENTER)
    wait_for(lambda: other.shown() not in (None, "Text 0"), "an item of his own")
    shown = 0
    working = [window, other]
    while working:
        for person in list(working):
            text = person.switch().shown()
            if text is not None:
                person.press(str(number_of(text) % 3 + 1))
                shown += 1
            elif DONE in person.message():
                working.remove(person)
    state = serving.desk.state
    assert dict(state.labels) == {f"item-{n:04d}": CLASSES[n % 3] for n in range(60)}
    annotators = [vote.annotator for item in state.items.values() for vote in item.votes]
    assert len(annotators) == shown < 80
    assert min(annotators.count("Ann"), annotators.count("Ben")) >= 20
    window.switch().browser.refresh()
    wait_for(lambda: window.find("#annotator").text == "Ann", "the name of this window")


def test_both_votes_are_kept_and_a_third_person_decides(
    serve: Serve, window: Window, open_browser: Callable[[], Chrome]
) -> None:
    serving = serve(numbered(1), votes=2)
    window.enter(serving.address, "Ann")
    window.text()
    second = Window(open_browser())
    second.enter(serving.address, "Ben <b>")
    second.text()
    window.press("1")
    second.press("2")
    window.wait_until_sent()
    second.wait_until_sent()
    assert serving.desk.state.disputed == ("item-0000",)
    wait_for(lambda: "Nothing left for you" in second.message(), "the end for Ben")
    second.browser.delete_all_cookies()
    second.script("localStorage.clear(); sessionStorage.clear()")
    second.enter(serving.address, "Cleo")
    second.text()
    assert second.banner("dispute") == (
        "The annotators disagree, and your label decides. Ann: neg · Ben <b>: pos"
    )
    second.press("2")
    second.wait_until_sent()
    assert dict(serving.desk.state.labels) == {"item-0000": "pos"}


def test_payloads_are_shown_as_text(serve: Serve, window: Window) -> None:
    attack = "<img src=x onerror=\"window.hacked='yes';alert(1)\">"
    texts = [
        "<script>window.hacked='yes'; alert(1)</script>",
        attack,
        "</div></section><iframe srcdoc='<script>parent.hacked=1</script>'></iframe>",
        '"><svg onload=alert(1)>',
        "javascript:alert(1)",
    ]
    classes = (attack, "<script>alert(2)</script>", "'\"`${alert(3)}")
    serving = serve(texts, classes)
    window.enter(serving.address, attack[:80])
    for text in texts:
        assert window.text() == text
        window.press("1")
    wait_for(lambda: DONE in window.message(), "the end of the batch")
    window.wait_until_sent()
    assert list(window.buttons()) == list(classes)
    assert window.find("#annotator").text == attack[:80]
    assert attack in window.find("#status").text
    found = "return [window.hacked ?? null, document.scripts.length, document.images.length]"
    assert window.script(found) == [None, 1, 1]
    with pytest.raises(NoAlertPresentException):
        _ = window.browser.switch_to.alert.text
    assert set(serving.desk.state.labels.values()) == {attack}


def test_file_names_are_shown_as_text(serve: Serve, window: Window, tmp_path: Path) -> None:
    names = [
        "<img src=x onerror=window.hacked=1>.png",
        '"><svg onload=window.hacked=2>.png',
        "<script>window.hacked=3<script>.png",
    ]
    for shade, name in enumerate(names):
        Image.new("L", (8, 8), 80 * shade).save(tmp_path / name)
    with (tmp_path / "pool.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("key", "image"), *zip(names, names, strict=True)])
    source = open_source(tmp_path / "pool.csv", id="key", input="image", require_labels=False)
    serving = serve(source=source)
    window.enter(serving.address)
    seen: list[str] = []
    for _ in names:
        wait_for(lambda: window.find("#name").text not in ("", *seen), "the next name")
        seen.append(window.find("#name").text)
        picture = window.find("#picture")
        assert picture.get_attribute("alt") == f"The picture to label, {seen[-1]}"  # pyright: ignore[reportUnknownMemberType]
        wait_for(lambda: window.script("return document.images[0].naturalWidth") == 8, "picture")
        window.press("1")
    assert sorted(seen) == sorted(names)
    found = "return [window.hacked ?? null, document.scripts.length, document.images.length]"
    assert window.script(found) == [None, 1, 1]


def test_the_policy_stops_scripts_that_are_not_the_pages(serve: Serve, window: Window) -> None:
    window.enter(serve().address)
    window.text()
    window.script(
        "const s = document.createElement('script'); s.textContent = 'window.hacked = 1';"
        "document.body.append(s); document.body.insertAdjacentHTML('beforeend',"
        "'<img src=x onerror=\"window.hacked = 1\">')"
    )
    time.sleep(0.2)
    assert window.script("return window.hacked ?? null") is None


def test_a_server_that_was_stopped_gets_the_votes_when_it_is_back(
    serve: Serve, window: Window
) -> None:
    serving = serve(numbered(30))
    window.enter(serving.address)
    window.text()
    window.press("1", "2")
    window.wait_until_sent()
    serving.stop()
    window.press("1", "2", "s")
    wait_for(lambda: "3 votes are kept" in window.banner("connection"), "the banner")
    assert window.text() == "Text 5"
    serving.start()
    window.find("#connection button").click()
    window.wait_until_sent()
    wait_for(lambda: not window.banner("connection"), "the banner to go")
    state = serving.desk.state
    assert [state.item(f"item-{n:04d}").status for n in range(6)] == [
        *("labelled",) * 4,
        "skipped",
        "planned",
    ]
    window.press("1")
    window.wait_until_sent()
    assert serving.desk.state.counts()["labelled"] == 5


def test_votes_outlive_a_closed_window_and_a_new_token(serve: Serve, window: Window) -> None:
    serving = serve(numbered(30))
    window.enter(serving.address)
    window.text()
    serving.stop()
    window.press("1", "2", "1")
    wait_for(lambda: "3 votes are kept" in window.banner("connection"), "the banner")
    serving.start("another-token-of-the-next-day")
    window.find("#connection button").click()
    wait_for(lambda: "another key" in window.banner("connection"), "the reason")
    assert "3 votes are kept" in window.banner("connection")
    window.browser.get("about:blank")
    window.enter(serving.address, None)
    assert window.text() == "Text 3"
    window.wait_until_sent()
    assert list(serving.desk.state.labels.values()) == ["neg", "pos", "neg"]


def test_votes_of_another_campaign_on_the_same_port_stay(serve: Serve, window: Window) -> None:
    first, second = serve(numbered(5)), serve(numbered(5))
    window.enter(first.address)
    window.text()
    first.stop()
    window.press("1", "1")
    wait_for(lambda: "2 votes are kept" in window.banner("connection"), "the banner")
    second.stop()
    second.port, second.token = first.port, first.token
    second.start()
    window.find("#connection button").click()
    wait_for(lambda: "Another campaign" in window.banner("connection"), "the reason")
    window.browser.refresh()
    assert window.text() == "Text 0"
    assert (window.num_unsent(), len(second.desk.state.labels)) == (2, 0)


def test_pictures_by_keys(serve: Serve, window: Window) -> None:
    digits = open_source("digits")
    serving = serve(classes=[str(n) for n in range(10)], source=digits.take(range(12)))
    window.enter(serving.address)
    seen: set[str] = set()
    visible = "const p = document.getElementById('picture');return !p.hidden && p.naturalWidth > 0"
    for _ in range(12):
        wait_for(lambda: window.script(f"{visible} ? p.alt : null") not in (None, *seen), "picture")
        seen.add(window.script("return document.getElementById('picture').alt"))
        window.press("0")
    wait_for(lambda: DONE in window.message(), "the end of the batch")
    window.wait_until_sent()
    assert len(seen) == 12
    assert list(serving.desk.state.labels.values()) == ["9"] * 12


def test_more_than_ten_classes_are_found_by_typing(serve: Serve, window: Window) -> None:
    names = [f"{animal} {n}" for animal in ("Élan", "Otter") for n in range(1, 16)]
    serving = serve(numbered(3), names)
    window.enter(serving.address)
    window.text()
    window.press("/", *"elan 1", Keys.ARROW_DOWN, Keys.ENTER)
    assert window.shown() == "Text 1"
    window.press("/", *"otter 15", Keys.ENTER)
    assert window.shown() == "Text 2"
    window.press("/", *"nothing", Keys.ENTER)
    assert window.shown() == "Text 2"
    assert window.find("#none").text == "No class matches “nothing”. Esc clears the search."
    window.press(Keys.ESCAPE)
    assert not window.find("#none").is_displayed()
    window.press("2")
    window.wait_until_sent()
    wait_for(lambda: DONE in window.message(), "the end of the batch")
    assert list(serving.desk.state.labels.values()) == ["Élan 10", "Otter 15", "Élan 2"]


def test_the_search_key_begins_the_search_again_and_enter_gives_the_keys_back(
    serve: Serve, window: Window
) -> None:
    serving = serve(numbered(4), [*INTENTS, "pending"])
    window.enter(serving.address)
    window.text()
    window.press("/", "/", Keys.ENTER)  # nothing is sought, so nothing is marked
    assert window.shown() == "Text 0"
    window.press(*"fee", "/", *"not card", Keys.ENTER)  # parts of the name, in any order
    assert window.shown() == "Text 1"
    window.press("s", "u")  # shortcuts again, not letters in the box
    assert window.find("#filter").get_attribute("value") == ""  # pyright: ignore[reportUnknownMemberType]
    window.press("/", *"pending", Keys.ENTER)  # the class of just that name, though it is the last
    window.press("/", Keys.ARROW_UP, Keys.ENTER, Keys.ENTER)
    window.wait_until_sent()
    assert list(serving.desk.state.labels.values()) == [INTENTS[5], "pending", "pending"]


def test_a_slash_goes_on_in_names_that_have_one(serve: Serve, window: Window) -> None:
    names = [f"{topic}/{number}" for topic in ("books", "films") for number in range(10)]
    serving = serve(numbered(1), names)
    window.enter(serving.address)
    window.text()
    window.press("/", "/", *"films/3", Keys.ENTER)
    window.wait_until_sent()
    assert list(serving.desk.state.labels.values()) == ["films/3"]


@pytest.mark.parametrize("width", [1100, 360])
def test_long_names_are_whole_and_break_between_words(
    serve: Serve, window: Window, width: int
) -> None:
    emulated = {"width": width, "height": 640, "deviceScaleFactor": 1, "mobile": width < 500}
    window.browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", emulated)
    try:
        window.enter(serve(numbered(1), INTENTS).address)
        window.text()
        clipped = (
            "return [...document.querySelectorAll('.class bdi')].filter("
            "(name) => name.scrollHeight > name.clientHeight + 1 && name.clientHeight > 0).length"
        )
        assert window.script(clipped) == 0
        lines = window.script(LINES)
        assert {part for name in lines for part in name} <= {
            part for name in INTENTS for part in parts_of(name)
        }
        assert any(len(name) > 1 for name in lines)  # some did not fit into one line
        assert not window.script("return document.documentElement.scrollWidth > innerWidth")
    finally:
        window.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def test_arrows_walk_over_the_classes(serve: Serve, window: Window) -> None:
    serving = serve(numbered(1), INTENTS)
    window.enter(serving.address)
    window.text()
    window.script("document.querySelector('.class').focus()")
    window.press(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_LEFT, Keys.ENTER)
    window.wait_until_sent()
    assert list(serving.desk.state.labels.values()) == [INTENTS[1]]


def test_a_batch_that_is_planned_while_the_page_is_open_appears(
    serve: Serve, window: Window
) -> None:
    serving = serve(planned=False)
    window.enter(serving.address)
    wait_for(lambda: "Nothing to label yet" in window.message(), "the advice")
    assert "keepers active query 200" in window.message()
    serving.desk.journal.append([whole_batch(serving.desk.source)])
    assert window.text() == "Good."


def test_a_narrow_window_with_long_and_right_to_left_texts(serve: Serve, window: Window) -> None:
    long = "لا بأس به " * 3000
    window.browser.set_window_size(500, 700)
    window.browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": 360, "height": 640, "deviceScaleFactor": 1, "mobile": True},
    )
    try:
        window.enter(serve([long, "w" * 400], ("שלילי", "long " * 40)).address)
        window.text()
        direction = "return getComputedStyle(document.getElementById('text')).direction"
        assert window.script(direction) == "rtl"
        overflow = "return document.documentElement.scrollWidth > innerWidth"
        assert not window.script(overflow)
        scrolled = "return document.getElementById('content').scrollTop"
        window.press(Keys.PAGE_DOWN)
        assert window.script(scrolled) > 100
        assert all(button.is_displayed() for button in window.buttons().values())
        window.press("1")
        assert (window.text(), window.script(scrolled)) == ("w" * 400, 0)
        assert not window.script(overflow)
    finally:
        window.browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
        window.browser.set_window_size(1100, 800)


def test_the_console_stays_empty_and_nothing_else_is_asked_for(
    serve: Serve, window: Window
) -> None:
    serving = serve(numbered(3))
    window.browser.get_log("browser")
    window.enter(serving.address)
    window.text()
    window.press("1", "u", "s")
    window.wait_until_sent()
    entries = [each["message"] for each in window.browser.get_log("browser")]
    assert [message for message in entries if "favicon" not in message] == []
    asked = window.script("return performance.getEntriesByType('resource').map((e) => e.name)")
    paths = {name.removeprefix(f"http://127.0.0.1:{serving.port}/").split("?")[0] for name in asked}
    assert paths - {"favicon.ico"} == {"api/next", "api/votes"}
