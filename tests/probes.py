"""Models for tests, named on a command line as `probes:recorder`."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from keepers.types import DataInfo, EncoderSpec, Model

SEEN: dict[str, list[Tensor]] = {"train": [], "eval": []}


class _Recorder(nn.Module):
    """Linear; notes what it is given in each mode."""

    def __init__(self, num_inputs: int, num_classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(num_inputs, num_classes)

    def forward(self, inputs: Tensor) -> Tensor:
        SEEN["train" if self.training else "eval"].append(inputs.detach().clone())
        return self.linear(inputs.flatten(1))


class _Certain(nn.Module):
    """Sure of class 0 where the first feature is positive, of nothing elsewhere."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(1, num_classes)
        with torch.no_grad():
            self.linear.weight.zero_()
            self.linear.bias.zero_()

    def forward(self, inputs: Tensor) -> Tensor:
        first = inputs.flatten(1)[:, :1]
        sure = torch.zeros(len(inputs), self.linear.out_features)
        sure[:, 0] = 1e6
        return self.linear(first * 0) + sure * (first > 0)


def recorder(info: DataInfo) -> Model:
    size = int(torch.tensor(info.shape).prod())
    encoder = EncoderSpec(kind="image", size=(info.shape[1], info.shape[2]), channels=1)
    return Model(module=_Recorder(size, info.num_classes), encoder=encoder)


def certain(info: DataInfo) -> Model:
    return Model(module=_Certain(info.num_classes), encoder=EncoderSpec(kind="vector"))


class _Headless(nn.Module):
    """Its classifier has no name that a tool could guess, and no layer is called fc."""

    def __init__(self, num_inputs: int, num_classes: int) -> None:
        super().__init__()
        self.first = nn.Linear(num_inputs, 5)
        self.verdict = nn.ModuleDict({"out": nn.Linear(5, num_classes)})

    def forward(self, inputs: Tensor) -> Tensor:
        return self.verdict["out"](self.first(inputs.flatten(1)).relu())


def headless(info: DataInfo) -> nn.Module:
    return _Headless(int(torch.tensor(info.shape).prod()), info.num_classes)
