"""What all figures share: the grid of axes, the colours of quark and gluon, limits."""

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.image import AxesImage

from qghelpers.data.layout import GLUON, IMAGE_SIZE, PIXEL_WIDTH, QUARK
from qghelpers.pictures import COLOUR_MAP, show_in_notebooks

__all__ = [
    "COLOURS",
    "HALF",
    "LABELS",
    "LINES",
    "draw_energies",
    "grid_of_axes",
    "robust_limits",
]
__dir__ = __all__.copy  # these names alone are offered by <Tab>

HALF = IMAGE_SIZE * PIXEL_WIDTH / 2  # half the width of an image, in eta or in radians
COLOURS = {"quark": "tab:blue", "gluon": "tab:orange"}
LINES = {"quark": "-", "gluon": "--"}
LABELS = {"quark": QUARK, "gluon": GLUON}


def grid_of_axes(rows: int, columns: int, width: float, height: float, layout: str = "constrained"):
    """A figure and its axes; what stands beside a square axis needs the layout "compressed"."""
    size = width * columns, height * rows
    figure, axes = plt.subplots(rows, columns, figsize=size, layout=layout, squeeze=False)
    show_in_notebooks()
    plt.close(figure)  # the caller decides whether and where it is shown
    return figure, axes


def draw_energies(
    ax: Axes,
    energies: np.ndarray,
    norm: LogNorm,
    half_width: float,
    interpolation: str | None = "nearest",
) -> AxesImage:
    """Draw pixels in GeV, eta to the right and phi upwards; those below the scale stay white.

    Args:
        ax: where.
        energies: with shape `(H, W)`; pixels as wide as those of a jet image, around its centre.
        norm: the scale of the colours.
        half_width: shown on each side of the centre, in eta and in radians.
        interpolation: of matplotlib; None is its own choice.
    """
    half = HALF * len(energies) / IMAGE_SIZE
    shown = np.ma.masked_less(energies, norm.vmin)
    place = {"origin": "lower", "extent": (-half, half, -half, half)}
    mesh = ax.imshow(shown.T, COLOUR_MAP, norm, interpolation=interpolation, **place)
    ax.set(xlim=(-half_width, half_width), ylim=(-half_width, half_width))
    return mesh


def robust_limits(values: np.ndarray) -> tuple[float, float]:
    """Axis limits around all values but the outliers, with a margin of a tenth.

    Outliers lie more than three interquartile ranges beyond the middle half of the values
    (the outer fences of Tukey, "Exploratory Data Analysis", 1977), however few values there are.
    """
    first, third = np.quantile(values, [0.25, 0.75])
    reach = 3 * (third - first)
    kept = values[(values >= first - reach) & (values <= third + reach)]
    margin = 0.1 * (kept.max() - kept.min())
    return float(kept.min() - margin), float(kept.max() + margin)
