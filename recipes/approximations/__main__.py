"""How near do cheap selection functions come to the exact one? Table 1 of RHO-LOSS.

    python -m recipes.approximations DATA [--config FILE.yaml] [--set NAME=VALUE ...]
                                     [--run FOLDER] [--out FILE.json] [--json]

Settings are those of `ApproximationsConfig`, and `input`, `label`, `limit` and the like.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from keepers.configuration import validated
from keepers.errors import KeepersError
from keepers.files import plain, write_json
from keepers.roles import prepare
from keepers.statistics import standard_deviation
from keepers.workflows.opening import say_skipped, workplace
from keepers.workflows.options.shared import Reading, Shared
from recipes.approximations.study import EXACT, PUBLISHED, ROLES, ApproximationsConfig, Study


def main(given: Sequence[str] | None = None) -> None:
    """Run the study, print its table or its JSON."""
    parser = argparse.ArgumentParser(
        "recipes.approximations",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("data")
    parser.add_argument("--config", type=Path)
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--run", type=Path)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args(given)
    settings: dict[str, Any] = {}
    if arguments.config is not None:
        settings = yaml.safe_load(arguments.config.read_text(encoding="utf-8"))
    for name, _, value in (change.partition("=") for change in arguments.set):
        settings[name] = yaml.safe_load(value)
    try:
        result = approximations(arguments.data, run=arguments.run, **settings)
        if arguments.out is not None:
            write_json(arguments.out, result, overwrite=False)
    except KeepersError as error:
        sys.exit(str(error))
    print(json.dumps(result) if arguments.json else table(result))


def approximations(data: Any, *, run: Path | None = None, **settings: Any) -> dict[str, Any]:
    """Rank correlation (Spearman) of ever cheaper selection functions with the exact one.

    The exact function is the reducible holdout loss of two ensembles that are trained to
    convergence after every batch: the target on what was chosen of it, the irreducible-loss
    models on the holdout data and all that was acquired so far. The approximations, each with
    those before it: a single model for an ensemble; one gradient step on what was chosen in place
    of convergence; an irreducible-loss model that is not updated; a smaller one. Each function
    trains on what it chooses itself, all from the same first weights. The correlations are those
    of the scores on each batch of one epoch, before any function has chosen from it (Mindermann
    et al., ICML 2022, section 4.1 and Appendix E).

    A training has converged when a further epoch does not lower the loss: the target's on what
    it is trained on, an irreducible-loss model's on held-out examples. Where single steps are
    taken, the data are there `copies` times in an order of their own: with as many copies as
    `epochs`, all targets take about as many steps.

    Args:
        data: as in `keepers.coreset`.
        run: folder of the run; a seed that stands there already is not computed again.
        settings: of `ApproximationsConfig`, and of how the data are read.

    Raises:
        KeepersError: anything wrong with what was given.
    """
    names = {"limit", *(each.name for each in fields(Reading))}
    config = validated(ApproximationsConfig, {k: v for k, v in settings.items() if k not in names})
    where = {"device": config.device, "precision": "fp32", "run": run, "say": _say}
    options = validated(Shared, where | {k: v for k, v in settings.items() if k in names})
    with workplace(data, options, purpose="approximations") as (source, place):
        cache = place.run.path / "encoded"
        source, large = place.prepare(config.role("target"), source, parameter="target")
        _, small = prepare(config.role("il_model"), source, parameter="il_model", cache=cache)
        say_skipped(source, _say)
        found: list[dict[str, Any]] = []
        for seed in range(config.seeds):
            study = Study(config=config, source=source, target=large, small=small, seed=seed)
            _, record = place.stage(
                "approximations", study.inputs(place), lambda _, study=study: study.run(place)
            )
            found.append(record.facts)
            means = (f"{name} {mean:.2f}" for name, mean in _means(record.facts).items())
            _say(f"seed {seed}: rank correlation with the exact function: {', '.join(means)}")
        result: dict[str, Any] = plain(
            {
                "kind": "approximations",
                "data": {
                    "name": source.name,
                    "n": len(source),
                    "num_classes": len(source.class_names),
                    "fingerprint": source.fingerprint,
                },
                "config": asdict(config) | {name: config.role(name).identity() for name in ROLES},
                "seeds": list(range(config.seeds)),
                "batches": len(found[0][EXACT]["wrong"]),
                "rows": summarise(found),
                "costs": place.ledger.by_phase(),
                "hardware": place.hardware.identity(gains_from_bf16=False),
            }
        )
        place.run.leave("approximations.json", result, _say)
        return result


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr)


def _means(facts: Mapping[str, Any]) -> dict[str, float]:
    return {name: float(np.mean(facts[name]["correlation"])) for name in PUBLISHED}


def summarise(found: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row for each function: means over the epoch, their mean and standard error over seeds.

    `found` has for each seed and function a list over batches of each quantity. The standard
    error is None under two seeds.
    """
    rows: list[dict[str, Any]] = []
    for name in (EXACT, *PUBLISHED):
        by_seed = {
            quantity: [float(np.mean(facts[name][quantity])) for facts in found]
            for quantity in ("correlation", "shared", "wrong")
        }
        spread = standard_deviation(by_seed["correlation"])
        rows.append(
            {
                "name": name,
                "published": PUBLISHED.get(name),
                "correlation": float(np.mean(by_seed["correlation"])),
                "standard_error": None if spread is None else spread / math.sqrt(len(found)),
                "shared": float(np.mean(by_seed["shared"])),
                "wrong": float(np.mean(by_seed["wrong"])),
                "by_seed": by_seed,
                "by_batch": [facts[name]["correlation"] for facts in found],
            }
        )
    return rows


def table(result: Mapping[str, Any]) -> str:
    """The rows in columns: each approximation has those before it."""
    seeds = len(result["seeds"])
    line = "{:32}{:>12}{:7}{:>10}{:>15}{:>16}".format
    columns = ("correlation", "", "published", "same choice %", "wrong labels %")
    lines = [line("selection function", *columns)]
    for row in result["rows"]:
        name, figures = row["name"], ("–", "", "–", "–")
        if row["published"] is not None:
            error = row["standard_error"]
            spread = "" if error is None else f" ± {error:.2f}"
            shared = f"{100 * row['shared']:.0f}"
            name = f"+ {name}"
            figures = (f"{row['correlation']:.2f}", spread, f"{row['published']:.2f}", shared)
        lines.append(line(name, *figures, f"{100 * row['wrong']:.1f}"))
    over = f"{seeds} seeds, ± standard error" if seeds > 1 else "1 seed"
    batches = f"mean of {result['batches']} batches, {over}"
    return "\n".join([*lines, f"Rank correlation with the exact scores: {batches}"])


if __name__ == "__main__":
    main()
