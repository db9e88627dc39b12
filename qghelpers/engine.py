"""How a computer runs a training: switches for speed, and the processes that share the work.

None of it changes what is learnt by more than rounding. Every switch is a field of `Engine`.
"""

import copy
import ctypes
import logging
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from statistics import median
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn

PROBE_IMAGES = 16  # enough for the order of the speeds to be that of a whole batch
HOPELESS = 4  # a way that takes so many times longer for one image is not tried on more
LONG_RUN = 20 * 60  # seconds; compiling takes one or two minutes and gains a few per cent on a CPU


@dataclass(frozen=True)
class Engine:
    """Where and how to compute; `Engine()` finds out what is fastest here.

    Attributes:
        accelerator: "cpu", "cuda" or another that Lightning Fabric knows; "auto" prefers a GPU.
        devices: processes on this computer, each with its own GPU where there are some; unless
            given, as many as torchrun, `fabric run` or SLURM have started, else one.
        nodes: computers; unless given, as many as one of these has started, else one.
        precision: as Fabric names them, such as "32-true" or "bf16-mixed"; "auto" times both and
            takes the faster (with several processes: bf16 where the processor has it).
        channels_last: keep the channels of a pixel together in memory, as convolutions like it.
        fused: update all weights in one pass.
        compile: with `torch.compile`; unless given, it is tried in runs that will take long,
            and kept if it is faster. Needs a C++ compiler on a CPU.
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


def start(
    engine: Engine, model: nn.Module, images: Tensor, run_images: int
) -> tuple[Fabric, Engine]:
    """Start the processes, and settle what the engine leaves open.

    Args:
        engine: what is wanted.
        model: the network to be trained; it is only copied.
        images: some images in GeV/100 to time it on.
        run_images: how many images the run will take through the network.

    Returns:
        Fabric, launched, and the engine with `precision` and `compile` settled.
    """
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it announces what it does
    placed, several = _placement(engine)
    device = torch.device("cpu") if several else _fabric(**placed).device
    if engine.precision == "auto":
        found = _by_capability() if several else _by_time(engine, model, images, device)
        engine = replace(engine, precision=found)
    if engine.compile is None:
        pays = not several and _compiling_pays(engine, model, images, device, run_images)
        engine = replace(engine, compile=pays)
    fabric = _fabric(**placed, precision=engine.precision)
    if several and hasattr(sys, "ps1"):
        raise ValueError("several devices need a script or the command line, not a notebook")
    if "LT_CLI_USED" not in os.environ:  # else `fabric run` has done so
        fabric.launch()
    return fabric, engine


def _fabric(**settings: Any) -> Fabric:
    try:
        return Fabric(**settings)
    except (RuntimeError, ValueError) as error:  # a device or precision that is not there
        raise ValueError(" ".join(str(error).split())) from error


def _placement(engine: Engine) -> tuple[dict[str, Any], bool]:
    """Fabric's settings for where to compute, and whether that is in several processes."""
    placed: dict[str, Any] = {"accelerator": engine.accelerator}
    env = os.environ
    devices, nodes = engine.devices, engine.nodes
    if (devices, nodes) == (None, None):
        if "LT_CLI_USED" in env:  # `fabric run` tells Fabric by itself
            return placed, int(env["WORLD_SIZE"]) > 1
        if "TORCHELASTIC_RUN_ID" in env:
            devices = int(env["LOCAL_WORLD_SIZE"])
            nodes = int(env["WORLD_SIZE"]) // devices
        elif "SLURM_NTASKS_PER_NODE" in env and "SLURM_PROCID" in env:
            devices = int(env["SLURM_NTASKS_PER_NODE"])
            nodes = int(env.get("SLURM_NNODES", "1"))
    devices, nodes = (1 if number is None else number for number in (devices, nodes))
    for name, number in (("devices", devices), ("nodes", nodes)):
        if number < 1:
            raise ValueError(f"{name} is {number}: it must be above 0")
    return placed | {"devices": devices, "num_nodes": nodes}, devices * nodes > 1


def is_first_process() -> bool:
    """Whether this process is the one to speak, of those that were started together."""
    ranks = ("RANK", "SLURM_PROCID", "LOCAL_RANK")
    return next((os.environ[name] for name in ranks if name in os.environ), "0") == "0"


def _by_capability() -> str:
    """bf16 where the processors have instructions for it."""
    if torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "32-true"
    known = torch.cpu.get_capabilities()
    return "bf16-mixed" if known.get("amx_bf16") or known.get("avx512_bf16") else "32-true"


def _by_time(engine: Engine, model: nn.Module, images: Tensor, device: torch.device) -> str:
    """The faster of float32 and bf16, tried on one image first: on some processors it crawls."""
    if device.type not in ("cpu", "cuda"):
        return "32-true"
    ways = {
        precision: _step(replace(engine, precision=precision), model, device)
        for precision in ("32-true", "bf16-mixed")
    }
    first = _seconds(ways, images[:1])
    if first["bf16-mixed"] > HOPELESS * first["32-true"]:
        return "32-true"
    seconds = _seconds(ways, images[:PROBE_IMAGES])
    return min(seconds, key=seconds.__getitem__)


def _compiling_pays(
    engine: Engine, model: nn.Module, images: Tensor, device: torch.device, run_images: int
) -> bool:
    """Whether the compiled network is faster, in a run that is long enough to find out."""
    plain = {"eager": _step(engine, model, device)}
    images = images[: 2 * PROBE_IMAGES]
    if run_images * _seconds(plain, images, repeats=1)["eager"] / len(images) < LONG_RUN:
        return False
    try:
        ways = plain | {"compiled": _step(replace(engine, compile=True), model, device)}
        seconds = _seconds(ways, images)
    except Exception:  # no compiler, or one that fails: as many kinds as there are computers
        return False
    return seconds["compiled"] < seconds["eager"]


def _step(engine: Engine, model: nn.Module, device: torch.device) -> Callable[[Tensor], None]:
    """A function that takes a batch forward and backward through a copy of the model."""
    loss = prepare(copy.deepcopy(model), engine).to(device).train()

    def step(images: Tensor) -> None:
        noise = [torch.zeros_like(part) for part in draw_noise(model, len(images))]
        bf16 = engine.precision == "bf16-mixed"
        with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
            value = loss(images.to(device), *noise)["loss"].mean()
        value.backward()
        value.item()  # waits for a GPU

    return step


def _seconds(
    ways: dict[str, Callable[[Tensor], None]], images: Tensor, repeats: int = 3
) -> dict[str, float]:
    """The median time that each way takes, alternating, after a run that is not counted."""
    with torch.random.fork_rng():
        for way in ways.values():
            way(images)
        taken = {name: [] for name in ways}
        for _ in range(repeats):
            for name, way in ways.items():
                started = time.perf_counter()
                way(images)
                taken[name].append(time.perf_counter() - started)
    return {name: median(seconds) for name, seconds in taken.items()}


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
