"""Make a file with the public layout from one with other names, labels or units, or from Parquet.

The file is read and written block by block, whatever its size.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import h5py
import numpy as np
from tqdm import tqdm

from qghelpers.data import hdf5, layout
from qghelpers.data.hdf5 import DataError

__all__ = ["convert"]

KEYS = ("X_jets", "y", "pt", "m0")
BLOCK = 8 * layout.CHUNK  # jets that are read at once
CHANNELS_FIRST = (layout.IMAGE_SHAPE[2], *layout.IMAGE_SHAPE[:2])
JETS_TO_CHECK = 100
Block = dict[str, np.ndarray]


def convert(
    path: str | Path,
    out: str | Path,
    names: Mapping[str, str] | None = None,
    channels: Sequence[str] = layout.CHANNELS,
    divide: float = 1.0,
    labels: Mapping[str, str] | None = None,
    skip_bad: bool = False,
) -> int:
    """Write the jets of `path` to `out`, in the public layout, and return how many.

    Args:
        path: an HDF5 or Parquet file of jet images, channels first or last.
        out: the HDF5 file to write.
        names: what `X_jets`, `y`, `pt` and `m0` are called in the file, where it is otherwise;
            `pt` and `m0` may be missing.
        channels: their order in the file.
        divide: number by which all pixels are divided, such as 100 if they are in GeV.
        labels: what "gluon" and "quark" are called in the file, unless 0 and 1, or just that; of
            two columns, their numbers.
        skip_bad: leave out jets with values that are not finite.

    Raises:
        qghelpers.DataError: the file cannot be read, or `out` not written.
        ImportError: the file is a Parquet file, and PyArrow is not installed.
        ValueError: an argument is impossible.
    """
    path, out = Path(path).expanduser(), Path(out).expanduser()
    names = dict(zip(KEYS, KEYS, strict=True)) | dict(names or {})
    if set(names) != set(KEYS) or set(labels or ()) not in (set(), {"gluon", "quark"}):
        raise ValueError(f"names are of {', '.join(KEYS)}, and labels of both gluon and quark")
    if sorted(channels) != sorted(layout.CHANNELS):
        raise ValueError(f"channels are {', '.join(layout.CHANNELS)}, not {', '.join(channels)}")
    if not (np.isfinite(divide) and divide > 0):
        raise ValueError(f"pixels cannot be divided by {divide}: give a number above 0")
    if out.exists() and path.exists() and out.samefile(path):
        raise ValueError(f"{out} is the file to convert: write to another one")
    order = [list(channels).index(name) for name in layout.CHANNELS]

    def blocks(doing: str) -> Iterator[tuple[Block, np.ndarray]]:
        total, parts = _open(path, names)
        with tqdm(total=total, unit=" jets", desc=doing, delay=2) as progress:
            for part in parts:
                part = _in_public_layout(part, path, order, divide, labels)
                yield part, _good(part, path, skip_bad)
                progress.update(len(part["y"]))

    jets = sum(int(good.sum()) for _, good in blocks("looking")) if skip_bad else None
    jets = _open(path, names)[0] if jets is None else jets
    if jets == 0:
        raise DataError(f"{path} holds no jets that can be used")
    with hdf5.create_file(out, jets) as file:
        file.attrs.update(_attributes(path))
        _write(file, blocks("converting"), out)
    return jets


def _open(path: Path, names: Mapping[str, str]) -> tuple[int, Iterator[Block]]:
    """Number of jets in a file, and the jets in blocks, as they are stored."""
    try:
        with path.open("rb") as file:
            parquet = file.read(4) == b"PAR1"
    except OSError:  # `hdf5` says why
        parquet = False
    return _of_parquet(path, names) if parquet else _of_hdf5(path, names)


def _attributes(path: Path) -> dict:
    """Attributes of an HDF5 file, which say how it was made."""
    with suppress(DataError), hdf5.open_unchecked(path) as file:
        return dict(file.attrs)
    return {}


def _of_hdf5(path: Path, names: Mapping[str, str]) -> tuple[int, Iterator[Block]]:
    with hdf5.open_unchecked(path) as file:
        datasets = {key: file.get(name) for key, name in names.items()}
        found = [name for name in file if isinstance(file[name], h5py.Dataset)]
        _complain_of_missing(path, datasets, names, found)
        jets = len(datasets["X_jets"])
        columns = {k: names[k] for k in KEYS if datasets[k] is not None}
        for name in found:  # such as the process
            one_a_jet = file[name].shape == (jets,) and file[name].dtype.kind in "iufb"
            if one_a_jet and name not in columns.values():
                columns[name] = name

    def blocks() -> Iterator[Block]:
        with hdf5.open_unchecked(path) as file:
            for start in range(0, jets, BLOCK):
                with hdf5.damage_named(path):
                    part = {k: file[name][start : start + BLOCK] for k, name in columns.items()}
                yield part

    return jets, blocks()


def _of_parquet(path: Path, names: Mapping[str, str]) -> tuple[int, Iterator[Block]]:
    try:
        from pyarrow import ArrowException, parquet
    except ImportError:
        raise ImportError(f"to read {path.name}, a Parquet file: pip install pyarrow") from None

    def opened():
        try:
            return parquet.ParquetFile(path)
        except (ArrowException, OSError) as error:
            raise _unreadable(path, error) from error

    file = opened()
    found = file.schema_arrow.names
    columns = {key: name for key, name in names.items() if name in found}
    _complain_of_missing(path, {key: columns.get(key) for key in KEYS}, names, found)

    def blocks() -> Iterator[Block]:
        try:
            for batch in opened().iter_batches(BLOCK, columns=list(columns.values())):
                yield {k: _array(batch.column(name), path) for k, name in columns.items()}
        except (ArrowException, OSError) as error:
            raise _unreadable(path, error) from error

    return file.metadata.num_rows, blocks()


def _unreadable(path: Path, error: Exception) -> DataError:
    cause = hdf5.reason(error)
    return DataError(f"{path} cannot be read as Parquet ({cause}): download it again")


def _complain_of_missing(path: Path, found: Mapping, names: Mapping, columns: Sequence) -> None:
    missing = [key for key in ("X_jets", "y") if found[key] is None]
    missing += [key for key in ("pt", "m0") if found[key] is None and names[key] != key]
    if missing:
        what = ", ".join(names[key] for key in missing)
        raise DataError(
            f"{path} has no {what} (found: {', '.join(columns) or 'nothing'}): name what it has, "
            f"--names {' '.join(f'{key}=ITS_NAME' for key in missing)}"
        )


def _array(column, path: Path) -> np.ndarray:
    """A column of a Parquet file, whose entries may be lists of lists, as one array."""
    import pyarrow as pa
    import pyarrow.compute as pc

    shape = [len(column)]
    while not pa.types.is_primitive(column.type) and hasattr(column.type, "value_type"):
        sizes = pc.unique(pc.list_value_length(column))
        if len(sizes) != 1 or not sizes[0].is_valid:
            raise DataError(f"{path} has entries of different length in a column: it holds no jets")
        shape.append(sizes[0].as_py())
        column = column.flatten()
    return column.to_numpy(zero_copy_only=False).reshape(shape)


def _in_public_layout(
    part: Block, path: Path, order: list[int], divide: float, labels: Mapping[str, str] | None
) -> Block:
    """The block with its channels last and in order, in GeV/100, and with labels 0 and 1."""
    images = part["X_jets"]
    if images.shape[1:] == CHANNELS_FIRST:
        images = images.transpose(0, 2, 3, 1)
    if images.shape[1:] != layout.IMAGE_SHAPE or images.dtype.kind not in "fiu":
        raise DataError(
            f"{path}: images have shape {images.shape[1:]} and type {images.dtype}: they must be "
            "numbers with shape (125, 125, 3) or (3, 125, 125)"
        )
    images = images[..., order]
    images = np.divide(images, divide, dtype=np.float64) if divide != 1 else images
    with np.errstate(over="ignore"):
        images = images.astype(np.float32)
    columns = {key: values for key, values in part.items() if key not in ("X_jets", "y")}
    for key, values in columns.items():
        if values.dtype.kind not in "iufb" or values.shape != (len(images),):
            raise DataError(f"{path}: {key} must be one number per jet")
    y = _labels(part["y"], path, labels, neither="process" in part)
    return {"X_jets": images, "y": y, **columns}


def _labels(
    values: np.ndarray, path: Path, labels: Mapping[str, str] | None, neither: bool
) -> np.ndarray:
    """Labels as 0 (gluon), 1 (quark) and, if that is possible, -1; NaN as it was."""
    if values.ndim == 2 and values.shape[1] == 1:
        values = values[:, 0]
    if values.ndim == 2 and values.shape[1] == 2 and labels is not None:
        if not (np.sort(values, axis=1) == [0, 1]).all():
            raise DataError(f"{path}: y has two columns, but not one 1 and one 0 for each jet")
        values = values.argmax(axis=1)
    if values.ndim != 1:
        raise DataError(
            f"{path}: y has shape {values.shape[1:]} for each jet: one label is wanted, or one "
            "column for each label, named by --labels gluon=COLUMN quark=COLUMN (0 or 1)"
        )
    result = np.full(len(values), np.nan, np.float32)
    if values.dtype.kind in "iufb":
        given = {"gluon": "0", "quark": "1"} | dict(labels or {})
        given = {name: _number(value) for name, value in given.items()}
        known = ~np.isfinite(values)
    else:
        text = (v.decode(errors="replace") if isinstance(v, bytes) else str(v) for v in values)
        values = np.array([label.strip().lower() for label in text])
        given = {"gluon": "gluon", "quark": "quark"} | dict(labels or {})
        given = {name: value.lower() for name, value in given.items()}
        known = np.zeros(len(values), bool)
    if given["gluon"] == given["quark"]:
        raise ValueError(f"gluon and quark are both {given['quark']}: give each its own label")
    meanings = [(given["gluon"], layout.GLUON), (given["quark"], layout.QUARK)]
    if neither:
        meanings.append((layout.NEITHER, layout.NEITHER))
    for value, label in meanings:
        result[values == value] = label
        known |= values == value
    if not known.all():
        wrong = ", ".join(map(str, np.unique(values[~known])[:4]))
        raise DataError(
            f"{path}: y has labels that are neither gluon nor quark ({wrong}): say what they are, "
            "--labels gluon=VALUE quark=VALUE"
        )
    return result


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"labels of this file are numbers, and {text!r} is none") from None


def _good(part: Block, path: Path, skip_bad: bool) -> np.ndarray:
    """Which jets have finite values only, with shape `(n,)`."""
    good = np.isfinite(part["X_jets"]).all(axis=(1, 2, 3))
    for key in KEYS[1:]:
        if key in part:
            good &= np.isfinite(part[key])
    if not (skip_bad or good.all()):
        raise DataError(f"{path} has values that are no numbers: --skip-bad leaves such jets out")
    return good


def _write(file: h5py.File, blocks: Iterator[tuple[Block, np.ndarray]], out: Path) -> None:
    """Write the good jets of all blocks, and warn if they do not look as they should."""
    start, some = 0, []
    for part, good in blocks:
        part = {key: values[good] for key, values in part.items()}
        size = int(good.sum())
        for key, values in part.items():
            if key not in file:
                file.create_dataset(key, (len(file["y"]),), values.dtype)
            file[key][start : start + size] = values
        if start < JETS_TO_CHECK:
            some.append(part["X_jets"])
        start += size
    for key in ("pt", "m0", "eta", "phi"):
        if key not in part:
            del file[key]
    some = np.concatenate(some)
    found = layout.channels_by_evidence(some)
    if problem := layout.units_problem(some):
        tqdm.write(f"WARNING: {out}: {problem[0]}: {problem[1]}", file=sys.stderr)
    elif found not in (layout.CHANNELS, ("?",) * 3):
        line = f"WARNING: {out}: the channels look like {', '.join(found)}: --channels names them"
        tqdm.write(line, file=sys.stderr)
