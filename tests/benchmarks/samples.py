"""Make the small files of jets that come with the package: `python tests/benchmarks/samples.py`.

Ordinary jets, in place of the default sample where Pythia8 cannot be installed; jets of each other
process, and ordinary ones with their radius and momenta. In all less than 5 MB.
"""

import shutil
import tempfile
from pathlib import Path

import h5py

from qghelpers.load import PACKAGED
from qghelpers.seeds import Seed
from qghelpers.simulation.simulate import simulate

ORDINARY = 500  # jets
OTHERS = 160  # of each other process, and as many like them
PROCESSES = ("w", "top", "dark")


def make(folder: Path, ordinary: int = ORDINARY, others: int = OTHERS) -> None:
    """Simulate the files into `folder`, and compress them well."""
    folder.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch)
        simulate(made / "qcd.hdf5", ordinary, Seed.PACKAGED)
        for process in PROCESSES:
            simulate(made / f"{process}.hdf5", others, Seed.PACKAGED, process=process)
            like = made / f"{process}.hdf5"
            simulate(made / f"qcd_like_{process}.hdf5", others, Seed.MATCHED, like=like)
        for path in sorted(made.glob("*.hdf5")):
            _compress(path, made / "small")
            shutil.move(made / "small", folder / path.name)


def _compress(path: Path, target: Path) -> None:
    """Copy a file, with its images compressed as well as gzip can, and this script's name."""
    with h5py.File(path) as file, h5py.File(target, "w") as small:
        small.attrs.update(file.attrs)
        small.attrs["command"] = f"python tests/benchmarks/{Path(__file__).name}"
        for key, data in file.items():
            best = {"chunks": data.chunks, "compression": "gzip", "compression_opts": 9}
            small.create_dataset(
                key, data=data[:], dtype=data.dtype, **(best if data.chunks else {})
            )


if __name__ == "__main__":
    make(PACKAGED)
