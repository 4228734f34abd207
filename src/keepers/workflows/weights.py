"""The weights of a trained model, in a file that says which model they are of."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from torch import nn

from keepers.configuration import is_own_code, validated
from keepers.errors import DataError, ParameterError, about
from keepers.files import plain
from keepers.models import MODELS, Normalised, Stretched, create, outline
from keepers.roles import Prepared
from keepers.sealed import read_tensors, write_tensors
from keepers.tasks import task_of
from keepers.types import DataInfo, Model

WEIGHTS = "model.safetensors"
_REMEDY = (
    "Take a whole copy of it, or make it again with 'keepers train'. Weights that keepers did not "
    "write are loaded as they were saved"
)


@dataclass(frozen=True, kw_only=True)
class _Note:
    """What a file of weights says of their model. It travels: nothing in it is trusted."""

    model: str
    options: dict[str, Any]
    info: DataInfo
    channels: int
    class_names: list[str] = field(default_factory=list[str])
    task: dict[str, Any] | None = None


def save_weights(module: nn.Module, prepared: Prepared, path: Path) -> None:
    """Write the state of `module`, which `prepared` built, and what it takes to build it again."""
    task = prepared.task
    note = _Note(
        model=prepared.role.model,
        options=dict(prepared.role.options),
        info=prepared.info,
        channels=len(prepared.mean),
        class_names=list(task.names),
        task=task.facts(),
    )
    write_tensors(path, module.state_dict(), plain(asdict(note)))


def load_weights(module: nn.Module, path: Path) -> nn.Module:
    """Give `module` the weights of such a file."""
    module.load_state_dict(read_tensors(path, "weights", _REMEDY)[0])
    return module


def load_model(path: str | Path, *, model: str | None = None) -> Model:
    """The model in a file of weights that `keepers train` wrote, in evaluation mode.

    Its `module` takes inputs as `keepers.data.encode` encodes them with its `encoder` (pictures
    (n, channels, height, width) in [0, 1]). It returns logits (n, classes), log-odds (n, labels),
    or numbers (n, numbers) in the units of the training data. It normalises its inputs itself.
    Its `task` has the names of the outputs, and measures predictions.

    Args:
        path: the file.
        model: `package.module:function`, if the weights are of your own model: it is imported and
            called. keepers never calls code only because a file names it.

    Raises:
        DataError: the file is missing, damaged or has no such weights, it names a model that is
            code and `model` is not given, or its task is of a package that is not installed.
        ParameterError: the model cannot be built, or is larger than this machine's memory.
    """
    path = Path(path)
    try:
        tensors, found = read_tensors(path, "model", _REMEDY)
    except FileNotFoundError:
        raise DataError(f"model: there is no file {path}. Make one with 'keepers train'") from None
    except OSError as error:
        raise DataError(f"model: {path} cannot be read ({error.strerror})") from None
    try:
        note = validated(_Note, found)
    except ParameterError as error:
        raise DataError(f"model: {path} does not say what it holds ({error}). {_REMEDY}") from None
    name = _agreed(note.model, model, path)

    def normalised(module: nn.Module) -> nn.Module:
        zeros = (0.0,) * (tensors[prefix + "mean"].numel() if note.channels else 0)
        module = Normalised(module, zeros, (1.0,) * len(zeros)) if zeros else module
        return Stretched(module, *2 * ((1.0,) * note.info.num_classes,)) if prefix else module

    prefix = "module." if "target_std" in tensors else ""
    misfit = DataError(f"model: the weights in {path} are not those of '{name}'. {_REMEDY}")
    if note.channels and prefix + "mean" not in tensors:
        raise misfit
    if name in MODELS:
        module = normalised(outline(name, note.info, note.options))
        shapes = {key: value.shape for key, value in module.state_dict().items()}
        if shapes != {key: value.shape for key, value in tensors.items()}:
            raise misfit
    made = create(name, note.info, seed=0, options=note.options)
    module = normalised(made.module)
    try:
        module.load_state_dict(tensors)
    except RuntimeError:
        raise misfit from None
    encoder = replace(made.encoder, normalise="none", mean=(), std=())
    with about("model"):
        task = task_of(note.task or {"task": "class", "names": note.class_names})
    return Model(module=module.eval(), encoder=encoder, task=task)


def _agreed(named: str, given: str | None, path: Path) -> str:
    """The model's name: that of the file, or code that whoever opens it names."""
    if given is not None and not (is_own_code(named) and is_own_code(given)) and given != named:
        raise ParameterError("model", f"got '{given}', but {path} holds '{named}'", "Leave it out")
    if given is None and is_own_code(named):
        raise DataError(
            f"model: {path} is of a model that is code, '{named}', which a file may not run. If "
            f"you trust that code: keepers.load_model({str(path)!r}, model={named!r})"
        )
    return given or named
