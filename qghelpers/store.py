"""Sparse jet images in memory: 99 pixels in 100 are zero, so only the others are kept."""

from dataclasses import dataclass

import h5py
import numpy as np
import torch
from tqdm import tqdm

from qghelpers.layout import CHANNELS, IMAGE_SIZE

PIXELS = len(CHANNELS) * IMAGE_SIZE**2
BLOCK = 256  # jets read at once


@dataclass(frozen=True)
class SparseImages:
    """The non-zero pixels of many images, one after another.

    Attributes:
        offsets: int64 with shape `(n + 1,)`; image `i` owns the pixels `offsets[i]:offsets[i + 1]`.
        positions: uint16 with shape `(pixels,)`; flat position in a channels-first image.
        values: float32 with shape `(pixels,)`, in the file's units.
    """

    offsets: np.ndarray
    positions: np.ndarray
    values: np.ndarray

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def dense(self, rows: np.ndarray) -> torch.Tensor:
        """The images at `rows`, float32 with shape `(len(rows), 3, 125, 125)`."""
        starts = self.offsets[rows]
        counts = self.offsets[rows + 1] - starts
        first = np.cumsum(counts) - counts
        pixels = np.arange(counts.sum()) + np.repeat(starts - first, counts)
        images = np.zeros((len(rows), PIXELS), np.float32)
        images[np.repeat(np.arange(len(rows)), counts), self.positions[pixels]] = self.values[
            pixels
        ]
        return torch.from_numpy(images).view(-1, len(CHANNELS), IMAGE_SIZE, IMAGE_SIZE)


def read_images(images: h5py.Dataset, rows: np.ndarray | None = None) -> SparseImages:
    """Read an `X_jets` dataset block by block, so that memory holds one dense block at most.

    Args:
        images: with shape `(jets, 125, 125, 3)`.
        rows: the jets to keep, in rising order; all unless given.
    """
    keep = np.ones(len(images), bool) if rows is None else np.isin(np.arange(len(images)), rows)
    counts, positions, values = [], [], []
    with tqdm(total=int(keep.sum()), unit=" jets", desc="reading", delay=2) as progress:
        for start in range(0, len(images), BLOCK):
            wanted = keep[start : start + BLOCK]
            if not wanted.any():
                continue
            block = images[start : start + BLOCK][wanted].astype(np.float32, copy=False)
            block = block.transpose(0, 3, 1, 2).reshape(len(block), PIXELS)
            row, position = np.nonzero(block)
            counts.append(np.bincount(row, minlength=len(block)))
            positions.append(position.astype(np.uint16))
            values.append(block[row, position])
            progress.update(len(block))
    offsets = np.concatenate([[0], np.cumsum(np.concatenate(counts))])
    return SparseImages(offsets, np.concatenate(positions), np.concatenate(values))
