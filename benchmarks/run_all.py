"""Every benchmark, then the tables of docs/benchmarks.md from what was measured.

    python benchmarks/run_all.py [--data FOLDER] [--peer-python PATH] [--only NAME,...]

The parts are `training`, `selectors`, `commands`, `online`, `active`, `flips`, `recipes`,
`verdicts` and `tables`; each writes files in docs/results/benchmarks/, and `tables` writes the page
from the files that are there.
Leave the machine to it. `--peer-python` is the interpreter of an environment with apricot-select.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
PAGE = HERE.parent / "docs" / "benchmarks.md"
RESULTS = HERE.parent / "docs" / "results" / "benchmarks"
CORES = os.cpu_count() or 1
PARTS = (
    "training",
    "selectors",
    "commands",
    "online",
    "active",
    "flips",
    "kills",
    "recipes",
    "verdicts",
    "tables",
)

GOALS = {
    "training": "≥ 0.95",
    "imdb": "≤ 1.5, about 40 s and 2 GiB",
    "cifar10": "≤ 1.5, about 60 s",
    "python -c 'import keepers'": "< 0.3 s",
    "keepers --help": "< 0.5 s",
}
TITLES = {
    "imdb": "IMDB, 25,000 reviews, `fasttext`",
    "cifar10": "CIFAR-10, 50,000 pictures, `preact8` at 16 × 16, 5 epochs, bf16",
}


def table(header: list[str], rows: list[list[str]], *, left: int = 1) -> str:
    """A Markdown table; the first `left` columns are text, the others numbers."""
    rules = ["---" if column < left else "---:" for column in range(len(header))]
    return "\n".join("| " + " | ".join(row) + " |" for row in [header, rules, *rows])


def seconds(value: float) -> str:
    return f"{value:.1f} s" if value >= 10 else f"{value:.2f} s"


def training() -> str:
    rows: list[list[str]] = []
    for path in sorted(RESULTS.glob("training-[0-9]*.json")):
        result = json.loads(path.read_text())
        rows += [
            [
                f"`{row['model']}`",
                row["precision"],
                str(result["threads"]),
                f"{row['examples_per_second']:,}",
                f"{row['training_ratio']:.2f}",
                f"{row['training_cpu_ratio']:.2f}",
                f"{row['scoring_ratio']:.2f}",
                f"{row['scoring_cpu_ratio']:.2f}",
            ]
            for row in result["rows"]
        ]
    header = ["model", "precision", "threads", "trained a second"]
    header += ["training, wall", "training, CPU", "scoring, wall", "scoring, CPU"]
    return table(header, rows, left=2) + f"\n\nGoal: {GOALS['training']}." if rows else ""


def commands() -> str:
    path = RESULTS / "commands.json"
    result = json.loads(path.read_text()) if path.exists() else {}
    parts: list[str] = []
    for name, title in TITLES.items():
        if name not in result:
            continue
        found = result[name]
        rows = [
            [
                candidate,
                seconds(row["wall_s"]),
                seconds(row["cpu_s"]),
                f"{row['peak_mib']:,.0f} MiB",
                f"{row['keepers_ratio_wall']:.2f}" if candidate != "keepers" else "",
                f"{row['keepers_ratio_cpu']:.2f}" if candidate != "keepers" else "",
            ]
            for candidate, row in found["rows"].items()
        ]
        header = ["", "wall", "CPU", "peak memory", "keepers over it, wall", "CPU"]
        load = f"load average before: {found['load_before']:.1f}"
        setting = f"Threads: {found['threads']}; {load}. Goal: {GOALS[name]}."
        parts += [f"**{title}.** {setting}", table(header, rows), _phases(found["rows"])]
    return "\n\n".join(parts)


def _phases(rows: dict[str, Any]) -> str:
    names: dict[str, None] = {}
    for row in rows.values():
        names |= dict.fromkeys(phase for phase in row["phases"] if phase != "the rest")
    header = ["wall seconds", *names, "the rest"]
    return table(
        header,
        [
            [name, *(f"{row['phases'].get(phase, 0):.2f}" for phase in header[1:])]
            for name, row in rows.items()
        ],
    )


def start() -> str:
    path = RESULTS / "commands.json"
    found = json.loads(path.read_text()).get("start", {}) if path.exists() else {}
    rows = [
        [f"`{name}`", f"{row['wall_s']:.2f} s", f"{row['cpu_s']:.2f} s", GOALS[name]]
        for name, row in found.items()
    ]
    return table(["", "wall", "CPU", "goal"], rows) if rows else ""


def starting(file: str = "starting.json") -> str:
    """CPU seconds of small commands, and their ratio to another checkout's where it was beside."""
    rows = [
        [
            f"`{name}`",
            *(seconds(row[side]["cpu_s"]) if side in row else "" for side in ("ours", "beside")),
            f"{row['ratio']:.2f}" if "ratio" in row else "",
            f"{row['ours']['peak_mib']:,.0f} MiB",
        ]
        for name, row in _read(file).get("rows", {}).items()
    ]
    return table(["", "CPU", "CPU before", "ratio", "peak memory"], rows) if rows else ""


