"""Dense images to sparse ones: the two loops that have to be compiled, and run in parallel.

Compiled by Numba, they run outside Python's global lock, at a small part of the time that it takes
to decompress what they look at.
"""

import numpy as np
from numba import njit

from qghelpers.data.sparse import (
    CORNERS,
    PIXELS,
    TOWER_OFFSETS,
    TOWERS_PER_IMAGE,
    SparseImages,
    offsets_of,
)

AT_ONCE = 8  # images packed in one call


def _compiled(function):
    try:
        return njit(nogil=True, cache=True)(function)
    except RuntimeError:  # no folder to keep the result in: compile in every process
        return njit(nogil=True)(function)


class Packer:
    """Turns images into sparse ones, to the last bit, and collects them.

    An HCAL tower whose 25 pixels are equal is kept as one number.
    """

    def __init__(self) -> None:
        # scratch memory that is used again and again: fresh memory costs more than the work itself
        self._positions = np.empty(AT_ONCE * PIXELS, np.uint16)
        self._values = np.empty(AT_ONCE * PIXELS, np.uint32)
        self._parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self.entries = 0

    def __len__(self) -> int:
        return sum(len(counts) for counts, _, _ in self._parts)

    def add(self, images: np.ndarray) -> None:
        """Add images: float32 with shape `(n, 46875)`, n at most 8, in one piece of memory."""
        counts = np.empty(len(images), np.int64)
        bits = images.view(np.uint32)  # compared as bits: NaN is equal to itself, -0 is not 0
        entries = _pack(bits, counts, self._positions, self._values)
        self._parts.append(
            (counts, self._positions[:entries].copy(), self._values[:entries].copy())
        )
        self.entries += entries

    def packed(self) -> SparseImages:
        """All that was added."""
        counts, positions, values = map(np.concatenate, zip(*self._parts, strict=True))
        return SparseImages(offsets_of(counts), positions, values.view(np.float32))


@_compiled
def _pack(bits, counts, positions, values):
    entries = 0
    lit = np.zeros(-(-PIXELS // 8) * 8, np.uint8)
    eights = lit.view(np.uint64)  # looked at eight pixels at a time
    for i in range(len(bits)):
        image, before = bits[i], entries
        for position in range(PIXELS):
            lit[position] = image[position] != 0
        for tower in range(TOWERS_PER_IMAGE):
            corner = CORNERS[tower]
            if lit[corner]:
                equal = True
                for step in TOWER_OFFSETS:
                    equal &= image[corner + step] == image[corner]
                if equal:
                    positions[entries] = PIXELS + tower
                    values[entries] = image[corner]
                    entries += 1
                    for step in TOWER_OFFSETS:
                        lit[corner + step] = 0
        for eight in range(len(eights)):
            if eights[eight] != 0:
                for position in range(8 * eight, 8 * eight + 8):
                    if lit[position]:
                        positions[entries] = position
                        values[entries] = image[position]
                        entries += 1
        counts[i] = entries - before
    return entries


def unshuffle(data: bytes, item: int) -> np.ndarray:
    """Undo HDF5's shuffle filter, which puts the first bytes of all numbers first, and so on.

    Returns:
        The bytes of the numbers in their order, with shape `(len(data),)`.
    """
    planes = np.frombuffer(data, np.uint8).reshape(item, -1)
    numbers = np.empty(planes.shape[::-1], np.uint8)
    _transpose(planes, numbers)
    return numbers.ravel()


@_compiled
def _transpose(planes, numbers):
    for i in range(numbers.shape[0]):
        for k in range(numbers.shape[1]):
            numbers[i, k] = planes[k, i]
