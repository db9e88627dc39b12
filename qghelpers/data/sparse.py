"""Sparse jet images: only the non-zero pixels, about 2 % of all, are kept, without any loss.

HCAL consists of towers whose energy is spread evenly over 5x5 pixels; a tower is kept as one entry.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from qghelpers.data.layout import CHANNELS, IMAGE_SHAPE, TOWER_SIZE, TOWERS_PER_SIDE

__all__ = [
    "CORNERS",
    "PIXELS",
    "TOWERS_PER_IMAGE",
    "TOWER_OFFSETS",
    "Images",
    "JoinedImages",
    "ResidentImages",
    "SparseImages",
    "offsets_of",
]

PIXELS = int(np.prod(IMAGE_SHAPE))  # per image, in all channels
TOWERS_PER_IMAGE = TOWERS_PER_SIDE**2
HCAL = CHANNELS.index("HCAL")
_GRID = np.arange(PIXELS).reshape(IMAGE_SHAPE)
CORNERS = _GRID[::TOWER_SIZE, ::TOWER_SIZE, HCAL].ravel()  # the first pixel of each tower
# distances from the first pixel of a tower to each of its 25 pixels
TOWER_OFFSETS = (_GRID[:TOWER_SIZE, :TOWER_SIZE, HCAL] - HCAL).ravel()
# First pixel and number of pixels of each value that `SparseImages.positions` can have.
_PIXEL = np.append(np.arange(PIXELS), CORNERS)
_SIZE = np.append(np.ones(PIXELS, int), np.full(TOWERS_PER_IMAGE, TOWER_OFFSETS.size))


@dataclass(frozen=True)
class SparseImages:
    """The non-zero pixels of `n` images in three flat arrays.

    Attributes:
        offsets: int64 with shape `(n + 1,)`; image `i` has entries `offsets[i]:offsets[i + 1]`.
        positions: uint16 with shape `(entries,)`; below 46,875 the index of a pixel in a flattened
            channels-last image, else 46,875 plus the index of an HCAL tower whose 25 pixels all
            have the entry's value.
        values: float32 with shape `(entries,)`, in the file's units.
    """

    offsets: np.ndarray
    positions: np.ndarray
    values: np.ndarray

    @classmethod
    def join(cls, parts: Iterable["SparseImages"]) -> "SparseImages":
        """The images of all parts, copied into single arrays."""
        parts = list(parts)
        if not parts:
            return cls(np.zeros(1, np.int64), np.zeros(0, np.uint16), np.zeros(0, np.float32))
        counts = np.concatenate([np.diff(part.offsets) for part in parts])
        positions = np.concatenate([part.positions for part in parts])
        values = np.concatenate([part.values for part in parts])
        return cls(offsets_of(counts), positions, values)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return self.offsets.nbytes + self.positions.nbytes + self.values.nbytes

    def _entries(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Index into `rows`, position and value of every entry of these images."""
        starts = self.offsets[rows]
        counts = self.offsets[np.add(rows, 1)] - starts
        place = np.repeat(np.arange(len(rows)), counts)
        chosen = np.arange(len(place)) + (starts - np.cumsum(counts) + counts)[place]
        return place, self.positions[chosen], self.values[chosen]

    def dense(self, rows: np.ndarray) -> Tensor:
        """The images at `rows`, float32 with shape `(len(rows), 3, 125, 125)`.

        They are in the channels-last memory layout, in which convolutions are faster.
        """
        place, positions, values = self._entries(rows)
        first = place * PIXELS + _PIXEL[positions]
        images = np.zeros(len(rows) * PIXELS, np.float32)
        images[first] = values
        towers = np.flatnonzero(positions >= PIXELS)
        images[first[towers, None] + TOWER_OFFSETS] = values[towers, None]
        return torch.from_numpy(images).view(-1, *IMAGE_SHAPE).permute(0, 3, 1, 2)

    def pixels(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Index into `rows`, channel, value and number of pixels of every entry."""
        place, positions, values = self._entries(rows)
        return place, _PIXEL[positions] % len(CHANNELS), values, _SIZE[positions]

    def sums(self, rows: np.ndarray, function: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """Sums of `function(pixels)` over the lit pixels, float64 with shape `(len(rows), 3)`.

        `function` acts elementwise on a float64 array. No image is made dense.
        """
        parts = [np.zeros((0, len(CHANNELS)))]
        for start in range(0, len(rows), 4096):
            block = rows[start : start + 4096]
            place, channel, values, sizes = self.pixels(block)
            place = place * len(CHANNELS) + channel
            weights = function(values.astype(np.float64)) * sizes
            sums = np.bincount(place, weights, minlength=len(block) * len(CHANNELS))
            parts.append(sums.reshape(len(block), len(CHANNELS)))
        return np.concatenate(parts)

    def take(self, rows: np.ndarray) -> "SparseImages":
        """A copy of the images at `rows`, in memory."""
        place, positions, values = self._entries(rows)
        return SparseImages(offsets_of(np.bincount(place, minlength=len(rows))), positions, values)


@dataclass(frozen=True)
class JoinedImages:
    """The images of several files, in the order of the files, without copying them."""

    parts: tuple[SparseImages, ...]

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    def _split(self, rows: np.ndarray):
        """For each part that holds some of `rows`: the part, indices into `rows`, its own rows."""
        starts = offsets_of([len(part) for part in self.parts])
        owner = np.searchsorted(starts, rows, side="right") - 1
        for i in np.unique(owner):
            places = np.flatnonzero(owner == i)
            yield self.parts[i], places, rows[places] - starts[i]

    def dense(self, rows: np.ndarray) -> Tensor:
        """See `SparseImages.dense`."""
        images = torch.empty((len(rows), *IMAGE_SHAPE)).permute(0, 3, 1, 2)
        for part, places, own in self._split(rows):
            images[torch.from_numpy(places)] = part.dense(own)
        return images

    def sums(self, rows: np.ndarray, function: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """See `SparseImages.sums`."""
        sums = np.zeros((len(rows), len(CHANNELS)))
        for part, places, own in self._split(rows):
            sums[places] = part.sums(own, function)
        return sums

    def take(self, rows: np.ndarray) -> SparseImages:
        """See `SparseImages.take`."""
        split = list(self._split(rows))
        images = SparseImages.join(part.take(own) for part, _, own in split)
        places = [np.zeros(0, int), *(places for _, places, _ in split)]
        return images.take(np.argsort(np.concatenate(places)))


class ResidentImages:
    """Sparse images on a device, such as a GPU, where they are made dense; `host` has a copy."""

    def __init__(self, host: SparseImages, device: str | torch.device) -> None:
        self.host = host
        self._offsets, self._values, self._pixel, self._rest = (
            torch.from_numpy(array).to(device)
            for array in (host.offsets, host.values, _PIXEL, TOWER_OFFSETS)
        )
        # few operations support uint16 on a GPU: int16 has the same bits; dense() undoes the sign
        self._positions = torch.from_numpy(host.positions.view(np.int16)).to(device)

    def __len__(self) -> int:
        return len(self.host)

    def dense(self, rows: np.ndarray) -> Tensor:
        """See `SparseImages.dense`; the result is on the device."""
        device = self._values.device
        rows = torch.from_numpy(np.ascontiguousarray(rows)).to(device)
        starts = self._offsets[rows]
        counts = self._offsets[rows + 1] - starts
        place = torch.repeat_interleave(counts)
        chosen = torch.arange(len(place), device=device)
        chosen += (starts - counts.cumsum(0) + counts)[place]
        positions, values = self._positions[chosen].long() & 0xFFFF, self._values[chosen]
        first = place * PIXELS + self._pixel[positions]
        images = torch.zeros(len(rows) * PIXELS, device=device)
        images[first] = values
        towers = torch.nonzero(positions >= PIXELS)[:, 0]
        images[first[towers, None] + self._rest] = values[towers, None]
        return images.view(-1, *IMAGE_SHAPE).permute(0, 3, 1, 2)

    def sums(self, rows: np.ndarray, function: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
        """See `SparseImages.sums`; computed on the host."""
        return self.host.sums(rows, function)

    def take(self, rows: np.ndarray) -> SparseImages:
        """See `SparseImages.take`; the copy is on the host."""
        return self.host.take(rows)


Images = SparseImages | JoinedImages | ResidentImages


def offsets_of(counts) -> np.ndarray:
    """Start of each of consecutive groups with these sizes, and the end of the last group."""
    return np.append(0, np.cumsum(counts, dtype=np.int64))
