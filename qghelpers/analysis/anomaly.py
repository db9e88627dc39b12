"""Anomaly detection: scores, how well they separate, and anomalies to try them on."""

import numpy as np
import torch
from scipy.stats import bootstrap
from sklearn.metrics import roc_auc_score, roc_curve
from torch import Tensor

from qghelpers.data.layout import TOWER_SIZE
from qghelpers.networks.vae import VAE, vae_loss

SHIFT = 3 * TOWER_SIZE  # pixels between the halves of a two-prong jet: 0.26 in eta


@torch.no_grad()
def anomaly_scores(model: VAE, images: Tensor, batch_size: int = 256) -> dict[str, np.ndarray]:
    """How unusual a VAE finds images, and what can be said without any network.

    Args:
        images: in GeV/100, with shape `(n, 3, 125, 125)`.

    Returns:
        `reconstruction` (squared error), `kl` (divergence of the posterior from the prior),
        `total energy` (GeV) and `lit pixels`, each with shape `(n,)`.
    """
    model.eval()
    device = next(model.parameters()).device
    parts = []
    for batch in images.split(batch_size):
        scaled = model.scaling(batch.to(device))
        mu, log_variance = model.encode(scaled)
        loss = vae_loss(scaled, model.decode(mu, scaled.shape[-1]), mu, log_variance)
        simple = {"energy": 100 * batch.sum(dim=(1, 2, 3)), "lit": (batch != 0).sum(dim=(1, 2, 3))}
        parts.append(
            torch.stack([loss["reconstruction"].cpu(), loss["kl"].cpu(), *simple.values()])
        )
    names = ("reconstruction", "kl", "total energy", "lit pixels")
    return dict(zip(names, torch.cat(parts, dim=1).double().numpy(), strict=True))


def auc(normal: np.ndarray, anomalous: np.ndarray) -> tuple[float, float]:
    """Area under the ROC curve of one score, and its bootstrap standard error.

    0.5 is guessing, 1 is perfect, below 0.5 the anomalies look more normal than normal.
    """

    def statistic(a, b):
        return roc_auc_score(np.repeat([0, 1], [len(a), len(b)]), np.concatenate([a, b]))

    result = bootstrap(
        (normal, anomalous),
        statistic,
        vectorized=False,
        n_resamples=200,
        method="percentile",
        rng=0,
    )
    return float(statistic(normal, anomalous)), float(result.standard_error)


def roc(normal: np.ndarray, anomalous: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Share of normal jets flagged, and of anomalous ones, at every threshold."""
    truth = np.repeat([0, 1], [len(normal), len(anomalous)])
    false, true, _ = roc_curve(truth, np.concatenate([normal, anomalous]))
    return false, true


def two_prong(images: Tensor) -> Tensor:
    """Jets with two cores, as of a boosted W boson: each is the mean of two jets moved apart.

    Energy is kept on average; the move is by whole towers, so HCAL keeps its 5x5 blocks.

    Args:
        images: with shape `(n, 3, H, W)`; each jet is paired with the next.
    """
    left = images.roll(-SHIFT, dims=-2)
    right = images.roll(1, dims=0).roll(SHIFT, dims=-2)
    return (left + right) / 2


def dead_tracker(images: Tensor) -> Tensor:
    """The same jets recorded while the tracker was off: no tracks at all."""
    images = images.clone()
    images[:, 0] = 0
    return images
