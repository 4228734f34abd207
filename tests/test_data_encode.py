"""Encoding: pictures, texts, pools, augmentation, statistics, label noise."""

from __future__ import annotations

import hashlib
import io
import re
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from keepers.data import (
    BagPool,
    DensePool,
    TokenPool,
    corrupt_labels,
    crop_and_flip,
    encode,
    memory,
    open_source,
    statistics,
)
from keepers.data.text import ALPHABET, hashed_ngrams
from keepers.errors import DataError, ParameterError
from keepers.types import EncoderSpec, Pool


def png_of(values: Any, form: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(values).save(buffer, format=form)
    return buffer.getvalue()


def everything(pool: Pool) -> tuple[Tensor, ...]:
    return pool.gather(torch.arange(len(pool)))


def pictures(*values: np.ndarray[Any, Any]) -> pa.Table:
    data = [png_of(value) for value in values]
    return pa.table(
        {"image": data, "label": [i % 2 for i in range(len(data))], "key": range(len(data))}
    )


GOLDEN = [94397, 776798, 698553, 110836, 845945, 586358, 996143]
GREY = np.arange(16, dtype=np.uint8).reshape(4, 4)


def test_pictures_are_scaled_to_one_and_lie_channels_last() -> None:
    colour = np.random.default_rng(0).integers(0, 256, (4, 4, 3), dtype=np.uint8)
    _, pool = encode(
        open_source(pictures(colour, 255 - colour), id="key"), EncoderSpec(kind="image")
    )
    (batch,) = pool.gather(torch.tensor([1, 0, 1]))
    assert batch.is_contiguous(memory_format=torch.channels_last)
    expected = torch.from_numpy(colour).permute(2, 0, 1) / 255
    torch.testing.assert_close(batch[1], expected)
    torch.testing.assert_close(batch[2], 1 - expected)


def test_shrinking_by_a_whole_factor_averages_blocks() -> None:
    source = open_source(pictures(GREY, GREY + 1), id="key")
    _, pool = encode(source, EncoderSpec(kind="image", size=(2, 2)))
    # blocks of 0..15: (0+1+4+5)/4 = 2.5, ... ; PIL rounds half up
    expected = torch.tensor([[3.0, 5.0], [11.0, 13.0]]) / 255
    torch.testing.assert_close(everything(pool)[0][0, 0], expected)


def test_growing_is_bilinear_and_channels_follow_the_specification() -> None:
    source = open_source(pictures(GREY, GREY + 1), id="key")
    _, pool = encode(source, EncoderSpec(kind="image", size=(6, 6), channels=3))
    expected = np.asarray(Image.fromarray(GREY).resize((6, 6), Image.Resampling.BILINEAR))
    batch = everything(pool)[0]
    assert batch.shape == (2, 3, 6, 6)
    for channel in range(3):
        torch.testing.assert_close(batch[0, channel] * 255, torch.tensor(expected).float())


def test_arrays_of_pictures_are_resized_like_files() -> None:
    values = np.random.default_rng(1).integers(0, 256, (4, 8, 8, 3), dtype=np.uint8)
    spec = EncoderSpec(kind="image", size=(5, 3), channels=1)
    _, from_files = encode(open_source(pictures(*values), id="key"), spec)
    source, from_arrays = encode(open_source((values, [0, 1, 0, 1])), spec)
    assert torch.equal(everything(from_arrays)[0], everything(from_files)[0][source.rows])


def test_float_pictures_stay_floats() -> None:
    values = torch.randn(4, 1, 8, 8)
    source, pool = encode(open_source((values, [0, 1, 0, 1])), EncoderSpec(kind="image"))
    assert torch.equal(everything(pool)[0], values[torch.from_numpy(source.rows)])
    _, half = encode(source, EncoderSpec(kind="image", size=(4, 4), channels=3))
    expected = values.unfold(2, 2, 2).unfold(3, 2, 2).mean((4, 5)).expand(-1, 3, -1, -1)
    torch.testing.assert_close(everything(half)[0], expected[torch.from_numpy(source.rows)])
    assert source.preview(0)[:4] == b"\x89PNG"


@pytest.mark.parametrize("mode", ["1", "P", "RGBA", "LA", "I;16", "CMYK"])
def test_pictures_of_every_mode(mode: str) -> None:
    if mode == "I;16":
        picture = Image.fromarray(np.full((4, 4), 51 * 256, np.uint16))
    else:
        picture = Image.new("RGB", (4, 4), (51, 51, 51)).convert(mode)
    buffer = io.BytesIO()
    picture.save(buffer, format="TIFF")
    table = pa.table({"image": [buffer.getvalue(), buffer.getvalue()], "label": [0, 1]})
    source, pool = encode(open_source(table), EncoderSpec(kind="image", channels=3))
    expected = 0.0 if mode == "1" else 51 / 255
    if mode != "1":  # black and white comes out dithered
        torch.testing.assert_close(
            everything(pool)[0], torch.full((2, 3, 4, 4), expected), atol=0.01, rtol=0
        )
    assert source.preview(0)[:4] == b"\x89PNG"


def mixed(left: int, right: int) -> int:
    value = (left * 0x9E3779B97F4A7C15 + right) % 2**64
    value ^= value >> 32
    value = value * 0xC2B2AE3D27D4EB4F % 2**64
    return value ^ (value >> 29)


def naive_ngrams(text: str, buckets: int, ngrams: int) -> list[int]:
    words = [word for word in re.split(r"[\W_]+", text.lower().replace("漢", " 漢 ")) if word]
    level = [
        int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest(), "little")
        for word in words
    ]
    hashes, found = level, [value % buckets for value in level]
    for order in range(1, ngrams):
        level = [mixed(level[i], hashes[i + order]) for i in range(len(hashes) - order)]
        found += [value % buckets for value in level]
    return found


