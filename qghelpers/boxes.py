"""Black boxes for a class: ordinary jets among which others are hidden, and a key for the teacher.

All jets of a class have the same momenta and the same radius, so that neither tells them apart. A
box holds images, pT, eta and phi: no true mass, no label, and no process.
"""

import argparse
import csv
from pathlib import Path

import numpy as np

from qghelpers.data import hdf5
from qghelpers.data.layout import NEITHER, QCD
from qghelpers.files.commands import whole
from qghelpers.seeds import Seed

__all__ = ["box_options", "make_boxes", "write_box"]

HIDDEN = "w", "top"
FEWEST, MOST = 40, 100  # hidden jets of a box
EMPTY = 1 / 6  # of all boxes, on average, hold nothing but ordinary jets
MEASURED = "X_jets", "pt", "eta", "phi"
FAIR = {"jet_pt": (300, 400), "jet_radius": 0.8}  # GeV; for all jets of a class


def box_options(command: argparse.ArgumentParser) -> None:
    """Add the options of `boxes`."""
    command.add_argument("folder", type=Path, metavar="FOLDER")
    command.add_argument("--boxes", type=whole, default=30, help="how many (%(default)s)")
    command.add_argument("--jets", type=whole, default=400, help="in each box (%(default)s)")
    command.add_argument("--seed", type=int, required=True, help="keep it to yourself")
    command.add_argument("--workers", type=int, help="processes; all processors unless given")


def make_boxes(
    folder: Path, boxes: int, seed: int, jets: int = 400, workers: int | None = None
) -> list[dict[str, str | int]]:
    """Write black boxes, known jets to compare them with, and the key.

    `folder` gets `students/box_01.hdf5` and so on; `students/ordinary.hdf5`, `known_w.hdf5` and
    `known_top.hdf5`, jets that are in no box; `key.csv`, which is returned, too: of each box its
    name, what is hidden ("w", "top" or "nothing"), how many, and in which rows; and `pool/`, what
    the boxes are drawn from. Files that are there already are not simulated again.

    Args:
        folder: is made if it is not there.
        boxes: 1 or more.
        seed: 0 or more; who knows it can make the key.
        jets: in each box, hidden ones included; 150 or more.
        workers: number of processes; by default one per processor.

    Raises:
        qghelpers.DataError: a file cannot be written, or one of the pool cannot be read.
        ImportError: Pythia8, FastJet or Awkward Array is not installed.
        ValueError: an argument is out of its range, or the pool has too few jets.
    """
    from qghelpers.simulation.simulate import simulate

    if boxes < 1 or seed < 0 or jets < 150:
        raise ValueError("boxes: at least 1 box, a seed of 0 or more, and 150 jets in each box")
    pool, students = folder / "pool", folder / "students"
    for path in (pool, students):
        path.mkdir(parents=True, exist_ok=True)
    seeds = np.random.SeedSequence(seed).generate_state(1 + len(HIDDEN)).tolist()
    drawn = {pool / f"{QCD}.hdf5": (QCD, 2 * jets, seeds[0])}
    shown = {students / "ordinary.hdf5": (QCD, 3 * jets // 2, Seed.BOXES)}
    for process, own in zip(HIDDEN, seeds[1:], strict=True):
        drawn[pool / f"{process}.hdf5"] = process, 2 * MOST, own
        shown[students / f"known_{process}.hdf5"] = process, 2 * MOST, Seed.BOXES
    for path, (process, size, own) in (drawn | shown).items():
        if not path.is_file():
            simulate(path, size, own, workers, process=process, **FAIR)
    rng, key = np.random.default_rng(seed), []
    for i in range(1, boxes + 1):
        number = 0 if rng.random() < EMPTY else int(rng.integers(FEWEST, MOST + 1))
        kind = str(rng.choice(HIDDEN))
        parts = {pool / f"{QCD}.hdf5": jets - number, pool / f"{kind}.hdf5": number}
        rows = write_box(students / f"box_{i:02}.hdf5", parts, rng)[jets - number :]
        told = {"box": f"box_{i:02}", "hidden": kind if number else "nothing", "number": number}
        key.append(told | {"rows": " ".join(map(str, np.sort(rows)))})
    with (
        hdf5.replacing(folder / "key.csv") as temporary,
        temporary.open("w", encoding="utf-8", newline="") as file,
    ):
        writer = csv.DictWriter(file, key[0].keys())
        writer.writeheader()
        writer.writerows(key)
    return key


def write_box(path: Path, parts: dict[Path, int], rng: np.random.Generator) -> np.ndarray:
    """Mix jets drawn from several files, in an order that tells nothing.

    Args:
        path: of the box.
        parts: how many jets to draw from each file.
        rng: draws and mixes them.

    Returns:
        The rows at which they are, those of the first file first: `(n,)`.

    Raises:
        qghelpers.DataError: a file cannot be read, or `path` cannot be written.
        ValueError: a file has too few jets.
    """
    total = sum(parts.values())
    rows, start = rng.permutation(total), 0
    mixed = {}
    for source, number in parts.items():
        with hdf5.open_file(source) as file:
            if number > len(file["y"]):
                raise ValueError(f"{source} has {len(file['y'])} jets, {number} are wanted")
            drawn = np.sort(rng.choice(len(file["y"]), number, replace=False))
            for name in MEASURED:
                data = file[name][:][drawn]
                box = mixed.setdefault(name, np.zeros((total, *data.shape[1:]), data.dtype))
                box[rows[start : start + number]] = data
        start += number
    with hdf5.create_file(path, total, "unknown") as file:
        del file["m0"]
        file["y"][:] = NEITHER
        for name, data in mixed.items():
            file[name][:] = data
    return rows
