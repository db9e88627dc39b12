"""How good is a reconstruction? Errors beside those of baselines, with uncertainties.

Judged is anything with a `scaling`, `reconstruct` (to scaled images) and `reconstruct_gev` (to
images in GeV/100): a network, or a baseline from `qghelpers.baselines`. No single image answers
all questions. Errors are smallest for a mean image, which is a blur; what a physicist measures,
and which pixels are lit, is asked of the sharp image that `typical` makes, if there is one.
"""

from collections.abc import Mapping
from typing import Protocol

import numpy as np
import torch
from scipy.stats import bootstrap, wasserstein_distance
from torch import Tensor, nn

from qghelpers.analysis import baselines
from qghelpers.analysis import observables as physics
from qghelpers.data.jets import JetImages
from qghelpers.data.layout import GEV_PER_UNIT

Table = dict[str, dict[str, tuple[float, float]]]
BATCH = 128
RESAMPLES = 200


class Autoencoder(Protocol):
    """What can be judged."""

    scaling: nn.Module

    def reconstruct(self, images: Tensor) -> Tensor:
        """Scaled reconstruction of images in GeV/100."""

    def reconstruct_gev(self, images: Tensor) -> Tensor:
        """Reconstruction in GeV/100."""


@torch.no_grad()
def reconstruct(model: nn.Module, images: Tensor, typical: bool = False) -> Tensor:
    """What a network makes of images, in their own unit, GeV/100.

    Args:
        model: it is put into evaluation mode.
        images: in GeV/100, with shape `(n, 3, 125, 125)`.
        typical: a sharp image instead of the mean one, where the network knows of any.
    """
    model.eval()
    if typical and hasattr(model, "typical"):
        return model.typical(images)
    return model.reconstruct_gev(images)


def same_scaling(a: nn.Module, b: nn.Module) -> bool:
    """Whether two fitted scalings do the same."""
    first, second = a.state_dict(), b.state_dict()
    return type(a) is type(b) and all(torch.equal(first[name], second[name]) for name in first)


@torch.no_grad()
def errors(model: Autoencoder, scaling: nn.Module, jets: JetImages) -> dict[str, np.ndarray]:
    """How a reconstruction errs, jet by jet.

    Args:
        scaling: in whose space errors are taken; a model with another scaling is judged by its
            image in GeV, scaled.

    Returns:
        Summed over the pixels of a channel, with shape `(n, 3)`: `MSE` and `L1`, squared and
        absolute error in scaled units; `MSE GeV` and `L1 GeV`. Numbers of pixels, with shape
        `(n,)`: lit in `both`, or in `either` of original and reconstruction, `false`ly lit, and
        `unlit` in the original. All `qghelpers.observables` of the reconstruction.
    """
    direct = same_scaling(model.scaling, scaling)
    parts = []
    for images in jets.batches(BATCH):
        gev = model.reconstruct_gev(images)
        scaled = model.reconstruct(images) if direct else scaling(gev)
        off, off_gev = scaled - scaling(images), GEV_PER_UNIT * (gev - images)
        sharp = model.typical(images) if hasattr(model, "typical") else gev
        ours, theirs = physics.lit(sharp), physics.lit(images)
        part = {
            "MSE": off.square().sum(dim=(2, 3)),
            "L1": off.abs().sum(dim=(2, 3)),
            "MSE GeV": off_gev.square().sum(dim=(2, 3)),
            "L1 GeV": off_gev.abs().sum(dim=(2, 3)),
            "both": (ours & theirs).sum(dim=(1, 2, 3)),
            "either": (ours | theirs).sum(dim=(1, 2, 3)),
            "false": (ours & ~theirs).sum(dim=(1, 2, 3)),
            "unlit": (~theirs).sum(dim=(1, 2, 3)),
        }
        counts = {name: values.double().cpu().numpy() for name, values in part.items()}
        parts.append(counts | physics.observables(sharp))
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def with_error(statistic, *samples: np.ndarray) -> tuple[float, float]:
    """A statistic of the same jets' values, each with shape `(n,)`, and its bootstrap error."""
    result = bootstrap(
        samples,
        statistic,
        paired=True,
        vectorized=False,
        n_resamples=RESAMPLES,
        method="percentile",
        rng=0,
    )
    return float(statistic(*samples)), float(result.standard_error)


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> tuple[float, float]:
    """Sum over jets of one error relative to another's, and its bootstrap standard error.

    Args:
        numerator, denominator: of the same jets, with shape `(n,)`.
    """
    return with_error(lambda a, b: a.sum() / max(b.sum(), 1e-12), numerator, denominator)


