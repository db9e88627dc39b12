"""Anomaly detection: scores of single jets, how well they find anomalies, and some to try."""

from collections.abc import Mapping

import numpy as np
import torch
from sklearn.metrics import auc, roc_curve
from torch import Tensor
from torch.nn import functional as F

from qghelpers.analysis import metrics
from qghelpers.analysis.tables import Table
from qghelpers.data.jets import joined
from qghelpers.data.layout import GEV_PER_UNIT, TOWER_SIZE, TOWERS_PER_SIDE
from qghelpers.networks.base import JetAutoencoder

__all__ = [
    "anomaly_scores",
    "dead_tracker",
    "hot_tower",
    "judge",
    "towers",
    "two_prong",
    "two_sided",
    "working_points",
]
__dir__ = __all__.copy  # these names alone are offered by <Tab>

SHIFT = 3 * TOWER_SIZE  # pixels by which each prong is moved, so that they are 0.52 in eta apart


@torch.no_grad()
def anomaly_scores(
    model: JetAutoencoder, images: Tensor, batch_size: int = 256
) -> dict[str, np.ndarray]:
    """How unusual a network finds images, and what can be said without any network.

    Args:
        model: it is put into evaluation mode.
        images: in GeV/100, with shape `(n, 3, 125, 125)`.
        batch_size: images at a time.

    Returns:
        `squared error` of the scaled reconstruction, summed over the pixels; the network's own
        `loss` without noise, and the parts of it, such as a VAE's `kl` (divergence of the
        posterior from the prior); `calorimeter energy` (GeV; Tracks are left
        out, as charged particles would count twice) and `lit pixels`. Each `(n,)`.
    """
    device = next(model.eval().parameters()).device

    def of_batch(batch: Tensor) -> dict[str, Tensor]:
        noise = model.draw_noise(len(batch))
        error = model.reconstruct(batch) - model.scaling(batch)
        scores = {
            "squared error": error.square().sum(dim=(1, 2, 3)),
            **model.loss(batch, None if noise is None else torch.zeros_like(noise)),
            "calorimeter energy": GEV_PER_UNIT * batch[:, 1:].sum(dim=(1, 2, 3)),
            "lit pixels": (batch != 0).sum(dim=(1, 2, 3)),
        }
        return {name: values.double() for name, values in scores.items()}

    return joined([of_batch(batch.to(device)) for batch in images.split(batch_size)])


def towers(images: Tensor) -> Tensor:
    """Energy in GeV of ECAL and of HCAL in each tower: `(n, 2, 25, 25)`.

    Args:
        images: in GeV/100, with shape `(n, 3, 125, 125)`.
    """
    return GEV_PER_UNIT * TOWER_SIZE**2 * F.avg_pool2d(images[:, 1:], TOWER_SIZE)


def two_sided(scores: np.ndarray, training: np.ndarray) -> np.ndarray:
    """How far scores are from the median of the training jets' scores, on either side: `(n,)`.

    Args:
        scores, training: with shapes `(n,)` and `(m,)`.
    """
    return np.abs(scores - np.median(training))


def working_points(ordinary: np.ndarray, anomalous: np.ndarray) -> dict[str, float]:
    """What a score achieves at the thresholds at which it may be used.

    Args:
        ordinary, anomalous: scores, with shapes `(n,)` and `(m,)`.

    Returns:
        `AUC`; the background `rejection` where 30 % and where 50 % of the anomalies are found: one
        ordinary jet in so many is kept (at most all of them, if none is); `significance
        improvement`, the share found over the root of the share of false alarms, where 50 % are
        found; `found` with 1 % false alarms.
    """
    truth = np.repeat([0, 1], [len(ordinary), len(anomalous)])
    values = np.concatenate([ordinary, anomalous])
    false, true, _ = roc_curve(truth, values, drop_intermediate=False)
    alarms = [max(false[np.searchsorted(true, share)], 1 / len(ordinary)) for share in (0.3, 0.5)]
    return {
        "AUC": float(auc(false, true)),
        "rejection at 30 % found": 1 / alarms[0],
        "rejection at 50 % found": 1 / alarms[1],
        "significance improvement": 0.5 / alarms[1] ** 0.5,
        "found at 1 % false alarms": float(true[np.searchsorted(false, 0.01, side="right") - 1]),
    }


def judge(
    ordinary: Mapping[str, np.ndarray],
    anomalous: Mapping[str, np.ndarray],
    reference: str | None = None,
) -> Table:
    """The working points of several scores of the same jets, with bootstrap standard errors.

    Args:
        ordinary, anomalous: scores by name, each with shape `(n,)` and `(m,)`.
        reference: name of a score; `AUC minus ...` is the difference from it. Its error is of the
            difference, as the same jets are drawn for all scores.
    """
    rng = np.random.default_rng(0)
    sizes = [len(next(iter(scores.values()))) for scores in (ordinary, anomalous)]
    draws = [[rng.integers(size, size=size) for size in sizes] for _ in range(metrics.RESAMPLES)]
    all_jets = [np.arange(size) for size in sizes]
    drawn = {
        name: [working_points(ordinary[name][a], anomalous[name][b]) for a, b in (all_jets, *draws)]
        for name in ordinary
    }
    table = Table()
    for name, results in drawn.items():
        points = {key: np.array([result[key] for result in results]) for key in results[0]}
        if reference is not None and name != reference:
            other = np.array([result["AUC"] for result in drawn[reference]])
            points[f"AUC minus {reference}"] = points["AUC"] - other
        table[name] = {
            key: (float(values[0]), float(values[1:].std(ddof=1))) for key, values in points.items()
        }
    return table


def hot_tower(images: Tensor, energy: float = 50.0, seed: int = 0) -> Tensor:
    """The same jets recorded while one tower of HCAL, anywhere in the image, read too much.

    Args:
        images: in GeV/100, with shape `(n, 3, 125, 125)`.
        energy: in GeV, which is added to a random tower of each image.
        seed: of the towers.
    """
    grid = torch.zeros(len(images), TOWERS_PER_SIDE**2)
    chance = torch.Generator().manual_seed(seed)
    place = torch.randint(TOWERS_PER_SIDE**2, (len(images), 1), generator=chance)
    grid.scatter_(1, place, energy / GEV_PER_UNIT / TOWER_SIZE**2)
    hot = F.interpolate(grid.view(-1, 1, TOWERS_PER_SIDE, TOWERS_PER_SIDE), scale_factor=TOWER_SIZE)
    return torch.cat([images[:, :2], images[:, 2:] + hot.to(images)], dim=1)


def two_prong(images: Tensor) -> Tensor:
    """Jets with two cores, as of a boosted W boson: each is the mean of two jets moved apart.

    Energy is kept on average; the move is by whole towers, so HCAL keeps its 5x5 blocks.

    Args:
        images: with shape `(n, 3, H, W)`; each jet is paired with the one before.
    """
    left = images.roll(-SHIFT, dims=-2)
    right = images.roll(1, dims=0).roll(SHIFT, dims=-2)
    return (left + right) / 2


def dead_tracker(images: Tensor) -> Tensor:
    """The same jets recorded while the tracker was off: no tracks at all."""
    images = images.clone()
    images[:, 0] = 0
    return images
