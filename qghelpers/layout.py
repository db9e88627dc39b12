"""The layout of the public quark/gluon file, and what is wrong with a file that departs from it.

The public file `quark-gluon_data-set_n139306.hdf5` holds the test jets of Andrews et al.,
"End-to-End Jet Classification of Quarks and Gluons with the CMS Open Data", arXiv:1902.08276.
Everything here is knowledge about that file and nothing else: other modules import it.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

PUBLIC_FILE = "quark-gluon_data-set_n139306.hdf5"
CHANNELS = ("Tracks", "ECAL", "HCAL")
IMAGE_SIZE = 125  # pixels a side, one ECAL barrel crystal each
TOWER_SIZE = 5  # crystals a side of one HCAL tower
PIXEL_WIDTH = 0.0174  # pixel width in eta, and in phi in radians (2 pi / 360, rounded)
GEV_PER_UNIT = 100.0  # pixel values are GeV / 100
GLUON, QUARK = 0, 1  # the values of y
IMAGE_SHAPE = (IMAGE_SIZE, IMAGE_SIZE, len(CHANNELS))  # as stored: channels last
CHUNK = 16  # jets in one chunk of a file written here


class DataError(ValueError):
    """A file that cannot be used: one line that names it, what is wrong and what to do."""


@contextmanager
def open_file(path: str | Path) -> Iterator[h5py.File]:
    """Open `path` for reading and check that it has the public file's layout.

    Raises:
        DataError: the file is missing, is not HDF5, lacks a dataset, or has wrong shapes.
    """
    path = Path(path)
    if not path.is_file():
        what = "is a folder, not a file" if path.is_dir() else "does not exist"
        raise DataError(f"{path} {what}: give the path of a jet-image HDF5 file")
    try:
        with h5py.File(path, "r") as file:
            _check(file, path)
            yield file
    except OSError as error:  # on opening, or later where a part of the file is damaged
        raise DataError(
            f"{path} cannot be read as HDF5 ({_reason(error)}): download or simulate it again"
        ) from error


def _check(file: h5py.File, path: Path) -> None:
    datasets = {key: file.get(key) for key in ("X_jets", "y", "pt", "m0")}
    missing = [key for key, data in datasets.items() if not isinstance(data, h5py.Dataset)]
    if missing:
        raise DataError(
            f"{path} has no dataset {', '.join(missing)} (found: {', '.join(file) or 'nothing'}): "
            "it needs X_jets, y, pt and m0"
        )
    for key, data in datasets.items():
        if not np.issubdtype(data.dtype, np.number):
            raise DataError(f"{path}: {key} holds {data.dtype}, not numbers: simulate it again")
    images = datasets.pop("X_jets")
    if images.shape[1:] != IMAGE_SHAPE:
        raise DataError(
            f"{path}: X_jets has shape {images.shape}, not (jets, 125, 125, 3): "
            "store images channels last, in the order Tracks, ECAL, HCAL"
        )
    if len(images) == 0:
        raise DataError(f"{path} holds no jets: simulate or download it again")
    for key, data in datasets.items():
        if data.shape != (len(images),):
            raise DataError(
                f"{path}: {key} has shape {data.shape} but X_jets holds {len(images)} jets: "
                "every dataset needs one entry a jet"
            )
    if not np.isin(datasets["y"][:], (GLUON, QUARK)).all():
        raise DataError(f"{path}: y has values other than 0 (gluon) and 1 (quark): relabel it")


@contextmanager
def create_file(path: str | Path, jets: int) -> Iterator[h5py.File]:
    """Make a file of `jets` empty jets to be filled in; it gets its name only once it is whole.

    Until the block ends without an error the data lie in a temporary file beside `path`,
    which is removed if the block fails or is interrupted.

    Raises:
        DataError: the folder does not exist or cannot be written to.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        if path.is_dir():
            raise IsADirectoryError(21, "it is a folder")
        file = h5py.File(temporary, "w")
    except OSError as error:
        raise DataError(
            f"{path} cannot be written ({_reason(error)}): choose a folder you can write to"
        ) from error
    try:
        with file:
            file.create_dataset(
                "X_jets",
                (jets, *IMAGE_SHAPE),
                "float32",
                chunks=(min(CHUNK, jets), *IMAGE_SHAPE),
                compression="gzip",
                compression_opts=1,
            )
            for key in ("y", "pt", "m0"):
                file.create_dataset(key, (jets,), "float32")
            yield file
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _reason(error: OSError) -> str:
    """The reason alone: h5py wraps that of the operating system in a long message."""
    reason = re.search("error message = '([^']+)'", str(error))
    return reason[1] if reason else (error.strerror or str(error)).splitlines()[0]


def constant_tower_share(images: np.ndarray) -> np.ndarray:
    """Share of the lit 5x5 blocks whose 25 pixels are equal, for each channel.

    Only HCAL is stored as towers spread over 5x5 pixels, so only there is the share 1:
    this tells which channel is HCAL without trusting anybody's list of names.

    Args:
        images: with shape `(jets, 125, 125, channels)`.

    Returns:
        Shares with shape `(channels,)`; 0 for a channel that is empty.
    """
    towers = IMAGE_SIZE // TOWER_SIZE
    blocks = images.reshape(len(images), towers, TOWER_SIZE, towers, TOWER_SIZE, -1)
    low, high = blocks.min(axis=(2, 4)), blocks.max(axis=(2, 4))
    lit = (high != 0) | (low != 0)
    constant = ((low == high) & lit).sum(axis=(0, 1, 2))
    return constant / np.maximum(lit.sum(axis=(0, 1, 2)), 1)


def lit_share(images: np.ndarray) -> np.ndarray:
    """Share of non-zero pixels in each channel, from `(jets, 125, 125, channels)`."""
    return (images != 0).mean(axis=(0, 1, 2))