@settings(deadline=None, max_examples=60)
@given(
    texts=st.lists(st.text(alphabet="aB1é ,.-_ẞ漢", max_size=20), min_size=1, max_size=6),
    ngrams=st.integers(1, 4),
)
def test_hashed_ngrams_agree_with_a_loop(texts: list[str], ngrams: int) -> None:
    column = pa.chunked_array([pa.array(texts, pa.large_string())])
    ((values, lengths),) = hashed_ngrams(column, buckets=97, ngrams=ngrams, advance=lambda _: None)
    pieces = np.split(values, np.cumsum(lengths)[:-1])
    assert [piece.tolist() for piece in pieces] == [naive_ngrams(t, 97, ngrams) for t in texts]


def test_ngrams_of_each_length_have_buckets_of_their_own_where_they_are_apart() -> None:
    column = pa.chunked_array([pa.array(["a b c", "", "b a"], pa.large_string())])
    told = {"buckets": 97, "ngrams": 3, "advance": lambda _: None}
    ((mixed, lengths),) = hashed_ngrams(column, **told)
    ((parted, same),) = hashed_ngrams(column, **told, apart=True)
    np.testing.assert_array_equal(parted % 97, mixed)
    np.testing.assert_array_equal(lengths, same)
    assert (parted // 97).tolist() == [0, 0, 0, 1, 1, 2, 0, 0, 1]


def test_hashes_are_fixed_for_ever() -> None:
    column = pa.chunked_array([pa.array(["Never the same, twice."], pa.large_string())])
    ((values, _),) = hashed_ngrams(column, buckets=1 << 20, ngrams=2, advance=lambda _: None)
    assert values.tolist() == GOLDEN


def test_bags_give_the_mean_over_ngrams() -> None:
    texts = ["one two", "", "three", "four five six"]
    table = pa.table({"text": texts, "label": [0, 1, 0, 1], "key": range(4)})
    _, pool = encode(
        open_source(table, id="key", input="text"),
        EncoderSpec(kind="text", scheme="hashed", buckets=50),
    )
    bag = torch.nn.EmbeddingBag(50, 3, mode="sum")
    indices, offsets, weights = pool.gather(torch.tensor([3, 1, 0]))
    means = bag(indices, offsets, per_sample_weights=weights)
    for row, text in enumerate([texts[3], texts[1], texts[0]]):
        hashed = naive_ngrams(text, 50, 2)
        expected = bag.weight[hashed].mean(0) if hashed else torch.zeros(3)
        torch.testing.assert_close(means[row], expected)


def test_characters() -> None:
    assert len(ALPHABET) == len(set(ALPHABET)) == 69
    table = pa.table({"text": ["Ab é\n!", "", "abcdefgh", "x y"], "label": [0, 1, 0, 1]})
    source = open_source(table.append_column("key", pa.array(range(4))), id="key", input="text")
    _, pool = encode(source, EncoderSpec(kind="text", scheme="characters", length=7))
    (codes,) = everything(pool)
    assert codes.dtype == torch.int64
    mark = ALPHABET.index("!") + 1
    assert codes[0].tolist() == [2, 3, 1, 0, 1, mark, 0]
    assert codes[1].tolist() == [0] * 7
    assert codes[2].tolist() == [2, 3, 4, 5, 6, 7, 8]


@pytest.fixture
def tokenizer(tmp_path: Path) -> str:
    from transformers import BertTokenizerFast

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "bad", "film"]
    (tmp_path / "vocab.txt").write_text("\n".join(words))
    BertTokenizerFast(vocab=str(tmp_path / "vocab.txt")).save_pretrained(tmp_path / "bert")
    return str(tmp_path / "bert")


