"""Every recipe of active learning is valid, and the command in its header runs on small files."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from keepers.cli import app
from keepers.configuration import validated
from keepers.experiments import SimulateConfig
from keepers.roles import Role
from test_recipes import (
    READING,
    ROOT,
    SHRUNK,
    amazon_csv,
    amazon_polarity,
    cifar10,
    command_of,
    settings_of,
)

RECIPES = sorted((ROOT / "recipes/active").glob("*.yaml"))
RESULTS = sorted((ROOT / "recipes/results").glob("active-*.yaml"))
SMALL: dict[str, Callable[[Path], None]] = {
    "cifar10-50-epochs": cifar10,
    "amazon-polarity-vdcnn9": amazon_polarity,
    "amazon-full": amazon_csv("amazon_review_full_csv", 5),
}
"""One of each kind of data."""


def config_of(recipe: Path) -> SimulateConfig:
    """The configuration; a name that it does not know fails."""
    settings = {name: v for name, v in settings_of(recipe).items() if name not in READING}
    return validated(SimulateConfig, settings)


@pytest.mark.parametrize("recipe", [*RECIPES, *RESULTS], ids=lambda path: path.stem)
def test_a_recipe_is_a_valid_configuration(recipe: Path) -> None:
    settings, config = settings_of(recipe), config_of(recipe)
    for name, given in (("proxy", config.choosing.proxy), ("target", config.target)):
        role = Role.parse(given, "", name).identity()
        assert {key: role[key] for key in settings[name]} == settings[name]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_the_schedules_are_those_of_the_paper(recipe: Path) -> None:
    command, settings = command_of(recipe), settings_of(recipe)
    assert command[1:3] == ["active", "simulate"]
    assert command[command.index("--config") + 1] == f"recipes/active/{recipe.name}"
    assert settings["initial"] == 0.02
    assert settings["rounds"] == [0.1, 0.2, 0.3, 0.4, 0.5]
    assert settings["with_target"] is True
    assert "least-confidence" in settings["methods"]
    deep = "preact164" if recipe.stem.startswith("cifar") else "recipes.networks.vdcnn:vdcnn"
    assert settings["target"]["model"] == deep
    if deep == "preact164":
        training = {"epochs": 181, "batch_size": 128, "lr": 0.1, "momentum": 0.9}
        training |= {"optimizer": "sgd", "weight_decay": 5e-4, "schedule": "piecewise"}
        epochs = 50 if "50" in recipe.stem else 181
        assert settings["target"] == {"model": "preact164", **training}
        assert settings["proxy"] == {"model": "preact20", **training, "epochs": epochs}


@pytest.mark.parametrize("name", SMALL)
def test_the_command_in_the_header_runs(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = ROOT / f"recipes/active/{name}.yaml"
    SMALL[name](tmp_path)
    (tmp_path / "recipes/active").mkdir(parents=True)
    shutil.copy(recipe, tmp_path / "recipes/active")
    monkeypatch.chdir(tmp_path)
    settings = settings_of(recipe)
    changes = ["seeds=1", "initial=8", "rounds=[12]", "methods=[least-confidence]"]
    for role in ("proxy", "target"):
        changes += [f"{role}.epochs=1", f"{role}.batch_size=16"]
        changes += [f"{role}.{change}" for change in SHRUNK[settings[role]["model"]]]
    arguments = [*command_of(recipe)[1:], "--run", "run", "--json"]
    arguments += [part for change in changes for part in ("--set", change)]
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    assert (result["data"]["n"], result["data"]["test_n"]) == (40, 12)
    assert {(row["method"], row["selector"]) for row in result["rows"]} == {
        ("random", None), ("least-confidence", "proxy"), ("least-confidence", "target"),
    }  # fmt: skip
