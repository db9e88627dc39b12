"""What one sees of a training while it runs: a bar, and curves in TensorBoard."""

from pathlib import Path

from tqdm import tqdm

from qghelpers.training.recipes import Recipe
from qghelpers.training.runs import History


class Bar:
    """A bar for the whole training: loss, images a second, time left."""

    def __init__(self, recipe: Recipe, jets: int, done: int, shown: bool = True) -> None:
        self._epochs = recipe.epochs
        self._bar = tqdm(
            total=recipe.epochs * jets,
            initial=done,
            desc=f"epoch {min(done // jets + 1, recipe.epochs)}/{recipe.epochs}",
            unit=" images",
            mininterval=1,
            disable=not shown,
        )
        self._checked = ""

    def __enter__(self) -> "Bar":
        return self

    def __exit__(self, *error) -> None:
        self._bar.close()

    def update(self, jets: int, loss: float) -> None:
        """This many more jets were trained on, with this mean loss."""
        self._bar.set_postfix_str(f"loss {loss:.4g}{self._checked}", refresh=False)
        self._bar.update(jets)

    def epoch(self, row: dict[str, float]) -> None:
        """An epoch is over, with this row in the history."""
        self._checked = f", validation {row['validation_loss']:.4g}"
        self._bar.set_postfix_str(f"loss {row['train_loss']:.4g}{self._checked}")
        self._bar.set_description(f"epoch {min(row['epoch'] + 1, self._epochs)}/{self._epochs}")


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
