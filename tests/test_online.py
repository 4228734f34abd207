"""The parts of online selection: batches, numbers for ids, irreducible losses, modes, scoring."""

from __future__ import annotations

import time
from collections import OrderedDict, UserDict, defaultdict, namedtuple
from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import keepers
from keepers.data import open_source
from keepers.errors import DataError, KeepersError, ParameterError, RunError
from keepers.online import (
    InProcess,
    IrreducibleLosses,
    Numbering,
    Scored,
    Scorer,
    Scoring,
    Selector,
    WithIds,
    number,
    read_batch,
    scoring_mode,
)
from keepers.online.batch import cut_batch
from keepers.online.numbering import DENSE, as_numbers
from keepers.tasks.classes import check_logits, cross_entropy
from keepers.training import Arguments, Candidates
from keepers.types import Signals

X, Y, IDS = torch.arange(12.0).reshape(4, 3), torch.tensor([0, 1, 0, 1]), [10, 11, 12, 13]
ROWS = torch.tensor([3, 1])
Pair = namedtuple("Pair", ["inputs", "labels", "ids"])


def candidates(x: Tensor, labels: Tensor, version: int = 0) -> Candidates:
    def cut(rows: Tensor) -> Arguments:
        return (x[rows],), {}

    return Candidates(
        positions=torch.arange(len(x)), labels=labels, args=(x,), cut=cut, version=version
    )


class TestBatches:
    @pytest.mark.parametrize("container", [tuple, list, lambda parts: Pair(*parts)])
    def test_sequences_keep_their_type(self, container: Callable[[Any], Any]) -> None:
        batch = container((X, Y, IDS))
        parts = read_batch(batch)
        assert torch.equal(parts.args[0], X)
        assert torch.equal(parts.labels, Y)
        chosen = cut_batch(batch, ROWS, 4)
        assert type(chosen) is type(batch)
        assert torch.equal(chosen[0], X[[3, 1]])
        assert chosen[2] == [13, 11]

    @pytest.mark.parametrize(
        "container",
        [
            dict,
            OrderedDict,
            UserDict,
            lambda parts: defaultdict(list, parts),
            MappingProxyType,
        ],
    )
    def test_mappings_keep_their_type(self, container: Callable[[Any], Any]) -> None:
        batch = container({"x": X, "mask": X > 2, "labels": Y, "id": torch.tensor(IDS)})
        parts = read_batch(batch)
        assert list(parts.keywords or {}) == ["x", "mask"]
        chosen = cut_batch(batch, ROWS, 4)
        expected = dict if container is MappingProxyType else type(batch)
        assert type(chosen) is expected
        assert torch.equal(chosen["mask"], (X > 2)[[3, 1]])
        assert chosen["id"].tolist() == [13, 11]
        assert torch.equal(batch["x"], X)

    def test_a_batch_encoding_of_transformers(self) -> None:
        encoding = pytest.importorskip("transformers").BatchEncoding
        batch = encoding(
            {"input_ids": X.long(), "attention_mask": X.long(), "labels": Y, "id": IDS}
        )
        parts = read_batch(batch)
        assert list(parts.keywords or {}) == ["input_ids", "attention_mask"]
        chosen = cut_batch(batch, ROWS, 4)
        assert type(chosen) is encoding
        assert chosen["input_ids"].tolist() == [[9, 10, 11], [3, 4, 5]]
        assert chosen["id"] == [13, 11]

    def test_one_other_key_is_the_model_s_only_argument(self) -> None:
        parts = read_batch({"image": X, "label": [0, 1, 0, 1], "example_id": IDS})
        assert torch.equal(parts.args[0], X)
        assert parts.labels.dtype == torch.int64
        assert not parts.keywords

    def test_arrays_and_texts_are_cut(self) -> None:
        batch = (X.numpy(), ["a", "b", "c", "d"], Y, np.array(IDS))
        chosen = cut_batch(batch, ROWS, 4)
        assert chosen[0].tolist() == X[[3, 1]].tolist()
        assert chosen[1] == ["d", "b"]
        assert chosen[3].tolist() == [13, 11]

    def test_a_batch_of_as_many_rows_as_parts_is_no_list_of_rows(self) -> None:
        batch = [["a", "b", "c"], [0, 1, 0], [7, 8, 9]]
        chosen = cut_batch(batch, torch.tensor([2]), 3)
        assert chosen == [["c"], [0], [9]]
        two = [[X[:2], X[2:]], Y[:2], IDS[:2]]  # two inputs, two rows
        assert torch.equal(cut_batch(two, torch.tensor([1]), 2)[0][1], X[3:])

    def test_a_list_of_inputs_of_several_sizes_is_cut_by_example(self) -> None:
        ragged = [torch.zeros(size) for size in (5, 6, 7, 8)]
        chosen = cut_batch((ragged, Y, IDS), ROWS, 4)
        assert [len(part) for part in chosen[0]] == [8, 6]

    def test_what_has_not_a_row_for_each_example_stays(self) -> None:
        batch = {"x": X, "labels": Y, "id": IDS, "scale": torch.tensor(2.0), "names": ["all"]}
        chosen = cut_batch(batch, ROWS, 4)
        assert (chosen["scale"], chosen["names"]) == (torch.tensor(2.0), ["all"])

    def test_labels_and_ids_beside_the_batch(self) -> None:
        assert torch.equal(read_batch(X, labels=Y, ids=IDS).args[0], X)
        assert len(read_batch((X, Y), ids=IDS).args) == 1
        assert len(read_batch((X, X), labels=Y, ids=IDS).args) == 2
        assert read_batch({"x": X, "labels": Y}, ids=IDS).ids is IDS

    @pytest.mark.parametrize(
        ("batch", "message"),
        [
            (X, "batch: got Tensor, so there is no place for the ids"),
            ((X, Y), r"batch: got 2 parts.*Give \(inputs, labels, ids\).*keepers.with_ids"),
            ({"x": X, "labels": Y}, r"got keys 'x', 'labels', but none for ids \(id, ids"),
            ({"x": X, 7: Y, "id": IDS}, r"got keys 'x', 7, but none for labels \(labels"),
            (
                (X, ["cat", "dog"], IDS),
                "labels: got list, which cannot become a tensor .*. Give one class",
            ),
        ],
    )
    def test_what_is_missing_is_said(self, batch: Any, message: str) -> None:
        with pytest.raises(ParameterError, match=message):
            read_batch(batch)


