"""`train` of conversations: what is chosen by, the result, and a training that was interrupted."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch

import keepers
import tiny_language
from commands import Keepers
from keepers.errors import KeepersError, ParameterError, RunError
from keepers.models import language_model
from keepers.online import TokenSelector
from keepers.processes import Runtime
from keepers.signals import read_through, reading
from keepers.tasks import Tokens
from keepers.tasks.tokens import token_losses
from keepers.training import Candidates
from keepers.workflows import trainer
from keepers.workflows.sequence_scorer import SequenceScorer


def chat(at: int) -> dict[str, Any]:
    asked, said = f"what is {at} and {at * 3 % 17}", f"the {'blue ' * (at % 4)}answer is {at}"
    return {
        "messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": said}],
        "key": at,
    }


@pytest.fixture(scope="module")
def chats(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("chats") / "chats.jsonl"
    path.write_text("\n".join(json.dumps(chat(at)) for at in range(40)))
    return str(path)


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return language_model(f"hf:{folder}", "model").module.state_dict()


def equal(one: dict[str, torch.Tensor], two: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, two[key]) for key, value in one.items())


def given(name: str, **more: Any) -> dict[str, Any]:
    return {"model": {"model": name, "lr": 0.01, "batch_size": 4}, "steps": 6, **more}


def test_the_command_gives_a_model_that_transformers_opens(
    run: Keepers, name: str, chats: str, tmp_path: Path
) -> None:
    words = ["train", chats, "--model", name, "--select", "uniform", "--test", "0.2"]
    words += ["--set", "model.lr=0.01", "--epochs", "2", "--run", "run"]
    done = run(*words, "--out", "tuned")
    assert done.status == 0, done.err
    assert "Held-out loss" in done.out
    assert "AutoModelForCausalLM.from_pretrained('tuned')" in done.out
    facts = json.loads(Path("run/train.json").read_text())
    steps = [each["step"] for each in facts["curve"]]
    assert steps[0] == 0
    assert steps[-1] == facts["costs"][-1]["steps"] == 2 * 4  # 32 conversations, or under, by 8
    assert facts["curve"][-1]["loss"] < facts["curve"][0]["loss"]
    assert facts["loss"] == facts["curve"][-1]["loss"]
    tuned = language_model("hf:tuned", "model")
    assert tuned.has_template
    assert not equal(tuned.module.state_dict(), language_model(name, "model").module.state_dict())
    assert {each.name for each in Path("tuned").iterdir()} >= {"config.json", "tokenizer.json"}
    assert not {"stage.json", "curve.json"} & {each.name for each in Path("tuned").iterdir()}
    assert "Writing" not in done.out + done.err
    assert "train_runtime" not in done.out
    stages = sorted(Path("run/stages").iterdir())
    again = run(*words).out
    assert "Held-out loss" in again
    assert sorted(Path("run/stages").iterdir()) == stages


@pytest.mark.parametrize("select", ["uniform", "tokens", "rho-loss"])
def test_an_interrupted_tuning_ends_as_if_it_had_not_been(
    select: str, name: str, chats: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more: dict[str, Any] = {"select": select, "evaluate_every": 2, "test": 0.2}
    if select != "uniform":
        more["il_model"] = name
    if select == "rho-loss":
        more["keep"] = 0.5
    whole = keepers.train(chats, **given(name, **more, run=tmp_path / "whole"))
    measure = trainer._Watcher.measure  # pyright: ignore[reportPrivateUsage]

    def stop(self: Any, step: int) -> None:
        if step == 4:
            raise KeyboardInterrupt
        measure(self, step)

    monkeypatch.setattr("keepers.workflows.trainer._Watcher.measure", stop)
    with pytest.raises(KeyboardInterrupt):
        keepers.train(chats, **given(name, **more, run=tmp_path / "killed"))
    monkeypatch.undo()
    resumed = list[int]()
    begin = trainer._Watcher.begin  # pyright: ignore[reportPrivateUsage]

    def note(self: Any, step: int) -> None:
        resumed.append(step)
        begin(self, step)

    monkeypatch.setattr("keepers.workflows.trainer._Watcher.begin", note)
    if select == "tokens":  # killed after its first checkpoint, before the curve was kept
        (curve,) = (tmp_path / "killed").glob("stages/*/curve.json")
        curve.unlink()
    found = keepers.train(chats, **given(name, **more, run=tmp_path / "killed"))
    assert resumed == [2]
    assert equal(weights(found.weights), weights(whole.weights))
    losses = [(each["step"], each["loss"]) for each in whole.curve]
    assert [step for step, _ in losses] == [0, 2, 4, 6]
    if select == "tokens":
        losses = losses[1:]
    assert [(each["step"], each["loss"]) for each in found.curve] == losses


@pytest.mark.parametrize("at", ["its last step", "the model was written"])
def test_a_tuning_that_is_killed_at_its_end_takes_no_step_more(
    at: str, name: str, chats: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three steps end within a pass of eight: the Trainer would go on in it."""
    more: dict[str, Any] = {"select": "uniform", "evaluate_every": 1, "test": 0.2}
    options: dict[str, Any] = {**given(name, **more), "steps": 3}
    whole = keepers.train(chats, **options, run=tmp_path / "whole")
    keep = trainer._Watcher.keep  # pyright: ignore[reportPrivateUsage]

    def stop(self: Any, *, whole: bool = False) -> None:
        if not whole or at == "the model was written":
            keep(self, whole=whole)
        if whole:
            raise KeyboardInterrupt

    monkeypatch.setattr("keepers.workflows.trainer._Watcher.keep", stop)
    with pytest.raises(KeyboardInterrupt):
        keepers.train(chats, **options, run=tmp_path / "killed")
    monkeypatch.undo()
    from transformers import Trainer

    steps: list[int] = []
    train = Trainer.training_step

    def count(self: Any, *given: Any) -> Any:
        steps.append(self.state.global_step)
        return train(self, *given)

    monkeypatch.setattr(Trainer, "training_step", count)
    found = keepers.train(chats, **options, run=tmp_path / "killed")
    assert steps == ([2] if at == "its last step" else [])
    assert equal(weights(found.weights), weights(whole.weights))
    assert found.metadata["costs"][-1]["steps"] == 3
    assert [each["step"] for each in found.curve] == [0, 1, 2, 3]


