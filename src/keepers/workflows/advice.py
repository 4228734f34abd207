"""What a person should know before they trust a choice."""

from __future__ import annotations

import torch

from keepers.workflows.scoring import Scored

SAFE = "stratified"
SAFE_FROM_WRONG_LABELS = "ccs"
LOW_FRACTION = 0.3
MANY_LABEL_ERRORS = 0.05
WEAK_PROXY = 0.4
HARDLY_BETTER = 1.2


def accuracy(scored: Scored, at: torch.Tensor) -> float | None:
    """Share of the examples at these positions whose label the proxies predict."""
    if scored.probabilities is None or not len(at):
        return None
    right = scored.probabilities[at].argmax(1) == scored.labels[at]
    return float(right.double().mean())


def warn(scored: Scored, k: int) -> list[str]:
    """Warnings about keeping `k` of the candidates, in sentences."""
    warnings: list[str] = []
    name, hard_first = scored.method.name, scored.method.hard_first
    at, labels = scored.candidates, scored.labels[scored.candidates]
    fraction = k / len(at)
    if hard_first and fraction < LOW_FRACTION:
        warnings.append(
            f"at {fraction:.2g} kept, methods that keep the hardest first ('{name}') can lose to "
            f"a random choice, badly; '{SAFE}' is the safe one. keepers compare tells on your data"
        )
    if scored.probabilities is None:
        return warnings
    right = accuracy(scored, at) or 0.0
    largest = float(torch.bincount(labels).max()) / len(labels)
    if right < min(HARDLY_BETTER * largest, (1 + largest) / 2):
        warnings.append(
            f"the proxy has hardly learnt anything: it is right on {right:.1%} of what it was "
            f"trained on, and always guessing the largest class on {largest:.1%}. Its choice is "
            "little better than a random one. Give it more --epochs, or take another --proxy"
        )
        return warnings
    if scored.margins is None:
        return warnings
    share = float((scored.margins[at] < 0).double().mean())
    if share > WEAK_PROXY:
        warnings.append(
            f"while it trained, the proxy found another class likelier than the label for "
            f"{share:.0%} of the examples: it is weak, or the labels are. Give it more --epochs, "
            "or take another --proxy"
        )
    elif share > MANY_LABEL_ERRORS:
        advice = (
            f"what is hardest holds many of them; '{SAFE_FROM_WRONG_LABELS}' sets it aside first"
            if hard_first
            else "see them in the report"
        )
        warnings.append(f"about {share:.0%} of the labels look wrong to the proxy: {advice}")
    return warnings
