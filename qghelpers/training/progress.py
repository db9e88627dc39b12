"""How far a training is, and how it is stopped: a bar in a terminal, one line in a notebook.

Watchers, such as `TensorBoard` here and `qghelpers.LossCurve`, are called after each epoch.
"""

import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tqdm import tqdm

from qghelpers.training.runs import History

EVERY = 0.5  # seconds between two updates of the line
BLOCKS = 20  # characters of its bar


class Stopped(Exception):
    """A training was stopped on request; in a notebook it is shown as one line."""

    def _render_traceback_(self) -> list[str]:  # IPython asks for it
        return [str(self)]


def notebook() -> Any:
    """IPython's shell if this is a notebook or an IPython session, else None."""
    module = sys.modules.get("IPython")
    return module.get_ipython() if module else None


def new_bar(name: str, epochs: int, jets: int, done: int, shown: bool = True) -> "Bar":
    """What shows the progress here: a `Line` where there is a notebook's kernel, else a `Bar`.

    Args:
        name: of the training.
        epochs: of the whole training.
        jets: in an epoch.
        done: images trained on before.
        shown: whether anything is shown.
    """
    in_kernel = shown and hasattr(notebook(), "kernel")
    return (Line if in_kernel else Bar)(name, epochs, jets, done, shown)


class Bar:
    """A bar for the whole training: loss, images per second, time left."""

    def __init__(self, name: str, epochs: int, jets: int, done: int, shown: bool = True) -> None:
        self._name, self._epochs = name, epochs
        self._bar = tqdm(
            total=epochs * jets,
            initial=done,
            desc=self._description(done // jets + 1),
            unit=" images",
            mininterval=1,
            disable=not shown,
        )
        self._validation = ""

    def _description(self, epoch: int) -> str:
        return f"{self._name}, epoch {min(epoch, self._epochs)}/{self._epochs}"

    def update(self, jets: int, loss: float) -> None:
        """This many more jets were trained on, with this mean loss."""
        self._bar.set_postfix_str(f"loss {loss:.4g}{self._validation}", refresh=False)
        self._bar.update(jets)

    def epoch(self, row: dict[str, float]) -> None:
        """An epoch is over, with this row in the history."""
        self._validation = f", validation {row['validation_loss']:.4g}"
        self._bar.set_postfix_str(f"loss {row['train_loss']:.4g}{self._validation}")
        self._bar.set_description(self._description(row["epoch"] + 1))

    def close(self, history: History, stopped: str = "") -> None:
        """The training is over, or was stopped in the way that `stopped` says."""
        self._bar.close()


class Line(Bar):
    """The same in a notebook: one output that is updated, and stored as one line at the end."""

    def __init__(self, name: str, epochs: int, jets: int, done: int, shown: bool = True) -> None:
        from IPython.display import display

        self._name, self._epochs, self._validation = name, epochs, ""
        self._jets, self._before, self._done = jets, done, done
        self._started = self._updated = time.monotonic()
        self._place = display(self._bundle(f"{name}: starts"), raw=True, display_id=True)

    @staticmethod
    def _bundle(text: str) -> dict[str, str]:
        return {"text/plain": text}

    def _show(self, text: str) -> None:
        self._place.update(self._bundle(f"{self._name}: {text}"), raw=True)
        self._updated = time.monotonic()

    def update(self, jets: int, loss: float) -> None:
        """See `Bar.update`."""
        self._done += jets
        if time.monotonic() - self._updated >= EVERY:
            self._running(loss)

    def epoch(self, row: dict[str, float]) -> None:
        """See `Bar.epoch`."""
        self._validation = f", validation {row['validation_loss']:.4g}"
        self._running(row["train_loss"])

    def _running(self, loss: float) -> None:
        total = self._epochs * self._jets
        speed = (self._done - self._before) / max(time.monotonic() - self._started, 1e-3)
        full = BLOCKS * self._done // total
        epoch = min(self._done // self._jets + 1, self._epochs)
        left = (total - self._done) / max(speed, 1e-3)
        bar = "█" * full + "░" * (BLOCKS - full)
        self._show(
            f"epoch {epoch} of {self._epochs} {bar} {left:.0f} s left, "
            f"{speed:.0f} images/s, loss {loss:.4g}{self._validation}"
        )

    def close(self, history: History, stopped: str = "") -> None:
        """See `Bar.close`."""
        if not stopped and len(history) < self._epochs:  # by an error
            stopped = f"ended early, after {len(history)} of {self._epochs} epochs"
        if stopped:
            self._show(stopped)
            return
        seconds, loss = sum(row["seconds"] for row in history), history[-1]["validation_loss"]
        epochs = "1 epoch" if len(history) == 1 else f"{len(history)} epochs"
        self._show(f"{epochs}, {seconds:.0f} s, validation {loss:.4g}")


class TensorBoard:
    """Writes each epoch's row for `tensorboard --logdir`, to be passed to `fit(watch=[...])`.

    Args:
        folder: to write to.

    Raises:
        ImportError: TensorBoard is not installed.
    """

    def __init__(self, folder: str | Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ImportError("TensorBoard is not installed: pip install tensorboard") from error
        self._make, self._writer, self._folder = SummaryWriter, None, str(folder)

    def __call__(self, history: History) -> None:
        """Write the last row of `history`; losses of one name lie in one chart."""
        if self._writer is None:  # not before there is something to write: the run may be refused
            self._writer = self._make(self._folder)
        row = history[-1]
        for name, value in row.items():
            kind, _, part = name.partition("_")
            tag = f"{part}/{kind}" if kind in ("train", "validation") else f"run/{name}"
            self._writer.add_scalar(tag, value, row["epoch"])
        self._writer.flush()


@contextmanager
def interruptible() -> Iterator[threading.Event]:
    """Record SIGINT (Ctrl-C) and SIGTERM (from a batch system) instead of stopping at once.

    A second SIGINT raises KeyboardInterrupt at once. Outside the main thread, where Python does
    not deliver signals, nothing changes.
    """
    interruption = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield interruption
        return

    def note(number: int, frame) -> None:
        if interruption.is_set() and number == signal.SIGINT:
            raise KeyboardInterrupt
        interruption.set()

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield interruption
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
