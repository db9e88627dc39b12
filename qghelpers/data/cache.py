"""Cache of sparse images: a file beside the HDF5 file, mapped into memory when it is opened.

The cache is a safetensors file. Its header identifies the HDF5 file that it was made from, and
holds a checksum that is verified at every opening. A cache that does not match is made again.
"""

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

import h5py
import numpy as np
from platformdirs import user_cache_path
from safetensors import SafetensorError, safe_open
from tqdm import tqdm

from qghelpers.data.checks import DataError, WriteError, reason
from qghelpers.data.hdf5 import replacing
from qghelpers.data.reading import read_blocks, zlib
from qghelpers.data.sparse import SparseImages, offsets_of
from qghelpers.locks import locked

__all__ = ["MappedImages", "content_digest", "find", "folder_of_user", "open_images"]

VERSION = 1  # version of the cache format; caches of other versions are made again
HEADER = 4096  # bytes before the arrays; one memory page, so that the arrays are aligned
UNUSABLE = (DataError, OSError, SafetensorError, KeyError, ValueError)  # of a cache that is no good
NO_HOME = "there is no home folder"
SAMPLES = 64  # parts of the HDF5 file that enter its digest


@dataclass(frozen=True)
class MappedImages(SparseImages):
    """Images in a memory-mapped file; pickled as its path, so that processes share the memory."""

    path: Path
    checksum: str  # of the images: the file may be replaced by another one while this is in use

    def __reduce__(self):
        return _map_again, (self.path, self.checksum)


def find(images: h5py.Dataset, quiet: bool = False) -> SparseImages | None:
    """The images of a dataset from its cache; None if there is no valid cache.

    If a cache is rejected, one line on standard error gives the reason, unless `quiet`.
    """
    source = Path(images.file.filename)
    rejected = []
    for path in _places(source):
        try:
            if path.is_file():
                return _map(path, _identity(source))
        except UNUSABLE as error:
            rejected.append(f"{path} is not used ({reason(error)}): reading {source.name} again")
    if rejected and not quiet:
        _say("; ".join(rejected))
    return None


def open_images(images: h5py.Dataset) -> SparseImages:
    """The images of a dataset from its cache, which is made if there is none.

    Only one process makes the cache; others wait for it. The cache lies beside the file or, if it
    cannot be kept there, in the user's cache folder; `$QGHELPERS_CACHE`, if set, replaces both. If
    it can be kept nowhere, the images are read into memory, and one line says why.

    Raises:
        qghelpers.DataError: the dataset cannot be read.
    """
    if (found := find(images)) is not None:
        return found
    source = Path(images.file.filename)
    failures = []
    for path in _places(source):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with locked(path):
                found = find(images, quiet=True)  # made by another process meanwhile
                return _make(path, images, source) if found is None else found
        except (OSError, WriteError) as error:
            failures.append(f"{path.parent}: {reason(error.__cause__ or error)}")
    why = "; ".join(failures) or NO_HOME
    _say(
        f"no cache of {source.name} can be kept ({why}): it is read into memory; "
        "to keep one, set QGHELPERS_CACHE to a folder that you can write to, with space left"
    )
    return SparseImages.join(read_blocks(images))


def _make(path: Path, images: h5py.Dataset, source: Path) -> MappedImages:
    """Write the cache at `path`, and map it.

    Raises:
        OSError: the cache cannot be read again where it was written.
        qghelpers.DataError: the dataset cannot be read; a WriteError: the cache not be written.
    """
    identity = _identity(source)
    with replacing(path) as temporary:
        _write(temporary, read_blocks(images), identity)
    if _identity(source) != identity:
        path.unlink(missing_ok=True)
        raise DataError(f"{source} was changed while it was read: try again once it is whole")
    try:
        return _map(path, identity)
    except UNUSABLE as error:
        raise OSError(reason(error)) from error


def _places(source: Path) -> list[Path]:
    """Paths at which the cache of a file may lie, in order of preference."""
    name = f"{source.name}.sparse.safetensors"
    digest = blake2b(bytes(source.resolve()), digest_size=8).hexdigest()
    of_user = [folder / f"{digest}-{name}" for folder in (folder_of_user(),) if folder]
    return of_user if os.environ.get("QGHELPERS_CACHE") else [source.parent / name, *of_user]


