"""What a language model finds of answers, from the losses of their tokens."""

from __future__ import annotations

import torch
from torch import Tensor

from keepers.scores.checks import checked


@checked
def perplexity(answer_losses: Tensor) -> Tensor:
    """exp(loss): how many tokens the model hesitates between, on average.

    Args:
        answer_losses: (n,), the mean cross-entropy in nats of the tokens of each answer.

    Returns:
        Scores (n,), 1 or more where losses are 0 or more.

    Raises:
        ParameterError: NaN or another shape.

    Example:
        >>> perplexity(torch.tensor([0.0, 3.0]))
        tensor([ 1.0000, 20.0855])

    Paper:
        Ankner et al., Perplexed by Perplexity, 2024 (2405.20541): middle and high bands.
    """
    return answer_losses.exp()


@checked
def instruction_following_difficulty(answer_losses: Tensor, unconditional_losses: Tensor) -> Tensor:
    """IFD: the loss of an answer given its prompt over its loss without; over 1 comes last.

    Near 1 the prompt hardly helps the model: the example is hard. Over 1 it misleads, which tells
    of an answer that does not belong to its prompt. Those score 1 less twice the ratio, below
    all others.

    Args:
        answer_losses: (n,), mean losses of the answers, each after its prompt.
        unconditional_losses: (n,), those of the answers by themselves.

    Returns:
        Scores (n,), the ratio where it is at most 1.

    Raises:
        ParameterError: NaN, another shape, or losses that are infinite.

    Example:
        >>> ifd = instruction_following_difficulty
        >>> ifd(torch.tensor([1.0, 2.0, 3.0]), torch.tensor([2.0, 2.0, 2.0]))
        tensor([ 0.5000,  1.0000, -2.0000])

    Paper:
        Li et al., From Quantity to Quality, NAACL 2024 (2308.12032); by a small model: Li et al.,
        Superfiltering, ACL 2024 (2402.00530).
    """
    tiny = torch.finfo(answer_losses.dtype).tiny
    ratio = answer_losses / unconditional_losses.clamp_min(tiny)
    return torch.where(ratio > 1, 1 - 2 * ratio, ratio).clamp(
        min=torch.finfo(answer_losses.dtype).min
    )


@checked
def gradient_influence(gradient_similarities: Tensor) -> Tensor:
    """LESS: how much a step on an example lowers the loss of target examples, of the best task.

    To first order a step along the gradient of one example changes the loss of another by the inner
    product of both gradients. Both are brought to length 1: gradients of short answers are long.

    Args:
        gradient_similarities: (n, tasks), the mean cosine of an example's gradient and those of the
            target examples of each task.

    Returns:
        Scores (n,), the largest of each row.

    Raises:
        ParameterError: NaN, another shape, or no task.

    Example:
        >>> gradient_influence(torch.tensor([[0.1, 0.4], [0.3, -0.2]]))
        tensor([0.4000, 0.3000])

    Paper:
        Xia et al., LESS: Selecting Influential Data for Targeted Instruction Tuning, ICML 2024
        (2402.04333).
    """
    return gradient_similarities.amax(1)
