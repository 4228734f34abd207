"""The adapters for other people's training loops, against the real libraries with tiny models."""

from __future__ import annotations

import copy
import importlib.util
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

import keepers
from emulated import DEVICE, Accelerator
from keepers.errors import KeepersError, MissingExtraError, ParameterError, RunError
from keepers.integrations.huggingface import SelectingTrainerMixin
from keepers.integrations.lightning import SelectingCallback
from keepers.methods import Method
from keepers.online import BatchSelector, IrreducibleLosses, Scoring, SelectingLoader
from keepers.training import Weighted
from keepers.types import Picks, Signals

HAS_TRANSFORMERS = all(importlib.util.find_spec(name) for name in ("transformers", "accelerate"))
HAS_LIGHTNING = importlib.util.find_spec("lightning") is not None
# Without the libraries the classes below are still defined, and the tests skip.
transformers: Any = importlib.import_module("transformers") if HAS_TRANSFORMERS else None
lightning: Any = importlib.import_module("lightning.pytorch") if HAS_LIGHTNING else None
Trainer: Any = transformers.Trainer if HAS_TRANSFORMERS else object
Bert: Any = transformers.BertForSequenceClassification if HAS_TRANSFORMERS else object
LightningModule: Any = lightning.LightningModule if HAS_LIGHTNING else object
LightningDataModule: Any = lightning.LightningDataModule if HAS_LIGHTNING else object

needs_transformers = pytest.mark.skipif(
    not HAS_TRANSFORMERS, reason="the extra 'hf' is not installed"
)
needs_lightning = pytest.mark.skipif(
    not HAS_LIGHTNING, reason="the extra 'lightning' is not installed"
)

IDS = 2**40 + torch.arange(38)


class Recording(BatchSelector):
    """A selector that notes the candidates it gets and the ids it chooses."""

    def __call__(self, model: nn.Module, batch: Any, **others: Any) -> Any:
        chosen = super().__call__(model, batch, **others)
        self.calls = [*getattr(self, "calls", []), (batch, chosen)]
        return chosen

    @property
    def chosen(self) -> list[list[int]]:
        return [chosen.ids.tolist() for _, chosen in self.calls]


def recording(method: str | Method = "rho-loss", **others: Any) -> Recording:
    values = torch.rand(len(IDS), generator=torch.Generator().manual_seed(1))
    losses = IrreducibleLosses.given(IDS.numpy(), values)
    return Recording(method, losses, keep=0.25, **others)


# Hugging Face


class SelectingTrainer(SelectingTrainerMixin, Trainer):
    """As a user writes it, with a note of what the loss is made from."""

    def compute_loss(self, model: Any, inputs: Any, *arguments: Any, **others: Any) -> Any:
        if model.training:
            self.seen = [*getattr(self, "seen", []), others]
        return super().compute_loss(model, inputs, *arguments, **others)


class Counting(Bert):
    """BERT with a loss over what the Trainer counts; the library's BERT leaves that out."""

    def forward(
        self,
        input_ids: Any = None,
        attention_mask: Any = None,
        labels: Any = None,
        num_items_in_batch: Any = None,
        **others: Any,
    ) -> Any:
        output = super().forward(input_ids, attention_mask, **others)
        if labels is not None:
            count = len(labels) if num_items_in_batch is None else num_items_in_batch
            output["loss"] = F.cross_entropy(output.logits, labels, reduction="sum") / count
        return output


def examples(n: int = 36, id_column: str = "id", first: int = 0) -> list[dict[str, Any]]:
    generator = torch.Generator().manual_seed(first)
    tokens = torch.randint(1, 30, (n, 6), generator=generator)
    return [
        {
            "input_ids": row.tolist(),
            "attention_mask": [1] * 6,
            "label": int(row.sum()) % 3,
            id_column: int(IDS[number % len(IDS)]),
        }
        for number, row in enumerate(tokens)
    ]


def bert(dropout: float = 0.0) -> Any:
    torch.manual_seed(0)
    return Counting(
        transformers.BertConfig(
            vocab_size=30,
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=8,
            num_labels=3,
            hidden_dropout_prob=dropout,
            attention_probs_dropout_prob=dropout,
        )
    )


def trainer_of(
    folder: Path, selector: Any, *, model: Any = None, train: Any = None, **others: Any
) -> Any:
    names = ("loader", "eval_dataset", "compute_loss_func", "id_column", "data_collator")
    passed = {name: others.pop(name) for name in names if name in others}
    arguments = {
        "output_dir": str(folder),
        "per_device_train_batch_size": 8,
        "per_device_eval_batch_size": 8,
        "num_train_epochs": 2,
        "optim": "sgd",
        "learning_rate": 0.5,
        "lr_scheduler_type": "constant",
        "max_grad_norm": 0.0,
        "report_to": "none",
        "save_strategy": "no",
        "disable_tqdm": True,
        "use_cpu": True,
        "logging_steps": 1,
    }
    return SelectingTrainer(
        model=model or bert(),
        args=transformers.TrainingArguments(**(arguments | others)),
        train_dataset=examples() if train is None and "loader" not in passed else train,
        selector=selector,
        **passed,
    )


