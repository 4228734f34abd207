"""Choosing whole sequences for a step of a language model: losses, trainers, reference models."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import keepers
from commands import Keepers
from keepers import BatchSelector, IrreducibleLosses, RhoLoss
from keepers.errors import ParameterError
from keepers.methods import Method
from keepers.models import language_model
from keepers.types import Picks, Signals

N, LENGTH = 8, 14


@pytest.fixture(scope="module")
def model(name: str) -> Any:
    return language_model(name, "model").module


def rows() -> list[dict[str, Any]]:
    """Sequences whose answers differ in length, padded on the right."""
    draw = torch.Generator().manual_seed(3)
    found: list[dict[str, Any]] = []
    for at in range(N):
        ids = torch.randint(0, 250, (LENGTH,), generator=draw)
        length = 6 + at
        labels = ids.masked_fill(torch.arange(LENGTH) < 4, -100)
        labels[length:] = -100
        mask = (torch.arange(LENGTH) < length).long()
        found.append({"input_ids": ids, "attention_mask": mask, "labels": labels, "id": 10 * at})
    return found


def batch(members: Any = range(N)) -> dict[str, Tensor]:
    chosen = [rows()[at] for at in members]
    parts = {key: torch.stack([row[key] for row in chosen]) for key in chosen[0] if key != "id"}
    return {**parts, "id": torch.tensor([row["id"] for row in chosen])}


def losses_of(model: Any, given: dict[str, Tensor]) -> list[float]:
    """The mean loss of each sequence, read by itself, without its padding."""
    found: list[float] = []
    for ids, mask, labels in zip(
        given["input_ids"], given["attention_mask"], given["labels"], strict=True
    ):
        end = int(mask.sum())
        with torch.no_grad():
            said = model(input_ids=ids[None, :end], labels=labels[None, :end])
        found.append(float(said.loss))
    return found


IRREDUCIBLE = torch.linspace(0, 0.4, N)[torch.tensor([3, 6, 1, 7, 0, 2, 5, 4])]


def given_losses() -> IrreducibleLosses:
    return IrreducibleLosses.given([10 * at for at in range(N)], IRREDUCIBLE)


@pytest.mark.parametrize("method", ["rho-loss", "loss", "random"])
def test_sequences_are_chosen_by_the_mean_loss_of_their_answers(model: Any, method: str) -> None:
    choose = BatchSelector(method, given_losses(), keep=3, task="tokens")
    chosen = choose(model, batch())
    found = (chosen.batch["id"] // 10).tolist()
    losses = torch.tensor(losses_of(model, batch()))
    expected = {"rho-loss": losses - IRREDUCIBLE, "loss": losses}.get(method)
    assert len(set(found)) == 3
    if expected is not None:
        assert found == expected.topk(3).indices.tolist()
    for key, value in batch(found).items():
        assert torch.equal(chosen.batch[key], value)


def test_methods_that_need_classes_are_refused() -> None:
    for method in ("entropy", "stratified", "grad-norm"):
        with pytest.raises(ParameterError, match="method: got"):
            BatchSelector(method, task="tokens")


class WithIds(torch.utils.data.Dataset[dict[str, Any]]):
    def __len__(self) -> int:
        return N

    def __getitem__(self, at: int) -> dict[str, Any]:
        return rows()[at]


def trained(model: Any, folder: Path, choose: BatchSelector, accumulated: int, lr: float) -> Any:
    """A Trainer after one step of plain descent on all eight candidates, in their order."""
    from torch.utils.data import SequentialSampler
    from transformers import Trainer, TrainingArguments, default_data_collator

    from keepers.integrations.huggingface import SelectingTrainerMixin

    class InOrder(SelectingTrainerMixin, Trainer):
        def _get_train_sampler(self, train_dataset: Any = None) -> Any:
            return SequentialSampler(WithIds())

    arguments = TrainingArguments(
        str(folder),
        max_steps=1,
        per_device_train_batch_size=N // accumulated,
        gradient_accumulation_steps=accumulated,
        learning_rate=lr,
        optim="sgd",
        lr_scheduler_type="constant",
        max_grad_norm=0.0,
        report_to=[],
        save_strategy="no",
        logging_steps=1,
        use_cpu=True,
        disable_tqdm=True,
    )
    trainer = InOrder(
        copy.deepcopy(model),
        arguments,
        selector=choose,
        train_dataset=WithIds(),
        data_collator=default_data_collator,
    )
    trainer.train()
    return trainer


@pytest.mark.parametrize("accumulated", [1, 2])
def test_the_trainer_takes_its_step_on_the_tokens_of_the_chosen(
    model: Any, tmp_path: Path, accumulated: int
) -> None:
    """The sum over all tokens of what was chosen, by their number, over accumulated batches."""
    choose = RhoLoss(given_losses(), keep=0.5, task="tokens")
    trainer = trained(model, tmp_path, choose, accumulated, lr=0.5)
    excess = torch.tensor(losses_of(model, batch())) - IRREDUCIBLE
    size = N // accumulated
    members = [
        start + at
        for start in range(0, N, size)
        for at in excess[start : start + size].topk(size // 2).indices.tolist()
    ]
    own = copy.deepcopy(model).train()
    given = {key: value for key, value in batch(members).items() if key != "id"}
    own(**given).loss.backward()
    with torch.no_grad():
        for weight in own.parameters():
            weight -= 0.5 * (0 if weight.grad is None else weight.grad)
    for one, other in zip(trainer.model.parameters(), own.parameters(), strict=True):
        torch.testing.assert_close(one.detach(), other.detach(), atol=1e-5, rtol=1e-4)


def _weighing(signals: Signals, scores: Any, k: int, **_: Any) -> Picks:
    return Picks(positions=torch.arange(k), weights=torch.arange(k) * 2.0 + 1)


def test_weights_multiply_the_losses_of_tokens(model: Any, tmp_path: Path) -> None:
    row = Method(
        name="weighing",
        needs=frozenset({"losses"}),
        select=_weighing,
        summary="weights",
        when="never",
        paper="none",
    )
    choose = BatchSelector(row, given_losses(), keep=2, task="tokens")
    trainer = trained(model, tmp_path, choose, 1, lr=1e-6)
    first = batch([0, 1])
    counts = (first["labels"] != -100).sum(1)
    means = losses_of(model, first)
    expected = sum(w * m * int(c) for w, m, c in zip((1, 3), means, counts, strict=True))
    said = trainer.state.log_history[0]["loss"]
    assert said == pytest.approx(float(expected / counts.sum()), abs=1e-3)


# Reference models -----------------------------------------------------------------------------


@pytest.fixture
def chats(tmp_path: Path) -> Path:
    rows = [
        {"key": at, "instruction": f"what is {at}", "output": f"it {'is ' * (at % 5)}{at}"}
        for at in range(12)
    ]
    path = tmp_path / "chats.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_a_reference_model_gives_irreducible_losses(
    run: Keepers, chats: Path, name: str, model: Any
) -> None:
    words = ("--id", "key", "--precision", "fp32", "--out", "il.parquet")
    done = run("il", chats, "--model", name, *words)
    assert done.status == 0, done.err
    assert "nats per token" in done.out
    losses = IrreducibleLosses.load("il.parquet")
    whole = language_model(name, "model")
    for at in (0, 7):
        turns = [
            {"role": "user", "content": f"what is {at}"},
            {"role": "assistant", "content": f"it {'is ' * (at % 5)}{at}"},
        ]
        each = whole.sequence({"messages": turns})
        labels = each.ids.long().masked_fill(~each.learnt, -100)[None]
        with torch.no_grad():
            expected = float(model(input_ids=each.ids[None], labels=labels).loss)
        (found,) = losses.values[torch.from_numpy(losses.ids == at)].tolist()
        assert found == pytest.approx(expected, abs=1e-5)
    choose = RhoLoss(losses, keep=1)
    assert choose.selector.task.name == "tokens"
    given = batch([0, 1]) | {"id": torch.tensor([3, 4])}
    assert len(choose(model, given).batch["id"]) == 1


def test_a_reference_is_read_and_not_trained(chats: Path, name: str, tmp_path: Path) -> None:
    given: dict[str, Any] = {"run": tmp_path / "run"}
    with pytest.raises(ParameterError, match=r"model: got none, but .* holds conv"):
        keepers.irreducible_losses(chats, **given)
    for more in ({"epochs": 2}, {"holdout": 0.2}):
        with pytest.raises(ParameterError, match="the reference of conversations must be"):
            keepers.irreducible_losses(chats, model=name, **more, **given)
