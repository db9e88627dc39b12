"""Figures. Every function takes arrays and returns a matplotlib figure; none shows it."""

import itertools
from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.colors import LogNorm, PowerNorm
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from matplotlib.ticker import MaxNLocator

from qghelpers.data.layout import CHANNELS, GEV_PER_UNIT, GLUON, IMAGE_SIZE, PIXEL_WIDTH, QUARK
from qghelpers.pictures import COLOUR_MAP, JET_SCALES, common_scale, show_in_notebooks

__all__ = [
    "bars",
    "bent_tracks",
    "comparison",
    "feature_maps",
    "histograms",
    "images",
    "loss_curves",
    "particles",
    "reconstruction",
    "robust_limits",
    "roc_curves",
    "scatter_by_label",
    "score_histograms",
]
__dir__ = __all__.copy  # these names alone are offered by <Tab>

HALF = IMAGE_SIZE * PIXEL_WIDTH / 2  # half the width of an image, in eta or in radians
COLOURS = {"quark": "tab:blue", "gluon": "tab:orange"}
LINES = {"quark": "-", "gluon": "--"}
LABELS = {"quark": QUARK, "gluon": GLUON}


def _axes(rows: int, columns: int, width: float, height: float, layout: str = "constrained"):
    """A figure and its axes; what stands beside a square axis needs the layout "compressed"."""
    size = width * columns, height * rows
    figure, axes = plt.subplots(rows, columns, figsize=size, layout=layout, squeeze=False)
    show_in_notebooks()
    plt.close(figure)  # the caller decides whether and where it is shown
    return figure, axes


def particles(
    kinds: dict[str, tuple[np.ndarray, np.ndarray, np.ndarray]],
    jet_eta: float,
    jet_phi: float,
    radius: float,
) -> Figure:
    """Particles around a jet axis, discs whose area grows with transverse momentum.

    Args:
        kinds: name of each kind of particle and its `eta`, `phi` and `pt` in GeV.
        jet_eta, jet_phi: the jet's axis.
        radius: of the circle that is drawn around it.
    """
    figure, axes = _axes(1, 1, 6.4, 5, "compressed")
    ax = axes[0, 0]
    for name, (eta, phi, pt) in kinds.items():
        d_phi = (phi - jet_phi + np.pi) % (2 * np.pi) - np.pi
        ax.scatter(eta - jet_eta, d_phi, s=12 * pt, alpha=0.5, linewidths=0, label=name)
    ax.add_patch(Circle((0, 0), radius, fill=False, linestyle="--", label=f"jet, R = {radius:g}"))
    ax.set(xlabel="Δη", ylabel="Δφ [rad]", xlim=(-HALF, HALF), ylim=(-HALF, HALF), aspect="equal")
    ax.locator_params(nbins=5)
    legend = ax.legend(loc="upper left", bbox_to_anchor=(1, 1), title="area ∝ pT")
    for handle in legend.legend_handles[: len(kinds)]:
        handle.set_sizes([40])
    return figure


def bent_tracks(paths: np.ndarray, charges: np.ndarray, radius: float) -> Figure:
    """Charged particles seen along the beam, from the collision to the calorimeters.

    Args:
        paths: x and y in metres at some steps, with shape `(2, steps, particles)`.
        charges: with shape `(particles,)`.
        radius: of the calorimeter's inner face in metres.
    """
    figure, axes = _axes(1, 1, 5.4, 5, "compressed")
    ax = axes[0, 0]
    for name, sign, colour in (("positive", 1, "tab:red"), ("negative", -1, "tab:blue")):
        x, y = paths[:, :, np.sign(charges) == sign]
        ax.plot(x, y, color=colour, linewidth=1, alpha=0.7)
        ax.plot([], [], color=colour, label=f"{name} charge")
    ax.add_patch(Circle((0, 0), radius, fill=False, linewidth=3, color="grey", label="ECAL"))
    ax.set(xlabel="x [m]", ylabel="y [m]", aspect="equal")
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def images(rows: dict[str, np.ndarray], half_width: float = HALF, fixed: bool = False) -> Figure:
    """Jet images, a row each and a column for each channel, on one log colour scale a column.

    Args:
        rows: title of each row and its image in GeV/100, with shape `(3, H, W)`.
        half_width: show this much on each side of the centre, in eta and in radians.
        fixed: use `JET_SCALES`, else what `common_scale` finds; fainter pixels stay white.
    """
    height = 3.5 + 0.5 / len(rows)  # of a picture, and its share of the bar below
    figure, axes = _axes(len(rows), len(CHANNELS), 4, height, "compressed")
    for column, channel in enumerate(CHANNELS):
        stack = GEV_PER_UNIT * np.stack([np.asarray(image[column]) for image in rows.values()])
        scale = JET_SCALES[column] if fixed else common_scale(stack)
        norm = LogNorm(scale.floor, scale.top)
        for ax, title, pixels in zip(axes[:, column], rows, stack, strict=True):
            shown = np.ma.masked_less(pixels, scale.floor)
            place = {"origin": "lower", "extent": (-HALF, HALF, -HALF, HALF)}
            mesh = ax.imshow(shown.T, COLOUR_MAP, norm, interpolation="nearest", **place)
            ax.set(title=f"{title}: {channel}", xlabel="Δη", ylabel="Δφ [rad]")
            ax.set(xlim=(-half_width, half_width), ylim=(-half_width, half_width))
        label = f"GeV per pixel; white: below {scale.floor:.1g}"
        figure.colorbar(mesh, ax=axes[:, column], label=label, location="bottom", pad=0.01)
    return figure


