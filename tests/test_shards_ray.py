"""Shards on the workers of Ray: one local cluster, started once."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import keepers
from keepers import cluster
from keepers.errors import DataError, KeepersError, RunError
from keepers.shards.executor import InProcess, executor

pytestmark = pytest.mark.ray


def pool(folder: Path, count: int = 4) -> Path:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(count):
        labels = rng.integers(0, 3, 300)
        inputs = (rng.normal(size=(300, 8)) + labels[:, None]).astype(np.float32)
        keys = np.arange(300) * count + number
        table = pa.table({"key": keys, "x": list(inputs), "label": [f"c{each}" for each in labels]})
        pq.write_table(table, folder / f"part-{number}.parquet")
    return folder


def die_at_first(folder: Path, item: int) -> int:
    attempts = folder / str(item)
    with attempts.open("a") as file:
        file.write("x")
    if item == 1 and attempts.stat().st_size == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return item * item


def refuse(_: None, item: int) -> int:
    if item == 1:
        raise DataError(f"data: item {item} is bad")
    time.sleep(0.05)
    return item


def test_the_choice_is_that_of_one_process(ray_cluster, tmp_path):
    folder = pool(tmp_path / "pool")
    same = {"keep": 0.2, "method": "entropy", "id": "key", "input": "x", "epochs": 1}
    here = keepers.coreset_shards(folder, run=tmp_path / "here", **same)
    there = keepers.coreset_shards(folder, run=tmp_path / "there", workers=2, **same)
    assert there.table.equals(here.table)
    assert len(there) == 240
    proxies = [list((tmp_path / name).rglob("proxy-*.safetensors")) for name in ("here", "there")]
    assert proxies[0][0].read_bytes() == proxies[1][0].read_bytes()


def test_proxies_are_trained_side_by_side(ray_cluster, tmp_path):
    folder = pool(tmp_path / "pool", 2)
    same = {"method": "el2n", "id": "key", "input": "x", "ensemble": 2, "epochs": 2}
    here = keepers.score_shards(folder, run=tmp_path / "here", **same)
    there = keepers.score_shards(folder, run=tmp_path / "there", workers=2, **same)
    for one, other in zip(here.paths, there.paths, strict=True):
        assert pq.read_table(one).equals(pq.read_table(other))
    assert len(list((tmp_path / "there").rglob("proxy-*.safetensors"))) == 2


def test_an_error_is_that_of_the_task(ray_cluster):
    with executor(2, None) as run, pytest.raises(DataError, match=r"^data: item 1 is bad$"):
        list(run.map(refuse, None, range(4)))
    with executor(1, None) as run:
        assert isinstance(run, InProcess)


def test_what_is_sent_needs_its_module_there(ray_cluster, monkeypatch):
    monkeypatch.setattr(refuse, "__module__", "a_module_of_nobody")
    monkeypatch.setitem(sys.modules, "a_module_of_nobody", sys.modules[__name__])
    with executor(2, None) as run, pytest.raises(RunError, match="no module 'a_module_of_nobody'"):
        list(run.map(refuse, None, [2]))


def test_a_model_that_is_not_on_the_workers(ray_cluster, tmp_path, monkeypatch):
    folder = pool(tmp_path / "pool", 2)
    code = tmp_path / "code"
    code.mkdir()
    (code / "only_here.py").write_text(
        "import torch\ndef make(info):\n    return torch.nn.Linear(8, info.num_classes)\n"
    )
    monkeypatch.syspath_prepend(code)
    same = {"method": "margin", "id": "key", "input": "x", "epochs": 1, "workers": 2}
    with pytest.raises(KeepersError, match=r"only_here"):
        keepers.score_shards(folder, proxy="only_here:make", run=tmp_path / "run", **same)
    sys.modules.pop("only_here", None)


def test_a_cluster_with_another_version_or_without_keepers(ray_cluster, monkeypatch):
    monkeypatch.setattr(cluster, "own_version", lambda: "99.0")
    message = r"the machine .* of the cluster has keepers .*, and this one 99\.0"
    with pytest.raises(RunError, match=message), executor(2, None):
        pass
    monkeypatch.setattr(cluster, "PACKAGE", "keepers-of-nobody")
    with (
        pytest.raises(RunError, match=r"has no keepers. Install keepers==99\.0"),
        executor(2, None),
    ):
        pass


def test_a_task_whose_worker_dies_is_begun_again(ray_cluster, tmp_path):
    with executor(2, None) as run:
        assert run.workers == 2
        assert dict(run.map(die_at_first, tmp_path, range(6))) == {n: n * n for n in range(6)}
    attempts = [(tmp_path / str(item)).stat().st_size for item in range(6)]
    assert attempts == [1, 2, 1, 1, 1, 1]