def unchanged_pool() -> str:
    """What a campaign's commands cost more on a large pool than on a small one."""
    rows = [
        [
            f"`{name}`",
            *(f"{row[side]['cpu_s']:.2f} s" for side in ("ours", "ours, 1,000")),
            f"{row['ours']['more_s']:.2f} s",
            f"{row['ours']['peak_mib']:,.0f} MiB",
        ]
        for name, row in _read("starting-pool.json").get("rows", {}).items()
    ]
    return table(["", "1,000,000", "1,000", "more CPU", "peak memory"], rows) if rows else ""


def memory() -> str:
    """Anonymous memory beside n × classes on disk, and CPU, beside another checkout."""
    rows = [
        [
            f"`{case['name']}`",
            *(f"{case[side]['extra']:.2f}" if side in case else "" for side in ("ours", "beside")),
            seconds(case["ours"]["cpu_s"]),
            f"{case['cpu_ratio']:.2f}" if "cpu_ratio" in case else "",
        ]
        for case in _read("signals-memory.json").get("cases", ())
    ]
    return table(["", "memory", "memory before", "CPU", "over before"], rows) if rows else ""


def dropout() -> str:
    """Share of the picks that two dropout seeds have in common, by the number of passes."""
    rows: list[list[str]] = []
    for found in _read("dropout-passes.json").get("rows", ()):
        for part, said in (("seeds", ""), ("halves", ", halves")):
            for method in dict.fromkeys(key.split(", ")[0] for key in found[part]):
                own = [value for key, value in found[part].items() if key.startswith(f"{method},")]
                rows.append([f"{found['data']}{said}", f"`{method}`", *(f"{n:.0%}" for n in own)])
    passes = [str(count) for count in (10, 20, 30, 50, 100, 200)]
    return table(["", "passes", *passes], rows, left=2) if rows else ""


def masks() -> str:
    """The same, by how masks are drawn."""
    rows: list[list[str]] = []
    for found in _read("dropout-passes.json").get("rows", ()):
        ways: dict[str, dict[str, float]] = {}
        for key, value in found["ways"].items():
            way, method, count = key.split(", ")
            ways.setdefault(f"{method}`, {count} passes", {})[way] = value
        for what, by_way in ways.items():
            rows.append([found["data"], f"`{what}", *(f"{n:.0%}" for n in by_way.values())])
    header = ["", "", "even masks", "one mask for all", "a mask for each"]
    return table(header, rows, left=2) if rows else ""


def flips() -> str:
    """What one flipped byte came to, by the kind of file."""
    names = ("repaired", "refused", "harmless", "silent", "other", "traceback")
    rows = [
        [kind, *(str(counts[name]) for name in names)]
        for kind, counts in _read("byte-flips.json").get("kinds", {}).items()
    ]
    return table(["", *names], rows) if rows else ""


def kills() -> str:
    """What trainings that were killed and went on had lost, repeated or chosen otherwise."""
    names = ("trainings", "steps", "undone", "lost", "repeated", "other")
    rows = [
        [
            what,
            ", ".join(str(counts["kills"].get(ranks, 0)) for ranks in ("1", "2", "4")),
            *(f"{counts[name]:,}" for name in names),
            str(counts.get("other choices", 0)),
        ]
        for what, counts in _read("resume-kills.json").items()
    ]
    header = ["", "kills on 1, 2, 4 ranks", *names, "other choices"]
    return table(header, rows) if rows else ""


