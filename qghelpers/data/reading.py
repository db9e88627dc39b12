"""Reading an `X_jets` dataset as sparse images, block by block, in bounded memory.

Decompression takes nearly all of the time, and h5py does it under a global lock. So gzip, with or
without the shuffle filter, is decompressed here in threads; h5py reads every other format.
"""

import itertools
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor

import h5py
import numpy as np
from joblib import cpu_count
from tqdm import tqdm

from qghelpers.data.hdf5 import DataError, damage_named
from qghelpers.data.layout import IMAGE_SHAPE
from qghelpers.data.packing import AT_ONCE, Packer, unshuffle
from qghelpers.data.sparse import PIXELS, SparseImages

try:
    from isal import isal_zlib as zlib  # the same interface, about twice as fast
except ImportError:  # no wheel on this platform
    import zlib

__all__ = ["read_blocks", "zlib"]

IMAGES_PER_BLOCK = 128  # images in a block, unless a chunk holds more
INFLATE_IMAGES = 24  # images of a large chunk that are decompressed at once
INFLATE_BYTES = 2**20  # compressed bytes of a large chunk that are passed to zlib at once
MAX_LIT_PER_BLOCK = 4_000_000  # lit pixels in a block; blocks with more are divided
MAX_CHUNK_BYTES = 2**30  # size of the largest chunk that is decompressed in one piece
SHUFFLE, GZIP = h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_DEFLATE


