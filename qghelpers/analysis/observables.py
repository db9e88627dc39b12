"""What a physicist would measure of a jet image.

Pixels are taken as massless particles whose transverse momentum is the pixel's energy, with
the image's centre at eta = phi = 0. Negative pixels, which reconstructions may have, count as 0.
"""

import numpy as np
import torch
from torch import Tensor

from qghelpers.data.jets import JetImages
from qghelpers.data.layout import CHANNELS, GEV_PER_UNIT, IMAGE_SIZE, PIXEL_WIDTH, SMALLEST_DEPOSITS

LIT = tuple(deposit / 2 for deposit in SMALLEST_DEPOSITS)  # GeV a pixel
C1_EXPONENT = 0.2

__all__ = ["NAMES", "lit", "observables", "of_jets", "within"]
__dir__ = __all__.copy  # these names alone are offered by <Tab>


def lit(images: Tensor) -> Tensor:
    """Which pixels of `(n, 3, H, W)` in GeV/100 are above what a detector would notice."""
    return images > images.new_tensor(LIT).view(3, 1, 1) / GEV_PER_UNIT


def observables(images: Tensor) -> dict[str, np.ndarray]:
    r"""The observables of each image; all but the first six are of ECAL and HCAL together.

    With transverse momenta $p_i$, their sum $P$, and distances $\Delta R$ in eta and phi:

    - `energy` of each channel in GeV, and its number of `lit` pixels;
    - `girth`: $\sum_i p_i \, \Delta R_i / P$, around the axis $\sum_i p_i \, (\eta, \phi)_i / P$
      (Gallicchio and Schwartz, arXiv:1106.3076);
    - `pTD`: $\sqrt{\sum_i p_i^2} / P$ (CMS PAS JME-13-002);
    - `C1`: $\sum_{i<j} p_i \, p_j \, \Delta R_{ij}^{0.2} / P^2$ (Larkoski, Salam and Thaler,
      arXiv:1305.0007);
    - `mass` in GeV, of the sum of all four-momenta.

    Args:
        images: in GeV/100, with shape `(n, 3, 125, 125)`.

    Returns:
        For each of `NAMES`, float64 with shape `(n,)`; 0 where an image has no energy.
    """
    gev = images.double().clamp_min(0) * GEV_PER_UNIT
    energy, counts = gev.sum(dim=(2, 3)), lit(images).sum(dim=(2, 3))
    calorimeter = gev[:, 1] + gev[:, 2]
    shapes = (function(calorimeter) for function in SHAPES.values())
    values = (*energy.T, *counts.double().T, *shapes)
    return {name: value.cpu().numpy() for name, value in zip(NAMES, values, strict=True)}


def _places(like: Tensor) -> Tensor:
    """Eta of each row, and phi of each column, relative to the image's centre: `(125,)`."""
    return (torch.arange(IMAGE_SIZE).to(like) - (IMAGE_SIZE - 1) / 2) * PIXEL_WIDTH


def _sum(pt: Tensor) -> Tensor:
    return pt.sum(dim=(1, 2)).clamp_min(1e-12)


def _girth(pt: Tensor) -> Tensor:
    places = _places(pt)
    eta = (pt.sum(dim=2) @ places) / _sum(pt)
    phi = (pt.sum(dim=1) @ places) / _sum(pt)
    distance = torch.hypot(
        places[None, :, None] - eta[:, None, None], places[None, None] - phi[:, None, None]
    )
    return (pt * distance).sum(dim=(1, 2)) / _sum(pt)


def _ptd(pt: Tensor) -> Tensor:
    return pt.square().sum(dim=(1, 2)).sqrt() / _sum(pt)


def _c1(pt: Tensor) -> Tensor:
    """All pairs at once: the image's correlation with itself, weighted with the distance.

    By Parseval's theorem that is a sum over its power spectrum.
    """
    size = 2 * IMAGE_SIZE  # far enough that nothing wraps around
    steps = torch.fft.fftfreq(size, 1 / size).to(pt) * PIXEL_WIDTH
    weight = torch.fft.rfft2(torch.hypot(steps[:, None], steps[None]) ** C1_EXPONENT).real
    weight[:, 1:-1] *= 2  # these columns stand for their mirror images, too
    spectrum = torch.fft.rfft2(pt, s=(size, size))
    power = spectrum.real.square() + spectrum.imag.square()
    pairs = (power * weight).sum(dim=(1, 2)) / size**2 / 2
    return pairs / _sum(pt).square()


def _mass(pt: Tensor) -> Tensor:
    rows, columns = pt.sum(dim=2), pt.sum(dim=1)
    places = _places(pt)
    energy, pz = rows @ places.cosh(), rows @ places.sinh()
    px, py = columns @ places.cos(), columns @ places.sin()
    return (energy**2 - px**2 - py**2 - pz**2).clamp_min(0).sqrt()


# what is measured of the shape of ECAL and HCAL together, `(n, 125, 125)` in GeV; add one here
SHAPES = {"girth": _girth, "pTD": _ptd, "C1": _c1, "mass": _mass}
NAMES = (
    *(f"energy {channel}" for channel in CHANNELS),
    *(f"lit {channel}" for channel in CHANNELS),
    *SHAPES,
)


def within(images: Tensor, radius: float) -> Tensor:
    """Images `(n, 3, 125, 125)` with only those pixels that are nearer to the centre than `radius`.

    Args:
        radius: in eta and phi; a jet's is 0.5, the rest of its image is pile-up for the most part.
    """
    places = _places(images)
    return images * (torch.hypot(places[:, None], places) < radius)


def of_jets(jets: JetImages, radius: float = np.inf) -> dict[str, np.ndarray]:
    """`observables` of all jets, each with shape `(n,)`, from the pixels `within` a radius."""
    return jets.map(lambda images: observables(within(images, radius)), 128)
