"""Features that need no labels: what cold starts, near-duplicates and neighbours are found by."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from keepers.choices import OnBadRow
from keepers.configuration import model_named
from keepers.data import BagPool, DensePool, Source, encode
from keepers.files import hash_bytes
from keepers.ledger import Ledger
from keepers.models import PROBE
from keepers.random import derived_seed
from keepers.roles import Prepared, Role, prepare
from keepers.runs import StageRecord
from keepers.signals import extract, store
from keepers.sparse import inverse_frequencies, principal_axes, tf_idf
from keepers.types import EncoderSpec
from keepers.workflows.active.unlabelled import unlabelled
from keepers.workflows.options.active import BUILT_IN, ActiveConfig
from keepers.workflows.probing import FEATURES, embedded, embedding_inputs
from keepers.workflows.workplace import Workplace

BUCKETS = 2**18
SIDE = 16
"""Pictures are scaled to at most this many pixels per side."""

COMPONENTS = 64
FITTED_ON = 20_000
"""Examples, drawn at random, that the built-in projection is fitted on."""

FEW = 8
"""The direction of a vector with at most this many numbers says little, so it is lifted."""

_BLOCK = 8192


def embedding(
    source: Source,
    config: ActiveConfig,
    place: Workplace,
    *,
    proxy: Callable[[], Prepared],
    given: npt.NDArray[np.float32] | None = None,
    on_bad_row: OnBadRow = "error",
) -> Tensor:
    """Features (n, d) of every example, float32, of length 1 each; computed once.

    `given` (n, d) are those of a column. Otherwise `config.features` names a model, whose
    penultimate features are taken as it stands (`hf:PATH` with its pre-trained weights), or an
    encoder (`probe:ENCODER`), or is `built-in`: what the encoder of a proxy that is a probe gives;
    else texts by TF-IDF of words and pairs of words, pictures by their pixels, vectors by
    their standardised values; over 64 dimensions are projected on their 64 principal ones, and up
    to 8 numbers are lifted, so that their similarity is exp(−‖x − y‖² / 2).
    """
    made_by: Any = config.features if given is None else hash_bytes(given)
    if given is None and (probe := _encoder(source, config, proxy, on_bad_row)) is not None:
        pool = embedded(place, probe, probe.pool, source.content)
        assert isinstance(pool, DensePool)
        given, made_by = pool.rows.numpy(), embedding_inputs(place, probe, source.content)
    inputs = {
        "examples": source.identity,
        "features": made_by,
        "seed": config.seed,
        "hardware": config.hardware.identity(gains_from_bf16=False),
    }

    def compute(folder: Path) -> StageRecord:
        ledger = Ledger()
        store.clear(folder)
        with ledger.phase(FEATURES) as tally, place.under_way("Features of the pool"):
            tally.examples = len(source)
            if given is not None:
                features = torch.from_numpy(given)
            elif config.features == BUILT_IN:
                features = _built_in(source, config.seed, folder)
            else:
                features = _of_model(source, config, folder, on_bad_row)
            store.write(folder, {"features": torch.nn.functional.normalize(features, dim=1)})
        return StageRecord(costs=tuple(ledger.costs))

    folder, _ = place.stage(FEATURES, inputs, compute)
    return store.read(folder)["features"]


def _encoder(
    source: Source, config: ActiveConfig, proxy: Callable[[], Prepared], on_bad_row: OnBadRow
) -> Prepared | None:
    """The probe whose encoder gives the features, if any; a proxy's is asked once for both."""
    own = config.features == BUILT_IN
    if not (model_named(config.proxy) if own else config.features).startswith(PROBE):
        return None
    return proxy() if own else _prepared(source, config, on_bad_row)


def _prepared(source: Source, config: ActiveConfig, on_bad_row: OnBadRow) -> Prepared:
    if source.labels is None:
        source = unlabelled(source)
    role = Role(model=config.features)
    return prepare(role, source, parameter="features", on_bad_row=on_bad_row)[1]


