"""Figures of latent spaces: clouds of points, grids of pictures, lines with uncertainties."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from scipy.stats import gaussian_kde

from qghelpers.pictures import common_scale
from qghelpers.plots.frames import COLOURS, LABELS, draw_energies, grid_of_axes, robust_limits

__all__ = ["clouds", "coloured", "grid", "lines"]
__dir__ = __all__.copy  # these names alone are offered by <Tab>

MOST_POINTS = 5000  # that are drawn, and that a density is estimated from
FEWEST = 10  # points of a class for a density of it
SHARES = (0.9, 0.6, 0.3)  # of a class that its contours enclose
MESH = 60  # places per axis where a density is computed


def _thinned(count: int) -> np.ndarray:
    """Which of so many points are drawn: a random choice, the same each time."""
    return np.random.default_rng(0).permutation(count)[:MOST_POINTS]


def clouds(
    panels: Mapping[str, np.ndarray],
    labels: np.ndarray,
    names: Sequence[str],
    whole: Sequence[str] = (),
) -> Figure:
    """Points of quark and gluon jets, with the contours of each class's density.

    The contours enclose 30, 60 and 90 % of a class. The density is a Gaussian kernel estimate
    (scipy's, with Scott's rule).

    Args:
        panels: title of each panel and its points, with shape `(n, 2)`.
        labels: with shape `(n,)`.
        names: of the two axes.
        whole: titles of the panels whose axes reach to the last point; without contours.
    """
    figure, axes = grid_of_axes(1, len(panels), 4.6, 4.2)
    for ax, (title, points) in zip(axes[0], panels.items(), strict=True):
        limits = [robust_limits(coordinates) for coordinates in points.T]
        chosen = _thinned(len(points))
        for kind, label in LABELS.items():
            of_class = chosen[labels[chosen] == label]
            ax.scatter(*points[of_class].T, s=8, alpha=0.35, linewidths=0, color=COLOURS[kind])
            if title not in whole:
                _contours(ax, points[of_class], limits, COLOURS[kind])
            ax.plot([], [], color=COLOURS[kind], label=kind)
        if title in whole:  # every point, the outliers too
            ax.scatter(*points.T, s=14, linewidths=0, color="grey", zorder=0)
        else:
            ax.set(xlim=limits[0], ylim=limits[1])
        ax.set(title=title, xlabel=names[0], ylabel=names[1])
    axes[0][0].legend()
    return figure


def _contours(ax, points: np.ndarray, limits: list[tuple[float, float]], colour: str) -> None:
    """Lines that enclose `SHARES` of the points; those beyond the limits shape no density."""
    inside = np.all(
        [(x > low) & (x < high) for x, (low, high) in zip(points.T, limits, strict=True)], axis=0
    )
    if inside.sum() < FEWEST:
        return
    density = gaussian_kde(points[inside].T)
    x, y = (np.linspace(low, high, MESH) for low, high in limits)
    mesh = np.stack(np.meshgrid(x, y))
    heights = density(mesh.reshape(2, -1)).reshape(MESH, MESH)
    levels = np.quantile(density(points.T), [1 - share for share in SHARES])
    ax.contour(x, y, heights, levels=levels, colors=colour, linewidths=1.4)


def coloured(
    points: np.ndarray,
    quantities: Mapping[str, np.ndarray],
    names: Sequence[str],
    cyclic: Sequence[str] = (),
) -> Figure:
    """The same points once for each quantity, in its colours, with limits as in `clouds`.

    Args:
        points: with shape `(n, 2)`.
        quantities: name with unit of each quantity and its values, with shape `(n,)`.
        names: of the two axes.
        cyclic: names of the quantities that are angles, in degrees from -180 to 180: their colours
            meet at both ends.
    """
    figure, axes = grid_of_axes(1, len(quantities), 4.6, 4.0)
    chosen = _thinned(len(points))
    limits = [robust_limits(coordinates) for coordinates in points.T]
    for ax, (name, values) in zip(axes[0], quantities.items(), strict=True):
        low, high = (-180, 180) if name in cyclic else np.quantile(values, [0.02, 0.98])
        look = {"cmap": "hsv" if name in cyclic else "viridis", "vmin": low, "vmax": high}
        shown = ax.scatter(*points[chosen].T, s=9, linewidths=0, c=values[chosen], **look)
        ticks = [-180, -90, 0, 90, 180] if name in cyclic else None
        figure.colorbar(shown, ax=ax, ticks=ticks)
        ax.set(title=name, xlabel=names[0], ylabel=names[1], xlim=limits[0], ylim=limits[1])
    return figure


def grid(
    rows: Mapping[str, np.ndarray], titles: Sequence[str] | None = None, half_width: float = 0.6
) -> Figure:
    """Pictures of energies on one log colour scale: a row of them for each name.

    Args:
        rows: name of each row and its pictures in GeV per pixel, each with shape `(k, H, W)`;
            pixels as wide as those of a jet image, around the same centre. Rows may be shorter.
        titles: of the columns.
        half_width: shown on each side of the centre, in eta and in radians.
    """
    columns = max(map(len, rows.values()))
    figure, axes = grid_of_axes(len(rows), columns, 1.5, 1.55, "compressed")
    scale = common_scale(np.concatenate(list(rows.values())))
    norm = LogNorm(scale.floor, scale.top)
    for line, (name, pictures) in zip(axes, rows.items(), strict=True):
        for ax in line:
            ax.set(xticks=[], yticks=[])
        for ax in line[len(pictures) :]:
            ax.axis("off")
        for ax, picture in zip(line, pictures, strict=False):
            mesh = draw_energies(ax, picture, norm, half_width)
        line[0].set_ylabel(name, fontsize="small")
    for ax, title in zip(axes[0], titles or (), strict=False):
        ax.set_title(title, fontsize="small")
    figure.colorbar(mesh, ax=axes, label="GeV per pixel", shrink=0.9)
    return figure


def lines(
    panels: Mapping[str, Mapping[str, np.ndarray]],
    xlabel: str,
    x: Sequence[float] | np.ndarray,
    log: bool = False,
) -> Figure:
    """Values with their uncertainties against one quantity.

    Args:
        panels: the vertical axis of each panel, and its lines by name, each with shape `(k,)` or,
            with uncertainties, `(k, 2)`.
        xlabel: the horizontal axis.
        x: where the values are, with shape `(k,)`; a line may end before the last.
        log: whether the horizontal axis is logarithmic, with a tick at each of `x`.
    """
    figure, axes = grid_of_axes(1, len(panels), 6 if len(panels) == 1 else 4, 3.6)
    for ax, (ylabel, by_name) in zip(axes[0], panels.items(), strict=True):
        for name, values in by_name.items():
            values = np.asarray(values, float).reshape(len(values), -1)
            errors = values[:, 1] if values.shape[1] == 2 else None
            ax.errorbar(x[: len(values)], values[:, 0], errors, marker=".", capsize=3, label=name)
        ax.set(xlabel=xlabel, ylabel=ylabel, xscale="log" if log else "linear")
        ax.xaxis.set_major_locator(MaxNLocator(integer=True))
        if log:
            ax.set_xticks(x, [f"{value:g}" for value in x])
            ax.minorticks_off()
    axes[0][0].legend(fontsize="small")
    return figure