def inputs_of(candidates: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in candidates.items() if name not in ("labels", "id")}


def plain_loop(
    model: Any, choose: BatchSelector, calls: list[Any], *, each: int, per_epoch: int
) -> Any:
    """A loop written out: `each` candidate batches to a step, over the candidates of `calls`."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    batches = [batch for batch, _ in calls]
    for start in range(0, len(batches), per_epoch):
        epoch = batches[start : start + per_epoch]
        for first in range(0, len(epoch), each):
            step = [choose(model, batch) for batch in epoch[first : first + each]]
            total = sum(len(chosen.rows) for chosen in step)
            model.train()
            for chosen in step:
                logits = model(**inputs_of(chosen.batch)).logits
                losses = F.cross_entropy(logits, chosen.batch["labels"], reduction="none")
                ((chosen.weights * losses).sum() / total).backward()
            optimizer.step()
            optimizer.zero_grad()
    return model


def assert_same_weights(one: nn.Module, other: nn.Module, tolerance: float = 1e-6) -> None:
    for (name, a), b in zip(one.state_dict().items(), other.state_dict().values(), strict=True):
        torch.testing.assert_close(a, b, atol=tolerance, rtol=tolerance, msg=name)


@needs_transformers
@pytest.mark.parametrize("method", ["rho-loss", "gradient-norm-is"])
@pytest.mark.parametrize("accumulated", [1, 2])
def test_trainer_takes_the_steps_of_a_plain_loop(
    tmp_path: Path, method: str, accumulated: int
) -> None:
    selector = recording(method)
    trainer = trainer_of(tmp_path, selector, gradient_accumulation_steps=accumulated)
    start = copy.deepcopy(trainer.model)
    trainer.train()

    # 36 examples in batches of 8, of which a quarter is kept: 2, and not 1 of the last 4
    assert [len(ids) for ids in selector.chosen] == [2] * 10
    counted = [others["num_items_in_batch"] for others in trainer.seen]
    assert [int(count) for count in counted] == (
        [2] * 10 if accumulated == 1 else [4, 4, 4, 4, 2] * 2
    )
    again = recording(method)
    model = plain_loop(start, again, selector.calls, each=accumulated, per_epoch=5)
    assert again.chosen == selector.chosen
    assert_same_weights(trainer.model, model)
    assert all(
        torch.isfinite(torch.tensor(log.get("loss", 0.0))) for log in trainer.state.log_history
    )


@needs_transformers
@pytest.mark.parametrize("method", ["loss", "gradient-norm-is"])
@pytest.mark.parametrize(
    ("task", "kind"), [("labels", "multi_label_classification"), ("number", "regression")]
)
def test_trainer_takes_other_targets(tmp_path: Path, task: str, kind: str, method: str) -> None:
    width = 3 if task == "labels" else 1
    torch.manual_seed(0)
    model = transformers.BertForSequenceClassification(
        transformers.BertConfig(
            vocab_size=30,
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=32,
            max_position_embeddings=8,
            num_labels=width,
            problem_type=kind,
            hidden_dropout_prob=0.0,
            attention_probs_dropout_prob=0.0,
        )
    )
    rows = examples()
    draw = torch.Generator().manual_seed(4)
    for row in rows:
        flags = (torch.rand(3, generator=draw) < 0.4).float().tolist()
        row["label"] = flags if task == "labels" else 10 * flags[0] + row["input_ids"][0]
    selector = recording(method, task=task)
    trainer = trainer_of(tmp_path, selector, model=model, train=rows, max_steps=2)
    before = copy.deepcopy(model)
    trainer.train()
    whole, chosen = selector.calls[0]
    output = before(**inputs_of(whole)).logits
    if task == "labels":
        table = F.binary_cross_entropy_with_logits(output, whole["labels"], reduction="none")
    else:
        table = (output - whole["labels"][:, None]).square()
    losses = table.mean(1).detach()
    kept = chosen.rows
    if method == "loss":
        assert kept.tolist() == losses.argsort(descending=True)[:2].tolist()
    expected = float((losses[kept] * chosen.weights).mean())
    assert trainer.state.log_history[0]["loss"] == pytest.approx(expected, rel=1e-3)


@needs_transformers
def test_trainer_keeps_other_batches_whole_and_ids_from_the_model(tmp_path: Path) -> None:
    model, seen = bert(), []

    def note(module: Any, arguments: Any, keywords: dict[str, Any]) -> None:
        values = [*arguments, *keywords.values()]
        sizes = {len(value) for value in values if isinstance(value, Tensor) and value.ndim}
        seen.append((module.training, sorted(keywords), sizes.pop()))

    model.register_forward_pre_hook(note, with_kwargs=True)
    for remove in (True, False):
        seen.clear()
        selector = recording()
        trainer = trainer_of(
            tmp_path,
            selector,
            model=model,
            eval_dataset=examples(11, first=1),
            eval_strategy="steps",
            eval_steps=2,
            max_steps=4,
            remove_unused_columns=remove,
        )
        trainer.train()
        assert {name for _, names, _ in seen for name in names} <= {
            *("input_ids", "attention_mask", "labels", "num_items_in_batch"),
        }
        # two candidate batches scored and trained on, then the evaluation, whole; and again
        steps = [(False, 8), (True, 2)] * 2 + [(False, 8), (False, 3)]
        assert [(training, size) for training, _, size in seen] == steps * 2
        assert trainer.predict(examples(11, first=2)).predictions.shape == (11, 3)
        assert "eval_loss" in trainer.evaluate([{**each, "id": "x"} for each in examples(3)])
        assert len(selector.calls) == 4


@needs_transformers
@pytest.mark.parametrize("form", ["datasets", "with_ids", "own column"])
def test_trainer_finds_the_ids(tmp_path: Path, form: str) -> None:
    import datasets

    selector, column = recording(), "id"
    if form == "with_ids":
        rows = [{**row, "text": f"number {n}"} for n, row in enumerate(examples(16))]
        for row in rows:
            del row["id"]
        rows = datasets.Dataset.from_list(rows)
        train: Any = keepers.with_ids(rows, input="text", label="label")
        expected = {train[n]["id"] for n in range(16)}
        values = IrreducibleLosses.given(sorted(expected), torch.zeros(16))
        selector = Recording("rho-loss", values, keep=0.25)
    else:
        column = "uid" if form == "own column" else "id"
        train = datasets.Dataset.from_list(examples(16, column)).add_column("spare", ["x"] * 16)
        expected = set(IDS[:16].tolist())
    trainer = trainer_of(tmp_path, selector, train=train, id_column=column, num_train_epochs=1)
    trainer.train()
    chosen = [each for ids in selector.chosen for each in ids]
    assert len(set(chosen)) == 4
    assert set(chosen) <= expected


@needs_transformers
@pytest.mark.parametrize("stop", [3, 5])
def test_an_interrupted_trainer_continues_as_if_it_had_not_been(tmp_path: Path, stop: int) -> None:
    def run(**others: Any) -> tuple[Any, Recording]:
        # all that a selector remembers: losses of earlier steps, and the number of its calls
        selector = recording(scoring=Scoring(max_age=3))
        trainer = trainer_of(
            tmp_path, selector, model=bert(dropout=0.2), save_strategy="steps", save_steps=stop
        )
        trainer.train(**others)
        return trainer, selector

    whole, in_full = run()
    checkpoint = tmp_path / f"checkpoint-{stop}"
    resumed, rest = run(resume_from_checkpoint=str(checkpoint))
    assert rest.chosen == in_full.chosen[stop:]
    assert rest.steps == in_full.steps == 10
    assert_same_weights(whole.model, resumed.model, tolerance=0.0)

    (checkpoint / "keepers_selector.safetensors").unlink()
    with pytest.warns(UserWarning, match=r"checkpoint-\d was saved without a selector"):
        _, anew = run(resume_from_checkpoint=str(checkpoint))
    assert anew.steps == 10 - stop
    assert anew.state_dict()["scored_at"].tolist() != in_full.state_dict()["scored_at"].tolist()


def candidates_of(selector: Recording) -> list[list[int]]:
    return [batch["id"].tolist() for batch, _ in selector.calls]


def collate_tokens(items: list[dict[str, Any]]) -> dict[str, Tensor]:
    names = {"label": "labels"}
    return {
        names.get(name, name): torch.tensor([item[name] for item in items]) for name in items[0]
    }


def selecting_loader(choose: Any = None, **others: Any) -> SelectingLoader:
    given = {"batch_size": 8, "seed": 3, "collate_fn": collate_tokens, **others}
    return SelectingLoader(examples(), choose, **given)


@needs_transformers
@pytest.mark.parametrize(("stop", "accumulated"), [(3, 1), (5, 1), (4, 2)])
def test_a_trainer_with_a_loader_goes_on_in_the_middle_of_an_epoch(
    tmp_path: Path, stop: int, accumulated: int
) -> None:
    def run(workers: int = 0, **others: Any) -> tuple[Any, Recording]:
        selector = recording(scoring=Scoring(max_age=3))
        trainer = trainer_of(
            tmp_path,
            None,
            loader=selecting_loader(selector, num_workers=workers),
            model=bert(dropout=0.2),
            save_strategy="steps",
            save_steps=stop,
            gradient_accumulation_steps=accumulated,
        )
        trainer.train(**others)
        return trainer, selector

    whole, in_full = run()
    expected = selecting_loader()
    batches = [batch["id"].tolist() for _ in range(2) for batch in expected]
    assert candidates_of(in_full) == batches
    assert sorted(each for batch in batches[:5] for each in batch) == IDS[:36].tolist()
    checkpoint = tmp_path / f"checkpoint-{stop}"
    resumed, rest = run(2, resume_from_checkpoint=str(checkpoint))
    done = {(3, 1): 3, (5, 1): 5, (4, 2): 7}[stop, accumulated]  # of 5 batches to an epoch
    assert candidates_of(rest) == batches[done:]
    assert rest.chosen == in_full.chosen[done:]
    assert_same_weights(whole.model, resumed.model, tolerance=0.0)

    (checkpoint / "keepers_loader.safetensors").unlink()
    with pytest.raises(
        RunError,
        match=r"loader: .*checkpoint-\d/keepers_loader.* is not there",
    ):
        run(resume_from_checkpoint=str(checkpoint))


@needs_transformers
def test_a_trainer_that_begins_again_begins_the_epoch_again(tmp_path: Path) -> None:
    selector = recording()
    trainer = trainer_of(tmp_path, selector, loader=selecting_loader(), max_steps=3)
    trainer.train()
    trainer.train()
    assert candidates_of(selector)[:3] == candidates_of(selector)[3:]


@needs_transformers
def test_a_loader_that_the_trainer_cannot_serve_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ParameterError, match="loader: got one with InfoBatch, which weights losses"
    ):
        trainer_of(
            tmp_path, recording(), loader=selecting_loader(policy=keepers.InfoBatch(), epochs=2)
        )
    with pytest.raises(ParameterError, match="loader: got list"):
        trainer_of(tmp_path, recording(), loader=[])
    with pytest.raises(ParameterError, match="selector: got NoneType"):
        trainer_of(tmp_path, None, loader=selecting_loader())


@needs_transformers
def test_a_checkpoint_of_another_selector_is_refused(tmp_path: Path) -> None:
    trainer_of(tmp_path, recording(), save_strategy="steps", save_steps=2, max_steps=2).train()
    other = trainer_of(tmp_path, recording(scoring=Scoring(max_age=2)))
    refused = (
        r"selector: .*checkpoint-2.* cannot be restored: .*Resume with the selector of the run"
    )
    with pytest.raises(RunError, match=refused):
        other.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    (tmp_path / "checkpoint-2" / "keepers_selector.safetensors").write_bytes(b"damaged")
    with pytest.raises(RunError, match=r"has no checksum: .*Resume from another checkpoint"):
        other.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))


@needs_transformers
def test_weights_meet_label_smoothing_and_a_loss_of_the_selector(tmp_path: Path) -> None:
    def doubled(output: Any, labels: Tensor) -> Tensor:
        return 2 * F.cross_entropy(output.logits, labels, reduction="none")

    for loss in (None, doubled):
        selector = recording("gradient-norm-is", loss=loss)
        trainer = trainer_of(tmp_path, selector, label_smoothing_factor=0.3, max_steps=1)
        model = copy.deepcopy(trainer.model)
        trainer.train()
        _, chosen = selector.calls[0]
        assert not torch.equal(chosen.weights, torch.ones(2))
        output, labels = model(**inputs_of(chosen.batch)), chosen.batch["labels"]
        log_probs = F.log_softmax(output.logits, dim=1)
        right = -log_probs.gather(1, labels[:, None]).squeeze(1)
        each = 2 * right if loss else 0.7 * right - 0.3 * log_probs.mean(dim=1)
        expected = float((chosen.weights * each).sum().detach() / 2)
        assert trainer.state.log_history[0]["loss"] == pytest.approx(expected, abs=1e-3)


def _weighing(signals: Signals, scores: Any, k: int, **_: Any) -> Picks:
    return Picks(positions=torch.arange(k), weights=torch.arange(k) * 2.0 + 1)


WEIGHING = Method(
    name="weighing",
    needs=frozenset({"losses"}),
    select=_weighing,
    summary="weights without repetition",
    when="never",
    paper="none",
)


@needs_transformers
def test_weights_of_picks_that_do_not_repeat_reach_the_trainer(tmp_path: Path) -> None:
    selector = recording(WEIGHING)
    trainer = trainer_of(tmp_path, selector, max_steps=1)
    model = copy.deepcopy(trainer.model)
    trainer.train()
    _, chosen = selector.calls[0]
    assert chosen.weights.tolist() == [1.0, 3.0]
    each = F.cross_entropy(
        model(**inputs_of(chosen.batch)).logits, chosen.batch["labels"], reduction="none"
    )
    expected = float((chosen.weights * each).sum().detach() / 2)
    assert trainer.state.log_history[0]["loss"] == pytest.approx(expected, abs=1e-3)

    def own(outputs: Any, labels: Tensor, num_items_in_batch: Any = None) -> Tensor:
        return F.cross_entropy(outputs.logits, labels)

    trainer = trainer_of(tmp_path, recording(WEIGHING), compute_loss_func=own)
    with pytest.raises(ParameterError, match="compute_loss_func: weighing weights its"):
        trainer.train()


@needs_lightning
def test_weights_of_picks_that_do_not_repeat_reach_lightning(tmp_path: Path) -> None:
    seen: list[list[float]] = []

    class Noting(Classifier):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            seen.append(self.keepers_weights.tolist())
            return super().training_step(batch, batch_idx)

    callback = SelectingCallback(recording(WEIGHING), weighted=True)
    lightning_trainer(tmp_path, callback, max_epochs=1).fit(Noting(), loader(8))
    assert seen
    assert all(weights == [1.0 + 2 * pick for pick in range(len(weights))] for weights in seen)
    callback = SelectingCallback(recording(WEIGHING))
    with pytest.raises(ParameterError, match="weighted: got False, but weighing weights"):
        lightning_trainer(tmp_path, callback).fit(Classifier(), loader(8))


@needs_transformers
def test_the_weighted_loss_does_not_wait_for_an_accelerator(tmp_path: Path) -> None:
    selector = recording("gradient-norm-is")
    trainer = trainer_of(tmp_path, selector)
    batch = trainer.data_collator(examples(8))
    selector(trainer.model, {**batch, "id": IDS[:8]})
    logits, labels = torch.randn(8, 3), batch["labels"]
    expected = F.cross_entropy(logits, labels, reduction="none")
    with Accelerator() as accelerator:
        outputs, there = {"logits": logits.to(DEVICE)}, labels.to(DEVICE)
        accelerator.waits.clear()
        losses = trainer._losses(outputs, there)
        assert accelerator.waits == []
        assert torch.equal(losses.cpu(), expected)


@needs_transformers
def test_a_loss_that_cannot_take_weights_is_refused(tmp_path: Path) -> None:
    def own(outputs: Any, labels: Tensor, num_items_in_batch: Any = None) -> Tensor:
        return F.cross_entropy(outputs.logits, labels)

    with pytest.raises(ParameterError, match="compute_loss_func: gradient-norm-is weights its"):
        trainer_of(tmp_path, recording("gradient-norm-is"), compute_loss_func=own)
    trainer_of(tmp_path, recording(), compute_loss_func=own, max_steps=1).train()

    class Own(Trainer):
        def compute_loss(self, *arguments: Any, **others: Any) -> Any:
            return super().compute_loss(*arguments, **others)

    class Selecting(SelectingTrainerMixin, Own): ...

    args = transformers.TrainingArguments(output_dir=str(tmp_path), report_to="none", use_cpu=True)
    with pytest.raises(ParameterError, match="compute_loss: gradient-norm-is weights its"):
        Selecting(model=bert(), args=args, selector=recording("gradient-norm-is"))


@needs_transformers
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"id": None}, r"id_column: got 'id', but a training batch has only .*'input_ids'"),
        ({"id": "a"}, "Give the data set an integer column"),
        ({"id": 5}, "ids: 8 of the batch have no irreducible loss, such as"),
        ({"label": 0.5}, "labels: got torch.float32"),
        ({"label": 7}, "got logits of 3 classes.* label is 7"),
    ],
)
def test_a_bad_training_batch_is_refused(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    rows = [
        {name: value for name, value in {**row, **change}.items() if value is not None}
        for row in examples(8)
    ]
    with pytest.raises(KeepersError, match=message):
        trainer_of(tmp_path, recording(), train=rows).train()


@needs_transformers
def test_what_is_no_selector_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match=r"selector: got str\. Give a keepers\.RhoLoss"):
        trainer_of(tmp_path, "rho-loss")


@needs_transformers
def test_a_trainer_that_would_not_select_is_refused() -> None:
    with pytest.raises(KeepersError, match=r"Write \(SelectingTrainerMixin, Trainer\)"):
        SelectingTrainerMixin(selector=recording())


@pytest.mark.parametrize("absent", ["transformers", "accelerate"])
def test_the_mixin_names_the_extra_it_needs(absent: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, absent, None)
    with pytest.raises(MissingExtraError, match=r"pip install 'keepers\[hf\]'"):
        SelectingTrainerMixin(selector=recording())


# Lightning


def tensors(n: int = 38) -> TensorDataset:
    generator = torch.Generator().manual_seed(2)
    inputs = torch.randn(n, 5, generator=generator)
    return TensorDataset(inputs, (inputs.sum(1) > 0).long() + (inputs[:, 0] > 1).long(), IDS[:n])


def loader(n: int = 38, **others: Any) -> DataLoader[Any]:
    return DataLoader(tensors(n), batch_size=8, **others)


def mlp() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 3))


class Classifier(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.net = mlp()
        self.seen: list[tuple[str, int, int]] = []
        self.low: list[bool] = []

    def forward(self, inputs: Tensor) -> Tensor:
        self.low.append(torch.is_autocast_enabled("cpu"))
        return self.net(inputs)

    def training_step(self, batch: Any, batch_idx: int) -> Tensor:
        inputs, labels = batch.values() if isinstance(batch, dict) else batch
        self.seen.append(("train", len(batch), len(labels)))
        losses = F.cross_entropy(self(inputs), labels, reduction="none")
        loss = (self.keepers_weights * losses).mean()
        self.log("loss", loss)
        return loss

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        self.seen.append(("validate", len(batch), len(batch[0])))

    def test_step(self, batch: Any, batch_idx: int) -> None:
        self.seen.append(("test", len(batch), len(batch[0])))

    def predict_step(self, batch: Any, batch_idx: int) -> Tensor:
        return self(batch[0])

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.5)


class LayerNormed(Classifier):
    """Of which one example is enough to train on."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(5, 8), nn.LayerNorm(8), nn.ReLU(), nn.Linear(8, 3))