def reconstruction(original: np.ndarray, reconstructed: np.ndarray) -> Figure:
    """A jet, what a network made of it, and the size of the difference, in three rows.

    Args:
        original, reconstructed: in GeV/100, with shape `(3, H, W)`.
    """
    difference = np.abs(np.asarray(reconstructed) - np.asarray(original))
    rows = {"original": original, "reconstruction": reconstructed, "|difference|": difference}
    return images(rows, half_width=0.6)


def feature_maps(levels: dict[str, np.ndarray], shown: int = 4) -> Figure:
    """What some layers of a network make of one jet: a row each, with a colour scale each.

    The scale rises fast from zero, so that faint activations show beside the brightest.

    Args:
        levels: title of each layer and its maps, with shape `(k, H, W)`; those that vary most
            are shown.
        shown: how many.
    """
    figure, axes = _axes(len(levels), shown, 2.6, 2.4)
    for row, (title, maps) in zip(axes, levels.items(), strict=True):
        maps = np.asarray(maps)
        liveliest = np.argsort(-maps.std(axis=(1, 2)), kind="stable")[:shown]
        scale = PowerNorm(0.4, vmin=0, vmax=float(maps[liveliest].max()) or 1)
        for ax, index in zip(row, liveliest, strict=False):
            mesh = ax.imshow(maps[index].T, origin="lower", norm=scale, cmap="magma")
            ax.set(title=f"{title}: map {index}", xticks=[], yticks=[])
        figure.colorbar(mesh, ax=row, label="activation", shrink=0.9)
    return figure


def _edges(values: np.ndarray, bins: int) -> np.ndarray:
    """Bin edges around nearly all values; whole numbers are never cut in two."""
    low, high = np.quantile(values, [0.001, 0.999])
    if np.issubdtype(values.dtype, np.integer):
        step = max(1, round((high - low) / bins))
        return np.arange(np.floor(low), high + 1 + step, step) - 0.5
    return np.linspace(low, high, bins + 1)


def histograms(columns: dict[str, np.ndarray], labels: np.ndarray, bins: int = 40) -> Figure:
    """Distributions of some quantities, quark and gluon jets apart.

    Args:
        columns: name with unit of each quantity and its values, with shape `(n,)`.
        labels: with shape `(n,)`.
        bins: about how many.
    """
    figure, axes = _axes(1, len(columns), 3.8, 3.2)
    for ax, (name, values) in zip(axes[0], columns.items(), strict=True):
        edges = _edges(values, bins)
        for kind, label in LABELS.items():
            chosen = values[labels == label]
            look = {"color": COLOURS[kind], "linestyle": LINES[kind], "linewidth": 1.5}
            ax.hist(chosen, edges, histtype="step", label=kind, density=True, **look)
        ax.set(xlabel=name, ylabel="share of jets per unit")
    axes[0][0].legend()
    return figure


def loss_curves(history: list[dict[str, float]], zero: float | None = None) -> Figure:
    """Training and validation loss by epoch; `zero` is the all-zero image's loss."""
    figure, axes = _axes(1, 1, 6, 3.6)
    ax = axes[0, 0]
    epochs = [row["epoch"] for row in history]
    for kind in ("train", "validation"):
        ax.plot(epochs, [row[f"{kind}_loss"] for row in history], "o-", label=kind)
    if zero is not None:
        ax.axhline(zero, color="grey", linestyle="--", label="all-zero image")
    ax.set(xlabel="epoch", ylabel="loss per jet", yscale="log")
    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    ax.legend()
    return figure


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


