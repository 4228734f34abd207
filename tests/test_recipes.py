"""Every recipe is valid, and the command in its header runs on small files of the same format."""

from __future__ import annotations

import csv
import io
import json
import re
import shlex
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

from keepers.cli import app
from keepers.configuration import validated
from keepers.experiments.config import CompareConfig
from keepers.roles import Role
from keepers.selection import Selection
from keepers.workflows.scoring import CoresetConfig

ROOT = Path(__file__).parents[1]
RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))
COMMAND = re.compile(r"^#   (keepers (?:[^\n]*\\\n# +)*[^\n]*)$", re.MULTILINE)
READING = {"input", "label", "id", "group", "split", "limit", "on_bad_row"}
CONFIGURATIONS = {"compare": CompareConfig, "coreset": CoresetConfig}


def command_of(recipe: Path) -> list[str]:
    """The command line in the header, which is what a person types."""
    found = COMMAND.findall(recipe.read_text(encoding="utf-8"))
    assert len(found) == 1, f"{recipe.name} shows {len(found)} commands"
    return shlex.split(re.sub(r"\\\n# +", "", found[0]))


def settings_of(recipe: Path) -> dict[str, Any]:
    return yaml.safe_load(recipe.read_text(encoding="utf-8"))


def picture(value: int, side: int, kind: str = "PNG") -> bytes:
    noise = np.random.default_rng(value).integers(0, 40, (side, side, 3), dtype=np.uint8)
    noise[:, :, value % 3] += np.uint8(150)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, format=kind)
    return file.getvalue()


