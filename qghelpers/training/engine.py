"""How and where a training is computed: devices, precision, memory layout, compilation, memory.

After one epoch the validation loss differs from that of plain float32 by 0.1 % at most, with bf16
by 2 %. What is fastest on a machine is found out by timing.
"""

import copy
import ctypes
import inspect
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from statistics import median
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim import lr_scheduler

from qghelpers.networks.base import JetAutoencoder
from qghelpers.training.distributed import in_notebook, placement
from qghelpers.training.recipes import Recipe

if TYPE_CHECKING:
    from lightning_fabric import Fabric

PROBE_IMAGES = 16  # to time precisions on; with more, their order stays the same
PROBE_BATCH = 128  # to time compiled code on: it can be faster with 32 images, slower with 128
BF16 = "amx_bf16", "avx512_bf16"  # as PyTorch names the instructions of x86 processors
GIVE_UP_RATIO = 4  # skip a setting that is this many times slower on one image
MIN_SPEEDUP = 1.2  # by which a setting has to be faster; less may be chance
LONG_RUN = 20 * 60  # seconds; compiling takes one or two minutes


@dataclass(frozen=True)
class Engine:
    """Where and how to compute; `Engine()` finds out what is fastest here.

    Attributes:
        accelerator: "cpu", "cuda" or another that Lightning Fabric knows; "auto" prefers a GPU.
        devices: processes on this computer, each with its own GPU where there are some; by
            default as set by torchrun, `fabric run` or SLURM's `srun`, else one.
        nodes: computers; by default as set by one of these, else one.
        precision: as Fabric names them, such as "32-true" or "bf16-mixed"; "auto" takes bf16 if,
            where the processor has it, it is clearly faster (not timed with several processes).
        channels_last: use the channels-last memory layout, in which convolutions are faster.
        fused: update all weights in one pass.
        compile: use `torch.compile`; unless given, it is tried on a GPU in runs that will take
            long, and kept if clearly faster. On a CPU it needs a C++ compiler.
        keep_memory: let Linux keep the memory that one batch frees for the next one.
    """

    accelerator: str = "auto"
    devices: int | None = None
    nodes: int | None = None
    precision: str = "auto"
    channels_last: bool = True
    fused: bool = True
    compile: bool | None = None
    keep_memory: bool = True

    def measured_choices(self) -> dict[str, Any]:
        """The fields that may have been chosen by timing, for the record of a run."""
        return {"precision": self.precision, "compile": self.compile}

    def with_recorded_choices(self, choices: dict[str, Any]) -> "Engine":
        """The same engine with the fields that it leaves open set as they were in a run."""
        is_open = {"precision": self.precision == "auto", "compile": self.compile is None}
        return replace(self, **{name: value for name, value in choices.items() if is_open[name]})


class LossModule(nn.Module):
    """A network whose output is its loss, which is how it goes through Fabric's wrappers."""

    def __init__(self, model: JetAutoencoder) -> None:
        super().__init__()
        self.model = model

    def forward(self, images: Tensor, *noise: Tensor) -> dict[str, Tensor]:
        """The parts of the loss, each with shape `(n,)`."""
        return self.model.loss(images, *noise)


def draw_noise(
    model: JetAutoencoder, jets: int, shard: tuple[int, int] = (0, 1)
) -> tuple[Tensor, ...]:
    """Random numbers for the loss of a batch: an empty tuple or one tensor.

    They are drawn for all jets of a batch and then shared out, so that they do not depend on the
    number of processes.
    """
    noise = model.draw_noise(jets)
    index, shards = shard
    return () if noise is None else (noise[index::shards],)


def prepare(model: JetAutoencoder, engine: Engine) -> LossModule:
    """The model's loss as a module, in the engine's memory layout, compiled if it says so."""
    if engine.channels_last:
        model.to(memory_format=torch.channels_last)
    loss = LossModule(model)
    if engine.compile:
        loss.compile(dynamic=False)
    return loss


@contextmanager
def compiler_named(engine: Engine) -> Iterator[None]:
    """Turn PyTorch's errors where code cannot be compiled into a ValueError of one line."""
    try:
        yield
    except Exception as error:
        origin = type(error).__module__
        if not (engine.compile and origin.startswith(("torch._dynamo", "torch._inductor"))):
            raise
        why = str(getattr(error, "inner_exception", error)).strip().splitlines()[0]
        raise ValueError(
            f"the network cannot be compiled here ({why}): leave out --compile (compile=True), or "
            "install a C++ compiler, such as g++"
        ) from error


def make_optimizer(model: JetAutoencoder, recipe: Recipe, engine: Engine) -> torch.optim.Optimizer:
    """The recipe's optimiser of the model's weights, fused if the engine says so."""
    kind = getattr(torch.optim, recipe.optimizer)
    settings = {"lr": recipe.lr, "weight_decay": recipe.weight_decay}
    if engine.fused and "fused" in inspect.signature(kind).parameters:
        settings["fused"] = True
    return kind(model.parameters(), **settings)


