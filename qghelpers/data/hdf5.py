"""HDF5 files with the layout of the public one: open, check, read the columns, write.

A file is written whole or not at all, and whatever is wrong with one is a `DataError`: one line.
"""

import os
import re
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

import h5py
import numpy as np

from qghelpers.data.layout import CHUNK, GLUON, IMAGE_SHAPE, NEITHER, QCD, QUARK


class DataError(ValueError):
    """A file that cannot be used: one line that names it, what is wrong and what to do."""


def reason(error: BaseException) -> str:
    """The reason alone, in one line: h5py wraps that of the operating system in a long message."""
    text = " ".join(
        (getattr(error, "strerror", None) or str(error) or type(error).__name__).split()
    )
    inner = re.search("error message = '([^']+)'", text)
    return inner[1] if inner else text


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary path to write to, beside `path`; it gets that name once it is on the disk.

    Until the block ends without an error nothing is at `path` but what was there before; the
    temporary file is removed if the block fails or is interrupted.

    Raises:
        DataError: the folder does not exist, cannot be written to or is full.
    """
    temporary = path.with_name(f".{path.name}.{uuid4().hex[:8]}.part")
    try:
        if path.is_dir():
            raise IsADirectoryError(21, "it is a folder")
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise DataError(
            f"{path} cannot be written ({reason(error)}): choose a folder you can write to, "
            "with space left"
        ) from error
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


@contextmanager
def open_file(path: str | Path) -> Iterator[h5py.File]:
    """Open `path` for reading and check that it has the public file's layout.

    Raises:
        DataError: the file is missing, is not HDF5, lacks a dataset, or has wrong shapes.
    """
    path = Path(path)
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        raise DataError(f"{path} does not exist: give the path of a jet-image HDF5 file") from None
    except OSError as error:
        raise DataError(f"{path} cannot be opened ({reason(error)}): move or copy it") from error
    if not stat.S_ISREG(mode):
        what = "a folder" if stat.S_ISDIR(mode) else "no regular file"
        raise DataError(f"{path} is {what}: give the path of a jet-image HDF5 file")
    with damage_named(path):
        file = h5py.File(path, "r")
    with file:
        with damage_named(path):
            _check(file, path)
        yield file


@contextmanager
def damage_named(path: str | Path) -> Iterator[None]:
    """Turn whatever h5py raises on a damaged file into one line."""
    try:
        yield
    except DataError:
        raise
    except (OSError, RuntimeError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise DataError(
            f"{path} cannot be read as HDF5 ({reason(error)}): download or simulate it again"
        ) from error


def columns(file: h5py.File) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Labels (whole numbers), transverse momentum and mass in GeV, process; shape `(jets,)` each.

    Without a dataset `process`, as in the public file, all jets are "qcd".
    """
    with damage_named(file.filename):
        labels, pt, mass = (file[key][:] for key in ("y", "pt", "m0"))
        names = _processes(file)
        if names:
            process = np.array([names.get(i, "?") for i in range(256)])[file["process"][:]]
        else:
            process = np.full(len(labels), QCD)
    return labels.astype(np.int64), pt, mass, process


def _processes(file: h5py.File) -> dict[int, str]:
    """What the numbers of the dataset `process` stand for; nothing if there is no such dataset."""
    data = file.get("process")
    names = isinstance(data, h5py.Dataset) and h5py.check_enum_dtype(data.dtype)
    same = names and data.shape == file["y"].shape and data.dtype.itemsize == 1
    return {code: name for name, code in names.items()} if same else {}


