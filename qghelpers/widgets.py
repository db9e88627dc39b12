"""Sliders to browse with: a pure `render`, and callbacks that only pass its result on."""

from collections.abc import Callable
from io import BytesIO

import ipywidgets
from IPython.display import display
from matplotlib.figure import Figure

from qghelpers.plots import loss_curves


def render(figure: Figure) -> bytes:
    """The figure as a PNG."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=80)
    return buffer.getvalue()


def browse(draw: Callable[[int], Figure], count: int, name: str = "jet") -> ipywidgets.Widget:
    """A slider from 0 to `count - 1` above the figure that `draw` makes for its position."""
    slider = ipywidgets.IntSlider(max=count - 1, description=name, continuous_update=False)
    picture = ipywidgets.Image(value=render(draw(0)), format="png")

    def show(change) -> None:
        picture.value = render(draw(change["new"]))

    slider.observe(show, names="value")
    return ipywidgets.VBox([slider, picture])


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
