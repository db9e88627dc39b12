"""Simulation of jets with pile-up, written as images to a file with the public file's layout.

As for the public file (arXiv:1902.08276), dijet events (two gluons, or two light quarks) at 8 TeV
give one jet each: the leading central anti-kT jet, which must match a hard parton within dR < 0.4.
Jets are clustered from the hard collision alone, which is what pile-up subtraction estimates.
"""

import threading
from collections.abc import Iterable, Iterator
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import numpy as np
from joblib import Parallel, delayed, effective_n_jobs
from tqdm import tqdm

from qghelpers.data import hdf5, layout
from qghelpers.simulation import pythia
from qghelpers.simulation.detector import Detector, jet_images
from qghelpers.simulation.particles import Particles
from qghelpers.simulation.pileup import load_pool
from qghelpers.simulation.processes import PROCESSES, Kind, Process
from qghelpers.simulation.pythia import BATCH

try:
    import awkward as ak
    import fastjet
except ImportError:  # reported by pythia.require(), as a missing Pythia8 is
    pass

__all__ = ["BLOCK", "PILEUP", "leading_jets", "one_event", "simulate"]

BLOCK = 64 * layout.CHUNK  # jets per random stream, so that the number of workers has no influence
JET_ETA_MAX = 1.39  # 16 towers of 0.087: the image is centred in the barrel
MATCH_RADIUS = 0.4
PT_HAT_MAX = 1500.0  # GeV; harder collisions are too rare at 8 TeV
PILEUP = 20.0  # collisions per bunch crossing, as in the public file


def simulate(
    path: str | Path,
    jets: int,
    seed: int = 0,
    workers: int | None = None,
    pileup: float = PILEUP,
    process: str = "qcd",
    pt_hat: tuple[float, float] | None = None,
) -> None:
    """Write simulated jets to a file with the public file's layout; the settings are attributes.

    The same seed gives the same images for any number of workers, which joblib manages: inside
    `joblib.parallel_config(backend="dask")`, a Dask cluster does the work.

    Args:
        path: the HDF5 file to make; it appears when it is complete.
        jets: number of jets, half quark and half gluon; an odd one is gluon.
        seed: 0 or more.
        workers: number of processes; by default one per processor.
        pileup: mean number of other collisions per image, which is Poisson distributed.
        process: `qcd`, or `w`, `top` or `dark` for jets that are neither quark nor gluon: their
            `y` is -1, and a dataset `process` names their process.
        pt_hat: range of the outgoing partons' transverse momentum in GeV; by default that of
            the process.

    Raises:
        qghelpers.DataError: `path` cannot be written.
        ImportError: Pythia8, FastJet or Awkward Array is not installed.
        ValueError: an argument is out of its range.
    """
    pythia.require()
    pt_hat = _check(jets, seed, workers, pileup, process, pt_hat)
    run = partial(_in_order, workers=workers)
    with hdf5.create_file(path, jets, process) as file:
        file.attrs.update(process=process, seed=seed, pileup=pileup, pt_hat=pt_hat or ())
        if pileup:
            load_pool(run)  # made once, before the workers need it
        source = replace(PROCESSES[process], pt_hat=pt_hat)
        chunk = file["X_jets"].chunks[0]
        blocks = [(start, min(BLOCK, jets - start)) for start in range(0, jets, BLOCK)]
        tasks = [delayed(_block)(source, pileup, n, (seed, start), chunk) for start, n in blocks]
        with tqdm(total=jets, unit=" jets", desc="simulating") as progress:
            for (start, n), block in zip(blocks, run(tasks), strict=True):
                hdf5.write_block(file, start, *block)
                progress.update(n)


def one_event(label: int = layout.GLUON, seed: int = 0) -> tuple[Particles, float, float]:
    """One dijet event without pile-up, whose leading jet has this label.

    Returns:
        The visible particles, and eta and phi of the jet's axis.

    Raises:
        ImportError: Pythia8, FastJet or Awkward Array is not installed.
    """
    pythia.require()
    (kind,) = (kind for kind in PROCESSES["qcd"].kinds if kind.label == label)
    collide = pythia.hard_collisions(kind, PROCESSES["qcd"].pt_hat, seed + 1)
    while True:
        particles, jet = _matched(collide(5), kind, PROCESSES["qcd"])
        if len(jet["pt"]):
            return particles[particles.event == 0], float(jet["eta"][0]), float(jet["phi"][0])


def _check(jets, seed, workers, pileup, process, pt_hat) -> tuple[float, float] | None:
    """Raise a ValueError if an argument is out of range; return the range of pT hat to use."""
    if jets < 1 or seed < 0 or (workers is not None and workers < 1):
        raise ValueError("simulate: jets and workers start at 1, the seed at 0")
    if not 0 <= pileup <= 200:
        raise ValueError(f"simulate: pile-up is {pileup}: choose a number from 0 to 200")
    if process not in PROCESSES:
        raise ValueError(f"simulate: no process {process}: there are {', '.join(PROCESSES)}")
    own = PROCESSES[process].pt_hat
    if pt_hat is None:
        return own
    if own is None:
        raise ValueError(f"simulate: {process} jets come from a decay and have no pT hat to choose")
    lowest = PROCESSES[process].jet_pt_min
    if not lowest <= pt_hat[0] < pt_hat[1] <= PT_HAT_MAX:
        raise ValueError(
            f"simulate: pT hat from {pt_hat[0]} to {pt_hat[1]}: choose a window between "
            f"{lowest:g} and {PT_HAT_MAX:g} GeV"
        )
    return tuple(pt_hat)


