"""Simulation of jets with pile-up, written as images to a file with the public file's layout.

As for the public file (arXiv:1902.08276), dijet events (two gluons, or two light quarks) at 8 TeV
give one jet each: the leading anti-kT jet, which must lie in the barrel and match a hard parton
within dR < 0.4; an image is centred on the tower of HCAL with the largest energy near the jet.
Jets are clustered from the hard collision alone, which is what pile-up subtraction estimates.
"""

import json
import math
import threading
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from functools import cache, partial
from pathlib import Path

import numpy as np
from joblib import delayed
from tqdm import tqdm

from qghelpers.data import hdf5, layout
from qghelpers.simulation import pythia, selection
from qghelpers.simulation.detector import Detector
from qghelpers.simulation.images import jet_images
from qghelpers.simulation.particles import Particles
from qghelpers.simulation.pileup import load_pool
from qghelpers.simulation.processes import PROCESSES, Kind, Process
from qghelpers.simulation.pythia import BATCH
from qghelpers.simulation.selection import Wanted
from qghelpers.workers import in_order

__all__ = ["BLOCK", "PILEUP", "one_event", "simulate"]

BLOCK = 64 * layout.CHUNK  # jets per random stream, so that the number of workers has no influence
PT_HAT_MAX = 1500.0  # GeV; harder collisions are too rare at 8 TeV
PILEUP = 20.0  # collisions per bunch crossing, as in the public file
PARTONS = 0.8, 1.6  # of the wanted jets' momenta: the range of the partons that make such jets
WINDOW = 1.3  # ratio of the largest to the smallest wanted momentum that are simulated together
PATIENCE = 2000  # collisions without a wanted jet, after which the tolerance is doubled
MOST_SLACK = 4.0  # of the tolerance; then there are no such jets
# hard collisions as often as soft ones: they fall with the fifth power or so of pT hat
EVENLY = "PhaseSpace:bias2Selection = on", "PhaseSpace:bias2SelectionPow = 4"
PROPERTIES = {"pt": "pt", "m0": "mass", "eta": "eta", "phi": "phi"}  # of jets, by dataset


@dataclass(frozen=True)
class Sample:
    """What the jets of a file have in common, and the momenta that are wanted of them, if any.

    With `windows`, jets of similar wanted momenta come from their own narrow window of pT hat.
    """

    process: Process
    pileup: float
    detector: Detector
    wanted: Wanted | None = None
    twins: int = 1
    windows: bool = False


