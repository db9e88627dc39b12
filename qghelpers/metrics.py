"""How good is a reconstruction? Errors beside those of baselines, with uncertainties.

A reconstruction is any function from images in GeV/100, with shape `(n, 3, 125, 125)`, to
scaled images of that shape: a network's `reconstruct`, or a baseline from here.
"""

from collections.abc import Callable

import numpy as np
import torch
from scipy.stats import bootstrap
from sklearn.decomposition import PCA
from torch import Tensor, nn

from qghelpers.jets import JetImages

Reconstruct = Callable[[Tensor], Tensor]
BATCH = 256


@torch.no_grad()
def reconstruct(model: nn.Module, images: Tensor) -> Tensor:
    """What a network makes of images, back in their own unit, GeV/100."""
    return model.scaling.inverse(model.eval().reconstruct(images))


def zero_baseline(scaling: nn.Module) -> Reconstruct:
    """Answer every jet with an image of zeros: what a sparse image's metrics must be held to."""
    return lambda images: scaling(torch.zeros_like(images))


def mean_baseline(scaling: nn.Module, train: JetImages) -> Reconstruct:
    """Answer every jet with the mean scaled image of the training jets."""
    total = sum(scaling(images).double().sum(dim=0) for images in train.batches(BATCH))
    mean = (total / len(train)).float()
    return lambda images: mean.expand(len(images), -1, -1, -1)


def pca_baseline(
    scaling: nn.Module, train: JetImages, components: int, most: int = 2000
) -> Reconstruct:
    """Project every jet on the principal components of the training jets' scaled images.

    The best linear autoencoder with this many latent numbers.

    Args:
        most: fit on at most this many jets, the first of `train`, which is in random order.
    """
    jets = train[: min(most, len(train))]
    pixels = torch.cat([scaling(images).flatten(1) for images in jets.batches(BATCH)])
    components = min(components, len(jets))
    pca = PCA(components, svd_solver="randomized", random_state=0).fit(pixels.numpy())

    def reconstruct(images: Tensor) -> Tensor:
        latent = pca.transform(scaling(images).flatten(1).numpy())
        back = pca.inverse_transform(latent).astype(np.float32)
        return torch.from_numpy(back).view(images.shape)

    return reconstruct


@torch.no_grad()
def errors(reconstruct: Reconstruct, scaling: nn.Module, jets: JetImages) -> dict[str, np.ndarray]:
    """Squared and absolute error of every jet and channel, summed over its pixels.

    Returns:
        `squared` and `absolute`, in scaled units, each with shape `(n, 3)`.
    """
    squared, absolute = [], []
    for images in jets.batches(BATCH):
        difference = reconstruct(images) - scaling(images)
        squared.append(difference.square().sum(dim=(2, 3)))
        absolute.append(difference.abs().sum(dim=(2, 3)))
    return {"squared": torch.cat(squared).numpy(), "absolute": torch.cat(absolute).numpy()}


def ratio(numerator: np.ndarray, denominator: np.ndarray) -> tuple[float, float]:
    """Sum over jets of one error relative to another's, and its bootstrap standard error.

    Args:
        numerator, denominator: of the same jets, with shape `(n,)`.
    """

    def statistic(a, b, axis=-1):
        return a.sum(axis=axis) / b.sum(axis=axis)

    result = bootstrap(
        (numerator, denominator),
        statistic,
        paired=True,
        n_resamples=500,
        method="percentile",
        rng=0,
    )
    return float(statistic(numerator, denominator)), float(result.standard_error)


def compare(
    reconstructions: dict[str, Reconstruct], scaling: nn.Module, jets: JetImages
) -> dict[str, dict[str, tuple[float, float]]]:
    """Errors relative to the all-zero image, for each reconstruction: below 1 is better.

    Returns:
        For each name: `MSE` and `L1` of all channels together, and of each channel, such as
        `MSE Tracks`; each a value and its bootstrap standard error.
    """
    zero = errors(zero_baseline(scaling), scaling, jets)
    table = {}
    for name, reconstruct in reconstructions.items():
        own = errors(reconstruct, scaling, jets)
        row = {}
        for title, kind in (("MSE", "squared"), ("L1", "absolute")):
            row[title] = ratio(own[kind].sum(axis=1), zero[kind].sum(axis=1))
            for index, channel in enumerate(jets.channels):
                row[f"{title} {channel}"] = ratio(own[kind][:, index], zero[kind][:, index])
        table[name] = row
    return table


def format_table(table: dict[str, dict[str, tuple[float, float]]]) -> str:
    """The result of `compare` as text, a line for each reconstruction."""
    columns = list(next(iter(table.values())))
    width = max(map(len, table))
    lines = [" " * width + "".join(f"{column:>16}" for column in columns)]
    for name, row in table.items():
        cells = (f"{value:.3f} ± {error:.3f}" for value, error in row.values())
        lines.append(f"{name:<{width}}" + "".join(f"{cell:>16}" for cell in cells))
    return "\n".join(lines)