def _check(file: h5py.File, path: Path) -> None:
    keys = ("X_jets", "y", "pt", "m0")
    datasets = {key: _follow(file, key, path) for key in keys}
    missing = [key for key, data in datasets.items() if not isinstance(data, h5py.Dataset)]
    if missing:
        raise DataError(
            f"{path} has no dataset {', '.join(missing)} (found: {', '.join(file) or 'nothing'}): "
            "it needs X_jets, y, pt and m0"
        )
    for key, data in datasets.items():
        if data.dtype.kind not in ("iuf" if key == "X_jets" else "iufb") or data.dtype.itemsize > 8:
            raise DataError(f"{path}: {key} holds {data.dtype}, not numbers: simulate it again")
    images = datasets.pop("X_jets")
    if images.is_virtual or images.external:
        raise DataError(
            f"{path}: X_jets keeps its pixels in other files: give those, or copy them into one "
            "file with h5repack"
        )
    if images.shape is None or images.shape[1:] != IMAGE_SHAPE:
        raise DataError(
            f"{path}: X_jets has shape {images.shape}, not (jets, 125, 125, 3): "
            "store images channels last, in the order Tracks, ECAL, HCAL"
        )
    if len(images) == 0:
        raise DataError(f"{path} holds no jets: simulate or download it again")
    for key, data in datasets.items():
        if data.shape != (len(images),):
            raise DataError(
                f"{path}: {key} has shape {data.shape} but X_jets holds {len(images)} jets: "
                "every dataset needs one entry a jet"
            )
        if not np.isfinite(data[:]).all():
            raise DataError(f"{path}: {key} has values that are no numbers: simulate it again")
    meanings = (GLUON, QUARK, NEITHER) if _processes(file) else (GLUON, QUARK)
    if not np.isin(datasets["y"][:], meanings).all():
        raise DataError(f"{path}: y has values other than 0 (gluon) and 1 (quark): relabel it")


def _follow(file: h5py.File, key: str, path: Path) -> h5py.Dataset | None:
    """The dataset, which may be a link to one of another file."""
    found = file.get(key)
    if found is None and key in list(file):
        link = file.get(key, getlink=True)
        if isinstance(link, h5py.ExternalLink | h5py.SoftLink):
            where = getattr(link, "filename", "this file")
            raise DataError(f"{path}: {key} is a link to {link.path} of {where}, and leads nowhere")
        raise OSError(f"{key} is damaged")
    return found


@contextmanager
def create_file(path: str | Path, jets: int, process: str = QCD) -> Iterator[h5py.File]:
    """Make a file of `jets` empty jets to be filled in; it gets its name only once it is whole.

    Unless `process` is qcd, an additional dataset of that name says where the jets come from.

    Raises:
        DataError: the folder does not exist, cannot be written to or is full.
    """
    with replacing(Path(path)) as temporary:
        file = h5py.File(temporary, "w")
        try:
            file.create_dataset(
                "X_jets",
                (jets, *IMAGE_SHAPE),
                "float32",
                chunks=(min(CHUNK, jets), *IMAGE_SHAPE),
                compression="gzip",
                compression_opts=1,
            )
            for key in ("y", "pt", "m0"):
                file.create_dataset(key, (jets,), "float32")
            if process != QCD:
                kind = h5py.enum_dtype({QCD: 0, process: 1}, basetype="u1")
                file.create_dataset("process", data=np.ones(jets, "u1"), dtype=kind)
            yield file
        finally:
            try:
                file.close()
            except RuntimeError as error:  # h5py's way of saying that the disk is full
                raise OSError(reason(error)) from error


def compressed(images: np.ndarray, chunk: int) -> list[bytes]:
    """Images with shape `(jets, 125, 125, 3)` as chunks of a file made by `create_file`.

    The file's chunks hold `chunk` jets; the last one is filled up with zeros.
    """
    spare = np.zeros((-len(images) % chunk, *IMAGE_SHAPE), "<f4")
    images = np.concatenate([images, spare], dtype="<f4")
    return [zlib.compress(images[i : i + chunk], 1) for i in range(0, len(images), chunk)]


def write_block(
    file: h5py.File, start: int, columns: dict[str, np.ndarray], chunks: list[bytes]
) -> None:
    """Fill in jets from `start` on, which is the first of a chunk."""
    for key, values in columns.items():
        file[key][start : start + len(values)] = values
    for i, chunk in enumerate(chunks):
        place = (start + i * file["X_jets"].chunks[0], 0, 0, 0)
        file["X_jets"].id.write_direct_chunk(place, chunk)
