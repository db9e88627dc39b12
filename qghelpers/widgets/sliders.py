"""Sliders to browse with: a pure `render`, and callbacks that only pass its result on."""

from collections.abc import Callable
from io import BytesIO

import ipywidgets
from matplotlib.figure import Figure


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
