"""Every recipe is valid, and the command in its header runs on small files of the same format."""

from __future__ import annotations

import csv
import io
import json
import re
import runpy
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
from keepers.experiments import CompareConfig, CompareOnlineConfig
from keepers.roles import Role
from keepers.selection import Selection
from keepers.workflows.online import needs_irreducible
from keepers.workflows.options.coreset import CoresetOptions
from recipes.approximations.__main__ import main
from recipes.approximations.study import ApproximationsConfig

ROOT = Path(__file__).parents[1]
RECIPES = sorted((ROOT / "recipes").glob("*.yaml"))
RHO_LOSS = sorted((ROOT / "recipes/rho-loss").glob("*.yaml"))
RESULTS = sorted((ROOT / "recipes/results").glob("online-*.yaml"))
COMMAND = re.compile(r"^#   ((?:keepers|python -m) (?:[^\n]*\\\n# +)*[^\n]*)$", re.MULTILINE)
READING = {"input", "label", "id", "group", "split", "limit", "on_bad_row"}
CONFIGURATIONS = {"compare": CompareConfig, "coreset": CoresetOptions}
PAPER_ROLE = {"optimizer": "adamw", "lr": 1e-3, "weight_decay": 0.01, "schedule": "constant"}


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


def picture_file(
    path: Path, count: int, input: str, labels: dict[str, int], start: int, side: int = 32
) -> None:
    numbers = range(start, start + count)
    pictures = [{"bytes": picture(number, side), "path": None} for number in numbers]
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


def class_folders(name: str, parts: Sequence[str], kind: str) -> Callable[[Path], None]:
    def write(here: Path) -> None:
        for part, start in zip(parts, (0, 100, 200), strict=False):
            for number in range(start, start + 40):
                file = here / f"{name}/{part}/class {number % 3}/{number}.{kind}"
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_bytes(picture(number, 32, "JPEG" if kind == "jpg" else "PNG"))

    return write


def mnist(here: Path) -> None:
    for folder, part, count, start in (
        ("mnist", "train", 60, 0),
        ("ambiguous_mnist", "train", 60, 200),
        ("mnist", "test", 12, 100),
    ):
        file = here / f"{folder}/{part}-00000-of-00001.parquet"
        picture_file(file, count, "image", {"label": 4}, start, side=28)


def glue(here: Path) -> None:
    for task in ("cola", "sst2"):
        for part, count, start in (("train", 60, 0), ("validation", 12, 100)):
            labels, titles, texts = zip(*reviews(count, 2, start), strict=True)
            sentences = [f"{title} {text}" for title, text in zip(titles, texts, strict=True)]
            columns = {"sentence": sentences, "label": labels, "idx": list(range(count))}
            feature = {"names": ["0", "1"], "_type": "ClassLabel"}
            file = here / f"glue/{task}/{part}-00000-of-00001.parquet"
            hub_file(file, columns, {"label": feature})
    script = runpy.run_path(str(ROOT / "benchmarks/make_tiny_transformer.py"))
    small = {"vocabulary": 100, "width": 8, "layers": 1, "length": 18}
    script["write"](["It was good, and was splendid.", "poor"], here / "tiny", **small)


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
    "preact164": ("model=preact20", "options.width=0.25", "resolution=8"),
    "resnet18": ("options.width=0.1", "resolution=8"),
    "fasttext": ("options.buckets=512",),
    "recipes.networks.vdcnn:vdcnn": ("options.width=0.1", "options.hidden=8", "options.length=64"),
}


def shrunk(recipe: Path, command: Sequence[str]) -> list[str]:
    """The command with small and shallow models, one epoch, one budget and one seed."""
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


# RHO-LOSS -----------------------------------------------------------------------------------

SMALL = {
    "hf": ("model=hf:tiny", "options.length=16"),
    "mlp": ("options.hidden=[8]",),
    "resnet18": ("options.width=0.05", "resolution=8"),
    "small-cnn": ("options.width=0.05", "resolution=8"),
    "recipes.networks.vgg:vgg11_bn": ("options.width=0.05",),
}
RUN: dict[str, tuple[Callable[[Path], None], tuple[str, ...]]] = {
    "albert-cola": (glue, ()),
    "appendix-c-structured": (mnist, ()),
    "appendix-f": (cifar10, ()),
    "appendix-g-mnist": (mnist, ()),
    "clothing1m": (
        class_folders("clothing1m", ("train", "holdout", "test"), "jpg"),
        ("target.model=resnet18", "target.options={width: 0.05}", "target.resolution=8"),
    ),
    "fig2-architectures": (cifar10, ()),
    "fig2-hyperparameters": (cifar10, ("epochs=1",)),
    "fig3-relevant": (cifar100, ("relevance=2",)),
    "fig3-redundant": (cifar10, ()),
    "fig7": (cifar10, ()),
    "table2-cifar10": (cifar10, ()),
    "table3-cifar100": (cifar100, ()),
    "table4-cinic10": (class_folders("cinic10", ("train", "valid", "test"), "png"), ()),
}
"""One recipe of each family, its small data, and what else has to be smaller for them."""


