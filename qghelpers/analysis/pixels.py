"""What becomes of single pixels: which ones come back, how lit ones lie together.

Averages over an image do not see these: a network that returns nothing on every fourth pixel, or
draws lit pixels one by one where a detector has clusters, can have a small mean error.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from qghelpers.analysis.observables import lit
from qghelpers.data.layout import GEV_PER_UNIT

BRIGHT = 0.5  # GeV a pixel; in HCAL, where a pixel is a 25th of a tower, 12.5 GeV a tower
ENERGIES = (0.5, 1.0, 3.0, 10.0)  # GeV, lower edges; the last class has no upper one
STRIDE = 2  # of the steps down and up in most networks

__all__ = [
    "BRIGHT",
    "ENERGIES",
    "STRIDE",
    "clusters",
    "lost_by_energy",
    "lost_by_place",
    "returned_by_place",
]
__dir__ = __all__.copy  # these names alone are offered by <Tab>


def _bright_and_lost(
    images: Tensor, reconstruction: Tensor, class_of: Callable[..., Tensor], classes: int
) -> tuple[Tensor, Tensor]:
    """Numbers of pixels above `BRIGHT`, and of such that are not lit: `(n, 3, classes)` each.

    `class_of` takes the energies in GeV, rows and columns of bright pixels.
    """
    gev = images * GEV_PER_UNIT
    bright = gev > BRIGHT
    image, channel, row, column = bright.nonzero(as_tuple=True)
    shape = (*images.shape[:2], classes)
    place = (image * shape[1] + channel) * classes + class_of(gev[bright], row, column)
    lost = ~lit(reconstruction)[bright]
    counts = (torch.bincount(some, minlength=math.prod(shape)) for some in (place, place[lost]))
    bright, lost = (count.view(shape) for count in counts)
    return bright, lost


def _by_place(counted: Tensor, stride: int) -> Tensor:
    """Sums over the pixels of each row and column modulo `stride`: `(..., stride, stride)`."""
    rows = [
        torch.stack([counted[..., i::stride, j::stride].sum(dim=(-2, -1)) for j in range(stride)])
        for i in range(stride)
    ]
    return torch.stack(rows).movedim((0, 1), (-2, -1))


def lost_by_place(
    images: Tensor, reconstruction: Tensor, stride: int = STRIDE
) -> tuple[Tensor, Tensor]:
    """Bright pixels and lost ones, by row and column modulo `stride`.

    A convolution of this stride may treat these places of the grid differently. Lost is what comes
    back with less than half of a smallest deposit, whatever it was: a pixel of 10 GeV of which
    1 GeV is left is not lost, so ask `returned_by_place`, too.

    Args:
        images, reconstruction: in GeV/100, with shape `(n, 3, H, W)`.
        stride: of the network's last step up.

    Returns:
        Numbers of pixels above `BRIGHT` in the original, and of those among them that are not lit
        in the reconstruction, with shape `(n, 3, stride, stride)` each.
    """

    def class_of(_, row: Tensor, column: Tensor) -> Tensor:
        return row % stride * stride + column % stride

    counts = _bright_and_lost(images, reconstruction, class_of, stride**2)
    bright, lost = (count.unflatten(-1, (stride, stride)) for count in counts)
    return bright, lost


def returned_by_place(
    images: Tensor, reconstruction: Tensor, stride: int = STRIDE
) -> tuple[Tensor, Tensor]:
    """Energy of the lit pixels, and what returns of it, by row and column modulo `stride`.

    Args:
        images, reconstruction, stride: as in `lost_by_place`.

    Returns:
        Sums over the pixels that are lit in the original, of their energy there and in the
        reconstruction, in GeV/100, with shape `(n, 3, stride, stride)` each.
    """
    energies = torch.stack([images, reconstruction]) * lit(images)
    true, returned = _by_place(energies, stride)
    return true, returned


def lost_by_energy(images: Tensor, reconstruction: Tensor) -> tuple[Tensor, Tensor]:
    """As `lost_by_place`, by the pixel's energy: with shape `(n, 3, len(ENERGIES))` each."""
    edges = torch.tensor(ENERGIES).to(images)

    def class_of(gev: Tensor, *_) -> Tensor:
        return torch.bucketize(gev, edges) - 1  # the first edge is `BRIGHT`

    return _bright_and_lost(images, reconstruction, class_of, len(ENERGIES))


def clusters(images: Tensor) -> dict[str, Tensor]:
    """How lit pixels lie together, among the eight around each.

    Args:
        images: in GeV/100, with shape `(n, 3, H, W)`.

    Returns:
        For each image and channel, with shape `(n, 3)`: the number of `lit` pixels, the sum over
        them of their lit `neighbours`, and how many of them are `isolated`, without any.
    """
    pixels = lit(images).float()
    kernel = pixels.new_ones(3, 1, 3, 3)
    around = F.conv2d(pixels, kernel, padding=1, groups=3) - pixels
    return {
        "lit": pixels.sum(dim=(2, 3)),
        "neighbours": (pixels * around).sum(dim=(2, 3)),
        "isolated": (pixels * (around < 0.5)).sum(dim=(2, 3)),
    }