class TestNumbering:
    def test_positions_are_those_of_the_ids(self) -> None:
        ids = np.array([5, 2**53 + 1, -3, 2**24 + 1, 2**53])
        numbering = Numbering(ids)
        positions, known = numbering.positions(torch.tensor([2**53, 2**53 + 1, 6, -3, 2**62]))
        assert positions[known].tolist() == [4, 1, 2]
        assert known.tolist() == [True, True, False, True, False]

    @pytest.mark.parametrize("spread", [1, DENSE - 1, DENSE + 1, 2**50])
    def test_a_lookup_says_what_the_search_says(self, spread: int) -> None:
        ids = spread * torch.randperm(50, generator=torch.Generator().manual_seed(0))
        numbering = Numbering(ids.numpy())
        positions, known = numbering.lookup(ids[[3, 40, 3]])
        assert positions.tolist() == [3, 40, 3]
        assert known is None
        for other in (50 * spread, -1, 2**62, -(2**62)):
            wanted = torch.tensor([int(ids[7]), other])
            positions, known = numbering.lookup(wanted)
            assert positions[0] == 7
            assert known is not None
            assert known.tolist() == [True, False]
        holes = Numbering(np.array([0, 2, 9]))
        assert holes.lookup([9, 1])[1].tolist() == [True, False]  # type: ignore[union-attr]

    def test_text_and_its_number_are_one_id(self) -> None:
        numbering = Numbering(np.array(["b", "a", "ü"], dtype=object))
        assert numbering.positions(["ü", "b"])[0].tolist() == [2, 0]
        assert numbering.positions(torch.tensor([number("a")]))[0].tolist() == [1]
        assert numbering.positions(np.array(["a", "ä"]))[1].tolist() == [True, False]

    @pytest.mark.parametrize(
        ("ids", "message"),
        [
            (torch.tensor([1.0]), r"ids: got torch.float32 of shape \(1,\)"),
            (torch.tensor([1.0], dtype=torch.bfloat16), "ids: got torch.bfloat16"),
            (torch.tensor([[1]]), r"ids: got torch.int64 of shape \(1, 1\)"),
            (torch.tensor([True]), "ids: got torch.bool"),
            ([1, 2.0], "ids: got 2.0 among them"),
            ([1, None], "ids: got None among them"),
            ([True], "ids: got True among them"),
            ([2**63], f"ids: got {2**63} among them"),
            (np.array([2**64 - 1], dtype=np.uint64), f"ids: got {2**64 - 1} among them"),
            ("abc", "ids: got str. Give one integer"),
            (7, "ids: got int. Give one integer"),
            (np.array([1.5]), "ids: got 1.5 among them"),
        ],
    )
    def test_other_ids_are_refused(self, ids: Any, message: str) -> None:
        with pytest.raises(ParameterError, match=message):
            as_numbers(ids)

    def test_an_id_twice_is_named(self) -> None:
        with pytest.raises(DataError, match="id: 'a' comes twice"):
            Numbering(np.array(["a", "b", "a"], dtype=object))
        both = np.array(["a", number("a")], dtype=object)
        with pytest.raises(DataError, match=rf"id: 'a' and {number('a')} cannot be told apart"):
            Numbering(both)

    def test_a_million_ids_are_numbered_and_hashed_soon(self) -> None:
        text = np.array([f"example-{i}" for i in range(1_000_000)], dtype=object)
        start = time.process_time()
        Numbering(text)
        assert time.process_time() - start < 4  # 1.5 s on a quiet machine
        losses = IrreducibleLosses.given(np.arange(1_000_000), torch.zeros(1_000_000))
        start = time.process_time()
        assert losses.fingerprint
        assert time.process_time() - start < 1


