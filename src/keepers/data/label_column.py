"""The column of the label, by its name or its values."""

from __future__ import annotations

from collections.abc import Sequence

from keepers.data.folders import TRAINING
from keepers.data.guesses import is_flag, is_number
from keepers.data.inputs import PictureFiles
from keepers.data.looks import is_category, is_key, is_list_of_objects, is_prodigy, is_tags
from keepers.data.material import Material
from keepers.errors import UnlabelledError, ambiguous
from keepers.types import Kind
from keepers.words import listed

LABEL_NAMES = ("label", "labels", "target", "targets", "class", "y", "fine_label")


def label_by_name(material: Material, names: Sequence[str], strict: bool) -> str | None:
    """The column that is named or declared as a label; of several none, or where `strict` an error.

    Raises:
        AmbiguousError: several could be meant.
    """
    by_name = [n for n in names if n.lower() in LABEL_NAMES]
    if len(by_name) > 1:
        first = [n for n in by_name if n.lower() in LABEL_NAMES[:2]]
        by_name = first if len(first) == 1 else by_name
    if len(by_name) > 1 and not strict:
        return None
    if len(by_name) > 1:
        raise ambiguous("label", by_name)
    if by_name:
        return by_name[0]
    if "accept" in names and is_prodigy(material.table, "answer"):
        return "accept"
    classes = [n for n in names if material.features.get(n, {}).get("_type") == "ClassLabel"]
    if len(classes) > 1:
        raise ambiguous("label", classes)
    return classes[0] if classes else None


def label_by_values(material: Material, names: Sequence[str], required: bool) -> str | None:
    """The only column whose few values recur; where a label is `required` it is that or an error.

    Raises:
        AmbiguousError: several could be meant.
        UnlabelledError: no column looks like one.
    """
    few = [
        name
        for name in names
        if is_category(material.table[name]) and not is_prodigy(material.table, name)
    ]
    if not few and required:
        few = [name for name in names if is_tags(material.table[name])]
    if len(few) == 1:
        return few[0]
    if not required:
        return None
    if few:
        flags = [name for name in few if is_flag(material.table[name]) and "," not in name]
        raise ambiguous("label", few, flags)
    if isinstance(material.inputs, PictureFiles):
        raise UnlabelledError(
            "data",
            f"the pictures of {material.name} are not in sub-folders, so they have no class",
            "Put the pictures of each class into a sub-folder named after it, or add a "
            "metadata.csv with file_name and label",
        )
    kinds = [material.table.schema.field(name).type for name in names]
    if set(names) & set(TRAINING) and all(map(is_list_of_objects, kinds)):
        raise UnlabelledError(
            "data",
            f"each row of {material.name} is an object of lists of rows: {listed(names)}",
            "A file of several splits must be .json; in .jsonl write one row per line, and one "
            "file for each split",
        )
    raise UnlabelledError(
        "label",
        f"no column of {material.name} looks like a class label; the columns are: "
        + (", ".join(material.table.column_names) or "none"),
        "Name it with --label (label=...)",
    )


def flags_of(material: Material, names: Sequence[str], kind: Kind) -> str | None:
    """Columns of 0 and 1 beside a text or a picture, where nothing else could be the label.

    Beside numbers they may be features, so nothing is guessed there.
    """
    few = [name for name in names if is_category(material.table[name])]
    flags = [name for name in few if is_flag(material.table[name]) and "," not in name]
    amounts = [n for n in names if is_number(material.table[n].type) and n not in flags]
    other = any(not is_key(material.table[name], name) for name in amounts)
    if kind == "vector" or other or not 1 < len(flags) == len(few):
        return None
    return ", ".join(flags)