def _of_model(source: Source, config: ActiveConfig, folder: Path, on_bad_row: OnBadRow) -> Tensor:
    prepared = _prepared(source, config, on_bad_row)
    module = prepared.build(derived_seed(config.seed, "features"), parameter="features")
    runtime = config.hardware.runtime(gains_from_bf16=prepared.recipe.bf16)
    signals = extract(
        module, prepared.eval_view(), runtime=runtime, wanted={"features"}, folder=folder
    )
    return signals.get("features")


def _built_in(source: Source, seed: int, cache: Path) -> Tensor:
    if source.kind == "text":
        return _of_texts(source, seed, cache)
    if source.kind == "image":
        channels, height, width = source.shape
        size = (min(height, SIDE), min(width, SIDE))
        _, pool = encode(source, EncoderSpec(kind="image", size=size, channels=channels))
    else:
        _, pool = encode(source, EncoderSpec(kind="vector"))
    assert isinstance(pool, DensePool)
    return _of_numbers(pool, seed)


def _sampled(n: int, seed: int) -> npt.NDArray[np.int64]:
    if n <= FITTED_ON:
        return np.arange(n)
    draw = np.random.default_rng(derived_seed(seed, "fitted on"))
    return np.sort(draw.choice(n, FITTED_ON, replace=False))


def _of_numbers(pool: DensePool, seed: int) -> Tensor:
    from sklearn.decomposition import PCA
    from sklearn.preprocessing import StandardScaler

    def rows(positions: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
        return pool.gather(torch.from_numpy(positions))[0].flatten(1).float().numpy()

    fitted_on = rows(_sampled(len(pool), seed))
    steps: list[Any] = [StandardScaler()]
    if fitted_on.shape[1] > COMPONENTS:
        components = min(COMPONENTS, len(fitted_on))
        steps.append(PCA(components, random_state=derived_seed(seed, "pca") % 2**32))
    for step in steps:
        fitted_on = step.fit_transform(fitted_on)
    few = fitted_on.shape[1] <= FEW
    found = torch.empty(len(pool), COMPONENTS if few else fitted_on.shape[1])
    for start in range(0, len(pool), _BLOCK):
        values = rows(np.arange(start, min(start + _BLOCK, len(pool))))
        for step in steps:
            values = step.transform(values)
        found[start : start + len(values)] = torch.from_numpy(
            _lifted(values, seed) if few else values
        )
    return found


def _lifted(values: npt.NDArray[np.float32], seed: int) -> npt.NDArray[np.float32]:
    """Random Fourier features (n, `COMPONENTS`) of the Gaussian kernel of width 1."""
    draw = np.random.default_rng(derived_seed(seed, "lifted"))
    directions = draw.standard_normal((values.shape[1], COMPONENTS // 2)).astype(np.float32)
    angles = values @ directions
    return np.concatenate([np.cos(angles), np.sin(angles)], 1)


def _of_texts(source: Source, seed: int, cache: Path) -> Tensor:
    spec = EncoderSpec(kind="text", scheme="hashed", buckets=BUCKETS, ngrams=2)
    _, pool = encode(source, spec, cache=cache)
    assert isinstance(pool, BagPool)
    fitted_on = pool.counts(torch.from_numpy(_sampled(len(source), seed)))
    used = np.unique(fitted_on.indices)  # most buckets of a few texts are empty
    fitted_on = fitted_on[:, used]
    idf = inverse_frequencies(fitted_on)
    axes = principal_axes(tf_idf(fitted_on, idf), COMPONENTS)
    found = torch.empty(len(source), axes.shape[1])
    for start in range(0, len(source), _BLOCK):
        part = torch.arange(start, min(start + _BLOCK, len(source)))
        found[part] = torch.from_numpy(tf_idf(pool.counts(part)[:, used], idf) @ axes)
    return found
