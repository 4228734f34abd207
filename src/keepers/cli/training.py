"""What `keepers train` and `keepers il` do once their options are read."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from keepers import processes
from keepers.cli.commands import Request
from keepers.cli.outputs import console, print_json, say_written, work
from keepers.ledger import Cost, Ledger, peak_memory_mib
from keepers.online import IrreducibleLosses
from keepers.reports import quantities
from keepers.reports.terminal import cost_table
from keepers.tasks import kinds
from keepers.words import counted
from keepers.workflows.irreducible import cost_of, irreducible_losses
from keepers.workflows.options.irreducible import IrreducibleOptions
from keepers.workflows.options.training import TrainOptions
from keepers.workflows.sought import IL_FILE
from keepers.workflows.train import TrainResult, train


def run_train(request: Request[TrainOptions]) -> None:
    """Train, and write a copy of the weights where one is asked for."""
    with work(request) as options:
        result = train(request.data, **vars(options))
    if processes.rank() != 0:
        return
    out = options.out
    written = {"weights": result.weights}
    if out is not None:
        written["out"] = Path(out)
    if result.made_losses:
        written["losses"] = result.run / IL_FILE
    written["result"] = result.run / "train.json"
    if request.as_json:
        files = {name: str(path) for name, path in written.items()}
        more = {"curve": result.curve, "peak_memory_mib": round(peak_memory_mib(), 1)}
        print_json({**result.metadata, **more, "files": files})
        return
    for line in _told(result):
        sys.stdout.write(f"{line}\n")
    console().print(cost_table(Ledger(_costs(result.metadata["costs"]))))
    say_written(written)
    where = str(out or result.weights)
    if result.weights.is_dir():
        _say_how(
            "Load the model:",
            "from transformers import AutoModelForCausalLM",
            f"model = AutoModelForCausalLM.from_pretrained({where!r})",
        )
        return
    gives = "numbers" if kinds()[result.metadata["task"]].said == "predictions" else "logits"
    _say_how(
        "Load the model:",
        "import keepers",
        f"model = keepers.load_model({where!r})  # .module gives {gives}, .encoder says of what",
    )


def _told(result: TrainResult) -> list[str]:
    """How it went, in a few sentences."""
    facts = result.metadata
    trained = _cost(facts["costs"], "target training")
    of = "conversation" if facts["task"] == "tokens" else "example"
    lines = [
        f"Trained {facts['model']['model']} by {_by(facts)} on "
        f"{counted(facts['trained_on'], of)}: "
        f"{counted(trained.steps, 'step')}, {facts['epochs']:.3g} "
        f"{'epoch' if facts['epochs'] == 1 else 'epochs'}, {quantities.duration(trained.seconds)}"
    ]
    if facts.get("loss") is not None:
        lines.append(f"Held-out loss {facts['loss']:.4f} nats per token")
    if facts.get("accuracy") is not None:
        score, worst = (
            quantities.percent(facts[name], 2) for name in ("accuracy", "worst_class_accuracy")
        )
        lines.append(f"Test {facts['score']} {score}, worst {facts['stratum']} {worst}")
    if facts.get("hand_over") is not None:
        lines.append(facts["hand_over"]["why"])
    step = facts.get("step_cost")
    if step is not None and step["measured"] is not None:
        lines.append(
            f"Selecting took {quantities.duration(facts['choosing_seconds'])} of it: a selecting "
            f"step cost {step['measured']:.1f} plain steps"
        )
        lines.append(uniform_words(result, trained))
    if facts["irreducible"] is not None and not result.weights.is_dir():
        lines.append(_il_cost(result))
    return lines


def _by(facts: Mapping[str, Any]) -> str:
    """What selected; beside it what the person asked for, where that was to decide."""
    asked, used = facts["select"], facts["selected_by"]
    return used if asked == used else f"{used} ({asked})"


def uniform_words(result: TrainResult, trained: Cost) -> str:
    """What plain training could do at the same cost."""
    spent = trained.seconds
    with_losses = ""
    if result.made_losses and (made := cost_of(result.metadata["irreducible"])) is not None:
        spent += made.seconds
        with_losses = " and the irreducible losses"
    plain = (trained.seconds - result.metadata["choosing_seconds"]) / trained.steps
    return (
        f"In the time of this training{with_losses}, uniform training could take about "
        f"{counted(round(spent / plain), 'step')}: keepers compare --online shows which is better"
    )


def _il_cost(result: TrainResult) -> str:
    cost = cost_of(result.metadata["irreducible"])
    paid = "an unknown time" if cost is None else quantities.duration(cost.seconds)
    if result.made_losses:
        return f"The irreducible losses took {paid}; --il reuses them for any other target"
    return f"The irreducible losses were given; making them took {paid}"


def run_il(request: Request[IrreducibleOptions]) -> None:
    """Make irreducible losses, and write them."""
    with work(request) as options:
        losses = irreducible_losses(request.data, **vars(options))
    if processes.rank() != 0:
        return
    out = Path(str(options.out))
    if request.as_json:
        facts = {"n": len(losses), "mean": float(losses.values.mean()), **losses.metadata}
        print_json({**facts, "files": {"losses": str(out)}})
        return
    for line in _quality(losses):
        sys.stdout.write(f"{line}\n")
    console().print(cost_table(Ledger(_costs(losses.metadata["costs"]))))
    say_written({"losses": out})
    if losses.quality:
        argv = ["keepers", "train", request.data, "--select", "rho-loss", "--il", str(out)]
        _say_how("Use them:", shlex.join(argv))
    else:
        _say_how("Use them:", f"keepers.RhoLoss(keepers.IrreducibleLosses.load({str(out)!r}))")


def _quality(losses: IrreducibleLosses) -> list[str]:
    facts, found = losses.metadata, losses.quality
    if not found:  # of a reference model, which nothing was held out for
        return [
            f"Losses of {counted(len(losses), 'conversation')} under {facts['model']['model']}: "
            f"mean {float(losses.values.mean()):.3f} nats per token"
        ]
    folds = facts["folds"]
    how = f"{folds} models, each on the other folds" if folds else "a model on held-out data"
    known = (
        f"On held-out data the model reaches {found['score']} of {found['accuracy']:.2f}"
        if "score" in found
        else f"On held-out data the model is right on {quantities.percent(found['accuracy'])} "
        f"(the largest class: {quantities.percent(found['majority'])}); its probabilities "
        f"are off by {quantities.percent(found['calibration_error'])}"
    )
    lines = [
        f"Irreducible losses of {counted(len(losses), 'example')} from {how} "
        f"({facts['model']['model']}): mean {float(losses.values.mean()):.3f}",
        known,
    ]
    if found["agreement"] is not None:
        lines.append(
            f"The models of the folds agree to {found['agreement']:.2f} (rank correlation)"
        )
    return lines


def _costs(entries: Sequence[Mapping[str, Any]]) -> list[Cost]:
    return [Cost(**entry) for entry in entries]


def _cost(entries: Sequence[Mapping[str, Any]], phase: str) -> Cost:
    return Ledger(_costs(entries)).total(phase)


def _say_how(*lines: str) -> None:
    sys.stdout.write("\n    ".join(lines) + "\n")
