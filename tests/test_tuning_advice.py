"""`advise` of conversations: what draws look at, what is told, and the whole command."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

import keepers
from commands import Keepers
from keepers.data import open_source
from keepers.errors import ParameterError
from keepers.experiments.tuning_advice import _told as called  # pyright: ignore[reportPrivateUsage]
from keepers.experiments.tuning_advice import taken
from keepers.experiments.tuning_pilot import DRAWS, STEPS, TuningPilot, options_of
from keepers.experiments.tuning_pool import TuningPool
from keepers.statistics import Difference
from keepers.training import Hardware
from keepers.workflows.options.advise import AdviseOptions
from keepers.workflows.overlap import alike
from keepers.workflows.workplace import Workplace


def chat(at: int) -> dict[str, Any]:
    asked, said = f"what is {at} plus {at * 7}", f"the answer {'blue ' * (at % 4)}{at * 8}"
    return {
        "messages": [{"role": "user", "content": asked}, {"role": "assistant", "content": said}],
        "source": "sky" if at % 3 else "five",
    }


@pytest.fixture(scope="module")
def chats(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("chats") / "chats.jsonl"
    path.write_text("\n".join(json.dumps(chat(at)) for at in range(90)))
    return str(path)


@pytest.fixture
def pilot_of(name: str, chats: str) -> Callable[..., TuningPilot]:
    def make(path: str = chats, **given: Any) -> TuningPilot:
        target = {"model": name, "lr": 1e-3, "options": {"batch_tokens": 128}, "epochs": 1}
        options: dict[str, Any] = {"target": target, "methods": ("ifd",), "keep": (0.3,), **given}
        config = AdviseOptions(**options)
        source, place = open_source(path), Workplace(run=Mock(), hardware=Hardware())
        pool = TuningPool.open(source, options_of(config, source), place)
        return TuningPilot(config=config, pool=pool)

    return make


def test_draws_hold_out_what_they_do_not_choose_of(pilot_of: Callable[..., TuningPilot]) -> None:
    pilot = pilot_of()
    assert len(pilot.draws) == DRAWS
    firsts: list[set[int]] = []
    for at, held in pilot.draws:
        assert not set(at.tolist()) & set(held.tolist())
        assert int(pilot.pool.tokens[at].sum()) <= pilot.part
        assert len(held) == 18  # a fifth of ninety, where that is under twenty
        firsts.append(set(held.tolist()))
    assert len(set().union(*firsts)) == 90  # no two hold out the same


def test_what_a_pilot_costs_is_said_before(pilot_of: Callable[..., TuningPilot]) -> None:
    pilot = pilot_of()
    total = int(pilot.pool.tokens.sum())
    tunings = DRAWS * 4  # of random, stratified, longest and ifd, each on 30% of a draw
    assert pilot.share == pytest.approx(tunings * 0.3 * pilot.part / total)


def test_copies_of_what_is_held_out_are_not_chosen_of(
    pilot_of: Callable[..., TuningPilot], tmp_path: Path
) -> None:
    """Every conversation is there twice: a third of the pool holds the copy of another."""
    path = tmp_path / "twice.jsonl"
    rows = [{**chat(at), "number": copy} for at in range(45) for copy in range(2)]
    path.write_text("\n".join(map(json.dumps, rows)))
    pilot = pilot_of(str(path))
    for at, held in pilot.draws:
        chosen, judges = (pilot.pool.source.take(each.numpy()) for each in (at, held))
        assert not alike(chosen, judges).any()


def test_steps_are_smaller_where_a_pool_has_too_few_tokens(
    pilot_of: Callable[..., TuningPilot], name: str
) -> None:
    """Ninety short conversations fill two steps of 4,096 tokens."""
    role = {"model": name, "lr": 1e-3, "epochs": 3}
    pilot = pilot_of(target=role)
    assert int(pilot.pool.tokens.max()) < pilot.batch_tokens < 4096
    for bench in pilot.benches():
        assert bench.pool.epochs * bench.budgets[0] // bench.batch_tokens >= STEPS
    assert pilot_of().batch_tokens == 128  # as it is given


def test_a_difference_within_a_hundredth_is_none_however_sure_it_is() -> None:
    def gap(low: float, high: float, verdict: Any) -> Difference:
        mean = (low + high) / 2
        return Difference(mean=mean, low=low, high=high, pairs=5, verdict=verdict)

    assert called(gap(-0.007, -0.003, "better")) == "no difference"
    assert called(gap(-0.02, -0.003, "better")) == "better"
    assert called(gap(-0.02, 0.003, "inconclusive")) == "cannot tell"


def test_target_examples_that_judge_are_told(
    name: str, chats: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, said = tmp_path / "targets.jsonl", list[str]()
    rows = [chat(3), {**chat(200), "messages": chat(7)["messages"]}, chat(500)]
    path.write_text("\n".join(map(json.dumps, rows)))

    def stop(_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(TuningPilot, "benches", stop)
    with pytest.raises(KeyboardInterrupt):
        keepers.advise(
            chats,
            target=name,
            methods=["rds"],
            similar_to=path,
            run=tmp_path / "run",
            say=said.append,
        )
    assert any(
        "Warning: 2 of 3 target examples are also in the data, of which each draw" in each
        for each in said
    )


def test_a_pool_of_copies_is_told(name: str, tmp_path: Path, pilot_of: Any) -> None:
    path, said = tmp_path / "same.jsonl", list[str]()
    path.write_text("\n".join(json.dumps(chat(3)) for _ in range(60)))
    with pytest.raises(ParameterError, match="data: all conversations are near-copies of 12 conv"):
        keepers.advise(path, target=name, methods=["ifd"], run=tmp_path / "a", say=said.append)
    assert any("Warning: 48 of 48 conversations in a draw are near-copies" in each for each in said)


def test_draws_of_a_large_pool_share_nothing(pilot_of: Callable[..., TuningPilot]) -> None:
    """The part that is affordable is a share of the pool; a wider one is shared by draws."""
    small = pilot_of(pilot_share=0.001)
    whole = pilot_of(pilot_share=100)
    longest = int(small.pool.tokens.max())
    # eight steps of 128 tokens, or of the longest conversation, at three tenths in one pass
    assert small.part == int(1.05 * 8 * max(128, longest) / 0.3)
    assert whole.part == int(0.8 * int(whole.pool.tokens.sum()))
    # five draws that have all but a fifth in common share three quarters of what they choose of,
    # or a little more; folds of one set would say 0.75 / 3
    assert 0.2 < whole.overlap < 0.28
    assert small.overlap < whole.overlap


def row(method: str, told: str | None, longest: str | None, loss: float) -> dict[str, Any]:
    return {
        "method": method,
        "keep": 0.1,
        "told": told,
        "told_longest": longest,
        "loss_mean": loss,
    }


def test_only_what_beats_random_and_the_longest_is_taken(chats: str) -> None:
    source = open_source(chats)
    rows = [
        row("random", None, None, 2.0),
        row("longest", "worse", None, 2.5),
        row("everything", "better", "better", 0.1),  # no choice
        row("ifd", "better", "cannot tell", 0.5),
        row("k-center", "cannot tell", "better", 0.4),
    ]
    assert taken(rows, 0.1, source) == "stratified"  # there are sources
    lost = row("stratified", "worse", "worse", 2.6)
    assert taken([*rows, lost], 0.1, source) == "random"
    rows += [row("rds", "better", "better", 1.5), row("typiclust", "better", "better", 1.4)]
    assert taken(rows, 0.1, source) == "typiclust"
    assert taken([row("longest", "better", None, 1.0)], 0.1, source) == "longest"


def test_the_whole_command(run: Keepers, name: str, chats: str) -> None:
    given = [
        *("advise", chats, "--target", name, "--keep", "0.3", "--methods", "ifd", "--run", "run"),
        *("--set", "target.lr=0.001", "--set", "target.options.batch_tokens=128", "--json"),
        *("--set", "target.epochs=2"),
    ]
    result = run(*given).json()
    names = [each["method"] for each in result["rows"]]
    assert names == ["random", "longest", "stratified", "ifd", "everything"]
    for each in result["rows"]:
        assert len(each["errors"]) == DRAWS
        assert each["told"] in ("cannot tell", "no difference", "better", "worse", None)
    assert result["pilot"]["share"] > 0
    assert result["data"]["tokens"] > result["pilot"]["tokens"] >= 8 * 128 / 0.3 / 2
    page = Path("run/report.html").read_text()
    assert "hundredths of a nat against random" in page
    assert "90 conversations" in page
    stages = sorted(Path("run/stages").iterdir())
    again = run(*given[:-3], "--set", "target.epochs=2")
    assert sorted(Path("run/stages").iterdir()) == stages
    words = " ".join(again.out.split())
    assert "At 30% of the tokens, ifd: " in words
    assert "of the time for tuning" in words


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({"target": None}, "target: got none, but conversations"),
        ({"keep": [20]}, "keep: got 20, but a pilot uses fractions of the tokens"),
        ({"keep": [1.0]}, "keep: got 1.0, but a pilot uses fractions"),
        ({"methods": ["entropy"]}, "entropy"),
        ({"methods": ["rds"]}, "similar_to: got none"),
        ({"pilot_share": 0}, r"pilot_share: got 0.0. Give a number over 0"),
        ({"methods": ["forgetting"]}, "forgetting"),
        ({"keep": [0.001]}, "keep: got 0.001 of the"),
    ],
)
def test_what_is_refused(
    name: str, chats: str, tmp_path: Path, given: dict[str, Any], problem: str
) -> None:
    options: dict[str, Any] = {"target": {"model": name, "lr": 1e-3}, "run": tmp_path, **given}
    with pytest.raises(ParameterError, match=problem):
        keepers.advise(chats, **options)


def test_few_conversations_show_nothing(name: str, tmp_path: Path) -> None:
    path = tmp_path / "few.jsonl"
    path.write_text("\n".join(json.dumps(chat(at)) for at in range(49)))
    with pytest.raises(ParameterError, match="data: 49 conversations can show nothing"):
        keepers.advise(path, target=name, run=tmp_path / "run")


def test_target_examples_are_for_conversations(tmp_path: Path) -> None:
    with pytest.raises(ParameterError, match="similar_to: got a value, but the data are not conv"):
        keepers.advise("digits", similar_to="some.jsonl", run=tmp_path)