def online_config(settings: dict[str, Any]) -> CompareOnlineConfig:
    own = {k: v for k, v in settings.items() if k not in {*READING, "online", "holdout"}}
    return validated(CompareOnlineConfig, own)


@pytest.mark.parametrize("recipe", RHO_LOSS, ids=lambda path: path.stem)
def test_a_rho_loss_recipe_is_valid_and_has_the_settings_of_the_paper(recipe: Path) -> None:
    settings, command = settings_of(recipe), command_of(recipe)
    assert command[command.index("--config") + 1] == f"recipes/rho-loss/{recipe.name}"
    paper = {**PAPER_ROLE}
    if recipe.stem == "table1":
        study = {k: v for k, v in settings.items() if k not in READING}
        config: Any = validated(ApproximationsConfig, study)
        target, il_model = config.role("target"), config.role("il_model")
        paper = {name: paper[name] for name in ("lr", "weight_decay")}
        assert command[:3] == ["python", "-m", "recipes.approximations"]
    else:
        config = online_config(settings)
        target = Role.parse(config.target, "", "target")
        il_model = Role.parse(config.il_model, "", "il_model")
        candidates = {"table2-cinic10", "table3-cinic10", "table4-cinic10"}
        assert target.batch_size == (64 if recipe.stem in candidates else 32)
        assert command[1] == "compare"
        assert "--online" in command
        held_out = "holdout" in settings or "--holdout" in command
        assert held_out is not recipe.stem.startswith("table3")
        assert any(needs_irreducible(name) for name in config.methods if name != "svp")
    assert config.keep == 0.1
    if recipe.stem.startswith("albert"):
        paper |= {"lr": 2e-5, "weight_decay": 0.02}
    for role in (target, il_model):
        assert {name: getattr(role, name) for name in paper} == paper


@pytest.mark.parametrize("recipe", RESULTS, ids=lambda path: path.stem)
def test_a_recipe_of_the_results_is_a_valid_online_comparison(recipe: Path) -> None:
    settings = settings_of(recipe)
    assert settings["online"] is True
    config = online_config(settings)
    for name in ("target", "il_model"):
        Role.parse(getattr(config, name), "", name).recipe()


@pytest.mark.parametrize("name", RUN)
def test_a_rho_loss_recipe_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_data, more = RUN[name]
    write_data(tmp_path)
    recipe = ROOT / f"recipes/rho-loss/{name}.yaml"
    (tmp_path / "recipes/rho-loss").mkdir(parents=True)
    shutil.copy(recipe, tmp_path / "recipes/rho-loss")
    monkeypatch.chdir(tmp_path)
    settings = settings_of(recipe)
    changes = ["seeds=1", "keep=0.5", "evaluate_every=1", "il_model.epochs=1"]
    changes += ["steps=2"] if "steps" in settings else []
    if "proxy" in settings:
        changes += ["proxy.model=mlp", "proxy.epochs=1"]
    for role in ("target", "il_model"):
        model = str(settings[role]["model"])
        small = (
            SMALL["hf" if model.startswith("hf:") else model]
            if (name, role) != ("clothing1m", "target")
            else ()
        )
        changes += [f"{role}.{change}" for change in (*small, "batch_size=4")]
    arguments = command_of(recipe)[1:]
    if "--run" not in arguments:
        arguments += ["--run", "run"]
    arguments += [part for change in (*changes, *more) for part in ("--set", change)]
    done = CliRunner().invoke(
        app, [*arguments, "--device", "cpu", "--json"], catch_exceptions=False
    )
    assert done.exit_code == 0, done.output
    result = json.loads(done.stdout)
    wanted = {"uniform", "uniform-equal-time", "fresh-random", *settings["methods"]}
    assert {row["method"] for row in result["rows"]} == wanted
    assert result["corruption"].keys() >= (
        {"confused"} if "structured_noise" in settings else set()
    )


def test_table_1_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mnist(tmp_path)
    recipe = ROOT / "recipes/rho-loss/table1.yaml"
    monkeypatch.chdir(ROOT)
    _, _, _, data, *given = command_of(recipe)
    arguments = [str(tmp_path / data), *given, "--run", str(tmp_path / "run"), "--json"]
    for change in ("limit=null", "batch_size=10", "keep=0.2", "seeds=1", "members=2"):
        arguments += ["--set", change]
    main(arguments)
    result = json.loads(capsys.readouterr().out)
    assert (result["batches"], len(result["rows"])) == (3, 5)
