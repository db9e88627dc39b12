"""Layers that the networks share. Shapes are `(n, channels, height, width)`."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from qghelpers.data.layout import CHANNELS, TOWER_SIZE


def down(inputs: int, outputs: int) -> nn.Sequential:
    """Convolution with stride 2, batch normalisation, ReLU: half as high and wide."""
    return _normalised(nn.Conv2d(inputs, outputs, 3, stride=2, padding=1, bias=False))


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