def scatter_by_label(points: np.ndarray, labels: np.ndarray, names: Sequence[str]) -> Figure:
    """Points with shape `(n, 2)` coloured by label, with limits that outliers cannot spoil."""
    figure, axes = _axes(1, 1, 6, 5)
    ax = axes[0, 0]
    for kind, label in LABELS.items():
        x, y = points[labels == label].T
        ax.scatter(x, y, s=10, alpha=0.5, color=COLOURS[kind], label=kind)
    x_limits, y_limits = (robust_limits(coordinates) for coordinates in points.T)
    ax.set(xlabel=names[0], ylabel=names[1], xlim=x_limits, ylim=y_limits)
    ax.legend()
    return figure


def bars(
    values: Mapping[str, float | tuple[float, float]] | np.ndarray,
    xlabel: str,
    ylabel: str,
    reference: float | None = None,
) -> Figure:
    """A bar for each value.

    Args:
        values: by name, the height of each bar, or a pair of height and uncertainty; or heights
            alone, with shape `(k,)`, which are numbered.
        xlabel, ylabel: of the axes.
        reference: height of a dashed line, such as 0.5 for guessing.
    """
    figure, axes = _axes(1, 1, 7, 3)
    ax = axes[0, 0]
    named = isinstance(values, Mapping)
    table = np.array(list(values.values()) if named else values, float).reshape(len(values), -1)
    errors = table[:, 1] if table.shape[1] == 2 else None
    ax.bar(np.arange(len(table)), table[:, 0], yerr=errors, capsize=3)
    ax.set(xlabel=xlabel, ylabel=ylabel)
    if reference is not None:
        ax.axhline(reference, color="grey", linestyle="--")
    if named:
        ax.set_xticks(np.arange(len(values)), list(values))
    return figure


def comparison(
    table: dict[str, dict[str, tuple[float, float]]],
    columns: Sequence[str],
    ylabel: str = "error relative to all-zero image",
    reference: float | None = 1,
    log: bool = False,
) -> Figure:
    """Some columns of `metrics.compare`, with bootstrap error bars.

    Args:
        table: a row for each reconstruction; one that lacks a column has no bar there.
        columns: groups of bars.
        ylabel: of the axis.
        reference: height of a dashed line, or None.
        log: whether the vertical axis is logarithmic.
    """
    figure, axes = _axes(1, 1, 8, 3.6)
    ax = axes[0, 0]
    width = 0.8 / len(table)
    for index, (name, row) in enumerate(table.items()):
        nothing = float("nan"), 0.0
        values, uncertainties = zip(*(row.get(column, nothing) for column in columns), strict=True)
        x = np.arange(len(columns)) + (index - (len(table) - 1) / 2) * width
        ax.bar(x, values, width, yerr=uncertainties, label=name, capsize=2)
    if reference is not None:
        ax.axhline(reference, color="grey", linestyle="--")
    shown = [column.removeprefix("W1 ") for column in columns]
    ax.set_xticks(np.arange(len(columns)), shown, rotation=20 if len(columns) > 5 else 0)
    ax.set(ylabel=ylabel, yscale="log" if log else "linear")
    ax.legend(fontsize="small")
    return figure


def score_histograms(scores: dict[str, np.ndarray], xlabel: str, log: bool = False) -> Figure:
    """Distributions of one quantity for several kinds of jets; `log` for the vertical axis."""
    figure, axes = _axes(1, 1, 6, 3.6)
    ax = axes[0, 0]
    edges = _edges(np.concatenate(list(scores.values())), 40)
    lines = itertools.cycle(("-", "--", ":", "-."))  # to tell them apart without colours, too
    for (name, values), line in zip(scores.items(), lines, strict=False):
        look = {"linestyle": line, "linewidth": 1.5}
        ax.hist(values, edges, histtype="step", density=True, label=name, **look)
    ax.set(xlabel=xlabel, ylabel="share per unit", yscale="log" if log else "linear")
    ax.legend()
    return figure


def roc_curves(curves: dict[str, tuple[np.ndarray, np.ndarray]]) -> Figure:
    """Share of anomalies found against share of normal jets flagged, a line for each score."""
    figure, axes = _axes(1, 1, 5, 4.6)
    ax = axes[0, 0]
    for name, (false, true) in curves.items():
        ax.plot(false, true, label=name)
    ax.plot([0, 1], [0, 1], color="grey", linestyle="--", label="guessing")
    ax.set(xlabel="normal jets flagged", ylabel="anomalies found", aspect="equal")
    ax.legend(fontsize="small")
    return figure
