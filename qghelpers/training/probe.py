"""Which way is the fastest here? Found out by trying."""

import copy
import time
from collections.abc import Callable
from dataclasses import replace
from statistics import median

import torch
from torch import Tensor, nn

from qghelpers.training.engine import Engine, draw_noise, prepare

PROBE_IMAGES = 16  # enough for the order of the precisions to be that of a whole batch
PROBE_BATCH = 128  # at most, for compiled code: it can be faster with 32 and slower with 128
HOPELESS = 4  # a way that takes so many times longer for one image is not tried on more
CLEARLY = 1.2  # times faster has a way to be: where it is not, chance should not decide
LONG_RUN = 20 * 60  # seconds; compiling takes one or two minutes


def by_capability() -> str:
    """bf16 where the processors have instructions for it."""
    if torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "32-true"
    known = torch.cpu.get_capabilities()
    return "bf16-mixed" if known.get("amx_bf16") or known.get("avx512_bf16") else "32-true"


def by_time(engine: Engine, model: nn.Module, images: Tensor, device: torch.device) -> str:
    """bf16 if clearly faster than float32; on one image first: on some computers it crawls."""
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
    clearly = CLEARLY * seconds["bf16-mixed"] < seconds["32-true"]
    return "bf16-mixed" if clearly else "32-true"


def compiling_pays(
    engine: Engine, model: nn.Module, images: Tensor, device: torch.device, run_images: int
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
        ways = plain | {"compiled": _step(replace(engine, compile=True), model, device)}
        seconds = _seconds(ways, images)
    except Exception:  # no compiler, or one that fails: as many kinds as there are computers
        return False
    return CLEARLY * seconds["compiled"] < seconds["eager"]


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
    with torch.random.fork_rng(devices=[]):
        for way in ways.values():
            way(images)
        taken = {name: [] for name in ways}
        for _ in range(repeats):
            for name, way in ways.items():
                started = time.perf_counter()
                way(images)
                taken[name].append(time.perf_counter() - started)
    return {name: median(seconds) for name, seconds in taken.items()}
