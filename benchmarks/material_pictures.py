"""Pictures of Debian packages as Parquet files, training and test, for benchmarks/by_default.py.

letters: A to J in the fonts that Debian packages (no font is in both parts), icons: by what they
stand for, of three themes, clipart: by topic. Labels are the names of folders, as somebody filed
them.

    apt-get download oxygen-icon-theme gnome-icon-theme tango-icon-theme openclipart-png
    apt-get download $(apt-cache search --names-only '^fonts-' | cut -d' ' -f1)   # or some of them
    for f in *.deb; do dpkg-deb -x $f unpacked; done
    python benchmarks/material_pictures.py unpacked --out MORE
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from material import LEAST, MORE
from PIL import Image, ImageDraw, ImageFont

SIDE, GREY_SIDE, FONTS = 32, 28, 500
LARGEST = 1_000_000
"""Bytes of a file of clip art; larger ones are left out, for time."""

THEMES = ("oxygen", "gnome", "Tango")
UNFILED = ("unsorted", "special")

Filed = Iterator[tuple[Image.Image, str, str]]
"""Pictures, their labels, and what must not be in both parts."""


def letters(folder: Path) -> Filed:
    """A to J in white on black, as large as fits; fonts without such letters are left out."""
    files = sorted(p for kind in ("ttf", "otf") for p in folder.rglob(f"*.{kind}") if p.is_file())
    for place in np.random.default_rng(0).permutation(len(files))[:FONTS]:
        try:
            font = ImageFont.truetype(files[place], GREY_SIDE - 6)
        except OSError:
            continue
        missing = bytes(font.getmask("\U0010ffff"))
        for letter in "ABCDEFGHIJ":
            if bytes(font.getmask(letter)) in (missing, b""):
                continue
            drawn = Image.new("L", (GREY_SIDE, GREY_SIDE))
            middle = (GREY_SIDE / 2, GREY_SIDE / 2)
            ImageDraw.Draw(drawn).text(middle, letter, fill=255, font=font, anchor="mm")
            yield drawn, letter, files[place].parent.name


def icons(folder: Path) -> Filed:
    """Icons of 32 pixels on white: actions, apps, devices, ..."""
    for theme in THEMES:
        for file in sorted((folder / "usr/share/icons" / theme).rglob("*.png")):
            if "32x32" in file.parts and not file.is_symlink():
                yield on_white(file), file.parent.name, file.stem


def clipart(folder: Path) -> Filed:
    """Clip art on white, by topic; a series of drawings stands in one part."""
    root = folder / "usr/share/openclipart/png"
    for file in sorted(root.rglob("*.png")):
        topic = file.relative_to(root).parts[0]
        if topic not in UNFILED and not file.is_symlink() and file.stat().st_size < LARGEST:
            yield on_white(file), topic, file.stem.rstrip("0123456789_")


def on_white(file: Path) -> Image.Image:
    """A picture of 32 pixels a side, without transparency, its sides in proportion."""
    with Image.open(file) as opened:
        picture = opened.convert("RGBA")
    picture.thumbnail((SIDE, SIDE))
    made = Image.new("RGB", (SIDE, SIDE), "white")
    made.paste(picture, ((SIDE - picture.width) // 2, (SIDE - picture.height) // 2), picture)
    return made


def written(filed: Filed, folder: Path) -> None:
    """Four fifths and a fifth of the groups, of labels that are frequent enough."""
    rows = [(np.asarray(picture), label, group) for picture, label, group in filed]
    labels = np.array([label for _, label, _ in rows])
    groups = np.unique([group for *_, group in rows], return_inverse=True)[1]
    names, counts = np.unique(labels, return_counts=True)
    frequent = np.isin(labels, names[counts >= LEAST])
    order = np.random.default_rng(0).permutation(groups.max() + 1)
    held = np.isin(groups, order[: len(order) // 5])
    folder.mkdir(parents=True, exist_ok=True)
    for part, chosen in (("train", ~held & frequent), ("test", held & frequent)):
        cells: list[dict[str, bytes | None]] = []
        for place in np.flatnonzero(chosen):
            buffer = io.BytesIO()
            Image.fromarray(rows[place][0]).save(buffer, "PNG")
            cells.append({"bytes": buffer.getvalue(), "path": None})
        kind = pa.struct({"bytes": pa.binary(), "path": pa.string()})
        table = pa.table({"image": pa.array(cells, kind), "label": labels[chosen]})
        pq.write_table(table, folder / f"{part}.parquet")
        print(folder.name, part, len(table), len(np.unique(labels[chosen])), "classes")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, default=MORE)
    given = parser.parse_args()
    for make in (letters, icons, clipart):
        written(make(given.folder), given.out / make.__name__)