class TestWithIds:
    DATA = ((torch.tensor([0.0, 1.0]), 0), (torch.tensor([1.0, 2.0]), 1))

    def test_ids_follow_the_examples(self) -> None:
        data = list(self.DATA)
        source = open_source(data)
        losses = IrreducibleLosses(ids=source.ids, values=torch.tensor([0.1, 0.2]))
        for order in (data, data[::-1]):
            carried = [item[2] for item in (WithIds(order)[0], WithIds(order)[1])]
            positions, known = losses.numbering.positions(carried)
            assert known.all()
            firsts = [float(x[0]) for x, _ in order]
            rows = [int(row) for row in source.rows[positions.numpy()]]
            assert [float(data[row][0][0]) for row in rows] == firsts

    def test_items_that_are_mappings_get_a_key(self) -> None:
        datasets = pytest.importorskip("datasets")
        data = datasets.Dataset.from_dict({"text": ["a b", "c d"], "label": [0, 1]})
        item = WithIds(data)[1]
        assert item["text"] == "c d"
        assert isinstance(item["id"], int)


class TestIrreducibleLosses:
    @pytest.mark.parametrize("ids", [[3, 2**53 + 1, 7], ["c", "a", "b"]])
    @pytest.mark.parametrize("labelled", [True, False])
    def test_a_file_gives_back_what_was_saved(
        self, tmp_path: Path, ids: list[Any], labelled: bool
    ) -> None:
        made = IrreducibleLosses.given(ids, [0.25, 1e-7, 3.0])
        labels = np.array(["cat", "dog", "cat"], dtype=object) if labelled else None
        losses = IrreducibleLosses(
            ids=made.ids, values=made.values, labels=labels, metadata={"quality": {"loss": 0.5}}
        )
        found = IrreducibleLosses.load(losses.save(tmp_path / "il.parquet"))
        assert found.ids.tolist() == ids
        assert torch.equal(found.values, losses.values)
        assert (found.labels is None) != labelled
        assert found.fingerprint == losses.fingerprint
        assert found.quality == {"loss": 0.5}
        assert IrreducibleLosses.load(found.save(tmp_path / "again.parquet")).quality

    def test_ids_may_be_arrays_or_tensors(self) -> None:
        for ids in (np.array([1, 2], dtype=np.int32), torch.tensor([1, 2]), np.array(["1", "2"])):
            assert len(IrreducibleLosses.given(ids, np.array([0.5, 0.25]))) == 2

    def test_an_existing_file_is_kept(self, tmp_path: Path) -> None:
        losses = IrreducibleLosses.given([1], [0.5])
        losses.save(tmp_path / "il.parquet")
        with pytest.raises(RunError, match=r"il.parquet exists. Pass --overwrite"):
            losses.save(tmp_path / "il.parquet")
        losses.save(tmp_path / "il.parquet", overwrite=True)

    @pytest.mark.parametrize(
        ("ids", "values", "message"),
        [
            ([1, 2], [0.1], r"losses: got \{'ids': 2, 'values': 1\}"),
            ([1], [[0.1]], "losses: got .*Give one value for each id"),
            ([1], 0.1, "losses: got .*Give one value for each id"),
            ([], [], "losses: got none"),
            ([4, 5, 6], [0.1, float("nan"), float("inf")], r"2 values .* those of \[5, 6\]"),
            ([1, 1], [0.1, 0.2], "id: 1 comes twice"),
            (["a", "b", "a"], [0.1, 0.2, 0.3], "id: 'a' comes twice"),
        ],
    )
    def test_values_that_cannot_be_used(self, ids: Any, values: Any, message: str) -> None:
        with pytest.raises(DataError, match=message):
            IrreducibleLosses.given(ids, values)

    @pytest.mark.parametrize("ids", [[1.0, 2.0], torch.tensor([1.0, 2.0]), [None, 1], [True, 2]])
    def test_ids_that_are_no_integers_or_strings(self, ids: Any) -> None:
        with pytest.raises(ParameterError, match=r"ids: got .*integer"):
            IrreducibleLosses.given(ids, [0.1, 0.2])

    def test_other_data_and_changed_labels_are_refused_by_id(self) -> None:
        x = np.arange(8.0).reshape(4, 2)
        source = open_source((x, np.array(["a", "b", "a", "b"])))
        names = np.array(source.class_names, dtype=object)[source.labels]
        losses = IrreducibleLosses(ids=source.ids, values=torch.arange(4.0), labels=names)
        turned = open_source((x[::-1].copy(), np.array(["b", "a", "b", "a"])))
        assert losses.of(turned).tolist() == losses.of(source).tolist() == [0, 1, 2, 3]

        changed = open_source((x, np.array(["a", "a", "a", "b"])))
        which = source.ids[source.rows == 1][0]
        with pytest.raises(ParameterError, match=f"il: 1 of 4.*another label.*{which}"):
            losses.of(changed)
        other = open_source((x + 1, np.array(["a", "b", "a", "b"])))
        with pytest.raises(ParameterError, match=r"il: 4 of 4 .* no irreducible loss.*Compute"):
            losses.of(other)

    def write(self, path: Path, **columns: Any) -> Path:
        pq.write_table(pa.table(columns), path)
        return path

    @pytest.mark.parametrize(
        ("columns", "message"),
        [
            ({"id": [1]}, "il: .* has no column 'irreducible_loss', only id"),
            ({"key": [1], "irreducible_loss": [0.5]}, "has no column 'id'"),
            ({"id": [1, None], "irreducible_loss": [0.5, 0.5]}, "il: 1 row of .* without an id"),
            ({"id": [1, 2], "irreducible_loss": [0.5, None]}, r"1 values are missing.*\[2\]"),
            ({"id": [1.5], "irreducible_loss": [0.5]}, "column 'id' of .* holds double"),
            ({"id": [1], "irreducible_loss": ["0.5"]}, "'irreducible_loss' of .* holds string"),
            ({"id": [1, 1], "irreducible_loss": [0.5, 0.5]}, "il: id: 1 comes twice"),
        ],
    )
    def test_files_that_cannot_be_used(
        self, tmp_path: Path, columns: dict[str, Any], message: str
    ) -> None:
        path = self.write(tmp_path / "il.parquet", **columns)
        with pytest.raises(DataError, match=message):
            IrreducibleLosses.load(path)

    def test_no_file_and_no_parquet(self, tmp_path: Path) -> None:
        with pytest.raises(DataError, match=r"il: there is no file .*Make one with 'keepers il'"):
            IrreducibleLosses.load(tmp_path / "none.parquet")
        (tmp_path / "text.parquet").write_text("id,irreducible_loss")
        with pytest.raises(DataError, match=r"il: cannot read .* as Parquet"):
            IrreducibleLosses.load(tmp_path / "text.parquet")

    @pytest.mark.parametrize("column", ["id", "irreducible_loss", "label"])
    def test_a_file_that_was_changed_is_refused(self, tmp_path: Path, column: str) -> None:
        losses = IrreducibleLosses(
            ids=np.array([1, 2]),
            values=torch.tensor([0.5, 0.25]),
            labels=np.array(["a", "b"], dtype=object),
        )
        table = pq.read_table(losses.save(tmp_path / "il.parquet"))
        other = {"id": pa.array([1, 3]), "irreducible_loss": pa.array([0.5, 0.0], pa.float32())}
        other["label"] = pa.array(["b", "b"])
        index = table.column_names.index(column)
        pq.write_table(table.set_column(index, column, other[column]), tmp_path / "il.parquet")
        with pytest.raises(DataError, match=r"il: .* is damaged, or was changed by another"):
            IrreducibleLosses.load(tmp_path / "il.parquet")

    def test_a_file_made_elsewhere(self, tmp_path: Path) -> None:
        path = self.write(tmp_path / "x.parquet", id=["a", "b"], irreducible_loss=[1, 2])
        assert IrreducibleLosses.load(path).values.tolist() == [1.0, 2.0]


