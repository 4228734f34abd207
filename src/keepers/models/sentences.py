"""Sentence encoders: how hidden states of tokens become one vector, as a folder says it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from keepers.errors import ParameterError

LENGTH = 256
"""Tokens of a text, where neither the folder nor the user says how many."""

LONGEST = 512
"""What a folder can say at most: a user can say more."""


def _sum(hidden: Tensor, weights: Tensor) -> Tensor:
    return (hidden * weights.unsqueeze(-1)).sum(1)


def _mean(hidden: Tensor, weights: Tensor) -> Tensor:
    return _sum(hidden, weights) / weights.sum(1, keepdim=True)


def _root(hidden: Tensor, mask: Tensor) -> Tensor:
    return _sum(hidden, mask) / mask.sum(1, keepdim=True).sqrt()


def _weighted(hidden: Tensor, mask: Tensor) -> Tensor:
    return _mean(hidden, mask * torch.arange(1, mask.shape[1] + 1, device=mask.device))


def _first(hidden: Tensor, mask: Tensor) -> Tensor:
    return hidden[:, 0]


def _last(hidden: Tensor, mask: Tensor) -> Tensor:
    return hidden[torch.arange(len(hidden), device=mask.device), mask.sum(1).long() - 1]


def _largest(hidden: Tensor, mask: Tensor) -> Tensor:
    return hidden.masked_fill(mask.unsqueeze(-1) == 0, -torch.inf).amax(1)


POOLINGS: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = MappingProxyType(
    {
        "cls": _first,
        "max": _largest,
        "mean": _mean,
        "mean_sqrt_len_tokens": _root,
        "weightedmean": _weighted,
        "lasttoken": _last,
    }
)
"""From hidden states (n, length, d) and a mask (n, length) to (n, d); padding is at the end."""

_OLD_NAMES = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
_READ = ("Transformer", "Pooling", "Normalize")


@dataclass(frozen=True, kw_only=True)
class Pooling:
    """How an encoder's hidden states become a vector, and how many tokens of a text it reads."""

    modes: tuple[str, ...] = ("mean",)
    unit: bool = False
    length: int = LENGTH


def pooling(path: str, read: Callable[[str], Any], parameter: str) -> Pooling:
    """What the files of sentence-transformers beside an encoder say; means where there are none.

    Args:
        path: what errors call the encoder.
        read: the content of a JSON file of its folder, or None.

    Raises:
        ParameterError: a step after the encoder that is not known here, such as a dense layer.
    """
    steps: Any = read("modules.json")
    if not isinstance(steps, list):
        return Pooling()
    rows = cast("list[Mapping[str, Any]]", steps)
    kinds = {str(row["type"]).rpartition(".")[2]: str(row["path"]) for row in rows}
    said: dict[str, Any] = read(f"{kinds.get('Pooling', '1_Pooling')}/config.json") or {}
    modes: Any = said.get("pooling_mode")
    if modes is None:
        modes = [name for key, name in _OLD_NAMES.items() if said.get(key)] or "mean"
    modes = (modes,) if isinstance(modes, str) else tuple(modes)
    unknown = [f"step '{kind}'" for kind in kinds if kind not in _READ]
    unknown += [f"pooling '{mode}'" for mode in modes if mode not in POOLINGS]
    if unknown:
        raise ParameterError(
            parameter,
            f"'hf:{path}' has a {unknown[0]}, which keepers does not read",
            "Load it in your own function, probe:package.module:function",
        )
    limits = (read("sentence_bert_config.json") or {}, read("tokenizer_config.json") or {})
    length = limits[0].get("max_seq_length") or limits[1].get("model_max_length") or LENGTH
    return Pooling(modes=modes, unit="Normalize" in kinds, length=int(min(length, LONGEST)))


class TextEncoder(nn.Module):
    """A `transformers` encoder: one vector of each text."""

    def __init__(self, module: nn.Module, pooling: Pooling) -> None:
        super().__init__()
        self.module = module
        self.pooling = pooling

    def forward(self, tokens: Tensor, mask: Tensor) -> Tensor:
        """Vectors (n, d) of token ids and attention mask, both (n, length)."""
        hidden = self.module(input_ids=tokens, attention_mask=mask).last_hidden_state
        counted = mask.to(hidden.dtype)
        counted[:, 0] = 1  # a text without a token is its padding
        found = torch.cat([POOLINGS[mode](hidden, counted) for mode in self.pooling.modes], 1)
        return F.normalize(found, dim=1) if self.pooling.unit else found

    def extra_repr(self) -> str:
        """Part of the fingerprint: other pooling gives other features."""
        return repr(self.pooling)
