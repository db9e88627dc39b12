"""Where a training runs: on which devices, in how many processes on how many computers."""

import logging
import os
import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from qghelpers.training import probe
from qghelpers.training.engine import Engine

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def start(
    engine: Engine, model: nn.Module, images: Tensor, run_images: int
) -> tuple["Fabric", Engine]:
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
    if "LT_PRECISION" in os.environ:  # `fabric run` takes --precision for itself
        engine = replace(engine, precision=os.environ["LT_PRECISION"])
    if engine.precision == "auto":
        found = probe.by_capability() if several else probe.by_time(engine, model, images, device)
        engine = replace(engine, precision=found)
    if engine.compile is None:
        pays = not several and probe.compiling_pays(engine, model, images, device, run_images)
        engine = replace(engine, compile=pays)
    fabric = _fabric(**placed, precision=engine.precision)
    if several and hasattr(sys, "ps1"):
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