def test_tokens(tokenizer: str) -> None:
    table = pa.table({"text": ["good film", "bad", "bad bad good film"], "label": [0, 1, 0]})
    source = open_source(table.append_column("key", pa.array(range(3))), id="key", input="text")
    spec = EncoderSpec(kind="text", scheme="tokens", tokenizer=tokenizer, length=5)
    _, pool = encode(source, spec)
    ids, mask = pool.gather(torch.tensor([1, 2]))
    assert ids.tolist() == [[2, 6, 3, 0, 0], [2, 6, 6, 5, 3]]
    assert mask.tolist() == [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]


def test_a_tokenizer_that_is_not_there(tmp_path: Path) -> None:
    source = open_source((["a b", "c d"], [0, 1]))
    spec = EncoderSpec(kind="text", scheme="tokens", tokenizer=str(tmp_path / "none"), length=5)
    with pytest.raises(DataError, match=r"tokeniser of .* cannot be loaded"):
        encode(source, spec)


@settings(deadline=None, max_examples=40)
@given(lengths=st.lists(st.integers(0, 4), min_size=1, max_size=8), data=st.data())
def test_ragged_pools_agree_with_a_loop(lengths: list[int], data: st.DataObject) -> None:
    flat = torch.arange(sum(lengths), dtype=torch.int32) + 1
    pieces = [piece.tolist() for piece in flat.split(lengths)]
    positions = data.draw(st.lists(st.integers(0, len(lengths) - 1), max_size=6))
    chosen = torch.tensor(positions, dtype=torch.int64)
    indices, offsets, weights = BagPool(flat, torch.tensor(lengths)).gather(chosen)
    assert indices.tolist() == [value for p in positions for value in pieces[p]]
    assert offsets.tolist() == [
        sum(lengths[p] for p in positions[:i]) for i in range(len(positions))
    ]
    assert weights.tolist() == pytest.approx([1 / lengths[p] for p in positions for _ in pieces[p]])
    ids, mask = TokenPool(flat, torch.tensor(lengths), 0).gather(chosen)
    assert [row[keep].tolist() for row, keep in zip(ids, mask.bool(), strict=True)] == [
        pieces[p] for p in positions
    ]
    assert bool((ids[mask == 0] == 0).all())


