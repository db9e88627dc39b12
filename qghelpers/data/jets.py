"""`JetImages`: jet images with their labels, to index, split and iterate over in batches."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from qghelpers.data import layout, sparse

__all__ = ["JetImages", "digest", "joined", "random_rows"]


class JetImages:
    """Jet images with their labels, stored sparse; indexing gives a subset of the jets.

    Attributes:
        channels: names of the channels, in the order of the images.
        labels: int64 with shape `(n,)`; 1 is quark, 0 is gluon, -1 neither.
        pt, mass: transverse momentum and mass of the jets in GeV, with shape `(n,)`.
        process: the process that produced them, with shape `(n,)`: "qcd", "w", "top" or "dark".
        twin: int64 with shape `(n,)`; jets with one number are the same hard jet, with other
            pile-up and other chances of the detector.
        source: identifies the file that the jets are from; the same for all its subsets.
    """

    channels = layout.CHANNELS

    def __init__(
        self,
        images: sparse.Images,
        rows: np.ndarray,
        labels: np.ndarray,
        pt: np.ndarray,
        mass: np.ndarray,
        process: np.ndarray,
        twin: np.ndarray,
        source: str = "",
        order: Sequence[int] | slice = slice(None),
    ) -> None:
        self._images = images  # shared by all subsets
        self._rows = rows
        self._order = order  # indices of Tracks, ECAL and HCAL among the channels of `images`
        self.labels = labels
        self.pt = pt
        self.mass = mass
        self.process = process
        self.twin = twin
        self.source = source

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        others = sorted(set(self.process) - {layout.QCD})
        kinds = {"quark": self.quarks, "gluon": self.gluons}
        kinds |= {name: self[self.process == name] for name in others}
        counts = [f"{len(part)} {name}" for name, part in kinds.items() if len(part)]
        return f"{len(self)} jets ({', '.join(counts)})"

    def __getitem__(self, which: Sequence[int] | np.ndarray | slice) -> "JetImages":
        """The jets at these indices, or where a mask is true; pixels are not copied."""
        if not isinstance(which, slice):
            which = np.asarray(which)
            which = which if which.dtype == bool else which.astype(np.int64)  # [] is float
        parts = (array[which] for array in (self._rows, *self._columns()))
        return JetImages(self._images, *parts, self.source, self._order)

    @property
    def quarks(self) -> "JetImages":
        """The jets with label 1."""
        return self[self.labels == layout.QUARK]

    @property
    def gluons(self) -> "JetImages":
        """The jets with label 0."""
        return self[self.labels == layout.GLUON]

    def _columns(self) -> tuple[np.ndarray, ...]:
        return self.labels, self.pt, self.mass, self.process, self.twin

    def to(self, device: str | torch.device) -> "JetImages":
        """The same jets with their sparse pixels on `device`, on which dense images are made."""
        images = sparse.ResidentImages(self._images.take(self._rows), device)
        return JetImages(images, np.arange(len(self)), *self._columns(), self.source, self._order)

    def images(self, which: Sequence[int] | np.ndarray | slice = slice(None)) -> torch.Tensor:
        """Dense images in the file's units (GeV/100), float32 with shape `(n, 3, 125, 125)`.

        The values are bit for bit those of the file, in the channels-last memory layout.
        """
        return self._images.dense(self[which]._rows)[:, self._order]

    def sums(self, function: Callable[[np.ndarray], np.ndarray] = np.asarray) -> np.ndarray:
        """Sums over the lit pixels of each jet and channel, float64 with shape `(n, 3)`.

        Args:
            function: applied elementwise to the lit pixels, a float64 array in GeV/100, before
                they are summed; by default the identity, whose sum is the energy.
        """
        return self._images.sums(self._rows, function)[:, self._order]

    def pixel_counts(self) -> np.ndarray:
        """Number of lit (non-zero) pixels of each jet and channel, int64 with shape `(n, 3)`."""
        return self.sums(lambda pixels: pixels != 0).astype(np.int64)

    def batches(
        self, size: int, shuffle: int | None = None, shard: tuple[int, int] = (0, 1), first: int = 0
    ) -> Iterator[torch.Tensor]:
        """Batches of dense images; the last one may be smaller.

        Args:
            size: jets per batch.
            shuffle: seed of a random order; by default the order of the jets.
            shard: `(i, n)` gives the i-th of n shares of every batch, for distributed training:
                n processes together see the batches of a single process.
            first: index of the first batch, from 0.
        """
        order = np.arange(len(self))
        if shuffle is not None:
            order = np.random.default_rng(shuffle).permutation(order)
        index, shards = shard
        for start in range(first * size, len(self), size):
            yield self.images(order[start : start + size][index::shards])

    @torch.no_grad()
    def map(self, function: Callable[[torch.Tensor], Any], size: int = 256) -> Any:
        """Apply a function to the dense images batch by batch, without gradients.

        Args:
            function: from images in GeV/100 with shape `(n, 3, 125, 125)` to a tensor or array
                with shape `(n, *)`, or to a dictionary or tuple of these.
            size: jets per batch.

        Returns:
            The concatenated results, as NumPy arrays.
        """
        parts = [function(images) for images in self.batches(size)]
        return joined(parts or [function(self.images([]))])

    def mean_image(self) -> np.ndarray:
        """Mean over the jets, float32 in GeV/100 with shape `(3, 125, 125)`."""
        sums = self.map(lambda images: images.double().sum(dim=0, keepdim=True))
        return (sums.sum(axis=0) / len(self)).astype(np.float32)

    def sample(self, size: int | None, seed: int = 0) -> "JetImages":
        """A random subset of at most `size` jets, in their original order; all jets if None."""
        return self[random_rows(len(self), size, seed)]

    def split(
        self, fractions: Sequence[float] = (0.8, 0.1, 0.1), seed: int = 0
    ) -> tuple["JetImages", ...]:
        """Random, disjoint parts; each has the same share of the jets of every label.

        They are random because the public file is ordered by the period of data taking. Twins
        stay together.

        Args:
            fractions: share of the jets in each part; they sum to 1.
            seed: the same seed gives the same parts.

        Raises:
            ValueError: the fractions do not sum to 1, or a part would be empty.
        """
        if not np.isclose(sum(fractions), 1) or min(fractions) < 0:
            raise ValueError(f"fractions {tuple(fractions)} must be positive and add up to 1")
        rng = np.random.default_rng(seed)
        parts: list[list[np.ndarray]] = [[] for _ in fractions]
        first = np.zeros(len(self), bool)  # of its twins
        first[np.unique(self.twin, return_index=True)[1]] = True
        for label in np.unique(self.labels):
            order = rng.permutation(np.flatnonzero(first & (self.labels == label)))
            cuts = np.rint(np.cumsum(fractions)[:-1] * len(order)).astype(int)
            for part, piece in zip(parts, np.split(order, cuts), strict=True):
                others = ~first & np.isin(self.twin, self.twin[piece])
                part.append(np.append(piece, np.flatnonzero(others)))
        chosen = [rng.permutation(np.concatenate(part)) for part in parts]
        if not all(len(part) for part in chosen):
            raise ValueError(f"{len(self)} jets are too few to split into {tuple(fractions)}")
        return tuple(self[part] for part in chosen)

    def fingerprint(self) -> str:
        """A short hash of the jets and their order."""
        return digest(self.labels, self.pt, self.mass)


def random_rows(count: int, size: int | None, seed: int) -> np.ndarray:
    """At most `size` random rows out of `count`, in increasing order; all rows if None."""
    if size is None or size >= count:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).permutation(count)[:size])


def joined(parts: list) -> Any:
    """Concatenate tensors or arrays, or dictionaries or tuples of these, as NumPy arrays."""
    if isinstance(parts[0], dict):
        return {name: joined([part[name] for part in parts]) for name in parts[0]}
    if isinstance(parts[0], tuple):
        return tuple(joined(list(column)) for column in zip(*parts, strict=True))
    return np.concatenate([torch.as_tensor(part).cpu().numpy() for part in parts])


def digest(*arrays: np.ndarray) -> str:
    """A short hash of arrays, as text."""
    state = hashlib.sha256()
    for array in arrays:
        state.update(np.ascontiguousarray(array, np.float64).tobytes())
    return state.hexdigest()[:16]
