"""Active learning: a labelling campaign, round by round."""

from keepers.workflows.active.batches import Batch
from keepers.workflows.active.campaign import Campaign

__all__ = ["Batch", "Campaign"]
