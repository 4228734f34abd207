"""Comparing conversations at equal tokens: steps, the loss, the metric, and the whole command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import keepers
from commands import Keepers
from keepers.errors import KeepersError, ParameterError
from keepers.experiments.held_out import HeldOut, Measure, answered
from keepers.experiments.tuning_compare import longest_of, summarise
from keepers.experiments.tuning_trials import TuningTrial
from keepers.ledger import Cost
from keepers.models import LanguageModel, TokenSequence, language_model
from keepers.processes import Runtime
from keepers.random import generator
from keepers.statistics import paired_difference
from keepers.training import TuningRecipe, token_steps, tune
from keepers.training.optim import one_cycle
from keepers.workflows.overlap import near

CPU = Runtime(device=torch.device("cpu"))


@pytest.fixture(scope="module")
def model(name: str) -> LanguageModel:
    return language_model(name, "target")


def chat(asked: str, said: str) -> dict[str, Any]:
    return {
        "messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": said}]
    }


CHATS = [chat(f"what is {at}", f"the {'blue ' * (at % 5)}answer is {at}") for at in range(12)]


@pytest.fixture(scope="module")
def sequences(model: LanguageModel) -> list[TokenSequence]:
    return [model.sequence(each) for each in CHATS]


# Steps ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(25))
def test_any_choice_has_as_many_steps_and_tokens(seed: int) -> None:
    draw = generator(seed)
    lengths = torch.randint(1, 60, (40,), generator=draw)
    total, batch = int(torch.randint(60, 2000, (), generator=draw)), 60
    for members in (torch.arange(40), torch.tensor([3]), lengths.argsort()[-5:]):
        steps = list(token_steps(lengths, members, total, batch_tokens=batch, seed=seed))
        assert len(steps) == max(1, total // batch)
        ends = torch.stack([lengths[step].sum() for step in steps]).cumsum(0)
        shares = torch.arange(1, len(steps) + 1) * total / len(steps)
        assert float((ends - shares).abs().max()) <= int(lengths[members].max()) / 2
        seen = torch.cat(steps)
        times = torch.bincount(seen, minlength=40)[members]
        assert int(times.max() - times.min()) <= 1  # whole passes, and a part of one
        assert set(seen.tolist()) <= set(members.tolist())


def test_a_step_is_the_gradient_of_the_mean_over_its_answer_tokens(
    model: LanguageModel, sequences: list[TokenSequence], monkeypatch: pytest.MonkeyPatch
) -> None:
    """In pieces or at once, AdamW with clipping, and the model itself left as it was."""
    recipe = TuningRecipe(lr=0.01, batch_tokens=200, weight_decay=0.1, warmup=0.5, max_norm=0.3)
    members, total = torch.tensor([0, 3, 4, 7, 9]), 620
    before = {key: value.clone() for key, value in model.module.state_dict().items()}

    import copy

    module: Any = copy.deepcopy(model.module).train()
    optimizer = torch.optim.AdamW(module.parameters(), lr=0.01, weight_decay=0.1)
    lengths = torch.tensor([len(each.ids) for each in sequences])
    steps = list(token_steps(lengths, members, total, batch_tokens=200, seed=5))
    assert len(steps) == 3
    for number, rows in enumerate(steps):
        losses: list[Tensor] = []
        for row in rows.tolist():
            each = sequences[row]
            logits = module(input_ids=each.ids[None]).logits[0]
            found = torch.nn.functional.cross_entropy(
                logits[:-1], each.ids[1:].long(), reduction="none"
            )
            losses.append(found[each.learnt[1:]])
        torch.cat(losses).mean().backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 0.3)
        for group in optimizer.param_groups:
            group["lr"] = 0.01 * one_cycle((number + 0.5) / 3, warmup=0.5, start=0.0)
        optimizer.step()
        optimizer.zero_grad()
    for area in (64, 1 << 14):
        monkeypatch.setattr("keepers.training.tuning.AREA", {"cpu": area})
        tuned = tune(model, sequences, members, total, recipe, seed=5, runtime=CPU)
        expected = module.state_dict()
        for key, value in tuned.model.module.state_dict().items():
            torch.testing.assert_close(value, expected[key], atol=2e-5, rtol=1e-4)
        assert tuned.tokens == sum(int(lengths[step].sum()) for step in steps)
        assert tuned.steps == 3
    assert all(torch.equal(before[key], value) for key, value in model.module.state_dict().items())


def test_weights_multiply_losses(model: LanguageModel, sequences: list[TokenSequence]) -> None:
    """A weight of nothing leaves the example without effect; a common factor scales gradients."""
    recipe = TuningRecipe(lr=0.01, batch_tokens=400, max_norm=1e9)
    weights = torch.ones(len(sequences), dtype=torch.float64)
    weights[1] = 0
    given = [
        tune(model, each, torch.tensor([0, 1]), 400, recipe, seed=1, runtime=CPU, weights=weights)
        for each in (sequences, [sequences[0], _scrambled(sequences[1]), *sequences[2:]])
    ]
    one, two = (each.model.module.state_dict() for each in given)
    assert all(torch.equal(value, two[key]) for key, value in one.items())


def _scrambled(sequence: TokenSequence) -> TokenSequence:
    return TokenSequence(ids=sequence.ids.flip(0), learnt=sequence.learnt)


def test_a_loss_that_is_no_number_is_told(
    model: LanguageModel, sequences: list[TokenSequence]
) -> None:
    recipe = TuningRecipe(lr=1e30, batch_tokens=64)
    with pytest.raises(KeepersError, match=r"tuning: the loss is not finite in step \d. Lower"):
        tune(model, sequences, torch.arange(12), 900, recipe, seed=0, runtime=CPU)


# What is measured -----------------------------------------------------------------------------


def mean_loss(model: LanguageModel, sequence: TokenSequence) -> tuple[float, int]:
    labels = sequence.ids.long().masked_fill(~sequence.learnt, -100)
    with torch.inference_mode():
        loss = model.module(input_ids=sequence.ids[None], labels=labels[None]).loss
    return float(loss), int(sequence.learnt.sum())


def test_the_measure_by_hand(model: LanguageModel) -> None:
    """Of chats of one answer and of several; every pair is read by itself."""
    several = {"messages": [*CHATS[0]["messages"], *CHATS[3]["messages"]]}
    chats = [several, *CHATS[4:10]]
    sequences = [model.sequence(each) for each in chats]
    held_out = HeldOut.of(sequences, choices=True)
    assert held_out.others.shape == (7, 3)
    right = 0
    for at, row in enumerate(held_out.others.tolist()):
        assert at not in row
        assert len(set(row)) == 3
        texts = []
        for by in [at, *row]:
            turns = [*chats[at]["messages"][:-1], chats[by]["messages"][-1]]
            texts.append(model.sequence({"messages": turns}))
        if at == 0:  # of several answers the last alone counts
            texts = [_last_alone(each) for each in texts]
        losses = [mean_loss(model, each)[0] for each in texts]
        right += losses[0] < min(losses[1:])
    by_hand = [mean_loss(model, each) for each in sequences]
    found = held_out.measure(model, CPU)
    tokens = sum(count for _, count in by_hand)
    assert found.loss == pytest.approx(sum(a * b for a, b in by_hand) / tokens, abs=1e-5)
    assert found.loss_by_conversation == pytest.approx(sum(a for a, _ in by_hand) / 7, abs=1e-5)
    assert found.told_apart == pytest.approx(right / 7)


def test_an_answer_stands_beside_others(model: LanguageModel) -> None:
    """Of answers that are all yes or no none is told from itself."""

    def said(at: int) -> TokenSequence:
        answer = {"role": "assistant", "content": "a" if at % 2 else "hi"}
        return model.sequence({"messages": [*CHATS[at]["messages"][:-1], answer]})

    others = HeldOut.of([said(at) for at in range(6)], choices=True).others
    expected = [[1, 3, 5] if at % 2 == 0 else [0, 2, 4] for at in range(6)]
    assert [sorted(row) for row in others.tolist()] == expected
    same = HeldOut.of([said(0), said(2), said(4)], choices=True).others
    assert [sorted(row) for row in same.tolist()] == [[1, 2], [0, 2], [0, 1]]


def _last_alone(sequence: TokenSequence) -> TokenSequence:
    gap = int((~sequence.learnt).nonzero().max())
    if bool(sequence.learnt[-1]):
        gap = int((~sequence.learnt).nonzero().squeeze(1)[-1])
    learnt = sequence.learnt.clone()
    learnt[:gap] = False
    return TokenSequence(ids=sequence.ids, learnt=learnt)


def test_what_is_too_long_is_cut_at_the_beginning() -> None:
    def sequence(prompt: int, answer: int) -> TokenSequence:
        learnt = torch.arange(prompt + answer) >= prompt
        return TokenSequence(ids=torch.arange(prompt + answer), learnt=learnt)

    found = answered(sequence(10, 2), sequence(1, 4), 9)
    assert found.ids.tolist() == [5, 6, 7, 8, 9, 1, 2, 3, 4]
    found = answered(sequence(10, 2), sequence(1, 8), 6)
    assert found.ids.tolist() == [7, 8, 9, 1, 2, 3]
    assert found.learnt.tolist() == [False] * 3 + [True] * 3


def test_near_duplicates_by_their_words() -> None:
    def by_hand(one: str, two: str) -> float:
        pieces = [
            {tuple(words[at : at + 3]) for at in range(max(1, len(words) - 2))}
            for words in (one.lower().split(), two.lower().split())
        ]
        return len(pieces[0] & pieces[1]) / len(pieces[0] | pieces[1])

    draw = generator(0)
    words = ["red", "Green", "blue", "sky", "sea"]
    texts = [
        " ".join(words[at] for at in torch.randint(5, (3 + n % 9,), generator=draw).tolist())
        for n in range(60)
    ]
    for least in (0.2, 0.5, 1.0):
        expected = [any(by_hand(one, two) >= least for two in texts[:20]) for one in texts[20:]]
        assert near(texts[20:], texts[:20], least=least).tolist() == expected
    assert 0 < sum(expected) < 40


def trial(method: str, seed: int, loss: float, told: float = 0.5) -> TuningTrial:
    return TuningTrial(
        method=method,
        seed=seed,
        target=Cost(phase="tuning", seconds=2.0, steps=3, flops=6.0),
        budget=100,
        keep=0.1,
        rows=5,
        held=98,
        tokens=300,
        answer_tokens=200,
        measure=Measure(loss=loss, loss_by_conversation=loss, told_apart=told),
        selection=Cost(phase="selection", seconds=1.0, flops=4.0),
    )


def test_rows_are_against_random_and_against_the_longest() -> None:
    losses = {
        "random": [1.0, 1.1, 1.05, 1.02, 0.98],
        "longest": [0.9, 1.0, 0.97, 0.91, 0.88],
        "ifd": [0.7, 0.79, 0.74, 0.72, 0.68],
    }
    trials = [trial(m, s, v) for m, values in losses.items() for s, v in enumerate(values)]
    rows = {row["method"]: row for row in summarise(trials)}
    assert rows["random"]["difference"] is None
    assert rows["longest"]["from_longest"] is None
    assert rows["longest"]["difference"].mean == pytest.approx(-0.098)
    found = rows["ifd"]["from_longest"]
    expected = paired_difference(losses["ifd"], losses["longest"])
    assert (found.low, found.high) == (expected.low, expected.high)
    assert rows["ifd"]["difference"].verdict == found.verdict == "better"
    assert rows["ifd"]["told_apart_difference"].mean == 0
    assert (rows["ifd"]["selection_seconds"], rows["ifd"]["end_to_end_flops"]) == (1.0, 10.0)
    assert longest_of(list(rows.values()))(rows["random"]) is None


def test_answers_told_apart_have_no_verdict() -> None:
    """One answer of twelve, the same for every seed, has no spread."""
    told = {"random": 11 / 12, "longest": 11 / 12, "ifd": 10 / 12}
    trials = [trial(m, s, 1.0 + s % 3 / 9, told=told[m]) for m in told for s in range(9)]
    found = summarise(trials)[-1]["told_apart_difference"]
    assert (found.mean, found.low) == pytest.approx((1 / 12, 1 / 12))
    assert found.verdict == "inconclusive"


# The command ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Chats of two sources."""
    rows = [
        {
            "instruction": f"what is {at} and {at * 3 % 17} and {at * 5 % 13}",
            "output": f"the answer is {'blue ' * (at * 7 % 11)}{at}",
            "source": "b" if at % 4 == 0 else "a",
        }
        for at in range(26)
    ]
    path = tmp_path_factory.mktemp("pool") / "chats.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def given(name: str, lr: str = "0.01") -> tuple[str, ...]:
    settings = ("--set", "target.options.batch_tokens=150", "--set", f"target.lr={lr}")
    return ("--target", name, "--test", "0.2", "--seeds", "2", "--run", "run", *settings)


