"""`JetImages`: jet images with their labels, to index, split and iterate over in batches."""

import hashlib
import numbers
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch

from qghelpers.data import layout, sparse

__all__ = ["Jet", "JetImages", "digest", "first_equal", "joined", "random_rows", "whole_number"]

AT_ONCE = 64  # jets that are made dense together when jets are iterated over


class Jet(NamedTuple):
    """One jet: `image`, float32 in GeV/100 with shape `(3, 125, 125)`, and `label`."""

    image: torch.Tensor
    label: int


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
        origin: where the jets are from, in words, such as "jets.hdf5 (simulated)".
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
        origin: str = "",
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
        self.origin = origin

    def __len__(self) -> int:
        return len(self._rows)

    def __repr__(self) -> str:
        others = sorted(set(self.process) - {layout.QCD})
        kinds = {"quark": self.quarks, "gluon": self.gluons}
        kinds |= {name: self[self.process == name] for name in others}
        counts = [f"{len(part)} {name}" for name, part in kinds.items() if len(part)]
        origin = f" of {self.origin}" if self.origin else ""
        return f"{len(self)} jets ({', '.join(counts)}){origin}"

    def __getitem__(self, which: int | Sequence[int] | np.ndarray | slice) -> "JetImages | Jet":
        """The jets at these indices, or where a mask is true; pixels are not copied.

        One index gives a `Jet`: its dense image and its label.

        Raises:
            IndexError: there is no such jet, or a mask has another length.
            TypeError: `which` are neither whole numbers nor a mask.
        """
        which = _indices(which)
        if isinstance(which, int):
            return Jet(self.images(which), int(self.labels[which]))
        return self._part(which)

    def __getitems__(self, which: Sequence[int]) -> list["Jet"]:
        """The jets of a batch, which `torch.utils.data.DataLoader` asks for at once."""
        labels = self.labels[_indices(which)].tolist()
        return [Jet(*pair) for pair in zip(self.images(which), labels, strict=True)]

    def __iter__(self) -> Iterator["Jet"]:
        for start in range(0, len(self), AT_ONCE):
            yield from self.__getitems__(range(start, min(start + AT_ONCE, len(self))))

    def _part(self, which: np.ndarray | slice) -> "JetImages":
        """The jets at these indices, or where a mask is true."""
        parts = (array[which] for array in (self._rows, *self._columns()))
        return JetImages(self._images, *parts, self.source, self._order, self.origin)

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
        return JetImages(
            images, np.arange(len(self)), *self._columns(), self.source, self._order, self.origin
        )

    def images(self, which: int | Sequence[int] | np.ndarray | slice = slice(None)) -> torch.Tensor:
        """Dense images in the file's units (GeV/100), float32 with shape `(n, 3, 125, 125)`.

        The values are bit for bit those of the file, in the channels-last memory layout. One index
        gives one image, with shape `(3, 125, 125)`.
        """
        which = _indices(which)
        if isinstance(which, int):
            return self.images([which])[0]
        return self._images.dense(self._rows[which])[:, self._order]

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
        found, done = None, 0
        for images in self.batches(size):  # small results kept from each batch would tear memory
            found = _placed(found, joined([function(images)]), done, len(self))
            done += len(images)
        return joined([function(self.images([]))]) if found is None else found

    def mean_image(self) -> np.ndarray:
        """Mean over the jets, float32 in GeV/100 with shape `(3, 125, 125)`."""
        none = torch.zeros(self.images([]).shape[1:], dtype=torch.float64)
        total = sum((images.double().sum(dim=0) for images in self.batches(256)), none)
        return (total / len(self)).float().numpy()

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
        if not isinstance(fractions, Iterable):
            raise TypeError(f"fractions are {fractions}: give one a part, such as (0.8, 0.2)")
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
        columns = [self.labels, self.pt, self.mass]
        if not np.isfinite(columns).all():  # pT or mass is not known
            columns.append(self.sums())
        return digest(*columns)


def _indices(which: Any) -> int | np.ndarray | slice:
    """Indices of jets, checked: one, several, a mask, or a slice."""
    if isinstance(which, slice):
        return which
    array = np.asarray(which)
    if array.ndim == 0 and array.dtype.kind in "iu":
        return int(array)
    if array.ndim == 1 and array.size == 0:  # [] is float
        return array.astype(np.int64)
    if array.ndim != 1 or array.dtype.kind not in "iub":
        raise TypeError("jets are chosen by whole numbers, by a mask of all jets, or by a slice")
    return array


def whole_number(name: str, value: Any) -> int:
    """An argument that has to be a whole number, which may be written as a float, such as 1e4.

    Raises:
        TypeError: it is no number.
        ValueError: it is no whole number.
    """
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"{name} is {value!r}: give a whole number")
    if value % 1 != 0:
        raise ValueError(f"{name} is {value}: give a whole number")
    return int(value)


def first_equal(*columns: np.ndarray) -> np.ndarray:
    """For each row, the first row that has the same values in all columns, with shape `(n,)`."""
    order = np.lexsort(columns)  # among equal ones the first stays first
    new = np.ones(len(order), bool)
    new[1:] = np.any([column[order][1:] != column[order][:-1] for column in columns], axis=0)
    first = np.empty_like(order)
    first[order] = order[np.maximum.accumulate(np.where(new, np.arange(len(order)), 0))]
    return first


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


def _placed(found: Any, part: Any, start: int, count: int) -> Any:
    """Put one batch's results into arrays for `count` jets, which are made for the first batch."""
    if isinstance(part, dict):
        return {k: _placed(found and found[k], v, start, count) for k, v in part.items()}
    if isinstance(part, tuple):
        return tuple(_placed(found and found[i], v, start, count) for i, v in enumerate(part))
    found = np.empty((count, *part.shape[1:]), part.dtype) if found is None else found
    found[start : start + len(part)] = part
    return found


def digest(*arrays: np.ndarray) -> str:
    """A short hash of arrays, as text."""
    state = hashlib.sha256()
    for array in arrays:
        state.update(np.ascontiguousarray(array, np.float64).tobytes())
    return state.hexdigest()[:16]
