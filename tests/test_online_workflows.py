"""Irreducible losses and training by online selection, end to end."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

import keepers
from keepers import methods
from keepers.data import encode, open_source
from keepers.errors import DataError, KeepersError, ParameterError
from keepers.models import MIN_STEPS
from keepers.online import Companion, IrreducibleLosses, weaknesses
from keepers.online.checks import supplied
from keepers.random import derived_seed
from keepers.roles import Role, prepare
from keepers.sealed import read_tensors, write_tensors
from keepers.tasks import Classes
from keepers.tasks.classes import calibration_error
from keepers.training import Candidates, Hardware, Length, fit
from keepers.types import DataInfo, EncoderSpec, Model
from keepers.workflows.online import selections, stage, training
from keepers.workflows.online.training import is_dense
from keepers.workflows.options.irreducible import IrreducibleConfig
from keepers.workflows.options.shared import Shared
from keepers.workflows.options.training import SelectionConfig
from keepers.workflows.parts import quick
from keepers.workflows.teaching import (
    Taught,
    agreement,
    folds_of,
    quality,
)
from keepers.workflows.tested import with_test
from keepers.workflows.workplace import Workplace

HERE = __name__
N = 120
CLASSES = 3
SMALL = {"model": "mlp", "options": {"hidden": [8]}, "batch_size": 8, "lr": 0.01}
FEW = {"model": "logistic", "batch_size": 8, "epochs": 2}


def blobs(n: int = N, seed: int = 0, noise: float = 0.0) -> Any:
    """Vectors around one point for each class; the first feature is the number of the row."""
    draw = np.random.default_rng(seed)
    labels = np.arange(n) % CLASSES
    values = np.eye(4)[labels] * 2 + draw.normal(size=(n, 4))
    values[:, 0] = np.arange(n) + 1000 * seed
    wrong = draw.random(n) < noise
    labels = np.where(wrong, (labels + 1) % CLASSES, labels)
    columns = {f"x{i}": values[:, i].astype(np.float32) for i in range(4)}
    return pa.table({**columns, "label": [f"class {c}" for c in labels], "key": np.arange(n) * 7})


def made(run: Path, data: Any = None, **given: Any) -> IrreducibleLosses:
    defaults: dict[str, Any] = {"model": FEW, "id": "key", "device": "cpu", "run": run}
    return keepers.irreducible_losses(blobs() if data is None else data, **(defaults | given))


def trained(run: Path, data: Any = None, **given: Any) -> keepers.TrainResult:
    defaults: dict[str, Any] = {
        "select": "rho-loss",
        "model": SMALL,
        "il_model": FEW,
        "id": "key",
        "device": "cpu",
        "steps": 6,
        "run": run,
    }
    if {"epochs", "seconds"} & given.keys():
        del defaults["steps"]
    return keepers.train(blobs() if data is None else data, **(defaults | given))


def _unheard(_: str) -> None: ...


def by_id(losses: IrreducibleLosses) -> dict[int, float]:
    return dict(zip(losses.ids.tolist(), losses.values.tolist(), strict=True))


# Models that tell what happened to them -----------------------------------------------------


class Witness(nn.Module):
    """Notes the rows that it is given; sure of class 0 for those that it was trained on."""

    def __init__(self, num_inputs: int) -> None:
        super().__init__()
        self.nothing = nn.Parameter(torch.zeros(CLASSES))
        self.fixed: Tensor
        self.register_buffer("fixed", torch.randn(CLASSES))
        self.trained_on: list[Tensor] = []
        self.evaluated: list[Tensor] = []
        self.without_gradient: list[int] = []

    def forward(self, inputs: Tensor) -> Tensor:
        rows = inputs.flatten(1)
        if not torch.is_grad_enabled():
            self.without_gradient.append(len(rows))
        if len(rows) > 1:  # FLOPs are counted on a single one
            (self.trained_on if self.training else self.evaluated).append(rows.detach().clone())
        return self.said(rows) + 0 * self.nothing

    def said(self, rows: Tensor) -> Tensor:
        return torch.zeros(len(rows), CLASSES)


class Memory(Witness):
    def said(self, rows: Tensor) -> Tensor:
        known = torch.isin(
            rows[:, 0], torch.cat([torch.empty(0), *(t[:, 0] for t in self.trained_on)])
        )
        return known[:, None] * torch.tensor([100.0, 0.0, 0.0])


class Stubborn(Witness):
    def said(self, rows: Tensor) -> Tensor:
        return self.fixed.expand(len(rows), CLASSES)


BUILT: list[Witness] = []


@pytest.fixture(autouse=True)
def _forget() -> Iterator[None]:
    BUILT.clear()
    yield
    BUILT.clear()


def _factory(kind: Callable[[int], Witness], info: DataInfo) -> Model:
    module = kind(math.prod(info.shape))
    BUILT.append(module)
    encoder = EncoderSpec(kind="vector")
    if info.kind == "image":
        encoder = EncoderSpec(kind="image", size=info.shape[1:], channels=1)  # type: ignore[arg-type]
    return Model(module=module, encoder=encoder)


def _ten_zeros(_: Memory, rows: Tensor) -> Tensor:
    return torch.zeros(len(rows), 10)


def memory(info: DataInfo) -> Model:
    return _factory(Memory, info)


def stubborn(info: DataInfo) -> Model:
    return _factory(Stubborn, info)


def dropping(info: DataInfo) -> nn.Module:
    return nn.Sequential(
        nn.Flatten(),
        nn.Linear(math.prod(info.shape), 8),
        nn.Dropout(0.5),
        nn.Linear(8, info.num_classes),
    )


def witnesses() -> list[Witness]:
    """Those that were trained, in order; others are only looked at."""
    return [each for each in BUILT if each.trained_on]


# Irreducible losses: who scores whom --------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "n", "expected"),
    [
        ({}, 30_000, ((256, 256), 4, 128, 2e-3)),
        ({}, 1_000, ((256, 256), 6, 32, 1e-3)),
        ({}, 3, ((256, 256), 6, 32, 1e-3)),
        ({"options": {"dropout": 0.1}}, 10**7, ((256, 256), 4, 128, 2e-3)),
        ({"options": {"hidden": (512, 512)}}, 30_000, ((512, 512), 6, 512, 2e-3)),
        ({"options": {"hidden": (8,)}}, 1_000, ((8,), 6, 32, 5e-4)),
        ({"epochs": 2}, 30_000, ((256, 256), 2, 128, 2e-3)),
    ],
)
def test_a_perceptron_that_makes_losses_is_cheap(
    given: dict[str, Any], n: int, expected: tuple[Any, ...]
) -> None:
    role = quick(Role(model="mlp", **given), n)
    assert role.options == {**given.get("options", {}), "hidden": expected[0]}
    assert (role.epochs, role.batch_size) == expected[1:3]
    assert role.lr == pytest.approx(expected[3])
    assert (role.optimizer, role.schedule, role.bf16) == ("adamw", "one-cycle", True)
    named = "epochs" in given
    assert role.recipe().min_steps == (0 if named else MIN_STEPS)


@pytest.mark.parametrize("own", [{"lr": 0.1}, {"batch_size": 8}, {"schedule": "constant"}])
def test_a_recipe_of_ones_own_is_kept(own: dict[str, Any]) -> None:
    role = Role(model="mlp", **own, options={"hidden": (64,)})
    assert quick(role, 30_000) == role
    narrow = quick(Role(model="mlp", **own), 30_000)
    assert narrow == Role(model="mlp", **own, options={"hidden": (256, 256)})


def test_the_losses_of_vectors_are_made_by_a_narrow_perceptron() -> None:
    source = open_source("digits")
    assert IrreducibleConfig(model="mlp").role(source).options == {"hidden": (256, 256)}
    assert "hidden" not in IrreducibleConfig(model="small-cnn").role(source).options


def test_targets_and_models_of_losses_have_their_least_number_of_steps(tmp_path: Path) -> None:
    said: list[str] = []
    least = {"min_steps": 60}  # of 40 rows a step of 8 has 5 an epoch, one that keeps 0.5 has 3
    found = trained(
        tmp_path, blobs(40), model=SMALL | least, steps=None, keep=0.5, hand_over=False,
        il_model={"model": "logistic", "batch_size": 8} | least, say=said.append,
    )  # fmt: skip
    steps = {cost["phase"]: cost["steps"] for cost in found.metadata["costs"]}
    assert 60 <= steps["target training"] < 63
    assert 60 <= steps["irreducible-loss training"] / 2 < 65
    assert any("20 epochs on 19 examples" in sentence for sentence in said), said
    named = trained(tmp_path, blobs(40), model=SMALL | least, steps=None, epochs=1, keep=0.5)
    assert {c["phase"]: c["steps"] for c in named.metadata["costs"]}["target training"] < 5


@pytest.mark.parametrize(("epochs", "checks"), [(50, 50), (60, 30)])
def test_few_examples_are_not_checked_after_each_of_many_epochs(
    tmp_path: Path, epochs: int, checks: int
) -> None:
    losses = made(tmp_path, blobs(20), epochs=epochs)
    assert {len(points) for points in losses.quality["checked_losses"]} == {checks}


@pytest.mark.parametrize("folds", [2, 3])
def test_no_model_scores_what_it_was_trained_on(tmp_path: Path, folds: int) -> None:
    losses = made(tmp_path, folds=folds, model=f"{HERE}:memory", epochs=2)
    assert len(losses) == N
    assert losses.values.tolist() == pytest.approx([math.log(CLASSES)] * N)
    models = witnesses()
    assert len(models) == folds
    for model in models:
        seen = set(torch.cat(model.trained_on)[:, 0].tolist())
        scored = set(torch.cat(model.evaluated)[:, 0].tolist())
        assert not seen & scored
    trainings = [set(torch.cat(model.trained_on)[:, 0].tolist()) for model in models]
    everyone = set.union(*trainings)
    assert len(everyone) == N - N // 20  # what chooses the checkpoints is trained on by none
    for row in everyone:
        assert sum(row in training for training in trainings) == folds - 1


def test_the_memory_of_the_test_above_would_show() -> None:
    module = Memory(4).train()
    rows = torch.arange(8.0).reshape(2, 4)
    module(rows)
    assert module.eval()(rows)[:, 0].tolist() == [100.0, 100.0]
    assert module(rows + 1)[:, 0].tolist() == [0.0, 0.0]


def test_a_fold_gets_the_losses_of_the_model_of_the_others_and_the_rest_their_mean(
    tmp_path: Path,
) -> None:
    losses = made(tmp_path, model=f"{HERE}:stubborn", epochs=1)
    first, second = witnesses()
    source = open_source(blobs(), id="key")
    assert source.labels is not None
    labels = torch.from_numpy(source.labels)
    of_each = [-F.log_softmax(m.fixed, dim=0)[labels] for m in (first, second)]
    seen = [set(torch.cat(m.trained_on)[:, 0].tolist()) for m in (first, second)]
    rows = [float(v) for v in source.ids // 7]
    values = losses.values
    unseen = 0
    for position, row in enumerate(rows):
        a, b = (float(each[position]) for each in of_each)
        expected = {(False, True): a, (True, False): b, (False, False): (a + b) / 2}
        assert float(values[position]) == pytest.approx(
            expected[row in seen[0], row in seen[1]], rel=1e-5
        )
        unseen += row not in seen[0] | seen[1]
    assert unseen == N // 20


def test_folds_are_balanced_disjoint_and_drawn_by_seed() -> None:
    labels = torch.tensor([0] * 60 + [1] * 30 + [2] * 10)
    parts, checked = folds_of(labels, 3, seed=4)
    assert sorted(torch.cat([*parts, checked]).tolist()) == list(range(100))
    assert len(checked) == 5
    for wanted in range(3):
        counts = [int((labels[part] == wanted).sum()) for part in parts]
        assert max(counts) - min(counts) <= 1
    again, other = folds_of(labels, 3, seed=4), folds_of(labels, 3, seed=5)
    assert all(torch.equal(a, b) for a, b in zip(again[0], parts, strict=True))
    assert not torch.equal(other[0][0], parts[0])


def test_copies_of_an_input_share_a_fold() -> None:
    copies = torch.arange(40).repeat_interleave(3)
    labels = copies % 2
    parts, checked = folds_of(labels, 2, seed=0, units=copies)
    assert sorted(torch.cat([*parts, checked]).tolist()) == list(range(120))
    groups = [set(copies[part].tolist()) for part in (*parts, checked)]
    assert sum(map(len, groups)) == 40
    assert [len(part) for part in (*parts, checked)] == [57, 57, 6]
    plain = folds_of(labels, 2, seed=1)
    numbered = folds_of(labels, 2, seed=1, units=torch.arange(120))
    assert all(torch.equal(a, b) for a, b in zip(plain[0], numbered[0], strict=True))


@pytest.mark.parametrize("given", [{"folds": 2}, {"folds": 3}, {"holdout": 0.3}], ids=str)
def test_no_model_scores_a_copy_of_what_it_was_trained_on(
    tmp_path: Path, given: dict[str, Any]
) -> None:
    thrice = pa.concat_tables([blobs(40)] * 3)
    thrice = thrice.set_column(thrice.column_names.index("key"), "key", pa.array(np.arange(120)))
    losses = made(tmp_path, thrice, model=f"{HERE}:memory", epochs=1, **given)
    assert losses.values.tolist() == pytest.approx([math.log(CLASSES)] * len(losses))
    for model in witnesses():
        seen = set(torch.cat(model.trained_on)[:, 0].tolist())
        assert not seen & set(torch.cat(model.evaluated)[:, 0].tolist())


def test_with_holdout_data_one_model_sees_those_alone(tmp_path: Path) -> None:
    holdout = blobs(60, seed=1)
    losses = made(tmp_path, holdout=holdout, model=f"{HERE}:memory", epochs=1)
    (model,) = witnesses()
    assert set(torch.cat(model.trained_on)[:, 0].tolist()) == {1000.0 + row for row in range(60)}
    assert set(torch.cat(model.evaluated)[:, 0].tolist()) == set(map(float, range(N)))
    assert losses.values.tolist() == pytest.approx([math.log(CLASSES)] * N)
    assert losses.metadata["holdout"] == open_source(holdout, id="key").fingerprint


@pytest.mark.parametrize("holdout", [0.25, "25%", "0.25", 30])
def test_a_holdout_fraction_is_taken_off_and_has_no_losses(
    tmp_path: Path, holdout: float | str
) -> None:
    losses = made(tmp_path, holdout=holdout, model=f"{HERE}:memory", epochs=1)
    assert len(losses) == 90
    (model,) = witnesses()
    held = set(torch.cat(model.trained_on)[:, 0].tolist())
    assert len(held) == 30
    assert held.isdisjoint((losses.ids // 7).tolist())
    assert losses.values.tolist() == pytest.approx([math.log(CLASSES)] * 90)
    assert losses.labels is not None
    assert [list(losses.labels).count(f"class {c}") for c in range(CLASSES)] == [30, 30, 30]


def test_losses_belong_to_ids_whatever_the_order_of_the_file(tmp_path: Path) -> None:
    plain = made(tmp_path / "a")
    shuffled = blobs().take(np.random.default_rng(3).permutation(N))
    assert by_id(made(tmp_path / "b", shuffled)) == by_id(plain)
    assert by_id(made(tmp_path / "c", seed=1)) != by_id(plain)


def test_losses_are_those_of_the_model_in_evaluation_mode_on_the_inputs_as_they_are(
    tmp_path: Path,
) -> None:
    role = {"model": f"{HERE}:memory", "augment": True, "epochs": 1}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(f"{HERE}.CLASSES", 10)
        patched.setattr(Memory, "said", _ten_zeros)
        keepers.irreducible_losses("digits", model=role, limit=80, run=tmp_path, device="cpu")
    source = open_source("digits", limit=80)
    pool = encode(source, EncoderSpec(kind="image", size=(8, 8), channels=1))[1]
    raw = {tuple(row) for row in pool.gather(torch.arange(80))[0].flatten(1).tolist()}
    for model in witnesses():
        assert {tuple(row) for row in torch.cat(model.evaluated).tolist()} <= raw
        assert not {tuple(row) for row in torch.cat(model.trained_on).tolist()} <= raw


def test_the_checkpoint_of_the_lowest_held_out_loss_is_kept(tmp_path: Path) -> None:
    role = {"model": "mlp", "batch_size": 8, "lr": 0.01, "epochs": 12, "schedule": "constant"}
    losses = made(tmp_path, blobs(noise=0.4), holdout=blobs(60, seed=1, noise=0.4), model=role)
    (checked,) = losses.quality["checked_losses"]
    assert len(checked) == 12
    assert checked[-1] > 1.2 * min(checked)  # it overfitted, or this test says nothing
    assert float(losses.values.double().mean()) == pytest.approx(min(checked), rel=1e-6)
    assert losses.quality["loss"] == pytest.approx(min(checked), rel=1e-6)


# A model or values of one's own -------------------------------------------------------------


def test_a_trained_module_is_evaluated_and_left_as_it_was(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.9), nn.Linear(8, CLASSES)).train()
    before = {name: value.clone() for name, value in module.state_dict().items()}
    losses = made(tmp_path, model=module)
    assert module.training
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    source = open_source(blobs(), id="key")
    assert source.labels is not None
    inputs = torch.from_numpy(np.asarray(source.inputs, dtype=np.float32))
    with torch.no_grad():
        logits = module.eval()(inputs)
    expected = F.cross_entropy(logits, torch.from_numpy(source.labels), reduction="none")
    assert losses.values.tolist() == pytest.approx(expected.tolist(), rel=1e-5)
    assert losses.quality["accuracy"] == pytest.approx(
        float((logits.argmax(1).numpy() == source.labels).mean())
    )


def test_a_module_for_text_says_how_text_is_encoded(tmp_path: Path) -> None:
    words = pa.table({"text": [f"word {i} and {i * i}" for i in range(40)], "label": [0, 1] * 20})
    with pytest.raises(ParameterError, match="model: got a module, which does not define how text"):
        keepers.irreducible_losses(words, model=nn.Linear(2, 2), run=tmp_path)
    result = keepers.train(words, select="uniform", steps=2, run=tmp_path)
    losses = keepers.irreducible_losses(
        words, model=keepers.load_model(result.weights), run=tmp_path
    )
    assert len(losses) == 40
    wrong = Model(module=nn.Linear(2, 2), encoder=EncoderSpec(kind="vector"))
    with pytest.raises(ParameterError, match="model: this model reads vector inputs"):
        keepers.irreducible_losses(words, model=wrong, run=tmp_path)


def test_a_trained_model_has_an_output_for_each_class(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="model: gives 2 classes, but a label is number"):
        made(tmp_path, model=nn.Linear(4, 2))


def test_a_trained_model_takes_no_holdout(tmp_path: Path) -> None:
    with pytest.raises(
        ParameterError, match="holdout: got together with a model that is already trained"
    ):
        made(tmp_path, model=nn.Linear(4, CLASSES), holdout=0.5)


def test_losses_are_saved_loaded_and_used_for_any_target(tmp_path: Path) -> None:
    losses = made(tmp_path / "il")
    path = losses.save(tmp_path / "il.parquet")
    loaded = IrreducibleLosses.load(path)
    assert by_id(loaded) == by_id(losses)
    assert loaded.metadata == losses.metadata
    first = trained(tmp_path / "a", il=losses)
    second = trained(tmp_path / "b", il=path)
    third = trained(tmp_path / "c", il=str(path), model=SMALL)
    assert first.weights.read_bytes() == second.weights.read_bytes() == third.weights.read_bytes()
    phases = [cost["phase"] for cost in first.metadata["costs"]]
    assert "irreducible-loss training" not in phases
    assert not first.made_losses
    assert not list((tmp_path / "b" / "stages").glob("irreducible*"))
    other = trained(tmp_path / "d", il=path, model={**SMALL, "options": {"hidden": [4]}})
    assert other.metadata["irreducible"]["data"] == losses.metadata["data"]


def test_a_training_leaves_the_losses_that_it_made(tmp_path: Path) -> None:
    result = trained(tmp_path / "a")
    assert result.made_losses
    again = trained(tmp_path / "b", il=tmp_path / "a" / "il.parquet")
    assert again.weights.read_bytes() == result.weights.read_bytes()


def test_losses_of_a_holdout_fraction_leave_that_fraction_out(tmp_path: Path) -> None:
    at_once = trained(tmp_path / "a", holdout=0.25)
    path = made(tmp_path / "il", holdout=0.25).save(tmp_path / "il.parquet")
    said: list[str] = []
    later = trained(tmp_path / "b", il=path, say=said.append)
    assert at_once.metadata["trained_on"] == later.metadata["trained_on"] == 90
    assert later.weights.read_bytes() == at_once.weights.read_bytes()
    assert any("Left out: 30 examples" in sentence for sentence in said)


def test_values_made_elsewhere_decide_what_is_trained_on(tmp_path: Path) -> None:
    ids = np.arange(N) * 7
    wanted = np.arange(N) % 10 == 0
    given = IrreducibleLosses.given(ids, np.where(wanted, -100.0, 100.0))
    role = {"model": f"{HERE}:stubborn", "batch_size": N // 10, "epochs": 3}
    trained(tmp_path, il=given, model=role, epochs=3)
    target = BUILT[-1]
    stepped = [t for t in target.trained_on if len(t) == N // 10]
    assert len(stepped) >= 3
    for batch in stepped[-3:]:
        assert sorted(batch[:, 0].tolist()) == np.flatnonzero(wanted).tolist()


def _without_key() -> Any:
    table = blobs()
    return table.set_column(table.column_names.index("key"), "key", pa.array(np.arange(N) * 7 + 1))


def _relabelled() -> Any:
    table = blobs()
    labels = table["label"].to_pylist()
    labels[2] = "class 0"
    return table.set_column(table.column_names.index("label"), "label", pa.array(labels))


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "other data": (
        _without_key,
        r"il: 120 of 120 examples have no irreducible loss, such as \[1, 8, 15.*keepers il",
    ),
    "another label": (
        _relabelled,
        r"il: 1 of 120 examples has another label than the losses were made for, such as "
        r"\[14\]",
    ),
    "more data": (lambda: blobs(121), r"il: 1 of 121 examples has no .* such as \[840\]"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_losses_of_other_data_are_refused_by_id(tmp_path: Path, case: str) -> None:
    data, message = REFUSED[case]
    path = made(tmp_path / "il").save(tmp_path / "il.parquet")
    with pytest.raises(ParameterError, match=message):
        trained(tmp_path / "run", data(), il=path)
    assert not list((tmp_path / "run").glob("stages/target*"))


def test_losses_that_are_no_numbers_are_refused_by_id(tmp_path: Path) -> None:
    values = np.zeros(N)
    values[[3, 5]] = np.nan, np.inf
    path = tmp_path / "il.parquet"
    pq.write_table(pa.table({"id": np.arange(N) * 7, "irreducible_loss": values}), path)
    with pytest.raises(DataError, match=r"il: .*2 values are missing or not finite.*\[21, 35\]"):
        trained(tmp_path / "run", il=path)


# Quality ------------------------------------------------------------------------------------


def test_calibration_error_by_hand() -> None:
    probs = torch.tensor([[0.9, 0.1], [0.9, 0.1], [0.4, 0.6], [0.4, 0.6]])
    labels = torch.tensor([0, 1, 1, 1])
    # Said 0.9 and right on half: 0.4 off; said 0.6 and always right: 0.4 off.
    assert calibration_error(probs.log(), labels) == pytest.approx(0.4)
    certain = torch.tensor([[1.0, 0.0]]).log()
    assert calibration_error(certain, torch.tensor([0])) == 0.0
    assert calibration_error(certain, torch.tensor([1])) == 1.0


def test_agreement_is_the_mean_rank_correlation_of_every_two() -> None:
    a, b = torch.tensor([1.0, 2.0, 3.0]), torch.tensor([10.0, 20.0, 900.0])
    assert agreement([a]) is None
    assert agreement([a, b]) == pytest.approx(1.0)
    assert agreement([a, -b]) == pytest.approx(-1.0)
    # Ranks 1 2 3 against 1 3 2: rho = 1 - 6 * 2 / (3 * 8) = 0.5
    c = torch.tensor([1.0, 3.0, 2.0])
    assert agreement([a, c]) == pytest.approx(0.5)
    assert agreement([a, b, c]) == pytest.approx((1 + 0.5 + 0.5) / 3)
    assert agreement([a, torch.zeros(3)]) == 0.0
    assert agreement([a[:1], b[:1]]) is None


def _taught(losses: list[float], **facts: Any) -> Taught:
    values = torch.tensor(losses)
    usual = {
        "loss": 0.5,
        "accuracy": 0.9,
        "majority": 0.5,
        "calibration_error": 0.02,
        "confidence": 0.92,
        "checked_losses": [0.5, 0.5],
    }
    return Taught(losses=values, checked_losses=values, facts=usual | facts, weights=Path())


def test_quality_is_the_mean_over_the_models() -> None:
    found = quality(
        [
            _taught([1.0, 2.0, 3.0], loss=0.2, accuracy=0.8),
            _taught([1.0, 3.0, 2.0], loss=0.6, accuracy=0.6, checked_losses=[0.9]),
        ]
    )
    assert found["loss"] == pytest.approx(0.4)
    assert found["accuracy"] == pytest.approx(0.7)
    assert found["fold_losses"] == [0.2, 0.6]
    assert found["agreement"] == pytest.approx(0.5)
    assert found["checked_losses"] == [[0.5, 0.5], [0.9]]


WEAK: dict[str, tuple[dict[str, Any], str]] = {
    "no better than the largest class": (
        {"accuracy": 0.6},
        "is right on 60% of held-out data, and always guessing the largest class is right on 50%",
    ),
    "still learning": (
        {"checked_losses": [0.9, 0.7, 0.5]},
        r"was still learning when it stopped \(held-out loss 0.700, then 0.500\)",
    ),
    "too sure": (
        {"calibration_error": 0.2, "confidence": 0.99},
        r"probabilities are off by 20% on average.*Fewer epochs, or a smaller --il-model$",
    ),
    "not sure enough": (
        {"calibration_error": 0.2, "confidence": 0.6},
        r"probabilities are off by 20% on average.*Give it more epochs$",
    ),
}


@pytest.mark.parametrize("case", WEAK)
def test_each_weakness_is_said_with_what_to_do(case: str) -> None:
    assert weaknesses(quality([_taught([1.0, 2.0])])) == []
    facts, sentence = WEAK[case]
    (said,) = weaknesses(quality([_taught([1.0, 2.0], **facts)]))
    assert re.search(sentence, said)
    assert "epochs" in said or "--il-model" in said


def test_folds_that_do_not_agree_are_said() -> None:
    rising = [float(value) for value in range(30)]
    alike = quality([_taught(rising), _taught([*rising[:-1], 99.0])])
    apart = quality([_taught(rising), _taught(rising[::-1])])
    few = quality([_taught(rising[:29]), _taught(rising[28::-1])])
    assert weaknesses(alike) == weaknesses(few) == []
    (said,) = weaknesses(apart)
    assert "agree little on which examples are hard (rank correlation -1.00)" in said


def test_a_learning_that_has_settled_is_not_called_unfinished() -> None:
    settled = _taught([1.0, 2.0], checked_losses=[0.9, 0.50, 0.49])
    risen = _taught([1.0, 2.0], checked_losses=[0.9, 0.5, 0.7])
    assert weaknesses(quality([settled])) == weaknesses(quality([risen])) == []


def test_weak_losses_are_warned_of_before_the_target_is_trained(tmp_path: Path) -> None:
    said: list[str] = []
    trained(tmp_path, il_model=f"{HERE}:stubborn", il_epochs=1, say=said.append)
    warning = next(i for i, sentence in enumerate(said) if sentence.startswith("Warning: "))
    assert warning < next(i for i, s in enumerate(said) if s.startswith("Target: "))
    weak = [sentence for sentence in said if sentence.startswith("Warning: ")]
    said.clear()
    trained(tmp_path / "b", il=tmp_path / "il.parquet", say=said.append)
    assert [sentence for sentence in said if sentence.startswith("Warning: ")] == weak
    unjudged = IrreducibleLosses.given(np.arange(N) * 7, np.zeros(N))
    unjudged.metadata["quality"] = {"accuracy": 0.1}
    said.clear()
    trained(tmp_path / "c", il=unjudged, say=said.append)
    assert not any(sentence.startswith("Warning: ") for sentence in said)


def test_a_trained_module_that_knows_little_is_warned_of(tmp_path: Path) -> None:
    said: list[str] = []
    module = nn.Linear(4, CLASSES)
    nn.init.zeros_(module.weight)
    losses = made(tmp_path, model=module, say=said.append)
    assert losses.quality["majority"] == pytest.approx(1 / CLASSES)
    assert any(s.startswith("Warning: the irreducible-loss model is right on") for s in said)


# Resume -------------------------------------------------------------------------------------


class KilledError(BaseException):
    pass


class Killer:
    """A `Progress` that ends the work at the given moment of a phase."""

    def __init__(self, phase: str, time: int, at: int) -> None:
        self.phase, self.left, self.at = phase, time, at
        self.inside = self.struck = False

    def start(self, what: str, total: int) -> None:
        self.inside = what == self.phase
        self.left -= self.inside

    def advance(self, done: int) -> None:
        if self.inside and self.left <= 0 and done >= self.at:
            self.struck = True
            raise KilledError

    def finish(self) -> None:
        self.inside = False


MOMENTS = {
    "first irreducible-loss model": ("irreducible-loss training", 1, 6),
    "second irreducible-loss model": ("irreducible-loss training", 2, 3),
    "its losses": ("scoring", 2, 1),
    "target while it selects": ("target training", 1, 5),
    "target after until": ("target training", 1, 14),
}


def _everything(result: keepers.TrainResult, run: Path) -> tuple[Any, ...]:
    curve = [{**point, "seconds": 0.0} for point in result.curve]
    losses = IrreducibleLosses.load(run / "il.parquet")
    return result.weights.read_bytes(), by_id(losses), curve


@pytest.fixture(scope="session")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, ...]:
    run = tmp_path_factory.mktemp("whole")
    return _everything(_to_kill(run), run)


def _to_kill(run: Path, **given: Any) -> keepers.TrainResult:
    role = {"model": f"{HERE}:dropping", "batch_size": 4, "lr": 0.01, "optimizer": "adamw"}
    return trained(
        run, model=role, steps=20, until=0.6, test=blobs(30, seed=2), evaluate_every=4, **given
    )


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_killed_training_continues_to_the_same_bits(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    uninterrupted: tuple[Any, ...],
    moment: str,
) -> None:
    of = Workplace.of
    eager: Any = lambda *given: dataclasses.replace(of(*given), checkpoint_every=0.0)  # noqa: E731
    monkeypatch.setattr(Workplace, "of", eager)
    killer = Killer(*MOMENTS[moment])
    with pytest.raises(KilledError):
        _to_kill(tmp_path, progress=killer)
    assert killer.struck
    assert _everything(_to_kill(tmp_path), tmp_path) == uninterrupted


def test_a_finished_training_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = trained(tmp_path)
    monkeypatch.setattr(stage, "fit", None)
    again = trained(tmp_path)
    assert again.curve == first.curve
    assert again.weights == first.weights
    target = [cost for cost in again.metadata["costs"] if cost["phase"] == "target training"]
    assert target == [c for c in first.metadata["costs"] if c["phase"] == "target training"]


# Training -----------------------------------------------------------------------------------


@pytest.mark.parametrize("measured", [False, True])
def test_uniform_is_a_plain_training_to_the_bit(tmp_path: Path, measured: bool) -> None:
    test = {"test": blobs(30, seed=2), "evaluate_every": 2} if measured else {}
    result = trained(tmp_path, select="uniform", epochs=2, **test)
    source, prepared = prepare(
        Role.parse({**SMALL, "epochs": 2}, "mlp"), open_source(blobs(), id="key")
    )
    module = prepared.build(0)
    fit(
        module,
        prepared.train_view(torch.arange(len(source))),
        prepared.recipe,
        runtime=Hardware(device="cpu").runtime(gains_from_bf16=False),
        seed=derived_seed(0, "fit"),
        length=Length(epochs=2),
    )
    stored = load_file(result.weights)
    assert stored.keys() == module.state_dict().keys()
    assert all(torch.equal(stored[name], value) for name, value in module.state_dict().items())
    assert result.metadata["step_cost"] is None


OF_CLASSES = methods.offered(supplied(Classes()), replacement=True)
TRAINED = [name for name in selections() if name in OF_CLASSES or name not in methods.table()]


@pytest.mark.parametrize("select", TRAINED)
def test_every_selection_trains(tmp_path: Path, select: str) -> None:
    holdout = 0.2 if select == "rho-loss-original" else None
    result = keepers.train(
        "digits",
        test=0.2,
        select=select,
        keep=0.1 if select in ("uniform", "infobatch") else 0.25,
        steps=4,
        limit=200,
        model={"model": f"{HERE}:dropping", "batch_size": 8},
        il_model="logistic",
        il_epochs=1,
        holdout=holdout,
        run=tmp_path,
        device="cpu",
    )
    cost = next(c for c in result.metadata["costs"] if c["phase"] == "target training")
    assert (cost["steps"], cost["examples"]) == (4, 32)
    several = result.metadata["step_cost"] is not None
    assert result.metadata["candidates"] == (128 if several else 32)
    chosen_by = result.metadata["selected_by"]
    assert chosen_by == select or (select == "auto" and chosen_by == "uniform")
    assert several == (chosen_by not in ("uniform", "fresh-random", "infobatch"))
    made_losses = (tmp_path / "il.parquet").exists()
    assert made_losses == ("rho" in select or select in ("auto", "negative-il"))
    assert 0 <= result.metadata["accuracy"] <= 1


def test_after_until_steps_are_uniform(tmp_path: Path) -> None:
    role = {**SMALL, "batch_size": 4}
    result = trained(tmp_path, model=role, steps=10, until=0.5, keep=0.1)
    cost = next(c for c in result.metadata["costs"] if c["phase"] == "target training")
    # Three steps of 40 candidates are an epoch of 120.
    assert cost["examples"] == 40
    assert result.metadata["candidates"] == 5 * 40 + 5 * 4
    measured = result.metadata["step_cost"]["measured"]
    seconds, choosing = cost["seconds"], result.metadata["choosing_seconds"]
    assert measured == pytest.approx(1 + (choosing / 5) / ((seconds - choosing) / 10))


def test_a_stand_in_is_scored_in_place_of_the_target(tmp_path: Path) -> None:
    role = {"model": f"{HERE}:stubborn", "batch_size": 4, "lr": 0.01}
    with_target = trained(tmp_path / "a", model=role)
    assert any(40 in module.without_gradient for module in BUILT)
    BUILT.clear()
    with_other = trained(tmp_path / "b", model=role, stand_in=FEW)
    assert not any(40 in module.without_gradient for module in BUILT)
    flops = [
        next(c["flops"] for c in r.metadata["costs"] if c["phase"] == "target training")
        for r in (with_target, with_other)
    ]
    assert flops[1] > flops[0] >= 0  # the logistic regression's, where the target has none


def test_the_original_function_updates_one_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ParameterError, match="select: got 'rho-loss-original', which updates one"):
        trained(tmp_path / "a", select="rho-loss-original")
    path = made(tmp_path / "il").save(tmp_path / "il.parquet")
    with pytest.raises(ParameterError, match="not folds or a file of losses"):
        trained(tmp_path / "b", select="rho-loss-original", il=path)
    rates: list[float] = []
    step = Companion.update

    def noting(companion: Companion, chosen: Candidates) -> None:
        rates.append(companion.optimizer.param_groups[0]["lr"])
        step(companion, chosen)

    monkeypatch.setattr(Companion, "update", noting)
    il_model = {**FEW, "lr": 0.3}
    given: dict[str, Any] = {"holdout": blobs(60, seed=1), "il_model": il_model, "steps": 12}
    original = trained(tmp_path / "c", select="rho-loss-original", **given)
    frozen = trained(tmp_path / "d", select="rho-loss", **given)
    assert len(rates) >= 12  # each step, and those that measure what a step costs
    assert rates == [pytest.approx(0.003)] * len(rates)  # a hundredth of the model's own
    assert original.weights.read_bytes() != frozen.weights.read_bytes()
    assert original.metadata["trained_on"] == N


def test_length_in_epochs_steps_or_seconds(tmp_path: Path) -> None:
    role = {**SMALL, "batch_size": 4}  # 40 candidates a step, 3 steps an epoch

    def steps(run: str, **length: Any) -> int:
        result = trained(tmp_path / run, model=role, **length)
        return next(c["steps"] for c in result.metadata["costs"] if c["phase"] == "target training")

    assert steps("a", epochs=2) == 6
    assert steps("b", steps=5) == 5
    assert steps("c", seconds=0.05) > 0
    own = {"il_model": FEW, "id": "key", "select": "rho-loss"}
    default = keepers.train(blobs(), model={**role, "epochs": 3}, run=tmp_path / "d", **own)
    assert default.metadata["epochs"] == 3


def test_the_curve_has_a_point_every_so_many_steps_and_one_at_the_end(tmp_path: Path) -> None:
    test = blobs(30, seed=2)
    role = {**SMALL, "batch_size": 4}
    result = trained(tmp_path / "a", model=role, steps=8, test=test, evaluate_every=3)
    assert [point["step"] for point in result.curve] == [3, 6, 8]
    for before, after in zip(result.curve, result.curve[1:], strict=False):
        for name in ("epoch", "examples", "candidates", "flops", "seconds"):
            assert before[name] < after[name], name
    once = trained(tmp_path / "b", model=role, steps=8, test=test)
    assert [point["step"] for point in once.curve] == [3, 6, 8]  # an epoch has 3 steps
    many = trained(tmp_path / "e", model=role, steps=85, test=test)
    assert [point["step"] for point in many.curve[:2]] == [5, 10]  # twenty times at most
    timed = trained(tmp_path / "f", model=role, seconds=0.05, test=test)
    assert len(timed.curve) == math.ceil(timed.curve[-1]["step"] / 100)
    assert trained(tmp_path / "c", model=role, steps=8).curve == []
    assert result.metadata["accuracy"] == result.curve[-1]["accuracy"]


def test_the_weights_load_into_the_model_that_was_measured(tmp_path: Path) -> None:
    result = keepers.train("digits", test=0.3, select="uniform", steps=40, limit=400, run=tmp_path)
    model = keepers.load_model(result.weights)
    assert not model.module.training
    assert model.task is not None
    assert model.task.names == tuple("0123456789")
    _, tested, _ = with_test(open_source("digits", limit=400), 0.3, Shared(), _unheard)
    _, pool = encode(tested, model.encoder)
    with torch.no_grad():
        found = model.module(*pool.gather(torch.arange(len(tested)))).argmax(1)
    assert float((found.numpy() == tested.labels).mean()) == result.metadata["accuracy"]
    with pytest.raises(DataError, match="model: there is no file"):
        keepers.load_model(tmp_path / "none.safetensors")
    for name, content in {"x.safetensors": b"nonsense", "train.json": b"{}"}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match="has no checksum"):
            keepers.load_model(tmp_path / name)
    tensors, note = read_tensors(result.weights, "model", "")
    write_tensors(tmp_path / "boxes", tensors, {**note, "task": {"task": "boxes"}})
    with pytest.raises(DataError, match="model: task: 'boxes' is unknown here"):
        keepers.load_model(tmp_path / "boxes")


# How scoring is chosen ----------------------------------------------------------------------


def test_auto_scoring_goes_by_the_hardware_and_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def precision(has: bool, run: str, **given: Any) -> str:
        monkeypatch.setattr(training, "has_bf16", {"cpu": has}.get)
        said: list[str] = []
        result = trained(tmp_path / run, say=said.append, **given)
        (told,) = [s for s in said if s.startswith("Scoring an example")]
        scoring = result.metadata["step_cost"]["scoring"]["precision"]
        assert ("in bf16" in told) == (scoring == "bf16")
        assert "A selecting step costs" in told
        assert "of the steps" in told
        return scoring

    own = {"model": f"{HERE}:stubborn", "batch_size": 8}
    assert precision(True, "a", score_precision="auto") == "bf16"
    assert precision(False, "b", score_precision="auto") == "same"
    assert precision(True, "c", score_precision="auto", model=own) == "same"  # no linear layers
    assert precision(True, "d") == "same"
    assert precision(False, "e", score_precision="bf16") == "bf16"


def test_auto_follows_a_recipe_that_gains_from_bf16() -> None:
    auto = SelectionConfig(score_precision="auto")
    assert auto.scoring(gains_from_bf16=True).precision == "bf16"
    assert auto.scoring(gains_from_bf16=False).precision == "same"
    assert SelectionConfig(score_precision="fp32").scoring(gains_from_bf16=True).precision == "fp32"
    assert is_dense(nn.Sequential(nn.Linear(2, 2), nn.Dropout()))
    assert not is_dense(nn.Sequential(nn.Conv2d(1, 1, 1), nn.Linear(2, 2)))
    assert not is_dense(nn.Identity())


def test_what_is_expected_of_a_step_adds_up(tmp_path: Path) -> None:
    step = trained(tmp_path, model={**SMALL, "batch_size": 4}).metadata["step_cost"]
    assert (step["candidates"], step["kept"]) == (40, 4)
    assert step["expected"] == pytest.approx(1 + step["choosing"] / step["plain"])
    # m = 1 + R f with R = 10
    assert step["expected"] == pytest.approx(1 + 10 * step["scoring_share"])


# Test data ----------------------------------------------------------------------------------


def test_test_data_may_be_a_fraction(tmp_path: Path) -> None:
    result = trained(tmp_path, test=0.25, select="uniform")
    assert result.metadata["trained_on"] == 90
    assert 0 <= result.metadata["accuracy"] <= 1


def test_losses_of_what_is_split_off_for_the_test_are_warned_of(tmp_path: Path) -> None:
    losses, said = made(tmp_path / "il"), list[str]()
    trained(tmp_path / "a", il=losses, test=0.25, say=said.append)
    assert any("Warning: the losses are also of 30 of the examples split off" in s for s in said)
    said.clear()
    trained(tmp_path / "b", il=losses, test=blobs(30, seed=2), say=said.append)
    assert not any("split off" in sentence for sentence in said)


def test_test_inputs_in_the_holdout_data_are_warned_of(tmp_path: Path) -> None:
    test, said = blobs(30, seed=2), list[str]()
    both = pa.concat_tables([blobs(60, seed=1), test.slice(0, 10)])
    both = both.set_column(both.column_names.index("key"), "key", pa.array(np.arange(70)))
    trained(tmp_path, holdout=both, test=test, say=said.append)
    (warning,) = [sentence for sentence in said if "are also in the holdout" in sentence]
    assert warning.startswith("Warning: 10 of 30 test inputs are also in the holdout data")


def test_losses_that_are_not_needed_are_said_to_be_unused(tmp_path: Path) -> None:
    said: list[str] = []
    given = {"il": tmp_path / "none.parquet", "holdout": 0.5, "il_model": "mlp", "folds": 3}
    trained(tmp_path, select="loss", **given, say=said.append)
    for name in given:
        assert f"loss needs no irreducible losses: {name} is not used" in said


def test_holdout_data_that_overlap_are_warned_of(tmp_path: Path) -> None:
    said: list[str] = []
    both = pa.concat_tables([blobs().slice(0, 10), blobs(60, seed=1)])
    keys = pa.array(np.arange(70))
    both = both.set_column(both.column_names.index("key"), "key", keys)
    made(tmp_path, holdout=both, say=said.append)
    assert "Warning: 10 training inputs are also in the holdout data" in said


# Bad input ----------------------------------------------------------------------------------

BAD: dict[str, tuple[dict[str, Any], str]] = {
    "keep 0": ({"keep": 0.0}, "keep: got 0.0"),
    "keep 1.5": ({"keep": 1.5}, "keep: got the fraction 1.5, which is over 1"),
    "keep a count": ({"keep": 32}, "keep: got the count 32. Give the fraction of the candidates"),
    "keep no number": ({"keep": "half"}, "keep: got 'half', which is not a number"),
    "unknown select": (
        {"select": "rho-los"},
        "select: got 'rho-los', which is not known. Did you mean 'rho-loss'",
    ),
    "select that is offline": ({"select": "ccs"}, "select: got 'ccs', which is not offered here"),
    "missing il": (
        {"il": "none.parquet"},
        "il: there is no file none.parquet. Make one with 'keepers il'",
    ),
    "il beside holdout": (
        {"il": IrreducibleLosses.given([1], [0.0]), "holdout": 0.5},
        "holdout: got together with il. Give one of them",
    ),
    "missing test": ({"test": "none.parquet"}, "test: none.parquet does not exist"),
    "test of other columns": ({"test": pa.table({"y": ["class 0"] * 4})}, "test: "),
    "test that is the training data": (
        {"test": blobs()},
        "test: every input of table is also in the training data",
    ),
    "epochs beside steps": (
        {"epochs": 2, "steps": 3},
        "steps: got together with epochs. Give one of them",
    ),
    "no steps": ({"steps": 0}, "steps: got 0. Give a number over 0"),
    "no seconds": ({"seconds": -1.0}, "seconds: got -1.0"),
    "evaluate_every 0": ({"evaluate_every": 0}, "evaluate_every: got 0. Give 1 or more"),
    "until 0": ({"until": 0.0}, r"until: got 0.0. Give a share in \(0, 1\]"),
    "one fold": ({"folds": 1}, "folds: got 1. Give 2 or more"),
    "no epochs": ({"il_epochs": 0}, "il_epochs: got 0. Give 1 or more"),
    "unknown model": ({"model": "mpl"}, "model: got 'mpl', which is not known. Did you mean 'mlp'"),
    "unknown il model": ({"il_model": "mpl"}, "il_model: got 'mpl'"),
    "setting of the il model": ({"il_model": {"epoch": 3}}, "il_model.epoch: got 'epoch'"),
    "unknown stand-in": ({"stand_in": "mpl"}, "stand_in: got 'mpl'"),
    "a module as the model": ({"model": nn.Linear(4, 3)}, "model: got Linear"),
    "batch norm": ({"batch_norm": "none"}, "batch_norm: got 'none'"),
    "score precision": ({"score_precision": "fp8"}, "score_precision: got 'fp8'"),
    "score part": ({"score_part": 0.0}, r"score_part: got 0.0. Give a fraction in \(0, 1\]"),
    "score resolution": ({"score_resolution": 0}, "score_resolution: got 0"),
    "resolution of vectors": (
        {"score_resolution": 8},
        "score_resolution: got 8, but no input is a picture",
    ),
    "max age": ({"max_age": -1}, "max_age: got -1"),
    "stand-in for entropy": (
        {"select": "entropy", "stand_in": "logistic"},
        "stand_in: it gives losses, but entropy needs",
    ),
    "dropout that is not there": ({"select": "bald"}, "model: the method samples the posterior"),
    "keep of uniform": (
        {"select": "uniform", "keep": 0.5},
        "keep: got 0.5, which uniform does not use. Leave it out; select fresh-random trains on",
    ),
    "until of uniform": (
        {"select": "uniform", "until": 0.5},
        "until: got 0.5, which uniform does not use. Leave it out",
    ),
    "stand-in of uniform": (
        {"select": "uniform", "stand_in": "mlp"},
        "stand_in: got mlp, which uniform does not use. Leave it out: no candidate is scored",
    ),
    "part of infobatch": (
        {"select": "infobatch", "score_part": 0.5},
        "score_part: got 0.5, which infobatch does not use",
    ),
    "age of fresh-random": (
        {"select": "fresh-random", "max_age": 3},
        "max_age: got 3, which fresh-random does not use",
    ),
    "precision of random": (
        {"select": "random", "score_precision": "bf16"},
        "score_precision: got bf16, which random does not use. Leave it out",
    ),
    "folds beside a holdout": (
        {"holdout": 0.5, "folds": 3},
        "folds: got 3 together with holdout, which needs none. Leave one out",
    ),
    "keep of infobatch": (
        {"select": "infobatch", "keep": 0.5},
        "keep: got 0.5, which infobatch does not use. Give select_options.keep",
    ),
    "until of infobatch": (
        {"select": "infobatch", "until": 0.5},
        "until: got 0.5, which infobatch does not use. Give select_options.off",
    ),
    "until of fresh-random": (
        {"select": "fresh-random", "until": 0.5},
        "until: got 0.5, which fresh-random does not use. Leave it out",
    ),
    "options of another": (
        {"select": "infobatch", "select_options": {"kepp": 0.5}},
        "select_options of infobatch: got 'kepp', which is not known. Did you mean 'keep'",
    ),
    "options of none": (
        {"select": "uniform", "select_options": {"keep": 0.5}},
        "select_options: got 'keep', but uniform has none",
    ),
    "options of a row": (
        {"select_options": {"beta": 0.5}},
        "select_options of rho-loss: got 'beta', but it has none",
    ),
    "holdout that is the training data": (
        {"holdout": blobs()},
        "holdout: every training input is also in table",
    ),
    "holdout of everything": ({"holdout": 1.0}, "holdout: got 100%, .* Give less, such as 0.2"),
    "holdout out of range": ({"holdout": "150%"}, "holdout: got "),
    "missing holdout": ({"holdout": "none.parquet"}, "holdout: none.parquet does not exist"),
    "holdout that is the test data": (
        {"holdout": blobs(30, seed=2), "test": blobs(30, seed=2)},
        "holdout: every test input is also in table",
    ),
    "original by folds": (
        {"select": "rho-loss-original"},
        "select: got 'rho-loss-original', which updates one irreducible-loss model",
    ),
    "too few for the folds": ({"folds": 40}, "folds: got 40 for 120 .* Give fewer, or other data"),
    "device": ({"device": "tpu"}, "device: got 'tpu'"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_sentence_and_nothing_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    monkeypatch.chdir(tmp_path)
    given, message = BAD[case]
    if "steps" in given or "seconds" in given:
        given = {"steps": None, **given}
    with pytest.raises(KeepersError, match=message) as caught:
        trained(tmp_path / "run", **given)
    assert str(caught.value).count("\n") == 0
    assert not list((tmp_path / "run").rglob("model.safetensors"))


@pytest.mark.parametrize("n", [3, 7])
def test_too_little_data_for_folds(tmp_path: Path, n: int) -> None:
    with pytest.raises(
        ParameterError,
        match=f"folds: got 2 for {n} different inputs, and each fold needs 4. Give other data to",
    ):
        made(tmp_path, blobs(n))


def test_as_little_data_as_folds_take(tmp_path: Path) -> None:
    assert len(made(tmp_path / "a", blobs(8))) == 8
    result = trained(tmp_path / "b", blobs(8), steps=2)
    assert result.metadata["trained_on"] == 8
