"""What was taken from the data, in sentences."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from keepers.data import ids
from keepers.data.labels import doubtful_classes
from keepers.data.material import Material
from keepers.data.source import Columns
from keepers.data.targets import label_columns
from keepers.tasks import Number, Tags, Task, Tokens
from keepers.words import counted, listed

SHOWN = 10
"""Names of unused columns that are said."""

SEVERAL_LABELS = "there with more than one label"


def repeating(repeats: int) -> str:
    """The number of rows that repeat an input, in a sentence."""
    return f"{counted(repeats, 'row repeats', 'rows repeat')} the input of another"


def repeats_in_words(
    repeats: int,
    digests: npt.NDArray[np.bytes_],
    labels: npt.NDArray[np.int64] | None,
    rows: npt.NDArray[np.int64],
) -> tuple[str, ...]:
    """How many rows repeat an input, and how many of the inputs stand with several labels."""
    said = repeating(repeats)
    if labels is None:
        return (said,)
    labelled = np.flatnonzero(labels[rows] >= 0)
    given, units = labels[rows][labelled], ids.units(digests[labelled], None)
    at = np.flatnonzero(given != given[units])
    if not len(at):
        return (said,)
    num = len(np.unique(units[at]))
    first = sorted(rows[labelled][[at[0], units[at[0]]]].tolist())
    stand = counted(num, "input stands", "inputs stand")
    return said, f"{stand} {SEVERAL_LABELS} (first: rows {first[0]} and {first[1]})"


def taken_in_words(
    material: Material,
    columns: Columns,
    taken: str,
    labels: Any,
    names: tuple[str, ...] | Task,
    copies: tuple[str, ...],
    features: npt.NDArray[Any] | None,
) -> tuple[str, ...]:
    """What was taken as inputs, labels and ids, and what was not, a sentence each."""
    sentences = [taken, *material.notes]
    if features is not None:
        source = f" from '{columns.features}'" if columns.features else ""
        sentences.append(f"features of {features.shape[1]} numbers{source}")
    if columns.label is not None and not names:
        sentences.append(f"no classes can be read from '{columns.label}'")
    elif columns.label is not None and not isinstance(names, tuple):
        sentences.append(in_words(labels, columns.label, names))
        if isinstance(labels, Tags):
            sentences += doubtful_classes(names.names, *names.stratum)
    elif columns.label is not None and isinstance(names, tuple):
        shown = ", ".join(names[:6]) + (", …" if len(names) > 6 else "")
        sentences.append(
            f"{counted(len(names), 'class', 'classes')} from '{columns.label}': {shown}"
        )
        sentences += doubtful_classes(names)
    if columns.id is not None:
        sentences.append(f"ids from '{columns.id}'")
    else:
        sentences.append("ids are hashes of the inputs")
    sentences += copies
    labelled = () if columns.label is None else label_columns(columns.label, material.table)
    used = {*columns.input, *labelled, columns.label, columns.id, columns.group, columns.features}
    unused = [name for name in material.table.column_names if name not in used]
    if unused and material.kind is None:
        more = ", …" if len(unused) > SHOWN else ""
        sentences.append("not used: " + ", ".join(f"'{name}'" for name in unused[:SHOWN]) + more)
    return tuple(sentences)


def in_words(labels: Any, label: str, task: Task) -> str:
    """What was taken, in a sentence."""
    if isinstance(labels, Tags):
        each = len(labels.members) / max(1, len(labels))
        shown = listed(task.names, 6)
        return f"{counted(task.num_outputs, 'label')} from '{label}', {each:.2g} per row: {shown}"
    if isinstance(task, Tokens):
        shown = listed(task.names, 6)
        return f"{counted(len(task.names), 'source')} from '{label}': {shown}"
    if not isinstance(task, Number):
        return f"{task.plural} from '{label}'"
    low, high = np.nanmin(labels), np.nanmax(labels)
    what = "numbers" if task.num_outputs == 1 else f"{task.num_outputs} numbers per row"
    return f"{what} from '{label}': {low:.4g} to {high:.4g}"
