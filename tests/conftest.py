from __future__ import annotations

import gc
import io
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

import disks
import tiny_language
from commands import Keepers, Said

torch.set_num_threads(1)
disks.never_waited_for()


@pytest.fixture(autouse=True, scope="module")
def imports_left_out_of_searches_for_garbage() -> None:
    """Every training of a `Trainer` ends with one: half a second, of what was once imported."""
    gc.collect()
    gc.freeze()


@pytest.fixture
def logged() -> Iterator[io.StringIO]:
    """What is logged, of every level. pytest's own `caplog` costs each test 4 ms, used or not."""
    heard, root = io.StringIO(), logging.getLogger()
    handler, level = logging.StreamHandler(heard), root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield heard
    root.removeHandler(handler)
    root.setLevel(level)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data sets (mnist, cifar10, imdb, ...), or a skip with the reason."""
    root = os.environ.get("KEEPERS_DATA") or Path(__file__).parents[2] / "shared" / "data"
    if not (Path(root) / "mnist" / "train.parquet").exists():
        pytest.skip(f"real data not found in {root}; set KEEPERS_DATA to the folder that holds it")
    return Path(root)


@pytest.fixture
def run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Keepers:
    """`keepers ...` in this process, in an empty folder."""
    from keepers.cli import main

    monkeypatch.chdir(tmp_path)

    def call(*argv: str) -> Said:
        monkeypatch.setattr(sys, "argv", ["keepers", *map(str, argv)])
        status = 0
        try:
            main()
        except SystemExit as stop:
            status = int(stop.code or 0)
        captured = capsys.readouterr()
        return Said(status, captured.out, captured.err)

    return call


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[Any]:
    """Ray with two workers of one CPU, started once for all tests that ask for it."""
    ray = pytest.importorskip("ray")
    tests, before = str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")
    os.environ["PYTHONPATH"] = os.pathsep.join([tests, before])  # of the workers
    quiet = {"include_dashboard": False, "log_to_driver": False, "logging_level": "ERROR"}
    ray.init(address="local", num_cpus=2, object_store_memory=128 * 1024**2, **quiet)
    os.environ["PYTHONPATH"] = before
    yield ray
    ray.shutdown()


@pytest.fixture
def few_words(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hash words into few rows: a step would go on the 262,144 of the model that no text has."""
    from keepers.models import table

    defaults: Any = table._fasttext.__kwdefaults__  # pyright: ignore[reportPrivateUsage]
    monkeypatch.setitem(defaults, "buckets", 2**12)


@pytest.fixture(scope="session")
def name(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What a causal language model of a few thousand weights is called as a proxy or a target."""
    return tiny_language.write(tmp_path_factory.mktemp("language"), length=128)
