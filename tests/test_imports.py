"""What `import keepers` and the commands load, and that extras stay optional."""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

import pytest

HEAVY = ("torch", "pyarrow", "numpy", "sklearn", "matplotlib")
EXTRAS = (
    *("transformers", "datasets", "tokenizers", "huggingface_hub", "accelerate", "lightning"),
    *("fastapi", "uvicorn", "starlette", "httpx", "httpx2", "faiss", "selenium"),
    *("mkdocs", "mkdocstrings", "pandas", "hypothesis", "nbformat"),
)


FORKS = """
import json, os, sys, tempfile, torch
for line in sys.stdin:
    with tempfile.TemporaryFile() as out:
        child = os.fork()
        if not child:
            os.dup2(out.fileno(), 1)
            exec(json.loads(line), {"__name__": "__main__"})
            sys.stdout.flush()
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        out.seek(0)
        print(json.dumps([status, out.read().decode()]), flush=True)
"""
"""Runs each line of its input in a child of its own, which has torch loaded and nothing else."""


@pytest.fixture(scope="module")
def run_with_torch() -> Iterator[Callable[[str], str]]:
    """`run` where torch is loaded already: it takes seconds, here once for all."""
    process = subprocess.Popen(
        [sys.executable, "-c", FORKS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    stdin: IO[str] | None = process.stdin
    stdout: IO[str] | None = process.stdout
    assert stdin is not None
    assert stdout is not None

    def run(code: str) -> str:
        stdin.write(json.dumps(code) + "\n")
        stdin.flush()
        status, said = json.loads(stdout.readline())
        assert status == 0, said
        return said

    with process:
        yield run


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def loaded_after(code: str) -> set[str]:
    modules = run(f"{code}\nimport sys; print(*sys.modules, sep='\\n')").split()
    return {module.partition(".")[0] for module in modules}


def run_by(*argv: str) -> str:
    """Code that runs a command in the folder it is run in, and goes on where it ended well."""
    return f"""
import sys
from keepers.cli import main
sys.argv = ["keepers", *{argv!r}]
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
"""


def test_import_loads_nothing_heavy() -> None:
    assert not loaded_after("import keepers") & {*HEAVY, *EXTRAS, "rich", "typer"}


def test_help_loads_nothing_heavy() -> None:
    assert not loaded_after(run_by("--help")) & {*HEAVY, *EXTRAS}


def test_the_version_is_told_without_loading_anything_heavy() -> None:
    shown = run_by("--version")
    assert run(shown) == f"keepers {importlib.metadata.version('keepers')}\n"
    assert not loaded_after(shown) & {*HEAVY, *EXTRAS}


NEVER = (
    *("torch._dynamo", "torch.distributed.fsdp", "sympy", "scipy.stats", "pyarrow.dataset"),
    *("lightning_fabric", "torchmetrics", "transformers", "datasets", "IPython", "rich.markdown"),
)
"""What takes half a second or more to import, and no small command needs."""


def modules_after(
    run: Callable[[str], str], code: str, folder: Path, *names: str, told: str = "None"
) -> tuple[set[str], str]:
    """Which of the modules are loaded once the code has run in a folder, and what `told` is."""
    code = f"import os; os.chdir({str(folder)!r})\n{code}\nimport gc, sys; print({told})"
    found = run(f"{code}\nprint(*(name for name in {names!r} if name in sys.modules))")
    *_, value, modules = found.split("\n")[:-1]
    return set(modules.split()), value


def test_a_core_set_loads_no_more_than_it_uses(tmp_path: Path) -> None:
    """Python looks for garbage as usual, but not in what torch brought; the importer is gone."""
    code = run_by(
        "coreset", "digits", "--method", "entropy", "--epochs", "1", "--limit", "300", "--json"
    )
    heavy = (*NEVER, "sklearn", "scipy", "matplotlib", "keepers.reports.compare")
    finders = "[type(finder).__name__ for finder in sys.meta_path]"
    told = f"gc.isenabled(), gc.get_freeze_count() > 50_000, '_Uncollected' in {finders}"
    modules, value = modules_after(run, code, tmp_path, *heavy, "torch", told=told)
    assert modules == {"torch"}
    assert value == "True True False"


def test_a_campaign_loads_no_more_than_it_uses(
    run_with_torch: Callable[[str], str], tmp_path: Path
) -> None:
    """A first batch needs no proxy, nor scikit-learn; reading labels no SciPy either."""
    texts = [f"{word} number {place}" for place, word in enumerate(["good film", "bad film"] * 20)]
    (tmp_path / "pool.csv").write_text("text\n" + "\n".join(texts) + "\n")
    start = ("active", "start", "pool.csv", "--classes", "good,bad", "--campaign", "c")
    query = ("active", "query", "10", "--campaign", "c", "--out", "batch.csv")
    label = """
import csv
with open("batch.csv", newline="") as file:
    rows = list(csv.DictReader(file))
with open("labels.csv", "w", newline="") as file:
    writer = csv.DictWriter(file, rows[0].keys())
    writer.writeheader()
    writer.writerows({**row, "label": row["text"].split()[0]} for row in rows)
"""
    taken = ("active", "import", "labels.csv", "--campaign", "c")
    status = ("active", "status", "--campaign", "c")
    asked = run_by(*start) + run_by(*query) + label
    heavy = (*NEVER, "sklearn", "matplotlib")
    assert not modules_after(run_with_torch, asked, tmp_path, *heavy)[0]
    answered = run_by(*taken) + run_by(*status)
    assert not modules_after(run_with_torch, answered, tmp_path, *heavy, "scipy")[0]


def test_public_names_are_listed_and_there(run_with_torch: Callable[[str], str]) -> None:
    out = run_with_torch(
        "import keepers\n"
        "missing = [name for name in keepers.__all__ if not hasattr(keepers, name)]\n"
        "unlisted = [name for name in keepers.__all__ if name not in dir(keepers)]\n"
        "print(len(keepers.__all__), missing, unlisted)"
    )
    number, missing, unlisted = out.split(maxsplit=2)
    assert int(number) > 0
    assert (missing, unlisted.strip()) == ("[]", "[]")


def test_unknown_public_name_is_an_attribute_error() -> None:
    import keepers

    with pytest.raises(AttributeError, match="no_such_name"):
        _ = keepers.no_such_name


def test_every_module_imports_without_the_extras(run_with_torch: Callable[[str], str]) -> None:
    # Others may ask whether an extra is installed (torch does); nobody may import it.
    code = f"""
import importlib, importlib.machinery, pkgutil, sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {EXTRAS!r}:
            return importlib.machinery.ModuleSpec(name, self)

    def create_module(self, spec):
        raise ModuleNotFoundError(f"No module named {{spec.name!r}}", name=spec.name)

    def exec_module(self, module):
        pass

sys.meta_path.insert(0, Absent())
import keepers
names = [m.name for m in pkgutil.walk_packages(keepers.__path__, "keepers.")]
for name in names:
    if not name.endswith("__main__"):
        importlib.import_module(name)
print(len(names))
"""
    assert int(run_with_torch(code)) > 20
