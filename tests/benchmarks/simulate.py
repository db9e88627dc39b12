"""Simulated jets a second, on one core and on two, alternating; medians of three."""

import tempfile
import time
from pathlib import Path
from statistics import median

from qghelpers.simulate import simulate

JETS = 1000  # for each worker
REPEATS = 3


def jets_a_second(workers: int, seed: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        simulate(Path(folder) / "jets.hdf5", JETS * workers, seed, workers)
        return JETS * workers / (time.perf_counter() - started)


if __name__ == "__main__":
    runs = [{w: jets_a_second(w, seed) for w in (1, 2)} for seed in range(REPEATS)]
    one, two = (median(run[w] for run in runs) for w in (1, 2))
    ratio = median(run[2] / run[1] for run in runs)
    print(f"1 worker: {one:.0f} jets/s; 2 workers: {two:.0f} jets/s; ratio {ratio:.2f}")
