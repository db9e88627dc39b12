"""HDF5 files with the layout of the public one: open, check, read the columns, write.

Files are written atomically. Every problem with a file is reported as a `DataError`.
"""

import glob
import os
import platform
import re
import stat
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from uuid import uuid4

import h5py
import numpy as np

from qghelpers.data.checks import (
    NO_LOCKS,
    DataError,
    WriteError,
    check,
    explain,
    process_names,
    reason,
)
from qghelpers.data.layout import CHUNK, IMAGE_SHAPE, QCD

__all__ = [
    "DataError",
    "columns",
    "compressed",
    "create_file",
    "damage_named",
    "open_file",
    "open_unchecked",
    "reason",
    "remove_left_overs",
    "rename",
    "replacing",
    "write_block",
]

UNFINISHED = (".crdownload", ".part", ".download", ".opdownload", ".aria2", ".tmp")
ABANDONED = 24 * 3600  # seconds after which another machine's half-written file is removed
PATIENCE = 0.1, 0.5, 2.0  # seconds to wait for a program that reads the file to be replaced
# Where files in use cannot be replaced, and to ask whether a process runs kills it
WINDOWS = os.name == "nt"


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Write a file atomically: give a temporary path, which is renamed to `path` at the end.

    If the block fails or is interrupted, the temporary file is removed and `path` is unchanged.
    What killed processes have left half written in that folder is removed first.

    Raises:
        qghelpers.DataError: the folder does not exist, cannot be written to or is full.
    """
    temporary = path.with_name(f".{path.name}.{_host()}-{os.getpid()}-{uuid4().hex[:8]}.part")
    try:
        if path.is_dir():
            raise IsADirectoryError(21, "it is a folder")
        remove_left_overs(path.parent)
        yield temporary
        with temporary.open("r+b") as file:  # Windows syncs no file that is open for reading alone
            os.fsync(file.fileno())
        rename(temporary, path)
    except OSError as error:
        raise WriteError(
            f"{path} cannot be written ({reason(error)}): choose a folder you can write to, "
            f"with space left{', or close the program that uses the file' if WINDOWS else ''}"
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def rename(temporary: Path, path: Path) -> None:
    """Rename a file; on Windows, a program that has `path` open is given time to close it."""
    for seconds in PATIENCE if WINDOWS else ():
        try:
            temporary.replace(path)
        except PermissionError:
            time.sleep(seconds)
        else:
            return
    temporary.replace(path)


def remove_left_overs(folder: Path) -> None:
    """Remove what `replacing` left half written in processes that are no more.

    Those of which this machine knows nothing, such as another machine's, are removed after a day.
    """
    for path in folder.glob(".*.part"):
        name = re.search(r"\.([0-9a-f]{8})-(\d+)-[0-9a-f]{8}\.part$", path.name)
        if name is None:  # another program's
            continue
        with suppress(OSError):  # it is gone, or in use where such files cannot be removed
            if name[1] == _host() and not WINDOWS:
                abandoned = not _is_running(int(name[2]))
            else:
                abandoned = time.time() - path.stat().st_mtime > ABANDONED
            if abandoned:
                path.unlink()


@cache
def _host() -> str:
    """A number for this machine or container, in which process numbers are unique."""
    space = Path("/proc/self/ns/pid")
    text = f"{platform.node()} {space.stat().st_ino if space.exists() else 0}"
    return f"{zlib.crc32(text.encode()):08x}"


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it is another user's
    return True


@contextmanager
def open_file(path: str | Path) -> Iterator[h5py.File]:
    """Open `path` for reading and check that it has the public file's layout.

    Raises:
        qghelpers.DataError: the file is missing, is not HDF5, lacks a dataset, or has wrong shapes.
    """
    path = Path(path).expanduser()
    with open_unchecked(path) as file:
        with damage_named(path):
            check(file, path)
        yield file


@contextmanager
def open_unchecked(path: Path) -> Iterator[h5py.File]:
    """Open an HDF5 file for reading, whatever is in it.

    Raises:
        qghelpers.DataError: the file is missing or is not HDF5.
    """
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise DataError(f"{path} does not exist: {_not_there(path)}") from None
    except OSError as error:
        raise DataError(f"{path} cannot be opened ({reason(error)}): move or copy it") from error
    if not stat.S_ISREG(mode):
        what = "a folder" if stat.S_ISDIR(mode) else "no regular file"
        raise DataError(f"{path} is {what}: give the path of a jet-image HDF5 file")
    with damage_named(path):
        file = _opened(path)
    with file:
        yield file


def _not_there(path: Path) -> str:
    """What may be done about a path at which nothing is."""
    for unfinished in path.parent.glob(f"{glob.escape(path.name)}.*"):
        if unfinished.suffix in UNFINISHED:
            return f"its download is not complete ({unfinished.name}): wait, or start it again"
    here = "" if path.is_absolute() else f" (the current folder is {Path.cwd()})"
    return f"give the path of a jet-image HDF5 file{here}"


def _opened(path: Path) -> h5py.File:
    """Open a file, without a lock where the file system has none."""
    try:
        return h5py.File(path, "r")
    except OSError as error:
        if error.errno not in NO_LOCKS:
            raise
    return h5py.File(path, "r", locking=False)


@contextmanager
def damage_named(path: str | Path) -> Iterator[None]:
    """Turn the errors that h5py raises on a file that it cannot read into a `DataError`."""
    try:
        yield
    except DataError:
        raise
    except (OSError, RuntimeError, KeyError, TypeError, ValueError, OverflowError) as error:
        cause, cure = explain(path, error)
        raise DataError(f"{path} cannot be read as HDF5 ({cause}): {cure}") from error


def columns(file: h5py.File) -> tuple[np.ndarray, ...]:
    """Labels (int64), pT and mass in GeV, process, and twin number, each of shape `(jets,)`.

    Without a dataset `process`, as in the public file, all jets are "qcd"; without a dataset
    `twin`, each jet has a number of its own; without `pt` or `m0`, these are NaN.
    """
    with damage_named(file.filename):
        labels = file["y"][:]
        unknown = np.full(len(labels), np.nan)
        pt, mass = (file[key][:] if key in file else unknown for key in ("pt", "m0"))
        process = np.full(len(labels), QCD)
        if names := process_names(file):
            process = np.array([names.get(i, "?") for i in range(256)])[file["process"][:]]
        twin = np.arange(len(labels))
        data = file.get("twin")
        if isinstance(data, h5py.Dataset) and data.shape == twin.shape and data.dtype.kind in "iu":
            twin = data[:].astype(np.int64)
    return labels.astype(np.int64), pt, mass, process, twin


@contextmanager
def create_file(
    path: str | Path, jets: int, process: str = QCD, twins: bool = False
) -> Iterator[h5py.File]:
    """Create a file for `jets` jets, which the block fills in; it appears when that is done.

    Beside the public file's datasets it has `eta` and `phi`; a process other than "qcd" is stored
    in a dataset `process`, and if there are `twins`, their numbers in `twin`.

    Raises:
        qghelpers.DataError: the folder does not exist, cannot be written to or is full.
    """
    with replacing(Path(path)) as temporary:
        file = h5py.File(temporary, "w", locking=False)  # nobody else knows its name
        try:
            chunks = (min(CHUNK, jets), *IMAGE_SHAPE)
            options = {"chunks": chunks, "compression": "gzip", "compression_opts": 1}
            file.create_dataset("X_jets", (jets, *IMAGE_SHAPE), "float32", **options)
            for key in ("y", "pt", "m0", "eta", "phi"):
                file.create_dataset(key, (jets,), "float32")
            if twins:
                file.create_dataset("twin", (jets,), "int32")
            if process != QCD:
                kind = h5py.enum_dtype({QCD: 0, process: 1}, basetype="u1")
                file.create_dataset("process", data=np.ones(jets, "u1"), dtype=kind)
            yield file
        finally:
            try:
                file.close()
            except RuntimeError as error:  # from h5py if the disk is full
                raise OSError(reason(error)) from error


def compressed(images: np.ndarray, chunk: int) -> list[bytes]:
    """Compress images with shape `(jets, 125, 125, 3)` to HDF5 chunks of `chunk` jets each.

    The last chunk is padded with zeros.
    """
    padding = np.zeros((-len(images) % chunk, *IMAGE_SHAPE), "<f4")
    images = np.concatenate([images, padding], dtype="<f4")
    return [zlib.compress(images[i : i + chunk], 1) for i in range(0, len(images), chunk)]


def write_block(
    file: h5py.File, start: int, columns: dict[str, np.ndarray], chunks: list[bytes]
) -> None:
    """Write columns and compressed images of jets from `start` on, the first jet of a chunk."""
    for key, values in columns.items():
        file[key][start : start + len(values)] = values
    for i, chunk in enumerate(chunks):
        place = (start + i * file["X_jets"].chunks[0], 0, 0, 0)
        file["X_jets"].id.write_direct_chunk(place, chunk)
