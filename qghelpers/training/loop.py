"""The training loop: batch, forward, backward, step; then validation and schedule."""

import math
import time
import warnings
from contextlib import nullcontext
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from qghelpers.data.jets import JetImages
from qghelpers.networks.base import JetAutoencoder
from qghelpers.training import distributed
from qghelpers.training.engine import Engine, draw_noise, make_optimizer, make_scheduler, prepare
from qghelpers.training.recipes import Recipe

if TYPE_CHECKING:
    from lightning_fabric import Fabric

CPU_VALIDATION = 32  # images at a time on a CPU: float32 takes twice the memory of bf16


class Callbacks:
    """Called between the steps of the loop; they do nothing by default. `fit` has its own."""

    def check_loss(self, loss: float, what: str) -> None:
        """The mean loss of a batch, before the optimiser's step, or that of all validation jets."""

    def after_batch(self, jets: int, loss: float) -> None:
        """After the optimiser's step for this many jets, with this mean loss."""

    def after_validation_batch(self) -> None:
        """After each batch of validation jets."""


class Training:
    """The state of one training run, and its epochs.

    `batch` counts the batches done in the current epoch; `shard` is (this process, all processes);
    `_loss` and `_optimizer` are the model's loss and the optimiser as Fabric wraps them.
    """

    def __init__(
        self,
        fabric: "Fabric",
        engine: Engine,
        model: JetAutoencoder,
        recipe: Recipe,
        train: JetImages,
        validation: JetImages,
        seed: int,
    ) -> None:
        self.fabric, self.engine, self.model, self.recipe = fabric, engine, model, recipe
        self.train, self.validation, self.seed = train, validation, seed
        self.shard = fabric.global_rank, fabric.world_size
        self.batches = math.ceil(len(train) / recipe.batch_size)
        loss = prepare(model, engine).to(fabric.device)
        self.optimizer = make_optimizer(model, recipe, engine)
        self.scheduler = make_scheduler(self.optimizer, recipe, self.batches)
        self._loss, self._optimizer = fabric.setup(loss, self.optimizer)
        self.history: list[dict[str, float]] = []
        self.start_epoch()

    def start_epoch(self) -> None:
        """Reset the counters of batches, time and loss."""
        self.batch, self.seconds, self.sums = 0, 0.0, {}
        self.random = torch.get_rng_state()

    def epoch(self, callbacks: Callbacks) -> dict[str, float]:
        """Train on the batches left in the current epoch, validate; a new row of `history`."""
        started = time.perf_counter() - self.seconds
        self._train(callbacks, started)
        validation = validate(
            self.model, self.validation, self.recipe.batch_size, self.fabric, callbacks
        )
        callbacks.check_loss(validation["loss"], "validation loss")
        row = {"epoch": len(self.history) + 1, "lr": self.optimizer.param_groups[0]["lr"]}
        row |= {f"train_{name}": value / len(self.train) for name, value in self.sums.items()}
        row |= {f"validation_{name}": value for name, value in validation.items()}
        row["seconds"] = time.perf_counter() - started
        row["images_per_second"] = len(self.train) / self.seconds
        self._step_schedule(validation["loss"])
        self.history.append(row)
        self.start_epoch()
        return row

    def _train(self, callbacks: Callbacks, started: float) -> None:
        """One step of the optimiser for each batch; a one-cycle schedule steps here, too."""
        size, world = self.recipe.batch_size, self.fabric.world_size
        order = self.seed + len(self.history)  # a new order of the jets in each epoch
        self._loss.train()
        for images in self.train.batches(size, order, self.shard, first=self.batch):
            jets = min(size, len(self.train) - self.batch * size)  # in all processes together
            loss = 0.0
            if jets >= world:  # else, in a last batch, there is not one jet for each process
                losses = self._forward(images, jets)
                sums = total(losses, self.fabric)
                loss = sums["loss"] / jets
                callbacks.check_loss(loss, "loss")
                self._optimizer.zero_grad()
                # the mean over the batch; Fabric averages the gradients of the processes
                self.fabric.backward(losses["loss"].sum() * (world / jets))
                self._optimizer.step()
                if self.recipe.schedule == "one-cycle":
                    self.scheduler.step()
                self.sums = {name: self.sums.get(name, 0.0) + sums[name] for name in sums}
            self.batch += 1
            self.seconds = time.perf_counter() - started
            self.random = torch.get_rng_state()
            callbacks.after_batch(jets, loss)

    def _forward(self, images: Tensor, jets: int) -> dict[str, Tensor]:
        """The parts of the loss, `(n,)` each, of this process's images of a batch of `jets`."""
        noise = draw_noise(self.model, jets, self.shard)
        # compiled code is made for one shape: a last, smaller batch does without
        smaller = self.engine.compile and jets < self.recipe.batch_size
        with torch.compiler.set_stance("force_eager") if smaller else nullcontext():
            return self._loss(images, *noise)

    def _step_schedule(self, validation_loss: float) -> None:
        """One step of a schedule that changes after each epoch."""
        with warnings.catch_warnings():  # a resumed optimiser may not have made a step as yet
            warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step")
            if self.recipe.schedule == "plateau":
                self.scheduler.step(validation_loss)
            elif self.recipe.schedule == "cosine":
                self.scheduler.step()


@torch.no_grad()
def validate(
    model: JetAutoencoder,
    jets: JetImages,
    batch_size: int,
    fabric: "Fabric | None" = None,
    callbacks: Callbacks | None = None,
) -> dict[str, float]:
    """Mean over `jets` of every part of the network's loss, in evaluation mode and float32."""
    model.eval()
    shard = (0, 1) if fabric is None else (fabric.global_rank, fabric.world_size)
    device = next(model.parameters()).device
    batch_size = min(batch_size, CPU_VALIDATION) if device.type == "cpu" else batch_size
    sums: dict[str, float] = {}
    for batch, images in enumerate(jets.batches(batch_size, shard=shard)):
        noise = draw_noise(model, min(batch_size, len(jets) - batch * batch_size), shard)
        for name, value in total(model.loss(images.to(device), *noise), fabric).items():
            sums[name] = sums.get(name, 0.0) + value
        (callbacks or Callbacks()).after_validation_batch()
    return {name: value / len(jets) for name, value in sums.items()}


def total(losses: dict[str, Tensor], fabric: "Fabric | None" = None) -> dict[str, float]:
    """The sum of each part of the loss over a batch, and over the processes of `fabric`."""
    sums = {name: values.detach().sum().item() for name, values in losses.items()}
    if fabric is None or fabric.world_size == 1:
        return sums
    return dict(zip(sums, distributed.summed(fabric, sums.values()), strict=True))
