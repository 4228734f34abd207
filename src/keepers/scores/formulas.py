"""The formulas of the scores, unchecked: no value is read back from the device.

The public functions check what they are given; `methods.choose` and `methods.score` do so once for
all, and then call these. Log-probabilities are in float32 or float64 and at most 0, and all tensors
of a call are on one device.
"""

from keepers.scores import bayesian, dynamics, language, loss, several, uncertainty
from keepers.scores.checks import unchecked

least_confidence = unchecked(uncertainty.least_confidence)
margin = unchecked(uncertainty.margin)
entropy = unchecked(uncertainty.entropy)
cross_entropy = unchecked(loss.cross_entropy)
reducible_loss = unchecked(loss.reducible_loss)
uncontradicted = unchecked(loss.uncontradicted)
predictive_entropy = unchecked(bayesian.predictive_entropy)
conditional_entropy = unchecked(bayesian.conditional_entropy)
bald = unchecked(bayesian.bald)
loss_minus_conditional_entropy = unchecked(bayesian.loss_minus_conditional_entropy)
forgetting = unchecked(dynamics.forgetting)
area_under_margin = unchecked(dynamics.area_under_margin)
label_entropy = unchecked(several.label_entropy)
label_margin = unchecked(several.label_margin)
maximal_confidence_loss = unchecked(several.maximal_confidence_loss)
committee_variance = unchecked(several.committee_variance)
gradient_influence = unchecked(language.gradient_influence)
perplexity = unchecked(language.perplexity)
instruction_following_difficulty = unchecked(language.instruction_following_difficulty)
