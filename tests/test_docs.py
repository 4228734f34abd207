"""The documentation's commands and Python run as written; the reference pages match the code."""

from __future__ import annotations

import os
import re
import runpy
import shlex
import subprocess
import sys
import sysconfig
import traceback
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from sklearn.datasets import load_digits
from torch.distributed.run import get_args_parser
from typer.testing import CliRunner

import forked
from keepers.cli import app

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(
    r"(?:<!-- not run: (?P<reason>[^\n]+?) -->\n+)?"
    r"^(?P<fence>```+)(?P<language>[^\n]*)\n(?P<body>.*?)^(?P=fence)$",
    re.MULTILINE | re.DOTALL,
)
NOT_RUN = {"text", "yaml", "json", "toml", "pycon"}


@dataclass(frozen=True)
class Block:
    language: str
    body: str
    line: int
    reason: str | None

    @property
    def commands(self) -> list[str]:
        """The lines that start with `$ `, each with the lines it continues on."""
        joined = self.body.replace("\\\n", "")
        return [line[2:] for line in joined.splitlines() if line.startswith("$ ")]


def blocks(text: str) -> list[Block]:
    return [
        Block(
            language=match["language"].strip(),
            body=match["body"],
            line=text.count("\n", 0, match.start("fence")) + 2,
            reason=match["reason"],
        )
        for match in FENCE.finditer(text)
    ]


def page_name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def test_blocks_are_found_with_their_reasons_and_lines() -> None:
    page = "x\n\n```console\n$ a \\\n  b\nout\n$ c\n```\n<!-- not run: why -->\n```python\n1\n```\n"
    console, python = blocks(page)
    assert (console.language, console.line, console.reason) == ("console", 4, None)
    assert console.commands == ["a   b", "c"]
    assert (python.body, python.line, python.reason) == ("1\n", 11, "why")


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_every_fence_says_what_it_holds(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    languages = {block.language for block in blocks(text)}
    assert languages <= {"console", "python", *NOT_RUN}
    assert text.count("<!-- not run") == sum(block.reason is not None for block in blocks(text))
    for block in blocks(text):
        assert block.language != "console" or block.commands, f"line {block.line}: no '$ ' line"


@pytest.fixture
def example_files(tmp_path: Path) -> Path:
    """What the pages may name: reviews, the same with a key column, and in shards, pictures."""
    adjectives = {"pos": ("fine", "lovely", "great"), "neg": ("dull", "awful", "poor")}
    for name, start in (("reviews", 0), ("reviews-test", 400)):
        rows = [
            {
                "text": f"A {adjectives[label][n % 3]} film, number {n}, {n % 7} reels long.",
                "label": label,
            }
            for n in range(start, start + 60)
            for label in ("pos", "neg")
        ]
        table = pa.Table.from_pylist(rows)
        pq.write_table(table, tmp_path / f"{name}.parquet")
        if name == "reviews":
            keys = pa.array([f"review-{n}" for n in range(len(rows))])
            keyed = table.append_column("key", keys)
            pq.write_table(keyed, tmp_path / "keyed.parquet")
            (tmp_path / "pool").mkdir()
            for part in range(3):
                shard = keyed.slice(40 * part, 40)
                pq.write_table(shard, tmp_path / "pool" / f"part-{part}.parquet")
    digits = load_digits(n_class=3)
    for number in range(120):
        picture = tmp_path / "pictures" / str(digits.target[number]) / f"{number}.png"
        picture.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((digits.images[number] * 15).astype("uint8")).save(picture)
    return tmp_path


@pytest.mark.parametrize(
    "page",
    [page for page in PAGES if any(b.reason is None for b in blocks(page.read_text("utf-8")))],
    ids=page_name,
)
def test_commands_and_python_run(
    page: Path, example_files: Path, monkeypatch: pytest.MonkeyPatch, few_words: None
) -> None:
    monkeypatch.chdir(example_files)
    namespace: dict[str, object] = {"__name__": "__main__"}
    for block in blocks(page.read_text("utf-8")):
        where = f"{page_name(page)}:{block.line}"
        if block.reason is not None:
            continue
        if block.language == "console":
            for command in block.commands:
                run_command(command, where)
        elif block.language == "python":
            exec(compile(block.body, where, "exec"), namespace)


def run_command(command: str, where: str) -> None:
    """Run it as a shell would; what is only `keepers ...` in this process, which is faster."""
    if command.startswith("torchrun "):
        run_in_forks(command, where)
        return
    if command.startswith("keepers ") and not re.search(r"[|;&<>$`*]", command):
        done = CliRunner().invoke(app, shlex.split(command)[1:])
        trace = "".join(traceback.format_exception(done.exception)) if done.exception else ""
        assert done.exit_code == 0, f"{where}: {command}\n{done.output}\n{trace}"
        return
    scripts = sysconfig.get_path("scripts")
    shell = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        env={**os.environ, "PATH": f"{scripts}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    assert shell.returncode == 0, f"{where}: {command}\n{shell.stdout}\n{shell.stderr}"


def run_in_forks(command: str, where: str) -> None:
    """Have torchrun read its line, and forks do what its processes would: no import anew."""
    told = get_args_parser().parse_args(shlex.split(command)[1:])
    assert (told.no_python, told.training_script) == (True, "keepers"), where
    job = {"argv": told.training_script_args, "ranks": int(told.nproc_per_node)}
    (ended,) = forked.run({**job, "cwd": os.getcwd()})
    assert ended.status == 0, f"{where}: {command}\n{ended.stdout}\n{ended.stderr}"


def test_reference_pages_match_the_code(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "docs")
    monkeypatch.setattr(sys, "argv", ["generate.py", "--check"])
    runpy.run_path(str(ROOT / "docs" / "generate.py"), run_name="__main__")


def test_bare_examples_of_a_docstring_are_fenced() -> None:
    fenced = runpy.run_path(str(ROOT / "docs" / "doctests.py"))["fenced"]
    assert fenced("Add.\n\n>>> 1 + 1\n2\n\nMore.") == (
        "Add.\n\n```pycon\n>>> 1 + 1\n2\n```\n\nMore."
    )
    assert fenced("Nothing to run: a >>> b.") == "Nothing to run: a >>> b."


def test_links_lead_somewhere() -> None:
    link = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)[^)]*\)")
    missing = [
        f"{page_name(page)}: {target}"
        for page in [*PAGES, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
        for target in link.findall(page.read_text(encoding="utf-8"))
        if not (page.parent / target).exists()
    ]
    assert not missing
