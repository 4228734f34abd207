"""Token-level selection: oracles, and what batches of trainers are like."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

import tiny_language
from keepers import TokenSelector
from keepers.errors import ParameterError
from keepers.models import language_model

IGNORED = -100


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any]:
    name = tiny_language.write(tmp_path_factory.mktemp("language"))
    model, reference = (language_model(name, "model").module for _ in range(2))
    with torch.no_grad():
        for weight in reference.parameters():
            weight.add_(0.3 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)))
    return model, reference


class Narrow(torch.nn.Module):
    """A model of fewer tokens."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, **inputs: Any) -> Tensor:
        return self.model(**inputs).logits[:, :, :200]


def batch(n: int = 3, length: int = 12) -> dict[str, Tensor]:
    draw = torch.Generator().manual_seed(0)
    ids = torch.randint(0, 250, (n, length), generator=draw)
    labels = ids.clone()
    labels[:, :4] = IGNORED  # prompts
    labels[0, 8:] = IGNORED  # padding
    return {"input_ids": ids, "labels": labels}


def by_hand(model: Any, reference: Any, given: dict[str, Tensor], keep: float) -> float:
    """The mean loss of the tokens of highest excess, one token at a time."""
    losses: list[tuple[float, float]] = []
    said, other = (each(input_ids=given["input_ids"]).logits for each in (model, reference))
    for row in range(len(given["labels"])):
        for at in range(1, given["labels"].shape[1]):
            if int(label := given["labels"][row, at]) != IGNORED:
                own, its = (float(F.cross_entropy(s[row, at - 1], label)) for s in (said, other))
                losses.append((own - its, own))
    best = sorted(losses, key=lambda each: -each[0])[: int(keep * len(losses) + 0.5)]
    return sum(own for _, own in best) / len(best)


@pytest.mark.parametrize("keep", [0.1, 0.5, 1.0])
def test_the_loss_is_that_of_the_tokens_furthest_over_the_reference(
    models: tuple[Any, Any], keep: float
) -> None:
    model, reference = models
    given = batch()
    found = TokenSelector(reference, keep=keep)(model(input_ids=given["input_ids"]).logits, given)
    assert found.loss.item() == pytest.approx(by_hand(model, reference, given, keep), abs=1e-5)
    assert int(found.chosen.sum()) == found.count
    assert not bool((found.chosen & (given["labels"][:, 1:] == IGNORED)).any())


def test_all_tokens_are_the_loss_of_transformers_and_its_gradient(models: tuple[Any, Any]) -> None:
    model, reference = models
    given = batch()
    model.zero_grad()
    model(**given).loss.backward()
    expected = [weight.grad.clone() for weight in model.parameters()]
    model.zero_grad()
    TokenSelector(reference, keep=1.0)(
        model(input_ids=given["input_ids"]).logits, given
    ).loss.backward()
    for weight, gradient in zip(model.parameters(), expected, strict=True):
        torch.testing.assert_close(weight.grad, gradient, atol=1e-6, rtol=1e-5)
    assert all(weight.grad is None for weight in reference.parameters())


def test_the_reference_is_given_what_the_model_was(models: tuple[Any, Any]) -> None:
    """Two texts packed into a row, told apart by their positions alone."""
    model, reference = models
    parts = batch(n=2, length=6)
    apart = TokenSelector(reference, keep=0.5)(model(input_ids=parts["input_ids"]).logits, parts)
    labels = parts["labels"].clone()
    labels[:, 0] = IGNORED
    packed = {
        "input_ids": parts["input_ids"].view(1, -1),
        "labels": labels.view(1, -1),
        "position_ids": torch.arange(6).repeat(2)[None],
    }
    inputs = {name: each for name, each in packed.items() if name != "labels"}
    found = TokenSelector(reference, keep=0.5)(model(**inputs, use_cache=False).logits, packed)
    assert found.loss.item() == pytest.approx(apart.loss.item(), abs=1e-4)


def test_losses_made_before_do_as_well(models: tuple[Any, Any]) -> None:
    model, reference = models
    given = batch()
    logits = model(input_ids=given["input_ids"]).logits
    expected = TokenSelector(reference, keep=0.3)(logits, given)
    from keepers.tasks.tokens import token_losses

    with torch.no_grad():
        made = token_losses(reference(input_ids=given["input_ids"]).logits, given["labels"])
    found = TokenSelector(keep=0.3)(logits, {**given, "reference_losses": made})
    assert torch.equal(found.chosen, expected.chosen)


def test_batches_of_a_step_add_up(models: tuple[Any, Any]) -> None:
    """The sums over the counts of two halves are what one step on tokens of both would take."""
    model, reference = models
    choose = TokenSelector(reference, keep=1.0)
    whole = batch(n=4)
    halves = [{name: each[part::2] for name, each in whole.items()} for part in range(2)]
    found = [choose(model(input_ids=each["input_ids"]).logits, each) for each in halves]
    together = choose(model(input_ids=whole["input_ids"]).logits, whole)
    added = sum(each.total.item() for each in found) / sum(each.count for each in found)
    assert added == pytest.approx(together.loss.item(), abs=1e-5)


