"""The layout of the public quark/gluon file: names, shapes, units and published values.

The public file `quark-gluon_data-set_n139306.hdf5` holds the test jets of Andrews et al.,
"End-to-End Jet Classification of Quarks and Gluons with the CMS Open Data", arXiv:1902.08276.
"""

from collections.abc import Sequence

import numpy as np

__all__ = [
    "CHANNELS",
    "GEV_PER_UNIT",
    "GLUON",
    "IMAGE_SHAPE",
    "IMAGE_SIZE",
    "NEITHER",
    "PIXEL_WIDTH",
    "PUBLIC_FILE",
    "PUBLIC_LARGEST",
    "PUBLIC_LIT_SHARE",
    "PUBLIC_MEAN",
    "PUBLIC_PT",
    "QCD",
    "QUARK",
    "SMALLEST_DEPOSITS",
    "TOWERS_PER_SIDE",
    "TOWER_SIZE",
    "channels_by_evidence",
    "constant_tower_share",
    "lit_share",
]
__dir__ = __all__.copy  # these names alone are offered by <Tab>

PUBLIC_FILE = "quark-gluon_data-set_n139306.hdf5"
PUBLIC_JETS = 139_306
CHANNELS = ("Tracks", "ECAL", "HCAL")
IMAGE_SIZE = 125  # pixels per side; one pixel is one ECAL barrel crystal
TOWER_SIZE = 5  # pixels per side of an HCAL tower
TOWERS_PER_SIDE = IMAGE_SIZE // TOWER_SIZE
PIXEL_WIDTH = 0.0174  # in eta, and in phi in radians (2 pi / 360, rounded)
GEV_PER_UNIT = 100.0  # pixel values are in units of 100 GeV
SMALLEST_DEPOSITS = (0.1, 0.05, 0.04)  # GeV per pixel in Tracks, ECAL and HCAL
GLUON, QUARK = 0, 1  # values of the dataset y
NEITHER = -1  # value of y for jets of another process; the public file has none
QCD = "qcd"  # the process of all jets in the public file
IMAGE_SHAPE = (IMAGE_SIZE, IMAGE_SIZE, len(CHANNELS))  # as stored: channels last
CHUNK = 16  # jets per HDF5 chunk in the files that we write

# Values by label and channel, printed by notebooks that read the public file.
PUBLIC_LIT_SHARE = {GLUON: (0.0053, 0.0174, 0.0282), QUARK: (0.0047, 0.0141, 0.0256)}
PUBLIC_MEAN = {GLUON: (8.1e-5, 4.9e-5, 2.9e-5), QUARK: (7.9e-5, 5.3e-5, 3.3e-5)}  # GeV/100
PUBLIC_LARGEST = {GLUON: (756.6, 4.10, 0.431), QUARK: (307.2, 9.33, 0.433)}  # GeV/100
PUBLIC_PT = (70.4, 337.1)  # GeV, range in a copy of the same jets in another format

# Mean pixels of simulated jets are 0.4 (70 GeV, no pile-up) to 12 times (1.4 TeV) the public ones.
UNITS_FACTOR = 20  # a channel that is more than this times as bright, or as faint, is refused
FEW_JETS = 20  # with fewer, channels are judged together
MIN_LIT_RATIO = 1.5  # lit pixels of ECAL to those of Tracks, which is 3 or more in all samples


def constant_tower_share(images: np.ndarray) -> np.ndarray:
    """Share of lit 5x5 blocks whose 25 pixels are equal, per channel, with shape `(channels,)`.

    HCAL alone is stored as towers of 5x5 equal pixels, so its share is 1: this identifies HCAL
    without relying on names. The share is 0 for an empty channel.

    Args:
        images: with shape `(jets, 125, 125, channels)`.
    """
    shape = (TOWERS_PER_SIDE, TOWER_SIZE, TOWERS_PER_SIDE, TOWER_SIZE, -1)
    blocks = images.reshape(len(images), *shape)
    # one axis after the other, the outer one first: a fourth of the time
    low, high = blocks.min(axis=2).min(axis=3), blocks.max(axis=2).max(axis=3)
    lit = (high != 0) | (low != 0)
    constant = ((low == high) & lit).sum(axis=(0, 1, 2))
    return constant / np.maximum(lit.sum(axis=(0, 1, 2)), 1)


