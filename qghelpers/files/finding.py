"""Which files of jets there are, and where their jets are from."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import h5py

from qghelpers.data import hdf5, layout

__all__ = ["opened", "origin", "public_file"]

HDF5_NAMES = (".hdf5", ".h5", ".hdf", ".he5")
OTHER_NAMES = (".parquet", ".npy", ".npz", ".root", ".gz", ".zip", *hdf5.UNFINISHED)
SIMULATED = "pileup"  # an attribute of every file that `simulate` writes
MOST = 3  # names in a line


def public_file(*folders: Path) -> Path | None:
    """The public file, by its name or by the number of its jets, if it lies in these folders."""
    for folder in folders:
        if (folder / layout.PUBLIC_FILE).is_file():
            return folder / layout.PUBLIC_FILE
    return next((path for path in _hdf5_files(folders) if _is_public(path)), None)


def _hdf5_files(folders: Sequence[Path]) -> list[Path]:
    """HDF5 files in some folders, by their names."""
    found = []
    for folder in folders:
        with suppress(OSError):
            found += sorted(path for path in folder.iterdir() if path.suffix in HDF5_NAMES)
    return found


def _is_public(path: Path) -> bool:
    """Whether a file holds as many jets as the public file, and was not simulated here."""
    return _looked_at(path) == (layout.PUBLIC_JETS, False)


def _looked_at(path: Path) -> tuple[int, bool]:
    """How many jets a file holds, 0 if that cannot be told, and whether it was simulated here."""
    with suppress(hdf5.DataError, OSError), hdf5.open_unchecked(path) as file:
        images = file.get("X_jets")
        jets = images.shape[0] if isinstance(images, h5py.Dataset) and images.shape else 0
        return jets, SIMULATED in file.attrs
    return 0, False


def origin(paths: Sequence[Path]) -> str:
    """Names of files, and what they are, such as "jets.hdf5 (simulated)"."""
    names = [f"{path.name}{_kind(path)}" for path in paths[:MOST]]
    more = len(paths) - MOST
    return ", ".join([*names, *([f"{more} other files"] if more > 0 else [])])


def _kind(path: Path) -> str:
    jets, simulated = _looked_at(path)
    if simulated:
        return " (simulated)"
    if jets == layout.PUBLIC_JETS:
        return " (the public file, by its number of jets)"
    return " (not the public file)" if path.name == layout.PUBLIC_FILE else ""


def opened(path: Path) -> str:
    """A line on a file that was chosen from its folder, and on others that lie there."""
    folder, names = path.resolve().parent, []
    with suppress(OSError):
        for other in sorted(folder.iterdir()):
            if other.suffix in (*HDF5_NAMES, *OTHER_NAMES) and other.name != path.name:
                names.append(other.name)
    line = f"opened {folder.name}/{origin([path])}"
    if not names or _is_public(path):
        return line
    more = [f"{len(names) - MOST} more"] if len(names) > MOST else []
    return f"{line}; not {', '.join([*names[:MOST], *more])}, for which load_jets(path) is needed"
