"""The layout of the public quark/gluon file, and what is wrong with a file that departs from it.

The public file `quark-gluon_data-set_n139306.hdf5` holds the test jets of Andrews et al.,
"End-to-End Jet Classification of Quarks and Gluons with the CMS Open Data", arXiv:1902.08276.
Everything here is knowledge about that file and nothing else: other modules import it.
"""

import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from qghelpers.data.files import DataError, reason, replacing

PUBLIC_FILE = "quark-gluon_data-set_n139306.hdf5"
CHANNELS = ("Tracks", "ECAL", "HCAL")
IMAGE_SIZE = 125  # pixels a side, one ECAL barrel crystal each
TOWER_SIZE = 5  # crystals a side of one HCAL tower
PIXEL_WIDTH = 0.0174  # pixel width in eta, and in phi in radians (2 pi / 360, rounded)
GEV_PER_UNIT = 100.0  # pixel values are GeV / 100
SMALLEST_DEPOSITS = (0.1, 0.05, 0.04)  # GeV a pixel, of Tracks, ECAL and HCAL
GLUON, QUARK = 0, 1  # the values of y
NEITHER = -1  # its value for jets that are neither; the public file has none
PROCESSES = ("qcd", "w", "top", "dark")  # where jets come from; the public file has qcd alone
IMAGE_SHAPE = (IMAGE_SIZE, IMAGE_SIZE, len(CHANNELS))  # as stored: channels last
CHUNK = 16  # jets in one chunk of a file written here

# What notebooks that read the public file printed: for gluon and quark jets, by channel.
PUBLIC_LIT_SHARE = {GLUON: (0.0053, 0.0174, 0.0282), QUARK: (0.0047, 0.0141, 0.0256)}
PUBLIC_MEAN = {GLUON: (8.1e-5, 4.9e-5, 2.9e-5), QUARK: (7.9e-5, 5.3e-5, 3.3e-5)}  # GeV/100
PUBLIC_LARGEST = {GLUON: (756.6, 4.10, 0.431), QUARK: (307.2, 9.33, 0.433)}  # GeV/100
PUBLIC_PT = (70.4, 337.1)  # GeV, of a copy of the same jets in another format


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
            process = np.full(len(labels), PROCESSES[0])
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
def create_file(path: str | Path, jets: int, process: str = "qcd") -> Iterator[h5py.File]:
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
            if process != "qcd":
                codes = {name: code for code, name in enumerate(PROCESSES)}
                kind = h5py.enum_dtype(codes, basetype="u1")
                file.create_dataset("process", data=np.full(jets, codes[process]), dtype=kind)
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


def constant_tower_share(images: np.ndarray) -> np.ndarray:
    """Share of the lit 5x5 blocks whose 25 pixels are equal, for each channel.

    Only HCAL is stored as towers spread over 5x5 pixels, so only there is the share 1:
    this tells which channel is HCAL without trusting anybody's list of names.

    Args:
        images: with shape `(jets, 125, 125, channels)`.

    Returns:
        Shares with shape `(channels,)`; 0 for a channel that is empty.
    """
    towers = IMAGE_SIZE // TOWER_SIZE
    blocks = images.reshape(len(images), towers, TOWER_SIZE, towers, TOWER_SIZE, -1)
    low, high = blocks.min(axis=(2, 4)), blocks.max(axis=(2, 4))
    lit = (high != 0) | (low != 0)
    constant = ((low == high) & lit).sum(axis=(0, 1, 2))
    return constant / np.maximum(lit.sum(axis=(0, 1, 2)), 1)


def lit_share(images: np.ndarray) -> np.ndarray:
    """Share of non-zero pixels in each channel, from `(jets, 125, 125, channels)`."""
    return (images != 0).mean(axis=(0, 1, 2))


def channels_by_evidence(images: np.ndarray) -> tuple[str, ...]:
    """What the channels look like: HCAL is made of constant blocks, Tracks is the sparser other.

    Args:
        images: some tens of jets at least, with shape `(jets, 125, 125, 3)`.

    Returns:
        A name for each channel; "?" for all of them if not exactly one is made of blocks.
    """
    blocks, lit = constant_tower_share(images) > 0.99, lit_share(images)
    if blocks.sum() != 1:
        return ("?",) * len(blocks)
    hcal = int(blocks.argmax())
    tracks, ecal = sorted((i for i in range(3) if i != hcal), key=lambda i: lit[i])
    return tuple({hcal: "HCAL", tracks: "Tracks", ecal: "ECAL"}[i] for i in range(3))
