"""Many versions of a jet side by side."""

from collections.abc import Mapping

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from qghelpers.data.layout import CHANNELS, GEV_PER_UNIT
from qghelpers.pictures import COLOUR_MAP, common_scale
from qghelpers.plots import HALF, _axes

__all__ = ["gallery"]
__dir__ = __all__.copy  # these names alone are offered by <Tab>


def gallery(columns: Mapping[str, np.ndarray], half_width: float = 0.6) -> Figure:
    """Jet images, a column each and a row for each channel, on one log colour scale per channel.

    Args:
        columns: title of each column and its image in GeV/100, with shape `(3, H, W)`.
        half_width: show this much on each side of the centre, in eta and in radians.
    """
    figure, axes = _axes(len(CHANNELS), len(columns), 1.7, 1.75, "compressed")
    for row, (cells, channel) in enumerate(zip(axes, CHANNELS, strict=True)):
        stack = [GEV_PER_UNIT * np.asarray(image[row]) for image in columns.values()]
        scale = common_scale(np.stack(stack))
        norm, place = LogNorm(scale.floor, scale.top), (-HALF, HALF, -HALF, HALF)
        for ax, title, pixels in zip(cells, columns, stack, strict=True):
            shown = np.ma.masked_less(pixels, scale.floor).T
            mesh = ax.imshow(shown, COLOUR_MAP, norm, origin="lower", extent=place)
            limits = (-half_width, half_width)
            ax.set(xlim=limits, ylim=limits, xticks=[], yticks=[])
            ax.set_title("" if row else title, fontsize="small")
        cells[0].set_ylabel(channel)
        label = f"GeV per pixel;\nwhite: below {scale.floor:.1g}"
        figure.colorbar(mesh, ax=cells).set_label(label, fontsize="small")
    return figure
