"""Text to numbers: hashed n-grams, characters, sub-word tokens."""

from __future__ import annotations

import hashlib
import string
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from keepers.data.arrow import ArrowArray, ArrowColumn
from keepers.data.arrow import compute as pc
from keepers.data.inputs import blocks
from keepers.errors import DataError, MissingExtraError

_BLOCK = 4096
_NOT_A_WORD = r"[^\pL\pN]+"
_UNSPACED = r"([\p{Han}\p{Hiragana}\p{Katakana}\p{Thai}\p{Lao}\p{Khmer}\p{Myanmar}])"
"""Scripts that put no spaces between words: each character is a word, and two are a pair."""
_MULTIPLIERS = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F))

ALPHABET = " " + string.ascii_lowercase + string.digits + string.punctuation
"""The 69 characters that a character model tells apart; index 0 is any other, and padding."""


def hashed_ngrams(
    texts: ArrowColumn,
    *,
    buckets: int,
    ngrams: int,
    advance: Callable[[int], None],
    apart: bool = False,
) -> Iterator[tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]]:
    """Hash the words of each text, and their n-grams up to `ngrams`, into `buckets`.

    Words are maximal runs of letters and digits, lower-cased, and single characters of scripts that
    put no spaces between words. A word's bucket is its BLAKE2b-64
    modulo `buckets`; an n-gram's is a mix of its words' hashes. With `apart` n-grams of k words
    have buckets of their own, from (k − 1) `buckets` on. The result depends on the text alone,
    never on the machine.

    Yields for each block of texts: buckets (total,), and their number for each text (block,).

    Paper: Joulin et al. 2017, Bag of Tricks for Efficient Text Classification.
    """
    for block in blocks(texts, _BLOCK):
        hashes, lengths = _word_hashes(block)
        yield _ngram_buckets(hashes, lengths, buckets, ngrams, apart)
        advance(len(block))


def _word_hashes(block: ArrowArray) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
    if pc.any(pc.match_substring_regex(block, _UNSPACED)).as_py():
        block = pc.replace_substring_regex(block, _UNSPACED, r" \1 ")
    words = pc.split_pattern_regex(pc.utf8_lower(block), _NOT_A_WORD)
    bounds = words.offsets.to_numpy()
    flat = words.values.slice(bounds[0], bounds[-1] - bounds[0]).dictionary_encode()
    codes = flat.indices.to_numpy(zero_copy_only=False)
    unique = flat.dictionary.cast(pa.large_binary()).to_pylist()
    hashed = b"".join(hashlib.blake2b(word, digest_size=8).digest() for word in unique)
    table = np.frombuffer(hashed, dtype="<u8").astype(np.uint64)
    is_word = np.array([bool(word) for word in unique], dtype=bool)
    # Text that begins or ends with a separator leaves an empty word there.
    kept = is_word[codes] if len(codes) else np.empty(0, dtype=bool)
    before = np.concatenate([[0], np.cumsum(kept)])
    ends = bounds - bounds[0]
    return table[codes[kept]], (before[ends[1:]] - before[ends[:-1]]).astype(np.int64)


