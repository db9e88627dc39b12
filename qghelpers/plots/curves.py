"""Figures of numbers: histograms, bars, curves, clouds of points."""

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from qghelpers.plots.frames import COLOURS, LABELS, LINES, grid_of_axes, robust_limits

__all__ = [
    "bars",
    "comparison",
    "histograms",
    "loss_curves",
    "roc_curves",
    "scatter_by_label",
    "score_histograms",
]
__dir__ = __all__.copy  # these names alone are offered by <Tab>


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
    figure, axes = grid_of_axes(1, len(columns), 3.8, 3.2)
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
    figure, axes = grid_of_axes(1, 1, 6, 3.6)
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


def scatter_by_label(points: np.ndarray, labels: np.ndarray, names: Sequence[str]) -> Figure:
    """Points with shape `(n, 2)` coloured by label, with limits that outliers cannot spoil."""
    figure, axes = grid_of_axes(1, 1, 6, 5)
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
    figure, axes = grid_of_axes(1, 1, 7, 3)
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
    figure, axes = grid_of_axes(1, 1, 8, 3.6)
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
    figure, axes = grid_of_axes(1, 1, 6, 3.6)
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
    figure, axes = grid_of_axes(1, 1, 5, 4.6)
    ax = axes[0, 0]
    for name, (false, true) in curves.items():
        ax.plot(false, true, label=name)
    ax.plot([0, 1], [0, 1], color="grey", linestyle="--", label="guessing")
    ax.set(xlabel="normal jets flagged", ylabel="anomalies found", aspect="equal")
    ax.legend(fontsize="small")
    return figure