def lightning_trainer(folder: Path, *callbacks: Any, **others: Any) -> Any:
    quiet = {
        "accelerator": "cpu",
        "logger": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
        "enable_checkpointing": False,
        "max_epochs": 2,
    }
    return lightning.Trainer(default_root_dir=folder, callbacks=list(callbacks), **(quiet | others))


@pytest.fixture(autouse=True)
def no_advice() -> Iterator[None]:
    """Lightning advises on workers and logging intervals."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning")
        yield


def plain_steps(choose: BatchSelector, batches: list[Any], *, each: int = 1) -> nn.Module:
    model = mlp()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    for number, batch in enumerate(batches):
        chosen = choose(model, batch)
        inputs, labels, _ = chosen.batch
        losses = F.cross_entropy(model(inputs), labels, reduction="none")
        ((chosen.weights * losses).mean() / each).backward()
        if (number + 1) % each == 0:
            optimizer.step()
            optimizer.zero_grad()
    return model


@needs_lightning
@pytest.mark.parametrize("method", ["rho-loss", "gradient-norm-is"])
@pytest.mark.parametrize("each", [1, 2])
def test_lightning_takes_the_steps_of_a_plain_loop(tmp_path: Path, method: str, each: int) -> None:
    selector, module = recording(method), Classifier()
    weighted = method == "gradient-norm-is"
    trainer = lightning_trainer(
        tmp_path, SelectingCallback(selector, weighted=weighted), accumulate_grad_batches=each
    )
    trainer.fit(module, loader(32))
    again = recording(method)
    model = plain_steps(again, [*loader(32), *loader(32)], each=each)
    assert again.chosen == selector.chosen
    assert len(selector.chosen) == 8
    assert_same_weights(module.net, model)
    assert torch.isfinite(trainer.callback_metrics["loss"])


@needs_lightning
def test_lightning_cuts_training_batches_alone(tmp_path: Path) -> None:
    selector, module = recording(), Classifier()
    trainer = lightning_trainer(
        tmp_path, SelectingCallback(selector), max_epochs=1, val_check_interval=3
    )
    assert not hasattr(module, "keepers_weights")
    trainer.fit(module, loader(), loader(12))
    whole = [("validate", 3, 8), ("validate", 3, 4)]
    kept = [("train", 2, 2)]
    # the sanity check, three steps, a validation, the last two steps
    assert module.seen == whole + kept * 3 + whole + kept * 2
    module.seen.clear()
    trainer.validate(module, loader(12))
    trainer.test(module, loader(12))
    assert module.seen == [*whole, ("test", 3, 8), ("test", 3, 4)]
    predicted = trainer.predict(module, loader(12))
    assert [len(each) for each in predicted] == [8, 4]
    assert len(selector.calls) == 5
    assert "batch_to_device" not in vars(trainer.strategy)
    assert not hasattr(module, "keepers_weights")


@needs_lightning
def test_lightning_selects_after_the_hooks_of_a_data_module(tmp_path: Path) -> None:
    class Named(LightningDataModule):
        def train_dataloader(self) -> Any:
            return loader(16)

        def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
            assert [len(part) for part in batch] == [8, 8, 8]
            return {"inputs": batch[0], "labels": batch[1], "id": batch[2]}

    selector, module = recording(), Classifier()
    trainer = lightning_trainer(tmp_path, SelectingCallback(selector), max_epochs=1)
    trainer.fit(module, datamodule=Named())
    assert module.seen == [("train", 2, 2)] * 2
    batch, chosen = selector.calls[0]
    assert torch.equal(chosen.batch["inputs"], batch["inputs"][chosen.rows])


@needs_lightning
def test_lightning_scores_in_the_precision_of_the_trainer(tmp_path: Path) -> None:
    for precision, low in (("32-true", False), ("bf16-mixed", True)):
        module = Classifier()
        trainer = lightning_trainer(
            tmp_path, SelectingCallback(recording()), max_steps=1, precision=precision
        )
        trainer.fit(module, loader())
        assert module.low == [low, low]  # the scoring, the step


@needs_lightning
def test_an_interrupted_lightning_run_continues_as_if_it_had_not_been(tmp_path: Path) -> None:
    def run(epochs: int, checkpoint: Path | None) -> tuple[Any, Recording, Any]:
        selector, module = recording(scoring=Scoring(max_age=6, batch_norm="eval")), Classifier()
        trainer = lightning_trainer(tmp_path, SelectingCallback(selector), max_epochs=epochs)
        trainer.fit(module, loader(), ckpt_path=checkpoint)
        return module, selector, trainer

    whole, in_full, _ = run(2, None)
    _, _, first = run(1, None)
    first.save_checkpoint(tmp_path / "half.ckpt")
    resumed, rest, _ = run(2, tmp_path / "half.ckpt")
    assert rest.chosen == in_full.chosen[5:]
    assert rest.steps == 10
    assert rest.state_dict()["scored_at"].tolist() == in_full.state_dict()["scored_at"].tolist()
    assert_same_weights(whole, resumed, tolerance=0.0)


@needs_lightning
@pytest.mark.parametrize("stop", [2, 5, 7])
def test_a_lightning_run_with_a_loader_goes_on_in_the_middle_of_an_epoch(
    tmp_path: Path, stop: int
) -> None:
    from lightning.pytorch.callbacks import ModelCheckpoint

    def run(checkpoint: Path | None = None, workers: int = 0) -> tuple[Any, Recording]:
        selector, module = recording(scoring=Scoring(max_age=6, batch_norm="eval")), Classifier()
        trainer = lightning_trainer(
            tmp_path,
            SelectingCallback(selector),
            ModelCheckpoint(tmp_path, filename="{step}", every_n_train_steps=stop, save_top_k=-1),
            enable_checkpointing=True,
        )
        loads = SelectingLoader(tensors(), batch_size=8, seed=4, num_workers=workers)
        trainer.fit(module, loads, ckpt_path=checkpoint)
        return module, selector

    whole, in_full = run()
    candidates = [batch[2].tolist() for batch, _ in in_full.calls]
    assert sorted(each for batch in candidates[:5] for each in batch) == IDS.tolist()
    assert sorted(each for batch in candidates[5:] for each in batch) == IDS.tolist()
    assert candidates[:5] != candidates[5:]
    resumed, rest = run(tmp_path / f"step={stop}.ckpt", 2)
    assert [batch[2].tolist() for batch, _ in rest.calls] == candidates[stop:]
    assert rest.chosen == in_full.chosen[stop:]
    assert_same_weights(whole, resumed, tolerance=0.0)


@needs_lightning
@pytest.mark.parametrize(
    "policy", [keepers.InfoBatch, lambda: Weighted(torch.arange(1.0, 39) / 19)]
)
@pytest.mark.parametrize("stop", [3, 7])
def test_a_lightning_run_without_a_selector_goes_on_with_a_policy_that_weights(
    tmp_path: Path, policy: Any, stop: int
) -> None:
    from lightning.pytorch.callbacks import ModelCheckpoint

    class Weighing(Classifier):
        def training_step(self, batch: Any, batch_idx: int) -> Tensor:
            inputs, labels, ids, weights = batch
            self.rows = [*getattr(self, "rows", []), (ids.tolist(), weights.tolist())]
            losses = F.cross_entropy(self(inputs), labels, reduction="none")
            self.trainer.train_dataloader.note(losses)
            return (weights * losses).mean()

    def run(checkpoint: Path | None = None) -> Any:
        module = Weighing()
        trainer = lightning_trainer(
            tmp_path,
            ModelCheckpoint(tmp_path, filename="{step}", every_n_train_steps=stop, save_top_k=-1),
            enable_checkpointing=True,
        )
        made = SelectingLoader(tensors(), batch_size=8, policy=policy(), epochs=2)
        trainer.fit(module, made, ckpt_path=checkpoint)
        return module

    whole, resumed = run(), run(tmp_path / f"step={stop}.ckpt")
    assert resumed.rows == whole.rows[stop:]
    assert_same_weights(whole, resumed, tolerance=0.0)


@needs_lightning
def test_a_lightning_run_that_its_steps_ended_within_an_epoch_takes_the_rest_of_it(
    tmp_path: Path,
) -> None:
    def run(steps: int, checkpoint: Path | None = None) -> tuple[list[list[int]], Any]:
        selector, loads = recording(), SelectingLoader(tensors(), batch_size=8, seed=4)
        trainer = lightning_trainer(
            tmp_path, SelectingCallback(selector), max_steps=steps, max_epochs=-1
        )
        trainer.fit(Classifier(), loads, ckpt_path=checkpoint)
        return [batch[2].tolist() for batch, _ in selector.calls], trainer

    begun, trainer = run(2)
    trainer.save_checkpoint(tmp_path / "ended.ckpt")
    rest, _ = run(10, tmp_path / "ended.ckpt")
    for epoch in (begun + rest[:3], rest[3:]):
        assert sorted(each for batch in epoch for each in batch) == IDS.tolist()


@needs_lightning
def test_a_loader_that_lightning_cannot_serve_is_refused(tmp_path: Path) -> None:
    loads = SelectingLoader(tensors(), batch_size=8, policy=keepers.InfoBatch(), epochs=2)
    with pytest.raises(
        ParameterError, match="loader: got one with InfoBatch, which weights losses"
    ):
        lightning_trainer(tmp_path, SelectingCallback(recording())).fit(Classifier(), loads)


@needs_lightning
def test_each_lightning_epoch_is_another_even_where_batches_are_limited(tmp_path: Path) -> None:
    selector = recording()
    trainer = lightning_trainer(tmp_path, SelectingCallback(selector), limit_train_batches=2)
    trainer.fit(Classifier(), SelectingLoader(tensors(), batch_size=8))
    expected = SelectingLoader(tensors(), batch_size=8)
    for epoch in range(2):
        expected.set_epoch(epoch)
        begun = iter(expected)
        batches = [next(begun)[2].tolist() for _ in range(2)]
        assert [batch[2].tolist() for batch, _ in selector.calls[2 * epoch :][:2]] == batches


@needs_lightning
def test_an_error_leaves_the_strategy_as_it_was(tmp_path: Path) -> None:
    trainer = lightning_trainer(tmp_path, SelectingCallback(recording()))
    pairs = DataLoader(TensorDataset(*tensors(8).tensors[:2]), batch_size=4)
    with pytest.raises(ParameterError, match="batch: got 2 parts, so there is no place for the"):
        trainer.fit(Classifier(), pairs)
    assert "batch_to_device" not in vars(trainer.strategy)


@needs_lightning
def test_lightning_refuses_what_would_be_ignored(tmp_path: Path) -> None:
    class Itself(Classifier):
        def training_step(self, dataloader_iter: Any) -> Any:  # pyright: ignore[reportIncompatibleMethodOverride]
            raise AssertionError("not reached")

    with pytest.raises(ParameterError, match="training_step: takes dataloader_iter"):
        lightning_trainer(tmp_path, SelectingCallback(recording())).fit(Itself(), loader())
    callback = SelectingCallback(recording("gradient-norm-is"))
    with pytest.raises(ParameterError, match="weighted: got False, but gradient-norm-is weights"):
        lightning_trainer(tmp_path, callback).fit(Classifier(), loader())
    with pytest.raises(ParameterError, match="selector: got int"):
        SelectingCallback(3)  # pyright: ignore[reportArgumentType]


def test_the_callback_names_the_extra_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "lightning.pytorch", None)
    monkeypatch.delitem(sys.modules, "keepers.integrations.lightning")
    module = importlib.import_module("keepers.integrations.lightning")
    with pytest.raises(MissingExtraError, match=r"pip install 'keepers\[lightning\]'"):
        module.SelectingCallback(recording())


# As the README says it

LOOP = """
choose = keepers.RhoLoss(losses, keep=0.1)
for batch in loader:
    chosen = choose(model, batch)  # .batch: the same container, cut; .ids; .weights