def folder_of_user() -> Path | None:
    """`$QGHELPERS_CACHE` or, unless set, the user's cache folder; None without a home folder."""
    named = os.environ.get("QGHELPERS_CACHE") or user_cache_path("qghelpers")
    folder = Path(os.path.expanduser(named))
    return None if str(folder).startswith("~") else folder


def _identity(source: Path) -> str:
    """Size, modification time and a digest of evenly spaced parts of a file, as text."""
    status = source.stat()
    return f"{status.st_size} {status.st_mtime_ns} {content_digest(source)}"


def content_digest(source: Path) -> str:
    """A digest of evenly spaced parts of a file, as hexadecimal digits."""
    digest = blake2b(digest_size=16)
    with source.open("rb") as file:
        for place in np.linspace(0, max(source.stat().st_size - 4096, 0), SAMPLES, dtype=int):
            file.seek(place)
            digest.update(file.read(4096))
    return digest.hexdigest()


def _write(path: Path, blocks: Iterable[SparseImages], identity: str) -> None:
    """Write a cache: the blocks one by one, then the header, whose size is fixed."""
    counts = []
    with path.open("wb") as file, tempfile.TemporaryFile(dir=path.parent) as positions:
        file.write(bytes(HEADER))
        for block in blocks:
            file.write(np.ascontiguousarray(block.values))
            positions.write(np.ascontiguousarray(block.positions))
            counts.append(np.diff(block.offsets).astype(np.uint16))
        positions.seek(0)
        shutil.copyfileobj(positions, file, 2**22)
        counts = np.concatenate(counts)
        file.write(counts)
    entries, images = int(counts.sum(dtype=int)), len(counts)
    description, end = {}, 0
    for name, dtype, size, bytes_ in (
        ("values", "F32", entries, 4),
        ("positions", "U16", entries, 2),
        ("counts", "U16", images, 2),
    ):
        start, end = end, end + size * bytes_
        description[name] = {"dtype": dtype, "shape": [size], "data_offsets": [start, end]}
    contents = np.memmap(path, np.uint8, "r", HEADER) if end else np.zeros(0, np.uint8)
    description["__metadata__"] = {
        "content": f"qghelpers sparse jet images {VERSION}",
        "source": identity,
        "checksum": str(zlib.crc32(contents)),
    }
    header = json.dumps(description).encode().ljust(HEADER - 8)
    with path.open("r+b") as file:
        file.write(len(header).to_bytes(8, "little") + header)


def _map_again(path: Path, checksum: str) -> MappedImages:
    """Map, in another process, a cache that may have been made anew; DataError if it differs."""
    images = None
    with suppress(OSError, SafetensorError, KeyError, ValueError):
        images = _map(path)
    if images is None or images.checksum != checksum:
        raise DataError(f"{path} no longer holds these images: open the jets again with load_jets")
    return images


def _map(path: Path, identity: str | None = None) -> MappedImages:
    """Map a cache into memory; DataError if its version, source or checksum is wrong."""
    with safe_open(path, "pt") as file:
        metadata = file.metadata() or {}
        if metadata.get("content") != f"qghelpers sparse jet images {VERSION}":
            raise DataError("it is of another version")
        if identity not in (None, metadata["source"]):
            raise DataError("the file it was made from has changed")
        arrays = {name: file.get_tensor(name).numpy() for name in ("values", "positions", "counts")}
    checksum = 0
    for array in arrays.values():
        checksum = zlib.crc32(array, checksum)
        array.setflags(write=False)
    if str(checksum) != metadata["checksum"]:
        raise DataError("it is damaged: its checksum is wrong")
    offsets = offsets_of(arrays["counts"])
    if not offsets[-1] == len(arrays["positions"]) == len(arrays["values"]):
        raise DataError("it is damaged: its parts do not fit together")
    return MappedImages(offsets, arrays["positions"], arrays["values"], path, str(checksum))


def _say(line: str) -> None:
    tqdm.write(line, file=sys.stderr)
