"""`JetImages`: the jets that a reader holds. Look, pick, split, make batches."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch

from qghelpers.data import layout, sparse


class JetImages:
    """Jet images with their labels, kept sparse; indexing gives the jets asked for.

    Attributes:
        channels: names of the channels, in the order of the images.
        labels: int64 with shape `(n,)`; 1 is quark, 0 is gluon, -1 neither.
        pt, mass: transverse momentum and mass of the jets in GeV, with shape `(n,)`.
        process: where the jets come from, with shape `(n,)`: "qcd", "w", "top" or "dark".
        source: tells the file that the jets are from; the same for all subsets of it.
    """

    channels = layout.CHANNELS

    def __init__(
        self, images: sparse.Images, rows, labels, pt, mass, process, source="", order=None
    ) -> None:
        self._images = images  # shared by all subsets
        self._rows = rows
        self._order = order  # where the channels are in `images`, if not in their places
        self.labels = labels
        self.pt = pt
        self.mass = mass
        self.process = process
        self.source = source

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        counts = [f"{len(part)} {name}" for name, part in self._kinds().items() if len(part)]
        return f"{len(self)} jets ({', '.join(counts)})"

    def __getitem__(self, which: Sequence[int] | np.ndarray | slice) -> "JetImages":
        """The jets at these positions, or where this mask is true; pixels are not copied."""
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

    def _kinds(self) -> dict[str, "JetImages"]:
        """Quark jets, gluon jets, and those of every other process."""
        others = sorted(set(self.process) - {layout.QCD})
        kinds = {"quark": self.quarks, "gluon": self.gluons}
        return kinds | {name: self[self.process == name] for name in others}

    def _columns(self) -> tuple[np.ndarray, ...]:
        return self.labels, self.pt, self.mass, self.process

    def to(self, device: str | torch.device) -> "JetImages":
        """The same jets with their sparse pixels on `device`, where batches are made dense."""
        images = sparse.ResidentImages(self._images.take(self._rows), device)
        return JetImages(images, np.arange(len(self)), *self._columns(), self.source, self._order)

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
        first: int = 0,
    ) -> Iterator[torch.Tensor]:
        """Batches of dense images; the last one may be smaller.

        Args:
            size: jets in a batch.
            shuffle: a number that fixes a random order; the jets' own order unless given.
            shard: with `(i, n)`, only the i-th of n equal shares of every batch, for one of n
                processes that together see each batch as a single process would.
            first: begin with this batch, counted from 0.
        """
        order = np.arange(len(self))
        if shuffle is not None:
            order = np.random.default_rng(shuffle).permutation(order)
        index, shards = shard
        for start in range(first * size, len(self), size):
            yield self.images(order[start : start + size][index::shards])

    @torch.no_grad()
    def map(self, function: Callable[[torch.Tensor], Any], size: int = 256) -> Any:
        """Apply a function to the dense images batch by batch, and put the results together.

        Args:
            function: from images in GeV/100 with shape `(n, 3, 125, 125)` to a tensor or array
                with shape `(n, *)`, or to a dictionary or tuple of such.
            size: jets in a batch.

        Returns:
            What `function` returns, for all jets, as NumPy arrays; no gradients are kept.
        """
        parts = [function(images) for images in self.batches(size)]
        return joined(parts or [function(self.images([]))])

    def mean_image(self) -> np.ndarray:
        """Mean over the jets, float32 in GeV/100 with shape `(3, 125, 125)`."""
        sums = self.map(lambda images: images.double().sum(dim=0, keepdim=True))
        return (sums.sum(axis=0) / len(self)).astype(np.float32)

    def sample(self, size: int | None, seed: int = 0) -> "JetImages":
        """A random subset of at most `size` jets in their order; all of them if None."""
        return self[random_rows(len(self), size, seed)]

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
        return digest(self.labels, self.pt, self.mass)


def random_rows(count: int, size: int | None, seed: int) -> np.ndarray:
    """At most `size` of `count` rows, drawn at random, in rising order; all of them if None."""
    if size is None or size >= count:
        return np.arange(count)
    return np.sort(np.random.default_rng(seed).permutation(count)[:size])


def joined(parts: list) -> Any:
    """Concatenate tensors or arrays, or dictionaries or tuples of such, as NumPy arrays."""
    if isinstance(parts[0], dict):
        return {name: joined([part[name] for part in parts]) for name in parts[0]}
    if isinstance(parts[0], tuple):
        return tuple(joined(list(column)) for column in zip(*parts, strict=True))
    return np.concatenate([torch.as_tensor(part).cpu().numpy() for part in parts])


def digest(*arrays: np.ndarray) -> str:
    """A short text that tells these columns from others."""
    state = hashlib.sha256()
    for array in arrays:
        state.update(np.ascontiguousarray(array, np.float64).tobytes())
    return state.hexdigest()[:16]
