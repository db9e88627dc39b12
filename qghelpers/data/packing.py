"""Conversion of dense images to sparse ones: two loops, compiled by Numba.

They run without Python's global lock, so several threads can work at the same time.
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

__all__ = ["AT_ONCE", "Packer", "unshuffle"]

AT_ONCE = 8  # largest number of images in one call of `Packer.add`


def _compiled(function):
    """Compiled by Numba, whose cache saves seconds; without it where it cannot be kept or read."""
    plain = njit(nogil=True)(function)
    try:
        fastest = njit(nogil=True, cache=True)(function)
    except RuntimeError:  # no writable folder
        return plain

    def call(*arguments):
        nonlocal fastest
        try:
            return fastest(*arguments)
        except Exception:  # the disk is full, or a file of the cache is damaged
            fastest = plain
            return plain(*arguments)

    return call


class Packer:
    """Converts dense images to sparse ones without any loss, and collects them."""

    def __init__(self) -> None:
        # scratch memory, reused by every call: allocating it anew would take longer than the work
        self._positions = np.empty(AT_ONCE * PIXELS, np.uint16)
        self._values = np.empty(AT_ONCE * PIXELS, np.uint32)
        self._parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        self.entries = 0

    def __len__(self) -> int:
        return sum(len(counts) for counts, _, _ in self._parts)

    def add(self, images: np.ndarray) -> None:
        """Add at most 8 images: a contiguous float32 array with shape `(n, 46875)`."""
        counts = np.empty(len(images), np.int64)
        bits = images.view(np.uint32)  # compared as bits: NaN equals itself, and -0 differs from 0
        entries = _pack(bits, counts, self._positions, self._values)
        self._parts.append(
            (counts, self._positions[:entries].copy(), self._values[:entries].copy())
        )
        self.entries += entries

    def packed(self) -> SparseImages:
        """All images added so far."""
        counts, positions, values = map(np.concatenate, zip(*self._parts, strict=True))
        return SparseImages(offsets_of(counts), positions, values.view(np.float32))


@_compiled
def _pack(bits, counts, positions, values):
    entries = 0
    lit = np.zeros(-(-PIXELS // 8) * 8, np.uint8)
    eights = lit.view(np.uint64)  # to skip eight zero pixels at a time
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
    """Undo HDF5's shuffle filter, which stores the first byte of every number first, and so on.

    Returns:
        The bytes in their original order, uint8 with shape `(len(data),)`.
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