def test_a_comparison_of_chats(run: Keepers, pool: Path, name: str) -> None:
    words = (*given(name), "--methods", "ifd,auto", "--keep-tokens", "200,400", "--json")
    words = (*words, "--label", "source", "--task", "tokens", "--with-everything")
    words = (*words, "--target-epochs", "2")
    done = run("compare", pool, *words)
    found = done.json()
    rows = {(row["method"], row["k"]): row for row in found["rows"]}
    methods = ("random", "longest", "ifd", "stratified", "everything")
    whole = found["data"]["tokens"]
    expected = {(method, k) for method in methods for k in (200, 400)}
    assert set(rows) == {*expected, ("everything-in-full", whole)}
    for (_, k), row in rows.items():
        assert row["tokens"] == pytest.approx(2 * k, abs=64)
        assert row["steps"] == 2 * k // 150
        assert row["held"] <= k or row["method"] == "everything"
        assert len(row["errors"]) == len(row["told_apart_errors"]) == 2
    assert rows["ifd", 200]["selection_flops"] > 0 == rows["random", 200]["selection_flops"]
    assert rows["longest", 200]["rows"] < rows["random", 200]["rows"]
    assert found["before"]["loss"] > rows["random", 400]["loss_mean"]
    assert {"reading by the proxy", "tuning the target"} <= {e["phase"] for e in found["costs"]}
    stages = sorted(Path("run/stages").iterdir())
    again = run("compare", pool, *words).json()
    assert again["rows"] == found["rows"]
    assert sorted(Path("run/stages").iterdir()) == stages
    page = Path("run/report.html").read_text()
    assert "Loss of held-out answers" in page
    assert "everything in full" in page


