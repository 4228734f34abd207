"""Irreducible losses that cannot be good: what is refused, and who hears of the rest."""

from __future__ import annotations

import warnings
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from torch.utils.data import TensorDataset

import keepers
from keepers.data import open_source
from keepers.data.text import are_tokens
from keepers.errors import DataError, KeepersError, KeepersWarning, ParameterError
from keepers.online import IrreducibleLosses, StepCost, online_facts, weaknesses
from keepers.workflows import sought

N, LENGTH = 60, 12
REFUSED = r"token ids .* a built-in model would treat as quantities\. Give the raw texts"


def tokens(padding: int = 0, *, left: bool = False) -> np.ndarray[Any, Any]:
    """Rows as a tokeniser gives them: a start, numbers up to 30,000, an end, padding."""
    draw = np.random.default_rng(0)
    rows = np.full((N, LENGTH), padding)
    for row, length in zip(rows, draw.integers(4, LENGTH + 1, N), strict=True):
        words = [101, *draw.integers(1000, 30_000, length - 2), 102]
        row[LENGTH - length if left else 0 :][:length] = words
    return rows


def labels() -> np.ndarray[Any, Any]:
    return np.arange(N) % 3


class Tokenised:
    """A map-style data set of (numbers, label)."""

    def __len__(self) -> int:
        return N

    def __getitem__(self, row: int) -> Any:
        return torch.from_numpy(tokens()[row]), int(labels()[row])


FORMS = {
    "arrays": lambda: (tokens(), labels()),
    "padding is 1": lambda: (tokens(1), labels()),
    "padding is a word": lambda: (tokens(29_999), labels()),
    "left": lambda: (tokens(left=True), labels()),
    "tensors": lambda: TensorDataset(torch.from_numpy(tokens()), torch.from_numpy(labels())),
    "items": Tokenised,
}


@pytest.mark.parametrize("form", FORMS)
def test_token_numbers_are_refused_with_the_way_round(form: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"data: the inputs look like {REFUSED}") as said:
        keepers.irreducible_losses(FORMS[form](), run=tmp_path / "run")
    assert "id='key'" in str(said.value)
    assert "A loop on tokens can use these losses" in str(said.value)


def test_a_column_of_tokens_is_refused_by_name(tmp_path: Path) -> None:
    rows = [{"input_ids": [5, 6, 7, 8], "extra": [1, 1], "y": int(y)} for y in labels()]
    datasets = pytest.importorskip("datasets")
    with pytest.raises(DataError, match=rf"data: the inputs of column 'input_ids' are {REFUSED}"):
        keepers.irreducible_losses(
            datasets.Dataset.from_list(rows), input="input_ids", label="y", run=tmp_path / "run"
        )


def test_every_workflow_refuses_them(tmp_path: Path) -> None:
    data: Any = tokens(), labels()
    with pytest.raises(DataError, match=REFUSED):
        keepers.coreset(data, method="entropy", run=tmp_path / "coreset")
    with pytest.raises(DataError, match=REFUSED):
        keepers.train(data, select="uniform", run=tmp_path / "train")


def test_numbers_that_are_quantities_are_taken() -> None:
    draw = np.random.default_rng(1)
    assert are_tokens(tokens())
    counts = draw.poisson(0.5, (N, LENGTH)) * 400  # zeros stand anywhere
    for values in (
        draw.normal(size=(N, LENGTH)),
        draw.integers(0, 256, (N, LENGTH)),
        draw.integers(0, 65_536, (N, LENGTH)),
        counts,
        np.where(tokens() == 0, np.nan, tokens()),
        -tokens(),
        tokens()[:, :3],
        np.zeros((N, LENGTH)),
    ):
        assert not are_tokens(values)


