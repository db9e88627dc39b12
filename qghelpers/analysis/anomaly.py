"""Anomaly detection: scores of single jets, and anomalies to try them on."""

import numpy as np
import torch
from torch import Tensor

from qghelpers.data.jets import joined
from qghelpers.data.layout import GEV_PER_UNIT, TOWER_SIZE
from qghelpers.networks.base import JetAutoencoder

__all__ = ["anomaly_scores", "dead_tracker", "two_prong"]
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
        posterior from the prior); `total energy` (GeV) and `lit pixels`. Each `(n,)`.
    """
    device = next(model.eval().parameters()).device

    def of_batch(batch: Tensor) -> dict[str, Tensor]:
        noise = model.draw_noise(len(batch))
        error = model.reconstruct(batch) - model.scaling(batch)
        scores = {
            "squared error": error.square().sum(dim=(1, 2, 3)),
            **model.loss(batch, None if noise is None else torch.zeros_like(noise)),
            "total energy": GEV_PER_UNIT * batch.sum(dim=(1, 2, 3)),
            "lit pixels": (batch != 0).sum(dim=(1, 2, 3)),
        }
        return {name: values.double() for name, values in scores.items()}

    return joined([of_batch(batch.to(device)) for batch in images.split(batch_size)])


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
