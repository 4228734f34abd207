"""BADGE: diverse batches of large gradients.

Shape suffixes: N examples, C classes, D features, P pairs.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from keepers.errors import ParameterError
from keepers.selectors._distances import BLOCK_ELEMENTS, flat_positions, row_blocks, squared_norms
from keepers.selectors.checks import (
    Features,
    check_count,
    check_rows,
    check_selected,
)
from keepers.tensors import check_log_probs, check_no_nan

HELD = 1 << 24
"""Elements of n × classes up to which p − onehot is held, and each pick compared with all."""
PATIENCE = 64
"""Draws that are turned down before all distances are brought up to date."""


def badge(
    log_probs: Tensor,
    features: Features,
    k: int,
    *,
    generator: torch.Generator,
    selected: Tensor | None = None,
) -> Tensor:
    """Draw far-apart gradients of the last layer, by the seeding of k-means++.

    gᵢ = (pᵢ − onehot(argmax pᵢ)) ⊗ hᵢ is the gradient of the last layer's weights if the likeliest
    class were the label. The first pick is the one of the largest ‖gᵢ‖; each further one is drawn
    with probability ∝ min_{j ∈ picks} ‖gᵢ − gⱼ‖². Large gradients, which are uncertain examples,
    lie far from the others, so that picks are uncertain and diverse.

    The embeddings, n × (classes · d) numbers, are never made: gᵢ·gⱼ is the product of the inner
    products of the two factors. Up to 16 million predictions (n × classes), that is one
    matrix–vector product of each factor per pick. With more, an example is drawn by its distance to
    the picks that all were compared with so far, which can only be too long, and taken with the
    chance (distance to all picks)² / (that distance)²: the same law, in O(n) memory and with few
    passes over the predictions, which may be mapped from disk. Picks nest for generators of the
    same state. Copies of a pick are picked only when nothing else is left, and then by position.

    Args:
        log_probs: (n, classes); −∞ is a probability of 0.
        features: (n, d), the input of the last layer.
        k: number of new picks.
        generator: draws.
        selected: positions (s,) already selected or labelled; they take no part.

    Returns:
        Positions (k,) in pick order, int64.

    Raises:
        ParameterError: NaN, another shape, or no log-probabilities; features that are not (n, d)
            or not finite; k over what is left; `selected` out of range or with repetitions.

    Example:
        >>> log_probs = torch.tensor([[0.5, 0.5], [0.5, 0.5], [0.9, 0.1]]).log()
        >>> features = torch.tensor([[3.0, 0.0], [3.0, 0.0], [0.0, 1.0]])
        >>> badge(log_probs, features, 2, generator=torch.Generator().manual_seed(0))
        tensor([0, 2])

    Paper:
        Ash, Zhang, Krishnamurthy, Langford and Agarwal, Deep Batch Active Learning by Diverse,
        Uncertain Gradient Lower Bounds, ICLR 2020.
    """
    log_probs_NC = check_log_probs(log_probs, 2)
    points_ND = check_rows(features, len(log_probs_NC), "predictions")
    made = _likeliest(log_probs_NC, points_ND)
    embeddings = _GradientEmbeddings(made, log_probs_NC.shape[1], points_ND)
    return _seeded(embeddings, k, generator, selected)


def gradient_spread(
    gradients: Tensor,
    features: Features,
    k: int,
    *,
    generator: torch.Generator,
    selected: Tensor | None = None,
) -> Tensor:
    """As `badge`, with the gradients of the targets that are known in place of the likeliest class.

    gᵢ = aᵢ ⊗ hᵢ, with aᵢ the gradient of the loss by the model's output: so it is defined for
    classes, labels and numbers.

    Args:
        gradients: (n, outputs), finite, of the losses by the model's output.
        features: (n, d), the input of the last layer.
        k: number of new picks.
        generator: draws.
        selected: positions (s,) already selected; they take no part.

    Returns:
        Positions (k,) in pick order, int64.

    Raises:
        ParameterError: another shape, NaN or infinite values; k over what is left; `selected` out
            of range or with repetitions.

    Example:
        >>> gradients = torch.tensor([[0.5], [0.5], [-2.0]])
        >>> features = torch.tensor([[3.0, 0.0], [3.0, 0.0], [0.0, 1.0]])
        >>> gradient_spread(gradients, features, 2, generator=torch.Generator().manual_seed(0))
        tensor([2, 1])
    """
    if gradients.ndim != 2 or not gradients.shape[1]:
        shape = f"got shape {tuple(gradients.shape)}"
        raise ParameterError("gradients", shape, "Give (n, outputs), one row per example")
    gradients_NC = check_no_nan(gradients, "gradients", finite=True)
    points_ND = check_rows(features, len(gradients_NC), "gradients")
    embeddings = _GradientEmbeddings(
        lambda rows: gradients_NC[rows].to(points_ND), gradients_NC.shape[1], points_ND
    )
    return _seeded(embeddings, k, generator, selected)


def _likeliest(log_probs_NC: Tensor, points_ND: Tensor) -> Callable[[Tensor | slice], Tensor]:
    """Makes p − onehot(argmax p) of some rows."""

    def made(rows: Tensor | slice) -> Tensor:
        log_probs_RC = log_probs_NC[rows].to(points_ND)
        errors_RC = log_probs_RC.exp()
        top_R1 = log_probs_RC.argmax(1, keepdim=True)
        # p − 1 from log p: nothing is lost where p is nearly 1.
        return errors_RC.scatter_(1, top_R1, log_probs_RC.gather(1, top_R1).expm1())

    return made


def _seeded(
    embeddings: _GradientEmbeddings, k: int, generator: torch.Generator, selected: Tensor | None
) -> Tensor:
    """The seeding of k-means++, the first pick the longest gradient."""
    points_ND = embeddings.points_ND
    n = len(points_ND)
    taken = check_selected(selected, n, points_ND.device)
    check_count(k, n - len(taken))
    free_N = torch.ones(n, dtype=torch.bool, device=points_ND.device)
    free_N[taken] = False
    nearest_N = torch.full_like(embeddings.norms_N, torch.inf).masked_fill_(~free_N, 0)
    picks = torch.empty(k, dtype=torch.int64, device=points_ND.device)
    known = refused = 0  # picks that `nearest_N` counts, and draws turned down since
    for pick in range(k):
        if pick == 0:
            position = int(embeddings.norms_N.masked_fill(~free_N, -1).argmax())
        else:
            position = _draw(nearest_N, free_N, generator)
        while known < pick:
            bound = nearest_N[position].clone()
            least = embeddings.nearest(picks[known:pick], slice(position, position + 1))
            nearest_N[position] = torch.minimum(bound, least[0])
            if float(nearest_N[position]) >= _uniform(generator) * float(bound):
                break
            refused += 1
            if refused == PATIENCE:
                embeddings.update(nearest_N, picks[known:pick])
                known, refused = pick, 0
            position = _draw(nearest_N, free_N, generator)
        picks[pick] = position
        free_N[position] = False
        nearest_N[position] = 0
        if embeddings.held or pick == 0 or pick - known >= max(1, n // 16):
            embeddings.update(nearest_N, picks[known : pick + 1])
            known, refused = pick + 1, 0
    return picks


class _GradientEmbeddings:
    """Squared distances among aᵢ ⊗ hᵢ, from the two factors.

    ‖gᵢ‖² = ‖aᵢ‖² ‖hᵢ‖² and gᵢ·gⱼ = (aᵢ·aⱼ)(hᵢ·hⱼ). Where ‖gᵢ‖² + ‖gⱼ‖² − 2 gᵢ·gⱼ is little but
    rounding, it is computed again from gᵢ − gⱼ = aᵢ ⊗ (hᵢ − hⱼ) + (aᵢ − aⱼ) ⊗ hⱼ.
    """

    def __init__(
        self, made: Callable[[Tensor | slice], Tensor], num_classes: int, points_ND: Tensor
    ) -> None:
        self.points_ND, self._made, self._num_classes = points_ND, made, num_classes
        n = len(points_ND)
        self.held = n * num_classes <= HELD
        self._errors_NC = points_ND.new_empty((n if self.held else 0, num_classes))
        self._blocks = list(row_blocks(n, num_classes))
        self.norms_N = squared_norms(points_ND)
        for rows in self._blocks:
            errors_RC = self._made(rows)
            self.norms_N[rows] *= errors_RC.square().sum(1)
            if self.held:
                self._errors_NC[rows] = errors_RC
        self._rounding = 512 * torch.finfo(points_ND.dtype).eps

    def _errors(self, rows: Tensor | slice) -> Tensor:
        """aᵢ of some rows, (r, classes)."""
        return self._errors_NC[rows] if self.held else self._made(rows)

    def update(self, nearest_N: Tensor, picks_P: Tensor) -> None:
        """Bring squared distances (n,) to the nearest pick up to date with some picks."""
        if self.held:
            for position in picks_P.tolist():
                torch.minimum(nearest_N, self.to_point(position), out=nearest_N)
            return
        for rows in self._blocks:
            nearest_N[rows] = torch.minimum(nearest_N[rows], self.nearest(picks_P, rows))

    def nearest(self, picks_P: Tensor, rows: slice) -> Tensor:
        """Squared distance (r,) of some rows to the nearest of some picks."""
        points_RD, errors_RC = self.points_ND[rows], self._errors(rows)
        out_R = torch.full_like(self.norms_N[rows], torch.inf)
        for some_P in picks_P.split(256):
            inner_RP = points_RD @ self.points_ND[some_P].T
            inner_RP *= errors_RC @ self._errors(some_P).T
            sums_RP = self.norms_N[rows, None] + self.norms_N[some_P]
            out_R = torch.minimum(out_R, self._squared(inner_RP, sums_RP, rows, some_P).amin(1))
        return out_R

    def to_point(self, position: int) -> Tensor:
        """Squared distances (n,) of all embeddings to one."""
        inner_N = self.points_ND @ self.points_ND[position]
        inner_N *= self._errors_NC @ self._errors_NC[position]
        sums_N = self.norms_N + self.norms_N[position]
        column = torch.tensor([position], device=inner_N.device)
        return self._squared(inner_N[:, None], sums_N[:, None], slice(0, None), column)[:, 0]

    def _squared(self, inner_RP: Tensor, sums_RP: Tensor, rows: slice, columns_P: Tensor) -> Tensor:
        out_RP = inner_RP.mul_(-2).add_(sums_RP)
        near = flat_positions(out_RP <= sums_RP.mul_(self._rounding))
        near_R, near_P = near // len(columns_P), near % len(columns_P)
        out_RP[near_R, near_P] = self._exact(near_R + rows.start, columns_P[near_P])
        return out_RP

    def _exact(self, rows_P: Tensor, columns_P: Tensor) -> Tensor:
        out_P = self.norms_N.new_empty(len(rows_P))
        step = max(1, BLOCK_ELEMENTS // max(self.points_ND.shape[1], self._num_classes))
        for start in range(0, len(rows_P), step):
            part = slice(start, start + step)
            points_PD, errors_PC = self.points_ND[columns_P[part]], self._errors(rows_P[part])
            apart_PD = self.points_ND[rows_P[part]] - points_PD
            error_apart_PC = errors_PC - self._errors(columns_P[part])
            own = errors_PC.square().sum(1) * apart_PD.square().sum(1)
            other = error_apart_PC.square().sum(1) * points_PD.square().sum(1)
            both = (errors_PC * error_apart_PC).sum(1) * (apart_PD * points_PD).sum(1)
            out_P[part] = own + other + 2 * both
        return out_P.clamp_(min=0)


def _draw(weights_N: Tensor, free_N: Tensor, generator: torch.Generator) -> int:
    """A position with probability ∝ its weight; the lowest free one where all weights are 0."""
    ends_N = weights_N.cpu().double().cumsum(0)
    drawn, total = _uniform(generator), float(ends_N[-1])
    if not total:
        return int(free_N.byte().argmax())
    return int(torch.searchsorted(ends_N, drawn * total, right=True))


def _uniform(generator: torch.Generator) -> float:
    return float(torch.rand((), dtype=torch.float64, generator=generator, device=generator.device))
