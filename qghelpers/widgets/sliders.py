"""Sliders above figures that the kernel draws: a pure `render`, and callbacks that pass it on."""

from base64 import b64encode
from collections.abc import Callable
from io import BytesIO
from typing import Any

import ipywidgets
from matplotlib.figure import Figure


def render(figure: Figure, dpi: float = 80) -> bytes:
    """The figure as a PNG."""
    buffer = BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()


class Slider(ipywidgets.VBox):
    """A slider above a picture. Where it cannot be moved, the picture stands in its place."""

    def _repr_mimebundle_(self, **options: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        position, picture = self.children
        words = f"{position.description} {position.value}, of 0 to {position.max}"
        data = super()._repr_mimebundle_(**options)
        data["image/png"] = b64encode(picture.value).decode()
        return data, {"image/png": {"alt": f"{words}; run the notebook to see the others"}}


def slider(draw: Callable[[int], Figure], count: int, name: str) -> Slider:
    """A slider from 0 to `count - 1` above the figure that `draw` makes for its position."""
    position = ipywidgets.IntSlider(max=count - 1, description=name, continuous_update=False)
    picture = ipywidgets.Image(value=render(draw(0)), format="png")

    def show(change) -> None:
        picture.value = render(draw(change["new"]))

    position.observe(show, names="value")
    return Slider([position, picture])
