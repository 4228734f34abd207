from __future__ import annotations

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

import keepers
from keepers.code import code_fingerprint
from keepers.data import open_source
from keepers.errors import ParameterError
from keepers.models import MODELS, Recipe, default_recipe, module_fingerprint
from keepers.roles import Role, prepare

CODE = """
from torch import nn

class Net(nn.Module):
    def __init__(self, info):
        super().__init__()
        self.layer = nn.Linear(info.shape[0], info.num_classes)

    def forward(self, x):
        return self.layer(x) * {factor}

def build(info):
    return Net(info)
"""


def data() -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(0)
    return draw.normal(size=(60, 4)).astype(np.float32), np.arange(60) % 3


def stages(run: Path) -> int:
    return len(list((run / "stages").iterdir()))


def test_changed_code_of_an_own_model_is_another_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    own = tmp_path / "own_model_under_test.py"
    run = tmp_path / "run"
    for factor, expected in ((1.0, 1), (1.0, 1), (2.0, 2)):
        own.write_text(CODE.format(factor=factor))
        keepers.coreset(
            data(), method="entropy", proxy="own_model_under_test:build", epochs=1, run=run
        )
        assert stages(run) == expected


@pytest.mark.parametrize("changed", ["__init__", "net", "scale", "lazy", "part/deep"])
def test_changed_code_that_an_own_model_imports_is_another_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changed: str
) -> None:
    package = tmp_path / "own_package_under_test"
    (package / "part").mkdir(parents=True)
    sources = {
        "__init__": "",
        "net": "from .scale import FACTOR\n\ndef build():\n    from . import lazy\n",
        "scale": "from own_package_under_test.part.deep import BASE as FACTOR\n",
        "lazy": "",
        "part/deep": "import json\nimport keepers\nBASE = 2.0\n",
        "unused": "",
    }
    for name, source in sources.items():
        (package / f"{name}.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    root = "own_package_under_test.net"
    before = code_fingerprint([root])
    (package / "unused.py").write_text("anything = 1\n")
    assert code_fingerprint([root]) == before
    (package / f"{changed}.py").write_text(sources[changed] + "more = 1\n")
    assert code_fingerprint([root]) != before


def test_the_code_of_an_own_model_is_the_same_before_and_after_a_late_import(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_late_helper.py").write_text("VALUE = 1\n")
    (tmp_path / "own_late_model.py").write_text("def build():\n    import own_late_helper\n")
    monkeypatch.syspath_prepend(tmp_path)
    before = code_fingerprint(["own_late_model"])
    importlib.import_module("own_late_model").build()
    assert "own_late_helper" in sys.modules
    assert code_fingerprint(["own_late_model"]) == before


def test_installed_packages_are_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site-packages"
    site.mkdir()
    installed = site / "installed_under_test.py"
    installed.write_text("")
    (tmp_path / "own_of_installed.py").write_text("import installed_under_test\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.syspath_prepend(site)
    own, theirs = (code_fingerprint([n]) for n in ("own_of_installed", "installed_under_test"))
    installed.write_text("changed = 1\n")
    assert code_fingerprint(["own_of_installed"]) == own
    assert code_fingerprint(["installed_under_test"]) != theirs  # a method's own module counts


ENCODED = """
from torch import nn
from keepers.types import EncoderSpec, Model

def build(info):
    size = ({side}, {side})
    module = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4, info.num_classes))
    return Model(module=module, encoder=EncoderSpec(kind="image", size=size, channels=1))
"""


def test_a_changed_encoder_is_another_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    seen: list[str] = []
    for number, side in enumerate((8, 4)):
        # The same layers of torch: only what they are shown differs.
        (tmp_path / f"own_encoder_{number}.py").write_text(ENCODED.format(side=side))
        _, prepared = prepare(
            Role(model=f"own_encoder_{number}:build"), open_source("digits", limit=20)
        )
        seen.append(prepared.fingerprint)
    assert seen[0] != seen[1]


def test_changed_weights_in_a_folder_are_another_model() -> None:
    layer = torch.nn.Linear(3, 2)
    before = module_fingerprint(layer)
    assert module_fingerprint(layer) == before
    with torch.no_grad():
        layer.weight[0, 0] += 1e-3
    assert module_fingerprint(layer) != before


def test_a_role_takes_the_models_defaults_where_it_says_nothing() -> None:
    role = Role(model="mlp", lr=0.5)
    default = default_recipe("mlp")
    assert role.recipe() == Recipe(
        epochs=default.epochs,
        batch_size=default.batch_size,
        lr=0.5,
        optimizer=default.optimizer,
        momentum=default.momentum,
        weight_decay=default.weight_decay,
        schedule=default.schedule,
        augment=default.augment,
        bf16=default.bf16,
        min_steps=default.min_steps,
        decay_epochs=default.decay_epochs,
    )


def test_whoever_names_a_weight_decay_gets_it_however_few_the_examples() -> None:
    few, many = (5, 400), (1_000, 10_000)
    default = Role(model="mlp").recipe()
    assert default.weight_decay_of(*few) == 1 / (3e-3 * 33 * 5) > 2
    assert default.weight_decay_of(*many) == default.weight_decay == 0.01
    assert Role(model="mlp", weight_decay=0.1).recipe().weight_decay_of(*few) == 0.1
    assert Role(model="mlp", decay_epochs=10).recipe().weight_decay_of(*few) == 1 / (3e-3 * 50)
    assert Role(model="mlp", epochs=80).recipe().weight_decay_of(*few) == 0.01
    with pytest.raises(ParameterError, match=r"decay_epochs: got 0.* Give a number of epochs over"):
        Role(model="mlp", decay_epochs=0).recipe()


def test_whoever_names_epochs_gets_them_whatever_steps_they_come_to() -> None:
    assert Role(model="mlp").recipe().min_steps > 0
    named = Role(model="mlp", epochs=2).recipe()
    assert (named.epochs, named.epochs_of(3)) == (2, 2)
    both = Role(model="mlp", epochs=2, min_steps=30).recipe()
    assert both.epochs_of(3) == 10


@pytest.mark.parametrize("name", list(MODELS))
def test_every_model_has_a_least_number_of_steps_however_few_the_examples(name: str) -> None:
    recipe = default_recipe(name)
    many, few = 10_000, 4
    assert recipe.epochs_of(many) == recipe.epochs
    assert recipe.epochs_of(few) * few >= recipe.min_steps >= 100


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"model": "mlp", "learning_rate": 1}, r"proxy\.learning_rate: got 'learning_rate'"),
        ({"model": "mlp", "epochs": "ten"}, r"proxy\.epochs: got 'ten'"),
        ({"model": "mlp", "resolution": 0}, "resolution: got 0"),
        ({"model": "mlp", "optimizer": "adam"}, r"proxy\.optimizer: got 'adam'"),
    ],
)
def test_settings_of_a_role_are_checked(given: dict[str, object], message: str) -> None:
    with pytest.raises(ParameterError, match=message):
        Role.parse(given, "mlp")