def make_scheduler(optimizer: torch.optim.Optimizer, recipe: Recipe, batches: int):
    """The recipe's schedule of the learning rate, for epochs of this many batches."""
    if recipe.schedule == "cosine":
        return lr_scheduler.CosineAnnealingLR(optimizer, recipe.epochs, eta_min=recipe.lr_min)
    if recipe.schedule == "plateau":
        return lr_scheduler.ReduceLROnPlateau(optimizer)
    return lr_scheduler.OneCycleLR(optimizer, recipe.lr, total_steps=recipe.epochs * batches)


# --- where: the processes


def start(
    engine: Engine, model: JetAutoencoder, images: Tensor, run_images: int
) -> tuple["Fabric", Engine]:
    """Start the processes, and choose `precision` and `compile` where the engine leaves them open.

    Args:
        engine: what is wanted.
        model: the network to be trained; it is only copied.
        images: some images in GeV/100 to time it on.
        run_images: how many images the run will take through the network.

    Returns:
        Fabric, launched, and the engine with `precision` and `compile` settled.

    Raises:
        ValueError: a device or precision is not there, or cannot be used from a notebook.
    """
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)  # it announces what it does
    placed, several = placement(engine.accelerator, engine.devices, engine.nodes)
    device = torch.device("cpu") if several else _fabric(**placed).device
    if "LT_PRECISION" in os.environ:  # `fabric run` takes --precision for itself
        engine = replace(engine, precision=os.environ["LT_PRECISION"])
    if engine.precision == "auto":
        found = _by_capability() if several else _by_time(engine, model, images, device)
        engine = replace(engine, precision=found)
    if engine.compile is None:
        pays = not several and _compiling_pays(engine, model, images, device, run_images)
        engine = replace(engine, compile=pays)
    fabric = _fabric(**placed, precision=engine.precision)
    if several and in_notebook():
        raise ValueError("several devices need a script or the command line, not a notebook")
    if "LT_CLI_USED" not in os.environ:  # else `fabric run` has done so
        fabric.launch()
    return fabric, engine


def _fabric(**settings: Any) -> "Fabric":
    from lightning_fabric import Fabric  # takes a second, and only a training needs it

    try:
        return Fabric(**settings)
    except (RuntimeError, ValueError) as error:  # a device or precision that is not there
        raise ValueError(" ".join(str(error).split())) from error


# --- how: precision and compilation, by timing


def _by_capability() -> str:
    """bf16 where the processors have instructions for it."""
    if torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "32-true"
    return "bf16-mixed" if processor_has_bf16() else "32-true"


def processor_has_bf16() -> bool:
    """Whether this computer's processor is known to have instructions for bf16."""
    return any(map(torch.cpu.get_capabilities().get, BF16))


def _by_time(engine: Engine, model: JetAutoencoder, images: Tensor, device: torch.device) -> str:
    """bf16 if clearly faster than float32; one image first, for on some computers it is slow.

    It is not tried on processors that are known to have no instructions for it: there it is slow.
    """
    known = torch.cpu.get_capabilities().get("architecture") == "x86_64"
    lacks_it = device.type == "cpu" and known and not processor_has_bf16()
    if device.type not in ("cpu", "cuda") or lacks_it:
        return "32-true"
    steps = {
        precision: _step(replace(engine, precision=precision), model, device)
        for precision in ("32-true", "bf16-mixed")
    }
    first = _seconds(steps, images[:1])
    if first["bf16-mixed"] > GIVE_UP_RATIO * first["32-true"]:
        return "32-true"
    seconds = _seconds(steps, images[:PROBE_IMAGES])
    clearly = MIN_SPEEDUP * seconds["bf16-mixed"] < seconds["32-true"]
    return "bf16-mixed" if clearly else "32-true"


def _compiling_pays(
    engine: Engine, model: JetAutoencoder, images: Tensor, device: torch.device, run_images: int
) -> bool:
    """Whether the compiled network is clearly faster, in a run long enough to find out.

    On a CPU it never was, and the trial cost a minute: there it is not tried.
    """
    if device.type != "cuda":
        return False
    plain = {"eager": _step(engine, model, device)}
    images = images[:PROBE_BATCH]
    if run_images * _seconds(plain, images, repeats=1)["eager"] / len(images) < LONG_RUN:
        return False
    try:
        steps = plain | {"compiled": _step(replace(engine, compile=True), model, device)}
        seconds = _seconds(steps, images)
    except Exception:  # no compiler, or a broken one; the kind of error differs by computer
        return False
    return MIN_SPEEDUP * seconds["compiled"] < seconds["eager"]


def _step(engine: Engine, model: JetAutoencoder, device: torch.device) -> Callable[[Tensor], None]:
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
    steps: dict[str, Callable[[Tensor], None]], images: Tensor, repeats: int = 3
) -> dict[str, float]:
    """The median time that each step takes, in turns, after a run that is not counted."""
    with torch.random.fork_rng(devices=[]):
        for step in steps.values():
            step(images)
        taken = {name: [] for name in steps}
        for _ in range(repeats):
            for name, step in steps.items():
                started = time.perf_counter()
                step(images)
                taken[name].append(time.perf_counter() - started)
    return {name: median(seconds) for name, seconds in taken.items()}


# --- memory


@contextmanager
def kept_memory(wanted: bool) -> Iterator[None]:
    """Let glibc keep freed memory for later allocations, until the end of the block.

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
