"""What is wrong with a file, and what helps: `DataError`, and the checks of a file's layout.

Why a file cannot be opened is told from the error and from the first bytes of the file.
"""

import errno
import re
import shlex
from pathlib import Path

import h5py
import numpy as np

from qghelpers.data.layout import GLUON, IMAGE_SHAPE, NEITHER, QUARK

__all__ = ["DataError", "WriteError", "check", "converting", "explain", "process_names", "reason"]

AGAIN = "download or simulate it again"
FETCH = "download it again, the public file by `python -m qghelpers fetch`"
SIGNATURE = b"\x89HDF\r\n\x1a\n"
# What a file that is no HDF5 file begins with, what it is then, and what helps.
UNPACK = "unpack it, and give the file that is in it"
REWRITE = "write its arrays into an HDF5 file with h5py, as X_jets, y, pt and m0"
BEGINNINGS = (
    (b"version https://git-lfs", "it is a pointer of Git LFS", "get the file by `git lfs pull`"),
    (b"/annex/objects/", "it is a pointer of git-annex", "get the file by `git annex get`"),
    (b"<", "it is a web page or a server's error message", FETCH),
    (b"PAR1", "it is a Parquet file", "{} makes an HDF5 file of it"),
    (b"\x93NUMPY", "it is a NumPy array", REWRITE),
    (b"\x1f\x8b", "it is compressed with gzip", "unpack it by `gunzip`"),
    (b"BZh", "it is compressed with bzip2", "unpack it by `bunzip2`"),
    (b"\xfd7zXZ", "it is compressed with xz", "unpack it by `unxz`"),
    (b"\x28\xb5\x2f\xfd", "it is compressed with zstd", "unpack it by `unzstd`"),
    (b"7z\xbc\xaf\x27\x1c", "it is a 7z archive", UNPACK),
    (b"Rar!", "it is a RAR archive", UNPACK),
    (b"root", "it is a ROOT file", f"read it with uproot, and {REWRITE}"),
    (b"CDF", "it is a NetCDF 3 file", "convert it by `nccopy -k nc4`"),
    (b"\x0e\x03\x13\x01", "it is an HDF4 file", "convert it by `h4toh5`"),
    (
        b"\x00\x05\x16\x07",
        "it holds macOS's notes on a file",
        "give the file without ._ in its name",
    ),
    (b"\x80", "it is a Python pickle", f"open it with Python, and {REWRITE}"),
    (b"\x00" * 64, "it begins with zeros: its download is not complete", FETCH),
)
ARCHIVES = ((b".npy", "it is a NumPy archive", REWRITE), (b"", "it is a zip archive", UNPACK))
NO_LOCKS = {errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP}
PLUGINS = {  # filters that hdf5plugin has
    307: "bzip2", 32001: "Blosc", 32004: "LZ4", 32008: "bitshuffle", 32013: "ZFP",
    32015: "Zstandard", 32017: "SZ", 32024: "SZ3", 32026: "Blosc2", 32028: "Sperr",
}  # fmt: skip


class DataError(ValueError):
    """A file cannot be used; the message is one line with its name, the problem and a remedy."""


class WriteError(DataError):
    """A file cannot be written."""


def reason(error: BaseException) -> str:
    """The cause of an error in one line, without the long text that h5py adds to it."""
    text = getattr(error, "strerror", None) or str(error) or type(error).__name__
    text = " ".join(text.split())
    inner = re.search("error message = '([^']+)'", text)
    return inner[1] if inner else text


def explain(path: str | Path, error: BaseException) -> tuple[str, str]:
    """Why a file cannot be opened or read, and what helps."""
    text = " ".join(str(error).split())
    if "unable to lock file" in text:
        return (
            f"another program has it open, and locked: {reason(error)}",
            "wait until it is closed there; if no program writes to it, set the environment "
            "variable HDF5_USE_FILE_LOCKING=FALSE",
        )
    if "already open for write" in text:
        return (
            "a program is writing it, or was killed while it did",
            "close it there; if no program has it open, `h5clear -s FILE` frees it",
        )
    if isinstance(error, PermissionError):
        return reason(error), "ask its owner for the right to read it, or copy it"
    if isinstance(error, OSError) and error.errno in (errno.EIO, errno.ESTALE, errno.ENOTCONN):
        return reason(error), "its disk does not answer: try again, or copy it to another disk"
    try:
        with Path(path).open("rb") as file:
            start = file.read(2**16)
    except OSError as unreadable:
        return reason(unreadable), "move or copy it"
    if start.startswith(SIGNATURE):
        return _damage(text, reason(error))
    cause, cure = _other_format(start)
    return cause, cure.format(f"{converting(path)}`")


