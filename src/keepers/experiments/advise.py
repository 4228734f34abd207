"""`advise`: does selecting pay on these data, before anything is selected?"""

from __future__ import annotations

from typing import Any

from keepers.errors import ParameterError
from keepers.experiments.tuning_advice import advise_tuning
from keepers.options import taking
from keepers.workflows.advise import Advice, advise_examples
from keepers.workflows.opening import check_outputs, workplace
from keepers.workflows.options.advise import AdviseOptions


@taking(AdviseOptions)
def advise(data: Any, options: AdviseOptions) -> Advice:
    """Say whether selecting will pay, for each budget and method, before you select.

    A pilot tries every method on a part of the data, in folds, with a cheap model as proxy and as
    target, and measures on the held-out examples. It takes seconds to minutes. It says what it
    cost, what the selection would cost, and what it would save.

    With conversations, in five draws, copies of the target are tuned on small selections, on random
    conversations and on the longest, for the same number of tokens.

    Args:
        data: as in `keepers.coreset`, with classes, labels or numbers, or conversations.

    Raises:
        ParameterError: under 100 examples or 50 conversations, one class, a method that a pilot
            cannot try, or conversations without a target.
        KeepersError: another argument or the data are invalid.
    """
    check_outputs(data, options)
    opened = workplace(data, options, purpose="advise", seed=options.seed, group=options.group)
    with opened as (source, place):
        if source.kind == "chat":
            result = advise_tuning(source, options, place)
        else:
            _only_conversations(options)
            result = advise_examples(source, options, place)
        return Advice.left(result, place, options)


def _only_conversations(options: AdviseOptions) -> None:
    if options.similar_to is not None:
        raise ParameterError(
            "similar_to",
            "got a value, but the data are not conversations",
            "Leave it out; --task tokens reads prompts and completions as conversations",
        )
