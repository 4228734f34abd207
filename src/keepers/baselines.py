"""The names of what selections are compared with, which stand in every result."""

from __future__ import annotations

from collections.abc import Mapping

EVERYTHING, RANDOM, FRESH = "everything", "random", "fresh-random"
"""Training on all of it, on a random part, and on another random part in every epoch."""

LONGEST, WHOLE = "longest", "everything-in-full"
"""The longest answers; and, of conversations, everything for as many passes as a part gets."""

SAFE = "stratified"
"""What is chosen where nothing is shown to be better: at random, each class in its proportion."""

UNIFORM, EQUAL_TIME, SVP = "uniform", "uniform-equal-time", "svp"
"""Plain training for as many steps, for as long, and on a core-set by a proxy's entropy."""

BASELINES = (UNIFORM, EQUAL_TIME, FRESH)
"""What is trained beside every online selection."""

ONLY_COMPARED: Mapping[str, str] = {
    SVP: "uniform training on a core-set: the highest entropy under a proxy (Coleman et al. 2020)"
}
"""What an online comparison offers beside the selections of a training."""