def _damage(text: str, cause: str) -> tuple[str, str]:
    """Of a file that is, or was, HDF5."""
    if size := re.search(r"truncated file: eof = (\d+).*stored_eof = (\d+)", text):
        cause = f"it ends after {int(size[1]):,} of {int(size[2]):,} bytes"
        return cause, "its download or copy was cut short: make it again"
    if "bad superblock version" in text:
        return cause, f"if a newer HDF5 wrote it, upgrade h5py; else {AGAIN}"
    return cause, AGAIN


def _other_format(start: bytes) -> tuple[str, str]:
    """Of a file without HDF5's signature, that begins with these bytes."""
    if not start:
        return "it is empty", FETCH
    plain = start.removeprefix(b"\xef\xbb\xbf").lstrip()
    if start.startswith(b"PK\x03\x04"):
        return next(rest for part, *rest in ARCHIVES if part in start)
    if start[257:262] == b"ustar":
        return "it is a tar archive", "unpack it by `tar xf`"
    for beginning, what, cure in BEGINNINGS:
        if start.startswith(beginning) or (beginning == b"<" and plain.startswith(beginning)):
            return what, cure
    words = plain[:40].decode("latin-1").split("\n")[0].strip()
    if words.isprintable() and len(plain) > 1:
        return f"it is a text that begins with {words!r}", f"give an HDF5 file, or {FETCH}"
    return "it does not begin as HDF5 files do", f"give an HDF5 file, or {AGAIN}"


def converting(path: str | Path) -> str:
    """The beginning of a command that mends a file, to which options and "`" are added."""
    return f"`python -m qghelpers convert {shlex.quote(Path(path).name)} OUT.hdf5"


def process_names(file: h5py.File) -> dict[int, str]:
    """Process names by their number in the dataset `process`; empty without a valid dataset."""
    data = file.get("process")
    codes = isinstance(data, h5py.Dataset) and h5py.check_enum_dtype(data.dtype)
    valid = codes and data.shape == file["y"].shape and data.dtype.itemsize == 1
    return {code: name for name, code in codes.items()} if valid else {}


def check(file: h5py.File, path: Path) -> None:
    """Check that the datasets have the public file's names, types and shapes.

    `pt` and `m0` may be missing.

    Raises:
        qghelpers.DataError: they have not.
    """
    convert = converting(path)
    datasets = {key: _follow(file, key, path) for key in ("X_jets", "y", "pt", "m0")}
    for key in ("pt", "m0"):
        if datasets[key] is None:
            del datasets[key]
    missing = [key for key, data in datasets.items() if not isinstance(data, h5py.Dataset)]
    if missing:
        found = _contents(file)
        names = " ".join(f"{key}=ITS_NAME" for key in missing)
        cure = f"X_jets and y; {convert} --names {names}` renames them"
        if not any(sorted(shape[1:]) == sorted(IMAGE_SHAPE) for shape in found.values()):
            cure = "images of 125 x 125 pixels, X_jets, and their labels, y: give another file"
        lines = [f"{name} {shape}" for name, shape in found.items()]
        what = ", ".join([*lines[:8], *(["..."] if len(lines) > 8 else [])]) or "nothing"
        raise DataError(
            f"{path} has no dataset {', '.join(missing)} (found: {what}): it needs {cure}"
        )
    for key, data in datasets.items():
        _check_type(key, data, path)
    images = datasets.pop("X_jets")
    _check_images(images, path)
    for key, data in datasets.items():
        if data.shape != (len(images),):
            columns = f"; of two columns, {convert} --labels gluon=COLUMN quark=COLUMN` makes one"
            columns = columns if key == "y" and data.shape == (len(images), 2) else ""
            raise DataError(
                f"{path}: {key} has shape {data.shape} but X_jets holds {len(images)} jets: "
                f"every dataset needs one entry per jet{columns}"
            )
        bad = np.flatnonzero(~np.isfinite(data[:]))
        if len(bad):
            raise DataError(
                f"{path}: {key} has values that are no numbers ({len(bad)}, the first of jet "
                f"{bad[0]}): {convert} --skip-bad` leaves such jets out"
            )
    _check_labels(datasets["y"][:], bool(process_names(file)), path, convert)