def test_candidates_are_scored_in_pieces_as_one_by_one(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = language_model(name, "model")
    sequences = [model.sequence(chat(at)) for at in range(6)]
    batch = trainer.collate(trainer.rows_of(sequences))
    monkeypatch.setitem(reading.LOGITS, "cpu", 150 * 258)  # two or three conversations at once
    candidates = Candidates(
        positions=batch["id"],
        labels=batch["labels"],
        args=(),
        cut=lambda rows: ((), {}),
        keywords={name: batch[name] for name in ("input_ids", "attention_mask")},
    )
    asked: list[torch.Size] = []

    def note(_: Any, __: Any, given: Any) -> None:
        asked.append(given["input_ids"].shape)

    handle = model.module.register_forward_pre_hook(note, with_kwargs=True)
    found = SequenceScorer(model.module).score(candidates, frozenset({"losses"})).signals
    handle.remove()
    assert len(asked) > 1
    assert max(rows * length for rows, length in asked) <= 150
    read = read_through(model, sequences, runtime=Runtime(device=torch.device("cpu")))
    torch.testing.assert_close(found.get("losses"), (read.sums / read.counts).float())
    whole = Tokens().losses(model.module(input_ids=batch["input_ids"]).logits, batch["labels"])
    torch.testing.assert_close(found.get("losses"), whole.detach(), atol=1e-5, rtol=1e-5)


def test_what_a_tuning_took_is_what_it_saw(name: str, tmp_path: Path) -> None:
    """A pool that holds fewer than the candidates of a step; passes that end with half a batch."""
    path = tmp_path / "few.jsonl"
    path.write_text("\n".join(json.dumps(chat(at)) for at in range(6)))
    said: list[str] = []
    more: dict[str, Any] = {"keep": 0.5, "il_model": name, "say": said.append}
    chosen = keepers.train(path, **given(name, select="rho-loss", **more, run=tmp_path / "one"))
    plain = keepers.train(path, **given(name, select="uniform", run=tmp_path / "two"))
    costs = [each.metadata["costs"][-1] for each in (chosen, plain)]
    assert [each["examples"] for each in costs] == [6 * 6, 3 * 6]  # of 6, and of 4 and 2 in turn
    assert costs[0]["flops"] / costs[1]["flops"] == pytest.approx(2 * (0.5 + 1 / 3))
    assert any("6 steps of 3 of 6 candidates" in each for each in said)
    assert [each["phase"] for each in chosen.metadata["costs"]][-2] == "reading by the reference"


def test_the_record_of_a_tuning_is_of_what_was_done(name: str, chats: str, tmp_path: Path) -> None:
    model = {"model": name, "lr": 1e-3}
    found = keepers.train(chats, task="tokens", model=model, steps=2, run=tmp_path / "run")
    record = json.loads((tmp_path / "run" / "train.json").read_text())["model"]
    assert record == found.metadata["model"]
    assert record == {
        "model": name,
        "length": 128,
        "batch_size": 8,
        "lr": 1e-3,
        "weight_decay": 0.0,
        "optimizer": "adamw",
        "schedule": "cosine",
        "steps": 2,
    }


def test_tokens_that_are_learnt_are_those_over_the_reference(
    name: str, chats: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The losses that a step has are those that a bare loop would take."""
    seen: list[tuple[float, float]] = []
    call = TokenSelector.__call__

    def watch(self: Any, logits: torch.Tensor, batch: Any) -> Any:
        choice = call(self, logits, batch)
        losses, learnt = token_losses(logits, batch["labels"]), batch["labels"][:, 1:] != -100
        count = round(0.3 * int(learnt.sum()))
        excess = losses - token_losses(
            reference(input_ids=batch["input_ids"]).logits, batch["labels"]
        )
        best = excess[learnt].topk(count).indices
        seen.append((float(choice.loss.detach()), float(losses[learnt][best].mean())))
        return choice

    reference = language_model(name, "model").module
    monkeypatch.setattr("keepers.online.TokenSelector.__call__", watch)
    more: dict[str, Any] = {"select": "tokens", "select_options": {"keep": 0.3}, "il_model": name}
    result = keepers.train(chats, **given(name, **more, run=tmp_path))
    assert len(seen) == 6
    for found, expected in seen[1:]:  # before the first step no token has an excess
        assert found == pytest.approx(expected, rel=1e-4)
    assert result.metadata["keep"] == 0.3


def test_losses_of_a_file_and_of_the_reference_choose_alike(
    name: str, chats: str, tmp_path: Path
) -> None:
    losses = keepers.irreducible_losses(chats, model=name, id="key", run=tmp_path / "il")
    common: dict[str, Any] = {"select": "rho-loss", "keep": 0.5, "id": "key"}
    one = keepers.train(chats, **given(name, il=losses, run=tmp_path / "one", **common))
    two = keepers.train(chats, **given(name, il_model=name, run=tmp_path / "two", **common))
    assert equal(weights(one.weights), weights(two.weights))
    short = {"model": name, "options": {"length": 16}}
    losses = keepers.irreducible_losses(chats, model=short, id="key", run=tmp_path / "short")
    with pytest.raises(ParameterError, match="il: holds losses of the first 16 tokens, but the mo"):
        keepers.train(chats, **given(name, il=losses, run=tmp_path / "four", **common))
    plain = keepers.train(chats, **given(name, select="uniform", run=tmp_path / "three"))
    assert not equal(weights(one.weights), weights(plain.weights))
    assert one.metadata["costs"][-1]["examples"] == 2 * plain.metadata["costs"][-1]["examples"]


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ({"model": None}, "model: got none, but conversations"),
        ({"model": "mlp", "select": "uniform"}, "got 'mlp', which does not read conversations"),
        ({"select": "rho-loss"}, "il: got none, but conversations are chosen by their excess loss"),
        ({"keep": 0.5}, "keep: got 0.5, which uniform does not use"),
        ({"select": "tokens", "il": "losses.parquet", "il_model": "hf:x"}, "il: got losses.par"),
        ({"select": "tokens"}, "il_model: got none, but tokens are chosen by their excess loss"),
        ({"select": "infobatch"}, "select: got 'infobatch', which chooses no conversations"),
        ({"select": "uniform", "seconds": 2.0, "steps": None}, "seconds: got 2.0, but the data"),
        ({"select": "tokens", "keep": 0.5}, "keep: got 0.5, which tokens does not use"),
        ({"select": "tokens", "select_options": {"off": 1}}, "select_options of tokens"),
        ({"select": "uniform", "model": {"model": "hf:", "momentum": 0.9}}, "model.momentum"),
        ({"select": "tokens", "il_model": {"model": "hf:x", "lr": 1.0}}, "il_model.lr: got 1.0"),
    ],
)
def test_what_is_refused(
    more: dict[str, Any], problem: str, name: str, chats: str, tmp_path: Path
) -> None:
    with pytest.raises(ParameterError, match=problem):
        keepers.train(chats, **{**given(name), **more}, run=tmp_path)


def test_the_trainer_takes_the_first_accelerator(
    name: str, chats: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def second(*_: Any, **__: Any) -> Runtime:
        return Runtime(device=torch.device("cuda:1"))

    monkeypatch.setattr("keepers.training.Hardware.runtime", second)
    with pytest.raises(ParameterError, match=r"device: got cuda:1.*Set CUDA_VISIBLE_DEVICES=1"):
        keepers.train(chats, **given(name, select="uniform"), run=tmp_path)


@pytest.mark.parametrize("select", ["tokens", "rho-loss"])
def test_a_reference_of_other_tokens_is_refused(
    select: str, name: str, chats: str, tmp_path: Path
) -> None:
    """As many of them, of which two have changed their places."""
    other = Path(tiny_language.write(tmp_path / "other", length=128).removeprefix("hf:"))
    file = json.loads((other / "tokenizer.json").read_text())
    words = file["model"]["vocab"]
    words["a"], words["b"] = words["b"], words["a"]
    (other / "tokenizer.json").write_text(json.dumps(file))
    options = given(name, select=select, il_model=f"hf:{other}", run=tmp_path / "run")
    with pytest.raises(ParameterError, match=r"il_model: its token \d+ is 'b', and that of the m"):
        keepers.train(chats, **options)


def test_without_a_reference_all_are_trained_on(name: str, chats: str, tmp_path: Path) -> None:
    plain = keepers.train(chats, **given(name, run=tmp_path / "plain"))
    uniform = keepers.train(chats, **given(name, select="uniform", run=tmp_path / "uniform"))
    assert equal(weights(plain.weights), weights(uniform.weights))
    assert plain.metadata["select"] == plain.metadata["selected_by"] == "uniform"
    chosen = keepers.train(chats, **given(name, il_model=name, run=tmp_path / "chosen"))
    assert chosen.metadata["select"] == chosen.metadata["selected_by"] == "rho-loss"


def test_a_reference_of_another_template_is_told(name: str, chats: str, tmp_path: Path) -> None:
    template = tiny_language.TEMPLATE.replace("\n{{ m.content }}", ": {{ m.content }}")
    other = tiny_language.write(tmp_path / "other", template=template, length=128)
    told = r"il_model formats conversations in another way than the model \(row \d+\)"
    with pytest.raises(ParameterError, match=told.replace("il_model", "il_model:")):
        keepers.train(chats, **given(name, il_model=other, select="rho-loss", run=tmp_path / "a"))
    said: list[str] = []
    options = given(name, il_model=other, select="tokens", run=tmp_path / "b", say=said.append)
    keepers.train(chats, **options)
    assert sum(bool(re.search(told, each)) for each in said) == 1
    options = given(name, il_model=name, select="tokens", run=tmp_path / "c", say=said.append)
    keepers.train(chats, **options)
    assert sum(bool(re.search(told, each)) for each in said) == 1
    short = {"model": name, "options": {"length": 16}}
    with pytest.raises(
        ParameterError, match=r"il_model: reads at most 16 tokens, but the model \d"
    ):
        keepers.train(chats, **given(name, il_model=short, select="tokens", run=tmp_path / "d"))


def test_tokens_are_of_conversations(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="select: got 'tokens', but digits holds no conv"):
        keepers.train("digits", select="tokens", run=tmp_path)


def test_a_folder_is_written_over_where_that_is_asked_and_keepers_wrote_it(
    name: str, chats: str, tmp_path: Path
) -> None:
    out, mine = tmp_path / "out", tmp_path / "mine"
    options: dict[str, Any] = given(name, select="uniform", run=tmp_path / "run", out=out)
    result = keepers.train(chats, **options)
    with pytest.raises(RunError, match=r"out: .* exists\. Name another folder, or pass --over"):
        keepers.train(chats, **options)
    (out / "model.safetensors").unlink()
    keepers.train(chats, **options, overwrite=True)
    assert equal(weights(out), weights(result.weights))
    (out / "notes.md").write_text("mine")
    mine.write_text("mine")
    for path, problem in (
        (out, "holds files that keepers did not export"),
        (mine, "mine is a file. Name a folder"),
    ):
        options["out"] = path
        with pytest.raises(RunError, match=problem):
            keepers.train(chats, **options, overwrite=True)
    (out / "notes.md").unlink()
    with pytest.raises(RunError, match=r"out: .* is a folder\. Name another"):
        keepers.train("digits", steps=1, out=out, run=tmp_path / "other", overwrite=True)


def test_weights_that_are_no_numbers_are_told(name: str, chats: str, tmp_path: Path) -> None:
    options: dict[str, Any] = {
        **given(name),
        "model": {"model": name, "lr": 1e30},
        "select": "uniform",
    }
    with pytest.raises(KeepersError, match=r"weights are no numbers any more\. Lower"):
        keepers.train(chats, **options, run=tmp_path)
