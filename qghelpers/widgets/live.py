"""Pictures that change while something runs."""

from base64 import b64encode

from IPython import get_ipython
from IPython.display import display

from qghelpers.plots import loss_curves
from qghelpers.widgets.sliders import render

DENSE = 2  # pixels of the picture per pixel of a plain screen, so that it is sharp on a dense one


class LossCurve:
    """A loss curve that grows while a network is trained: `fit(..., watch=[qg.LossCurve()])`.

    It appears where the training runs, and stays there as a picture. Given to another training,
    it begins a new picture and leaves the one before.

    Args:
        zero: the all-zero image's loss, drawn as a line.

    Attributes:
        picture: the last one, a PNG; empty before the end of the first epoch.
    """

    def __init__(self, zero: float | None = None) -> None:
        self._zero = zero
        self._history: list[dict[str, float]] | None = None  # the training's own list, which grows
        self._place = None
        self.picture = b""

    def show(self) -> "LossCurve":
        """Let the first training's curve appear here instead."""
        words = {"text/plain": "The loss curve appears here after the first epoch."}
        self._place = display(words, raw=True, display_id=True) if get_ipython() else None
        return self

    def __call__(self, history: list[dict[str, float]]) -> None:
        """Draw the history so far."""
        if self._history is not None and history is not self._history:  # another training's
            self._place = None
        self._history = history
        figure = loss_curves(history, self._zero)
        self.picture = render(figure, 80 * DENSE)
        if get_ipython() is None:
            return
        width, height = (80 * figure.get_size_inches()).astype(int).tolist()
        last, words = history[-1], f"Loss curve, {len(history)} epochs"
        losses = f"training {last['train_loss']:.4g}, validation {last['validation_loss']:.4g}"
        data = {"image/png": b64encode(self.picture).decode(), "text/plain": words}
        about = {"alt": f"{words}: {losses}", "width": width, "height": height}
        options = {"raw": True, "metadata": {"image/png": about}}
        if self._place is None:
            self._place = display(data, display_id=True, **options)
        else:
            self._place.update(data, **options)