def hub_file(path: Path, columns: dict[str, Any], features: dict[str, Any]) -> None:
    """A Parquet file as the Hugging Face `datasets` library writes it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    note = json.dumps({"info": {"features": features}})
    table = pa.table(columns).replace_schema_metadata({"huggingface": note})
    pq.write_table(table, path)


def picture_file(path: Path, count: int, input: str, labels: dict[str, int], start: int) -> None:
    numbers = range(start, start + count)
    pictures = [{"bytes": picture(number, 32), "path": None} for number in numbers]
    classes = {
        name: {"names": [f"{name} {n}" for n in range(num)], "_type": "ClassLabel"}
        for name, num in labels.items()
    }
    columns = {name: [number % num for number in numbers] for name, num in labels.items()}
    hub_file(path, {input: pictures, **columns}, {input: {"_type": "Image"}, **classes})


def cifar10(here: Path) -> None:
    for name, count, start in (("train", 40, 0), ("test", 12, 100)):
        file = here / f"cifar10/{name}-00000-of-00001.parquet"
        picture_file(file, count, "img", {"label": 3}, start)


def cifar100(here: Path) -> None:
    for name, count, start in (("train", 40, 0), ("test", 12, 100)):
        file = here / f"cifar100/{name}-00000-of-00001.parquet"
        picture_file(file, count, "img", {"fine_label": 6, "coarse_label": 3}, start)


def svhn(here: Path) -> None:
    for name, count, start in (
        ("train/train-00000-of-00001", 24, 0),
        ("train/extra-00000-of-00002", 10, 100),
        ("train/extra-00001-of-00002", 6, 200),
        ("test-00000-of-00001", 12, 300),
    ):
        picture_file(here / f"svhn/{name}.parquet", count, "image", {"label": 3}, start)


def imagenet(here: Path) -> None:
    for part, count, start in (("train", 40, 0), ("val", 12, 100)):
        for number in range(start, start + count):
            file = here / f"imagenet/{part}/n0000000{number % 3}/{part}_{number}.JPEG"
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(picture(number, 40 + number % 5, "JPEG"))


def reviews(count: int, num_classes: int, start: int) -> list[tuple[int, str, str]]:
    words = ("dreadful", "poor", "so-so", "good", "splendid")
    return [
        (n % num_classes, f"{words[n % num_classes]}, no. {n}", f'It said "{n}", and\nwas {n}.')
        for n in range(start, start + count)
    ]


def amazon_polarity(here: Path) -> None:
    feature = {"names": ["negative", "positive"], "_type": "ClassLabel"}
    for name, count, start in (
        ("train-00000-of-00004", 20, 0),
        ("train-00003-of-00004", 20, 100),
        ("test-00000-of-00001", 12, 200),
    ):
        label, title, content = zip(*reviews(count, 2, start), strict=True)
        columns = {"label": label, "title": title, "content": content}
        hub_file(here / f"amazon_polarity/{name}.parquet", columns, {"label": feature})


def amazon_csv(folder: str, num_classes: int) -> Callable[[Path], None]:
    def write(here: Path) -> None:
        for part, count, start in (("train", 40, 0), ("test", 12, 100)):
            file = here / folder / f"{part}.csv"
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("w", encoding="utf-8", newline="") as opened:
                writer = csv.writer(opened, quoting=csv.QUOTE_ALL)
                for label, *texts in reviews(count, num_classes, start):
                    writer.writerow([label + 1, *texts])

    return write


DATA: dict[str, Callable[[Path], None]] = {
    "cifar10": cifar10,
    "cifar100": cifar100,
    "svhn": svhn,
    "imagenet": imagenet,
    "imagenet-coreset": imagenet,
    "amazon-polarity": amazon_polarity,
    "amazon-polarity-csv": amazon_csv("amazon_review_polarity_csv", 2),
    "amazon-full": amazon_csv("amazon_review_full_csv", 5),
}
SHRUNK = {
    "preact20": ("options.width=0.25",),
    "preact164": ("options.width=0.25", "resolution=8"),
    "resnet18": ("options.width=0.1", "resolution=8"),
    "fasttext": ("options.buckets=512",),
    "vdcnn29": ("options.width=0.1", "options.hidden=8", "options.length=64"),
}


def shrunk(recipe: Path, command: Sequence[str]) -> list[str]:
    """The command with small models, one epoch, one budget and one seed."""
    settings = settings_of(recipe)
    small = ["seeds=1", "keep=[0.5]"] if command[1] == "compare" else []
    for role in ("proxy", "target"):
        if role in settings:
            small += [f"{role}.epochs=1", f"{role}.batch_size=16"]
            small += [f"{role}.{change}" for change in SHRUNK[settings[role]["model"]]]
    return [part for change in small for part in ("--set", change)]


def test_there_is_a_small_data_set_for_every_recipe() -> None:
    assert {recipe.stem for recipe in RECIPES} == set(DATA)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_is_a_valid_configuration(recipe: Path) -> None:
    settings, command = settings_of(recipe), command_of(recipe)
    kind = CONFIGURATIONS[command[1]]
    config = validated(kind, {k: v for k, v in settings.items() if k not in READING})
    for name in ("proxy", "target"):
        if name in settings:
            role = Role.parse(getattr(config, name), "", name)
            given = {k: v for k, v in settings[name].items() if k in role.identity()}
            assert {name: role.identity()[name] for name in given} == given
    assert command[command.index("--config") + 1] == f"recipes/{recipe.name}"


def test_the_cifar_recipes_are_those_of_the_paper() -> None:
    for name in ("cifar10", "cifar100"):
        settings = settings_of(ROOT / "recipes" / f"{name}.yaml")
        training = {"epochs": 181, "batch_size": 128, "lr": 0.1, "momentum": 0.9}
        training |= {"optimizer": "sgd", "weight_decay": 5e-4, "schedule": "piecewise"}
        assert settings["proxy"] == {"model": "preact20", **training}
        assert settings["target"] == {"model": "preact164", **training}
        assert settings["keep"] == [0.4, 0.6, 0.8]


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_the_command_in_the_header_runs(
    recipe: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    DATA[recipe.stem](tmp_path)
    (tmp_path / "recipes").mkdir()
    shutil.copy(recipe, tmp_path / "recipes")
    monkeypatch.chdir(tmp_path)
    command = command_of(recipe)
    arguments = [*command[1:], *shrunk(recipe, command), "--run", "run", "--json"]
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    if command[1] == "coreset":
        assert result["counts"]["rows"] == 40
        assert len(Selection.read_parquet("kept.parquet")) == 24
        return
    assert (result["data"]["n"], result["data"]["test_n"]) == (40, 12)
    selectors = {(row["method"], row["selector"]) for row in result["rows"]}
    assert ("entropy", "proxy") in selectors
    assert (("entropy", "target") in selectors) is settings_of(recipe).get("with_target", False)
