"""`fit`: everything around the training loop. Start and resume, save, stop on request."""

import copy
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import torch
from tqdm import tqdm

from qghelpers.data.jets import JetImages
from qghelpers.networks.base import JetAutoencoder, check_contract, description
from qghelpers.training import distributed, owners, runs
from qghelpers.training.engine import PROBE_BATCH, Engine, compiler_named, kept_memory, start
from qghelpers.training.loop import Callbacks, Training
from qghelpers.training.progress import Bar, Stopped, interruptible, new_bar, notebook
from qghelpers.training.recipes import DEFAULT_RECIPES, Recipe


def fit(
    model: JetAutoencoder,
    train: JetImages,
    validation: JetImages,
    recipe: Recipe | None = None,
    *,
    seed: int = 0,
    out: str | Path | None = None,
    resume: bool | Literal["auto"] = False,
    overwrite: bool = True,
    engine: Engine | None = None,
    save_every: float = 60.0,
    watch: Sequence[Callable[[runs.History], None]] = (),
    progress: bool = True,
    name: str = "",
    **notes: Any,
) -> runs.History:
    """Train `model` in place; its scaling is fitted on `train` only.

    It ends on the CPU, in evaluation mode, with the last weights. Ctrl-C (or SIGTERM) stops it
    after the current batch, with all saved in `out`; a second Ctrl-C does not wait for that. In a
    notebook the cell then ends with a line that says so, and the cells after it are not run.

    Args:
        model: any `JetAutoencoder`, registered or not.
        train, validation: disjoint jets; only the first change weights.
        recipe: optimiser, schedule, batch size and epochs; the network's `fast` one unless given.
        seed: of the order of the batches and the network's noise; not of its initial weights.
        out: run folder to fill, see `runs`; no other training may use it meanwhile.
        resume: continue the run in `out`, with the result of one that was never interrupted; from
            the start if nothing was saved yet. "auto" does so if `out` holds this very training,
            unfinished, and else starts: a notebook's cell that was stopped can be run again. Once
            it is finished, that trains anew, while True returns the finished training.
        overwrite: replace an earlier run in `out`; else, it is an error that there is one.
        engine: where and how to compute; what is fastest here unless given.
        save_every: seconds after which the state is saved within an epoch.
        watch: called after each epoch with the history so far, such as `qghelpers.LossCurve`.
        progress: show a progress bar, or a line in a notebook.
        name: of the training, to show beside its progress; that of the folder or the network
            unless given.
        notes: further plain values to keep in the run's `config.json`.

    Returns:
        A dictionary for each epoch: epoch, learning rate, training and validation losses,
        seconds, images trained on per second.

    Raises:
        TypeError: `model` lacks a part of the contract.
        ValueError: a batch is larger than `train`, or smaller than the number of processes.
        qghelpers.DataError: the run folder cannot be written, or holds another training.
        FloatingPointError: the loss is no longer a number; the model has the weights of the
            last epoch's end.
        Stopped: only in a notebook, after all is saved, so that it stops there.
    """
    check_contract(model, train.images(slice(2)))
    recipe = _checked(recipe or DEFAULT_RECIPES.get(model.name) or Recipe(), len(train))
    model.scaling.fit(train)
    config = configuration(model, train, validation, recipe, seed, **notes)
    wanted = runs.is_unfinished(out, config) if resume == "auto" else resume
    before = runs.load_resume_state(out, config) if wanted else None
    engine = (engine or Engine()).with_recorded_choices(before["engine"] if before else {})
    with kept_memory(engine.keep_memory), torch.random.fork_rng(devices=[]), ExitStack() as stack:
        sample = train.images(slice(min(recipe.batch_size, PROBE_BATCH)))
        fabric, engine = start(engine, model, sample, recipe.epochs * len(train))
        first = fabric.global_rank == 0
        if recipe.batch_size < fabric.world_size:
            raise ValueError(
                f"a batch of {recipe.batch_size} cannot be shared by {fabric.world_size} "
                "processes: take a larger batch_size"
            )
        if out is not None:
            replace = overwrite and resume is not True
            _occupy(fabric, Path(out), stack, None if before else config, replace)
        if before is None:
            if wanted and first:
                tqdm.write(f"{out} has nothing to resume yet: the training starts", file=sys.stderr)
            model.prepare(train)
        if fabric.device.type != "cpu":  # dense images are then made where they are needed
            train, validation = train.to(fabric.device), validation.to(fabric.device)
        torch.manual_seed(seed)
        training = Training(fabric, engine, model, recipe, train, validation, seed)
        if before is not None:
            runs.load_state(training, before)
        saver = Saver(training, None if out is None else Path(out), save_every, config)
        try:
            name = name or (Path(out).name if out else model.name or type(model).__name__)
            stopped = _run(training, saver, watch if first else (), name, progress and first)
        finally:
            model.to("cpu").eval()
    if stopped and (first or notebook()):
        _tell(stopped, out, resume)
    return training.history


def _checked(recipe: Recipe, jets: int) -> Recipe:
    """The recipe, if its batches are not larger than the number of jets."""
    if recipe.batch_size > jets:
        raise ValueError(
            f"a batch of {recipe.batch_size} is more than the {jets} jets to train on: "
            "take a smaller batch_size, or more jets"
        )
    return recipe


def _occupy(fabric, folder: Path, stack: ExitStack, config: dict | None, overwrite: bool) -> None:
    """Hold a run folder until the stack is closed; with a configuration, a new run begins there."""
    runs.on_first_process(fabric, owners.hold, folder, stack)
    if config is not None:
        runs.on_first_process(fabric, runs.start, folder, config, overwrite)


