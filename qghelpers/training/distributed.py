"""Several processes that train one network: how many, and the sums and norms that they share.

In a single process `placement` alone is called.
"""

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, distributed, nn

if TYPE_CHECKING:
    from lightning_fabric import Fabric


def placement(
    accelerator: str, devices: int | None, nodes: int | None
) -> tuple[dict[str, Any], bool]:
    """Fabric's settings for where to compute, and whether that is in several processes.

    Of SLURM, only what `srun` tells the processes that it starts counts: in a batch script or a
    notebook, the variables of the job speak of processes that nobody has started.

    Raises:
        ValueError: a number is below 1.
    """
    placed: dict[str, Any] = {"accelerator": accelerator}
    env = os.environ
    tasks = 1 if in_notebook() else int(env.get("SLURM_STEP_NUM_TASKS", "1"))
    if "SLURM_NTASKS" in env and "TORCHELASTIC_RUN_ID" not in env and tasks == 1:
        from lightning_fabric.plugins.environments import LightningEnvironment

        placed["plugins"] = LightningEnvironment()  # else Fabric asks for the job's tasks
    if devices is None and nodes is None:
        if "LT_CLI_USED" in env:  # `fabric run` tells Fabric by itself
            return {"accelerator": accelerator}, int(env["WORLD_SIZE"]) > 1
        if "TORCHELASTIC_RUN_ID" in env:
            devices = int(env["LOCAL_WORLD_SIZE"])
            nodes = int(env["WORLD_SIZE"]) // devices
        elif tasks > 1:
            nodes = int(env.get("SLURM_STEP_NUM_NODES", "1"))
            devices = tasks // nodes
    devices, nodes = (1 if number is None else number for number in (devices, nodes))
    for name, number in (("devices", devices), ("nodes", nodes)):
        if number < 1:
            raise ValueError(f"{name} is {number}: it must be above 0")
    return placed | {"devices": devices, "num_nodes": nodes}, devices * nodes > 1


def in_notebook() -> bool:
    """Whether this is an interactive session, which cannot start other processes of its kind."""
    return hasattr(sys, "ps1")


def summed(fabric: "Fabric", values: Sequence[float]) -> list[float]:
    """The sum of each value over all processes."""
    ours = torch.tensor(list(values), dtype=torch.float64, device=fabric.device)
    return fabric.all_reduce(ours, reduce_op="sum").tolist()


@contextmanager
def batch_norm_over_processes(model: nn.Module) -> Iterator[None]:
    """Let every `nn.BatchNorm2d` of the model normalise over the images of all processes.

    Thus a batch trains the network in the same way on one device as on many; PyTorch's
    `SyncBatchNorm` does this on GPUs alone.
    """
    layers = [layer for layer in model.modules() if isinstance(layer, nn.BatchNorm2d)]
    for layer in layers:
        layer.forward = partial(_normalise, layer)
    try:
        yield
    finally:
        for layer in layers:
            del layer.forward


def _normalise(layer: nn.BatchNorm2d, x: Tensor) -> Tensor:
    """The layer's output for `(n, C, H, W)`; n may differ between processes."""
    if not layer.training:
        return nn.BatchNorm2d.forward(layer, x)
    values = x.float()
    count = torch.full((1,), x.numel() / x.shape[1], device=x.device)
    total = _Sum.apply(torch.cat([values.sum((0, 2, 3)), count]))
    count, mean = total[-1], total[:-1] / total[-1]
    centred = values - mean.view(1, -1, 1, 1)
    variance = _Sum.apply(centred.square().sum((0, 2, 3))) / count
    with torch.no_grad():
        layer.num_batches_tracked += 1
        layer.running_mean.lerp_(mean, layer.momentum)
        layer.running_var.lerp_(variance * count / (count - 1), layer.momentum)
    scale = (variance + layer.eps).rsqrt() * layer.weight
    return (centred * scale.view(1, -1, 1, 1) + layer.bias.view(1, -1, 1, 1)).to(x.dtype)


class _Sum(torch.autograd.Function):
    """Sum over all processes; gradients are summed, too, since every process's loss uses it."""

    @staticmethod
    def forward(ctx, ours: Tensor) -> Tensor:
        ours = ours.clone()
        distributed.all_reduce(ours)
        return ours

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        return _Sum.apply(gradient.contiguous())
