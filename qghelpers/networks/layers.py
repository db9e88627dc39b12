"""Layers that the networks share: scalings, sums, steps down and up. Images are `(n, c, H, W)`.

A scaling, between the file's units and the numbers that a network works with, is a layer without
trainable weights: it is fitted on training jets only, and saved, loaded and moved to a device
together with the network that holds it.
"""

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qghelpers.data.layout import (
    CHANNELS,
    GEV_PER_UNIT,
    IMAGE_SHAPE,
    IMAGE_SIZE,
    PIXEL_WIDTH,
    SMALLEST_DEPOSITS,
    TOWER_SIZE,
)

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


def lit(images: Tensor) -> Tensor:
    """Ones where pixels of `(n, 3, H, W)` in GeV/100 are lit, else zeros."""
    smallest = images.new_tensor(SMALLEST_DEPOSITS).view(-1, 1, 1)
    return (images > smallest / GEV_PER_UNIT / 2).to(images)


class Profile(nn.Module):
    r"""Sums over an image that a physicist would ask for first, as standardised numbers.

    With energies $p_i$ in GeV at distances $r_i$ from the image's centre:

    - for each channel and each of ten rings, the logarithms of one more than the number of lit
      pixels, and than the energy;
    - for each channel, the logarithm of one more than the number of lit pixels within the jet;
    - of Tracks, and of ECAL and HCAL together, within the jet with $P = \sum p_i$:
      logarithms of $\sum p_i r_i / P$ (width), of $\sum p_i r_i^2 / P$, of
      $\sqrt{\sum p_i^2} / P$ (pTD), and of one more than $\sqrt{P \sum p_i r_i^2}$ (about the
      mass); and the means of $\eta$, $\phi$, $\eta^2 - \phi^2$ and $2 \eta \phi$.

    Towers of HCAL are counted, not their pixels. Mean and deviation are those of the training
    jets; no number is further than 5 deviations off.
    """

    RINGS = (0.0, 0.03, 0.06, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.8, 2.0)  # their edges
    JET = 0.5  # radius

    mean: Tensor
    std: Tensor
    rings: Tensor
    moments: Tensor

    def __init__(self) -> None:
        super().__init__()
        place = (torch.arange(IMAGE_SIZE) - (IMAGE_SIZE - 1) / 2) * PIXEL_WIDTH
        eta, phi = (x.flatten() for x in torch.meshgrid(place, place, indexing="ij"))
        distance = torch.hypot(eta, phi)
        edges = torch.tensor(self.RINGS)
        rings = (distance[:, None] >= edges[:-1]) & (distance[:, None] < edges[1:])
        powers = [distance**0, distance, distance**2, eta, phi, eta**2 - phi**2, 2 * eta * phi]
        jet = (distance < self.JET).float()
        self.register_buffer("rings", rings.float(), persistent=False)
        self.register_buffer("moments", torch.stack(powers, dim=1) * jet[:, None], persistent=False)
        self.size = self._sums(torch.zeros(1, len(CHANNELS), IMAGE_SIZE, IMAGE_SIZE)).shape[1]
        self.register_buffer("mean", torch.zeros(self.size))
        self.register_buffer("std", torch.ones(self.size))

    def fit(self, train: "JetImages") -> "Profile":
        """Take mean and standard deviation from `train`."""
        sums = torch.from_numpy(train.map(self._sums))
        self.mean.copy_(sums.mean(dim=0))
        self.std.copy_(sums.std(dim=0).clamp_min(1e-3))
        return self

    def forward(self, images: Tensor) -> Tensor:
        """Of images `(n, 3, 125, 125)` in GeV/100: `(n, size)`, in float32 also under autocast."""
        with torch.autocast(images.device.type, enabled=False):
            return ((self._sums(images) - self.mean) / self.std).clamp(-5, 5)

    def _sums(self, images: Tensor) -> Tensor:
        gev = (images.float().clamp_min(0) * GEV_PER_UNIT).flatten(2)
        pixels = lit(images).float().flatten(2)
        pixels[:, 2] /= TOWER_SIZE**2
        counts = torch.cat([pixels @ self.rings, pixels @ self.moments[:, :1]], dim=2)
        parts = [torch.log1p(counts).flatten(1), torch.log1p(gev @ self.rings).flatten(1)]
        for pt in (gev[:, 0], gev[:, 1] + gev[:, 2]):
            total, *moments = (pt @ self.moments).split(1, dim=1)
            widths = [moment / total.clamp_min(1) for moment in moments]
            ptd = (pt.square() @ self.moments[:, :1]).sqrt() / total.clamp_min(1)
            mass = torch.log1p((moments[1] * total.clamp_min(1)).sqrt())
            parts += [(w + 1e-3).log() for w in widths[:2]] + [(ptd + 1e-2).log(), mass]
            parts += widths[2:]
        return torch.cat(parts, dim=1)


