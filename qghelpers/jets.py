"""`JetImages`: the jets that a reader holds. Open, look, pick, split, make batches."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from qghelpers import layout, store

SAMPLE_FILE = "simulated_jets.hdf5"
SAMPLE_JETS = 2000
SAMPLE_SEED = 2026


class JetImages:
    """Jet images with their labels, kept sparse; indexing gives the jets asked for.

    Attributes:
        channels: names of the channels, in the order of the images.
        labels: int64 with shape `(n,)`; 1 is quark, 0 is gluon.
        pt, mass: transverse momentum and mass of the jets in GeV, with shape `(n,)`.
        source: tells the file that the jets are from; the same for all subsets of it.
    """

    channels = layout.CHANNELS

    def __init__(self, images: store.SparseImages, rows, labels, pt, mass, source="") -> None:
        self._images = images  # shared by all subsets
        self._rows = rows
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
        return JetImages(self._images, *parts, self.source)

    def images(self, which: Sequence[int] | np.ndarray | slice = slice(None)) -> torch.Tensor:
        """Dense images in the file's units (GeV/100), float32 with shape `(n, 3, 125, 125)`."""
        return self._images.dense(self[which]._rows)

    def pixel_counts(self) -> np.ndarray:
        """Number of lit (non-zero) pixels of each jet and channel, with shape `(n, 3)`."""
        counts = [(images != 0).sum(dim=(2, 3)) for images in self.batches(256)]
        return torch.cat(counts).numpy()

    def batches(self, size: int, shuffle: int | None = None) -> Iterator[torch.Tensor]:
        """Batches of dense images; the last one may be smaller.

        Args:
            size: jets in a batch.
            shuffle: a number that fixes a random order; the jets' own order unless given.
        """
        order = np.arange(len(self))
        if shuffle is not None:
            order = np.random.default_rng(shuffle).permutation(order)
        for start in range(0, len(self), size):
            yield self.images(order[start : start + size])

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


def load_jets(path: str | Path | None = None, limit: int | None = None, seed: int = 0) -> JetImages:
    """Open a file of jet images.

    Args:
        path: an HDF5 file with the public file's layout. Unless given: the public file if it
            lies in `data/`, else a sample of 2,000 jets that is simulated there the first time.
        limit: keep a random subset of at most this many jets.
        seed: of the subset.

    Raises:
        layout.DataError: the file is missing or damaged, or is not laid out as expected.
    """
    if limit is not None and limit < 1:
        raise ValueError(f"limit is {limit}: ask for one jet at least")
    path = _default_file() if path is None else Path(path)
    with layout.open_file(path) as file:
        rows = np.arange(len(file["X_jets"]))
        if limit is not None and limit < len(rows):
            rows = np.sort(np.random.default_rng(seed).permutation(rows)[:limit])
        _check_channels(file["X_jets"][rows[:64]], path)
        labels, pt, mass = (file[key][:] for key in ("y", "pt", "m0"))
        return JetImages(
            store.read_images(file["X_jets"], rows),
            np.arange(len(rows)),
            labels=labels[rows].astype(np.int64),
            pt=pt[rows],
            mass=mass[rows],
            source=_digest(labels, pt, mass),
        )


def _check_channels(images: np.ndarray, path: Path) -> None:
    """Refuse a file whose last channel is not the one made of 5x5 towers."""
    constant = layout.constant_tower_share(images)
    if constant[2] < 0.99 or max(constant[:2]) > 0.99:
        shares = ", ".join(f"{share:.2f}" for share in constant)
        raise layout.DataError(
            f"{path}: the last channel should be HCAL, the only one of constant 5x5 blocks, but "
            f"their share by channel is {shares}: reorder the channels to Tracks, ECAL, HCAL"
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
            raise layout.DataError(
                f"{data} cannot be made ({error.strerror}): set "
                "QGHELPERS_HOME to a folder you can write to"
            ) from error
        simulate(sample, SAMPLE_JETS, SAMPLE_SEED)
    return sample