def test_a_batch_with_nothing_to_learn_has_no_loss_and_no_gradient(models: tuple[Any, Any]) -> None:
    model, reference = models
    given = batch()
    given["labels"] = torch.full_like(given["labels"], IGNORED)
    found = TokenSelector(reference)(model(input_ids=given["input_ids"]).logits, given)
    assert (found.loss.item(), found.count) == (0.0, 0)
    found.loss.backward()


def test_what_is_amiss_is_said(models: tuple[Any, Any], tmp_path: Path) -> None:
    model, reference = models
    given = batch()
    logits = model(input_ids=given["input_ids"]).logits
    with pytest.raises(ParameterError, match="keep: got the count 5"):
        TokenSelector(reference, keep=5)
    with pytest.raises(ParameterError, match="batch: got no 'labels'"):
        TokenSelector(reference)(logits, {"input_ids": given["input_ids"]})
    with pytest.raises(ParameterError, match=r"logits: got shape \(3, 11, 258\) for labels"):
        TokenSelector(reference)(logits[:, 1:], given)
    with pytest.raises(ParameterError, match="reference: got none, but the batch holds none"):
        TokenSelector()(logits, given)
    with pytest.raises(ParameterError, match="reference: gives logits"):
        TokenSelector(Narrow(reference))(logits, given)
    with pytest.raises(ParameterError, match="got a loss that is NaN"):
        TokenSelector(reference)(logits * torch.nan, given)


def rows(n: int = 8, length: int = 12) -> list[dict[str, list[int]]]:
    whole = batch(n=n, length=length)
    return [{name: each[at].tolist() for name, each in whole.items()} for at in range(n)]


def trained(
    models: tuple[Any, Any], folder: Path, keep: float | None, accumulated: int, **more: Any
) -> list[Tensor]:
    """The weights after two steps of plain descent of a copy of the model, by the Trainer."""
    from transformers import Trainer, TrainingArguments, default_data_collator

    from keepers.integrations.tokens import TokenSelectingTrainerMixin

    class Selecting(TokenSelectingTrainerMixin, Trainer): ...

    model = copy.deepcopy(models[0])
    arguments = TrainingArguments(
        str(folder),
        max_steps=2,
        per_device_train_batch_size=4 // accumulated,
        gradient_accumulation_steps=accumulated,
        learning_rate=0.5,
        optim="sgd",
        lr_scheduler_type="constant",
        max_grad_norm=0.0,
        report_to=[],
        save_strategy="no",
        use_cpu=True,
        disable_tqdm=True,
        seed=0,
    )
    given = {"train_dataset": rows(), "data_collator": default_data_collator, **more}
    if keep is None:
        trainer = Trainer(model, arguments, **given)
    else:
        trainer = Selecting(model, arguments, selector=TokenSelector(models[1], keep=keep), **given)
    trainer.train()
    if keep is not None:
        found = trainer.evaluate(rows())
        model.eval()
        given = batch(n=8)
        with torch.no_grad():
            assert found["eval_loss"] == pytest.approx(float(model(**given).loss), abs=1e-3)
    return [weight.detach() for weight in model.parameters()]


@pytest.mark.parametrize("accumulated", [1, 2])
def test_the_trainer_on_all_tokens_is_the_trainer(
    models: tuple[Any, Any], tmp_path: Path, accumulated: int
) -> None:
    plain = trained(models, tmp_path / "plain", None, accumulated)
    chosen = trained(models, tmp_path / "chosen", 1.0, accumulated)
    for one, other in zip(plain, chosen, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


def test_the_trainer_steps_on_the_chosen_tokens(models: tuple[Any, Any], tmp_path: Path) -> None:
    """Its first two steps are those of a loop over the same batches."""
    from torch.utils.data import SequentialSampler

    model, choose = copy.deepcopy(models[0]), TokenSelector(models[1], keep=0.4)
    descent = torch.optim.SGD(model.parameters(), lr=0.5)
    whole = batch(n=8)
    for start in (0, 4):
        part = {name: each[start : start + 4] for name, each in whole.items()}
        descent.zero_grad()
        choose(model(input_ids=part["input_ids"]).logits, part).loss.backward()
        descent.step()

    from transformers import Trainer

    class InOrder(Trainer):
        def _get_train_sampler(self, *_: Any) -> Any:
            return SequentialSampler(self.train_dataset)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("transformers.Trainer", InOrder)
        found = trained(models, tmp_path, 0.4, 1)
    for one, other in zip(model.parameters(), found, strict=True):
        torch.testing.assert_close(one.detach(), other, atol=1e-5, rtol=1e-4)


def test_a_trainer_refuses_other_losses(models: tuple[Any, Any], tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="compute_loss_func: got"):
        trained(models, tmp_path, 0.5, 1, compute_loss_func=lambda *_: 0)
