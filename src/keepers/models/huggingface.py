"""Sequence and image classifiers of the `transformers` library (extra `hf`)."""

from __future__ import annotations

import contextlib
import copy
import json
import os
from collections.abc import Generator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from keepers.errors import KeepersError, MissingExtraError, ParameterError
from keepers.models.outline import check_memory, first_words, without_values
from keepers.models.sentences import LENGTH, TextEncoder, pooling
from keepers.types import DataInfo, EncoderSpec, Model

_WEIGHTS = ("model.safetensors", "model.safetensors.index.json")
_PICKLE = "pytorch_model.bin"


class TextClassifier(nn.Module):
    """A `transformers` sequence classifier that returns its logits."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Logits (n, classes) of token ids and attention mask, both (n, length)."""
        return self.module(input_ids=tokens, attention_mask=mask).logits


class PictureClassifier(nn.Module):
    """A `transformers` image classifier that returns its logits."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, pictures: Tensor) -> Tensor:
        """Logits (n, classes) of pictures (n, channels, h, w)."""
        return self.module(pixel_values=pictures).logits


def build_transformers(
    path: str, info: DataInfo, parameter: str, *, length: int = LENGTH, size: int | None = None
) -> Model:
    """A classifier from a local folder (offline) or a hub name; the head is made for the classes.

    A folder without weights gives a new model of that configuration. Weights are held in float32,
    whatever they were saved in. Only safetensors are read, and code in a folder is never run.

    Args:
        path: a folder with `config.json`, or a name on the hub.
        info: the data it will see: pictures or text.
        parameter: what errors call the model.
        length: the most tokens of a text.
        size: side of the pictures; otherwise what the model was trained with.

    Raises:
        MissingExtraError: `transformers` is not installed.
        ParameterError: nothing there that can be loaded, vectors, or an option below 1.
    """
    _check_sizes(length, size)
    transformers = _library(path, info, parameter)
    kind: Any = (
        transformers.AutoModelForSequenceClassification
        if info.kind == "text"
        else transformers.AutoModelForImageClassification
    )
    what = f"a {'sequence' if info.kind == 'text' else 'image'} classifier"
    module, config, source = load(path, parameter, kind, what, num_labels=info.num_classes)
    if info.kind == "text":
        return Model(module=TextClassifier(module), encoder=_text_encoder(source, config, length))
    encoder = _picture_encoder(source, config, info, size)
    return Model(module=PictureClassifier(module), encoder=encoder)


def build_encoder(
    path: str, info: DataInfo, parameter: str, *, length: int | None = None, size: int | None = None
) -> Model:
    """An encoder without a head from a local folder (offline) or a hub name: (n, d) of each input.

    Of texts it gives the mean of the last hidden states over the tokens, or what the files of
    sentence-transformers beside it say (`keepers.models.sentences`), those of the length included;
    of pictures the pooled output, or the mean over places.

    Args and Raises: as `build_transformers`.
    """
    _check_sizes(length, size)
    transformers = _library(path, info, parameter)
    module, config, source = load(path, parameter, transformers.AutoModel, "an encoder")
    if info.kind == "text":
        pooled = pooling(path, lambda name: _json(source, name, parameter), parameter)
        encoder = _text_encoder(source, config, length or pooled.length)
        return Model(module=TextEncoder(module, pooled), encoder=encoder)
    encoder = _picture_encoder(source, config, info, size)
    return Model(module=PictureEncoder(module), encoder=encoder)


class PictureEncoder(nn.Module):
    """A `transformers` encoder: one vector of each picture."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, pictures: Tensor) -> Tensor:
        """Vectors (n, d) of pictures (n, channels, h, w)."""
        said = self.module(pixel_values=pictures)
        pooled = getattr(said, "pooler_output", None)
        if pooled is not None:
            return pooled.flatten(1)
        hidden = said.last_hidden_state
        return hidden.mean(1) if hidden.ndim == 3 else hidden.flatten(2).mean(2)


def _check_sizes(length: int | None, size: int | None) -> None:
    for name, value in (("length", length), ("size", size)):
        if value is not None and value < 1:
            raise ParameterError(name, f"got {value}", "Give 1 or more")


def _library(path: str, info: DataInfo, parameter: str) -> Any:
    try:
        import transformers
    except ImportError as error:
        raise MissingExtraError(f"model 'hf:{path}'", "hf") from error
    if info.kind == "vector":
        raise ParameterError(
            parameter, f"got 'hf:{path}', but the data are vectors", "Use mlp or logistic"
        )
    return transformers


def _json(source: str, name: str, parameter: str) -> Any:
    """What a JSON file beside an encoder holds; None where there is no such file."""
    from transformers.utils import cached_file

    try:
        found = cached_file(source, name, local_files_only=Path(source).is_dir())
        return None if found is None else json.loads(Path(found).read_text(encoding="utf-8"))
    except OSError:
        return None
    except ValueError as error:
        remedy = "Write the folder again with save_pretrained"
        raise ParameterError(parameter, f"{name} of 'hf:{source}': {error}", remedy) from error


