"""RHO-LOSS by conversation against uniform steps, with right answers and with exchanged ones.

python benchmarks/rho_conversations.py POOL.json --model hf:PATH --folder FOLDER [options]
    [--out FILE.json] [--name NAME]
python benchmarks/rho_conversations.py table FILE.json

POOL.json is a list of instructions with `output`. Its rows of at most `--characters` are dealt out
once, at random: some are held out, some tune the reference, the rest is trained on. With
`--damage 0.2` a fifth of the answers that are trained on are exchanged among each other; those held
out are right, and those of the reference. That is the model itself, tuned on its rows.

Both ways take the same number of steps on as many conversations, chosen from all candidates or
not, at the same learning rate: `keepers.train` by `rho-loss` and by `uniform`, one seed for each
order. Beside them are the loss of the reference itself, and the share of exchanged answers in the
quarter with the highest excess before any step (`top`).
"""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch

import keepers
from keepers.data import open_source
from keepers.files import write_json
from keepers.models import language_model
from keepers.processes import Runtime
from keepers.signals import read_through
from keepers.statistics import paired_difference
from keepers.workflows.conversations import as_tokens

WAYS = ("uniform", "rho-loss")


def exchanged(rows: list[dict[str, Any]], share: float) -> tuple[list[dict[str, Any]], list[int]]:
    """The rows, a share of the answers moved on by one among each other, and which those are."""
    drawn = np.random.default_rng(1).permutation(len(rows))[: round(share * len(rows))]
    found = [dict(row) for row in rows]
    for place, at in enumerate(drawn):
        found[at]["output"] = rows[drawn[place - 1]]["output"]
    return found, sorted(drawn.tolist())


