"""`load_jets`: choose the input file, check that it is what it should be, open it."""

import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import h5py
import numpy as np
from tqdm import tqdm

from qghelpers.data import cache, hdf5, layout, reading, sparse
from qghelpers.data.hdf5 import DataError
from qghelpers.data.jets import JetImages, digest, random_rows

SAMPLE_FILE = "simulated_jets.hdf5"
SAMPLE_JETS = 2000
SAMPLE_SEED = 2026
JETS_TO_CHECK = 100  # jets, drawn at random, that must show which channel is which
MIN_JETS_TO_CHECK = 2  # jets; in a single one Tracks may outshine ECAL


def home() -> Path:
    """The folder that holds `data/` and `runs/`.

    `$QGHELPERS_HOME` if it is set, else the checkout that this package lies in, else the
    current folder.
    """
    if folder := os.environ.get("QGHELPERS_HOME"):
        return Path(folder)
    checkout = Path(__file__).parents[1]
    return checkout if (checkout / "pyproject.toml").is_file() else Path.cwd()


def load_jets(
    path: str | Path | Sequence[str | Path] | None = None,
    limit: int | None = None,
    seed: int = 0,
    channels: Sequence[str] = layout.CHANNELS,
) -> JetImages:
    """Open a file of jet images, or several as one.

    The first time, the pixels that are not zero are copied into a cache beside the file; from
    then on the cache is mapped into memory, which takes a fraction of a second.

    Args:
        path: HDF5 files with the public file's layout. Unless given: the public file if it
            lies in `data/`, else a sample of 2,000 jets that is simulated there the first time.
        limit: keep a random subset of at most this many jets. Where there is no cache yet, the
            rest is left unread.
        seed: of the subset.
        channels: the order in which the file has Tracks, ECAL and HCAL, if not this one. It is
            checked against the pixels; the jets have the usual order.

    Raises:
        DataError: a file is missing or damaged, or is not laid out as expected.
        ValueError: `limit` is below 1, or `channels` are not the three.
    """
    channels = tuple(channels)
    if limit is not None and limit < 1:
        raise ValueError(f"limit is {limit}: ask for one jet at least")
    if sorted(channels) != sorted(layout.CHANNELS):
        raise ValueError(f"channels are {', '.join(layout.CHANNELS)}, not {', '.join(channels)}")
    if path is None:
        path = _default_file()
    paths = [path] if isinstance(path, str | Path) else list(path)
    if not paths:
        raise ValueError("no file was given: name one at least")
    columns, chosen, parts, rows = _read(paths, limit, seed)
    for name, images in zip(paths, parts, strict=True):
        _check_pixels(images, channels, name)
    return JetImages(
        parts[0] if len(parts) == 1 else sparse.JoinedImages(parts),
        rows,
        *(column[chosen] for column in columns),
        source=digest(*columns[:3]),
        order=None
        if channels == layout.CHANNELS
        else [channels.index(name) for name in layout.CHANNELS],
    )


def _read(paths: Sequence[str | Path], limit: int | None, seed: int):
    """All jets' columns, the jets chosen from them, their images by file, and their rows in these.

    The images are those chosen, or all of a file's if they come from its cache.
    """
    with ExitStack() as stack:
        files = [stack.enter_context(hdf5.open_file(path)) for path in paths]
        columns = [np.concatenate(parts) for parts in zip(*map(hdf5.columns, files), strict=True)]
        starts = sparse.offsets_of([len(file["X_jets"]) for file in files])
        chosen = random_rows(starts[-1], limit, seed)
        shares = np.split(chosen, np.searchsorted(chosen, starts[1:-1]))
        wanted = [share - start for share, start in zip(shares, starts[:-1], strict=True)]
        opened = [_images(file["X_jets"], own) for file, own in zip(files, wanted, strict=True)]
    parts = tuple(images for images, _ in opened)
    starts = sparse.offsets_of([len(images) for images in parts])[:-1]
    rows = [own + start for (_, own), start in zip(opened, starts, strict=True)]
    return columns, chosen, parts, np.concatenate(rows)


def _images(dataset: h5py.Dataset, rows: np.ndarray) -> tuple[sparse.SparseImages, np.ndarray]:
    """Sparse images that hold those wanted, and where they hold them."""
    if len(rows) == len(dataset):
        return cache.open_images(dataset), rows
    images = cache.find(dataset)
    if images is not None:
        return images, rows
    return sparse.SparseImages.join(reading.read_blocks(dataset, rows)), np.arange(len(rows))


def _check_pixels(images: sparse.SparseImages, channels: tuple[str, ...], path: str | Path) -> None:
    """Refuse pixels that are no numbers, and channels that are not what they are taken for."""
    bad = int((~np.isfinite(images.values)).sum())
    if bad:
        raise DataError(
            f"{path}: {bad} values are not finite (NaN or infinite): set those pixels to 0, or "
            "simulate or download the file again"
        )
    if len(images) < MIN_JETS_TO_CHECK:
        return
    some = np.random.default_rng(0).permutation(len(images))[:JETS_TO_CHECK]
    found = layout.channels_by_evidence(images.dense(some).permute(0, 2, 3, 1).numpy())
    if found != channels:
        raise DataError(
            f"{path}: the channels should be {', '.join(channels)}, but the pixels say "
            f"{', '.join(found)} (HCAL alone has constant 5x5 blocks, Tracks is the sparser of "
            "the others): reorder them, or name the file's order, channels=... of load_jets"
        )


def _default_file() -> Path:
    data = home() / "data"
    if (data / layout.PUBLIC_FILE).is_file():
        return data / layout.PUBLIC_FILE
    sample = data / SAMPLE_FILE
    if not sample.is_file():
        from qghelpers.simulation.simulate import (
            simulate,  # needs Pythia8, which nothing else here does
        )

        tqdm.write(
            f"{layout.PUBLIC_FILE} is not in {data.name}/, so {SAMPLE_JETS} jets are simulated "
            f"there into {SAMPLE_FILE}, once; it takes about a minute."
        )
        try:
            data.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DataError(
                f"{data} cannot be made ({error.strerror}): set "
                "QGHELPERS_HOME to a folder you can write to"
            ) from error
        simulate(sample, SAMPLE_JETS, SAMPLE_SEED)
    return sample
