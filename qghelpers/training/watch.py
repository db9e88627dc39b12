"""Watchers of a training: called after each epoch, `fit(..., watch=[TensorBoard("runs/tb")])`.

`qghelpers.LossCurve`, for notebooks, is another one.
"""

from pathlib import Path

from qghelpers.training.runs import History


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