def down(inputs: int, outputs: int) -> nn.Sequential:
    """Convolution with stride 2, batch normalisation, ReLU: half as high and wide."""
    return _normalised(nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False))


def even_down(inputs: int, outputs: int) -> nn.Sequential:
    """As `down`, with a kernel of 4 pixels: every pixel is seen through as many weights.

    An odd number of rows or columns is first made even by one of zeros.
    """
    convolution = nn.Conv2d(inputs, outputs, 4, stride=2, padding=1, bias=False)
    return nn.Sequential(PadToEven(), *_normalised(convolution))


def up(inputs: int, outputs: int) -> nn.Sequential:
    """Transposed convolution with stride 2, batch normalisation, ReLU: twice as high and wide."""
    return _normalised(nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1, bias=False))


def conv(inputs: int, outputs: int) -> nn.Sequential:
    """Convolution, batch normalisation, ReLU: same height and width."""
    return _normalised(nn.Conv2d(inputs, outputs, 3, padding=1, bias=False))


def _normalised(convolution: nn.Conv2d | nn.ConvTranspose2d) -> nn.Sequential:
    """Add batch normalisation and ReLU; the normalisation would subtract a bias of the first."""
    channels = convolution.out_channels
    return nn.Sequential(convolution, nn.BatchNorm2d(channels), nn.ReLU(inplace=True))


class LastUp(nn.ConvTranspose2d):
    """Transposed convolution with stride 2 and a bias: twice as high and wide.

    The bias is added separately: a bias inside the convolution slows the backward pass on CPUs.
    """

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__(inputs, outputs, kernel_size=4, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """From `(n, inputs, H, W)` to `(n, outputs, 2H, 2W)`."""
        x = F.conv_transpose2d(x, self.weight, None, self.stride, self.padding)
        return x + self.bias.view(1, -1, 1, 1)


class PadToEven(nn.Module):
    """A row and a column of zeros at the end, where their number is odd: `(n, c, H, W)`."""

    def forward(self, x: Tensor) -> Tensor:
        """Up to one row and one column more."""
        return F.pad(x, (0, x.shape[-1] % 2, 0, x.shape[-2] % 2))


class Crop(nn.Module):
    """The first `size` rows and columns: `(n, c, H, W)` to `(n, c, size, size)`."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def forward(self, x: Tensor) -> Tensor:
        """The cropped images."""
        return x[..., : self.size, : self.size]


def patch_down(inputs: int, outputs: int, factor: int = TOWER_SIZE) -> nn.Sequential:
    """Convolution of squares that do not overlap, batch normalisation, ReLU: H, W over `factor`.

    Written as a matrix product, several times as fast as a convolution with this stride.
    """
    convolution = nn.Conv2d(factor**2 * inputs, outputs, 1, bias=False)
    return nn.Sequential(nn.PixelUnshuffle(factor), *_normalised(convolution))


def patch_up(inputs: int, outputs: int, factor: int = TOWER_SIZE) -> nn.Sequential:
    """The transpose of `patch_down`: H, W times `factor`."""
    convolution = nn.Conv2d(inputs, factor**2 * outputs, 1, bias=False)
    normalisation = nn.BatchNorm2d(outputs)
    return nn.Sequential(convolution, nn.PixelShuffle(factor), normalisation, nn.ReLU(inplace=True))


class Residual(nn.Module):
    """Two convolutions whose result is added to their input, `(n, width, H, W)`.

    He et al., "Deep Residual Learning for Image Recognition", arXiv:1512.03385.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        second = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.change = nn.Sequential(conv(width, width), second, nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        """Same shape as the input."""
        return F.relu(x + self.change(x))


class SpreadTowers(nn.Module):
    """Average every HCAL map over squares of 5x5 pixels, as towers are stored.

    Of the `3 * k` channels, every third one belongs to HCAL.
    """

    def forward(self, maps: Tensor) -> Tensor:
        """Same shape as the input."""
        tracks, ecal, hcal = (maps[:, index :: len(CHANNELS)] for index in range(len(CHANNELS)))
        towers = F.interpolate(F.avg_pool2d(hcal, TOWER_SIZE), scale_factor=TOWER_SIZE)
        return torch.stack([tracks, ecal, towers], dim=2).flatten(1, 2)
