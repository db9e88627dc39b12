"""Training a network: the one function for it, and what decides its outcome."""

import copy
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from qghelpers.data.jets import JetImages
from qghelpers.training import devices, probe, runs
from qghelpers.training.engine import Engine, kept_memory
from qghelpers.training.interruption import interruptible
from qghelpers.training.loop import Saver, Stopped, Training, first_alone
from qghelpers.training.progress import Bar
from qghelpers.training.ranks import is_first_process
from qghelpers.training.recipes import Recipe, get_recipe, name_of


def fit(
    model: nn.Module,
    train: JetImages,
    validation: JetImages,
    recipe: Recipe | None = None,
    *,
    seed: int = 0,
    out: str | Path | None = None,
    resume: bool = False,
    engine: Engine | None = None,
    save_every: float = 60.0,
    watch: Sequence[Callable[[runs.History], None]] = (),
    progress: bool = True,
    **notes: Any,
) -> runs.History:
    """Train `model` in place, its scaling included, which is fitted on `train` alone.

    It ends on the CPU, in evaluation mode, with the last weights. Ctrl-C (or SIGTERM) stops it
    after the batch at hand, with all saved in `out`; a second Ctrl-C does not wait for that.

    Args:
        model: has a layer `scaling` and a method `loss(images)` that returns, for each jet, the
            `loss` to minimise and any parts of it worth recording, each with shape `(n,)`. If
            chance plays a part, it has a method `noise(n)` too, which draws it for n jets with
            shape `(n, *)`, and `loss(images, noise)` takes it. If more than the scaling is to be
            fitted before the first batch, it has a method `start_from(train)`.
        train, validation: disjoint jets; only the first change weights.
        recipe: optimiser, schedule, batch size and epochs; the network's `fast` one unless given.
        seed: of the order of the batches and the network's noise; not of its initial weights.
        out: run folder to fill, see `qghelpers.runs`; an earlier run in it is replaced.
        resume: go on where `out` was left, to the same weights as if it had not been left; from
            the start if nothing was saved yet.
        engine: where and how to compute; what is fastest here unless given.
        save_every: seconds after which the state is saved within an epoch.
        watch: called after each epoch with the history so far, such as `qghelpers.LossCurve`.
        progress: show a progress bar.
        notes: further plain values to keep in the run's `config.json`.

    Returns:
        A dictionary for each epoch: epoch, learning rate, training and validation losses,
        seconds, images trained on a second.

    Raises:
        ValueError: a batch is larger than `train`, or smaller than the number of processes.
        files.DataError: the run folder cannot be written, or holds another training.
        FloatingPointError: the loss is no longer a number; the model has the weights of the
            last epoch's end.
    """
    recipe = recipe or get_recipe(name_of(model))
    if recipe.batch_size > len(train):
        raise ValueError(
            f"a batch of {recipe.batch_size} is more than the {len(train)} jets to train on: "
            "take a smaller batch_size, or more jets"
        )
    model.scaling.fit(train)
    config = configuration(model, train, validation, recipe, seed, **notes)
    before = runs.resumed(out, config) if resume else None
    if resume and before is None and is_first_process():
        tqdm.write(f"{out} has nothing to resume yet: the training starts", file=sys.stderr)
    engine = (engine or Engine()).as_recorded(before["engine"] if before else {})
    with kept_memory(engine.keep_memory), torch.random.fork_rng(devices=[]):
        sample = train.images(slice(min(recipe.batch_size, probe.PROBE_BATCH)))
        fabric, engine = devices.start(engine, model, sample, recipe.epochs * len(train))
        if recipe.batch_size < fabric.world_size:
            raise ValueError(
                f"a batch of {recipe.batch_size} cannot be shared by {fabric.world_size} "
                "processes: take a larger batch_size"
            )
        if before is not None:
            first_alone(fabric, runs.sweep, Path(out))
        elif out is not None:
            first_alone(fabric, runs.start, Path(out), config)
        if before is None and hasattr(model, "start_from"):
            model.start_from(train)
        torch.manual_seed(seed)
        training = Training(fabric, engine, model, recipe, train, validation, seed)
        if before is not None:
            training.load(before)
        try:
            _run(training, out, save_every, watch, progress)
        finally:
            model.to("cpu").eval()
    return training.history


def _run(training: Training, out, save_every: float, watch, progress: bool) -> None:
    """All epochs that are left, or as many as we are let."""
    model, recipe = training.model, training.recipe
    first = training.fabric.global_rank == 0
    saver = Saver(training, None if out is None else Path(out), save_every)
    good = copy.deepcopy(model.state_dict())
    bar = Bar(recipe, len(training.train), training.images_done(), progress and first)
    try:
        with interruptible() as interruption, bar:
            while len(training.history) < recipe.epochs:
                training.epoch(bar, interruption, saver)
                good = copy.deepcopy(model.state_dict())
                for watcher in watch if first else ():
                    watcher(training.history)
    except Stopped:
        saver.save()
        if first:
            where = f"stopped in epoch {len(training.history) + 1} of {recipe.epochs}"
            where += f", after {training.batch} of {training.batches} batches"
            how = "resume=True, or --resume, goes on" if out else "give out= to be able to resume"
            tqdm.write(f"{where}: {how}", file=sys.stderr)
    except FloatingPointError:
        model.load_state_dict(good)
        raise


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
