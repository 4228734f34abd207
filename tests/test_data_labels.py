"""One rule for labels: in data files, test sets, what was labelled before, and votes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest

import keepers
from keepers.campaign.returns import read_votes
from keepers.data import Source, open_source
from keepers.errors import DataError, ParameterError
from keepers.workflows.active.opening import open_holdings
from keepers.workflows.options.shared import Rows

TEXTS = [f"the words of review {row}" for row in range(8)]


def with_labels(labels: Any) -> pa.Table:
    return pa.table({"text": TEXTS[: len(labels)], "label": labels})


def named(source: Source) -> list[str | None]:
    """The class of each row, in the order of the file."""
    assert source.labels is not None
    names = [*source.class_names, None]
    by_row = dict(zip(source.rows.tolist(), source.labels.tolist(), strict=True))
    return [names[by_row[row]] for row in sorted(by_row)]


NO_LABELS = [None, "", " ", "nan", "NaN", "<NA>"]


@pytest.mark.parametrize("missing", NO_LABELS)
def test_no_label_is_none_in_a_file_and_in_votes(missing: str | None, tmp_path: Path) -> None:
    table = with_labels(["pos", "neg", missing, "pos"])
    with pytest.raises(
        DataError,
        match="1 of 4 rows have no label in column "
        r"'label' \(row 2\)",
    ):
        open_source(table)
    assert named(open_source(table, require_labels=False)) == ["pos", "neg", None, "pos"]
    votes = tmp_path / "votes.csv"
    cell = "" if missing is None else missing
    votes.write_text(f"id,label\n1,pos\n2,{cell}\n3,neg\n")
    assert [vote.item for _, vote in read_votes(votes, annotator="ann")] == ["1", "3"]


def test_what_may_be_no_label_is_a_class_with_a_warning() -> None:
    for values, doubtful in (([-1, 0, 1, 0], "-1"), (["None", "hate", "ok", "ok"], "None")):
        source = open_source(with_labels(values))
        assert named(source) == [str(value) for value in values]
        assert any(f"Warning: '{doubtful}' is treated as a class" in s for s in source.found)
    assert not any("Warning" in said for said in open_source(with_labels(["a", "b"] * 2)).found)


def test_labels_that_differ_in_case_or_white_space_only_are_told() -> None:
    values = ["pos", "Pos", "neg", "not good", "notgood", "neg ", "1", "1.0"]
    source = open_source(with_labels(values))
    warnings = [sentence for sentence in source.found if sentence.startswith("Warning")]
    assert [" and ".join(sorted(w.split("'")[1::2])) for w in warnings] == [
        "1 and 1.0",
        "Pos and pos",
        "neg and neg ",
        "not good and notgood",
    ]
    assert len(source.class_names) == 8


def test_a_half_filled_batch_that_pandas_wrote_is_read(tmp_path: Path) -> None:
    pool = tmp_path / "pool.jsonl"
    texts = [f"the words of review {row}" for row in range(40)]
    pd.DataFrame({"text": texts, "key": range(40)}).to_json(pool, orient="records", lines=True)
    campaign = keepers.Campaign.start(pool, campaign=tmp_path / "c", classes=["0", "1"], id="key")
    for form in ("csv", "parquet", "jsonl"):
        labels = pd.DataFrame({"id": [3, 4, 5], "label": [1, None, 0]})  # 1.0, nan, 0.0
        path = tmp_path / f"half.{form}"
        if form == "csv":
            labels.to_csv(path, index=False)
            assert "3,1.0\n" in path.read_text()
        elif form == "parquet":
            labels.to_parquet(path)
        else:
            labels.to_json(path, orient="records", lines=True)
        campaign.record(read_votes(path, annotator=form))
    assert dict(campaign.state.labels) == {3: "1", 5: "0"}
    assert {vote.label for vote in campaign.state.item(3).current} == {"1"}
    campaign.close()


def test_a_test_set_in_other_number_types_keeps_its_classes() -> None:
    train = open_source(with_labels([0, 1, 0, 1]))
    for values in ([1.0, 0.0], ["1", "0"], ["1.0", "0.0"], [1, 0]):
        assert named(open_source(with_labels(values), like=train)) == ["1", "0"]
    train = open_source(with_labels([True, False]))
    assert named(open_source(with_labels(["true", "FALSE"]), like=train)) == ["True", "False"]


def test_numbers_are_not_taken_for_the_names_of_classes() -> None:
    train = open_source(with_labels(["pos", "neg", "pos"]))
    with pytest.raises(DataError, match="Numbers do not identify classes") as error:
        open_source(with_labels([0, 1, 1]), like=train)
    assert "the class '0', which the training data does not have" in str(error.value)


def test_names_decide_where_a_test_set_declares_them_in_another_order() -> None:
    from datasets import ClassLabel, Dataset, Features, Value

    def written(names: list[str], codes: list[int]) -> Dataset:
        features = Features({"text": Value("string"), "label": ClassLabel(names=names)})
        return Dataset.from_dict({"text": TEXTS[: len(codes)], "label": codes}, features=features)

    train = open_source(written(["neg", "pos"], [0, 1, 0, 1]))
    assert named(open_source(written(["pos", "neg"], [0, 0, 1]), like=train)) == [
        *("pos", "pos", "neg")
    ]


def test_a_guess_for_the_pool_is_not_carried_to_what_was_labelled_before() -> None:
    pool = pa.table({"text": TEXTS, "source": ["web", "mail"] * 4})
    more = [f"another text, {row}" for row in range(8)]
    labelled = pa.table(
        {"text": more, "source": ["web", "mail"] * 4, "label": ["a", "a", "b", "b"] * 2}
    )
    for given in (labelled, labelled.drop_columns(["source"])):
        holdings = open_holdings(pool, reading=Rows(), names=None, labelled=given)
        assert holdings.source.class_names == ("a", "b")
        assert sorted(holdings.brought.values()) == ["a"] * 4 + ["b"] * 4
        tested = open_holdings(pool, reading=Rows(), names=None, test=given).test
        assert tested is not None
        assert named(tested) == ["a", "a", "b", "b"] * 2


def test_what_to_do_where_a_second_file_has_several_columns() -> None:
    known = open_source(with_labels(["pos", "neg"] * 2))
    table = pa.table({"text": TEXTS, "mood": ["pos", "neg"] * 4, "source": ["a", "b"] * 4})
    with pytest.raises(ParameterError, match="Name the right one 'label' in table"):
        open_source(table, like=known)
    assert (
        open_source(table.rename_columns(["text", "label", "source"]), like=known).labels
        is not None
    )


def test_a_guessed_label_is_sought_anew_and_a_named_one_is_not() -> None:
    train = pa.table({"text": TEXTS, "sentiment": ["a", "b"] * 4})
    test = pa.table({"text": TEXTS, "label": ["b", "a"] * 4})
    assert named(open_source(test, like=open_source(train))) == ["b", "a"] * 4
    with pytest.raises(ParameterError, match="test: label: got 'sentiment'"):
        open_source(test, like=open_source(train, label="sentiment"))


def test_objects_as_labels_are_refused_with_their_fields() -> None:
    table = with_labels([{"name": "pos", "by": 1}, {"name": "neg", "by": 2}])
    with pytest.raises(DataError, match="holds objects \\(fields: name, by\\)"):
        open_source(table)