def wasserstein(truth: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """Wasserstein-1 distance in standard deviations of the truth, and its bootstrap error.

    Args:
        truth, other: with shape `(n,)`, of the same jets or of as many others.
    """
    scale = truth.std() or 1.0
    return with_error(lambda a, b: wasserstein_distance(a, b) / scale, truth, other)


def compare(models: Mapping[str, Autoencoder], scaling: nn.Module, jets: JetImages) -> Table:
    """Every reconstruction judged by all that we know to ask.

    Returns:
        For each name, values with their bootstrap standard errors. `MSE`, `L1`, `MSE GeV` and
        `L1 GeV` relative to the all-zero image, of all channels together and of each, such as
        `MSE Tracks`: below 1 is better than blank. `IoU`: pixels lit in both images, of those
        lit in either. `false lit`: the share of unlit pixels that the reconstruction lights.
        `W1 ...`: how far the distribution of an observable is from the originals', in their
        standard deviations. `parameters`: numbers that were fitted.
    """
    nothing = errors(baselines.zero(scaling), scaling, jets)
    truth = physics.of_jets(jets)
    table = {}
    for name, model in models.items():
        own = errors(model, scaling, jets)
        row = {}
        for kind in ("MSE", "L1", "MSE GeV", "L1 GeV"):
            row[kind] = ratio(own[kind].sum(axis=1), nothing[kind].sum(axis=1))
            for index, channel in enumerate(jets.channels):
                row[f"{kind} {channel}"] = ratio(own[kind][:, index], nothing[kind][:, index])
        row["IoU"] = ratio(own["both"], own["either"])
        row["false lit"] = ratio(own["false"], own["unlit"])
        row |= distances(truth, {name: own[name] for name in physics.NAMES})
        row["parameters"] = float(_parameters(model)), 0.0
        table[name] = row
    return table


def distances(
    truth: dict[str, np.ndarray], other: dict[str, np.ndarray]
) -> dict[str, tuple[float, float]]:
    """The `W1 ...` between two samples' observables, as many jets of each as both have."""
    size = min(len(values) for sample in (truth, other) for values in sample.values())
    return {
        f"W1 {name}": wasserstein(truth[name][:size], other[name][:size]) for name in physics.NAMES
    }


def _parameters(model: Autoencoder) -> int:
    if isinstance(model, nn.Module):
        return sum(weights.numel() for weights in model.parameters())
    return model.parameters


def format_table(table: Table, columns: list[str] | None = None) -> str:
    """The result of `compare` as text: a line for each quantity, a column for each model.

    Args:
        columns: quantities to show; all of them unless given.
    """
    names = columns or list(dict.fromkeys(name for row in table.values() for name in row))
    left = max(map(len, names))
    widths = [max(len(title), 15) + 2 for title in table]
    lines = [" " * left + "".join(f"{t:>{w}}" for t, w in zip(table, widths, strict=True))]
    for name in names:
        cells = [_cell(*row[name]) if name in row else "" for row in table.values()]
        shown = "".join(f"{cell:>{w}}" for cell, w in zip(cells, widths, strict=True))
        lines.append(f"{name:<{left}}{shown}")
    return "\n".join(lines)


def _cell(value: float, error: float) -> str:
    if value == int(value) and not error and value > 1:
        return f"{value:,.0f}"
    if 0 < abs(value) < 0.1:
        return f"{value:.4f} ± {error:.4f}"
    return f"{value:.3f} ± {error:.3f}"
