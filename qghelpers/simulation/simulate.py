"""Jets from simulated collisions, with pile-up, as images in a file like the public one.

Dijet events of one kind (two gluons, or two light quarks) at 8 TeV, the leading central anti-kT
jet, labelled by the hard parton within dR < 0.4: the recipe of the public file (arXiv:1902.08276).
Jets are clustered from the hard collision alone, which is what pile-up subtraction estimates.
"""

import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
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
except ImportError:  # as with Pythia8: reported by pythia.require()
    pass

BLOCK = 64 * layout.CHUNK  # jets made from one random stream: the file is the same for any workers
JET_ETA_MAX = 1.39  # 16 towers of 0.087: the image is centred in the barrel
MATCH_RADIUS = 0.4
PT_HAT_MAX = 1500.0  # GeV; beyond, collisions at 8 TeV are too rare to find
PILEUP = 20.0  # interactions a crossing, as in the public file


@dataclass(frozen=True)
class Crossing:
    """What happens when bunches cross: a hard process in a window of pT hat, and pile-up."""

    process: Process
    pt_hat: tuple[float, float] | None
    pileup: float = 0.0


def simulate(
    path: str | Path,
    jets: int,
    seed: int = 0,
    workers: int | None = None,
    pileup: float = PILEUP,
    process: str = "qcd",
    pt_hat: tuple[float, float] | None = None,
) -> None:
    """Write simulated jets in the public file's layout, with what made them as attributes.

    The same seed gives the same images whatever the number of workers. The work is spread by
    joblib: inside `joblib.parallel_config(backend="dask")`, it goes to a Dask cluster.

    Args:
        path: the HDF5 file to make; it appears once it is whole.
        jets: how many; half quark, half gluon, with one more gluon jet if the number is odd.
        seed: a number not below 0.
        workers: processes; all that there are unless given.
        pileup: mean number of other collisions in each image, Poisson distributed.
        process: `qcd`, or jets from something else: `w`, `top` or `dark`. These are neither
            quark nor gluon: `y` is -1, and a dataset `process` says what they are.
        pt_hat: window of the transverse momentum of the outgoing partons in GeV, instead of
            the process's own.

    Raises:
        qghelpers.DataError: `path` cannot be written.
        ImportError: Pythia8, FastJet or Awkward Array is not installed.
        ValueError: an argument is out of its range.
    """
    pythia.require()
    window = _check(jets, seed, workers, pileup, process, pt_hat)
    run = partial(_in_order, workers=workers)
    with hdf5.create_file(path, jets, process) as file:
        file.attrs.update(process=process, seed=seed, pileup=pileup, pt_hat=window or ())
        if pileup:
            load_pool(run)  # so that the workers find it
        crossing = Crossing(PROCESSES[process], window, pileup)
        sizes = [min(BLOCK, jets - start) for start in range(0, jets, BLOCK)]
        chunk = file["X_jets"].chunks[0]
        tasks = [
            delayed(_block)(crossing, size, (seed, i * BLOCK), chunk)
            for i, size in enumerate(sizes)
        ]
        with tqdm(total=jets, unit=" jets", desc="simulating") as progress:
            for i, block in enumerate(run(tasks)):
                hdf5.write_block(file, i * BLOCK, *block)
                progress.update(sizes[i])


def one_event(label: int = layout.GLUON, seed: int = 0) -> tuple[Particles, float, float]:
    """A dijet event to look at, without pile-up, whose leading jet has this label.

    Returns:
        Its visible particles, and eta and phi of the jet's axis.

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
    tasks = list(tasks)
    workers = min(effective_n_jobs(workers or -1), len(tasks))
    if workers == 1:  # in this process: no start-up cost, and errors come out plainly
        return (function(*args, **kwargs) for function, args, kwargs in tasks)
    return Parallel(workers, return_as="generator", pre_dispatch="2*n_jobs")(tasks)


_pool = cache(load_pool)  # one for each process; on another machine, of its own making
_alone = threading.Lock()  # two threads of one process in Pythia would wait for each other


def _block(
    crossing: Crossing, jets: int, stream: tuple[int, int], chunk: int
) -> tuple[dict[str, np.ndarray], list[bytes]]:
    """Columns and compressed images of some jets, labels mixed, from a random stream of their own.

    They have no other state, so that it does not matter which worker makes them, and when.
    """
    with _alone:
        columns, images = _dense(crossing, jets, np.random.default_rng(stream))
    return columns, hdf5.compressed(images, chunk)


def _dense(
    crossing: Crossing, jets: int, rng: np.random.Generator
) -> tuple[dict[str, np.ndarray], np.ndarray]:
    images = np.zeros((jets, *layout.IMAGE_SHAPE), np.float32)
    columns = {key: np.zeros(jets, np.float32) for key in ("y", "pt", "m0")}
    order, kinds = rng.permutation(jets), crossing.process.kinds
    for i, kind in enumerate(kinds):
        places = order[i :: len(kinds)]
        for jet, pixels in _jets_of(kind, crossing, len(places), rng):
            some, places = places[: len(pixels)], places[len(pixels) :]
            images[some] = pixels
            columns["y"][some] = kind.label
            columns["pt"][some], columns["m0"][some] = jet["pt"], jet["mass"]
    return columns, images


def _jets_of(
    kind: Kind, crossing: Crossing, count: int, rng: np.random.Generator
) -> Iterator[tuple[dict[str, np.ndarray], np.ndarray]]:
    """`count` jets and their images, some at a time."""
    seed = int(rng.integers(1, 900_000_000))
    collide = pythia.hard_collisions(kind, crossing.pt_hat, seed)
    while count > 0:
        events = collide(min(BATCH, 3 * count // 2 + 5))  # two events in three serve
        particles, jet = _matched(events, kind, crossing.process)
        if crossing.pileup:
            others = rng.poisson(crossing.pileup, len(jet["pt"]))
            particles = Particles.join([particles, _pool().draw(others, rng)])
        images, in_reach = jet_images(particles, jet["eta"], jet["phi"], Detector(), rng)
        chosen = np.flatnonzero(in_reach)[:count]
        yield {key: values[chosen] for key, values in jet.items()}, images[chosen]
        count -= len(chosen)


def _matched(events, kind: Kind, process: Process) -> tuple[Particles, dict[str, np.ndarray]]:
    """Particles and leading jet of the events in which that jet matches a parton of this kind."""
    stable = pythia.visible(events)
    partons = pythia.outgoing(events, kind.partons)
    jet = leading_jets(stable.p, process.jet_radius, process.jet_pt_min)
    d_eta = pythia.eta(partons.p) - jet["eta"]
    d_phi = (pythia.phi(partons.p) - jet["phi"] + np.pi) % (2 * np.pi) - np.pi
    matched = ak.to_numpy(ak.any(np.hypot(d_eta, d_phi) < MATCH_RADIUS, axis=1))
    keep = matched & (jet["pt"] > 0)
    return pythia.flat(stable[keep]), {key: values[keep] for key, values in jet.items()}


def leading_jets(momenta, radius: float = 0.5, pt_min: float = 70.0) -> dict[str, np.ndarray]:
    """The hardest central anti-kT jet of each event; zeros where there is none.

    Args:
        momenta: Awkward array of events of four-momenta `px, py, pz, e` in GeV.
        radius: of the jets, in eta and phi.
        pt_min: smallest transverse momentum in GeV.

    Returns:
        `pt` and `mass` in GeV, `eta` and `phi`, each with shape `(events,)`.
    """
    # FastJet greets on standard output, which belongs to the results
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