def scale() -> str:
    """CPU seconds and memory of a whole command by its rows."""
    rows = [
        [
            f"{line['rows']:,}",
            line["way"].partition(":")[0],
            line["proxy"] or "none",
            seconds(line["cpu_s"]),
            f"{1000 * line['cpu_s'] / line['rows']:.2f} s",
            f"{line['peak_mib']:,.0f} MiB",
            "" if line["accuracy"] is None else f"{line['accuracy']:.1%}",
        ]
        for line in _read("scale.json").get("lines", ())
    ]
    header = ["texts", "method", "proxy", "CPU", "CPU for 1,000", "peak memory", "right"]
    return table(header, rows, left=3) if rows else ""


def selectors() -> str:
    parts: list[str] = []
    runs = ("", "-exact", "-sampling", "-wide")
    names = [f"selectors{run}.json" for run in runs]
    for case in (case for name in names for case in _read(name).get("tables", ())):
        rows = [
            [
                name,
                f"{row['cpu_s']:.2f} s",
                f"{row['cpu_ratio']:.2f}",
                f"{row['extra_mb']:.0f} MB"
                + (f", whole {row['whole_mb']:,.0f} MB" if "whole_mb" in row else ""),
                f"{row['objective']:.4f}",
            ]
            for name, row in case["rows"].items()
        ]
        header = ["", "CPU", f"over the {case['ratio_to']}", "extra memory", "objective"]
        title = f"**{case['case'].capitalize()}**"
        size = f"{case['n']:,} × {case['d']}, {case['k']:,} picks"
        parts += [f"{title}: {size}.", table(header, rows)]
    return "\n\n".join(parts)


def _read(name: str) -> dict[str, Any]:
    path = RESULTS / name
    return json.loads(path.read_text()) if path.exists() else {}


def _middle(values: list[float | None]) -> str:
    """The median of steps or seconds, and how many of the seeds got there."""
    reached = sorted(value for value in values if value is not None)
    if not reached:
        return "not reached"
    shown = f"{reached[len(reached) // 2]:,.4g}"
    return shown if len(reached) == len(values) else f"{shown} ({len(reached)} of {len(values)})"


def _ratios(row: dict[str, Any], target: str) -> list[str]:
    """Over uniform training, with the irreducible losses reused and charged."""
    ratios = [row.get(f"ratio{charged} {target}") for charged in ("", ", charged")]
    return ["–" if ratio is None else f"{ratio:.2f}" for ratio in ratios]


def _interval(row: dict[str, Any]) -> str:
    mean, low, high = (f"{value * 100:+.2f}" for value in row["final_difference"])
    return f"{mean} ({low} to {high})"


def _mnist(name: str, unit: str) -> str:
    rows = [
        [
            f"{row['noise']:.0%}",
            row["name"],
            f"{float(target[3:]):.1%}",
            _middle(row[target]),
            *_ratios(row, target),
            f"{row['final'] * 100:.2f}",
            "–" if row["name"] == "uniform" else _interval(row),
            f"{row['corrupted']:.0%}",
        ]
        for row in _read(name).get("rows", [])
        for target in row
        if target.startswith("to ")
    ]
    header = ["wrong labels", "", "accuracy", unit, "over uniform", "IL charged"]
    header += ["final accuracy %", "less uniform's", "wrong among trained on"]
    return table(header, rows, left=2) if rows else ""


def online_steps() -> str:
    return _mnist("online-steps.json", "steps")


def online_seconds() -> str:
    return _mnist("online-seconds.json", "seconds")


def online_choice() -> str:
    rows: list[list[str]] = []
    for row in _read("online-choice.json").get("rows", []):
        if row["name"] == "uniform":
            continue
        target = next(key for key in row if key.startswith("to "))
        begins = [f"{row['noise']:.0%}", row["name"], f"{float(target[3:]):.0%}"]
        rows.append([*begins, *_ratios(row, target), _interval(row)])
    header = ["wrong labels", "", "accuracy", "over uniform", "IL charged", "final, less uniform's"]
    return table(header, rows, left=2) if rows else ""


