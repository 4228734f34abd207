"""One flipped byte in each kind of file that keepers reads back: what the next command does.

    python benchmarks/byte_flips.py [--flips N] [--seed S] [--out FILE.json]

Each flip changes one byte at a random place of one file, and what reads it is run as its command
does. It may be `repaired` (computed again, with a warning), `refused` (an error that names the file
and what to do) or `harmless` (no word, and the same result to the bit: the byte is not read). It
must never be `silent` (another result without a word), `other` (another result with one) or a
`traceback`. Encoded inputs that are too large for memory have no name on the disk: nothing reads
them back. `cost` is the CPU of all checksums of a run that is found finished, over that command.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

import keepers
from keepers import sealed
from keepers.data import DensePool
from keepers.errors import KeepersError
from keepers.files import fingerprint
from keepers.models import Recipe
from keepers.processes import Runtime
from keepers.training import Checkpoint, fit
from keepers.training.observer import Step
from keepers.types import TrainView

OUTCOMES = ("repaired", "refused", "harmless", "silent", "other", "traceback")
WRONG = OUTCOMES[3:]


@dataclass(frozen=True)
class Kind:
    """A folder made once; the files in it that are flipped; and what reads them back."""

    make: Callable[[Path], object]
    files: str
    read: Callable[[Path], Any]


def rows(seed: int, n: int = 90) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(seed)
    labels = np.arange(n) % 3
    return (draw.standard_normal((n, 6)) + labels[:, None]).astype(np.float32), labels


def selection(folder: Path) -> Any:
    found = keepers.coreset(
        rows(0), keep=0.3, method="entropy", proxy="logistic", epochs=2, run=folder / "run"
    )
    return found.table.to_pylist(), found.metadata["method"]


def written_selection(folder: Path) -> None:
    keepers.coreset(rows(0), keep=0.3, method="random").to_parquet(folder / "kept.parquet")


def read_selection(folder: Path) -> Any:
    found = keepers.Selection.read_parquet(folder / "kept.parquet")
    return found.table.to_pylist(), found.metadata


def losses(folder: Path) -> Any:
    found = keepers.irreducible_losses(
        rows(0), holdout=rows(1), model="logistic", epochs=2, run=folder / "run"
    )
    return found.ids.tolist(), found.values.tolist()


def written_losses(folder: Path) -> None:
    found = keepers.irreducible_losses(rows(0), holdout=rows(1), model="logistic", epochs=1)
    found.save(folder / "il.parquet")


def read_losses(folder: Path) -> Any:
    found = keepers.IrreducibleLosses.load(folder / "il.parquet")
    return found.ids.tolist(), found.values.tolist(), found.metadata


def written_weights(folder: Path) -> None:
    keepers.train(
        rows(0),
        test=rows(1),
        model="logistic",
        select="uniform",
        epochs=1,
        out=folder / "w.safetensors",
    )


def read_weights(folder: Path) -> Any:
    made = keepers.load_model(folder / "w.safetensors")
    state = made.module.state_dict()
    return {name: value.tolist() for name, value in state.items()}, repr(made.encoder)


class KilledError(Exception):
    pass


@dataclass
class KillAfter:
    """Ends a training after so many steps."""

    steps: int

    def after_step(self, step: Step) -> float:
        self.steps -= 1
        if self.steps < 0:
            raise KilledError
        return 0.0

    def state_dict(self) -> dict[str, Tensor]:
        return {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        pass


def trained(folder: Path, *, kill: bool = False) -> Any:
    inputs, labels = (torch.from_numpy(each) for each in rows(0))
    torch.manual_seed(0)
    module = torch.nn.Linear(6, 3)
    fit(
        module,
        TrainView(pool=DensePool(inputs), labels=labels, positions=torch.arange(90)),
        Recipe(epochs=4, batch_size=30, lr=0.1),
        runtime=Runtime(device=torch.device("cpu")),
        seed=0,
        observers=[KillAfter(7 if kill else 1000)],
        keep=Checkpoint(path=folder / "checkpoint.safetensors", every=0.0),
    )
    return module.weight.tolist()


def killed(folder: Path) -> None:
    with suppress(KilledError):
        trained(folder, kill=True)


def campaign(folder: Path) -> None:
    pool = folder / "pool.csv"
    lines = [f"{word} number {n} of {n % 7}" for n in range(20) for word in ("red", "blue")]
    pool.write_text("\n".join(["text", *lines]) + "\n")
    begun = keepers.Campaign.start(pool, campaign=folder / "c", classes=["red", "blue"])
    batch = begun.query(10)
    votes = [
        keepers.Vote(item=item, label="red" if n % 2 else "blue", annotator="ann")
        for n, item in enumerate(batch.ids)
    ]
    begun.record(votes)
    begun.journal.close()


def opened(folder: Path) -> Any:
    found = keepers.Campaign.open(folder / "c")
    try:
        out = folder / "out.jsonl"
        out.unlink(missing_ok=True)
        found.export(out)
        return json.loads(json.dumps(asdict(found.status()), default=str)), out.read_text()
    finally:
        found.journal.close()


def asked(folder: Path) -> Any:
    found = keepers.Campaign.open(folder / "c")
    try:
        return found.query(5, new=True).ids
    finally:
        found.journal.close()


KINDS: dict[str, Kind] = {
    "run.json": Kind(selection, "run/run.json", selection),
    "stage.json": Kind(selection, "run/stages/*/stage.json", selection),
    "arrays of a stage": Kind(selection, "run/stages/*/*.npy", selection),
    "checkpoint": Kind(killed, "checkpoint.safetensors", trained),
    "weights and losses of a stage": Kind(losses, "run/stages/*/*.*", losses),
    "selection": Kind(written_selection, "kept.parquet", read_selection),
    "irreducible losses": Kind(written_losses, "il.parquet", read_losses),
    "weights": Kind(written_weights, "w.safetensors", read_weights),
    "journal": Kind(campaign, "c/campaign.db", opened),
    "list of a campaign's pool": Kind(campaign, "c/pools/*", opened),
    "features of a campaign": Kind(campaign, "c/work/stages/*/*", asked),
}


def flip(path: Path, draw: random.Random) -> tuple[int, int]:
    content = bytearray(path.read_bytes())
    place, mask = draw.randrange(len(content)), draw.randrange(1, 256)
    content[place] ^= mask
    path.write_bytes(content)
    return place, mask


def outcome(kind: Kind, folder: Path, expected: str, name: str) -> tuple[str, str]:
    """What the flip came to, and what was said."""
    said: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            found = fingerprint(plain(kind.read(folder)))
        except KeepersError as error:
            words = str(error)
            told = name in words and ". " in words  # what is wrong, and then what to do
            return ("refused" if told else "other"), words
        except Exception:
            return "traceback", traceback.format_exc(limit=-3)
        said = [str(each.message) for each in caught]
    same = found == expected
    told = any(name in words for words in said)
    if same:
        return ("repaired" if told else "harmless"), " ".join(said)
    return ("other" if said else "silent"), " ".join(said)


def plain(value: Any) -> Any:
    return json.loads(json.dumps(value, default=str))


def run(name: str, flips: int, seed: int) -> list[dict[str, Any]]:
    """The flips of one kind: file, place, outcome and words of each."""
    kind, draw = KINDS[name], random.Random(f"{seed} {name}")
    found: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="keepers-flips-") as temporary:
        whole, here = Path(temporary) / "whole", Path(temporary) / "here"
        whole.mkdir()
        with warnings.catch_warnings(action="ignore"):
            kind.make(whole)
            shutil.copytree(whole, here)
            expected = fingerprint(plain(kind.read(here)))
        files = sorted(path.relative_to(whole) for path in whole.glob(kind.files))
        assert files, kind.files
        for _ in range(flips):
            shutil.rmtree(here)
            shutil.copytree(whole, here)
            file = draw.choice(files)
            place, mask = flip(here / file, draw)
            what, words = outcome(kind, here, expected, file.name)
            found.append(
                {"file": str(file), "byte": place, "mask": mask, "outcome": what, "said": words}
            )
    return found


def cost() -> float:
    """CPU of the checksums of a finished run of digits, over the whole command in process."""
    from keepers import runs

    spent = 0.0

    def timed(function: Callable[..., Any]) -> Callable[..., Any]:
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            nonlocal spent
            began = time.process_time()
            try:
                return function(*args, **kwargs)
            finally:
                spent += time.process_time() - began

        return wrapped

    runs._digest = timed(runs._digest)  # pyright: ignore[reportPrivateUsage]
    sealed._digest = timed(sealed._digest)  # pyright: ignore[reportPrivateUsage]
    with tempfile.TemporaryDirectory(prefix="keepers-flips-") as folder:
        began = time.process_time()
        for _ in range(2):  # computed, and found finished
            keepers.coreset(
                "digits", method="entropy", run=Path(folder) / "run", out=None
            ).to_parquet(Path(folder) / "kept.parquet", overwrite=True)
        return spent / (time.process_time() - began)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--flips", type=int, default=50, help="of each kind")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default=",".join(KINDS), help="kinds, separated by commas")
    parser.add_argument("--out", type=Path, help="write the counts as JSON")
    given = parser.parse_args()
    torch.set_num_threads(1)
    result: dict[str, Any] = {"kinds": {}}
    for name in given.only.split(","):
        found = run(name, given.flips, given.seed)
        counts = Counter(each["outcome"] for each in found)
        result["kinds"][name] = {what: counts[what] for what in OUTCOMES}
        print(f"{name:32}", dict(counts), flush=True)
        seen: set[str] = set()
        for each in found:
            if each["outcome"] in WRONG or each["outcome"] not in seen:
                seen.add(each["outcome"])
                print("   ", each["outcome"], each["file"], each["byte"], each["said"][:400])
    result["cost"] = round(cost(), 4)
    print(f"checksums: {result['cost']:.2%} of two commands")
    if given.out:
        given.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
