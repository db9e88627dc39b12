"""Make the small files of jets that come with the package: `python tests/benchmarks/samples.py`.

Ordinary jets, in place of the default sample where Pythia8 cannot be installed; jets of each other
process, and ordinary ones with their radius and momenta; and the particles of one crossing, with
pile-up, of which notebook 1 makes images. In all less than 5 MB. With the argument `crossing`, only
the last is made.
"""

import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np

from qghelpers.data.layout import GLUON
from qghelpers.load import PACKAGED
from qghelpers.seeds import Seed
from qghelpers.simulation import particles
from qghelpers.simulation.detector import Detector
from qghelpers.simulation.particles import Particles
from qghelpers.simulation.pileup import load_pool
from qghelpers.simulation.simulate import one_event, simulate

ORDINARY = 500  # jets
OTHERS = 160  # of each other process, and as many like them
PROCESSES = ("w", "top", "dark")
EVENT = 8  # seed of the collision with a gluon jet
PILEUP = 200  # other collisions, as many as at the High-Luminosity LHC
NEAR = 2.0  # in eta: the pile-up that is kept around the jet
NARROW = {"event": "i2", "charge": "i1", "pdg": "i4"}  # all else is stored as float32


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


def crossing(path: Path = particles.PACKAGED) -> None:
    """Simulate the crossing of `packaged_crossing`."""
    hard, eta, phi = one_event(GLUON, EVENT)
    spread, rng = Detector().vertex_spread, np.random.default_rng(EVENT)
    others = load_pool().draw(np.ones(PILEUP, int), rng, spread)
    others = others[np.abs(others.eta - eta) < NEAR]
    everything = Particles.join([hard, replace(others, event=others.event + 1)])
    everything = replace(everything, phi=(everything.phi + np.pi) % (2 * np.pi) - np.pi)
    arrays = {key: a.astype(NARROW.get(key, "f4")) for key, a in vars(everything).items()}
    np.savez_compressed(path, jet=[eta, phi], **arrays)


if __name__ == "__main__":
    if sys.argv[1:] != ["crossing"]:
        make(PACKAGED)
    crossing()