def read_blocks(
    images: h5py.Dataset, rows: np.ndarray | None = None, threads: int | None = None
) -> Iterator[SparseImages]:
    """Read a dataset as consecutive blocks of images, with a progress bar if it takes long.

    Memory holds a few blocks, whatever the size of the dataset and the shape of its chunks.

    Args:
        images: with shape `(jets, 125, 125, 3)`.
        rows: the jets to read, in increasing order; default all. Other chunks are not read.
        threads: default one per processor.

    Raises:
        qghelpers.DataError: the dataset is damaged, or its chunks are too large.
    """
    _keep_freed_memory()
    wanted = np.ones(len(images), bool)
    if rows is not None:
        wanted[:] = False
        wanted[rows] = True
    chunks = _Chunks(images)
    step = chunks.shape[0] * max(1, IMAGES_PER_BLOCK // chunks.shape[0])
    starts = [i for i in range(0, len(images), step) if wanted[i : i + step].any()]
    tasks = ((start, wanted[start : start + step]) for start in starts)
    Packer().add(np.zeros((1, PIXELS), np.float32))  # compile before the progress bar starts
    with tqdm(total=int(wanted.sum()), unit=" jets", desc="reading", delay=2) as progress:
        for task, block in _in_order(chunks.block, tasks, threads or cpu_count()):
            for part in chunks.parts(*task) if block is None else [block]:
                progress.update(len(part))
                yield part


def _keep_freed_memory() -> None:
    """Free one large array, which makes glibc keep freed memory for later allocations.

    Requesting memory from the system for every chunk can take longer than decompressing it.
    """
    np.empty(31 * 2**20, np.uint8)


def _in_order(function, tasks: Iterable[tuple], threads: int):
    """Pairs `(task, function(*task))` in order; at most `threads + 1` tasks are submitted ahead."""
    pool = ThreadPoolExecutor(threads)
    running: deque = deque()
    try:
        for task in tasks:
            running.append((task, pool.submit(function, *task)))
            if len(running) > threads:
                task, future = running.popleft()
                yield task, future.result()
        while running:
            task, future = running.popleft()
            yield task, future.result()
    finally:
        pool.shutdown(cancel_futures=True)


class _Chunks:
    """The chunks of a dataset, read as sparse images."""

    def __init__(self, images: h5py.Dataset) -> None:
        self.images = images
        self.name = images.file.filename
        self.dtype = images.dtype
        settings = images.id.get_create_plist()
        filters = tuple(settings.get_filter(i)[0] for i in range(settings.get_nfilters()))
        self.raw = images.chunks is not None and filters in ((GZIP,), (SHUFFLE, GZIP))
        self.shuffled = SHUFFLE in filters
        self.shape = images.chunks or (IMAGES_PER_BLOCK, *IMAGE_SHAPE)
        self.bytes = int(np.prod(self.shape)) * self.dtype.itemsize
        self.tiles = [range(0, n, c) for n, c in zip(IMAGE_SHAPE, self.shape[1:], strict=True)]
        self.whole_images = self.shape[1:] == IMAGE_SHAPE  # rather than parts of images
        in_pieces = self.raw and self.whole_images and not self.shuffled
        if self.bytes > MAX_CHUNK_BYTES and not in_pieces:
            raise DataError(
                f"{self.name}: X_jets is stored in chunks of {self.bytes / 2**30:.1f} GiB: repack "
                "it with h5repack -l X_jets:CHUNK=16x125x125x3"
            )
        self.stored = None  # offsets of the chunks that are in the file; None if all are
        with damage_named(self.name):
            chunks = -(-len(images) // self.shape[0]) * int(np.prod(list(map(len, self.tiles))))
            if self.raw and images.id.get_num_chunks() < chunks:
                self.stored = set()
                images.id.chunk_iter(lambda chunk: self.stored.add(chunk.chunk_offset))

    def block(self, start: int, wanted: np.ndarray) -> SparseImages | None:
        """The wanted images from row `start` on; None if they have too many lit pixels."""
        if not self.whole_images:
            return self._tiled(start, wanted)
        first = next(self._whole(start, wanted))
        return first if len(first) == wanted.sum() else None

    def parts(self, start: int, wanted: np.ndarray) -> Iterator[SparseImages]:
        """The same images as `block`, divided so that no part has too many lit pixels."""
        if self.whole_images:
            yield from self._whole(start, wanted)
        elif (block := self._tiled(start, wanted)) is not None:
            yield block
        else:
            middle = len(wanted) // 2
            for row, half in ((start, wanted[:middle]), (start + middle, wanted[middle:])):
                if half.any():
                    yield from self.parts(row, half)

    def _chunk_rows(self, start: int, wanted: np.ndarray) -> tuple[int, np.ndarray, np.ndarray]:
        """First row of the chunks, mask of the wanted rows from there, rows of chunks to read."""
        size = self.shape[0]
        first, stop = start - start % size, start + len(wanted)
        mask = np.zeros(-(-stop // size) * size - first, bool)
        mask[start - first : stop - first] = wanted
        return first, mask, np.flatnonzero(mask.reshape(-1, size).any(axis=1)) * size

    def _whole(self, start: int, wanted: np.ndarray) -> Iterator[SparseImages]:
        """The wanted images, from chunks of whole images, in parts with few enough lit pixels."""
        first, mask, touched = self._chunk_rows(start, wanted)
        packer = Packer()
        for row in touched:
            for images in self._images_of(first + row):
                chosen = mask[row : row + len(images)]
                row += len(images)
                packer.add(images if chosen.all() else images[chosen])
                if packer.entries > MAX_LIT_PER_BLOCK:
                    yield packer.packed()
                    packer = Packer()
        if len(packer):
            yield packer.packed()

    def _images_of(self, row: int) -> Iterator[np.ndarray]:
        """The images of a chunk of whole images that begins at `row`, some at a time."""
        for pixels in self._pixels((row, 0, 0, 0)):
            images = pixels.reshape(-1, PIXELS)
            for start in range(0, len(images), AT_ONCE):
                yield images[start : start + AT_ONCE]

    def _tiled(self, start: int, wanted: np.ndarray) -> SparseImages | None:
        """The wanted images, from chunks of parts of images; None if too many pixels are lit."""
        first, mask, touched = self._chunk_rows(start, wanted)
        parts, lit = [], 0  # parts: row in the mask, position and value of the pixels of each chunk
        for tile in itertools.product(touched, *self.tiles):
            pixels = np.concatenate(list(self._pixels((first + tile[0], *tile[1:]))))
            index = np.flatnonzero(pixels.view(np.uint32) != 0)
            place = np.add(np.unravel_index(index, self.shape), np.array(tile)[:, None])
            inside = (place[1:] < np.array(IMAGE_SHAPE)[:, None]).all(axis=0) & mask[place[0]]
            rows, *place = place[:, inside]
            parts.append((rows, np.ravel_multi_index(place, IMAGE_SHAPE), pixels[index[inside]]))
            lit += len(rows)
            if lit > MAX_LIT_PER_BLOCK and mask.sum() > 1:
                return None
        return _merge(parts, np.flatnonzero(mask))

    def _pixels(self, start: tuple[int, ...]) -> Iterator[np.ndarray]:
        """The pixels of the chunk that begins at `start`, in consecutive pieces, as float32."""
        with damage_named(self.name), np.errstate(over="ignore"):  # load_jets reports infinity
            for pixels in self._stored(tuple(map(int, start))):
                yield pixels.astype(np.float32, copy=False)

    def _stored(self, start: tuple[int, ...]) -> Iterator[np.ndarray]:
        """As `_pixels`, in the dataset's type; decompressed here if possible, else by h5py."""
        if self.raw and (self.stored is None or start in self.stored):
            skipped_filters, data = self.images.id.read_direct_chunk(start)
            if skipped_filters == 0:
                if self.shuffled:
                    data = b"".join(_pieces(data, self.bytes, self.bytes))
                    yield unshuffle(data, self.dtype.itemsize).view(self.dtype)
                else:
                    size = INFLATE_IMAGES * PIXELS * self.dtype.itemsize
                    for piece in _pieces(data, self.bytes, size):
                        yield np.frombuffer(piece, self.dtype)
                return
        chunk = np.zeros(self.shape, self.dtype)
        part = self.images[tuple(slice(i, i + n) for i, n in zip(start, self.shape, strict=True))]
        chunk[tuple(map(slice, part.shape))] = part
        yield chunk.ravel()


def _merge(parts: list[tuple[np.ndarray, ...]], wanted: np.ndarray) -> SparseImages:
    """Sparse images of the rows `wanted`, from (rows, positions, values) of their pixels."""
    rows, positions, values = map(np.concatenate, zip(*parts, strict=True))
    order = np.argsort(rows, kind="stable")
    rows, positions, values = rows[order], positions[order], values[order]
    packer = Packer()
    for start in range(0, len(wanted), AT_ONCE):
        some = wanted[start : start + AT_ONCE]
        images = np.zeros((len(some), PIXELS), np.float32)
        span = slice(*np.searchsorted(rows, (some[0], some[-1] + 1)))
        images[np.searchsorted(some, rows[span]), positions[span]] = values[span]
        packer.add(images)
    return packer.packed()


def _pieces(data: bytes, size: int, piece: int) -> Iterator[bytes]:
    """Decompress to exactly `size` bytes, in pieces of `piece` bytes, and verify the checksum."""
    wrong = OSError("a chunk is of the wrong size")
    try:
        if size <= piece:
            whole = zlib.decompress(data, bufsize=size)
            if len(whole) != size:
                raise wrong
            yield whole
            return
        inflater, unread, made = zlib.decompressobj(), memoryview(data), bytearray()
        while not inflater.eof:
            fed = inflater.unconsumed_tail
            if not fed:
                fed, unread = bytes(unread[:INFLATE_BYTES]), unread[INFLATE_BYTES:]
            part = inflater.decompress(fed, piece - len(made))
            if not part and not fed:
                raise wrong  # truncated stream
            made += part
            size -= len(part)
            if len(made) == piece or (size == 0 and made):
                yield bytes(made)
                made.clear()
            if size < 0:
                raise wrong
        if size:
            raise wrong
    except zlib.error as error:
        raise OSError(f"a chunk cannot be decompressed: {error}") from error
