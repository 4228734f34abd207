"""Covering features: those that somebody brings, near-duplicates among them, and a map of them."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from keepers import methods
from keepers.baselines import SAFE
from keepers.errors import ParameterError, UnlabelledError
from keepers.methods import in_words
from keepers.random import generator
from keepers.selectors import near_duplicates
from keepers.words import counted
from keepers.workflows.evidence import Plane, spread
from keepers.workflows.offered import OF_DATA
from keepers.workflows.options.coreset import CoresetOptions
from keepers.workflows.options.shared import AUTO
from keepers.workflows.scoring import Scored

BROUGHT = OF_DATA
FITTED_ON = 5_000
"""Examples that the principal components are fitted on, evenly spread over the ids."""
ITERATIONS = 20
DRAWN = 3_000
"""Kept examples that a map shows at most; it shows as many dropped ones."""


def needs_labels(config: CoresetOptions, *, brought: bool) -> bool:
    """Whether a core-set needs labels, where features are `brought` or are not.

    Raises:
        ParameterError: the method needs what only a proxy says, and features are brought; or
            near-duplicates are asked for, and there are no features to tell them by.
    """
    method = methods.get(SAFE if config.method == AUTO else config.method)
    given = BROUGHT if config.quality is None else BROUGHT | {"qualities"}
    missing = method.needs - given
    rows = methods.offered(given, replacement=False)
    if brought and missing:
        raise ParameterError(
            "method",
            f"got '{method.name}', which needs {in_words(missing)} of a proxy, but with features "
            "no proxy is trained",
            f"Leave the features out, or take {', '.join(sorted(rows))}",
        )
    if config.near_duplicates is not None and not brought and "features" not in method.needs:
        having = [name for name, row in rows.items() if "features" in row.needs]
        raise ParameterError(
            "near_duplicates",
            f"got {config.near_duplicates}, but '{method.name}' has no features to compare",
            "Give embeddings with --features (features=...), or use a method with features of a "
            f"proxy: {', '.join(sorted(having))}",
        )
    return bool(method.needs - {"features"} if brought else method.needs) or (
        config.balance is not None
    )


@contextmanager
def or_unlabelled() -> Generator[None]:
    """Let the error of data without labels say what can be done without them."""
    try:
        yield
    except UnlabelledError as error:
        error.args = (
            f"{error}. Without labels: give embeddings with --features COLUMN or FILE.npy "
            "(features=...), keep a random part with --method random, or collect labels with "
            "keepers active start",
        )
        raise


def without_copies(scored: Scored, similarity: float) -> Scored:
    """The same, without the candidates that are near-duplicates of another, the first by id.

    Raises:
        ParameterError: features of zeros alone, which have no direction.
    """
    features, at = scored.features, scored.candidates
    assert features is not None
    zeros = at[~features[at].any(1)]
    if len(zeros):
        row, name = scored.source.rows[int(zeros[0])], scored.source.ids[int(zeros[0])]
        raise ParameterError(
            "features",
            f"{counted(len(zeros), 'vector is', 'vectors are')} all zeros (first: row {row}, id "
            f"{name}): they have no direction, which --near-duplicates needs",
            "Compute them again, leave those rows out, or leave --near-duplicates out",
        )
    place = scored.place
    with place.ledger.phase("near-duplicates") as tally, place.under_way("selecting") as report:
        of = near_duplicates(
            features if len(at) == len(features) else features[at],
            threshold=1 - similarity,
            metric="cosine",
            report=report,
        )
        tally.examples = len(at)
    copies = torch.full((len(scored.source),), -1)
    copies[at[of >= 0]] = at[of[of >= 0]]
    found = replace(scored, candidates=at[of < 0], copies=copies)
    place.say(
        f"Dropped {counted(found.num_copies, 'near-duplicate')} (cosine similarity of "
        f"{similarity:g} or more to an earlier example by id): {len(found.candidates):,} are left"
    )
    return found


def plane(scored: Scored, kept: npt.NDArray[np.bool_]) -> Plane | None:
    """Where some of the candidates lie on the two principal components of the features.

    Up to `DRAWN` of the kept and of the others, evenly spread over the ids. None where the
    features have no two dimensions, or are all alike.
    """
    if scored.features is None or min(scored.features.shape) < 2:
        return None
    candidates = np.zeros(len(kept), dtype=bool)
    candidates[scored.candidates.numpy()] = True
    parts = [spread(np.flatnonzero(candidates & part), count=DRAWN) for part in (~kept, kept)]
    positions = np.concatenate(parts)
    at = spread(scored.candidates.numpy(), count=FITTED_ON)
    sample = scored.features[torch.from_numpy(at)].double()
    centre = sample.mean(0)
    sample -= centre
    total = float(sample.square().sum())
    if not total:
        return None
    axes = _principal(sample)
    shares = ((sample @ axes).square().sum(0) / total).tolist()
    points = (scored.features[torch.from_numpy(positions)].double() - centre) @ axes
    return Plane(positions=positions, points=points.numpy(), shares=(shares[0], shares[1]))


def _principal(centred_RD: Tensor) -> Tensor:
    """The first two principal components (d, 2) of centred rows, by subspace iteration."""
    width = min(8, *centred_RD.shape)
    draw = generator(0, "principal components")
    basis = torch.randn(centred_RD.shape[1], width, generator=draw, dtype=centred_RD.dtype)
    for _ in range(ITERATIONS):
        basis = torch.linalg.qr(centred_RD.T @ (centred_RD @ torch.linalg.qr(basis).Q)).Q
    inside = torch.linalg.eigh((centred_RD @ basis).T @ (centred_RD @ basis)).eigenvectors
    axes = basis @ inside[:, [-1, -2]]
    return axes * axes.gather(0, axes.abs().argmax(0, keepdim=True)).sign()