def dealt(args: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """The rows that are held out, that tune the reference, and that are trained on."""
    rows = json.loads(Path(args.pool).read_text())
    rows = [row for row in rows if len("".join(row.values())) <= args.characters]
    rows = [rows[at] for at in np.random.default_rng(0).permutation(len(rows))]
    rows = [row | {"key": at} for at, row in enumerate(rows)]
    ends = np.cumsum([args.test, args.reference, args.rows])
    starts = zip(("test", "reference", "pool"), (0, *ends), ends, strict=False)
    return {name: rows[start:stop] for name, start, stop in starts}


def written(path: Path, rows: list[dict[str, Any]]) -> Path:
    """The rows in a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows))
    return path


def trained(args: argparse.Namespace, data: Path, run: Path, **given: Any) -> Any:
    """A training in a run directory, found again where it is whole."""
    print(run, flush=True)
    return keepers.train(
        data,
        task="tokens",
        id="key",
        model={
            "model": args.model,
            "lr": args.lr,
            "batch_size": args.batch,
            "options": {"length": args.length},
        },
        run=run,
        device="cpu",
        say=lambda sentence: print(sentence, flush=True),
        **given,
    )


def in_the_top(
    args: argparse.Namespace, data: Path, losses: torch.Tensor, wrong: list[int]
) -> float:
    """The share of exchanged among the highest excess, of the model before any step."""
    model = language_model(args.model, "model", length=args.length)
    _, sequences = as_tokens(open_source(data, task="tokens"), model, "error", print)
    read = read_through(model, sequences, runtime=Runtime(device=torch.device("cpu")))
    top = (read.sums / read.counts - losses).topk(round(args.keep * len(sequences))).indices
    return float(np.isin(top.numpy(), wrong).mean())


def held_out_loss(args: argparse.Namespace, tuned: Path, test: Path) -> float:
    """That of the reference itself, in nats per token."""
    model = language_model(f"hf:{tuned}", "model", length=args.length)
    _, sequences = as_tokens(open_source(test, task="tokens"), model, "error", print)
    read = read_through(model, sequences, runtime=Runtime(device=torch.device("cpu")))
    return float(read.sums.sum() / read.counts.sum())


@dataclass(frozen=True)
class Cell:
    """What is trained on, with a share of exchanged answers; irreducible losses of it."""

    args: argparse.Namespace
    damage: float
    test: Path
    tuned: Path
    rows: list[dict[str, Any]]

    @property
    def folder(self) -> Path:
        """Where its runs lie."""
        return self.tuned.parent / f"{self.damage:g}"

    @cached_property
    def wrong(self) -> list[int]:
        """Which are exchanged."""
        return exchanged(self.rows, self.damage)[1]

    @cached_property
    def pool(self) -> Path:
        """The file."""
        return written(self.folder / "pool.json", exchanged(self.rows, self.damage)[0])

    @cached_property
    def losses(self) -> keepers.IrreducibleLosses:
        """Those of the reference."""
        reference = {"model": f"hf:{self.tuned}", "options": {"length": self.args.length}}
        given: dict[str, Any] = {"task": "tokens", "id": "key", "device": "cpu"}
        return keepers.irreducible_losses(
            self.pool, model=reference, run=self.folder / "il", **given
        )

    def curve(self, way: str, seed: int) -> list[dict[str, float]]:
        """Held-out losses of a training."""
        chosen = {"keep": self.args.keep, "il": self.losses} if way == "rho-loss" else {}
        lengths = {"steps": self.args.steps, "evaluate_every": self.args.steps}
        run = self.folder / f"{way}-{seed}"
        given = {"select": way, "test": self.test, "seed": seed, **lengths, **chosen}
        return trained(self.args, self.pool, run, **given).curve

    def result(self, found: dict[str, list[list[dict[str, float]]]]) -> dict[str, Any]:
        """What the curves of all seeds tell."""
        ends = {way: [curve[-1]["loss"] for curve in curves] for way, curves in found.items()}
        source = open_source(self.pool, task="tokens", id="key")
        values = self.losses.of(source).double()
        return {
            "damage": self.damage,
            "exchanged": len(self.wrong),
            "exchanged_in_the_top": in_the_top(self.args, self.pool, values, self.wrong),
            "before": found["uniform"][0][0]["loss"],
            "losses": ends,
            "seconds": {
                way: float(np.mean([curve[-1]["seconds"] for curve in curves]))
                for way, curves in found.items()
            },
            "difference": asdict(paired_difference(ends["rho-loss"], ends["uniform"])),
        }


def measured(args: argparse.Namespace) -> list[dict[str, Any]]:
    """The cells, one for each share of exchanged answers; seed by seed, so that some are whole."""
    parts, folder = dealt(args), Path(args.folder)
    test = written(folder / "test.json", parts["test"])
    tuned = folder / "tuned"
    data = written(folder / "reference.json", parts["reference"])
    given: dict[str, Any] = {"select": "uniform", "epochs": args.passes, "evaluate_every": 10**6}
    trained(args, data, folder / "reference", out=tuned, overwrite=True, **given)
    shares = [float(each) for each in args.damage.split(",")]
    cells = [Cell(args, damage, test, tuned, parts["pool"]) for damage in shares]
    curves: list[dict[str, Any]] = [{way: [] for way in WAYS} for _ in cells]
    for seed in range(args.seeds):
        for cell, found in zip(cells, curves, strict=True):
            for way in WAYS:
                found[way].append(cell.curve(way, seed))
    return [
        cell.result(found) | {"reference": held_out_loss(args, tuned, test)}
        for cell, found in zip(cells, curves, strict=True)
    ]


def table(path: Path) -> None:
    """Print a table in Markdown."""
    print(
        "| model | answers exchanged | before | uniform | rho-loss | difference | exchanged, top |"
    )
    print("|---|---|---|---|---|---|---|")
    for name, found in json.loads(path.read_text()).items():
        for row in found["rows"]:
            gap = row["difference"]
            ends = [f"{np.mean(row['losses'][way]):.3f}" for way in WAYS]
            words = f"{gap['mean']:+.3f} ({gap['low']:+.3f} to {gap['high']:+.3f})"
            print(
                f"| {name} | {row['damage']:.0%} | {row['before']:.3f} "
                f"| {row['reference']:.3f} | {ends[0]} | {ends[1]} "
                f"| {words} {gap['verdict']} | {row['exchanged_in_the_top']:.0%} |".replace(
                    "-", "−"
                )
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pool")
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--model")
    parser.add_argument("--folder")
    parser.add_argument("--name", default="model")
    parser.add_argument("--damage", default="0,0.2")
    parser.add_argument("--test", type=int, default=40)
    parser.add_argument("--reference", type=int, default=128)
    parser.add_argument("--rows", type=int, default=192)
    parser.add_argument("--characters", type=int, default=200)
    parser.add_argument("--passes", type=int, default=1)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--keep", type=float, default=0.25)
    parser.add_argument("--lr", type=float, default=1e-4)
    parser.add_argument("--length", type=int, default=128)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    if args.pool == "table":
        table(args.file)
        return
    settings = {
        name: value
        for name, value in vars(args).items()
        if name not in ("pool", "file", "model", "folder", "out", "name")
    }
    rows = measured(args)
    found = {"data": Path(args.pool).name, "settings": settings, "rows": rows}
    print(json.dumps(rows, indent=1))
    if args.out:
        known = json.loads(args.out.read_text()) if args.out.exists() else {}
        write_json(args.out, {**known, args.name: found}, overwrite=True)


if __name__ == "__main__":
    main()
