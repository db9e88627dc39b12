"""Energies to colours: 8-bit levels on a log scale, and what is drawn from them; figures in words.

A scale is fixed once over a set of images, so equal energies have equal colours in all of its
pictures. The more energy, the darker: each colour stands out from white by a contrast of 3 or
more, and their order is the same in grey and for colour-blind readers.
"""

import sys
from dataclasses import dataclass
from io import BytesIO

import matplotlib
import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from PIL import Image

__all__ = [
    "COLOUR_MAP",
    "DIFFERENCE",
    "ENERGY",
    "JET_SCALES",
    "Scale",
    "common_scale",
    "in_words",
    "png",
    "show_in_notebooks",
]
__dir__ = __all__.copy  # these names alone are offered by <Tab>

LEVELS = 255  # besides 0, which is not lit
SIGNED = 127  # levels of each sign in a difference: 1 to 127 too much, 129 to 255 too little
RANGE = 1e-3  # of the top: the bottom of a scale, unless the smallest lit pixel lies above it
WHITE = np.full((1, 3), 255, np.uint8)


def _colours(name: str, first: float, last: float, count: int) -> np.ndarray:
    """This part of a matplotlib colour map, uint8 with shape `(count, 3)`."""
    known = np.linspace(0, 1, 256)
    colours, wanted = matplotlib.colormaps[name](known), np.linspace(first, last, count)
    parts = [np.interp(wanted, known, colours[:, i]) for i in range(3)]  # between its 256, too
    return np.rint(255 * np.stack(parts, axis=1)).astype(np.uint8)


# palettes, uint8 with shape (256, 3), by level
ENERGY = np.concatenate([WHITE, _colours("magma_r", 0.34, 1, LEVELS)])
DIFFERENCE = np.concatenate(
    [WHITE, _colours("PuOr", 0.18, 0, SIGNED), WHITE, _colours("PuOr", 0.79, 1, SIGNED)]
)
COLOUR_MAP = ListedColormap(ENERGY[1:] / 255, "energy")  # of jet images in figures


@dataclass(frozen=True)
class Scale:
    """A log scale of energies: `floor` has level 1, `top` and all above it the last one.

    Attributes:
        floor: GeV; what is fainter has level 0 and stays white.
        top: GeV.
    """

    floor: float
    top: float

    def levels(self, energies: np.ndarray) -> np.ndarray:
        """The level of each energy in GeV: uint8 with the same shape, 0 to 255."""
        return self._levels(np.asarray(energies), LEVELS)

    def signed_levels(self, differences: np.ndarray) -> np.ndarray:
        """The same of differences: 1 to 127 if above zero, 129 to 255 if below, 0 if faint."""
        differences = np.asarray(differences)
        levels = self._levels(abs(differences), SIGNED)
        levels[(differences < 0) & (levels > 0)] += SIGNED + 1
        return levels

    def _levels(self, energies: np.ndarray, count: int) -> np.ndarray:
        levels = np.zeros(energies.shape, np.uint8)
        lit = energies >= self.floor
        steps = (count - 1) * np.log(energies[lit] / self.floor) / np.log(self.top / self.floor)
        levels[lit] = 1 + np.rint(np.minimum(steps, count - 1))
        return levels

    def energies(self, levels: np.ndarray) -> np.ndarray:
        """The energy in GeV that each level stands for; 0 for level 0."""
        share = (np.asarray(levels, float) - 1) / (LEVELS - 1)
        return np.where(np.equal(levels, 0), 0, self.floor * (self.top / self.floor) ** share)


# Of Tracks, ECAL and HCAL: from below the faintest lit pixel of a jet to about its brightest. With
# these, equal energies have equal colours in all figures.
JET_SCALES = Scale(0.1, 50.0), Scale(0.04, 20.0), Scale(0.03, 2.0)


def common_scale(energies: np.ndarray, share: float = 1.0) -> Scale:
    """The scale of one channel for a set of images.

    Args:
        energies: in GeV, with shape `(n, H, W)`; what is not above zero is not lit.
        share: of the images whose brightest pixel is to lie within the scale; those of the others
            have the darkest colour.
    """
    energies = np.asarray(energies)
    brightest = energies.reshape(len(energies), -1).max(axis=1)
    if not (brightest > 0).any():
        return Scale(RANGE, 1.0)
    top = float(np.quantile(brightest[brightest > 0], share))
    smallest = float(energies[energies > 0].min())
    return Scale(min(max(RANGE * top, smallest), top / 10), top)


def png(levels: np.ndarray, palette: np.ndarray = ENERGY, factor: int = 1) -> bytes:
    """A picture of levels, uint8 with shape `(eta, phi)`: eta to the right and phi upwards.

    Args:
        levels: see `Scale`.
        palette: the colour of each level, `ENERGY` or `DIFFERENCE`.
        factor: pixels of the picture per pixel of the image, a whole number.
    """
    rows = np.ascontiguousarray(levels.T[::-1])
    picture = Image.fromarray(rows.repeat(factor, axis=0).repeat(factor, axis=1), "P")
    picture.putpalette(palette.tobytes())
    buffer = BytesIO()
    picture.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def in_words(figure: Figure) -> str:
    """What a screen reader says of a figure: its label, or else the titles and names in it."""
    if figure.get_label():
        return figure.get_label()
    panels = []
    for ax in figure.axes:
        if ax.get_label() != "<colorbar>":
            sides = " against ".join(filter(None, [ax.get_ylabel(), ax.get_xlabel()]))
            names = ", ".join(ax.get_legend_handles_labels()[1])
            panels.append(": ".join(filter(None, [ax.get_title(), sides, names])))
    return "Figure. " + "; ".join(panels)


def show_in_notebooks() -> None:
    """Store what a figure shows `in_words` with its picture, as the metadata `alt`.

    And let IPython show figures also where $MPLBACKEND, such as Agg, keeps it from doing so.
    """
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    if shell is None:
        return
    shown = shell.display_formatter
    if Figure not in shown.formatters["image/png"]:
        from IPython.core.pylabtools import select_figure_formats

        select_figure_formats(shell, {"png"})
    shown.mimebundle_formatter.for_type(
        Figure, lambda figure, **_: ({}, {"image/png": {"alt": in_words(figure)}})
    )