"""

TRAINER = """
from keepers.integrations.huggingface import SelectingTrainerMixin
class MyTrainer(SelectingTrainerMixin, Trainer): ...
trainer = MyTrainer(model, args, train_dataset=train, selector=keepers.RhoLoss(losses, keep=0.1))
"""

LIGHTNING = """
from keepers.integrations.lightning import SelectingCallback
trainer = Trainer(callbacks=[SelectingCallback(keepers.RhoLoss(losses, keep=0.1))])
"""


def run_lines(code: str, **names: Any) -> dict[str, Any]:
    assert len(code.strip().splitlines()) < 5
    losses = IrreducibleLosses.given(IDS.numpy(), torch.zeros(len(IDS)))
    namespace = {"keepers": keepers, "losses": losses, **names}
    exec(code, namespace)
    return namespace


def test_the_lines_for_a_loop_run() -> None:
    chosen = run_lines(LOOP, loader=loader(), model=mlp())["chosen"]
    assert len(chosen.batch[0]) == len(chosen.ids) == len(chosen.weights) == 1


@needs_transformers
def test_the_lines_for_the_trainer_run(tmp_path: Path) -> None:
    args = transformers.TrainingArguments(str(tmp_path), report_to="none", use_cpu=True)
    names = {"Trainer": Trainer, "model": bert(), "args": args, "train": examples()}
    trainer = run_lines(TRAINER, **names)["trainer"]
    assert trainer.train().training_loss > 0
    assert trainer.selector.steps == 15


@needs_lightning
def test_the_lines_for_lightning_run(tmp_path: Path) -> None:
    def quiet_trainer(callbacks: list[Any]) -> Any:
        return lightning_trainer(tmp_path, *callbacks)

    trainer, module = run_lines(LIGHTNING, Trainer=quiet_trainer)["trainer"], LayerNormed()
    trainer.fit(module, loader())
    assert module.seen == [("train", 2, 1)] * 10