def online_scoring() -> str:
    rows = [
        [
            f"`{row['model']}`",
            row["saving"],
            f"{row['choosing_ms']:.1f} ms",
            f"{row['m']:.2f}",
            f"{row['corrupted']:.0%}",
            f"{row['accuracy'] * 100:.2f}",
        ]
        for row in _read("online-scoring.json").get("rows", [])
    ]
    header = ["", "saving", "choosing", "m", "wrong among trained on", "accuracy %"]
    return table(header, rows, left=2) if rows else ""


def online_overhead() -> str:
    rows = [
        [
            f"`{row['model']}`",
            row["scoring"],
            f"{row['step_ms']:.2f} ms",
            f"{row['overhead_us']:.0f} µs",
            f"{row['least_us']:.0f} µs",
            f"{row['fraction']:.1%}",
        ]
        for row in _read("online-overhead.json").get("rows", [])
    ]
    header = ["", "scoring", "selecting step", "overhead", "least loop", "of the step"]
    return table(header, rows, left=2) if rows else ""


def irreducible() -> str:
    rows = [
        [
            f"`{row['model']}`",
            f"{row['noise']:.0%}",
            row["recipe"],
            f"{row['cpu_seconds']:.1f} s",
            f"{row['held_out_loss']:.3f}",
            f"{row['auc']:.4f}",
        ]
        for row in _read("irreducible.json").get("table", [])
    ]
    header = ["", "wrong labels", "recipe", "CPU", "held-out loss", "AUC of wrong labels"]
    return table(header, rows, left=3) if rows else ""


def active() -> str:
    result = _read("active-selectors.json")
    if not result:
        return ""
    loop, ours = result["k_center"]["rows"].values()
    rows = [
        [
            "k-center, NumPy loop",
            "200,000 × 128",
            "1,000",
            f"{loop['cpu_s']:.2f} s",
            f"{loop['extra_mb']:.0f} MB",
        ],
        [
            f"k-center ({ours['cpu_ratio']:.2f} of the loop)",
            "200,000 × 128",
            "1,000",
            f"{ours['cpu_s']:.2f} s",
            f"{ours['extra_mb']:.0f} MB",
        ],
    ]
    rows += [
        [
            row["name"],
            f"{row['n']:,}",
            f"{row['k']:,}",
            f"{row['cpu_s']:.2f} s",
            f"{row['extra_mb']:.0f} MB",
        ]
        for row in result["rows"]
    ]
    return table(["", "examples", "picks", "CPU", "extra memory"], rows)


def active_pool() -> str:
    result = _read("active-pool.json")
    rows = [
        [
            step["step"],
            _neighbours(campaign),
            f"{step['cpu_seconds']:.1f} s",
            f"{step['mib']:,} MiB",
            ", ".join(f"{name} {spent:.1f} s" for name, spent in step["phases"].items()),
        ]
        for campaign in result.get("campaigns", [])
        for step in campaign["steps"]
    ]
    header = ["", "neighbours scored", "CPU", "peak memory", "of which"]
    return table(header, rows) if rows else ""


def _neighbours(campaign: dict[str, Any]) -> str:
    if campaign["neighbours"] is None:
        return "all"
    if campaign["exact"]:
        return f"{campaign['neighbours']}, exactly"
    share = campaign["share_found"]
    return f"{campaign['neighbours']}" + ("" if share is None else f", {share:.0%} of them found")


def verdicts() -> str:
    path = RESULTS / "verdicts.json"
    rows = json.loads(path.read_text())["rows"] if path.exists() else []
    lines = [
        [
            f"{row['methods']} × {row['fractions']}",
            str(row["seeds"]),
            f"{row['alone']:.1%}",
            f"{row['together']:.1%}",
        ]
        for row in rows
    ]
    header = ["methods × fractions", "seeds", "each interval alone", "judged together"]
    return table(header, lines) if lines else ""


def recipes() -> str:
    from recipes import recipes_table

    return recipes_table(_read("recipes.json").get("rows", []))


def convergence() -> str:
    from recipes import criteria_table

    return criteria_table(_read("recipes.json").get("rows", []))