def lit_share(images: np.ndarray) -> np.ndarray:
    """Share of non-zero pixels in each channel, from `(jets, 125, 125, channels)`."""
    return (images != 0).mean(axis=(0, 1, 2))


def channels_by_evidence(images: np.ndarray) -> tuple[str, ...]:
    """Names of the three channels, found from the pixels; all are "?" if that fails.

    HCAL is the only channel with constant 5x5 blocks; Tracks has fewer lit pixels than ECAL.

    Args:
        images: with shape `(jets, 125, 125, 3)`, some tens of jets or more.
    """
    blocks, lit = constant_tower_share(images) > 0.99, lit_share(images)
    if blocks.sum() != 1:
        return ("?",) * len(blocks)
    hcal = int(blocks.argmax())
    tracks, ecal = sorted((i for i in range(3) if i != hcal), key=lambda i: lit[i])
    if lit[ecal] < MIN_LIT_RATIO * lit[tracks]:
        return ("?",) * len(blocks)
    return tuple({hcal: "HCAL", tracks: "Tracks", ecal: "ECAL"}[i] for i in range(3))


def units_problem(images: np.ndarray, channels: Sequence[str] = CHANNELS) -> tuple[str, str] | None:
    """What shows that pixels are not energies in GeV/100, and what helps; None if nothing does.

    Args:
        images: with shape `(jets, 125, 125, 3)`, two jets or more.
        channels: names of the channels, in the order of the images.
    """
    means, lit = images.mean(axis=(1, 2), dtype=np.float64), lit_share(images)
    ratios = _brightness(means, channels)
    found = "the mean pixel is {} times the public file's ({})".format(
        ", ".join(f"{ratio:.2g}" for ratio in ratios), ", ".join(channels)
    )
    original = "give the file as it was before: networks scale images by themselves"
    convert = "`python -m qghelpers convert FILE OUT.hdf5 --divide"
    if not lit.any():
        return "all pixels are zero", "simulate or download it again"
    if lit.max() > 0.5 or (images < 0).mean() > 0.2 * lit.mean():
        return f"{found}, and most pixels are not zero or below zero, as in a z-score", original
    if len(images) >= FEW_JETS and (_constant(means) or _constant(images.max(axis=(1, 2)))):
        return "the largest pixel, or the sum, is the same in every image", original
    if (ratios < UNITS_FACTOR).all() and (ratios > 1 / UNITS_FACTOR).all():
        return None
    if (ratios > 30).all() and (ratios < 300).all() and images.max() > 10:  # no logarithm is
        return found, f"if the pixels are in GeV, {convert} 100` makes a file in GeV/100"
    return found, f"{original}, or, if they are too large by one factor, {convert} FACTOR`"


def _brightness(means: np.ndarray, channels: Sequence[str]) -> np.ndarray:
    """Mean pixel of the median jet by channel, relative to the public file's.

    One mis-measured track does not change it. Of few jets, it is the geometric mean for all
    channels, since a single jet may have hardly a track.

    Args:
        means: mean pixel of each jet and channel, with shape `(jets, 3)`.
        channels: names of these channels.
    """
    public = np.mean(list(PUBLIC_MEAN.values()), axis=0)[[CHANNELS.index(c) for c in channels]]
    ratios = np.median(means, axis=0) / public
    if len(means) < FEW_JETS and (ratios > 0).all():
        ratios = np.full(len(ratios), np.exp(np.log(ratios).mean()))
    return ratios


def _constant(values: np.ndarray) -> bool:
    """Whether values `(jets, 3)`, their sum or largest are the same for all jets, and not zero."""
    together = values.max(axis=1, keepdims=True), values.sum(axis=1, keepdims=True)
    values = np.concatenate([values, *together], axis=1)
    most = abs(values).max(axis=0)
    return bool(((np.ptp(values, axis=0) < 1e-4 * most) & (most > 0)).any())