def _ngram_buckets(
    hashes: npt.NDArray[np.uint64],
    lengths: npt.NDArray[np.int64],
    buckets: int,
    ngrams: int,
    apart: bool,
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    counts = [np.maximum(lengths - order, 0) for order in range(ngrams)]
    totals = np.sum(counts, axis=0)
    merged = np.empty(int(totals.sum()), dtype=np.int32)
    starts = np.cumsum(totals) - totals
    starts_of_words = np.cumsum(lengths) - lengths
    mixed = hashes
    for order, count in enumerate(counts):
        # n-gram j of a document starts at its word j: those that would run over its end are out.
        within = np.arange(int(count.sum())) - np.repeat(np.cumsum(count) - count, count)
        if order:
            grown = _mix(mixed[: len(hashes) - order], hashes[order:])
            mixed = grown
        source = np.repeat(starts_of_words, count) + within
        values = (mixed[source] % np.uint64(buckets)).astype(np.int32)
        merged[np.repeat(starts, count) + within] = values + (order * buckets if apart else 0)
        starts = starts + count
    return merged, totals


def _mix(left: npt.NDArray[np.uint64], right: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    mixed = left * _MULTIPLIERS[0] + right
    mixed ^= mixed >> np.uint64(32)
    mixed *= _MULTIPLIERS[1]
    mixed ^= mixed >> np.uint64(29)
    return mixed


def characters(
    texts: ArrowColumn, *, length: int, advance: Callable[[int], None]
) -> npt.NDArray[np.uint8]:
    """The first `length` characters of each text as indices into `ALPHABET` + 1 (n, length).

    Lower-cased; line breaks and tabs count as spaces, any other character as 0, like padding.

    Paper: Conneau et al. 2017, Very Deep Convolutional Networks for Text Classification.
    """
    codes = np.zeros(256, dtype=np.uint8)
    for index, character in enumerate(ALPHABET):
        codes[ord(character)] = index + 1
    codes[[ord(character) for character in "\t\n\r\v\f"]] = 1
    encoded = np.zeros((len(texts), length), dtype=np.uint8)
    start = 0
    for block in blocks(texts, _BLOCK):
        short = pc.utf8_slice_codeunits(pc.utf8_lower(block), 0, length)
        ascii_only = pc.replace_substring_regex(short, r"[^\x00-\x7F]", "\x00")
        lines = ascii_only.cast(pa.large_binary()).to_pylist()
        for row, line in enumerate(lines, start):
            encoded[row, : len(line)] = codes[np.frombuffer(line, dtype=np.uint8)]
        start += len(block)
        advance(len(block))
    return encoded


def tokens(
    texts: ArrowColumn, *, tokenizer: str, length: int, advance: Callable[[int], None]
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64], int]:
    """Sub-word tokens of each text, at most `length`: (total,), lengths (n,), the padding token.

    Raises:
        DataError: the tokeniser cannot be loaded.
        MissingExtraError: `transformers` is not installed.
    """
    split = _load_tokenizer(tokenizer)
    limit = length or min(int(split.model_max_length), 512)
    pieces: list[npt.NDArray[np.int32]] = []
    lengths: list[int] = []
    for block in blocks(texts, 1024):
        rows: list[list[int]] = split(block.to_pylist(), truncation=True, max_length=limit)[
            "input_ids"
        ]
        pieces.append(np.fromiter((token for row in rows for token in row), dtype=np.int32))
        lengths += [len(row) for row in rows]
        advance(len(block))
    padding = split.pad_token_id if split.pad_token_id is not None else split.eos_token_id or 0
    flat = np.concatenate(pieces) if pieces else np.empty(0, dtype=np.int32)
    return flat, np.array(lengths, dtype=np.int64), int(padding)


def _load_tokenizer(name: str) -> Any:
    try:
        from transformers import AutoTokenizer
    except ImportError:
        raise MissingExtraError(f"proxy: the tokeniser of '{name}'", "hf") from None
    try:
        return AutoTokenizer.from_pretrained(name, trust_remote_code=False)
    except (OSError, ValueError) as error:
        raise DataError(
            f"proxy: the tokeniser of '{name}' cannot be loaded ({str(error).splitlines()[0]}). "
            "Give a local folder that has one, or, with a network, a name on the hub"
        ) from None


NAMES = frozenset({"input_ids", "token_ids", "tokens"})
_SAMPLE = 2048
_BYTE = 255  # what whole numbers of pictures stay under


def are_tokens(values: npt.NDArray[Any]) -> bool:
    """Whether vectors (n, d) look like numbers of tokens, padded to one length.

    Whole numbers from 0, over 255 in half of the columns that vary; one of them fills the ends (or
    the beginnings) of rows, which come in three lengths at least, and stands nowhere else.

    >>> rows = np.array([[1, 700, 9, 102], [1, 8, 102, 0], [1, 102, 0, 0], [1, 3, 300, 102]])
    >>> are_tokens(rows), are_tokens(rows[:, ::-1]), are_tokens(rows % 100), are_tokens(rows / 3)
    (True, True, False, False)
    """
    sample = np.asarray(values[:_SAMPLE])
    if sample.ndim != 2 or sample.shape[1] < 4 or sample.dtype.kind not in "iuf":
        return False
    if not np.isfinite(sample).all() or (sample != np.floor(sample)).any():
        return False
    largest = sample.max(0)
    varied = largest > sample.min(0)
    if sample.min() < 0 or (largest[varied] > _BYTE).sum() < max(1, varied.sum() / 2):
        return False
    return _padded(sample) or _padded(sample[:, ::-1])


def _padded(rows: npt.NDArray[Any]) -> bool:
    found, counts = np.unique(rows[:, -1], return_counts=True)
    padding = rows == found[counts.argmax()]
    ends = np.logical_and.accumulate(padding[:, ::-1], axis=1)[:, ::-1]
    lengths = np.unique(ends.sum(1))
    return bool((padding == ends).all() and len(lengths) >= 3)