def test_large_pools_are_mapped_from_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = (["some words here", "others there"], [0, 1])
    hashed = EncoderSpec(kind="text", scheme="hashed", buckets=64)
    spec = EncoderSpec(kind="image")
    table = pictures(GREY, GREY + 1, GREY + 2)
    in_memory = [encode(open_source(table), spec)[1], encode(open_source(texts), hashed)[1]]
    monkeypatch.setattr(memory, "free", lambda: 16)
    mapped = [
        encode(open_source(table), spec, cache=tmp_path / "cache")[1],
        encode(open_source(texts), hashed, cache=tmp_path / "cache")[1],
    ]
    for expected, pool in zip(in_memory, mapped, strict=True):
        for left, right in zip(everything(expected), everything(pool), strict=True):
            assert torch.equal(left, right)
    assert not list((tmp_path / "cache").iterdir())


def test_free_memory_is_counted_in_bytes() -> None:
    assert 10_000_000 < memory.free() < 1 << 50


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 1000), offset=st.sampled_from([0.0, 5.0, 1e6]))
def test_statistics_agree_with_numpy(seed: int, offset: float) -> None:
    rng = np.random.default_rng(seed)
    values = (rng.random((400, 3)) + offset).astype(np.float32)
    positions = rng.permutation(400)[:300]
    mean, std = statistics(DensePool(torch.from_numpy(values)), torch.from_numpy(positions))
    chosen = values[positions].astype(np.float64)
    assert mean == pytest.approx(chosen.mean(0).tolist(), rel=1e-9)
    assert std == pytest.approx(chosen.std(0).tolist(), rel=1e-6)


def test_statistics_of_pictures_are_those_of_their_channels() -> None:
    rows = torch.randint(0, 256, (300, 3, 4, 5), dtype=torch.uint8)
    rows[:, 1] = 51
    mean, std = statistics(DensePool(rows), torch.arange(300))
    chosen = rows.double() / 255
    assert mean == pytest.approx(chosen.mean((0, 2, 3)).tolist(), rel=1e-6)
    assert std[0] == pytest.approx(float(chosen[:, 0].std(correction=0)), rel=1e-6)
    assert std[1] == 1.0
    with pytest.raises(ParameterError, match="positions: got none"):
        statistics(DensePool(rows), torch.arange(0))


def crop(padded: Tensor, top: int, left: int) -> Tensor:
    return padded[:, top : top + 5, left : left + 6]


def test_crop_and_flip_gives_shifted_and_mirrored_pictures() -> None:
    pictures = torch.rand(200, 2, 5, 6).contiguous(memory_format=torch.channels_last)
    original = pictures.clone()
    (moved,) = crop_and_flip(2)((pictures,), torch.Generator().manual_seed(0))
    assert torch.equal(pictures, original)
    assert moved.is_contiguous(memory_format=torch.channels_last)
    padded = torch.nn.functional.pad(pictures, (2, 2, 2, 2))
    seen: set[tuple[int, int, bool]] = set()
    for before, after in zip(padded, moved, strict=True):
        found = [
            (top, left, flip)
            for top in range(5)
            for left in range(5)
            for flip in (False, True)
            if torch.equal(
                after,
                crop(before, top, left).flip(2) if flip else crop(before, top, left),
            )
        ]
        assert len(found) == 1
        seen.update(found)
    assert len(seen) > 45  # of 50
    assert {flip for _, _, flip in seen} == {False, True}


def test_augmentation_is_drawn_from_its_generator_alone() -> None:
    pictures = (torch.rand(16, 1, 8, 8),)
    augment = crop_and_flip(1, flip=False)
    torch.manual_seed(0)
    (first,) = augment(pictures, torch.Generator().manual_seed(3))
    torch.manual_seed(1)
    (second,) = augment(pictures, torch.Generator().manual_seed(3))
    (third,) = augment(pictures, torch.Generator().manual_seed(4))
    assert torch.equal(first, second)
    assert not torch.equal(first, third)
    with pytest.raises(ParameterError, match="padding"):
        crop_and_flip(-1)


