from __future__ import annotations

import base64
import io
import re
import time
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from rich.console import Console

from commands import plain_lines
from keepers.data import Source, open_source
from keepers.errors import RunError
from keepers.ledger import Cost
from keepers.reports import answers, histogram
from keepers.reports.compare import compare_report, compare_table
from keepers.reports.coreset import report
from keepers.reports.examples import SMALL_SIDE, show
from keepers.reports.findings import doubtful, extremes, find_cut, shares
from keepers.reports.terminal import coreset_summary
from keepers.roles import Role
from keepers.selection import Selection
from keepers.statistics import ENOUGH_SEEDS
from keepers.workflows.evidence import Evidence

ATTACK = "<script>alert('x')</script><img src=x onerror=alert(1)>\"'&"
SECTIONS = ("class-balance", "border", "cost", "use", "made")


class Page(HTMLParser):
    """Tags, attributes, ids of sections and text of a page."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.words: list[str] = []
        self.html = path.read_text(encoding="utf-8")
        self.feed(self.html)
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def sections(self) -> set[str]:
        return {value for tag, name, value in self.attributes if (tag, name) == ("section", "id")}

    def check_safe(self) -> None:
        """No script, no handler, and nothing that a browser would fetch."""
        assert not {"script", "iframe", "object", "embed", "link", "base"} & set(self.tags)
        for _, name, value in self.attributes:
            assert not name.startswith("on"), name
            if name in {"src", "href", "xlink:href", "srcset", "data", "action", "poster"}:
                assert value.startswith(("data:", "#")), value
        assert "@import" not in self.html
        for target in re.findall(r"url\((.*?)\)", self.html):
            assert target.startswith("#"), target


def make(
    source: Source,
    folder: Path,
    *,
    scores: np.ndarray | None = None,
    order: np.ndarray | None = None,
    keep: float = 0.5,
    trained: bool = True,
    validation: int = 0,
    warnings: tuple[str, ...] = (),
    **metadata: Any,
) -> Selection:
    n = len(source)
    candidates = np.arange(n)[: n - validation]
    if order is None:
        assert scores is not None
        order = candidates[np.argsort(-scores[candidates], kind="stable")]
    order = order[: round(keep * len(candidates))]
    rank = np.full(n, -1)
    rank[order] = np.arange(len(order))
    labels = source.labels
    assert labels is not None
    wrong = np.arange(n) % 7 == 0
    evidence = Evidence(
        source=source,
        rank=rank,
        weight=(rank >= 0).astype(float),
        scores=scores,
        predicted=np.where(wrong, (labels + 1) % len(source.class_names), labels)
        if trained
        else None,
        label_probability=np.where(wrong, 0.01, 0.9) if trained else None,
        margin=None,
        validation=np.arange(n - validation, n),
        costs=(
            Cost(phase="reading", seconds=0.5, examples=n),
            Cost(phase="proxy training", seconds=75.0, examples=5 * n, steps=12, flops=2.5e12),
        ),
        validation_accuracy=0.875 if validation else None,
        warnings=warnings,
        run=folder,
    )
    kept = rank >= 0
    table = pa.table(
        {
            "id": source.ids.tolist(),
            "row": source.rows,
            "label": [source.class_names[label] for label in labels],
            "kept": kept,
            "rank": pa.array(rank, mask=~kept),
            "score": np.full(n, np.nan) if scores is None else scores,
            "weight": kept.astype(float),
            "reason": [""] * n,
        }
    )
    about = {"method": "entropy", "seed": 3, "proxy": {"model": "mlp"} if trained else None}
    return Selection(
        table=table,
        metadata={**about, "k": len(order), "n": len(candidates), **metadata},
        evidence=evidence,
    )


def random_scores(n: int) -> np.ndarray:
    return np.random.default_rng(0).random(n)


@pytest.fixture(scope="module")
def digits() -> Source:
    return open_source("digits")


@pytest.fixture(scope="module")
def hostile() -> Source:
    rows = range(40)
    table = pa.table(
        {
            "text": [f"{i} {ATTACK} " + "long " * (100 * (i % 2)) for i in rows],
            "label": [f"class {i % 2} {ATTACK} $x^2$" for i in rows],
            "key": [f"{ATTACK}{i}" for i in rows],
            "from": [f"group {i % 3} {ATTACK}" for i in rows],
        }
    )
    return open_source(table, input="text", label="label", id="key", group="from")


def test_a_digits_report_has_every_section_and_says_what_was_kept(
    digits: Source, tmp_path: Path
) -> None:
    selection = make(
        digits, tmp_path, scores=random_scores(len(digits)), validation=197, warnings=("beware",)
    )
    path = report(selection)
    page = Page(path)
    page.check_safe()
    assert path == tmp_path / "report.html"
    assert page.sections == {*SECTIONS, "scores", "extremes", "mislabelled"}
    for words in (
        "Kept 800 of 1,600 examples",
        "accuracy of the proxy (mlp) on its validation part",
        "87.5%",
        "Warning: beware",
        "Just kept",
        "Just dropped",
        "Highest scores",
        "Lowest scores",
        "Most doubtful labels",
        "proxy training 1 min 15 s",
        "2.50 TFLOP",
        digits.fingerprint,
        "seed: 3",
    ):
        assert words in page.text, words
    assert page.tags.count("img") == 60
    assert ("img", "class", "pixelated") in page.attributes
    assert "svg" in page.tags


def test_a_method_without_scores_shows_its_order_of_picking(digits: Source, tmp_path: Path) -> None:
    order = np.random.default_rng(1).permutation(len(digits))
    selection = make(digits, tmp_path, order=order, trained=False, method="k-center")
    page = Page(report(selection))
    assert page.sections == set(SECTIONS)
    assert "k-center gives no scores" in page.text
    first, last = (digits.rows[order[i]] for i in (0, round(0.5 * len(digits)) - 1))
    for words in ("Picked first", "Picked last", f"pick 1 row {first:,}", f"row {last:,}"):
        assert words in page.text, words
    assert "as the proxy" not in page.text
    assert "accuracy" not in page.text


def test_accuracy_on_the_training_examples_is_called_that(digits: Source, tmp_path: Path) -> None:
    selection = make(
        digits, tmp_path, scores=random_scores(len(digits)), proxy_training_accuracy=0.93
    )
    page = Page(report(selection))
    assert "93% accuracy of the proxy (mlp) on the examples it was trained on" in page.text
    assert "right on 93%, on the examples it was trained" in " ".join(
        plain_lines(coreset_summary(selection))
    )


def test_texts_ids_classes_groups_and_warnings_are_escaped(hostile: Source, tmp_path: Path) -> None:
    selection = make(
        hostile,
        tmp_path,
        scores=random_scores(len(hostile)),
        validation=4,
        warnings=(ATTACK,),
        method=ATTACK,
        config={"method": ATTACK, "torch": torch.__version__},
        versions={ATTACK: ATTACK},
        balance=ATTACK,
        proxy=ATTACK,
    )
    page = Page(report(selection))
    page.check_safe()
    assert "<script" not in page.html
    assert "onerror" not in [name for _, name, _ in page.attributes]
    for words in (f"class 0 {ATTACK} $x^2$", f"group 2 {ATTACK}", f"Warning: {ATTACK}"):
        assert words in page.text, words
    shown = [i for i in range(40) if f"{i} {ATTACK}" in page.text and f"{ATTACK}{i} " in page.text]
    assert len(shown) >= 12
    assert "group-balance" in page.sections
    assert page.text.count("All ") > 6  # the whole text stands in details


def test_a_comparison_is_escaped_too(tmp_path: Path) -> None:
    result = comparison()
    for row in result["rows"]:
        if row["method"] == "entropy":
            row["method"] = ATTACK
    result["data"] |= {"name": ATTACK, "test_name": ATTACK}
    result["config"] = {"proxy": ATTACK, "target": {"model": ATTACK}}
    result["agreement"][0]["models"] = [f"{ATTACK} seed {i}" for i in range(4)]
    page = Page(compare_report(result, tmp_path / "c.html"))
    page.check_safe()
    assert "<script" not in page.html
    assert page.text.count(ATTACK) > 8


def test_the_same_run_gives_the_same_bytes_whatever_the_users_style(
    digits: Source, tmp_path: Path
) -> None:
    selection = make(digits, tmp_path, scores=random_scores(len(digits)))
    one = report(selection, tmp_path / "one.html").read_bytes()
    before = dict(mpl.rcParams)
    with mpl.rc_context({"font.size": 30, "axes.facecolor": "red", "lines.linewidth": 9}):
        two = report(selection, tmp_path / "two.html").read_bytes()
        first = compare_report(comparison(), tmp_path / "three.html").read_bytes()
    assert one == two
    assert first == compare_report(comparison(), tmp_path / "four.html").read_bytes()
    assert dict(mpl.rcParams) == before


def test_a_page_names_no_other_address_and_no_date(digits: Source, tmp_path: Path) -> None:
    selection = make(digits, tmp_path, scores=random_scores(len(digits)))
    for path in (report(selection), compare_report(comparison(), tmp_path / "c.html")):
        page = Page(path)
        assert "http:" not in page.html
        assert "https:" not in page.html
        assert str(time.gmtime().tm_year) not in re.sub(r"base64,[^\"]*", "", page.html)


def test_fifty_thousand_examples_of_many_classes_stay_quick_and_small(tmp_path: Path) -> None:
    n = 50_000
    drawn = np.random.default_rng(0)
    inputs = drawn.standard_normal((n, 4)).astype(np.float32)
    source = open_source((inputs, np.arange(n) % 5_000))
    selection = make(source, tmp_path, scores=drawn.exponential(size=n))
    start = time.process_time()
    path = report(selection)
    assert time.process_time() - start < 2
    assert path.stat().st_size < 3_000_000
    page = Page(path)
    assert "The 12 with the highest and the 12 with the lowest share of 5,000 classes" in page.text
    assert "4,500 in between are left out" in page.text


def test_large_pictures_and_long_texts_are_cut_down(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (24, 3, 300, 400), dtype=np.uint8)
    pictures = open_source((noise, np.arange(24) % 2))
    path = report(make(pictures, tmp_path, scores=random_scores(24)))
    assert path.stat().st_size < 3_000_000
    page = Page(path)
    uri = next(value for tag, name, value in page.attributes if (tag, name) == ("img", "src"))
    with Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))) as image:
        assert max(image.size) == 192
    texts = pa.table(
        {"text": [f"{i} " + "<'>" * 30_000 for i in range(72)], "label": ["a", "b"] * 36}
    )
    path = report(make(open_source(texts), tmp_path, scores=random_scores(72)))
    assert path.stat().st_size < 3_000_000
    assert re.search(r"… \([\d,]+ more characters\)", Page(path).text)


def test_small_pictures_are_shown_as_they_are(digits: Source, tmp_path: Path) -> None:
    selection = make(digits, tmp_path, scores=random_scores(len(digits)))
    (example,) = show(selection.evidence, [5], about="score")
    data = digits.preview(5)
    assert isinstance(data, bytes)
    assert max(Image.open(io.BytesIO(data)).size) <= SMALL_SIDE
    assert base64.b64decode(example.preview.picture.partition(",")[2]) == data
    assert example.id == digits.ids[5]
    assert example.row == digits.rows[5]


def test_a_selection_from_a_file_says_how_to_get_a_report(digits: Source, tmp_path: Path) -> None:
    selection = make(digits, tmp_path, scores=random_scores(len(digits)))
    read = Selection.read_parquet(selection.to_parquet(tmp_path / "kept.parquet"))
    with pytest.raises(RunError, match=r"selection: .* same run directory .* instant"):
        report(read)
    assert "Kept 898 of 1,797 examples (50%)" in plain_lines(coreset_summary(read))[0]


def test_an_existing_report_is_kept_unless_told(digits: Source, tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")
    selection = make(digits, tmp_path, scores=random_scores(len(digits)))
    with pytest.raises(RunError, match="overwrite"):
        report(selection, overwrite=False)
    with pytest.raises(RunError, match="overwrite"):
        compare_report(comparison(), path, overwrite=False)
    assert path.read_text() == "old"


@pytest.mark.parametrize("keep", [1.0, 1 / 1797])
def test_all_or_nearly_none_kept(digits: Source, tmp_path: Path, keep: float) -> None:
    scores = np.full(len(digits), np.inf)
    page = Page(report(make(digits, tmp_path, scores=scores, keep=keep)))
    assert f"Kept {round(keep * 1797):,} of 1,797 examples" in page.text
    assert "∞" in page.text


def test_the_cut_of_each_class_by_hand() -> None:
    labels = np.array([0, 0, 0, 1, 1, 1])
    scores = np.array([9.0, 8.0, 7.0, 3.0, 2.0, 1.0])
    rank = np.array([0, -1, -1, 1, 2, -1])
    cut = find_cut(scores, rank, np.ones(6, bool), labels, count=3)
    assert (cut.kind, cut.value) == ("class", None)
    assert cut.above.tolist() == [4, 0, 3]  # distances 0.5, 0.5, 1.5; the later pick first
    assert cut.below.tolist() == [1, 5, 2]


def test_infinite_scores_have_a_bar_of_their_own() -> None:
    scores = np.array([0.0, 0.0, 1.0, 4.0, np.inf, np.inf])
    kept = scores >= 1
    chart = histogram.histogram_chart(histogram.bin_scores(scores, kept), cut=0.5, name="$x")
    assert re.findall(r">([^<>\n]+)</text>", chart)[:6] == ["0", "1", "2", "3", "4", "∞"]
    assert "$x" in chart


def test_no_cut_where_a_method_draws() -> None:
    scores = np.array([4.0, 3.0, 2.0, 1.0])
    rank = np.array([-1, 0, -1, 1])
    cut = find_cut(scores, rank, np.ones(4, bool), np.zeros(4, np.int64), count=2)
    assert (cut.kind, cut.value, cut.above.tolist()) == ("none", None, [3, 1])


def test_ties_at_the_cut_are_counted_and_infinity_ranks_first() -> None:
    scores = np.array([np.inf, 2.0, 2.0, 2.0, 0.0])
    rank = np.array([0, 1, -1, -1, -1])
    cut = find_cut(scores, rank, np.ones(5, bool), None, count=1)
    assert (cut.kind, cut.value, cut.tied) == ("score", 2.0, 3)
    assert (cut.above.tolist(), cut.below.tolist()) == ([1], [2])
    highest, lowest = extremes(scores, np.ones(5, bool), count=2)
    assert (highest.tolist(), lowest.tolist()) == ([0, 1], [4, 1])


@given(
    st.lists(st.integers(0, 9), min_size=2, max_size=30).flatmap(
        lambda scores: st.tuples(st.just(scores), st.integers(1, len(scores) - 1))
    )
)
def test_nearest_to_the_cut_agrees_with_a_plain_sort(case: tuple[list[int], int]) -> None:
    values, k = case
    scores = np.array(values, float)
    order = sorted(range(len(values)), key=lambda i: (-values[i], i))
    rank = np.full(len(values), -1)
    rank[order[:k]] = np.arange(k)
    cut = find_cut(scores, rank, np.ones(len(values), bool), None, count=4)
    assert cut.kind == "score"
    assert cut.value == (values[order[k - 1]] + values[order[k]]) / 2
    assert cut.above.tolist() == order[:k][::-1][:4]
    assert cut.below.tolist() == order[k:][:4]
    tied = values.count(values[order[k]]) if values[order[k]] == values[order[k - 1]] else 0
    assert cut.tied == tied


def test_validation_rows_and_unknown_labels_do_not_count() -> None:
    labels = np.array([0, 1, 1, -1])
    found = shares(labels, ["a", "b"], np.array([1, 0, 1, 1], bool), np.array([1, 1, 0, 1], bool))
    assert [(s.name, s.kept, s.dropped, s.share) for s in found] == [
        ("a", 1, 0, 1.0),
        ("b", 0, 1, 0.0),
    ]
    unsure = doubtful(np.array([1, 1, 0, 0]), labels, np.array([0.3, 0.9, 0.1, 0.0]))
    assert unsure.tolist() == [2, 0]


@given(
    st.lists(
        st.tuples(st.floats(-50, 50) | st.just(float("inf")), st.booleans()),
        min_size=1,
        max_size=60,
    ),
    st.floats(-40, 40),
)
def test_every_score_is_in_one_bin(cases: list[tuple[float, bool]], cut: float) -> None:
    scores = np.array([score for score, _ in cases])
    kept = np.array([kept for _, kept in cases])
    found = histogram.bin_scores(scores, kept, cut=cut)
    assert found.kept.sum() + found.infinite_kept == kept.sum()
    assert found.dropped.sum() + found.infinite_dropped == (~kept).sum()


def test_an_edge_of_the_bins_lies_on_the_cut() -> None:
    scores = random_scores(1000)
    found = histogram.bin_scores(scores, scores > 0.4321, cut=0.4321)
    assert np.isclose(found.edges, 0.4321).any()
    assert not np.any((found.kept > 0) & (found.dropped > 0))


def row(
    method: str, keep: float, error: float, verdict: str | None, *, selector: str | None = None
) -> dict[str, Any]:
    difference = None
    if verdict is not None:
        mean = error - (0.3 - 0.2 * keep)
        difference = {
            "mean": mean,
            "low": mean - 0.005,
            "high": mean + 0.005,
            "verdict": verdict,
            "pairs": 5,
        }
    return {
        "method": method,
        "selector": selector,
        "keep": keep,
        "k": int(1000 * keep),
        "errors": [error] * 5,
        "error_mean": error,
        "error_std": 0.002,
        "worst_class_errors": [2 * error] * 5,
        "worst_class_error_mean": 2 * error,
        "difference": difference,
        "selection_seconds": 20.0,
        "target_seconds": 460 * keep,
        "end_to_end_seconds": 20 + 460 * keep,
        "selection_flops": 1e12,
        "target_flops": keep * 1e14,
        "end_to_end_flops": 1e12 + keep * 1e14,
        "speedup_seconds": 464 / (20 + 460 * keep),
        "speedup_flops": 1 / keep,
    }


def comparison() -> dict[str, Any]:
    by = {"selector": "proxy"}
    return {
        "kind": "compare",
        "data": {
            "name": "train.parquet",
            "kind": "image",
            "n": 1000,
            "num_classes": 10,
            "test_name": "test.parquet",
            "test_n": 500,
            "fingerprint": "f" * 32,
        },
        "config": {"proxy": {"model": "preact8"}, "target": {"model": "preact20"}},
        "seeds": [0, 1, 2, 3, 4],
        "rows": [
            row("entropy", 0.7, 0.145, "better", **by),
            row("entropy", 0.3, 0.25, "worse", **by),
            row("random", 0.3, 0.24, None),
            row("random", 0.7, 0.16, None),
            row("facility-location", 0.3, 0.242, "inconclusive", selector="target"),
            row("fresh-random", 0.7, 0.15, "better"),
            row("everything", 1.0, 0.14, None),
        ],
        "agreement": [
            {
                "score": "entropy",
                "models": ["proxy seed 0", "proxy seed 1", "target seed 0", "target seed 1"],
                "spearman": [
                    [1, 0.83, 0.7, 0.72],
                    [0.83, 1, 0.74, 0.76],
                    [0.7, 0.74, 1, 0.81],
                    [0.72, 0.76, 0.81, 1],
                ],
                "pearson": np.full((4, 4), 0.5).tolist(),
            }
        ],
        "facts": {"device": "cpu"},
        "costs": [
            {"phase": "proxy training", "seconds": 60.0, "flops": 1e12},
            {"phase": "reading", "seconds": 1.5, "flops": 0.0},
        ],
    }


def test_a_comparison_answers_in_words_first(tmp_path: Path) -> None:
    page = Page(compare_report(comparison(), tmp_path / "c.html"))
    page.check_safe()
    for words in (
        "Random loses to entropy (proxy) at 70%",
        "entropy (proxy) beats random at 70% (by 1.50 points of error); "
        "is worse than random at 30% (by 1.00 points of error).",
        "facility-location (target) is inconclusive at 30% (+0.20 points of error).",
        "Target preact20, proxy preact8.",
        "Random loses to entropy (proxy) at 70%; it beats entropy (proxy) at 30%",
        "Training on everything has an error of 14%. The part nearest to it is entropy (proxy), at "
        "70% kept: 14.5%, +0.50 points (+0.50 to +0.50, all 5 parts taken together): not as good "
        "as everything. End to end it took 1.36× as fast as everything, selection included.",
        "Proxy and target agree at Spearman 0.73. Two seeds of the same model agree at 0.83 for "
        "the proxy and 0.81 for the target: the noise ceiling",
        "The 4 comparisons of this report are corrected together",
        "proxy training 1 min 0 s",
    ):
        assert words in page.text, words
    assert page.sections == {
        *("answer", "chart", "errors", "speed", "agreement", "cost", "made"),
    }
    assert Counter(page.tags)["svg"] == 2
    assert sum(value == "ceiling" for _, _, value in page.attributes) == 8
    assert page.text.index("Random loses") < page.text.index("Test error")


def test_no_verdict_comes_from_a_target_that_was_still_learning(tmp_path: Path) -> None:
    result = comparison()
    whole = {"k": 1000, "epochs": 2, "error": 0.14, "longer_epochs": 4, "longer_error": 0.138}
    few = {"k": 300, "epochs": 2, "error": 0.24, "longer_epochs": 4, "longer_error": 0.18}
    result["convergence"] = [{**few, "converged": False}, {**whole, "converged": True}]
    for one in result["rows"]:
        if one["k"] == 300 and one["difference"]:
            one["difference"]["verdict"] = "cannot tell"
    page = Page(compare_report(result, tmp_path / "c.html"))
    page.check_safe()
    learning = (
        "The target was still learning on 300 examples: twice as many epochs change its test "
        "error on 300 from 24% to 18%. There is no verdict for these: use --target-epochs 4 or "
        "more."
    )
    for words in (
        learning,
        "Random loses to entropy (proxy) at 70%",
        "beats random at 70% (by 1.50 points of error); cannot be told at 30%.",
        "facility-location (target) cannot be told at 30%.",
        "The part nearest to it is entropy (proxy), at 70% kept",
    ):
        assert words in page.text, words
    assert "is worse than random" not in page.text
    shown = " ".join(" ".join(plain_lines(compare_table(result))).split())
    assert learning in shown
    for one in result["convergence"]:
        one["converged"] = False
    page = Page(compare_report(result, tmp_path / "d.html"))
    assert "It is unknown whether a part is as good as everything" in page.text


def test_a_random_part_may_be_the_nearest_to_everything() -> None:
    rows = [row("everything", 1.0, 0.14, None), row("random", 0.7, 0.141, None)]
    result = comparison() | {"rows": [*rows, row("entropy", 0.7, 0.145, "worse")]}
    words = answers.against_everything(result)
    assert "The part nearest to it is random, at 70% kept: 14.1%" in words
    assert "all 2 parts taken together" in words


def test_a_comparison_says_why_nothing_is_held_against_fresh_subsets(tmp_path: Path) -> None:
    result = comparison()
    assert answers.about_fresh(result) == ""
    result["rows"] = [one for one in result["rows"] if one["method"] != "fresh-random"]
    result["config"]["target"] = Role(model="linear").identity()
    result["rows"][0] |= {"end_to_end_flops": None, "speedup_flops": None}
    page = Page(compare_report(result, tmp_path / "c.html"))
    words = (
        "linear has no epochs, so there is no comparison with a fresh random subset in each epoch"
    )
    assert words in page.text
    assert words in " ".join(" ".join(plain_lines(compare_table(result))).split())
    assert "0.00×" not in page.text
    assert "batch_size" not in page.text  # linear has no recipe


def test_few_seeds_are_inconclusive_and_say_how_many_are_needed(tmp_path: Path) -> None:
    result = comparison()
    result["seeds"] = [0]
    del result["agreement"], result["facts"], result["costs"]
    for one in result["rows"]:
        one["error_std"], one["errors"] = None, one["errors"][:1]
        if one["difference"]:
            one["difference"] |= {"low": None, "high": None, "pairs": 1}
            one["difference"]["verdict"] = "inconclusive"
    page = Page(compare_report(result, tmp_path / "c.html"))
    assert "Inconclusive: after 1 seed, no selection clearly differs from random" in page.text
    assert "with 1 seed only a very clear difference gets a verdict" in page.text
    assert f"Run again with --seeds {ENOUGH_SEEDS}" in page.text
    assert "One seed cannot tell whether it is as good." in page.text
    assert "agreement" not in page.sections
    assert "beats random" not in page.text
    assert "inconclusive" in "".join(plain_lines(compare_table(result)))


@pytest.mark.parametrize(
    ("verdicts", "said"),
    [
        ({}, "Nothing was compared"),
        ({"a": "cannot tell", "b": "cannot tell"}, "Cannot tell: the target was still learning"),
        ({"a": "worse", "b": "inconclusive"}, "No method beats random"),
        ({"a": "better", "b": "better", "c": "worse"}, "Random loses to a and b"),
        (dict.fromkeys("abcde", "better"), "Random loses to a, b and 3 more"),
    ],
)
def test_the_headline_claims_no_more_than_the_verdicts(verdicts: dict[str, str], said: str) -> None:
    rows = [row(method, 0.5, 0.2, verdict) for method, verdict in verdicts.items()]
    result = comparison() | {"rows": [*rows, row("fresh-random", 0.5, 0.1, "better")]}
    assert answers.headline(result).startswith(said)


def test_a_headline_of_several_methods_says_where_they_do_not_win() -> None:
    rows = [row(method, 0.5, 0.2, "better") for method in "ab"]
    assert answers.headline(comparison() | {"rows": rows}) == "Random loses to a and b"
    result = comparison() | {"rows": [*rows, row("a", 0.3, 0.3, "worse")]}
    assert answers.headline(result) == (
        "Random loses to a and b at some fractions; it beats a at 30%"
    )


def test_wrong_labels_are_shown_where_labels_were_changed(tmp_path: Path) -> None:
    result = comparison()
    assert "wrong labels" not in Page(compare_report(result, tmp_path / "c.html")).text
    result["rows"][0]["changed_labels"] = 0.234
    page = Page(compare_report(result, tmp_path / "c.html"))
    assert "wrong labels %" in page.text
    assert "23.4" in page.text


def test_tables_fit_a_hundred_columns_and_are_plain_in_a_pipe(
    digits: Source, tmp_path: Path
) -> None:
    selection = make(digits, tmp_path, scores=random_scores(len(digits)))
    shown = [*plain_lines(compare_table(comparison())), *plain_lines(coreset_summary(selection))]
    assert max(map(len, shown)) <= 100
    written = io.StringIO()
    Console(file=written, width=100).print(compare_table(comparison()))
    assert "\x1b" not in written.getvalue()
    lines = plain_lines(compare_table(comparison()))
    entropy = next(line for line in lines if "entropy" in line and "better" in line)
    assert entropy.split()[:4] == ["entropy", "proxy", "14.50", "±0.20"]
    assert next(line for line in lines if "facility-location" in line).split()[1] == "target"
    total = next(line for line in shown if line.startswith("total"))
    assert "1 min 16 s" in total
    assert "2.50 TFLOP" in total
    assert total.split("1 min 16 s")[1].split()[0] == "–"  # phases see the same examples again


def test_reviews_with_a_group_column(shared_data: Path, tmp_path: Path) -> None:
    source = open_source(
        str(shared_data / "imdb" / "test.parquet"), input="text", label="label", group="rating",
        limit=500,
    )  # fmt: skip
    page = Page(report(make(source, tmp_path, scores=random_scores(500))))
    page.check_safe()
    assert "group-balance" in page.sections
    assert page.tags.count("article") == 60
    assert page.html.count("<br") == 0  # the reviews' own markup is shown, not obeyed
