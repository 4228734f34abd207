"""Irreducible losses: made once, kept in a file, used for any target."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import torch
from torch import Tensor

from keepers.data import Source
from keepers.data.arrow import ArrowColumn, ArrowTable
from keepers.errors import DataError, ParameterError, about
from keepers.files import check_output, fingerprint, hash_bytes, plain
from keepers.online.numbering import SHOWN, Numbering
from keepers.sealed import read_table, write_table
from keepers.words import counted

_COLUMNS = ("id", "irreducible_loss", "label")
Origin = Literal["folds", "part", "others"]
FEW = 30  # examples, of which a rank correlation says little
REMEDY = (
    "Compute the losses from these data by the same id, with keepers.irreducible_losses or "
    "'keepers il'"
)


@dataclass(frozen=True, kw_only=True, eq=False)
class IrreducibleLosses:
    """The loss of each example under a model that was not trained on it.

    `ids` (n,) are integers or strings, `values` (n,) float32, `labels` (n,) the class names that
    the losses are for, if known. `metadata` says how they were made: model, data
    fingerprint, folds, and the estimated `quality` of the model.

    Raises:
        DataError: different lengths, a repeated id, or infinite values; the message names the ids.
        ParameterError: ids that are not integers or strings.
    """

    ids: npt.NDArray[Any]
    values: Tensor
    labels: npt.NDArray[np.object_] | None = None
    metadata: dict[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        lengths = {"ids": len(self.ids), "values": self.values.numel()}
        if self.labels is not None:
            lengths["labels"] = len(self.labels)
        if len(set(lengths.values())) > 1 or self.values.ndim != 1:
            raise DataError(f"losses: got {lengths}. Give one value for each id")
        if not len(self.ids):
            raise DataError("losses: got none. Give one value for each example")
        wrong = (~self.values.isfinite()).nonzero().squeeze(1)
        if len(wrong):
            raise DataError(
                f"losses: {len(wrong):,} values are missing or not finite, such as those of "
                f"{self.ids[wrong[:SHOWN].numpy()].tolist()}. Look for a model that diverged"
            )
        _ = self.numbering  # refuses an id that comes twice

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:
        return f"IrreducibleLosses({len(self)} examples, mean {float(self.values.mean()):.4g})"

    @classmethod
    def given(cls, ids: Sequence[Any] | npt.NDArray[Any], values: Any) -> IrreducibleLosses:
        """Losses from elsewhere: ids and values (n,).

        >>> IrreducibleLosses.given(["a", "b"], [0.1, 2.0])
        IrreducibleLosses(2 examples, mean 1.05)
        """
        if isinstance(ids, Tensor):
            ids = ids.detach().cpu().numpy()
        found = np.asarray(ids) if isinstance(ids, np.ndarray) else np.array(ids, dtype=object)
        if found.dtype.kind not in "iu":
            kinds = set(map(type, ids))
            whole = all(issubclass(kind, int | np.integer) and kind is not bool for kind in kinds)
            if not whole and not all(issubclass(kind, str) for kind in kinds):
                named = ", ".join(sorted(kind.__name__ for kind in kinds))
                raise ParameterError("ids", f"got {named}", "Give only integers, or only strings")
            found = found.astype(np.int64 if whole else object)
        made = torch.as_tensor(values, dtype=torch.float32).detach().cpu().clone()
        return cls(ids=found, values=made)

    @cached_property
    def numbering(self) -> Numbering:
        """From ids to positions in `values`."""
        return Numbering(self.ids)

    @property
    def fingerprint(self) -> str:
        """Of the ids, values and labels."""
        named = [] if self.labels is None else self.labels.tolist()
        return fingerprint(
            hash_bytes(self.numbering.numbers.numpy()),
            hash_bytes(self.values.numpy()),
            hash_bytes("\x1f".join(map(str, named)).encode()),
        )

    @property
    def quality(self) -> dict[str, Any]:
        """The quality of the irreducible-loss model; empty for losses from elsewhere."""
        return self.metadata.get("quality", {})

    @property
    def origin(self) -> Origin:
        """What their models were trained on: folds of these data, a part of them, or others."""
        if self.metadata.get("folds"):
            return "folds"
        held = self.metadata.get("holdout")
        return "part" if held is not None and held == self.metadata.get("data") else "others"

    @property
    def weaknesses(self) -> list[str]:
        """Why the losses may be too weak to help, in sentences; empty if nothing is known."""
        return weaknesses(self.quality) if "majority" in self.quality else []

    def of(self, source: Source, parameter: str = "il") -> Tensor:
        """The values (n,) of the examples of `source`, in its order.

        Raises:
            ParameterError: examples without a value, or with another label than the losses are
                for; the message names the ids.
        """
        positions, known = self.numbering.positions(source.ids)
        missing = (~known).nonzero().squeeze(1).numpy()
        if len(missing):
            raise ParameterError(
                parameter,
                f"{len(missing):,} of {counted(len(source), 'example')} "
                f"{'has' if len(missing) == 1 else 'have'} no irreducible loss, such as "
                f"{source.ids[missing[:SHOWN]].tolist()}",
                REMEDY,
            )
        made = self.metadata.get("task")
        now = None if source.other_task is None else plain(source.other_task.facts())
        if made is not None and made != now:
            raise ParameterError(
                parameter,
                f"the losses were made for {made.get('task')} of other data, on another scale",
                REMEDY,
            )
        if self.labels is not None and source.labels is not None:
            names = np.array(source.shown_labels(), dtype=object)
            other = np.flatnonzero(names != self.labels[positions.numpy()])
            if len(other):
                raise ParameterError(
                    parameter,
                    f"{len(other):,} of {counted(len(source), 'example')} "
                    f"{'has' if len(other) == 1 else 'have'} another label than the losses were "
                    f"made for, such as {source.ids[other[:SHOWN]].tolist()}",
                    REMEDY,
                )
        return self.values[positions]

    def save(self, path: str | Path, *, overwrite: bool = False) -> Path:
        """Write `id, irreducible_loss, label` as Parquet, with `metadata`.

        Raises:
            RunError: the file exists and `overwrite` is false.
        """
        path = Path(path)
        check_output(path, overwrite=overwrite)
        ids = self.ids if self.ids.dtype.kind in "iu" else list(map(str, self.ids.tolist()))
        columns = {"id": pa.array(ids), "irreducible_loss": pa.array(self.values.numpy())}
        if self.labels is not None:
            columns["label"] = pa.array(self.labels.tolist(), pa.string())
        table = pa.table(columns)
        return write_table(path, table, plain(self.metadata), overwrite=overwrite)

    @classmethod
    def load(cls, path: str | Path) -> IrreducibleLosses:
        """Read a file of `save`, or any Parquet file with columns `id` and `irreducible_loss`.

        Raises:
            DataError: the file is missing, damaged or not Parquet, or a column is missing.
        """
        path = Path(path)
        try:
            table, metadata = read_table(path, "il", REMEDY, _COLUMNS)
        except FileNotFoundError:
            raise DataError(f"il: there is no file {path}. Make one with 'keepers il'") from None
        except OSError as error:
            raise DataError(f"il: cannot read {path}: {error}") from None
        for name in _COLUMNS[:2]:
            if name not in table.column_names:
                there = ", ".join(table.column_names) or "others"
                raise DataError(f"il: {path} has no column '{name}', only {there}")
        with about("il"):
            return cls._from_table(table, path, metadata or {})

    @classmethod
    def _from_table(
        cls, table: ArrowTable, path: Path, metadata: dict[str, Any]
    ) -> IrreducibleLosses:
        column = table["irreducible_loss"]
        if not (pa.types.is_floating(column.type) or pa.types.is_integer(column.type)):
            raise DataError(
                f"il: column 'irreducible_loss' of {path} holds {column.type}. Give numbers"
            )
        labels = None
        if "label" in table.column_names:
            labels = np.array(table["label"].cast(pa.string()).to_pylist(), dtype=object)
        return cls(
            ids=_ids(table["id"], path),
            values=torch.from_numpy(np.array(column.to_numpy(), dtype=np.float32)),
            labels=labels,
            metadata=metadata,
        )


def _ids(column: ArrowColumn, path: Path) -> npt.NDArray[Any]:
    if column.null_count:
        raise DataError(
            f"il: {counted(column.null_count, 'row')} of {path} without an id. Give every row one"
        )
    if pa.types.is_integer(column.type):
        return column.to_numpy()
    kind = column.type.value_type if pa.types.is_dictionary(column.type) else column.type
    if not (pa.types.is_string(kind) or pa.types.is_large_string(kind)):
        raise DataError(f"il: column 'id' of {path} holds {kind}. Give integers or strings")
    return np.array(column.to_pylist(), dtype=object)


def weaknesses(found: dict[str, Any]) -> list[str]:
    """Why the losses may be too weak to help, in sentences; empty if nothing suggests it."""
    warnings: list[str] = []
    gain = (found["accuracy"] - found["majority"]) / max(1e-9, 1 - found["majority"])
    if gain < 0.3:
        how = (
            f"reaches {found['score']} of {found['accuracy']:.2f} on held-out data"
            if "score" in found
            else f"is right on {found['accuracy']:.0%} of held-out data, and always guessing the "
            f"largest class is right on {found['majority']:.0%}"
        )
        warnings.append(
            f"the irreducible-loss model {how}: its losses are weak. Use a larger --il-model or "
            "more epochs"
        )
    for losses in found.get("checked_losses", ()):
        if len(losses) > 1 and losses[-1] == min(losses) and losses[-1] < 0.95 * losses[-2]:
            warnings.append(
                f"the irreducible-loss model was still learning when it stopped (held-out loss "
                f"{losses[-2]:.3f}, then {losses[-1]:.3f}): give it more epochs"
            )
            break
    if (found.get("calibration_error") or 0.0) > 0.15:
        too_sure = found["confidence"] > found["accuracy"]
        remedy = "Fewer epochs, or a smaller --il-model" if too_sure else "Give it more epochs"
        warnings.append(
            f"the irreducible-loss model's probabilities are off by "
            f"{found['calibration_error']:.0%} on average: its losses are distorted. {remedy}"
        )
    few, agreed = found.get("checked", 0) < FEW, found.get("agreement")
    if not few and agreed is not None and agreed < 0.5:
        warnings.append(
            "the models of the folds agree little on which examples are hard (rank correlation "
            f"{agreed:.2f}): the losses are mostly noise. Use a stronger --il-model, or fewer "
            "folds on more data"
        )
    return warnings
