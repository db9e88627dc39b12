"""A training on its way: batch by batch, epoch by epoch, saved so that it can be taken up again."""

import time
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer, lr_scheduler

from qghelpers.data.files import DataError
from qghelpers.data.jets import JetImages
from qghelpers.training import checkpoints, runs
from qghelpers.training.engine import Engine, draw_noise, prepare
from qghelpers.training.interruption import Interruption
from qghelpers.training.progress import Bar
from qghelpers.training.recipes import Recipe

if TYPE_CHECKING:
    from lightning_fabric import Fabric

CPU_VALIDATION = 32  # images at a time


class Stopped(Exception):
    """Someone has asked to stop, and no batch is half done."""


class Training:
    """Everything that changes in a training, and how it changes.

    Attributes:
        history: a row for each epoch that is done.
        batch: how many batches of the epoch at hand are done.
    """

    def __init__(
        self,
        fabric: "Fabric",
        engine: Engine,
        model: nn.Module,
        recipe: Recipe,
        train: JetImages,
        validation: JetImages,
        seed: int,
    ) -> None:
        self.fabric, self.engine, self.model, self.recipe = fabric, engine, model, recipe
        self.train, self.validation, self.seed = train, validation, seed
        if fabric.device.type != "cpu":  # batches are then made dense where they are needed
            self.train, self.validation = train.to(fabric.device), validation.to(fabric.device)
        self.shard = fabric.global_rank, fabric.world_size
        self.batches = -(-len(train) // recipe.batch_size)
        loss = prepare(model, engine).to(fabric.device)
        optimizer = _optimizer(model, recipe, engine.fused)
        scheduler = _scheduler(optimizer, recipe, self.batches)
        self.parts = {"model": model, "optimizer": optimizer, "scheduler": scheduler}
        self._network, self._optimizer = fabric.setup(loss, optimizer)
        self.history: runs.History = []
        self._new_epoch()

    def _new_epoch(self) -> None:
        self.batch = 0
        self.sums: dict[str, float] = {}  # of each part of the loss
        self.seconds = 0.0
        self.random = torch.get_rng_state()

    def state(self) -> dict[str, Any]:
        """All that is needed to go on from here, as tensors and plain values."""
        return {name: part.state_dict() for name, part in self.parts.items()} | {
            "engine": self.engine.chosen(),
            "random": self.random,
            "history": self.history,
            "batch": self.batch,
            "sums": self.sums,
            "seconds": self.seconds,
        }

    def load(self, state: dict[str, Any]) -> None:
        """Go to the place where a state was taken."""
        for name, part in self.parts.items():
            part.load_state_dict(state[name])
        for name in ("history", "batch", "sums", "seconds", "random"):
            setattr(self, name, state[name])
        torch.set_rng_state(self.random)

    def images_done(self) -> int:
        """How many images have been trained on, in all epochs."""
        in_epoch = min(self.batch * self.recipe.batch_size, len(self.train))
        return len(self.history) * len(self.train) + in_epoch

    def epoch(self, bar: Bar, interruption: Interruption, saver: "Saver") -> None:
        """Finish the epoch at hand and validate.

        Raises:
            Stopped: after the batch during which this was asked for.
            FloatingPointError: a loss is no number; no weight has been changed by it.
        """
        size, number = self.recipe.batch_size, len(self.history) + 1
        started = time.perf_counter() - self.seconds
        self._network.train()
        shuffle = self.seed + len(self.history)
        for images in self.train.batches(size, shuffle, self.shard, first=self.batch):
            jets = min(size, len(self.train) - self.batch * size)
            value = stop = save = 0.0
            if jets >= self.fabric.world_size:  # else there is not one for each process
                losses = self._forward(images, jets)
                sums, stop, save = self._agree(losses, interruption.asked, saver.is_due())
                value = sums["loss"] / jets
                self._check(value, "loss", self.batch + 1)
                # processes average their gradients
                self._backward(losses["loss"].sum() * (self.fabric.world_size / jets))
                self.sums = {name: self.sums.get(name, 0.0) + sums[name] for name in sums}
            self.batch += 1
            self.random = torch.get_rng_state()
            self.seconds = time.perf_counter() - started
            bar.update(jets, value)
            if stop:
                raise Stopped
            if save:
                saver.save()
        speed = len(self.train) / self.seconds
        # float32 takes twice the memory, which on a CPU would be the largest need of all
        smaller = min(size, CPU_VALIDATION) if self.fabric.device.type == "cpu" else size
        checked = validate(self.model, self.validation, smaller, self.fabric, interruption)
        self._check(checked["loss"], "validation loss", self.batch)
        optimizer, scheduler = self.parts["optimizer"], self.parts["scheduler"]
        row = {"epoch": number, "lr": optimizer.param_groups[0]["lr"]}
        row |= {f"train_{name}": total / len(self.train) for name, total in self.sums.items()}
        row |= {f"validation_{name}": value for name, value in checked.items()}
        row |= {"seconds": time.perf_counter() - started, "images_per_second": speed}
        with warnings.catch_warnings():  # a resumed optimiser may not have made a step as yet
            warnings.filterwarnings("ignore", "Detected call of `lr_scheduler.step")
            if self.recipe.schedule == "plateau":
                scheduler.step(checked["loss"])
            elif self.recipe.schedule == "cosine":
                scheduler.step()
        self.history.append(row)
        self._new_epoch()
        bar.epoch(row)
        saver.save(epoch_done=True)

    def _forward(self, images: Tensor, jets: int) -> dict[str, Tensor]:
        """The parts of the loss of our `images`, of a batch of this many jets."""
        noise = draw_noise(self.model, jets, self.shard)
        # compiled code is made for one shape: a last, smaller batch does without
        ragged = self.engine.compile and jets < self.recipe.batch_size
        with torch.compiler.set_stance("force_eager") if ragged else nullcontext():
            return self._network(images, *noise)

    def _backward(self, loss: Tensor) -> None:
        """Change the weights once."""
        self._optimizer.zero_grad()
        self.fabric.backward(loss)
        self._optimizer.step()
        if self.recipe.schedule == "one-cycle":
            self.parts["scheduler"].step()

    def _agree(self, losses: dict[str, Tensor], *flags: bool) -> tuple:
        """Each part of the loss summed over the batch, and which flags any process has raised."""
        sums = _summed(losses)
        if self.fabric.world_size > 1:
            ours = torch.tensor([*sums.values(), *flags], dtype=torch.float64)
            total = self.fabric.all_reduce(ours.to(self.fabric.device), reduce_op="sum").tolist()
            sums = dict(zip(sums, total, strict=False))
            flags = total[len(sums) :]
        return sums, *flags

    def _check(self, loss: float, what: str, batch: int) -> None:
        if abs(loss) < float("inf"):
            return
        raise FloatingPointError(
            f"the {what} is {loss} in epoch {len(self.history) + 1}, batch {batch} of "
            f'{self.batches}: lower the learning rate, or try precision "32-true" or the log '
            "scaling; the weights of the last epoch's end are kept"
        )


class Saver:
    """Puts a training into its run folder: at each epoch's end, and in between by the clock."""

    def __init__(self, training: Training, folder: Path | None, every: float) -> None:
        self._training, self._folder, self._every = training, folder, every
        self._last = time.monotonic()

    def is_due(self) -> bool:
        """Whether the last time is long enough ago."""
        return self._folder is not None and time.monotonic() - self._last >= self._every

    def save(self, epoch_done: bool = False) -> None:
        """Save now, in the first process; all fail if that fails."""
        if self._folder is not None:
            first_alone(self._training.fabric, self._save, epoch_done)
            self._last = time.monotonic()

    def _save(self, epoch_done: bool) -> None:
        training = self._training
        state = training.state()
        broken = [n for n, weight in state["model"].items() if not weight.isfinite().all()]
        if broken:
            epoch = len(training.history) + (not epoch_done)
            raise FloatingPointError(
                f"{broken[0]} has entries that are no numbers in epoch {epoch}, after batch "
                f"{training.batch}: lower the learning rate; what was saved before is kept"
            )
        if epoch_done:
            runs.save_epoch(self._folder, training.model, training.history)
        checkpoints.save(self._folder, state)


def first_alone(fabric: "Fabric", action: Callable[..., None], *args: Any) -> None:
    """Let the first process act; if it fails, all fail alike."""
    error = None
    if fabric.global_rank == 0:
        try:
            action(*args)
        except (DataError, FloatingPointError) as caught:
            error = caught
    if fabric.world_size > 1:
        error = fabric.broadcast(error)
    if error is not None:
        raise error


@torch.no_grad()
def validate(
    model: nn.Module,
    jets: JetImages,
    batch_size: int,
    fabric: "Fabric | None" = None,
    interruption: Interruption | None = None,
) -> dict[str, float]:
    """Mean over `jets` of every part of the network's loss, in evaluation mode and float32.

    With Fabric, each process sees a share of the jets, and the mean is over all of them.

    Raises:
        Stopped: this was asked for.
    """
    model.eval()
    shard = (0, 1) if fabric is None else (fabric.global_rank, fabric.world_size)
    device = next(model.parameters()).device
    sums: dict[str, float] = {}
    for start, images in enumerate(jets.batches(batch_size, shard=shard)):
        count = min(batch_size, len(jets) - start * batch_size)
        noise = draw_noise(model, count, shard)
        for name, value in _summed(model.loss(images.to(device), *noise)).items():
            sums[name] = sums.get(name, 0.0) + value
        asked = interruption is not None and interruption.asked
        if asked if shard[1] == 1 else fabric.all_reduce(float(asked)) > 0:
            raise Stopped
    if shard[1] > 1:
        ours = torch.tensor(list(sums.values()), dtype=torch.float64, device=device)
        sums = dict(zip(sums, fabric.all_reduce(ours, reduce_op="sum").tolist(), strict=True))
    return {name: total / len(jets) for name, total in sums.items()}


def _summed(losses: dict[str, Tensor]) -> dict[str, float]:
    return {name: values.detach().sum().item() for name, values in losses.items()}


def _optimizer(model: nn.Module, recipe: Recipe, fused: bool) -> Optimizer:
    kind = getattr(torch.optim, recipe.optimizer)
    return kind(
        model.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay, fused=fused or None
    )


def _scheduler(optimizer: Optimizer, recipe: Recipe, batches: int):
    if recipe.schedule == "cosine":
        return lr_scheduler.CosineAnnealingLR(optimizer, recipe.epochs, eta_min=recipe.lr_min)
    if recipe.schedule == "plateau":
        return lr_scheduler.ReduceLROnPlateau(optimizer)
    return lr_scheduler.OneCycleLR(optimizer, recipe.lr, total_steps=recipe.epochs * batches)