def load(
    path: str, parameter: str, kind: Any, what: str, *, gguf: str | None = None, **settings: Any
) -> tuple[nn.Module, Any, str]:
    """The module in float32, its configuration, and where both came from.

    Args:
        path: a folder, or a name on the hub.
        parameter: what errors call the model.
        kind: the class of `transformers` that makes it.
        what: what it is, in words.
        gguf: the file in the folder that holds it, where it is a GGUF file.
        settings: of its configuration.

    Raises:
        ParameterError: nothing there that can be loaded.
    """
    import transformers

    check_place(path, parameter)
    folder = Path(path).expanduser()
    local = folder.is_dir()
    held = [name for name in (*_WEIGHTS, gguf) if name and (folder / name).exists()]
    file: dict[str, Any] = {"gguf_file": gguf} if gguf else {}
    if local and not held and (folder / _PICKLE).exists():
        raise ParameterError(
            parameter,
            f"'hf:{path}' has its weights as a pickle, {_PICKLE}, which can run code",
            "Save it with save_pretrained(..., safe_serialization=True)",
        )
    source = str(folder) if local else path
    with quiet(), loading(path, parameter, what):
        config: Any = transformers.AutoConfig.from_pretrained(
            source, local_files_only=local, trust_remote_code=False, **settings, **file
        )
        if getattr(config, "pad_token_id", 0) is None:
            config.pad_token_id = getattr(config, "eos_token_id", None)
        layers = without_values(lambda: kind.from_config(config))
        check_memory(layers, f"'hf:{path}' with its config.json", parameter)
        if local and not held:
            module = kind.from_config(config)
        else:
            module = kind.from_pretrained(
                source,
                config=config,
                ignore_mismatched_sizes=True,
                local_files_only=local,
                trust_remote_code=False,
                **({**file, "dtype": torch.float32} if gguf else {"use_safetensors": True}),
            )
            if gguf:
                module = unmarked(module, kind)
    return module.float(), config, source


def check_place(path: str, parameter: str) -> None:
    """Refuse no name, and what is written as a path but is none: the hub would be asked for it.

    Raises:
        ParameterError: such a path.
    """
    if not path:
        raise ParameterError(parameter, "got 'hf:' without a name", "Give hf:FOLDER or a hub name")
    if path.startswith(("/", ".", "~")) and not os.path.exists(os.path.expanduser(path)):
        raise ParameterError(
            parameter, f"got 'hf:{path}', but there is no such folder", "Give one that exists"
        )


def unmarked(module: Any, kind: Any) -> nn.Module:
    """The same weights in a module that is not marked as quantised, as those of GGUF files are.

    They are whole numbers no more, but transformers neither tunes nor saves what has the mark.
    """
    config = copy.deepcopy(module.config)
    vars(config).pop("quantization_config", None)
    found: nn.Module = kind.from_config(config, dtype=torch.float32)
    found.load_state_dict(module.state_dict(), assign=True)
    found.tie_weights()  # pyright: ignore[reportCallIssue]
    return found


@contextlib.contextmanager
def loading(path: str, parameter: str, what: str) -> Generator[None]:
    """Turn any error of a library into one that nothing can be loaded from `path`."""
    try:
        yield
    except KeepersError:
        raise
    except Exception as error:  # configurations that nobody thought of fail in many ways
        raise ParameterError(
            parameter,
            f"'hf:{path}' cannot be loaded: {first_words(error)}",
            "Give a folder that save_pretrained wrote, or a hub name and a network; it must be "
            f"{what}",
        ) from error


@contextlib.contextmanager
def quiet() -> Generator[None]:
    """No bars and no report of the new head: a role makes its models several times."""
    from transformers.utils import logging

    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


def _text_encoder(source: str, config: Any, length: int) -> EncoderSpec:
    # RoBERTa numbers positions from pad_token_id + 1, so the last two are out of reach.
    limit = getattr(config, "max_position_embeddings", None)
    if isinstance(limit, int) and limit > 2:
        length = min(length, limit - 2)
    return EncoderSpec(kind="text", scheme="tokens", tokenizer=source, length=length)


def _picture_encoder(source: str, config: Any, info: DataInfo, size: int | None) -> EncoderSpec:
    processor = _processor(source)
    channels = getattr(config, "num_channels", 3)
    height, width = info.shape[1:]
    if size is not None:
        height = width = size
    else:
        for wanted in (
            processor.get("crop_size"),
            processor.get("size"),
            getattr(config, "image_size", None),
        ):
            if wanted is not None:
                height, width = _sides(wanted)
                break
    spec: dict[str, Any] = {"kind": "image", "size": (height, width), "channels": channels}
    mean, std = processor.get("image_mean"), processor.get("image_std")
    if mean is None or std is None or not processor.get("do_normalize", True):
        return EncoderSpec(**spec, normalise="data")
    return EncoderSpec(**spec, normalise="fixed", mean=tuple(mean), std=tuple(std))


def _processor(source: str) -> dict[str, Any]:
    from transformers.models.auto.image_processing_auto import get_image_processor_config

    local = Path(source).is_dir()
    try:
        return dict(get_image_processor_config(source, local_files_only=local))
    except OSError:
        return {}


def _sides(size: Any) -> tuple[int, int]:
    if isinstance(size, dict):
        edge = size.get("shortest_edge", 0)
        return int(size.get("height", edge)), int(size.get("width", edge))
    if isinstance(size, list | tuple):
        return int(size[0]), int(size[1])
    return int(size), int(size)
