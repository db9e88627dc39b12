"""Simulated jets a second with pile-up, on one core and on two, alternating; medians of three.

The pool of pile-up is made before. Each run starts its worker processes anew, which is counted.
The peak memory is that of the largest worker, pages shared with others included.
"""

import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from statistics import median

import psutil
from joblib.externals.loky import get_reusable_executor

from qghelpers.simulation.pileup import load_pool
from qghelpers.simulation.simulate import BLOCK, PILEUP, simulate

JETS = 4 * BLOCK  # for each worker
REPEATS = 3


def peak_memory(stop: threading.Event, most: list[float]) -> None:
    """Watch the processes under this one, and this one; bytes of the largest go to `most`."""
    while not stop.wait(0.2):
        for process in (psutil.Process(), *psutil.Process().children(recursive=True)):
            with suppress(psutil.NoSuchProcess):
                most[0] = max(most[0], process.memory_info().rss)


def jets_a_second(workers: int, seed: int) -> float:
    get_reusable_executor().shutdown()
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        simulate(Path(folder) / "jets.hdf5", JETS * workers, seed, workers)
        return JETS * workers / (time.perf_counter() - started)


def main() -> None:
    load_pool()
    most, stop = [0.0], threading.Event()
    watch = threading.Thread(target=peak_memory, args=(stop, most))
    watch.start()
    try:
        runs = [{w: jets_a_second(w, seed) for w in (1, 2)} for seed in range(REPEATS)]
    finally:
        stop.set()
        watch.join()
    one, two = (median(run[w] for run in runs) for w in (1, 2))
    ratio = median(run[2] / run[1] for run in runs)
    print(f"pile-up {PILEUP:g}: 1 worker {one:.1f} jets/s, 2 workers {two:.1f}, ratio {ratio:.2f}")
    print(f"139,306 jets on 2 workers: {139_306 / two / 60:.0f} minutes")
    print(f"largest process: {most[0] / 2**30:.2f} GiB")


if __name__ == "__main__":
    main()