def test_tables_of_whole_numbers_are_quantities(tmp_path: Path) -> None:
    draw = np.random.default_rng(0)
    relapsed = draw.integers(0, 2, N)
    treated = relapsed * draw.integers(0, 2, N)  # rows end in zeros that stand nowhere else
    columns = [draw.integers(1, most, N) for most in (90, 5, 6000)] + [relapsed, treated]
    assert not are_tokens(np.stack(columns, 1))
    padded = np.zeros((N, 500), dtype=int)  # most columns are padding alone
    padded[:, :LENGTH] = tokens()
    assert are_tokens(padded)
    named = {f"measure {at}": column for at, column in enumerate(tokens().T)}
    table = pa.table({**named, "label": labels()})
    kept = keepers.coreset(table, method="margin", proxy="linear", keep=0.5, run=tmp_path)
    assert len(kept) == N // 2


def test_ids_of_tokens_and_a_model_of_ones_own_are_still_made(tmp_path: Path) -> None:
    class Bag(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.bag = nn.EmbeddingBag(30_000, 3, padding_idx=0)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.bag(x.long())

    data = TensorDataset(torch.from_numpy(tokens()), torch.from_numpy(labels()))
    with pytest.warns(KeepersWarning, match="the irreducible-loss model is right on"):
        losses = keepers.irreducible_losses(data, model=Bag(), run=tmp_path)
    ids = torch.tensor([item[2] for item in keepers.with_ids(data)])
    assert bool(losses.numbering.positions(ids)[1].all())


QUALITY: dict[str, Any] = {
    "accuracy": 0.034,
    "majority": 0.02,
    "calibration_error": 0.01,
    "confidence": 0.03,
}


def test_a_loop_says_that_its_losses_are_weak() -> None:
    losses = IrreducibleLosses.given(range(4), [0.1, 0.2, 0.3, 0.4])
    losses.metadata["quality"] = QUALITY
    (weakness,) = weaknesses(QUALITY)
    assert weakness.startswith("the irreducible-loss model is right on 3% of held-out data,")
    with pytest.warns(KeepersWarning) as said:
        keepers.RhoLoss(losses)
    assert [str(each.message) for each in said] == [f"losses: {weakness}"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        keepers.BatchSelector("loss", losses)  # which has no use for them
        keepers.RhoLoss(IrreducibleLosses.given(range(4), [0.1, 0.2, 0.3, 0.4]))


def test_python_hears_what_the_command_line_does(tmp_path: Path) -> None:
    draw = np.random.default_rng(2)
    data = draw.normal(size=(N, 4)).astype(np.float32), labels()  # nothing to learn
    said: list[str] = []
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        keepers.irreducible_losses(
            data, model="logistic", epochs=10, run=tmp_path / "a", say=said.append
        )
    expected = [each.removeprefix("Warning: ") for each in said if each.startswith("Warning: ")]
    assert expected
    with pytest.warns(KeepersWarning) as heard:
        keepers.irreducible_losses(data, model="logistic", epochs=10, run=tmp_path / "b")
    assert [str(each.message) for each in heard] == expected
    assert issubclass(KeepersWarning, UserWarning)
    assert not issubclass(KeepersWarning, KeepersError)


# Does it pay? -------------------------------------------------------------------------------

GOOD: dict[str, Any] = QUALITY | {"accuracy": 0.95, "confidence": 0.95}


def probabilities(redundant: int, useful: int, wrong: int) -> torch.Tensor:
    return -torch.tensor([0.9] * redundant + [0.5] * useful + [0.02] * wrong).log()


def test_the_facts_by_hand() -> None:
    facts = online_facts(probabilities(72, 25, 3), GOOD, keep=0.1, ratio=3.0)
    assert (facts.redundant, facts.unlearnable) == (0.72, 0.03)
    assert facts.speedup == pytest.approx(4.0)  # a quarter is worth a step
    assert facts.pays
    assert facts.sentences() == [
        "72% of the examples are redundant to the irreducible-loss model, and 3% have labels "
        "that are wrong or too hard for it: a step on the rest is worth at most 4.0 plain steps",
        "Selecting can pay: a selecting step costs 3.0 plain steps and saves at most 4.0",
    ]
    slow = online_facts(probabilities(72, 25, 3), GOOD, keep=0.1, ratio=5.0)
    assert not slow.pays
    assert (facts.outlook, slow.outlook) == ("can pay", "does not pay")
    assert slow.why.startswith("selecting does not pay: a selecting step costs 5.0 plain steps")
    assert not online_facts(probabilities(72, 25, 3), GOOD, keep=0.1).pays  # 4.33, unmeasured
    near = online_facts(probabilities(72, 25, 3), GOOD, keep=0.1, ratio=3.9)
    assert (near.outlook, near.pays) == ("cannot tell", False)  # a step is timed no better
    noisy = online_facts(probabilities(60, 25, 15), GOOD, keep=0.1)
    assert noisy.pays
    assert noisy.outlook == "can pay in accuracy"
    assert "in accuracy, by leaving out labels that seem wrong" in noisy.why
    assert online_facts(probabilities(100, 0, 0), GOOD, keep=0.2).speedup == pytest.approx(5.0)


def test_weak_losses_do_not_pay_and_an_early_end_alone_is_no_weakness() -> None:
    values = probabilities(90, 5, 5)
    weak = online_facts(values, QUALITY, keep=0.1, ratio=1.5)
    assert not weak.pays
    assert weak.outlook == "cannot tell"
    assert "Whether selecting pays cannot be told: the irreducible-loss model is right on 3%" in (
        str(weak.sentences())
    )
    assert online_facts(values, GOOD | {"checked_losses": [[0.5, 0.2]]}, keep=0.1).pays
    unknown = online_facts(values, {}, keep=0.1, ratio=1.5)
    assert (unknown.pays, unknown.outlook) == (False, "cannot tell")
    assert "the quality of these losses is unknown" in unknown.why
    other = QUALITY | {"score": "average precision", "calibration_error": None, "confidence": None}
    told = online_facts(values, other, keep=0.1, ratio=1.5)
    assert (told.pays, told.outlook) == (False, "cannot tell")
    assert told.why.startswith(
        "whether selecting pays cannot be told: for several labels and for numbers the losses do "
        "not tell that beforehand. Where targets were right rho-loss was no better"
    )


def easy(n: int = 240, noise: float = 0.0) -> tuple[Any, Any]:
    draw = np.random.default_rng(3)
    y = np.arange(n) % 3
    x = draw.normal(size=(n, 4)) * (0.3 if not noise else 3.0)
    x[np.arange(n), y] += 2
    return x.astype(np.float32), y


def test_auto_is_uniform_where_it_cannot_pay_to_the_bit(tmp_path: Path) -> None:
    given: dict[str, Any] = {"model": "logistic", "il_epochs": 6, "steps": 8, "device": "cpu"}
    said: list[str] = []
    result = keepers.train(
        easy(noise=1.0), select="auto", run=tmp_path / "a", say=said.append, **given
    )
    assert "auto: every step is uniform" in said
    assert result.metadata["select"] == "auto"
    assert result.metadata["selected_by"] == "uniform"
    assert result.metadata["online_facts"]["pays"] is False
    again = keepers.train(easy(noise=1.0), select="auto", run=tmp_path / "a", **given)
    assert again.metadata["online_facts"] == result.metadata["online_facts"]
    plain = keepers.train(easy(noise=1.0), select="uniform", run=tmp_path / "b", **given)
    one, other = load_file(result.weights), load_file(plain.weights)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_auto_is_rho_loss_where_it_can(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StepCost, "ratio", property(lambda _: 1.5))
    given: dict[str, Any] = {"model": "logistic", "il_epochs": 30, "steps": 8, "device": "cpu"}
    found = keepers.train(easy(), select="auto", run=tmp_path / "a", **given)
    named = keepers.train(easy(), select="rho-loss", run=tmp_path / "b", **given)
    assert found.metadata["selected_by"] == "rho-loss"
    one, other = load_file(found.weights), load_file(named.weights)
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_auto_holds_no_part_of_the_data_out(tmp_path: Path) -> None:
    """With less to train on rho-loss ended below uniform steps, and uniform steps would too."""
    given: dict[str, Any] = {"model": "logistic", "steps": 8, "device": "cpu"}
    plain = load_file(keepers.train(easy(), select="uniform", run=tmp_path / "a", **given).weights)
    part = keepers.irreducible_losses(easy(), holdout=0.2, epochs=1, run=tmp_path / "b")
    other = keepers.irreducible_losses(
        easy(), holdout=(easy()[0] + 0.01, easy()[1]), epochs=1, run=tmp_path / "c"
    )
    assert (part.origin, other.origin) == ("part", "others")
    hows: tuple[dict[str, Any], ...] = ({"holdout": 0.2, "il_epochs": 1}, {"il": part})
    for number, how in enumerate(hows):
        said: list[str] = []
        auto = keepers.train(
            easy(), select="auto", run=tmp_path / f"{number}", say=said.append, **how, **given
        )
        assert any("uniform: the losses are by a part of the data" in each for each in said)
        assert (auto.metadata["selected_by"], auto.metadata["trained_on"]) == ("uniform", 240)
        assert not auto.made_losses
        weights = load_file(auto.weights)
        assert all(torch.equal(weights[name], plain[name]) for name in plain)
    named = keepers.train(easy(), select="rho-loss", il=part, run=tmp_path / "d", **given)
    assert (named.metadata["selected_by"], named.metadata["trained_on"]) == ("rho-loss", 192)
    with pytest.warns(KeepersWarning, match="by a part of the data"):
        assert keepers.BatchSelector("auto", part, keep=0.1).ended is not None


@pytest.mark.parametrize("select", ["loss", "rho-loss"])
def test_fewer_examples_than_a_batch_are_selected_from(select: str, tmp_path: Path) -> None:
    found = keepers.train(easy(40), select=select, epochs=2, run=tmp_path / "a", device="cpu")
    assert found.metadata["costs"][-1]["steps"] == 2
    assert found.metadata["step_cost"]["candidates"] == 40


def test_losses_of_another_type_are_refused(tmp_path: Path) -> None:
    given: Any = {"a": 1.0}
    with pytest.raises(ParameterError, match=r"il: got dict\. Give the path of a Parquet file"):
        keepers.train(easy(), il=given, run=tmp_path / "a")


def test_auto_makes_no_losses_of_data_that_are_seen_often(tmp_path: Path) -> None:
    """By folds they lose to uniform steps there (benchmarks/many_online.py)."""
    given: dict[str, Any] = {"model": "logistic", "il_epochs": 6, "device": "cpu"}
    for length in ({"epochs": 2}, {"steps": 200}, {}):
        said: list[str] = []
        run = tmp_path / f"{length}"
        found = keepers.train(easy(), run=run, say=said.append, **length, **given)
        assert found.metadata["select"] == "auto"  # by default
        assert any(each.startswith("auto: every step is uniform: the losses") for each in said)
        assert found.metadata["selected_by"] == "uniform"
        assert (found.metadata["online_facts"], found.made_losses) == (None, False)
        assert not (run / "il.parquet").exists()
        assert {"irreducible-loss training"}.isdisjoint(c["phase"] for c in found.metadata["costs"])
        plain = keepers.train(easy(), select="uniform", run=tmp_path / "b", **length, **given)
        one, other = load_file(found.weights), load_file(plain.weights)
        assert all(torch.equal(one[name], other[name]) for name in one)
    said = []
    named = keepers.train(
        easy(), select="rho-loss", run=tmp_path / "c", epochs=2, say=said.append, **given
    )
    assert named.metadata["selected_by"] == "rho-loss"
    assert any("by folds of the data themselves" in each for each in said)


def test_auto_trusts_losses_by_a_model_of_other_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(StepCost, "ratio", property(lambda _: 1.5))
    given: dict[str, Any] = {"model": "logistic", "il_epochs": 30, "epochs": 2, "device": "cpu"}
    other = easy()[0] + 0.01, easy()[1]
    found = keepers.train(easy(), select="auto", holdout=other, run=tmp_path / "a", **given)
    assert found.metadata["selected_by"] == "rho-loss"
    own = keepers.irreducible_losses(easy(), epochs=30, run=tmp_path / "b")
    given = {"model": "logistic", "epochs": 2, "device": "cpu"}
    found = keepers.train(easy(), select="auto", il=own, run=tmp_path / "c", **given)
    assert found.metadata["selected_by"] == "uniform"
    few = {"model": "logistic", "steps": 8, "device": "cpu"}
    found = keepers.train(easy(), select="auto", il=own, run=tmp_path / "d", **few)
    assert found.metadata["selected_by"] == "rho-loss"
    with pytest.warns(KeepersWarning, match="by folds of the data themselves"):
        assert keepers.BatchSelector("auto", own, keep=0.1).ended is not None


def test_auto_in_a_loop() -> None:
    good, weak = (
        IrreducibleLosses(
            ids=np.arange(100), values=probabilities(90, 5, 5), metadata={"quality": quality}
        )
        for quality in (GOOD, QUALITY)
    )
    assert keepers.BatchSelector("auto", good, keep=0.1).ended is None
    with pytest.warns(KeepersWarning, match="Uniform steps from the start: whether selecting"):
        choose = keepers.BatchSelector("auto", weak, keep=0.1)
    assert choose.ended is not None
    assert choose.ended.step == 0
    batch = torch.zeros(40, 2), torch.zeros(40).long(), torch.arange(40)
    first = choose(nn.Identity(), batch)
    assert len(set(first.ids.tolist())) == 4
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", KeepersWarning)
        restored = keepers.BatchSelector("auto", weak, keep=0.1)
    restored.load_state_dict(choose.state_dict())
    assert restored.ended == choose.ended
    following = restored(nn.Identity(), batch).ids.tolist()
    assert not set(following) & set(first.ids.tolist())
    assert following == choose(nn.Identity(), batch).ids.tolist()
    with pytest.raises(ParameterError, match=r"keep: got the count 4 for auto\. Give a fraction"):
        keepers.BatchSelector("auto", good, keep=4)
    with pytest.raises(ParameterError, match="losses: got none, but rho-loss needs"):
        keepers.BatchSelector("auto", keep=0.1)
    with pytest.raises(ParameterError, match="methods: got 'auto', which is rho-loss or uniform"):
        keepers.compare_online(easy(), test=0.2, methods=["auto"])


def test_losses_in_the_place_of_others_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def made(shift: float, seed: int) -> Any:
        values = torch.arange(5.0) + shift
        return SimpleNamespace(
            losses=IrreducibleLosses(ids=np.arange(5), values=values, metadata={"seed": seed})
        )

    said: list[str] = []
    place: Any = SimpleNamespace(run=SimpleNamespace(path=tmp_path), say=said.append)
    config = sought.IrreducibleConfig()
    for losses in (made(0, 0), made(0, 0), made(1, 3), made(2, 3)):
        monkeypatch.setattr(sought, "make_losses", lambda *_, losses=losses: losses)
        sought.Sought(il=None, holdout=None, config=config).of(open_source("digits"), place, None)
    file = tmp_path / "il.parquet"
    held = f"{file} held other irreducible losses"
    end = "and holds these now: another --run keeps both"
    assert said == [f"{held}, with seed 0 (now 3), {end}", f"{held}, {end}"]
    assert IrreducibleLosses.load(file).values[0] == 2