def configuration(
    model: JetAutoencoder,
    train: JetImages,
    validation: JetImages,
    recipe: Recipe,
    seed: int,
    **notes: Any,
) -> dict[str, Any]:
    """What decides the outcome of a training, as plain values for `config.json`."""
    return {
        **description(model),
        "recipe": asdict(recipe),
        "seed": seed,
        "source": train.source,
        "train": {"jets": len(train), "fingerprint": train.fingerprint()},
        "validation": {"jets": len(validation), "fingerprint": validation.fingerprint()},
        **notes,
    }


def _run(
    training: Training, saver: "Saver", watch: Sequence[Callable], name: str, shown: bool
) -> str:
    """Run the remaining epochs, or stop early on request: where it stopped, in words, or ""."""
    model, recipe = training.model, training.recipe
    several = training.fabric.world_size > 1
    shared = distributed.batch_norm_over_processes(model) if several else nullcontext()
    compiling = compiler_named(training.engine)
    good = copy.deepcopy(model.state_dict())
    done = min(training.batch * recipe.batch_size, len(training.train))
    done += len(training.history) * len(training.train)
    bar, stopped = new_bar(name, recipe.epochs, len(training.train), done, shown), ""
    try:
        with interruptible() as interruption, shared, compiling:
            callbacks = FitCallbacks(training, bar, interruption, saver)
            while len(training.history) < recipe.epochs:
                bar.epoch(training.epoch(callbacks))
                saver.save(epoch_done=True)
                good = copy.deepcopy(model.state_dict())
                for watcher in watch:
                    watcher(training.history)
    except Stopped:
        saver.save()
        stopped = f"stopped in epoch {len(training.history) + 1} of {recipe.epochs}"
        stopped += f", after {training.batch} of {training.batches} batches"
    except FloatingPointError:
        model.load_state_dict(good)
        raise
    finally:
        bar.close(training.history, stopped)
    return stopped


def _tell(stopped: str, out: str | Path | None, resume: bool | str) -> None:
    """Say how to go on; a notebook stops here, so that nothing that needs the result is run."""
    if out is None:
        how = "give out= to be able to resume"
    elif not notebook():
        how = "resume=True, or --resume, goes on"
    elif resume:
        how = "run this cell again to go on"
    else:
        how = 'to go on, run this cell again with resume="auto"'
    if notebook():
        raise Stopped(f"{stopped}: {how}")
    tqdm.write(f"{stopped}: {how}", file=sys.stderr)


class FitCallbacks(Callbacks):
    """Checks the loss, moves the bar, stops on request, saves by the clock."""

    def __init__(
        self, training: Training, bar: Bar, interruption: threading.Event, saver: "Saver"
    ) -> None:
        self._training, self._bar = training, bar
        self._interruption, self._saver = interruption, saver

    def check_loss(self, loss: float, what: str) -> None:
        """Raise FloatingPointError if the loss is infinite or NaN."""
        if not abs(loss) < float("inf"):
            training = self._training
            batch = min(training.batch + 1, training.batches)
            raise FloatingPointError(
                f"the {what} is {loss} in epoch {len(training.history) + 1}, batch {batch} of "
                f'{training.batches}: lower the learning rate, or try precision "32-true" or the '
                "log scaling; the weights of the last epoch's end are kept"
            )

    def after_batch(self, jets: int, loss: float) -> None:
        """Move the bar; stop (by `Stopped`) or save if any process asks for it."""
        self._bar.update(jets, loss)
        stop, save = self._any_process(self._interruption.is_set(), self._saver.is_due())
        if stop:
            raise Stopped
        if save:
            self._saver.save()

    def after_validation_batch(self) -> None:
        """Stop if any process asks for it."""
        (stop,) = self._any_process(self._interruption.is_set())
        if stop:
            raise Stopped

    def _any_process(self, *flags: bool) -> Sequence[bool | float]:
        fabric = self._training.fabric
        return flags if fabric.world_size == 1 else distributed.summed(fabric, flags)


class Saver:
    """Puts a training into its run folder: at each epoch's end, and in between by the clock."""

    def __init__(
        self, training: Training, folder: Path | None, every: float, config: dict | None = None
    ) -> None:
        self._training, self.folder, self._every = training, folder, every
        self._config = config
        self._last = time.monotonic()

    def is_due(self) -> bool:
        """Whether `every` seconds have passed since the last save."""
        return self.folder is not None and time.monotonic() - self._last >= self._every

    def save(self, epoch_done: bool = False) -> None:
        """Save now, in the first process; all fail if that fails."""
        if self.folder is not None:
            runs.on_first_process(self._training.fabric, self._save, epoch_done)
            self._last = time.monotonic()

    def _save(self, epoch_done: bool) -> None:
        training, config = self._training, self._config
        runs.refuse_if_taken(self.folder, config)
        state = runs.state_of(training, config)
        broken = [n for n, weight in state["model"].items() if not weight.isfinite().all()]
        if broken:
            epoch = len(training.history) + (not epoch_done)
            raise FloatingPointError(
                f"{broken[0]} has entries that are no numbers in epoch {epoch}, after batch "
                f"{training.batch}: lower the learning rate; what was saved before is kept"
            )
        if epoch_done:
            runs.save_epoch(self.folder, training.model, training.history, config)
        runs.save_checkpoint(self.folder, state)
