"""Which methods a workflow offers: by the signals it has, by the model, by the task."""

from __future__ import annotations

from keepers import methods
from keepers.data import Source
from keepers.errors import ParameterError
from keepers.methods import Method
from keepers.models import is_classifier
from keepers.tasks import CLASSES, Task, kind_of
from keepers.training import GIVES
from keepers.workflows.options.shared import AUTO
from keepers.workflows.readings import READ
from keepers.workflows.stages import OUT_OF_FOLD

CLEAN = "confident-learning"
"""The method that leaves out labels that look wrong."""


CORESET_SIGNALS = methods.signals_of(methods.CORESET)
"""What core-set selection can supply; its picks are a set, so methods with replacement are out."""


def active_signals(task: str) -> frozenset[str]:
    """What active learning can supply for a task, or for any (`auto`): the pool has no labels."""
    signals = methods.signals_of(methods.ACTIVE)
    return signals if task == AUTO else signals & kind_of(task).signals


def row_for(name: str, model: str) -> Method:
    """The row of a method as it reads this model: one that scikit-learn fits, out of fold."""
    row = methods.get(name)
    return methods.out_of_fold(row) if is_classifier(model) else row


def needs_steps(method: str) -> bool:
    """Whether a method reads what only a model that is trained in steps gives."""
    return bool(lacking_to_classifiers(method))


def lacking_to_classifiers(method: str) -> frozenset[str]:
    """The signals that a method needs and no classifier of scikit-learn gives.

    Those of conversations are left out: a probe is an encoder there, and they are checked by it.
    """
    return methods.get(method).needs - GIVES - READ - {"labels", OUT_OF_FOLD}


def check_supplies(parameter: str, model: str, method: str) -> None:
    """Refuse a classifier of scikit-learn for a method that watches a training in steps.

    Raises:
        ParameterError: it would lack a signal.
    """
    if is_classifier(model) and needs_steps(method):
        lacking = methods.in_words(lacking_to_classifiers(method))
        raise ParameterError(
            parameter,
            f"got '{model}', which gives no {lacking}, but '{method}' needs them",
            "Name a model that is trained in steps, such as fasttext, mlp or preact8, or leave it "
            "out",
        )


COMMITTEE = "posterior_predictions"
"""What the models of an ensemble predict, side by side."""


OF_DATA = frozenset({"labels", "features"})
"""What the data themselves, or who brings them, can supply."""


def check_offered(method: Method, source: Source) -> None:
    """Refuse a method that reads what models of such targets do not give."""
    task = source.task
    if method.needs <= signals_for(task):
        if source.kind == "chat" and "labels" in method.needs and source.targets is None:
            raise ParameterError(
                "method",
                f"got '{method.name}', which needs a label, such as the source of each row",
                "Name its column with --label (label=...), or take random or longest",
            )
        return
    rows = methods.offered(signals_for(task), replacement=False)
    missing = methods.in_words(method.needs - signals_for(task))
    raise ParameterError(
        "method",
        f"got '{method.name}', which needs {missing}, but the targets are {task.plural}",
        f"For those: {', '.join(sorted(rows))}",
    )


UNSURE = ("entropy", "label-entropy", "committee", "perplexity", "loss")
"""Methods by how unsure a model is, and its loss for tasks of packages that have none of those."""


def unsure_of(task: Task, signals: frozenset[str] | None = None) -> str:
    """The first of `UNSURE` that reads what models of such targets give, or some `signals`.

    Raises:
        ParameterError: there is none.
    """
    supplied = signals_for(task) if signals is None else signals
    found = (name for name in UNSURE if methods.get(name).needs <= supplied)
    if (first := next(found, None)) is None:
        raise ParameterError(
            "method", f"got none, and no score is for targets of '{task.name}'", "Name a method"
        )
    return first


def signals_for(task: Task) -> frozenset[str]:
    """What core-set selection can supply where targets are of this task."""
    return CORESET_SIGNALS & (task.signals | OF_DATA)


def wanted_signals(needs: frozenset[str], task: Task = CLASSES) -> frozenset[str]:
    """What is asked of a proxy: what the method needs, and what tells labels that look wrong.

    Predictions come with every pass, margins with every whole training.
    """
    wanted = needs - {"labels"}
    return wanted | {task.said} | (task.signals & {"aum"} if methods.EARLY not in wanted else set())
