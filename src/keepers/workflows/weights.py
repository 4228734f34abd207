"""The weights of a trained model, in a file that says which model they are of."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import nn

from keepers.configuration import validated
from keepers.errors import DataError
from keepers.files import plain, write_tensors
from keepers.models import Normalised, create
from keepers.roles import Prepared
from keepers.types import DataInfo, Model

WEIGHTS = "model.safetensors"
_KEY = "keepers"


def save_weights(
    module: nn.Module, prepared: Prepared, path: Path, class_names: Sequence[str] = ()
) -> None:
    """Write the state of `module`, which `prepared` built, and what it takes to build it again."""
    about = {
        "model": prepared.role.model,
        "options": dict(prepared.role.options),
        "info": asdict(prepared.info),
        "channels": len(prepared.mean),
        "class_names": list(class_names),
    }
    write_tensors(path, module.state_dict(), {_KEY: json.dumps(plain(about))})


def load_weights(module: nn.Module, path: Path) -> nn.Module:
    """Give `module` the weights of such a file."""
    module.load_state_dict(load_file(path))
    return module


def load_model(path: str | Path) -> Model:
    """The model in a file of weights that `keepers train` wrote, in evaluation mode.

    Its `module` takes inputs as `keepers.data.encode` with its `encoder` gives them (pictures
    (n, channels, height, width) in [0, 1]) and gives logits (n, classes). It normalises them
    by itself.

    Raises:
        DataError: there is no such file, or it holds no such weights.
    """
    path = Path(path)
    try:
        with safe_open(path, framework="pt") as file:  # pyright: ignore[reportUnknownVariableType]
            about = json.loads((file.metadata() or {})[_KEY])
    except FileNotFoundError:
        raise DataError(f"model: there is no file {path}. Make one with 'keepers train'") from None
    except (OSError, SafetensorError, ValueError, KeyError):
        raise DataError(
            f"model: {path} holds no weights that keepers wrote. Load them as you saved them"
        ) from None
    info = validated(DataInfo, about["info"])
    made = create(about["model"], info, seed=0, options=about["options"])
    module, channels = made.module, int(about["channels"])
    if channels:
        module = Normalised(module, (0.0,) * channels, (1.0,) * channels)
    module = load_weights(module, path).eval()
    encoder = replace(made.encoder, normalise="none", mean=(), std=())
    return Model(module=module, encoder=encoder)
