"""The training loop: the only one of this project."""

import time
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric
from torch import nn
from torch.optim import lr_scheduler
from tqdm import tqdm

from qghelpers import runs
from qghelpers.jets import JetImages
from qghelpers.recipes import Recipe, get_recipe, name_of


def fit(
    model: nn.Module,
    train: JetImages,
    validation: JetImages,
    recipe: Recipe | None = None,
    *,
    seed: int = 0,
    out: str | Path | None = None,
    resume: bool = False,
    precision: str = "auto",
    **notes: Any,
) -> runs.History:
    """Train `model` in place, its scaling included, which is fitted on `train` alone.

    It ends on the CPU, in evaluation mode.

    Args:
        model: has a layer `scaling` and a method `loss(images)` that returns, for each jet, the
            `loss` to minimise and any parts of it worth recording, each with shape `(n,)`.
        train, validation: disjoint jets; only the first change weights.
        recipe: optimiser, schedule, batch size and epochs; the network's `fast` one unless given.
        seed: of the order of the batches and the network's noise; not of its initial weights.
        out: run folder to fill, see `qghelpers.runs`.
        resume: go on from the last epoch saved in `out`.
        precision: as Lightning Fabric names them; "auto" takes "bf16-mixed" where the processor
            has instructions for it, else "32-true".
        notes: further plain values to keep in the run's `config.json`.

    Returns:
        A dictionary for each epoch: epoch, learning rate, seconds, training and validation losses.

    Raises:
        layout.DataError: the run folder cannot be written, or not be resumed.
        FloatingPointError: the loss is no longer a number.
    """
    recipe = recipe or get_recipe(name_of(model))
    fabric = Fabric(devices=1, precision=_fastest_precision() if precision == "auto" else precision)
    model.scaling.fit(train)
    if fabric.device.type != "cpu":  # batches are then made dense where they are needed
        train, validation = train.to(fabric.device), validation.to(fabric.device)
    model.to(fabric.device, memory_format=torch.channels_last)
    optimizer = _optimizer(model, recipe)
    scheduler = _scheduler(optimizer, recipe, batches=-(-len(train) // recipe.batch_size))
    parts = {"model": model, "optimizer": optimizer, "scheduler": scheduler}
    network, fast_optimizer = fabric.setup(model, optimizer)
    network.mark_forward_method("loss")

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        config = configuration(model, train, validation, recipe, seed, **notes)
        history = _begin(out, resume, parts, config)
        for epoch in range(len(history), recipe.epochs):
            started = time.perf_counter()
            network.train()
            losses = defaultdict(float)
            batches = train.batches(recipe.batch_size, shuffle=seed + epoch)
            for images in _progress(batches, len(train), recipe, epoch):
                with fabric.autocast():
                    loss = network.loss(fabric.to_device(images))
                fast_optimizer.zero_grad()
                fabric.backward(loss["loss"].mean())
                fast_optimizer.step()
                if recipe.schedule == "one-cycle":
                    scheduler.step()
                _accumulate(losses, loss, len(train))
            checked = validate(network, validation, recipe.batch_size)
            _check_finite(losses["loss"] + checked["loss"], epoch)
            row = {"epoch": epoch + 1, "lr": optimizer.param_groups[0]["lr"]}
            row |= {f"train_{name}": value for name, value in losses.items()}
            row |= {f"validation_{name}": value for name, value in checked.items()}
            history.append(row | {"seconds": time.perf_counter() - started})
            if recipe.schedule == "plateau":
                scheduler.step(checked["loss"])
            elif recipe.schedule == "cosine":
                scheduler.step()
            if out is not None:
                runs.save(Path(out), model, _state(parts, history), history)
    model.to("cpu").eval()
    return history


@torch.no_grad()
def validate(network: nn.Module, jets: JetImages, batch_size: int) -> dict[str, float]:
    """Mean over `jets` of every part of the network's loss, in evaluation mode and float32."""
    network.eval()
    losses: dict[str, float] = defaultdict(float)
    device = next(network.parameters()).device
    for images in jets.batches(batch_size):
        _accumulate(losses, network.loss(images.to(device)), len(jets))
    return dict(losses)


def load_or_fit(
    model: nn.Module,
    train: JetImages,
    validation: JetImages,
    recipe: Recipe,
    *,
    out: str | Path,
    seed: int = 0,
) -> nn.Module:
    """The network trained so, from the run folder `out` if it is there, else trained now."""
    if runs.is_finished(out, configuration(model, train, validation, recipe, seed)):
        tqdm.write(f"loaded the network trained before, from run folder {Path(out).name}")
        return runs.load_run(out)
    tqdm.write(f"run folder {Path(out).name} holds no such training yet, so it is made now")
    fit(model, train, validation, recipe, seed=seed, out=out)
    return model


def configuration(
    model: nn.Module, train: JetImages, validation: JetImages, recipe: Recipe, seed: int, **notes
) -> dict[str, Any]:
    """What decides the outcome of a training, as plain values for `config.json`."""
    return {
        "network": name_of(model),
        "arguments": model.arguments,
        "recipe": asdict(recipe),
        "seed": seed,
        "source": train.source,
        "train": {"jets": len(train), "fingerprint": train.fingerprint()},
        "validation": {"jets": len(validation), "fingerprint": validation.fingerprint()},
    } | notes


def _fastest_precision() -> str:
    if torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "32-true"
    return "bf16-mixed" if torch.cpu.get_capabilities().get("amx_bf16") else "32-true"


def _optimizer(model: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    kind = getattr(torch.optim, recipe.optimizer)
    return kind(model.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay, fused=True)


def _scheduler(optimizer, recipe: Recipe, batches: int):
    if recipe.schedule == "cosine":
        return lr_scheduler.CosineAnnealingLR(optimizer, recipe.epochs, eta_min=recipe.lr_min)
    if recipe.schedule == "plateau":
        return lr_scheduler.ReduceLROnPlateau(optimizer)
    return lr_scheduler.OneCycleLR(optimizer, recipe.lr, total_steps=recipe.epochs * batches)


def _begin(out, resume: bool, parts: dict[str, Any], config: dict[str, Any]) -> runs.History:
    """The epochs done before: none, or those of the run that is resumed."""
    if resume:
        if out is None:
            raise ValueError("resume needs the run folder: pass out=")
        if runs.read_config(out) != config:
            raise runs.DataError(
                f"{out} holds a training of another network, recipe, seed or set of jets: "
                "train into another folder"
            )
        state = runs.load_checkpoint(Path(out))
        for name, part in parts.items():
            part.load_state_dict(state[name])
        torch.set_rng_state(state["random"])
        return state["history"]
    if out is not None:
        runs.start(Path(out), config)
    return []


def _state(parts: dict[str, Any], history: runs.History) -> dict[str, Any]:
    states = {name: part.state_dict() for name, part in parts.items()}
    return states | {"random": torch.get_rng_state(), "history": history}


def _accumulate(totals: dict[str, float], losses: dict[str, torch.Tensor], jets: int) -> None:
    for name, values in losses.items():
        totals[name] += values.detach().sum().item() / jets


def _check_finite(loss: float, epoch: int) -> None:
    if not torch.isfinite(torch.tensor(loss)):
        raise FloatingPointError(
            f"the loss is {loss} in epoch {epoch + 1}: lower the learning rate, or try "
            'precision="32-true" or the log scaling; the epoch before is kept'
        )


def _progress(batches, jets: int, recipe: Recipe, epoch: int):
    return tqdm(
        batches,
        desc=f"epoch {epoch + 1}/{recipe.epochs}",
        total=-(-jets // recipe.batch_size),
        unit="batch",
        leave=epoch + 1 == recipe.epochs,
        mininterval=1,
    )
