"""The code of every jet of a file, written to HDF5 or Parquet for use outside of this package."""

import sys
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
from tqdm import tqdm

from qghelpers.analysis import latent, pretrained
from qghelpers.data import hdf5
from qghelpers.data.hdf5 import DataError
from qghelpers.data.jets import JetImages
from qghelpers.networks.base import JetAutoencoder
from qghelpers.training import runs

__all__ = ["features", "network"]

BLOCK = 2048  # jets that are encoded before their codes are written
HDF5, PARQUET = (".hdf5", ".h5", ".hdf"), (".parquet", ".pq")
Block = dict[str, np.ndarray]


def features(model: JetAutoencoder, jets: JetImages, out: str | Path) -> Path:
    """Write the code of every jet, with its label, pT and mass, block by block.

        qg.features(qg.load_pretrained("vae"), qg.load_jets("jets.hdf5"), "features.hdf5")

    However many jets there are, only the codes of one block are in memory.

    Args:
        model: any network with a code; for `latent.encode`.
        jets: n of them.
        out: the file; its ending decides what it is. HDF5 (`.hdf5`, `.h5`) has the datasets `code`,
            float32 with shape `(n, k)`, and as the jets' own file `y` (1 is quark, 0 is gluon),
            `pt` and `m0` in GeV, `(n,)` each. Parquet (`.parquet`) has a column for each number of
            the code, `code_0` and so on, beside `y`, `pt` and `m0`.

    Returns:
        `out`, as a path.

    Raises:
        ValueError: there are no jets, or `out` has another ending.
        ImportError: a Parquet file is wanted, and PyArrow is not installed.
        qghelpers.DataError: the file cannot be written.
    """
    out = Path(out).expanduser()
    if out.suffix.lower() not in HDF5 + PARQUET:
        raise ValueError(f"{out} ends neither in .hdf5 nor in .parquet: name one of them")
    if not len(jets):
        raise ValueError("there are no jets to write the features of")
    write = _write_parquet if out.suffix.lower() in PARQUET else _write_hdf5
    with hdf5.replacing(out) as temporary:
        write(temporary, _blocks(model, jets), len(jets))
    return out


def _blocks(model: JetAutoencoder, jets: JetImages) -> Iterator[Block]:
    """Codes, labels, pT and mass of jets, some thousands at a time, with a progress bar."""
    with tqdm(total=len(jets), unit=" jets", desc="features", delay=2) as progress:
        for start in range(0, len(jets), BLOCK):
            part = jets[start : start + BLOCK]
            code = latent.encode(model, part).astype(np.float32)
            yield {"code": code, "y": part.labels, "pt": part.pt, "m0": part.mass}
            progress.update(len(part))


def _write_hdf5(path: Path, blocks: Iterator[Block], jets: int) -> None:
    with h5py.File(path, "w") as file:
        done = 0
        for block in blocks:
            for name, values in block.items():
                if name not in file:
                    file.create_dataset(name, (jets, *values.shape[1:]), values.dtype)
                file[name][done : done + len(values)] = values
            done += len(block["y"])


def _write_parquet(path: Path, blocks: Iterator[Block], jets: int) -> None:
    try:
        import pyarrow as pa
        from pyarrow import parquet
    except ImportError:
        raise ImportError("to write a Parquet file: pip install pyarrow") from None
    writer = None
    try:
        for block in blocks:
            code = block.pop("code")
            table = pa.table({f"code_{i}": column for i, column in enumerate(code.T)} | block)
            writer = writer or parquet.ParquetWriter(path, table.schema)
            writer.write_table(table)
    finally:
        if writer is not None:
            writer.close()


def network(name: str) -> JetAutoencoder:
    """The network of a run folder or, where there is no such folder, the shipped one of this name.

    Raises:
        qghelpers.DataError: there is neither, or its files are damaged.
    """
    if Path(name).is_dir():
        return runs.load_run(name)
    try:
        return pretrained.load_pretrained(name)
    except ValueError as error:
        raise DataError(f"there is no run folder {name}, and {error}") from error


def warn_of_seen(name: str, jets: JetImages) -> None:
    """Say on stderr where a shipped network has learnt from jets that it is to encode."""
    try:
        pretrained.require_unseen(name, jets)
    except DataError as error:
        print(f"{error}; their features are written all the same", file=sys.stderr)
    except ValueError:  # a run of the reader's own
        pass
