"""Make the small files of jets that come with the package: `python tests/benchmarks/samples.py`.

Ordinary jets, in place of the default sample where Pythia8 cannot be installed; jets of each other
process, and ordinary ones with their radius and momenta; more ordinary jets with the momenta of
tops, to train on; a black box, a mixture that is not labelled; and the particles of one crossing,
with pile-up, of which notebook 1 makes images. In all less than 9 MB. With the argument `crossing`,
only the last is made.
"""

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np

from qghelpers.data.layout import GLUON, NEITHER
from qghelpers.load import PACKAGED
from qghelpers.seeds import Seed
from qghelpers.simulation import particles
from qghelpers.simulation.detector import Detector
from qghelpers.simulation.particles import Particles
from qghelpers.simulation.pileup import load_pool
from qghelpers.simulation.simulate import one_event, simulate

ORDINARY = 500  # jets
OTHERS = 160  # of each other process, and as many like them
HARD = 1000  # ordinary jets with the momenta of tops
BOX = 150, 30  # ordinary jets and others in the black box
DRAWN = 2000  # simulated for the last two, which keep a part
PROCESSES = ("w", "top", "dark")
EVENT = 8  # seed of the collision with a gluon jet
PILEUP = 200  # other collisions, as many as at the High-Luminosity LHC
NEAR = 2.0  # in eta: the pile-up that is kept around the jet
NARROW = {"event": "i2", "charge": "i1", "pdg": "i4"}  # all else is stored as float32
COMMAND = f"python tests/benchmarks/{Path(__file__).name}"


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
            compress(path, folder / path.name)
        make_hard(made / "more", folder)


def make_hard(made: Path, folder: Path, drawn: int = DRAWN) -> None:
    """The ordinary jets to train on, and the black box, which is part of two other simulations."""
    made.mkdir(exist_ok=True)
    paths = [made / f"{name}.hdf5" for name in ("top", "qcd_like_top", "w", "qcd_like_w")]
    for (other, ordinary), process, seeds in (
        (paths[:2], "top", (Seed.HARD, Seed.HARD_MATCHED)),
        (paths[2:], "w", (Seed.BOX, Seed.BOX_MATCHED)),
    ):
        simulate(other, drawn, seeds[0], process=process)
        simulate(ordinary, drawn, seeds[1], like=other)
    cut_hard(paths[1], paths[3], paths[2], folder)


def cut_hard(like_top: Path, like_w: Path, w: Path, folder: Path) -> None:
    """Keep the first jets of these files; in the black box, nothing says which jet is which."""
    compress(like_top, folder / "qcd_hard.hdf5", slice(HARD))
    ordinary, others = BOX
    with h5py.File(like_w) as file, h5py.File(w) as other:
        order = np.random.default_rng(0).permutation(ordinary + others)
        mixed = {
            key: np.concatenate([file[key][:ordinary], other[key][:others]])[order]
            for key in ("X_jets", "m0", "pt", "eta", "phi")
        }
        chunks, attributes = file["X_jets"].chunks, {"detector": file.attrs["detector"]}
    with h5py.File(folder / "black_box.hdf5", "w") as box:
        box.attrs.update(attributes, command=COMMAND)
        _write(box, "X_jets", mixed.pop("X_jets"), chunks)
        for key, data in mixed.items():
            box.create_dataset(key, data=data)
        kind = h5py.enum_dtype({"unknown": 0}, basetype="u1")
        box.create_dataset("process", data=np.zeros(len(order), "u1"), dtype=kind)
        box.create_dataset("y", data=np.full(len(order), NEITHER, mixed["pt"].dtype))


def compress(path: Path, target: Path, rows: slice = slice(None)) -> None:
    """Copy jets, with their images compressed as well as gzip can, and this script's name."""
    with h5py.File(path) as file, h5py.File(target, "w") as small:
        small.attrs.update(file.attrs)
        small.attrs["command"] = COMMAND
        for key, data in file.items():
            _write(small, key, data[rows], data.chunks)


def _write(file: h5py.File, key: str, data: np.ndarray, chunks: tuple | None) -> None:
    best = {"chunks": chunks, "compression": "gzip", "compression_opts": 9}
    file.create_dataset(key, data=data, **(best if chunks else {}))


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
