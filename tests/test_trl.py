"""Token-level selection inside TRL's `SFTTrainer`: the same steps, whatever its batches are."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import tiny_language
from keepers import TokenSelector
from keepers.models import LanguageModel, language_model

pytest.importorskip("trl", reason="trl is not installed")

WORDS = ("sky", "blue", "two", "plus", "five")
EXAMPLES = [
    {"prompt": f"what is {at}", "completion": " " + " ".join(WORDS[: 1 + at % 5])}
    for at in range(8)
]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[LanguageModel, Any]:
    name = tiny_language.write(tmp_path_factory.mktemp("language"), length=128)
    model, reference = language_model(name, "model"), language_model(name, "model").module
    with torch.no_grad():
        for weight in reference.parameters():
            weight.add_(0.3 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(1)))
    return model, reference


def trained(
    models: tuple[LanguageModel, Any], folder: Path, keep: float | None, **settings: Any
) -> tuple[list[Tensor], dict[str, float]]:
    """The weights after two steps of plain descent, and what an evaluation then says."""
    from datasets import Dataset
    from torch.utils.data import SequentialSampler
    from trl import SFTConfig, SFTTrainer  # pyright: ignore[reportMissingImports]

    from keepers.integrations.tokens import TokenSelectingTrainerMixin

    class InOrder(SFTTrainer):
        def _get_train_sampler(self, *_: Any) -> Any:
            return SequentialSampler(self.train_dataset)

    class Selecting(TokenSelectingTrainerMixin, InOrder): ...

    arguments = SFTConfig(
        str(folder),
        **{"per_device_train_batch_size": 4, "max_steps": 2, "max_length": 96, **settings},
        learning_rate=0.5,
        optim="sgd",
        lr_scheduler_type="constant",
        max_grad_norm=0.0,
        report_to=[],
        save_strategy="no",
        use_cpu=True,
        bf16=False,
        gradient_checkpointing=False,
        disable_tqdm=True,
        seed=0,
    )
    model, reference = models
    tokenizer = copy.deepcopy(model.tokenizer)
    tokenizer.pad_token = tokenizer.eos_token
    given: dict[str, Any] = {
        "model": copy.deepcopy(model.module),
        "args": arguments,
        "train_dataset": Dataset.from_list(EXAMPLES),
        "eval_dataset": Dataset.from_list(EXAMPLES),
        "processing_class": tokenizer,
    }
    if keep is None:
        trainer = InOrder(**given)
    else:
        trainer = Selecting(**given, selector=TokenSelector(reference, keep=keep))
    trainer.train()
    found = trainer.evaluate()
    return [weight.detach() for weight in trainer.model.parameters()], found


def assert_same(first: list[Tensor], second: list[Tensor]) -> None:
    for one, other in zip(first, second, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-4)


WAYS = {
    "plain": {"completion_only_loss": False},
    "completions": {"completion_only_loss": True},
    "packed": {"packing": True, "per_device_train_batch_size": 1},
    "without padding": {"padding_free": True, "max_length": None},
    "accumulated": {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2},
}


@pytest.mark.parametrize("way", WAYS)
def test_all_tokens_are_what_the_trainer_takes(
    models: tuple[LanguageModel, Any], tmp_path: Path, way: str
) -> None:
    plain, loss = trained(models, tmp_path / "plain", None, **WAYS[way])
    chosen, again = trained(models, tmp_path / "chosen", 1.0, **WAYS[way])
    assert_same(plain, chosen)
    assert again["eval_loss"] == pytest.approx(loss["eval_loss"], abs=1e-4)


def test_the_same_tokens_are_chosen_with_padding_and_without(
    models: tuple[LanguageModel, Any], tmp_path: Path
) -> None:
    padded, _ = trained(models, tmp_path / "padded", 0.4)
    without, _ = trained(models, tmp_path / "without", 0.4, padding_free=True, max_length=None)
    assert_same(padded, without)
    every, _ = trained(models, tmp_path / "every", 1.0)
    assert any(not torch.allclose(one, other) for one, other in zip(padded, every, strict=True))


def test_a_packed_row_is_the_texts_in_it(models: tuple[LanguageModel, Any], tmp_path: Path) -> None:
    """One step on all texts, packed into rows of one batch, or each in its row."""
    apart = {"max_steps": 1, "per_device_train_batch_size": 8}
    padded, _ = trained(models, tmp_path / "padded", 0.4, **apart)
    packed, _ = trained(models, tmp_path / "packed", 0.4, **apart, packing=True)
    assert_same(padded, packed)