TABLES: dict[str, Callable[[], str]] = {
    "starting": starting,
    "starting bare": lambda: starting("starting-bare.json"),
    "starting pool": unchanged_pool,
    "signals memory": memory,
    "dropout passes": dropout,
    "byte flips": flips,
    "resume kills": kills,
    "dropout masks": masks,
    "scale": scale,
    "commands": commands,
    "start": start,
    "training": training,
    "selectors": selectors,
    "online steps": online_steps,
    "online seconds": online_seconds,
    "online choice": online_choice,
    "online scoring": online_scoring,
    "online overhead": online_overhead,
    "irreducible": irreducible,
    "active": active,
    "active pool": active_pool,
    "recipes": recipes,
    "convergence": convergence,
    "verdicts": verdicts,
}


def write_tables() -> None:
    """Put what was measured between the markers of the page."""
    page = PAGE.read_text(encoding="utf-8")
    for name, make in TABLES.items():
        between = rf"(<!-- measured: {name} -->\n).*?(<!-- end of {name} -->)"
        shown = make() or "Not measured yet."
        page, times = re.subn(
            between,
            lambda found, shown=shown: f"{found[1]}\n{shown}\n\n{found[2]}",
            page,
            flags=re.DOTALL,
        )
        assert times == 1, f"{PAGE} has no place for the table of {name}"
    PAGE.write_text(page, encoding="utf-8")
    print(f"wrote {PAGE}")


def benchmark(script: str, *options: str, out: str, threads: int) -> None:
    command = [sys.executable, str(HERE / script), *options, "--out", str(RESULTS / out)]
    print(f"\n$ {' '.join(command)}", flush=True)
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    subprocess.run(command, env=environment, check=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", help="folder of the data sets (default: see commands.py)")
    parser.add_argument("--peer-python", help="interpreter that has apricot-select")
    parser.add_argument("--only", default=",".join(PARTS), help="parts, separated by commas")
    parser.add_argument("--repeats", default="5", help="of the training benchmark")
    args = parser.parse_args()
    parts = args.only.split(",")
    if unknown := set(parts) - set(PARTS):
        parser.error(f"no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    RESULTS.mkdir(parents=True, exist_ok=True)
    if "training" in parts:
        for threads in sorted({1, CORES}):
            given = ("--threads", str(threads), "--repeats", args.repeats)
            out = f"training-{threads}.json"
            benchmark("training.py", *given, out=out, threads=threads)
    if "selectors" in parts:
        peer = ("--peer-python", args.peer_python) if args.peer_python else ()
        benchmark("bench_selectors.py", "--large", *peer, out="selectors.json", threads=1)
        benchmark("bench_selectors.py", "--wide", out="selectors-wide.json", threads=1)
        benchmark("signals_memory.py", out="signals-memory.json", threads=1)
    if "commands" in parts:
        data = ("--data", args.data) if args.data else ()
        given = ("--threads", str(CORES), *data)
        benchmark("commands.py", *given, out="commands.json", threads=CORES)
        benchmark("scale.py", out="scale.json", threads=1)
        benchmark("starting.py", out="starting.json", threads=1)
        benchmark("starting.py", "--pool", "1000000", out="starting-pool.json", threads=1)
    if "online" in parts:
        data = ("--data", args.data or "data")
        for part in ("steps", "seconds"):
            given = (*data, "--part", part)
            benchmark("online_mnist.py", *given, out=f"online-{part}.json", threads=1)
        benchmark("online_choice.py", *data, out="online-choice.json", threads=1)
        benchmark("online_scoring.py", *data, out="online-scoring.json", threads=1)
        benchmark("online_overhead.py", out="online-overhead.json", threads=1)
        benchmark("irreducible.py", *data, out="irreducible.json", threads=1)
    if "active" in parts:
        benchmark("active_selectors.py", out="active-selectors.json", threads=1)
        data = ("--data", args.data or "data")
        benchmark("dropout_passes.py", *data, out="dropout-passes.json", threads=1)
        given = ("--rows", "1000000", "--neighbours", "20")
        benchmark("active_pool.py", *given, out="active-pool.json", threads=1)
    if "flips" in parts:
        benchmark("byte_flips.py", out="byte-flips.json", threads=1)
    if "kills" in parts:
        benchmark("resume_kills.py", out="resume-kills.json", threads=1)
    if "recipes" in parts:
        data = ("--data", args.data or "data")
        benchmark("recipes.py", *data, out="recipes.json", threads=1)
    if "verdicts" in parts:
        benchmark("verdicts.py", out="verdicts.json", threads=1)
    if "tables" in parts:
        write_tables()


if __name__ == "__main__":
    main()