def _in_order(tasks: Iterable, workers: int | None) -> Iterator:
    """Run joblib tasks in parallel and yield their results in order."""
    tasks = list(tasks)
    workers = min(effective_n_jobs(workers or -1), len(tasks))
    if workers == 1:  # in this process: without start-up time, and with plain error messages
        return (function(*args, **kwargs) for function, args, kwargs in tasks)
    return Parallel(workers, return_as="generator", pre_dispatch="2*n_jobs")(tasks)


_pool = cache(load_pool)  # loaded once per process
_alone = threading.Lock()  # two threads of one process in Pythia would wait for each other


def _block(process: Process, pileup: float, jets: int, stream: tuple[int, int], chunk: int):
    """Columns and compressed images of `jets` jets, whose kinds are in random order.

    They depend on the arguments alone, so that any worker can make them at any time.
    """
    images = np.zeros((jets, *layout.IMAGE_SHAPE), np.float32)
    columns = {key: np.zeros(jets, np.float32) for key in ("y", "pt", "m0")}
    rng = np.random.default_rng(stream)
    order, kinds = rng.permutation(jets), process.kinds
    with _alone:
        for i, kind in enumerate(kinds):
            seed = int(rng.integers(1, 900_000_000))
            collide = pythia.hard_collisions(kind, process.pt_hat, seed)
            empty = order[i :: len(kinds)]
            while len(empty):
                events = collide(min(BATCH, 3 * len(empty) // 2 + 5))  # two in three give a jet
                particles, jet = _matched(events, kind, process)
                if pileup:
                    others = rng.poisson(pileup, len(jet["pt"]))
                    particles = Particles.join([particles, _pool().draw(others, rng)])
                made, in_reach = jet_images(particles, jet["eta"], jet["phi"], Detector(), rng)
                chosen = np.flatnonzero(in_reach)[: len(empty)]
                filled, empty = empty[: len(chosen)], empty[len(chosen) :]
                images[filled] = made[chosen]
                columns["y"][filled] = kind.label
                columns["pt"][filled] = jet["pt"][chosen]
                columns["m0"][filled] = jet["mass"][chosen]
    return columns, hdf5.compressed(images, chunk)


def _matched(events, kind: Kind, process: Process) -> tuple[Particles, dict[str, np.ndarray]]:
    """Particles and leading jets of those events whose leading jet matches a parton of the kind."""
    stable = pythia.visible(events)
    partons = pythia.outgoing(events, kind.partons)
    jet = leading_jets(stable.p, process.jet_radius, process.jet_pt_min)
    d_eta = pythia.eta(partons.p) - jet["eta"]
    d_phi = (pythia.phi(partons.p) - jet["phi"] + np.pi) % (2 * np.pi) - np.pi
    matched = ak.to_numpy(ak.any(np.hypot(d_eta, d_phi) < MATCH_RADIUS, axis=1))
    keep = matched & (jet["pt"] > 0)
    return pythia.flat(stable[keep]), {key: values[keep] for key, values in jet.items()}


def leading_jets(momenta, radius: float = 0.5, pt_min: float = 70.0) -> dict[str, np.ndarray]:
    """The central anti-kT jet with the largest pT in each event; zeros if there is none.

    Args:
        momenta: Awkward array of events of four-momenta `px, py, pz, e` in GeV.
        radius: of the jets, in eta and phi.
        pt_min: smallest transverse momentum in GeV.

    Returns:
        `pt` and `mass` in GeV, `eta` and `phi`, each with shape `(events,)`.
    """
    # no banner of FastJet on standard output, which is for results
    fastjet._swig.ClusterSequence.set_fastjet_banner_stream(None)
    definition = fastjet.JetDefinition(fastjet.antikt_algorithm, radius)
    fields = {"px": momenta.px, "py": momenta.py, "pz": momenta.pz, "E": momenta.e}
    momenta = ak.zip(fields, with_name="Momentum4D")
    jets = fastjet.ClusterSequence(momenta, definition).inclusive_jets(min_pt=pt_min)
    pt2 = jets.px**2 + jets.py**2
    jets = jets[abs(jets.pz) < np.sinh(JET_ETA_MAX) * np.sqrt(pt2)]
    hardest = ak.argmax(jets.px**2 + jets.py**2, axis=1, keepdims=True)
    jet = ak.pad_none(jets[hardest], 1)[:, 0]
    px, py, pz, e = (ak.to_numpy(ak.fill_none(jet[k], 0)) for k in ("px", "py", "pz", "E"))
    pt = np.hypot(px, py)
    mass = np.sqrt(np.maximum(e**2 - pt**2 - pz**2, 0))
    eta = np.arcsinh(pz / np.maximum(pt, 1e-9))
    return {"pt": pt, "mass": mass, "eta": eta, "phi": np.arctan2(py, px)}
