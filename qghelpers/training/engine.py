"""How a computer runs a training. Nothing here changes what is learnt by more than rounding."""

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Engine:
    """Where and how to compute; `Engine()` finds out what is fastest here.

    Attributes:
        accelerator: "cpu", "cuda" or another that Lightning Fabric knows; "auto" prefers a GPU.
        devices: processes on this computer, each with its own GPU where there are some; unless
            given, as many as torchrun, `fabric run` or SLURM have started, else one.
        nodes: computers; unless given, as many as one of these has started, else one.
        precision: as Fabric names them, such as "32-true" or "bf16-mixed"; "auto" times both and
            takes bf16 if clearly faster (with several processes: where the processor has it).
        channels_last: keep the channels of a pixel together in memory, as convolutions like it.
        fused: update all weights in one pass.
        compile: with `torch.compile`; unless given, it is tried on a GPU in runs that will take
            long, and kept if clearly faster. On a CPU it needs a C++ compiler.
        keep_memory: have Linux keep the memory that one batch frees for the next one.
    """

    accelerator: str = "auto"
    devices: int | None = None
    nodes: int | None = None
    precision: str = "auto"
    channels_last: bool = True
    fused: bool = True
    compile: bool | None = None
    keep_memory: bool = True

    def chosen(self) -> dict[str, Any]:
        """What may have been found out by timing, for the record of a run."""
        return {"precision": self.precision, "compile": self.compile}

    def as_recorded(self, chosen: dict[str, Any]) -> "Engine":
        """The same with what it leaves open settled as it was before."""
        is_open = {"precision": self.precision == "auto", "compile": self.compile is None}
        return replace(self, **{name: value for name, value in chosen.items() if is_open[name]})


class Loss(nn.Module):
    """A network whose output is its loss, which is how it goes through Fabric's wrappers."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor, *noise: Tensor) -> dict[str, Tensor]:
        """The parts of the loss, each with shape `(n,)`."""
        return self.model.loss(images, *noise)


def draw_noise(model: nn.Module, jets: int, shard: tuple[int, int] = (0, 1)) -> tuple[Tensor, ...]:
    """What the model's loss needs of chance: nothing, or one tensor.

    It is drawn for all jets of a batch and then shared out, so that it does not depend on the
    number of processes.
    """
    if not hasattr(model, "noise"):
        return ()
    index, shards = shard
    return (model.noise(jets)[index::shards],)


def prepare(model: nn.Module, engine: Engine) -> Loss:
    """The model's loss as a module, laid out and compiled as the engine has it."""
    if engine.channels_last:
        model.to(memory_format=torch.channels_last)
    loss = Loss(model)
    if engine.compile:
        loss.compile(dynamic=False)
    return loss


@contextmanager
def kept_memory(wanted: bool) -> Iterator[None]:
    """Have glibc keep freed memory, until the end, for whoever asks next.

    By default it hands large pieces back to Linux and gets them afresh, zeroed page by page,
    for every batch. Where there is no glibc this does nothing.
    """
    mmap_threshold, trim_threshold = -3, -1  # as <malloc.h> numbers them
    libc = None
    if wanted:
        with suppress(OSError):
            libc = ctypes.CDLL("libc.so.6")
    if not hasattr(libc, "mallopt"):
        yield
        return
    libc.mallopt(mmap_threshold, 1 << 30)
    libc.mallopt(trim_threshold, (1 << 31) - 1)
    try:
        yield
    finally:
        libc.mallopt(mmap_threshold, 1 << 25)
        libc.mallopt(trim_threshold, 1 << 26)
        libc.malloc_trim(0)
