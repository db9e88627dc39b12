"""Sliders above figures that the kernel draws: a pure `render`, and callbacks that pass it on."""

from collections.abc import Callable
from io import BytesIO

import ipywidgets
from matplotlib.figure import Figure


def render(figure: Figure, dpi: float = 80) -> bytes:
    """The figure as a PNG."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()


def slider(draw: Callable[[int], Figure], count: int, name: str) -> ipywidgets.Widget:
    """A slider from 0 to `count - 1` above the figure that `draw` makes for its position."""
    position = ipywidgets.IntSlider(max=count - 1, description=name, continuous_update=False)
    picture = ipywidgets.Image(value=render(draw(0)), format="png")

    def show(change) -> None:
        picture.value = render(draw(change["new"]))

    position.observe(show, names="value")
    return ipywidgets.VBox([position, picture])
