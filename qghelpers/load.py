"""`load_jets`: choose the input file, check its content and open it."""

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
from qghelpers.locks import locked

__all__ = ["SAMPLE_FILE", "home", "load_jets"]

SAMPLE_FILE = "simulated_jets.hdf5"
SAMPLE_JETS = 2000
SAMPLE_SEED = 2026
JETS_TO_CHECK = 100  # random jets from which the order of the channels is checked
MIN_JETS_TO_CHECK = 2  # with fewer it is not: in one jet, Tracks may have more lit pixels than ECAL


def home() -> Path:
    """The folder that holds `data/` and `runs/`.

    This is `$QGHELPERS_HOME` if set, else the checkout of this package, else the current folder,
    or the one above where that is a folder `notebooks`.
    """
    if folder := os.environ.get("QGHELPERS_HOME"):
        return Path(folder).expanduser()
    checkout = Path(__file__).parents[1]
    if (checkout / "pyproject.toml").is_file():
        return checkout
    here = Path.cwd()
    return here.parent if here.name == "notebooks" else here


def load_jets(
    path: str | Path | Sequence[str | Path] | None = None,
    limit: int | None = None,
    seed: int = 0,
    channels: Sequence[str] = layout.CHANNELS,
) -> JetImages:
    """Open one or several files of jet images.

    The first time, the non-zero pixels are copied into a cache beside the file; from then on the
    cache is mapped into memory, which takes a fraction of a second.

    Args:
        path: HDF5 files with the public file's layout. By default the public file if it lies in
            `data/`, else a sample of 2,000 jets, which is simulated there the first time.
        limit: keep a random subset of at most this many jets. Without a cache, only these are
            read.
        seed: of the subset.
        channels: order of the channels in the file. It is checked against the pixels; the images
            of the returned jets have the usual order.

    Raises:
        qghelpers.DataError: a file is missing or damaged, or has another layout.
        ValueError: `limit` is below 1, or `channels` are not Tracks, ECAL and HCAL.
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
    same = channels == layout.CHANNELS
    columns, chosen, parts, rows = _read(paths, limit, seed)
    for name, images in zip(paths, parts, strict=True):
        _check_pixels(images, channels, name)
    return JetImages(
        parts[0] if len(parts) == 1 else sparse.JoinedImages(parts),
        rows,
        *(column[chosen] for column in columns),
        source=digest(*columns[:3]),
        order=slice(None) if same else [channels.index(name) for name in layout.CHANNELS],
    )


def _read(paths: Sequence[str | Path], limit: int | None, seed: int):
    """Columns of all jets, indices of the chosen ones, images by file, and their rows in these."""
    with ExitStack() as stack:
        files = [stack.enter_context(hdf5.open_file(path)) for path in paths]
        columns = [list(parts) for parts in zip(*map(hdf5.columns, files), strict=True)]
        for before, i in enumerate(range(1, len(files))):  # twins are of the same file
            columns[-1][i] = columns[-1][i] + columns[-1][before].max() + 1
        columns = [np.concatenate(parts) for parts in columns]
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
    """Images that include those at `rows`, from the cache or read from the file, and their rows."""
    if len(rows) == len(dataset):
        return cache.open_images(dataset), rows
    if (images := cache.find(dataset)) is not None:
        return images, rows
    return sparse.SparseImages.join(reading.read_blocks(dataset, rows)), np.arange(len(rows))


def _check_pixels(images: sparse.SparseImages, channels: tuple[str, ...], path: str | Path) -> None:
    """Raise a DataError if pixels are not finite, or if the pixels contradict `channels`."""
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
    """The public file if it is there, else the sample, which is simulated the first time."""
    folder = home() / "data"
    sample = folder / SAMPLE_FILE
    for path in (folder / layout.PUBLIC_FILE, sample):
        if path.is_file():
            return path
    from qghelpers.simulation.simulate import simulate  # only here: it needs Pythia8

    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        remedy = "set QGHELPERS_HOME to a folder you can write to"
        raise DataError(f"{folder} cannot be made ({error.strerror}): {remedy}") from error
    with locked(sample):
        if not sample.is_file():  # else another process has made it meanwhile
            tqdm.write(
                f"{layout.PUBLIC_FILE} is not in {folder.name}/, so {SAMPLE_JETS} jets are "
                f"simulated there into {SAMPLE_FILE}, once; it takes about a minute."
            )
            simulate(sample, SAMPLE_JETS, SAMPLE_SEED)
    return sample
