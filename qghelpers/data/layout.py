"""The layout of the public quark/gluon file: names, shapes, units, published figures.

The public file `quark-gluon_data-set_n139306.hdf5` holds the test jets of Andrews et al.,
"End-to-End Jet Classification of Quarks and Gluons with the CMS Open Data", arXiv:1902.08276.
Everything here is knowledge about that file and nothing else: other modules import it.
"""

import numpy as np

PUBLIC_FILE = "quark-gluon_data-set_n139306.hdf5"
CHANNELS = ("Tracks", "ECAL", "HCAL")
IMAGE_SIZE = 125  # pixels a side, one ECAL barrel crystal each
TOWER_SIZE = 5  # pixels along a side of one HCAL tower
TOWERS_PER_SIDE = IMAGE_SIZE // TOWER_SIZE
PIXEL_WIDTH = 0.0174  # pixel width in eta, and in phi in radians (2 pi / 360, rounded)
GEV_PER_UNIT = 100.0  # pixel values are GeV / 100
SMALLEST_DEPOSITS = (0.1, 0.05, 0.04)  # GeV a pixel, of Tracks, ECAL and HCAL
GLUON, QUARK = 0, 1  # the values of y
NEITHER = -1  # its value for jets that are neither; the public file has none
QCD = "qcd"  # the process that the public file's jets come from
IMAGE_SHAPE = (IMAGE_SIZE, IMAGE_SIZE, len(CHANNELS))  # as stored: channels last
CHUNK = 16  # jets in one chunk of a file written here

# What notebooks that read the public file printed: for gluon and quark jets, by channel.
PUBLIC_LIT_SHARE = {GLUON: (0.0053, 0.0174, 0.0282), QUARK: (0.0047, 0.0141, 0.0256)}
PUBLIC_MEAN = {GLUON: (8.1e-5, 4.9e-5, 2.9e-5), QUARK: (7.9e-5, 5.3e-5, 3.3e-5)}  # GeV/100
PUBLIC_LARGEST = {GLUON: (756.6, 4.10, 0.431), QUARK: (307.2, 9.33, 0.433)}  # GeV/100
PUBLIC_PT = (70.4, 337.1)  # GeV, of a copy of the same jets in another format


def constant_tower_share(images: np.ndarray) -> np.ndarray:
    """Share of the lit 5x5 blocks whose 25 pixels are equal, for each channel.

    Only HCAL is stored as towers spread over 5x5 pixels, so only there is the share 1:
    this tells which channel is HCAL without trusting anybody's list of names.

    Args:
        images: with shape `(jets, 125, 125, channels)`.

    Returns:
        Shares with shape `(channels,)`; 0 for a channel that is empty.
    """
    shape = (TOWERS_PER_SIDE, TOWER_SIZE, TOWERS_PER_SIDE, TOWER_SIZE, -1)
    blocks = images.reshape(len(images), *shape)
    low, high = blocks.min(axis=(2, 4)), blocks.max(axis=(2, 4))
    lit = (high != 0) | (low != 0)
    constant = ((low == high) & lit).sum(axis=(0, 1, 2))
    return constant / np.maximum(lit.sum(axis=(0, 1, 2)), 1)


def lit_share(images: np.ndarray) -> np.ndarray:
    """Share of non-zero pixels in each channel, from `(jets, 125, 125, channels)`."""
    return (images != 0).mean(axis=(0, 1, 2))


def channels_by_evidence(images: np.ndarray) -> tuple[str, ...]:
    """What the channels look like: HCAL is made of constant blocks, Tracks is the sparser other.

    Args:
        images: some tens of jets at least, with shape `(jets, 125, 125, 3)`.

    Returns:
        A name for each channel; "?" for all of them if not exactly one is made of blocks.
    """
    blocks, lit = constant_tower_share(images) > 0.99, lit_share(images)
    if blocks.sum() != 1:
        return ("?",) * len(blocks)
    hcal = int(blocks.argmax())
    tracks, ecal = sorted((i for i in range(3) if i != hcal), key=lambda i: lit[i])
    return tuple({hcal: "HCAL", tracks: "Tracks", ecal: "ECAL"}[i] for i in range(3))
