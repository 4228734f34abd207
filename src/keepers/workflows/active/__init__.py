"""Active learning: a labelling campaign, round by round."""

from keepers.workflows.active.campaign import Batch, Campaign

__all__ = ["Batch", "Campaign"]