@settings(deadline=None)
@given(
    n=st.integers(0, 60),
    classes=st.integers(2, 5),
    fraction=st.floats(0, 1),
    seed=st.integers(0, 99),
)
def test_label_noise_is_exact(n: int, classes: int, fraction: float, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, classes, (n,), generator=generator)
    before = labels.clone()
    noisy, flipped = corrupt_labels(labels, classes, fraction, generator=generator)
    assert torch.equal(labels, before)
    assert int(flipped.sum()) == int(fraction * n + 0.5)
    assert torch.equal(noisy != labels, flipped)
    assert bool(((noisy >= 0) & (noisy < classes)).all())


def test_label_noise_goes_to_every_other_class_alike() -> None:
    labels = torch.full((30_000,), 2)
    noisy, _ = corrupt_labels(labels, 4, 1.0, generator=torch.Generator().manual_seed(0))
    counts = torch.bincount(noisy, minlength=4).tolist()
    assert counts[2] == 0
    assert all(abs(counts[other] - 10_000) < 300 for other in (0, 1, 3))
    for fraction, classes in ((1.5, 4), (0.2, 1)):
        with pytest.raises(ParameterError):
            corrupt_labels(labels, classes, fraction, generator=torch.Generator())


def test_progress_counts_every_example() -> None:
    class Listener:
        def __init__(self) -> None:
            self.calls: list[Any] = []

        def start(self, what: str, total: int) -> None:
            self.calls.append((what, total))

        def advance(self, done: int, note: str = "") -> None:
            self.calls.append(done)

        def finish(self) -> None:
            self.calls.append("finished")

    listener = Listener()
    data = pictures(*[GREY + shade for shade in range(200)])
    encode(open_source(data, id="key"), EncoderSpec(kind="image"), progress=listener)
    assert listener.calls == [("Reading images", 200), 128, 200, "finished"]


def test_real_pictures_agree_with_decoding_one_at_a_time(shared_data: Path) -> None:
    source = open_source(shared_data / "cifar10" / "test.parquet", limit=300)
    source, pool = encode(source, EncoderSpec(kind="image", size=(16, 16)))
    (batch,) = pool.gather(torch.tensor([0, 299]))
    for place, position in enumerate((0, 299)):
        shown = source.preview(position)
        assert isinstance(shown, bytes)
        small = Image.open(io.BytesIO(shown)).resize((16, 16), Image.Resampling.BOX)
        expected = torch.from_numpy(np.array(small)).permute(2, 0, 1) / 255
        torch.testing.assert_close(batch[place], expected)


def test_a_pool_is_copied_to_a_device_once() -> None:
    for pool in (
        DensePool(torch.zeros(2, 3)),
        BagPool(torch.tensor([1], dtype=torch.int32), torch.tensor([1])),
        TokenPool(torch.tensor([1], dtype=torch.int32), torch.tensor([1]), 0),
    ):
        assert pool.to("cpu") is pool
        assert pool.to("meta") is pool.to(torch.device("meta"))
        assert pool.to("meta").device.type == "meta"


def test_a_picture_that_is_replaced_after_it_was_opened_is_noticed(tmp_path: Path) -> None:
    for number in range(6):
        folder = tmp_path / "data" / "ab"[number % 2]
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{number}.png").write_bytes(png_of(GREY + np.uint8(number)))
    source = open_source(tmp_path / "data")
    spec = EncoderSpec(kind="image", size=(4, 4), channels=1)
    assert len(encode(source, spec)[1]) == 6
    (tmp_path / "data" / "b" / "3.png").write_bytes(png_of(GREY + np.uint8(100)))
    with pytest.raises(DataError, match=r"\(b/3\.png\) of data changed since the data were opened"):
        encode(source, spec, on_bad_row="skip")
    assert len(encode(open_source(tmp_path / "data"), spec)[1]) == 6
