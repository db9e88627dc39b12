"""`JetImages`: the jets that a reader holds. Open, look, pick, split, make batches."""

import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import h5py
import numpy as np
import torch
from tqdm import tqdm

from qghelpers import cache, layout, reading, store
from qghelpers.files import DataError

SAMPLE_FILE = "simulated_jets.hdf5"
SAMPLE_JETS = 2000
SAMPLE_SEED = 2026
LOOK_AT = 100  # jets, drawn at random, that must show which channel is which
ENOUGH = 2  # jets; in a single one Tracks may outshine ECAL


class JetImages:
    """Jet images with their labels, kept sparse; indexing gives the jets asked for.

    Attributes:
        channels: names of the channels, in the order of the images.
        labels: int64 with shape `(n,)`; 1 is quark, 0 is gluon.
        pt, mass: transverse momentum and mass of the jets in GeV, with shape `(n,)`.
        source: tells the file that the jets are from; the same for all subsets of it.
    """

    channels = layout.CHANNELS

    def __init__(self, images: store.Images, rows, labels, pt, mass, source="", order=None) -> None:
        self._images = images  # shared by all subsets
        self._rows = rows
        self._order = order  # where the channels are in `images`, if not in their places
        self.labels = labels
        self.pt = pt
        self.mass = mass
        self.source = source

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        quarks = int(self.labels.sum())
        return f"{len(self)} jets ({quarks} quark, {len(self) - quarks} gluon)"

    def __getitem__(self, which: Sequence[int] | np.ndarray | slice) -> "JetImages":
        """The jets at these positions, or where this mask is true; pixels are not copied."""
        if not isinstance(which, slice):
            which = np.asarray(which)
            which = which if which.dtype == bool else which.astype(np.int64)  # [] is float
        parts = (array[which] for array in (self._rows, self.labels, self.pt, self.mass))
        return JetImages(self._images, *parts, self.source, self._order)

    def to(self, device: str | torch.device) -> "JetImages":
        """The same jets with their sparse pixels on `device`, where batches are made dense."""
        images = store.ResidentImages(self._images.take(self._rows), device)
        columns = (self.labels, self.pt, self.mass)
        return JetImages(images, np.arange(len(self)), *columns, self.source, self._order)

    def images(self, which: Sequence[int] | np.ndarray | slice = slice(None)) -> torch.Tensor:
        """Dense images in the file's units (GeV/100), float32 with shape `(n, 3, 125, 125)`.

        The values are those of the file to the last bit. They lie in memory channels last.
        """
        images = self._images.dense(self[which]._rows)
        return images if self._order is None else images[:, self._order]

    def sums(self, function: Callable[[np.ndarray], np.ndarray] = np.asarray) -> np.ndarray:
        """Sum over the pixels of each jet and channel of a function that is 0 at 0.

        No image is made dense for this.

        Args:
            function: of a float64 array of pixels in GeV/100, entry by entry; unless given,
                the sum is the energy in a channel.

        Returns:
            float64 with shape `(n, 3)`.
        """
        sums = self._images.sums(self._rows, function)
        return sums if self._order is None else sums[:, self._order]

    def pixel_counts(self) -> np.ndarray:
        """Number of lit (non-zero) pixels of each jet and channel, int64 with shape `(n, 3)`."""
        return self.sums(lambda pixels: pixels != 0).astype(np.int64)

    def batches(
        self,
        size: int,
        shuffle: int | None = None,
        shard: tuple[int, int] = (0, 1),
        drop_last: bool = False,
    ) -> Iterator[torch.Tensor]:
        """Batches of dense images; the last one may be smaller.

        Args:
            size: jets in a batch.
            shuffle: a number that fixes a random order; the jets' own order unless given.
            shard: with `(i, n)`, only the i-th of n equal shares of every batch, for one of n
                processes that together see each batch as a single process would.
            drop_last: leave out a last batch that is smaller than the others.
        """
        order = np.arange(len(self))
        if shuffle is not None:
            order = np.random.default_rng(shuffle).permutation(order)
        index, shards = shard
        for start in range(0, len(self) - (size - 1) * drop_last, size):
            yield self.images(order[start : start + size][index::shards])

    def split(
        self, fractions: Sequence[float] = (0.8, 0.1, 0.1), seed: int = 0
    ) -> tuple["JetImages", ...]:
        """Random, disjoint parts with these shares of the jets of each label.

        Random because the public file is ordered by run period: its first jets are no fair sample.

        Args:
            fractions: of each part; they add up to 1.
            seed: the same number gives the same parts.

        Raises:
            ValueError: the fractions do not add up to 1, or a part would be empty.
        """
        if not np.isclose(sum(fractions), 1) or min(fractions) < 0:
            raise ValueError(f"fractions {tuple(fractions)} must be positive and add up to 1")
        rng = np.random.default_rng(seed)
        parts: list[list[np.ndarray]] = [[] for _ in fractions]
        for label in np.unique(self.labels):
            order = rng.permutation(np.flatnonzero(self.labels == label))
            cuts = np.rint(np.cumsum(fractions)[:-1] * len(order)).astype(int)
            for part, piece in zip(parts, np.split(order, cuts), strict=True):
                part.append(piece)
        chosen = [rng.permutation(np.concatenate(part)) for part in parts]
        if not all(len(part) for part in chosen):
            raise ValueError(f"{len(self)} jets are too few to split into {tuple(fractions)}")
        return tuple(self[part] for part in chosen)

    def fingerprint(self) -> str:
        """A short text that is the same for the same jets in the same order."""
        return _digest(self.labels, self.pt, self.mass)


