"""Pictures that change while something runs."""

import ipywidgets
from IPython.display import display

from qghelpers.plots import loss_curves
from qghelpers.widgets.sliders import render


class LossCurve:
    """A loss curve that grows while a network is trained: `fit(..., watch=[curve.show()])`.

    Args:
        zero: the all-zero image's loss, drawn as a line.
    """

    def __init__(self, zero: float | None = None) -> None:
        self._zero = zero
        self.picture = ipywidgets.Image(format="png")

    def show(self) -> "LossCurve":
        """Display the picture here, empty as yet."""
        display(self.picture)
        return self

    def __call__(self, history: list[dict[str, float]]) -> None:
        """Draw the history so far."""
        self.picture.value = render(loss_curves(history, self._zero))
