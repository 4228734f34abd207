"""Classifiers of scikit-learn as models: built-in rows, `sklearn:`, and `probe:` on an encoder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from torch import nn

from keepers.errors import ParameterError
from keepers.models.imported import check_options, imported, telling
from keepers.models.row import dense_encoder
from keepers.types import Classifier, DataInfo, EncoderSpec, Kind, Model

SKLEARN, PROBE = "sklearn:", "probe:"
BUCKETS = 2**20


@dataclass(frozen=True, kw_only=True)
class ClassifierRow:
    """A built-in model. For each task that it has, `make[task](seed)` gives one not fitted yet."""

    name: str
    kinds: tuple[Kind, ...]
    summary: str
    paper: str
    make: Mapping[str, Callable[[int], Any]]


def _linear(seed: int) -> Any:
    from keepers.models.linear import LinearClassifier

    return LinearClassifier(random_state=seed % 2**32, words=BUCKETS, copy=False)


def _linear_labels(seed: int) -> Any:
    from keepers.models.linear_targets import LinearLabels

    return LinearLabels(random_state=seed % 2**32)


def _linear_numbers(seed: int) -> Any:
    from keepers.models.linear_targets import LinearNumbers

    return LinearNumbers(random_state=seed % 2**32)


def _tabular_numbers(seed: int) -> Any:
    from keepers.models.linear_targets import NumbersAndTrees

    return NumbersAndTrees(random_state=seed % 2**32)


def _trees(seed: int) -> Any:
    from keepers.models.linear import boosted_trees

    return boosted_trees(seed % 2**32)


def _tabular(seed: int) -> Any:
    from keepers.models.linear import LinearAndTrees

    return LinearAndTrees(random_state=seed % 2**32)


LINEAR: Mapping[str, Callable[[int], Any]] = MappingProxyType(
    {"class": _linear, "labels": _linear_labels, "number": _linear_numbers}
)
"""The linear model of each task."""

CLASSIFIERS: Mapping[str, ClassifierRow] = MappingProxyType(
    {
        row.name: row
        for row in (
            ClassifierRow(
                name="linear",
                kinds=("text", "vector", "image"),
                summary="logistic regression: words, bigrams if they help (TF-IDF), or numbers",
                paper="Cox 1958; Salton and Buckley 1988; by scikit-learn",
                make=LINEAR,
            ),
            ClassifierRow(
                name="boosted-trees",
                kinds=("vector",),
                summary="gradient-boosted trees by histograms",
                paper="Ke et al. 2017, LightGBM; by scikit-learn",
                make={"class": _trees},
            ),
            ClassifierRow(
                name="tabular",
                kinds=("vector",),
                summary="linear and boosted-trees, mixed as is likely on rows held out",
                paper="Wolpert 1992, Stacked Generalization",
                make={"class": _tabular, "labels": _linear_labels, "number": _tabular_numbers},
            ),
        )
    }
)
"""The built-in classifiers, by name: they are fitted until they converge, without steps."""


def is_classifier(name: str) -> bool:
    """Whether a name of a model is fitted by scikit-learn rather than trained in steps.

    >>> is_classifier("linear"), is_classifier("probe:hf:folder"), is_classifier("mlp")
    (True, True, False)
    """
    return name in CLASSIFIERS or name.startswith((SKLEARN, PROBE))


def create_classifier(
    name: str, info: DataInfo, options: Mapping[str, Any], parameter: str
) -> Classifier:
    """A row of `CLASSIFIERS`, `sklearn:package.module:function`, or `probe:ENCODER`.

    `sklearn:` names what gives a classifier with `predict_proba` when it is called with the
    options: a function of the user's own, or a class. A pipeline reads texts as they are; a bare
    classifier reads TF-IDF of their words and pairs of words, in sparse rows. `probe:` names an
    encoder, `hf:PATH` or `package.module:function`, which is called as `function(info, **options)`
    and returns a module, or a `Model`, that gives (n, d): its features are computed once, and
    `linear` is fitted on them.

    Raises:
        ParameterError: another kind of data, nothing there that can be imported, or no classifier.
        MissingExtraError: `probe:hf:` without the extra that it needs.
    """
    if name.startswith(PROBE):
        return _probe(name.removeprefix(PROBE), info, options, parameter)
    if name.startswith(SKLEARN):
        return _own(name, info, options, parameter)
    row = CLASSIFIERS[name]
    if options:
        raise ParameterError(
            "options", f"got '{next(iter(options))}', but '{name}' takes none", "Leave it out"
        )
    if info.kind not in row.kinds:
        raise ParameterError(
            parameter,
            f"got '{name}', which takes {' or '.join(row.kinds)} data, but these are {info.kind}",
            "keepers models lists what takes them",
        )
    make = _of_task(name, row.make, info, parameter)
    return Classifier(make=make, encoder=_counts(info, apart=True), code=(__name__,))


def _of_task(
    name: str, make: Mapping[str, Callable[[int], Any]], info: DataInfo, parameter: str
) -> Callable[[int], Any]:
    """What makes the model for the task of the data.

    Raises:
        ParameterError: there is none.
    """
    if info.task not in make:
        having = [each for each, row in CLASSIFIERS.items() if info.task in row.make]
        raise ParameterError(
            parameter,
            f"got '{name}', which does not work for the task '{info.task}'",
            f"Name {' or '.join(having) or 'a model that is trained in steps, such as mlp'}",
        )
    return make[info.task]


def _counts(info: DataInfo, *, apart: bool = False) -> EncoderSpec:
    if info.kind == "text":
        return EncoderSpec(kind="text", scheme="hashed", buckets=BUCKETS, ngrams=2, apart=apart)
    dense = dense_encoder(info)
    return EncoderSpec(kind=dense.kind, size=dense.size, channels=dense.channels)


def _own(name: str, info: DataInfo, options: Mapping[str, Any], parameter: str) -> Classifier:
    from sklearn.feature_extraction.text import TfidfTransformer
    from sklearn.pipeline import Pipeline, make_pipeline

    path = name.removeprefix(SKLEARN)
    with imported(path, parameter) as function, telling(name, parameter, _CALLED):
        made: Any = function(**options)
    asked = "predict" if info.task == "number" else "predict_proba"
    if not hasattr(made, "fit") or not hasattr(made, asked):
        has = f"returned {type(made).__name__}"
        raise ParameterError(
            parameter,
            f"'{name}' {has}, which lacks {asked if hasattr(made, 'fit') else 'fit'}",
            "Give a scikit-learn classifier with predict_proba; for SVC set probability=True, or "
            "wrap it in CalibratedClassifierCV",
        )
    whole = isinstance(made, Pipeline)
    encoder = _counts(info)
    if info.kind == "text" and whole:
        encoder = EncoderSpec(kind="text", scheme="raw")
    elif info.kind == "text":
        made = make_pipeline(TfidfTransformer(sublinear_tf=True), made)

    def make(seed: int) -> Any:
        from sklearn.base import clone

        fresh: Any = clone(made)
        seeded = [key for key in fresh.get_params() if key.split("__")[-1] == "random_state"]
        return fresh.set_params(**dict.fromkeys(seeded, seed % 2**32))

    return Classifier(make=make, encoder=encoder, code=(path.partition(":")[0],))


_CALLED = "It is imported, then called with only the options"


def _probe(path: str, info: DataInfo, options: Mapping[str, Any], parameter: str) -> Classifier:
    if path.startswith("hf:"):
        from keepers.models.huggingface import build_encoder

        check_options(build_encoder, path, options)
        made = build_encoder(path.removeprefix("hf:"), info, parameter, **options)
        linear = _of_task("linear", LINEAR, info, parameter)
        return Classifier(make=linear, encoder=made.encoder, embedder=made.module)
    if ":" not in path:
        raise ParameterError(
            parameter,
            f"got 'probe:{path}'",
            "Name an encoder: probe:hf:FOLDER, or probe:package.module:function",
        )
    with imported(path, parameter) as function, telling(f"probe:{path}", parameter):
        found: Any = function(info, **options)
    if isinstance(found, nn.Module) and info.kind != "text":
        found = Model(module=found, encoder=dense_encoder(info))
    if not isinstance(found, Model):
        raise ParameterError(
            parameter,
            f"'probe:{path}' returned {type(found).__name__}",
            "Return keepers.types.Model(module=..., encoder=...) whose module gives (n, d)",
        )
    code = (path.partition(":")[0],)
    linear = _of_task("linear", LINEAR, info, parameter)
    return Classifier(make=linear, encoder=found.encoder, embedder=found.module, code=code)