def network() -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(
            nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5), nn.Linear(8, 4)
        )


def inputs(n: int = 20) -> tuple[Tensor, Tensor]:
    draw = torch.Generator().manual_seed(1)
    return torch.randn(n, 3, generator=draw), torch.randint(4, (n,), generator=draw)


def buffers(module: nn.Module) -> list[Tensor]:
    return [value.clone() for value in module.state_dict().values()]


def same(left: list[Tensor], right: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(left, right, strict=True))


def losses_by(module: nn.Module, **scoring: Any) -> Tensor:
    x, labels = inputs()
    scorer = InProcess(module=module, scoring=Scoring(**scoring))
    return scorer.score(candidates(x, labels), frozenset({"losses"})).signals.get("losses")


class TestModes:
    @pytest.mark.parametrize("batch_norm", ["batch", "eval"])
    @pytest.mark.parametrize("training", [True, False])
    def test_scoring_leaves_the_module_as_it_was(self, batch_norm: Any, training: bool) -> None:
        module = network().train(training)
        module(inputs()[0] * 3)
        before, modes = buffers(module), [part.training for part in module.modules()]
        random = torch.get_rng_state()
        losses_by(module, batch_norm=batch_norm)
        losses_by(module, batch_norm=batch_norm, dropout=True)
        assert same(before, buffers(module))
        assert [part.training for part in module.modules()] == modes
        assert module[1].track_running_stats
        assert torch.equal(random, torch.get_rng_state())

    def test_statistics_are_of_all_candidates(self) -> None:
        module, (x, labels) = network(), inputs()
        hidden = x @ module[0].weight.T + module[0].bias
        normal = (hidden - hidden.mean(0)) / (hidden.var(0, unbiased=False) + 1e-5).sqrt()
        expected = F.cross_entropy(
            normal.clamp(min=0) @ module[4].weight.T + module[4].bias, labels, reduction="none"
        )
        for policy in ("batch", "batch-and-update"):
            torch.testing.assert_close(losses_by(module, batch_norm=policy), expected)

    def test_batch_and_update_moves_them_as_training_does(self) -> None:
        module, twin = network(), network().train()
        twin(inputs()[0])
        losses_by(module, batch_norm="batch-and-update")
        assert same([*module[1].buffers()], [*twin[1].buffers()])
        assert int(module[1].num_batches_tracked) == 1

    def test_eval_takes_the_running_ones(self) -> None:
        module, (x, labels) = network().train(), inputs()
        module(x * 5)
        found = losses_by(module, batch_norm="eval")
        expected = F.cross_entropy(module.eval()(x), labels, reduction="none")
        torch.testing.assert_close(found, expected)

    def test_a_frozen_layer_stays_frozen(self) -> None:
        module, (x, labels) = network().train(), inputs()
        module(x * 5)
        module[1].eval()
        found = losses_by(module, batch_norm="batch")
        assert not module[1].training
        expected = F.cross_entropy(module.eval()(x), labels, reduction="none")
        torch.testing.assert_close(found, expected)

    def test_dropout_is_off_unless_asked(self) -> None:
        module = network().train()
        assert torch.equal(losses_by(module), losses_by(module))
        dropped = losses_by(module, dropout=True)
        assert not torch.equal(dropped, losses_by(module))
        torch.rand(3)
        assert torch.equal(dropped, losses_by(module, dropout=True))  # by seed and step

    def test_an_error_inside_leaves_the_module_as_it_was(self) -> None:
        module, random = network().train(), torch.get_rng_state()

        def fail() -> None:
            with scoring_mode(module, seed=3):
                module(torch.rand(2, 5))

        with pytest.raises(RuntimeError, match="shapes cannot be multiplied"):
            fail()
        assert all(part.training for part in module.modules())
        assert module[1].track_running_stats
        assert torch.equal(random, torch.get_rng_state())

    def test_gradients_survive_scoring_inside_autocast(self) -> None:
        module, (x, labels) = network().train(), inputs()
        with torch.autocast("cpu", torch.bfloat16):
            losses_by(module)
            loss = F.cross_entropy(module(x).float(), labels)
        loss.backward()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in module[4].parameters())
        assert not any(p.grad is not None and p.grad.isnan().any() for p in module.parameters())