def test_colour_is_mirrored_and_grey_is_not_unless_told() -> None:
    _, grey = prepare(Role(model="preact8"), open_source("digits", limit=50))
    pictures = np.random.default_rng(0).integers(0, 255, (50, 3, 16, 16), dtype=np.uint8)
    colour_source = open_source((pictures, np.arange(50) % 2))
    _, colour = prepare(Role(model="preact8"), colour_source)
    _, told = prepare(Role(model="preact8", flip=False), colour_source)
    positions = torch.arange(50)

    def flips(prepared: object) -> bool:
        return prepared.train_view(positions).augment.flip  # type: ignore[attr-defined]

    assert [flips(grey), flips(colour), flips(told)] == [False, True, False]


def test_resolution_is_what_the_model_sees() -> None:
    _, prepared = prepare(Role(model="preact8", resolution=4), open_source("digits", limit=20))
    (inputs,) = prepared.eval_view().pool.gather(torch.arange(3))
    assert inputs.shape == (3, 1, 4, 4)


def test_a_count_from_numpy_is_a_count_and_a_truth_is_no_number(tmp_path: Path) -> None:
    kept = keepers.coreset(data(), keep=np.int64(5), method="random", run=tmp_path / "run")
    assert len(kept) == 5
    with pytest.raises(ParameterError, match="keep: got True"):
        keepers.coreset(data(), keep=True, method="random", run=tmp_path / "run")


def test_pictures_with_transparency_are_colour_pictures() -> None:
    pictures = np.random.default_rng(0).integers(0, 255, (20, 9, 9, 4), dtype=np.uint8)
    assert open_source((pictures, np.arange(20) % 2)).shape == (3, 9, 9)