def simulate(
    path: str | Path,
    jets: int,
    seed: int = 0,
    workers: int | None = None,
    pileup: float | None = None,
    process: str = "qcd",
    pt_hat: tuple[float, float] | None = None,
    *,
    jet_radius: float | None = None,
    jet_pt: tuple[float, float] | None = None,
    like: str | Path | None = None,
    twins: int = 1,
    detector: Detector | None = None,
) -> None:
    """Write simulated jets to a file with the public file's layout; the settings are attributes.

    The same seed gives the same images for any number of workers, which joblib manages: inside
    `joblib.parallel_config(backend="dask")`, a Dask cluster does the work.

    Besides the public file's datasets there are `eta` and `phi` of the jets; `process`, for jets
    that are neither quark nor gluon (their `y` is -1); and `twin`, where jets have twins.

    Args:
        path: the HDF5 file to make; it appears when it is complete.
        jets: number of jets, half quark and half gluon; an odd one is gluon.
        seed: 0 or more.
        workers: number of processes; by default one per processor.
        pileup: mean number of other collisions per image, which is Poisson distributed; 20, or as
            in the file that is matched.
        process: `qcd`, `w`, `top` or `dark`.
        pt_hat: range of the outgoing partons' transverse momentum in GeV; by default that of
            the process.
        jet_radius: of the jets, in eta and phi; by default that of the process.
        jet_pt: range of the jets' transverse momentum in GeV, over which they are spread evenly.
        like: a file of simulated jets that these are to be compared with: they have the same
            transverse momenta (within 2 %), |eta| (within 0.2), radius and mean pile-up.
        twins: images of each jet, with other pile-up and other chances of the detector, but the
            same centre; those of one jet have the same number in the dataset `twin`.
        detector: its parameters; those that fit the public file unless given.

    Raises:
        qghelpers.DataError: `path` cannot be written, or `like` cannot be used.
        ImportError: Pythia8, FastJet or Awkward Array is not installed.
        ValueError: an argument is out of its range, or there are no jets like the wanted ones.
    """
    pythia.require()
    _check(jets, seed, workers, process, jet_pt, like, twins)
    wanted, made = selection.like(like, seed) if like is not None else (None, {})
    if jet_pt is not None:
        wanted = selection.flat(*jet_pt, jets // twins, seed)
    pileup = made.get("pileup", PILEUP) if pileup is None else pileup
    radius = made.get("jet_radius") if jet_radius is None else jet_radius
    source = _source(process, pt_hat, radius, wanted)
    if not 0 <= pileup <= 200:
        raise ValueError(f"simulate: pile-up is {pileup}: choose a number from 0 to 200")
    windows = wanted is not None and pt_hat is None and source.pt_hat is not None
    sample = Sample(source, pileup, detector or Detector(), wanted, twins, windows)
    attributes = {"process": process, "seed": seed, "pileup": pileup, "twins": twins}
    attributes |= {"pt_hat": source.pt_hat or (), "jet_radius": source.jet_radius}
    attributes |= {"jet_pt": jet_pt or (), "like": "" if like is None else Path(like).name}
    attributes["detector"] = json.dumps(asdict(sample.detector))
    with hdf5.create_file(path, jets, process, twins > 1) as file:
        file.attrs.update(attributes)
        _fill(file, sample, seed, partial(in_order, workers=workers))


def _fill(file, sample: Sample, seed: int, run) -> None:
    """Simulate block by block, and write what is ready."""
    if sample.pileup:
        load_pool(run)  # made once, before the workers need it
    jets, chunk = len(file["y"]), file["X_jets"].chunks[0]
    step = math.lcm(layout.CHUNK, sample.twins)
    step *= max(1, BLOCK // step)
    blocks = [(start, min(step, jets - start)) for start in range(0, jets, step)]
    tasks = [delayed(_block)(sample, n, (seed, start), chunk) for start, n in blocks]
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
        particles, jet = selection.matched(collide(5), kind, PROCESSES["qcd"])
        if len(jet["pt"]):
            return particles[particles.event == 0], float(jet["eta"][0]), float(jet["phi"][0])


def _check(jets, seed, workers, process, jet_pt, like, twins) -> None:
    """Raise a ValueError if an argument is out of range."""
    if jets < 1 or seed < 0 or (workers is not None and workers < 1):
        raise ValueError("simulate: jets and workers start at 1, the seed at 0")
    if process not in PROCESSES:
        raise ValueError(f"simulate: no process {process}: there are {', '.join(PROCESSES)}")
    if twins < 1 or jets % twins:
        raise ValueError(f"simulate: {jets} images cannot be {twins} of each jet: take a multiple")
    if jet_pt is not None and like is not None:
        raise ValueError("simulate: jet pT is either that of a file or a window: give one of them")
    if jet_pt is not None and not 20 <= jet_pt[0] < jet_pt[1] <= PT_HAT_MAX:
        raise ValueError(
            f"simulate: jet pT from {jet_pt[0]:g} to {jet_pt[1]:g}: choose a window between 20 "
            f"and {PT_HAT_MAX:g} GeV"
        )


def _source(
    process: str,
    pt_hat: tuple[float, float] | None,
    radius: float | None,
    wanted: Wanted | None,
) -> Process:
    """The process with the chosen radius and momenta.

    Raises:
        ValueError: they are out of range.
    """
    source = PROCESSES[process]
    if radius is not None:
        if not 0.1 <= radius <= 1.5:
            raise ValueError(f"simulate: jet radius is {radius:g}: choose one from 0.1 to 1.5")
        source = replace(source, jet_radius=radius)
    if wanted is not None:
        source = replace(source, jet_pt_min=0.9 * wanted.pt.min())
    if pt_hat is None:
        return source
    if source.pt_hat is None:
        raise ValueError(f"simulate: {process} jets come from a decay and have no pT hat to choose")
    lowest = source.jet_pt_min
    if not lowest <= pt_hat[0] < pt_hat[1] <= PT_HAT_MAX:
        raise ValueError(
            f"simulate: pT hat from {pt_hat[0]} to {pt_hat[1]}: choose a window between "
            f"{lowest:g} and {PT_HAT_MAX:g} GeV"
        )
    return replace(source, pt_hat=tuple(pt_hat))


_pool = cache(load_pool)  # loaded once per process
_alone = threading.Lock()  # two threads of one process in Pythia would wait for each other


def _block(sample: Sample, jets: int, stream: tuple[int, int], chunk: int):
    """Columns and compressed images of `jets` jets, whose kinds are in random order.

    They depend on the arguments alone, so that any worker can make them at any time.
    """
    images = np.zeros((jets, *layout.IMAGE_SHAPE), np.float32)
    columns = {key: np.zeros(jets, np.float32) for key in ("y", *PROPERTIES)}
    columns["twin"] = np.zeros(jets, np.int32)
    rng = np.random.default_rng(stream)
    places, kinds = rng.permutation(jets).reshape(-1, sample.twins), sample.process.kinds
    numbers = np.arange(len(places)) + stream[1] // sample.twins  # of the jets in the file
    with _alone:
        for i, kind in enumerate(kinds):
            mine = np.arange(i, len(places), len(kinds))
            if sample.windows:
                kind = replace(kind, settings=(*kind.settings, *EVENLY))
            for pt_hat, some in _windows(sample, numbers[mine]):
                own = places[mine[some]], numbers[mine[some]]
                collide = pythia.hard_collisions(kind, pt_hat, int(rng.integers(1, 900_000_000)))
                for place, number, jet, made in _jets(sample, kind, collide, *own, rng):
                    images[place] = made
                    columns["y"][place], columns["twin"][place] = kind.label, number
                    for key, name in PROPERTIES.items():
                        columns[key][place] = jet[name]
    if sample.twins == 1:
        del columns["twin"]
    return columns, hdf5.compressed(images, chunk)


def _windows(sample: Sample, numbers: np.ndarray) -> Iterator[tuple[tuple | None, np.ndarray]]:
    """Ranges of pT hat, and which of these jets should come from each.

    Where momenta are wanted, each range is narrow, so that few collisions are in vain.
    """
    if not sample.windows:
        yield sample.process.pt_hat, np.arange(len(numbers))
        return
    pt = sample.wanted[numbers].pt
    window = np.floor(np.log(pt / sample.wanted.pt.min()) / np.log(WINDOW)).astype(int)
    for i in np.unique(window):
        some = np.flatnonzero(window == i)
        low, high = PARTONS[0] * pt[some].min(), PARTONS[1] * pt[some].max()
        yield (low, min(high, PT_HAT_MAX)), some


def _jets(sample: Sample, kind: Kind, collide: Callable, places, numbers, rng):
    """Give each jet in turn: its places in the block, its number, its properties and its images."""
    vain, slack = 0, 1.0  # collisions since the last jet; factor on the tolerance
    while len(places):
        count = min(BATCH, 3 * len(places) // 2 + 5)  # two in three give a jet
        count = count if sample.wanted is None else BATCH
        particles, jet = selection.matched(collide(count), kind, sample.process)
        if sample.wanted is None:
            candidates, given = np.arange(len(jet["pt"])), None
        else:
            candidates, given = selection.assign(jet, sample.wanted[numbers], slack)
            particles = particles.of_events(candidates)
            jet = {key: values[candidates] for key, values in jet.items()}
        vain = 0 if len(candidates) else vain + count
        if vain >= PATIENCE:
            vain, slack = 0, 2 * slack
        if slack > MOST_SLACK:
            pt = sample.wanted[numbers].pt
            raise ValueError(
                f"simulate: no such jets with pT from {pt.min():.0f} to {pt.max():.0f} GeV were "
                "found: choose another window, file or pT hat"
            )
        if not len(candidates):
            continue
        made, has_centre = _images(sample, particles, jet, rng)
        good = np.flatnonzero(has_centre)[: len(places)]
        filled = np.arange(len(good)) if given is None else given[good]
        for place, event in zip(filled, good, strict=True):
            properties = {key: values[event] for key, values in jet.items()}
            yield places[place], numbers[place], properties, made[:, event]
        places, numbers = np.delete(places, filled, axis=0), np.delete(numbers, filled)


def _images(sample: Sample, particles: Particles, jet, rng) -> tuple[np.ndarray, np.ndarray]:
    """All images of some jets, `(twins, n, 125, 125, 3)`, and which jets have all in reach."""
    n, k = len(jet["pt"]), sample.twins
    spread = sample.detector.vertex_spread
    particles = replace(particles, z=spread * rng.standard_normal(n)[particles.event])
    copies = [replace(particles, event=particles.event + i * n) for i in range(k)]
    if sample.pileup:
        copies.append(_pool().draw(rng.poisson(sample.pileup, n * k), rng, spread))
    axes = np.tile(jet["eta"], k), np.tile(jet["phi"], k)
    everything = Particles.join(copies) if len(copies) > 1 else particles
    made, has_centre = jet_images(everything, *axes, sample.detector, rng, k)
    return made.reshape(k, n, *made.shape[1:]), has_centre.reshape(k, n).all(axis=0)