def test_the_terminal_says_what_came_of_it(run: Keepers, pool: Path, name: str) -> None:
    targets = ("--methods", "rds", "--similar-to", pool)
    done = run("compare", pool, *given(name), "--keep", "0.2", *targets)
    assert done.status == 0, done.err
    assert (
        "target examples are also in the held-out data, or nearly so: this makes methods "
        "that use" in done.err
    )
    assert "No method is better than both a random part and the longest answers" in done.out
    assert f"{'longest':<10}" in done.out
    assert "held-out conversations" in " ".join(done.out.split())
    assert max(map(len, done.out.splitlines())) <= 100


def test_the_rate_is_chosen_without_what_is_held_out(
    pool: Path, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keepers.experiments.tuning_trials.RATES", (1e-4, 1e-2))
    target = {"model": name, "epochs": 1}
    given: dict[str, Any] = {"test": 0.2, "keep_tokens": [200], "seeds": 1, "device": "cpu"}
    given |= {"target": target, "methods": ["longest"], "run": tmp_path / "one"}
    found = keepers.compare(pool, **given).result
    assert found["learning_rate"]["taken"] == 0.01
    assert set(found["learning_rate"]["tried"]) == {"0.0001", "0.01"}
    assert {row["method"] for row in found["rows"]} == {"random", "longest"}  # one pass


def test_near_duplicates_of_what_is_held_out_leave_the_pool(
    run: Keepers, pool: Path, name: str
) -> None:
    lines = pool.read_text().splitlines(keepends=True)
    row = json.loads(lines[5])
    Path("test.jsonl").write_text(
        json.dumps(row | {"output": row["output"] + "!"}) + "\n" + lines[9]
    )
    words = ("--target", name, "--test", "test.jsonl", "--keep", "0.2", "--seeds", "1", "--json")
    done = run("compare", pool, *words, "--set", "target.lr=0.001", "--run", "near")
    found = done.json()
    assert found["data"]["n"] == 26 - 2
    assert "Left out 2 conversations that say nearly what one held out says" in done.err


def test_what_is_asked_amiss_is_said(run: Keepers, pool: Path, name: str) -> None:
    done = run("compare", pool, "--test", "0.2", "--run", "none")
    assert "target: got none, but conversations need a language model to tune" in done.err
    for words, said in (
        (("--keep", "5"), "keep: got a count of rows, but conversations are compared at equal"),
        (("--keep-tokens", "50"), "keep_tokens: got 50 of "),
        (("--keep", "0.01"), "tokens, but the longest conversation has "),
        (("--noise", "0.1"), "noise: got 0.1, which does not apply to conversations"),
        (("--keep-tokens", "1k", "--keep", "0.1"), "keep_tokens: got together with keep"),
        (
            ("--set", "target.batch_size=3"),
            "target.batch_size: got 3, which a language model does not",
        ),
        (("--set", "target.optimizer=sgd"), "options.batch_tokens, options.length"),
        (("--set", "target.options.size=3"), "target.options: got 'size'. A language model takes"),
        (("--methods", "entropy"), "the targets are conversations"),
        (("--methods", "rds"), "similar_to: got none, but 'rds' needs target examples"),
    ):
        done = run("compare", pool, *given(name), *words)
        assert said in done.err, done.err
    with pytest.raises(ParameterError, match="digits holds no conversations"):
        keepers.compare("digits", test=0.2, keep_tokens=[100])
