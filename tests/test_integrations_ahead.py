"""Scorers that look ahead under the Trainer of transformers and under Lightning."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset

from keepers.errors import ParameterError
from keepers.integrations.lightning import SelectingCallback
from keepers.online import BatchSelector, InProcess, Replay, Scoring, SelectingLoader
from keepers.online.copies import copied, patched_cast
from keepers.training import Candidates
from test_integrations import (
    LayerNormed,
    Recording,
    bert,
    candidates_of,
    examples,
    lightning,
    lightning_trainer,
    loader,
    needs_lightning,
    needs_transformers,
    no_advice,  # noqa: F401
    recording,
    selecting_loader,
    tensors,
    trainer_of,
)


class Noting(Recording):
    """Notes the weights by which each call would score."""

    def __call__(self, model: nn.Module, batch: Any, **others: Any) -> Any:
        self.models = [*getattr(self, "models", []), copy.deepcopy(model)]
        return super().__call__(model, batch, **others)


def ahead(kind: type[Recording] = Recording, age: int = 1, shortlist: float | None = 0) -> Any:
    made = recording(
        backend=Replay(),
        scoring=Scoring(max_staleness=age, shortlist=shortlist),
        hand_over=False,
    )
    made.__class__ = kind
    return made


def ages(choose: Recording) -> list[int]:
    return [chosen.staleness for _, chosen in choose.calls]


def check_choices(choose: Any, back: list[int]) -> None:
    """Each call chose as one process does by the weights of so many calls before."""
    for number, (batch, chosen) in enumerate(choose.calls):
        by = choose.models[number - back[number]]
        again = BatchSelector("rho-loss", choose.losses, keep=0.25, hand_over=False)
        again.selector.longest = 8  # of a shorter batch the same share is kept
        assert again(by, batch).ids.tolist() == chosen.ids.tolist(), number


@needs_transformers
@pytest.mark.parametrize(
    ("accumulated", "age", "back", "found"),
    [
        # Of 5 batches to an epoch the first is scored when it comes, and the very first older
        # scores are compared with fresh ones, which then choose.
        (1, 1, [0, 0, 1, 1, 1, 0, 1, 1, 1, 1], [0, 0, 1, 1, 1, 0, 1, 1, 1, 1]),
        (1, 2, [0, 0, 2, 2, 2, 0, 1, 2, 2, 2], [0, 0, 2, 2, 2, 0, 1, 2, 2, 2]),
        # Updates of 2, 2 and 1 batches: weights of the update before, one change old.
        (2, 1, [0, 0, 0, 3, 2, 0, 0, 2, 3, 2], [0, 0, 0, 1, 1, 0, 0, 1, 1, 1]),
        (2, 2, [0, 0, 0, 3, 4, 0, 0, 2, 3, 4], [0, 0, 0, 1, 2, 0, 0, 1, 1, 2]),
    ],
)
def test_a_trainer_is_scored_ahead_by_weights_of_earlier_updates(
    tmp_path: Path, accumulated: int, age: int, back: list[int], found: list[int]
) -> None:
    choose = ahead(Noting, age)
    trainer = trainer_of(
        tmp_path,
        choose,
        gradient_accumulation_steps=accumulated,
        eval_dataset=examples(8),
        eval_strategy="steps",
        eval_steps=2,
    )
    trainer.train()
    assert ages(choose) == found
    check_choices(choose, back)
    published = {version for _, versions in choose.schedule for version in versions}
    assert published <= {0, *range(0, 5, accumulated), *range(5, 10, accumulated)}
    plain = recording(hand_over=False)
    trainer_of(tmp_path, plain, gradient_accumulation_steps=accumulated).train()
    assert candidates_of(choose) == candidates_of(plain)  # none is lost, none comes twice


@needs_transformers
@pytest.mark.parametrize("given", ["loader", "data"])
@pytest.mark.parametrize(("stop", "accumulated"), [(2, 1), (5, 1), (1, 2), (4, 2)])
def test_an_interrupted_trainer_goes_on_with_what_was_on_its_way(
    tmp_path: Path, stop: int, accumulated: int, given: str
) -> None:
    def run(**others: Any) -> tuple[Any, Any]:
        choose = ahead(age=2, shortlist=0.5)
        trainer = trainer_of(
            tmp_path,
            choose,
            model=bert(dropout=0.2),
            save_strategy="steps",
            save_steps=stop,
            gradient_accumulation_steps=accumulated,
            **({"loader": selecting_loader()} if given == "loader" else {}),
        )
        trainer.train(**others)
        return trainer, choose

    whole, in_full = run()
    resumed, rest = run(resume_from_checkpoint=str(tmp_path / f"checkpoint-{stop}"))
    done = len(in_full.calls) - len(rest.calls)
    assert done == {(2, 1): 2, (5, 1): 5, (1, 2): 2, (4, 2): 7}[stop, accumulated]
    assert candidates_of(rest) == candidates_of(in_full)[done:]
    assert rest.chosen == in_full.chosen[done:]
    assert rest.schedule == in_full.schedule
    for one, other in zip(whole.model.parameters(), resumed.model.parameters(), strict=True):
        assert torch.equal(one, other)


@needs_transformers
def test_a_trainer_that_begins_again_forgets_what_it_read(tmp_path: Path) -> None:
    choose = ahead()
    trainer = trainer_of(tmp_path, choose, max_steps=2)
    trainer.train()
    trainer.train()
    assert ages(choose) == [0, 0, 0, 1]  # one batch was read, and is not of the second training
    assert candidates_of(choose)[0] == candidates_of(choose)[2]


@needs_lightning
@pytest.mark.parametrize("age", [1, 2])
@pytest.mark.parametrize("sized", [True, False])
def test_lightning_is_scored_ahead_by_weights_of_earlier_steps(
    tmp_path: Path, age: int, sized: bool
) -> None:
    class Rows(IterableDataset[Any]):
        """Of no known length: Lightning reads it one ahead, too."""

        def __iter__(self) -> Any:
            return iter(tensors())

    made = loader() if sized else DataLoader(Rows(), batch_size=8)
    choose = ahead(Noting, age)
    callback = SelectingCallback(choose)
    module = LayerNormed()
    trainer = lightning_trainer(tmp_path, callback, val_check_interval=2 if sized else None)
    trainer.fit(module, callback.ahead(made), loader(12) if sized else None)
    back = [0, 0, *[age] * 3, 0, 1, *[age] * 3]
    assert ages(choose) == back
    check_choices(choose, back)
    plain, other = recording(hand_over=False), LayerNormed()
    lightning_trainer(tmp_path, SelectingCallback(plain)).fit(other, made)
    of = [[batch[2].tolist() for batch, _ in each.calls] for each in (choose, plain)]
    assert of[0] == of[1]


@needs_lightning
@pytest.mark.parametrize("few", [{"overfit_batches": 2}, {"limit_train_batches": 2}])
def test_lightning_with_few_batches_of_an_epoch_is_scored_ahead(
    tmp_path: Path, few: dict[str, int]
) -> None:
    """What was read beyond them is announced, and forgotten with the epoch."""
    choose = ahead(Noting)
    callback = SelectingCallback(choose)
    trainer = lightning_trainer(tmp_path, callback, max_epochs=3, **few)
    trainer.fit(LayerNormed(), callback.ahead(loader()))
    first = [batch[2].tolist() for batch, _ in choose.calls[:2]]
    assert [batch[2].tolist() for batch, _ in choose.calls] == first * 3
    assert ages(choose) == [0, 0, 0, 1, 0, 1]
    check_choices(choose, ages(choose))


@needs_lightning
@pytest.mark.parametrize("stop", [2, 5, 7])
def test_a_lightning_run_goes_on_with_what_was_on_its_way(tmp_path: Path, stop: int) -> None:
    from lightning.pytorch.callbacks import ModelCheckpoint

    def run(checkpoint: Path | None = None) -> tuple[Any, Any]:
        choose, module = ahead(age=2, shortlist=0.5), LayerNormed()
        callback = SelectingCallback(choose)
        trainer = lightning_trainer(
            tmp_path,
            callback,
            ModelCheckpoint(tmp_path, filename="{step}", every_n_train_steps=stop, save_top_k=-1),
            enable_checkpointing=True,
        )
        loads = SelectingLoader(tensors(), batch_size=8, seed=4)
        trainer.fit(module, callback.ahead(loads), ckpt_path=checkpoint)
        return module, choose

    whole, in_full = run()
    assert max(ages(in_full)) == 0  # the shortlist is chosen among by the weights of the step
    assert any(min(versions) < step for step, versions in in_full.schedule)
    resumed, rest = run(tmp_path / f"step={stop}.ckpt")
    assert rest.chosen == in_full.chosen[stop:]
    assert rest.schedule == in_full.schedule
    for one, other in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(one, other)


@needs_lightning
def test_lightning_moves_and_augments_a_batch_once(tmp_path: Path) -> None:
    moved: list[int] = []

    class Counting(LayerNormed):
        def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
            x, labels, ids = batch
            if self.trainer.training:
                moved.append(len(moved))
            return x + len(moved), labels, ids

    choose = ahead(Noting)
    callback = SelectingCallback(choose)
    lightning_trainer(tmp_path, callback, max_epochs=1, precision="64-true").fit(
        Counting(), callback.ahead(loader())
    )
    assert len(moved) == 5
    check_choices(choose, [0, 0, 1, 1, 1])


@needs_lightning
def test_what_lightning_cannot_announce_is_refused(tmp_path: Path) -> None:
    class Before(LayerNormed):
        def on_before_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
            return batch

    class Stateful:
        def state_dict(self) -> dict[str, Tensor]:
            return {}

    callback = SelectingCallback(ahead())
    with pytest.raises(ParameterError, match=r"max_staleness: got 1, .*callback\.ahead\(loader\)"):
        lightning_trainer(tmp_path, callback).fit(LayerNormed(), loader())
    with pytest.raises(ParameterError, match="on_before_batch_transfer: changes a batch after"):
        lightning_trainer(tmp_path, callback).fit(Before(), callback.ahead(loader()))
    with pytest.raises(ParameterError, match="loader: got Stateful, whose state also counts"):
        callback.ahead(Stateful())
    exact = SelectingCallback(recording(backend=Replay()))
    lightning_trainer(tmp_path, exact, max_epochs=1).fit(Before(), exact.ahead(loader()))
    seeds = exact.ahead(loader())
    seeds.worker_init_fn = print
    assert seeds.loader.worker_init_fn is print
    assert lightning is not None


@pytest.fixture
def own_state(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Transformers and Accelerate have one precision in a process, and would go on with it."""
    from accelerate.state import AcceleratorState

    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "no")
    AcceleratorState._reset_state(reset_partial_state=True)
    yield
    AcceleratorState._reset_state(reset_partial_state=True)


@needs_transformers
def test_a_model_in_mixed_precision_can_be_sent(tmp_path: Path, own_state: None) -> None:
    """Accelerate patches its `forward`, which cannot be pickled."""
    choose = recording()
    trainer = trainer_of(tmp_path, choose, bf16=True, max_steps=1)
    trainer.train()
    here = choose._scorer(trainer.model)
    assert isinstance(here, InProcess)
    assert patched_cast(trainer.model) is torch.bfloat16
    sent = pickle.loads(pickle.dumps(copied(here)))
    assert "forward" not in vars(sent.module)
    batch, _ = choose.calls[0]
    args = {name: value for name, value in batch.items() if name not in ("labels", "id")}
    candidates = Candidates(
        positions=batch["id"],
        labels=batch["labels"],
        args=(),
        keywords=args,
        cut=lambda _: ((), {}),
    )
    losses = [
        each.score(candidates, frozenset({"losses"})).signals.get("losses") for each in (here, sent)
    ]
    assert torch.equal(*losses)
    exact = InProcess(module=sent.module, scoring=sent.scoring)  # in single precision
    assert not torch.equal(
        losses[0], exact.score(candidates, frozenset({"losses"})).signals.get("losses")
    )
