"""Trainings that are killed at random points and go on with another number of ranks.

    python benchmarks/resume_kills.py [--kills N] [--seed S] [--only NAME,...] [--out FILE.json]

A training runs on 1, 2 or 4 processes (gloo, on the CPU), with 0, 1 or 2 workers each. At a random
moment it gets SIGKILL: all of its processes, or one and then the others. It is started again with
another number of ranks, and goes on from its last checkpoint, which is written every three steps:
model, optimiser, and the state of a `keepers.SelectingLoader`. What was trained since is rolled
back with the model. When a training ends, the steps that its model went through are held against
those of one process that nobody kills: `lost` and `repeated` count examples of an epoch that did
not come, or came more often than there; `other` counts steps with other candidates, in another
order, or with another choice among them. All three must be 0 where models compute in double
precision. In single precision, sums over another number of ranks are rounded elsewhere: the row
`rho-loss, fp32` says what comes of it.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import TensorDataset

import keepers
from keepers.files import atomic_path
from keepers.online import BatchSelector, IrreducibleLosses, SelectingLoader
from keepers.training import BatchPolicy, FreshSubset, Weighted, WeightedSampling

N, FEATURES, CLASSES = 203, 12, 4
BATCH, EPOCHS, EVERY = 24, 6, 3
RANKS = (1, 2, 4)
TIMEOUT = 120


@dataclass(frozen=True)
class Scenario:
    """What makes the order of an epoch, and what chooses among the candidates of a step."""

    policy: Callable[[], BatchPolicy | None] = lambda: None
    choose: Callable[[], BatchSelector | None] = lambda: None
    exactly_once: bool = True
    dtype: torch.dtype = torch.float64
    alike: bool = True


def selector(method: str, **given: Any) -> Callable[[], BatchSelector]:
    values = torch.rand(N, generator=torch.Generator().manual_seed(3)) * 2
    losses = IrreducibleLosses.given(torch.arange(N).numpy(), values)
    given = {"keep": 0.25, "among": "all", "hand_over": False, **given}
    return lambda: BatchSelector(method, losses, **given)


WEIGHTS = 0.5 + torch.rand(N, generator=torch.Generator().manual_seed(4))
SCENARIOS = {
    "shuffle": Scenario(),
    "weights": Scenario(lambda: Weighted(WEIGHTS)),
    "weighted sampling": Scenario(
        lambda: WeightedSampling(WEIGHTS, replacement=False, size=150), exactly_once=False
    ),
    "infobatch": Scenario(lambda: keepers.InfoBatch(keep=0.5), exactly_once=False),
    "fresh random subsets": Scenario(lambda: FreshSubset(90), exactly_once=False),
    "rho-loss": Scenario(choose=selector("rho-loss")),
    "rho-loss, hand-over": Scenario(choose=selector("rho-loss", hand_over=True)),
    "loss, losses used again": Scenario(
        choose=selector("loss", scoring=keepers.Scoring(max_age=4))
    ),
    "gradient-norm-is": Scenario(choose=selector("gradient-norm-is")),
    "rho-loss, fresh random subsets": Scenario(
        lambda: FreshSubset(90), selector("rho-loss"), exactly_once=False
    ),
    "rho-loss, own candidates": Scenario(choose=selector("rho-loss", among="own"), alike=False),
    "rho-loss, fp32": Scenario(choose=selector("rho-loss"), dtype=torch.float32, alike=False),
}


def data(dtype: torch.dtype) -> TensorDataset:
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(N, FEATURES, generator=draw, dtype=torch.float64)
    y = (x @ torch.randn(FEATURES, CLASSES, generator=draw, dtype=torch.float64)).argmax(1)
    noisy = torch.rand(N, generator=draw) < 0.1
    y[noisy] = torch.randint(CLASSES, (int(noisy.sum()),), generator=draw)
    return TensorDataset(x.to(dtype), y, torch.arange(N))


@dataclass(frozen=True)
class Training:
    """One training, which may take several legs."""

    folder: Path
    name: str
    seed: int
    epochs: int = EPOCHS
    ddp: bool = True


def train(training: Training, rank: int, ranks: int, workers: int, leg: int) -> None:
    """One process of a leg: from the last checkpoint to the end, unless somebody kills it."""
    torch.set_num_threads(1)
    scenario, folder, seed = SCENARIOS[training.name], training.folder, training.seed
    if ranks > 1:
        os.environ["GLOO_SOCKET_IFNAME"] = "lo"
        dist.init_process_group(
            "gloo", init_method=f"file://{folder}/store-{leg}", rank=rank, world_size=ranks
        )
    loader = SelectingLoader(
        data(scenario.dtype),
        scenario.choose(),
        policy=scenario.policy(),
        batch_size=BATCH,
        epochs=training.epochs,
        seed=seed,
        num_workers=workers,
    )
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        module = nn.Sequential(nn.Linear(FEATURES, 24), nn.ReLU(), nn.Linear(24, CLASSES))
    module = module.to(scenario.dtype)
    model = DistributedDataParallel(module) if ranks > 1 and training.ddp else module
    optimizer = Momentum(module)
    done = 0
    with suppress(FileNotFoundError):
        state = torch.load(folder / "checkpoint.pt", weights_only=True)
        module.load_state_dict(state["module"])
        optimizer.moved = state["optimizer"]
        loader.load_state_dict(state["loader"])
        done = state["done"]
    with (folder / f"leg-{leg}-rank-{rank}.jsonl").open("a") as log:
        write(log, {"begins": done})
        for epoch in range(loader.epoch, training.epochs):
            for batch in loader:
                x, y, ids, *weights = batch
                said = {"step": done, "epoch": epoch, "ids": ids.tolist()}
                if loader.choose is not None:
                    chosen = loader.choose(model, batch)
                    (x, y, ids), weights = chosen.batch, [chosen.weights]
                    said["chosen"] = ids[chosen.weights != 0].tolist()
                write(log, said)  # before the step, so before any checkpoint that holds it
                losses = F.cross_entropy(model(x), y, reduction="none")
                (losses * (weights[0] if weights else loader.share)).mean().backward()
                if ranks > 1 and not training.ddp:
                    average_gradients(module, ranks)
                optimizer.step()
                if loader.policy.watches:
                    loader.note(losses)
                done += 1
                if done % EVERY == 0 and rank == 0:
                    held = {
                        "module": module.state_dict(),
                        "optimizer": optimizer.moved,
                        "loader": loader.state_dict(),
                        "done": done,
                    }
                    with atomic_path(folder / "checkpoint.pt") as path:
                        torch.save(held, path)
        write(log, {"ends": done})
    if ranks > 1:
        dist.barrier()
        dist.destroy_process_group()


class Momentum:
    """SGD with momentum: those of torch.optim, like DDP, import for seconds in each process."""

    def __init__(self, module: nn.Module) -> None:
        self.parameters = list(module.parameters())
        self.moved = [torch.zeros_like(each) for each in self.parameters]

    @torch.no_grad()
    def step(self) -> None:
        for parameter, moved in zip(self.parameters, self.moved, strict=True):
            assert parameter.grad is not None
            moved.mul_(0.9).add_(parameter.grad)
            parameter.sub_(0.3 * moved)
            parameter.grad = None


def average_gradients(module: nn.Module, ranks: int) -> None:
    """What DDP does."""
    for parameter in module.parameters():
        assert parameter.grad is not None
        dist.all_reduce(parameter.grad)
        parameter.grad /= ranks


def write(log: Any, line: dict[str, Any]) -> None:
    log.write(json.dumps(line) + "\n")
    log.flush()
    os.fsync(log.fileno())


def start(training: Training, rank: int, ranks: int, workers: int, leg: int) -> int:
    pid = os.fork()
    if pid:
        return pid
    status = 1
    try:
        train(training, rank, ranks, workers, leg)
        status = 0
    except BaseException:  # of a process whose peer was killed, too
        text = traceback.format_exc()
        (training.folder / f"leg-{leg}-rank-{rank}.error").write_text(text)
    finally:
        os._exit(status)


def leg(training: Training, ranks: int, workers: int, number: int, kill: Any) -> bool:
    """Run one; `kill` is (seconds until it is killed, whether all at once), or None. Did it end?"""
    pids = [start(training, rank, ranks, workers, number) for rank in range(ranks)]
    alive, ended = set(pids), True
    began, killed = time.monotonic(), False
    while alive:
        for pid in list(alive):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                alive.discard(pid)
                ended = ended and status == 0
        now = time.monotonic() - began
        if kill is not None and not killed and now > kill[0] and alive:
            killed = True
            for pid in sorted(alive) if kill[1] else sorted(alive)[number % len(alive) :][:1]:
                os.kill(pid, signal.SIGKILL)
        elif (killed and kill is not None and now > kill[0] + 0.05) or now > TIMEOUT:
            for pid in alive:  # as torchrun does with the others
                os.kill(pid, signal.SIGKILL)
            if now > TIMEOUT:
                raise TimeoutError(f"{training.name}: a leg took over {TIMEOUT} seconds")
        time.sleep(0.002)
    if not ended and not killed:
        said = [path.read_text() for path in training.folder.glob(f"leg-{number}-*.error")]
        raise RuntimeError(f"{training.name}: leg {number} failed by itself: {said}")
    return ended


def history(folder: Path, legs: int) -> tuple[dict[int, dict[str, Any]], int]:
    """The steps that the model at the end went through, and how many were undone on the way."""
    steps: dict[int, dict[str, Any]] = {}
    undone = 0
    for number in range(legs):
        lines = [read(path) for path in sorted(folder.glob(f"leg-{number}-rank-*.jsonl"))]
        if not lines or any(not each for each in lines):
            continue  # killed before it had begun
        begins = lines[0][0]["begins"]
        undone += sum(step >= begins for step in steps)
        steps = {step: said for step, said in steps.items() if step < begins}
        of_ranks = [{each["step"]: each for each in one if "step" in each} for one in lines]
        for step in sorted(set.intersection(*map(set, of_ranks))):
            parts = [said[step] for said in of_ranks]
            chosen = [each for part in parts for each in part.get("chosen", [])]
            assert len({part["epoch"] for part in parts}) == 1
            steps[step] = {
                "epoch": parts[0]["epoch"],
                "ids": dealt([part["ids"] for part in parts]),
                "chosen": sorted(chosen),
            }
    return steps, undone


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().split("\n") if line.endswith("}")]


def dealt(parts: list[list[int]]) -> list[int]:
    return [part[i] for i in range(len(parts[0])) for part in parts if i < len(part)]


def compare(
    found: dict[int, Any], expected: dict[int, Any], scenario: Scenario, epochs: int
) -> dict[str, int]:
    """Examples lost and repeated, and steps that are others."""
    lost = repeated = 0
    for epoch in range(epochs):
        came, wanted = (
            Counter(
                each for said in steps.values() if said["epoch"] == epoch for each in said["ids"]
            )
            for steps in (found, expected)
        )
        if scenario.exactly_once:
            assert wanted == Counter(range(N))
        lost += (wanted - came).total()
        repeated += (came - wanted).total()
    names = ("epoch", "ids", "chosen") if scenario.alike else ("epoch", "ids")
    other = [
        step
        for step in sorted(found.keys() | expected.keys())
        if step not in found
        or step not in expected
        or any(found[step][name] != expected[step][name] for name in names)
    ]
    result = {"steps": len(expected), "lost": lost, "repeated": repeated, "other": len(other)}
    if not scenario.alike:
        steps = found.keys() & expected.keys()
        result["other choices"] = sum(found[s]["chosen"] != expected[s]["chosen"] for s in steps)
    return result


def trial(
    name: str, kills: int, seed: int, folder: str, epochs: int = EPOCHS, *, ddp: bool = True
) -> dict[str, Any]:
    """Trainings of one scenario until so many kills have hit."""
    scenario, draw, home = SCENARIOS[name], random.Random(f"{name} {seed}"), Path(folder)
    total: Counter[str] = Counter()
    hit, number = Counter[str](), 0
    while hit.total() < kills:
        whole, broken = (
            Training(home / f"{number}-{how}", name, number, epochs, ddp)
            for how in ("whole", "broken")
        )
        for training in (whole, broken):
            training.folder.mkdir(parents=True)
        began = time.monotonic()
        assert leg(whole, 1, 0, 0, None)
        seconds = time.monotonic() - began
        expected, legs, ranks, ended = history(whole.folder, 1)[0], 0, 0, False
        while not ended:
            ranks = draw.choice([each for each in RANKS if each != ranks])
            wait = draw.uniform(0.05, 0.1 + seconds * (0.3 + 0.4 * ranks))
            kill = (wait, draw.random() < 0.5) if hit.total() < kills else None
            ended = leg(broken, ranks, draw.choice((0, 0, 1, 2)), legs, kill)
            hit[str(ranks)] += not ended
            legs += 1
        found, undone = history(broken.folder, legs)
        total.update({"undone": undone, **compare(found, expected, scenario, epochs)})
        total["trainings"] += 1
        number += 1
    return {"kills": dict(sorted(hit.items())), **total}


def job(names: list[str], kills: int, folder: str, epochs: int) -> None:
    """Trials whose results are a file."""
    found = {name: trial(name, kills, 0, f"{folder}/{name}", epochs, ddp=False) for name in names}
    Path(folder, "result.json").write_text(json.dumps(found))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--kills", type=int, default=50, help="of each scenario")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default=";".join(SCENARIOS), help="names, separated by ;")
    parser.add_argument("--out", type=Path, help="write the counts as JSON")
    given = parser.parse_args()
    import torch._dynamo  # noqa: F401  # DDP does: once here, not in each process

    result: dict[str, Any] = {}
    for name in given.only.split(";"):
        with tempfile.TemporaryDirectory(prefix="keepers-kills-") as folder:
            result[name] = trial(name, given.kills, given.seed, folder)
        print(f"{name:32}", result[name], flush=True)
    if given.out:
        given.out.write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
