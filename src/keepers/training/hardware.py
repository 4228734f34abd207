"""Where training and inference run: device, precision and processes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, get_args

import torch

from keepers import processes
from keepers.choices import Precision
from keepers.errors import ParameterError, unknown_name
from keepers.processes import Runtime


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """`device`: `auto`, `cpu`, `cuda`, `cuda:1`, `mps`. `precision`: `auto`, `fp32`, `bf16`.

    `auto` precision is bf16 where the model's recipe gains from it and the processor has it in
    hardware, fp32 otherwise. Under `torchrun` every process takes its part of each batch.

    Raises:
        ParameterError: an unknown device or precision, or a device that is not there.
    """

    device: str = "auto"
    precision: Precision = "auto"

    def __post_init__(self) -> None:
        if self.precision not in get_args(Precision):
            raise unknown_name("precision", str(self.precision), get_args(Precision))
        kind, _, number = self.device.partition(":")
        if kind not in ("auto", "cpu", "cuda", "mps") or (number and not number.isdigit()):
            raise ParameterError("device", f"got {self.device!r}", "Give auto, cpu, cuda or mps")
        if kind in ("cpu", "auto") and number:
            raise ParameterError("device", f"got {self.device!r}", f"Give {kind} without a number")
        if kind == "cuda" and not torch.cuda.is_available():
            raise ParameterError(
                "device", "got 'cuda', but torch sees no CUDA device", "Use --device cpu"
            )
        if kind == "cuda" and int(number or 0) >= torch.cuda.device_count():
            raise ParameterError(
                "device",
                f"got {self.device!r}, but torch sees {torch.cuda.device_count()} CUDA devices",
                "They are numbered from 0",
            )
        if kind == "mps" and not torch.backends.mps.is_available():
            raise ParameterError("device", "got 'mps', but torch sees none", "Use --device cpu")

    @property
    def kind(self) -> str:
        """`cpu`, `cuda` or `mps`, `auto` resolved."""
        kind = self.device.partition(":")[0]
        if kind != "auto":
            return kind
        if torch.cuda.is_available():
            return "cuda"
        return "mps" if torch.backends.mps.is_available() else "cpu"

    def resolved_precision(self, *, gains_from_bf16: bool) -> str:
        """`fp32` or `bf16` for a model whose recipe does or does not gain from bf16."""
        if self.precision != "auto":
            return self.precision
        return "bf16" if gains_from_bf16 and has_bf16(self.kind) else "fp32"

    def runtime(self, *, gains_from_bf16: bool) -> Runtime:
        """Where one model runs, among the processes that `torchrun` started."""
        self.join_processes()
        return Runtime(
            device=self._own_device(),
            bf16=self.resolved_precision(gains_from_bf16=gains_from_bf16) == "bf16",
        )

    def join_processes(self) -> None:
        """Become one of the processes that `torchrun` started; nothing where there is one.

        Raises:
            KeepersError: the environment counts several, but does not say which one this is.
        """
        processes.join("cpu:gloo,cuda:nccl" if self.kind == "cuda" else "gloo")
        if self.kind == "cuda":
            torch.cuda.set_device(self._own_device())

    def _own_device(self) -> torch.device:
        number = self.device.partition(":")[2]
        if self.kind != "cuda":
            return torch.device(self.kind)
        several = processes.started() > 1
        return torch.device("cuda", processes.local_rank() if several else int(number or 0))

    def identity(self, *, gains_from_bf16: bool) -> dict[str, Any]:
        """What of the hardware a result depends on, for fingerprints."""
        return {
            "device": self.kind,
            "precision": self.resolved_precision(gains_from_bf16=gains_from_bf16),
            "processes": processes.started(),
            "threads": torch.get_num_threads(),
            "torch": torch.__version__,
        }


def has_bf16(kind: str) -> bool:
    """Whether a device of this kind computes in bfloat16 in hardware."""
    if kind == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if kind == "cpu":
        capabilities: dict[str, Any] = getattr(torch.cpu, "get_capabilities", dict)()
        return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))
    return False
