"""Files that travel never run code: who opens them names it, or nothing of it is called."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import keepers
from keepers import sealed
from keepers.cli import main
from keepers.errors import DataError, KeepersError, ParameterError, RunError
from keepers.models import create
from keepers.types import DataInfo

OWN = """
    from pathlib import Path
    Path(__file__).with_name("it-ran").touch()
    from torch import nn

    def small(info):
        return nn.Linear(info.shape[0], info.num_classes)
"""
NAME = "marker_module_for_tests:small"
DATA = (np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32), np.arange(40) % 2)


@pytest.fixture
def marker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that is there once the module was imported from the working folder."""
    monkeypatch.chdir(tmp_path)
    lines = [line.removeprefix("    ") for line in OWN.splitlines()]
    Path("marker_module_for_tests.py").write_text("\n".join(lines))
    monkeypatch.delitem(sys.modules, "marker_module_for_tests", raising=False)
    return tmp_path / "it-ran"


def _forget(marker: Path) -> None:
    marker.unlink()
    del sys.modules["marker_module_for_tests"]


def test_weights_call_what_is_named_by_who_opens_them(marker: Path) -> None:
    result = keepers.train(DATA, select="uniform", model=NAME, steps=2, run="run")
    _forget(marker)
    with pytest.raises(DataError, match=rf"'{NAME}'.* model='{NAME}'\)"):
        keepers.load_model(result.weights)
    with pytest.raises(ParameterError, match="got 'mlp', but"):
        keepers.load_model(result.weights, model="mlp")
    assert not marker.exists()
    keepers.load_model(result.weights, model=NAME)
    assert marker.exists()


def test_a_campaign_calls_what_is_named_by_who_opens_it(marker: Path) -> None:
    rows = "\n".join(f"[{x[0]:.3f},{x[1]:.3f},{x[2]:.3f}]" for x in DATA[0].tolist())
    Path("pool.jsonl").write_text("".join(f'{{"x": {row}}}\n' for row in rows.splitlines()))
    campaign = keepers.Campaign.start(
        "pool.jsonl", campaign="c", classes=["a", "b"], proxy=NAME, cold="random", input="x"
    )
    batch = campaign.query(10)
    campaign.record(
        keepers.Vote(item=item, annotator="ann", label="ab"[n % 2])
        for n, item in enumerate(batch.ids)
    )
    campaign.close()
    _forget(marker)
    with keepers.Campaign.open("c") as again:
        assert again.status().left == 30
        for ask in (lambda: again.query(5), again.measure):
            with pytest.raises(RunError, match=rf"add --proxy {NAME} to the command"):
                ask()
    with pytest.raises(
        ParameterError, match="proxy: got 'mlp', but this campaign was started with"
    ):
        keepers.Campaign.open("c", proxy="mlp")
    assert not marker.exists()
    with keepers.Campaign.open("c", proxy=NAME) as again:
        assert len(again.query(5).ids) == 5
    assert marker.exists()


def test_a_configuration_calls_what_is_typed(
    marker: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("c.yaml").write_text(f"proxy: {{model: '{NAME}', epochs: 1}}\n")
    monkeypatch.setattr(sys, "argv", ["keepers", "coreset", "digits", "--config", "c.yaml"])
    with pytest.raises(SystemExit):
        main()
    assert f"add it to the command: --proxy {NAME}" in capsys.readouterr().err
    assert not marker.exists()
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--set", "proxy.lr=0.1"])  # names no model
    with pytest.raises(SystemExit):
        main()
    assert f"add it to the command: --proxy {NAME}" in capsys.readouterr().err
    assert not marker.exists()


def _weights(path: Path, **odd: Any) -> Path:
    import torch

    note = {
        "model": "mlp",
        "options": {"hidden": [4]},
        "info": {"kind": "vector", "shape": [3], "num_classes": 2},
        "channels": 0,
        "class_names": ["a", "b"],
    }
    sealed.write_tensors(path, {"x": torch.zeros(1)}, note | odd)
    return path


@pytest.mark.parametrize(
    "odd",
    [
        {"options": {"hidden": [10**12]}},
        {"options": {"hidden": [10**12, 10**12]}},
        {"options": {"hidden": [2**70]}},
        {"options": {"nonsense": 1}},
        {"options": []},
        {"info": {"kind": "vector", "shape": [10**13], "num_classes": 2}},
        {"info": {"kind": "vector", "shape": [-3], "num_classes": 2}},
        {"info": {"kind": "vector", "shape": [3], "num_classes": 10**13}},
        {"info": {"kind": "smell", "shape": [3], "num_classes": 2}},
        {"info": None},
        {"model": "perceptron"},
        {"model": None},
        {"channels": 10**12},
        {"channels": "three"},
        {},
    ],
    ids=lambda odd: json.dumps(odd)[:50],
)
def test_odd_metadata_is_one_error(tmp_path: Path, odd: dict[str, Any]) -> None:
    with pytest.raises(KeepersError, match=r"\w+: "):
        keepers.load_model(_weights(tmp_path / "w", **odd))


def test_an_absurd_layer_is_refused_before_anything_is_allocated() -> None:
    info = DataInfo(kind="vector", shape=(3,), num_classes=2)
    with pytest.raises(ParameterError, match=r"take 24,000 GB, but this machine has [\d,]+ GB"):
        create("mlp", info, seed=0, options={"hidden": [10**12 - 1]})


ENCODER = {
    "model_type": "bert",
    "hidden_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "vocab_size": 50,
    "max_position_embeddings": 40,
}


@pytest.mark.parametrize("weights", [False, True])
def test_an_absurd_size_in_a_folder_of_transformers_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, weights: bool
) -> None:
    info = DataInfo(kind="text", shape=(), num_classes=2)
    config = tmp_path / "config.json"
    config.write_text(json.dumps(ENCODER))
    model = create(f"hf:{tmp_path}", info, seed=0)
    if weights:
        model.module.module.save_pretrained(tmp_path)
    monkeypatch.setattr(sys.modules["keepers.models.outline"], "_MOST_STEPS", 3_000)
    for odd, said in (
        (
            {"vocab_size": 10**12},
            r"weights of 'hf:.*' with its config\.json take 64,000 GB, but this",
        ),
        ({"hidden_size": 10**12}, "cannot be loaded: Storage size calculation overflowed"),
        ({"hidden_size": 2**70}, "cannot be loaded: "),
        ({"hidden_size": -4}, "cannot be loaded: Trying to create tensor with negative dimension"),
        ({"hidden_size": "many"}, "cannot be loaded: .*'?hidden_size'?.*many"),
        ({"num_attention_heads": 0}, "cannot be loaded: integer modulo by zero"),
        ({"num_hidden_layers": 10**12}, "cannot be loaded: it has too many layers"),
    ):
        config.write_text(json.dumps(ENCODER | odd))
        with pytest.raises(ParameterError, match=said) as raised:
            create(f"hf:{tmp_path}", info, seed=0)
        assert str(raised.value).startswith("model: ")
        assert "\n" not in str(raised.value)
