"""Scalings between the file's units and what a network likes; fitted on training jets only.

A scaling is a layer without trainable weights: it is saved, loaded and moved to a device
together with the network that holds it.
"""

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from qghelpers.data.layout import IMAGE_SHAPE, IMAGE_SIZE

if TYPE_CHECKING:
    from qghelpers.data.jets import JetImages

PIXEL_NOISE = (0.005, 0.001, 0.0005)  # GeV/100; below these a log scaling turns linear
LOG_RANGE = 50.0  # a pixel of 50 times the above becomes 1


class ZScore(nn.Module):
    """`(x - mean) / std` for each channel, over all pixels of the training jets."""

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(3, 1, 1))
        self.register_buffer("std", torch.ones(3, 1, 1))

    def fit(self, train: "JetImages") -> "ZScore":
        """Take mean and standard deviation from `train`, without making an image dense."""
        pixels = len(train) * IMAGE_SIZE**2
        total = torch.from_numpy(train.sums().sum(axis=0))
        squares = torch.from_numpy(train.sums(np.square).sum(axis=0))
        mean = total / pixels
        std = (squares / pixels - mean**2).sqrt().clamp_min(1e-12)
        self.mean.copy_(mean.view(3, 1, 1))
        self.std.copy_(std.view(3, 1, 1))
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Scale `(*, 3, H, W)` from GeV/100."""
        return (images - self.mean).div_(self.std)

    def inverse(self, scaled: Tensor) -> Tensor:
        """Undo `forward`."""
        return scaled * self.std + self.mean


class LogScale(nn.Module):
    """`log(1 + x / noise) / log(1 + 50)` for each channel: zero stays zero.

    It spans the five orders of magnitude of a jet image and survives mis-measured pixels; it
    has nothing to learn from data. Negative pixels mirror positive ones.
    """

    noise: Tensor
    unit = math.log1p(LOG_RANGE)

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("noise", torch.tensor(PIXEL_NOISE).view(3, 1, 1))

    def fit(self, train: "JetImages") -> "LogScale":
        """Return self: there is nothing to fit, but every scaling can be fitted."""
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Scale `(*, 3, H, W)` from GeV/100."""
        return images.sign() * torch.log1p(images.abs() / self.noise) / self.unit

    def inverse(self, scaled: Tensor) -> Tensor:
        """Undo `forward`."""
        return scaled.sign() * torch.expm1(scaled.abs() * self.unit) * self.noise


SCALINGS = {"zscore": ZScore, "log": LogScale}


def make_scaling(name: str) -> nn.Module:
    """A new scaling by its name.

    Raises:
        ValueError: there is none of this name.
    """
    if name not in SCALINGS:
        raise ValueError(f"no scaling {name}: there are {', '.join(SCALINGS)}")
    return SCALINGS[name]()


def scaled_zero(scaling: nn.Module) -> Tensor:
    """An image without energy in scaled units: `(3, 125, 125)`."""
    return scaling(torch.zeros(1, IMAGE_SHAPE[2], *IMAGE_SHAPE[:2]))[0]