def _contents(file: h5py.File) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the datasets in a file, also of those in groups."""
    found = {}

    def add(name: str, entry: h5py.Dataset | h5py.Group) -> None:
        if isinstance(entry, h5py.Dataset):
            found[name] = entry.shape or ()

    file.visititems(add)
    return found


def _check_type(key: str, data: h5py.Dataset, path: Path) -> None:
    """Raise a DataError unless a dataset holds numbers that can be decompressed here."""
    if data.dtype.kind in "SUO" and key == "y":
        raise DataError(
            f"{path}: y holds text, not numbers: {converting(path)} "
            "--labels gluon=TEXT quark=TEXT` makes 0 and 1 of it"
        )
    if data.dtype.kind not in ("iuf" if key == "X_jets" else "iufb") or data.dtype.itemsize > 8:
        raise DataError(f"{path}: {key} holds {data.dtype}, not numbers: simulate it again")
    if key == "X_jets" and data.dtype.kind != "f":
        raise DataError(
            f"{path}: X_jets holds {data.dtype}, whole numbers, which cannot be energies in "
            "GeV/100: give the file that it was made from"
        )
    filters = data.id.get_create_plist()
    for code in (filters.get_filter(i)[0] for i in range(filters.get_nfilters())):
        if not _can_decompress(code):
            plugin = "`pip install hdf5plugin`, or " if code in PLUGINS else ""
            raise DataError(
                f"{path}: {key} is compressed with filter {code} ({PLUGINS.get(code, 'unknown')}), "
                f"which is not installed here: {plugin}repack it where it can be read, by "
                "`h5repack -f GZIP=1`"
            )


def _can_decompress(code: int) -> bool:
    """Whether HDF5 has a filter, which hdf5plugin, where it is installed, adds when imported."""
    if not h5py.h5z.filter_avail(code):
        try:
            import hdf5plugin  # noqa: F401
        except ImportError:
            return False
    return h5py.h5z.filter_avail(code)


def _check_images(images: h5py.Dataset, path: Path) -> None:
    """Raise a DataError unless they have the shape of jet images, and are in this file."""
    if images.is_virtual or images.external:
        raise DataError(
            f"{path}: X_jets keeps its pixels in other files: give those, or copy them into one "
            "file with h5repack"
        )
    if images.shape is None or images.shape[1:] != IMAGE_SHAPE:
        cure = "other images than those of 125 x 125 pixels cannot be used"
        if images.shape is not None and images.shape[1:] == (IMAGE_SHAPE[2], *IMAGE_SHAPE[:2]):
            cure = f"{converting(path)}` puts the channels last"
        raise DataError(
            f"{path}: X_jets has shape {images.shape}, not (jets, 125, 125, 3), channels last in "
            f"the order Tracks, ECAL, HCAL: {cure}"
        )
    if len(images) == 0:
        raise DataError(f"{path} holds no jets: simulate or download it again")


def _check_labels(labels: np.ndarray, with_process: bool, path: Path, convert: str) -> None:
    meanings = (GLUON, QUARK, NEITHER) if with_process else (GLUON, QUARK)
    if not np.isin(labels, meanings).all():
        values = np.unique(labels)
        found = ", ".join(f"{value:g}" for value in values[:4]) + (
            ", ..." if len(values) > 4 else ""
        )
        raise DataError(
            f"{path}: y has values other than 0 (gluon) and 1 (quark): {found}; {convert} --labels "
            "gluon=VALUE quark=VALUE` makes 0 and 1 of two values"
        )


def _follow(file: h5py.File, key: str, path: Path) -> h5py.Dataset | None:
    """The dataset `key`, also through a link; None if there is none."""
    found = file.get(key)
    if found is None and key in list(file):
        link = file.get(key, getlink=True)
        if isinstance(link, h5py.ExternalLink | h5py.SoftLink):
            where = getattr(link, "filename", "this file")
            raise DataError(f"{path}: {key} is a link to {link.path} of {where}, and leads nowhere")
        raise OSError(f"{key} is damaged")
    return found