def _digest(*arrays: np.ndarray) -> str:
    digest = hashlib.sha256()
    for array in arrays:
        digest.update(np.ascontiguousarray(array, np.float64).tobytes())
    return digest.hexdigest()[:16]


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
        layout.DataError: a file is missing or damaged, or is not laid out as expected.
        ValueError: `limit` is below 1, or `channels` are not the three.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"limit is {limit}: ask for one jet at least")
    if sorted(channels) != sorted(layout.CHANNELS):
        raise ValueError(f"channels are {', '.join(layout.CHANNELS)}, not {', '.join(channels)}")
    if path is None:
        path = _default_file()
    paths = [path] if isinstance(path, str | Path) else list(path)
    if not paths:
        raise ValueError("no file was given: name one at least")
    with ExitStack() as stack:
        files = [stack.enter_context(layout.open_file(path)) for path in paths]
        columns = [np.concatenate(parts) for parts in zip(*map(layout.columns, files), strict=True)]
        starts = store.offsets_of([len(file["X_jets"]) for file in files])
        rows = np.arange(starts[-1])
        if limit is not None and limit < len(rows):
            rows = np.sort(np.random.default_rng(seed).permutation(rows)[:limit])
        shares = np.split(rows, np.searchsorted(rows, starts[1:-1]))
        opened = [
            _images(file["X_jets"], share - start)
            for file, share, start in zip(files, shares, starts, strict=False)
        ]
    for name, (images, _) in zip(paths, opened, strict=True):
        _check_pixels(images, tuple(channels), name)
    starts = store.offsets_of([len(images) for images, _ in opened])
    everything = tuple(images for images, _ in opened)
    return JetImages(
        everything[0] if len(everything) == 1 else store.JoinedImages(everything),
        np.concatenate([own + start for (_, own), start in zip(opened, starts, strict=False)]),
        *(column[rows] for column in columns),
        source=_digest(*columns),
        order=None
        if tuple(channels) == layout.CHANNELS
        else [tuple(channels).index(name) for name in layout.CHANNELS],
    )


def _images(dataset: h5py.Dataset, rows: np.ndarray) -> tuple[store.SparseImages, np.ndarray]:
    """Sparse images that hold those wanted, and where they hold them."""
    if len(rows) == len(dataset):
        return cache.open_images(dataset), rows
    images = cache.find(dataset)
    if images is not None:
        return images, rows
    return store.SparseImages.join(reading.read_blocks(dataset, rows)), np.arange(len(rows))


def _check_pixels(images: store.SparseImages, channels: tuple[str, ...], path: str | Path) -> None:
    """Refuse pixels that are no numbers, and channels that are not what they are taken for."""
    bad = int((~np.isfinite(images.values)).sum())
    if bad:
        raise DataError(
            f"{path}: {bad} values are not finite (NaN or infinite): set those pixels to 0, or "
            "simulate or download the file again"
        )
    if len(images) < ENOUGH:
        return
    some = np.random.default_rng(0).permutation(len(images))[:LOOK_AT]
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
        from qghelpers.simulate import simulate  # needs Pythia8, which nothing else here does

        tqdm.write(
            f"{layout.PUBLIC_FILE} is not in {data.name}/, so {SAMPLE_JETS} jets are simulated "
            f"there into {SAMPLE_FILE}, once; it takes about half a minute."
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
