"""Features of conversations by an encoder of texts, in place of a causal language model's."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pyarrow as pa
from torch import Tensor

from keepers.data import DensePool, Examples, Source, encode
from keepers.errors import ParameterError
from keepers.methods import Method, in_words
from keepers.roles import Role, prepare
from keepers.types import Pool, Signals
from keepers.workflows.probing import embedded
from keepers.workflows.readings import cosines
from keepers.workflows.workplace import Workplace

GIVES = frozenset({"features", "similarities"})
"""The signals of an encoder."""


def check_gives(role: Role, method: Method, needs: frozenset[str]) -> None:
    """Refuse an encoder for a method that needs more of it than features.

    Raises:
        ParameterError: what it needs.
    """
    if missing := needs - GIVES:
        raise ParameterError(
            "proxy",
            f"got '{role.model}', an encoder, which gives only features, but '{method.name}' "
            f"needs {in_words(missing)}",
            "Name a causal language model, hf:PATH, or use rds or a method that covers features",
        )


def encoder_signals(
    source: Source, targets: Source | None, role: Role, place: Workplace
) -> Signals:
    """Features (n, d) of conversations as plain texts, and their likeness to targets.

    Raises:
        ParameterError: no such encoder, or an option that it does not take.
    """
    texts, prepared = prepare(role, as_texts(source), progress=place.progress)
    length = getattr(prepared.encoder, "length", None)
    cut = f", the first {length} tokens of each" if length else ""
    place.say(f"Proxy: {role.model} reads {len(texts):,} conversations, without training{cut}")
    features = _rows(embedded(place, prepared, prepared.pool, texts.content))
    if targets is None:
        return Signals(features=features)
    likened, pool = encode(as_texts(targets), prepared.encoder)
    like = _rows(embedded(place, prepared, pool, likened.content))
    return Signals(features=features, similarities=cosines(features, like))


def as_texts(source: Source) -> Source:
    """Conversations as the texts that a person reads, of one class."""
    texts = [str(source.preview(at)) for at in range(len(source))]
    found = pa.chunked_array([pa.array(texts, pa.large_string())])
    examples = Examples(
        rows=source.rows,
        names=source.examples.names,
        read_digests=partial(getattr, source, "digests"),
        read_inputs=lambda: found,  # pyright: ignore[reportUnknownLambdaType]
    )
    return replace(
        source,
        kind="text",
        examples=examples,
        labels=np.zeros(len(source), dtype=np.int64),
        class_names=("conversation",),
        other_task=None,
    )


def _rows(pool: Pool) -> Tensor:
    assert isinstance(pool, DensePool)
    return pool.rows