class Half(nn.Module):
    """Takes pictures of any size; remembers what it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(1, 4)
        self.seen: list[tuple[int, ...]] = []
        self.dtypes: list[torch.dtype] = []

    def forward(self, x: Tensor) -> Tensor:
        self.seen.append(tuple(x.shape))
        out = self.linear(x.flatten(1).mean(1, keepdim=True))
        self.dtypes.append(out.dtype)
        return out


class TestScoring:
    @pytest.mark.parametrize(
        ("given", "message"),
        [
            ({"batch_norm": "train"}, "batch_norm: got 'train', which is not known. Known: batch,"),
            ({"precision": "fp8"}, "precision: got 'fp8'"),
            ({"part": 0.0}, r"part: got 0.0. Give a fraction in \(0, 1\]"),
            ({"max_age": -1}, "max_age: got -1. Give 0 or more"),
            ({"samples": 0}, "samples: got 0. Give 1 or more"),
            ({"resolution": 0}, "resolution: got 0. Give a side in pixels"),
        ],
    )
    def test_settings_out_of_range(self, given: dict[str, Any], message: str) -> None:
        with pytest.raises(ParameterError, match=message):
            Scoring(**given)

    def score(self, module: nn.Module, x: Tensor, **scoring: Any) -> Tensor:
        scorer = InProcess(module=module, scoring=Scoring(**scoring))
        labels = torch.zeros(len(x), dtype=torch.int64)
        return scorer.score(candidates(x, labels), frozenset({"losses"})).signals.get("losses")

    def test_precision(self) -> None:
        module, x = Half(), torch.rand(4, 1, 6, 6)
        full = self.score(module, x)
        self.score(module, x, precision="bf16")
        with torch.autocast("cpu", torch.bfloat16):
            self.score(module, x)
            again = self.score(module, x, precision="fp32")
        assert module.dtypes == [torch.float32, torch.bfloat16, torch.bfloat16, torch.float32]
        assert torch.equal(full, again)
        assert self.score(module, x, precision="bf16").dtype == torch.float32

    def test_resolution(self) -> None:
        module, x = Half(), torch.rand(4, 1, 6, 6)
        shrunk = self.score(module, x, resolution=3)
        assert module.seen == [(4, 1, 3, 3)]
        torch.testing.assert_close(shrunk, self.score(module, x))  # a mean of means is the mean
        self.score(module, x, resolution=8)
        assert module.seen[-1] == (4, 1, 6, 6)
        with pytest.raises(ParameterError, match="resolution: got 3, but no input is a picture"):
            self.score(module, x.flatten(1), resolution=3)
        fixed = nn.Sequential(nn.Flatten(), nn.Linear(36, 4))
        with pytest.raises(ParameterError, match="resolution: the model cannot take pictures of 3"):
            self.score(fixed, x, resolution=3)

    @pytest.mark.parametrize(
        ("output", "message"),
        [
            (lambda n: torch.zeros(n), r"model: got an output of shape \(20,\) for 20 examples"),
            (lambda n: torch.zeros(n + 1, 4), r"got an output of shape \(21, 4\) for 20 examples"),
            (lambda n: torch.zeros(n, 4, 2), r"got an output of shape \(20, 4, 2\)"),
            (lambda n: torch.zeros(n, 3), "model: got logits of 3 classes, but a label is 3"),
            (lambda n: "logits", "model: got str from the model. Return logits"),
            (lambda n: {"scores": torch.zeros(n, 4)}, "model: got dict from the model"),
        ],
    )
    @pytest.mark.parametrize("version", [0, 5])
    def test_outputs_that_are_no_logits(
        self, output: Callable[[int], Any], message: str, version: int
    ) -> None:
        class Wrong(nn.Module):
            def forward(self, x: Tensor) -> Any:
                return output(len(x))

        x, labels = inputs()
        scorer = InProcess(module=Wrong(), scoring=Scoring())
        with pytest.raises(ParameterError, match=message):
            scorer.score(candidates(x, labels, version), frozenset({"losses"}))

    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
    def test_probabilities_are_no_logits(self, dtype: torch.dtype) -> None:
        labels = inputs()[1]
        classes = int(labels.max()) + 1
        logits = torch.randn(len(labels), classes, generator=torch.Generator().manual_seed(3))
        for fine in (logits, logits.log_softmax(1), logits.sigmoid(), logits.abs()):
            check_logits(fine.to(dtype), labels)
        check_logits(logits[:1].softmax(1), labels[:1])  # one row may sum to 1 by chance
        probabilities = logits.softmax(1).to(dtype)
        with pytest.raises(
            ParameterError, match=r"model: got probabilities: none .* Return logits"
        ):
            check_logits(probabilities, labels)
        check_logits(probabilities, labels, version=1)  # looked at once

    @pytest.mark.parametrize("classes", [2, 3, 8, 10, 15, 16, 40])
    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
    def test_losses_are_exact_up_to_rounding_and_repeat_to_the_bit(
        self, classes: int, dtype: torch.dtype
    ) -> None:
        logits = torch.randn(33, classes, generator=torch.Generator().manual_seed(2)).to(dtype)
        labels = torch.arange(33).flip(0) % classes
        labels[0] = classes - 1
        expected = F.cross_entropy(logits.double(), labels, reduction="none")
        losses = cross_entropy(logits, labels)
        assert losses.dtype == torch.float32
        torch.testing.assert_close(losses.double(), expected, rtol=1e-6, atol=1e-6)
        assert torch.equal(cross_entropy(logits.clone(), labels.clone()), losses)
        with pytest.raises(ParameterError, match=f"logits of {classes} classes, but a label is"):
            cross_entropy(logits, labels + 1)

    def test_a_negative_label_is_named(self) -> None:
        x, labels = inputs()
        labels[3] = -1
        with pytest.raises(ParameterError, match=r"labels: got -1. Give class numbers from 0"):
            InProcess(module=network(), scoring=Scoring()).score(
                candidates(x, labels), frozenset({"losses"})
            )

    def test_outputs_that_carry_logits(self) -> None:
        class Carries(nn.Module):
            def __init__(self, kind: Callable[[Tensor], Any]) -> None:
                super().__init__()
                self.kind = kind

            def forward(self, x: Tensor) -> Any:
                return self.kind(torch.cat([x, x[:, :1]], 1))

        Output = namedtuple("Output", ["logits"])
        plain, *others = (
            losses_by(Carries(kind)) for kind in (lambda z: z, Output, lambda z: {"logits": z})
        )
        assert all(torch.equal(plain, other) for other in others)

    def test_a_loss_of_one_s_own(self) -> None:
        x, labels = inputs()

        def squared(output: Tensor, labels: Tensor) -> Tensor:
            return (output[:, 0] - labels).square()

        module = nn.Linear(3, 1)
        scorer = InProcess(module=module, scoring=Scoring(), loss=squared)
        found = scorer.score(candidates(x, labels), frozenset({"losses"})).signals.get("losses")
        assert torch.equal(found, squared(module(x), labels).detach())
        mean = InProcess(module=module, scoring=Scoring(), loss=lambda o, y: squared(o, y).mean())
        with pytest.raises(ParameterError, match=r"loss: got \(\) for 20 examples, not \(20,\)"):
            mean.score(candidates(x, labels), frozenset({"losses"}))

    def test_the_posterior_needs_dropout(self) -> None:
        x, labels = inputs()
        scorer = InProcess(module=nn.Linear(3, 4), scoring=Scoring())
        with pytest.raises(ParameterError, match=r"model: .* has no dropout layer"):
            scorer.score(candidates(x, labels), frozenset({"posterior_log_probs"}))

    def test_posterior_samples_differ_and_come_again(self) -> None:
        x, labels = inputs()
        scorer = InProcess(module=network(), scoring=Scoring(samples=3, batch_norm="eval"))
        needs = frozenset({"posterior_log_probs"})
        first = scorer.score(candidates(x, labels), needs).signals.get("posterior_log_probs")
        assert first.shape == (20, 3, 4)
        assert not torch.equal(first[:, 0], first[:, 1])
        again = scorer.score(candidates(x, labels), needs).signals.get("posterior_log_probs")
        later = scorer.score(candidates(x, labels, 1), needs).signals.get("posterior_log_probs")
        assert torch.equal(first, again)
        assert not torch.equal(first, later)


class Stored(Scorer):
    """Scores that were made ahead of the trainer, by older weights."""

    def __init__(self, losses: Tensor, version: int) -> None:
        self.losses, self.version = losses, version
        self.asked: list[list[int]] = []

    def score(self, candidates: Candidates, needs: frozenset[str]) -> Scored:
        assert needs == {"losses"}
        self.asked.append(candidates.positions.tolist())
        return Scored(
            positions=candidates.positions,
            version=self.version,
            signals=Signals(losses=self.losses[candidates.positions]),
        )


class TestSeam:
    def test_scores_may_come_from_elsewhere(self) -> None:
        x, labels = inputs(6)
        stored = Stored(torch.tensor([3.0, 1.0, 5.0, 0.0, 4.0, 2.0]), version=2)
        irreducible = torch.tensor([0.0, 0.0, 5.0, 0.0, 1.0, 0.0])
        scoring = Scoring(max_staleness=5)
        selector = Selector("rho-loss", keep=2, irreducible=irreducible, scoring=scoring)
        choice = selector.choose(candidates(x, labels, version=7), stored)
        assert choice.rows.tolist() == [0, 4]

    def test_the_age_of_a_loss_is_that_of_the_weights_that_scored(self) -> None:
        x, labels = inputs(6)
        stored = Stored(torch.arange(6.0), version=4)
        scoring = Scoring(max_age=3, max_staleness=4)
        selector = Selector("loss", keep=2, num_examples=6, scoring=scoring)
        for version in (5, 6, 7, 8):
            selector.choose(candidates(x, labels, version), stored)
        # Scored by the weights of step 4: at 7 they are three steps old, at 8 too old.
        assert stored.asked == [[0, 1, 2, 3, 4, 5]] * 2

    def test_nan_is_named_by_position(self) -> None:
        x, labels = inputs(6)
        stored = Stored(torch.tensor([0.0, torch.nan, 1.0, 2.0, torch.nan, 0.0]), version=0)
        selector = Selector("loss", keep=2, scoring=Scoring(max_staleness=3))
        with pytest.raises(KeepersError, match=r"step 4 scores NaN for 2 .* such as \[1, 4\]"):
            selector.choose(candidates(x, labels, 3), stored)

    @pytest.mark.parametrize(
        ("method", "given", "message"),
        [
            ("rho-loss", {}, "losses: got none, but rho-loss needs irreducible losses. Make them"),
            ("rho-los", {}, "method: got 'rho-los', which is not known. Did you mean 'rho-loss'"),
            ("forgetting", {}, "method: got 'forgetting', which is not offered here"),
            ("bald", {"scoring": Scoring(max_age=3)}, "max_age: it gives losses, but bald needs"),
            ("random", {"scoring": Scoring(max_age=3)}, "max_age: .* random needs nothing of"),
            ("loss", {"scoring": Scoring(max_age=3)}, "max_age: got 3, but the examples "),
            ("loss", {"keep": 0}, "keep: got 0, which keeps nothing"),
            ("loss", {"keep": 1.5}, "keep: got the fraction 1.5, which is over 1"),
        ],
    )
    def test_selectors_that_cannot_be(
        self, method: str, given: dict[str, Any], message: str
    ) -> None:
        with pytest.raises(ParameterError, match=message):
            Selector(method, **given)


class Encoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.5, batch_first=True)
        self.encoder, self.head = nn.TransformerEncoder(layer, 2), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.encoder(x).mean(1))


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attend = nn.MultiheadAttention(8, 2, dropout=0.5, batch_first=True)
        self.head = nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.attend(x, x, x)[0].mean(1))


class Idle(nn.Module):
    """A dropout layer that is there and never asked."""

    def __init__(self) -> None:
        super().__init__()
        self.dropout, self.head = nn.Dropout(0.5), nn.Linear(8, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(x.mean(1))


@pytest.mark.parametrize("make", [Encoder, Attention])
def test_posterior_samples_differ_for_transformers_and_attention(make: type[nn.Module]) -> None:
    model, x = make(), torch.randn(6, 5, 8)
    choose = keepers.BatchSelector("bald", keep=0.5)
    before = [part.training for part in model.modules()]
    choose(model, (x, torch.zeros(6, dtype=torch.int64), list(range(6))))
    assert [part.training for part in model.modules()] == before


def test_dropout_that_changes_nothing_is_refused() -> None:
    choose = keepers.BatchSelector("bald", keep=0.5)
    with pytest.raises(ParameterError, match="dropout changes nothing here"):
        choose(Idle(), (torch.randn(6, 5, 8), torch.zeros(6, dtype=torch.int64), list(range(6))))


def test_ids_of_numpy_integers_survive_the_file_and_mixed_ones_are_refused(tmp_path: Path) -> None:
    ids = list(np.array([3, 1, 2]))
    losses = IrreducibleLosses.given(ids, [0.1, 0.2, 0.3])
    again = IrreducibleLosses.load(losses.save(tmp_path / "il.parquet"))
    assert again.ids.tolist() == [3, 1, 2]
    with pytest.raises(ParameterError, match="ids: got int, str"):
        IrreducibleLosses.given([1, "a"], [0.1, 0.2])


def test_items_that_change_need_a_key() -> None:
    class Noisy:
        def __len__(self) -> int:
            return 4

        def __getitem__(self, index: int) -> tuple[Tensor, int]:
            return torch.randn(3), index % 2

    with pytest.raises(ParameterError, match="another item each time it is read"):
        keepers.with_ids(Noisy())
