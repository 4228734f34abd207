"""Budgets in tokens: as many picks as fit, in the order in which a method picks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

import keepers
from commands import Keepers
from keepers import methods
from keepers.errors import ParameterError
from keepers.models import LanguageModel, chat_tokenizer, language_model
from keepers.random import generator
from keepers.types import Budget, Picks, Signals, TokenBudget
from keepers.workflows.token_budgets import within_tokens


def rows() -> list[dict[str, Any]]:
    """Chats of two sources: every fourth is of the second."""
    return [
        {
            "instruction": f"what is {at}",
            "output": f"the answer is {'blue ' * (at * 7 % 11)}{at}",
            "source": "b" if at % 4 == 0 else "a",
        }
        for at in range(40)
    ]


@pytest.fixture
def chats(tmp_path: Path) -> Path:
    path = tmp_path / "chats.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows()))
    return path


@pytest.fixture(scope="module")
def counts(name: str) -> list[int]:
    """Tokens of each row, by the whole model."""
    model: LanguageModel = language_model(name, "proxy")
    return [
        len(
            model.sequence(
                {
                    "messages": [
                        {"role": "user", "content": row["instruction"]},
                        {"role": "assistant", "content": row["output"]},
                    ]
                }
            ).ids
        )
        for row in rows()
    ]


@pytest.mark.parametrize("method", ["random", "stratified", "longest", "perplexity:25-75%+random"])
def test_picks_fill_the_budget_in_their_order(
    run: Keepers, chats: Path, name: str, counts: list[int], method: str
) -> None:
    budget = sum(counts) // 3
    words = ("--method", method, "--proxy", name, "--label", "source", "--task", "tokens")
    done = run(
        "coreset", chats, *words, "--keep-tokens", str(budget), "--out", "kept.parquet", "--json"
    )
    found = done.json()
    table = pq.read_table("kept.parquet").sort_by("rank")
    kept: list[dict[str, Any]] = [row for row in table.to_pylist() if row["kept"]]
    tokens = sum(counts[row["row"]] for row in kept)
    assert found["tokens"] == {"all": sum(counts), "budget": budget, "kept": tokens}
    assert found["keep"] == f"{budget:,} tokens"
    assert budget - max(counts) < tokens <= budget
    assert f"{len(kept)} conversations hold {tokens:,} of {sum(counts):,} tokens" in done.err
    if method == "stratified":
        second = sum(row["label"] == "b" for row in kept)
        assert abs(second - len(kept) / 4) < 1
        first = kept[: len(kept) // 2]
        assert abs(sum(row["label"] == "b" for row in first) - len(first) / 4) < 1
    if method == "longest":
        scores = [row["score"] for row in kept]
        assert scores == sorted(scores, reverse=True)
    else:
        assert "no use for --proxy" not in done.err


@pytest.mark.parametrize("seed", range(40))
def test_a_random_choice_is_the_longest_beginning_of_an_order_that_fits(seed: int) -> None:
    draw = generator(seed)
    n = 1 + seed % 20
    tokens = torch.randint(1, 10, (n,), generator=draw).tolist()
    share = 0.01 + 0.99 * float(torch.rand((), generator=draw))
    counts = torch.tensor(tokens)
    order = torch.randperm(len(tokens), generator=generator(seed))
    budget = TokenBudget.parse(max(1, round(share * sum(tokens))))
    fit, spent = 0, 0
    for at in order.tolist():
        spent += tokens[at]
        if spent > budget.value:
            break
        fit += 1

    def choose(k: int) -> tuple[Picks, None]:
        return Picks(positions=order[:k]), None

    if not fit:
        with pytest.raises(ParameterError, match="the first picked conversation has"):
            within_tokens(choose, counts, budget)
    else:
        picks, _ = within_tokens(choose, counts, budget)
        assert picks.positions.tolist() == order[:fit].tolist()


@pytest.mark.parametrize("budget", range(40, 400, 30))
def test_methods_that_pick_others_for_another_number_fill_the_budget(budget: int) -> None:
    """As with a floor: of a few picks all are short ones, and of more the first are long."""
    tokens = torch.tensor([9] * 60 + [2] * 15)

    def choose(k: int) -> tuple[Picks, None]:
        floored = torch.arange(60, 60 + min(k, 15))
        return Picks(positions=torch.cat([torch.arange(k - len(floored)), floored])), None

    picks, _ = within_tokens(choose, tokens, TokenBudget(budget))
    spent = int(tokens[picks.positions].sum())
    assert budget - 9 < spent <= budget


def test_a_source_is_no_class_that_needs_an_example(tmp_path: Path) -> None:
    chats = [row | {"source": f"{at % 20}"} for at, row in enumerate(rows())]
    given: dict[str, Any] = {"method": "longest", "keep": 8, "run": tmp_path}
    longest = sorted((row["output"] for row in chats), key=len)[-8:]
    kept = keepers.coreset(chats, **given)
    assert sorted(chats[at]["output"] for at in kept.indices) == sorted(longest)
    assert kept.metadata["min_per_class"] == 0
    floored = keepers.coreset(chats, **given, min_per_class=1)
    assert len({chats[at]["source"] for at in floored.indices}) == 8


def test_bands_are_of_what_is_kept() -> None:
    """A method that is asked for all has no band left; one that is asked for a third has."""
    method = methods.get("perplexity:0-50%+random")
    losses = torch.arange(30.0)
    signals = [Signals(answer_losses=losses)]

    def choose(k: int) -> tuple[Picks, Any]:
        return methods.choose(method, signals, k, generator=generator(0))

    picks, _ = within_tokens(choose, torch.full((30,), 5), TokenBudget(50))
    assert len(picks.positions) == 10
    assert int(picks.positions.max()) < 15


def test_budgets_are_read() -> None:
    read = {"2M": 2_000_000, "1.5k": 1500, " 3m ": 3_000_000, 700: 700, "10%": 0.1, 0.25: 0.25}
    assert {given: TokenBudget.parse(given).value for given in read} == read
    for asked, said in (("xM", "not a number"), ("-1k", "keeps nothing"), (1.5, "over 1")):
        with pytest.raises(ParameterError, match=f"keep_tokens: got .*{said}"):
            TokenBudget.parse(asked)
    with pytest.raises(ParameterError, match="got 2,000, but there are only 1,999 tokens"):
        TokenBudget(2000).resolve(1999)


def test_what_is_asked_amiss_is_said(run: Keepers, chats: Path, name: str) -> None:
    done = run("coreset", chats, "--keep-tokens", "1k", "--keep", "10%")
    assert "keep_tokens: got together with keep 10%. Give one of them" in done.err
    done = run("coreset", chats, "--keep-tokens", "1k")
    assert "there is no tokenizer to count tokens with. Name the model" in done.err
    done = run("coreset", chats, "--keep-tokens", "1G", "--proxy", name)
    assert "keep_tokens: got 1,000,000,000, but there are only" in done.err
    with pytest.raises(ParameterError, match="digits holds no conversations"):
        keepers.coreset("digits", keep_tokens=100, method="random")
    assert len(keepers.coreset("digits", keep=Budget(9), method="random")) == 9


def test_the_tokenizer_alone_counts_as_the_model(name: str) -> None:
    chat = {"prompt": "two plus three", "completion": " five"}
    alone, whole = chat_tokenizer(name, "proxy"), language_model(name, "proxy")
    assert alone.length == whole.length == 128
    assert alone.sequence(chat).ids.tolist() == whole.sequence(chat).ids.tolist()
