"""A campaign as the README writes it: start, browser, Label Studio, status, export; on IMDB."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from label_studio_server import VARIABLE, RealLabelStudio, executable
from selenium.webdriver import Chrome, ChromeOptions, ChromeService

from browser.conftest import FLAGS
from browser.labelling_window import Window, wait_for
from keepers import Campaign

pytestmark = [pytest.mark.label_studio, pytest.mark.browser, pytest.mark.timeout(280)]

BATCH = 20
RUN = "from keepers.cli import main; main()"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RealLabelStudio]:
    program = executable()
    if program is None:
        pytest.skip(f"{VARIABLE} does not name label-studio (make test-label-studio makes one)")
    server = RealLabelStudio(program, tmp_path / "server")
    (tmp_path / "server").mkdir()
    try:
        server.start()
        yield server
    finally:
        server.close()


@pytest.fixture
def window(tmp_path: Path) -> Iterator[Window]:
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and driver):
        pytest.skip("chromium and chromedriver are not there: apt install chromium chromium-driver")
    options = ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, f"--user-data-dir={tmp_path / 'profile'}"):
        options.add_argument(flag)
    browser = Chrome(options=options, service=ChromeService(driver))
    yield Window(browser)
    browser.quit()


def keepers(*argv: str, **environment: str) -> str:
    command = [sys.executable, "-c", RUN, *argv]
    done = subprocess.run(
        command, capture_output=True, text=True, env={**os.environ, **environment}, check=False
    )
    assert done.returncode == 0, f"{argv}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_a_campaign_of_reviews(
    shared_data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    server: RealLabelStudio,
    window: Window,
) -> None:
    monkeypatch.chdir(tmp_path)
    reviews = pq.read_table(shared_data / "imdb" / "train.parquet").slice(11_000, 3_000)
    pq.write_table(reviews, "reviews.parquet")
    tests = pq.read_table(shared_data / "imdb" / "test.parquet").slice(12_000, 1_000)
    pq.write_table(tests, "reviews-test.parquet")
    names = ("neg", "pos")
    truth = dict(
        zip(
            reviews["text"].to_pylist(),
            [names[n] for n in reviews["label"].to_pylist()],
            strict=True,
        )
    )
    here = ("--campaign", "films")
    start = ("reviews.parquet", "--classes", "neg,pos", "--test", "reviews-test.parquet")
    keepers("active", "start", *start, *here)
    keepers("active", "query", str(BATCH), *here, "--out", "batch.csv")

    page = subprocess.Popen(
        [sys.executable, "-u", "-c", RUN, "active", "label", *here, "--port", "0"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert page.stdout is not None
        said = page.stdout.readline()
        address = re.search(r"http://127\.0\.0\.1:\d+/\?token=\S+", said)
        assert address, said
        window.enter(address[0])
        before = None
        for _ in range(BATCH):
            text = wait_for(
                lambda last=before: (t := window.shown()) != last and t, "the next item"
            )
            window.press("1" if truth[text] == "neg" else "2")
            before = text
        window.wait_until_sent()
    finally:
        page.terminate()
        page.wait(20)
    with Campaign.open("films") as campaign:
        assert campaign.state.counts(1)["labelled"] == BATCH

    keepers("active", "query", str(BATCH), *here)
    exchange = ("active", "label-studio", server.url, *here)
    keepers(*exchange, LABEL_STUDIO_TOKEN=server.token)
    projects = server.ask("GET", "/api/projects/")["results"]
    tasks = server.tasks(projects[0]["id"])
    assert len(tasks) == BATCH
    assert [task["data"]["selection_rank"] for task in tasks] == list(range(BATCH))
    assert all(task["predictions"] for task in tasks)
    for task in tasks:
        server.annotate(task, truth[task["data"]["text"]], lead_time=2.0)
    keepers(*exchange, LABEL_STUDIO_TOKEN=server.token)

    status = json.loads(keepers("active", "status", *here, "--train", "--json"))
    assert status["counts"]["labelled"] == 2 * BATCH
    assert status["trained"][-1]["accuracy"]["on"] == "test"
    assert 0.5 < status["trained"][-1]["accuracy"]["value"] < 1
    assert status["annotators"].keys() == {"Ann", "label-studio-1"}
    assert Path("films/report.html").stat().st_size > 10_000
    keepers("active", "export", *here, "--out", "labelled.parquet")
    labelled = pq.read_table("labelled.parquet").to_pylist()
    assert len(labelled) == 2 * BATCH
    assert all(truth[row["text"]] == row["label"] for row in labelled)
    assert server.token.encode() not in b"".join(
        path.read_bytes() for path in Path("films").rglob("*") if path.is_file()
    )
