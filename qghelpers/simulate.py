"""Quark and gluon jets from proton collisions: Pythia8, FastJet, the detector, a file.

Dijet events of one kind (two gluons, or two light quarks) at 8 TeV, the leading anti-kT jet,
labelled by the hard parton within dR < 0.4: the recipe of the public file (arXiv:1902.08276).
"""

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
from joblib import Parallel, cpu_count, delayed
from tqdm import tqdm

from qghelpers import layout
from qghelpers.detector import Detector, Particles, jet_images
from qghelpers.layout import GLUON, QUARK

try:
    import awkward as ak
    import fastjet
    import pythia8mc
except ImportError:  # no wheel on this platform: reported by simulate()
    pythia8mc = None

BLOCK = 1000  # jets made from one random stream; the file does not depend on the workers
BATCH = 250  # events generated at once
JET_RADIUS = 0.5  # anti-kT, the standard of CMS at 8 TeV
JET_PT_MIN = 70.0  # GeV
JET_ETA_MAX = 1.39  # 16 towers of 0.087: the image is centred in the barrel
MATCH_RADIUS = 0.4
REACH = 2.2  # |eta| of a parton beyond which its jet's image has its centre out of reach
PROCESSES = {GLUON: ("gg2gg", "qqbar2gg"), QUARK: ("gg2qqbar", "qq2qq", "qqbar2qqbarNew")}
PARTONS = {GLUON: (21,), QUARK: (1, 2, 3)}
PYTHIA = (
    "Print:quiet = on",
    "Beams:eCM = 8000",
    "PhaseSpace:pTHatMin = 90",  # GeV; with 170 it gives the public file's range of jet pT
    "PhaseSpace:pTHatMax = 170",
    "HardQCD:nQuarkNew = 3",  # new pairs are u, d or s
    "ParticleDecays:limitTau0 = on",  # K0S and Lambda reach the detector, as in CMS
    "ParticleDecays:tau0Max = 10",  # mm
    "TimeShower:pTmin = 0.8",  # GeV; 0.5 is 1.6 times slower and changes no image visibly
    "TimeShower:QEDshowerByQ = off",  # photons off quarks: a tenth of the time, a per cent effect
    "TimeShower:QEDshowerByL = off",
    "SpaceShower:QEDshowerByQ = off",
    "Random:setSeed = on",
)


def simulate(path: str | Path, jets: int, seed: int = 0, workers: int | None = None) -> None:
    """Write `jets` simulated jets, half quark and half gluon, in the public file's layout.

    The same seed gives the same images whatever the number of workers.

    Args:
        path: the HDF5 file to make; it appears once it is whole.
        jets: how many; with an odd number there is one more gluon jet.
        seed: a number not below 0.
        workers: processes; all processors unless given.

    Raises:
        layout.DataError: `path` cannot be written.
        ImportError: Pythia8, FastJet or Awkward Array is not installed.
        ValueError: `jets` is below 1, `seed` below 0 or `workers` below 1.
    """
    if pythia8mc is None:
        raise ImportError(
            "simulation needs pythia8mc, fastjet and awkward; Pythia8 has wheels for Python 3.11 "
            "to 3.13 on Linux (x86-64, WSL too) and macOS (arm64): simulate there, copy the file"
        )
    if jets < 1 or seed < 0 or (workers is not None and workers < 1):
        raise ValueError("simulate: jets and workers start at 1, the seed at 0")
    starts = range(0, jets, BLOCK)
    tasks = (delayed(_block)(seed, i, min(BLOCK, jets - i)) for i in starts)
    workers = min(workers or cpu_count(), len(starts))
    with (
        layout.create_file(path, jets) as file,
        tqdm(total=jets, unit=" jets", desc="simulating") as progress,
    ):
        for start, block in zip(starts, _in_order(tasks, workers), strict=True):
            for key, values in block.items():
                file[key][start : start + len(values)] = values
            progress.update(len(block["y"]))


def _in_order(tasks, workers: int) -> Iterator[dict[str, np.ndarray]]:
    if workers == 1:  # in this process: no start-up cost, and errors come out plainly
        return (function(*args, **kwargs) for function, args, kwargs in tasks)
    return Parallel(workers, return_as="generator", pre_dispatch="1.5*n_jobs")(tasks)


def _block(seed: int, start: int, jets: int) -> dict[str, np.ndarray]:
    """The datasets of `jets` jets, labels mixed, from the random stream (seed, start)."""
    rng = np.random.default_rng((seed, start))
    counts = {GLUON: jets - jets // 2, QUARK: jets // 2}
    parts = [_jets_of(label, count, rng) for label, count in counts.items() if count]
    order = rng.permutation(jets)
    return {key: np.concatenate([part[key] for part in parts])[order] for key in parts[0]}


def _jets_of(label: int, count: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    pythia = _pythia(label, seed=int(rng.integers(1, 900_000_000)))
    found: list[dict[str, np.ndarray]] = []
    while (missing := count - sum(len(part["y"]) for part in found)) > 0:
        events = pythia.nextBatch(min(BATCH, 2 * missing + 5))  # about half the events serve
        found.append(_jets_in(events, label, rng))
    return {key: np.concatenate([part[key] for part in found])[:count] for key in found[0]}


def _pythia(label: int, seed: int):
    class Reachable(pythia8mc.UserHooks):
        """Drop, before their costly showers, events whose partons can make no wanted jet."""

        def canVetoProcessLevel(self) -> bool:
            return True

        def doVetoProcessLevel(self, process) -> bool:
            return not any(
                process[i].idAbs() in PARTONS[label] and abs(process[i].eta()) < REACH
                for i in (5, 6)
            )

    pythia = pythia8mc.Pythia("", False)
    pythia.setUserHooksPtr(Reachable())
    processes = (f"HardQCD:{name} = on" for name in PROCESSES[label])
    for setting in (*PYTHIA, *processes, f"Random:seed = {seed}"):
        pythia.readString(setting)
    if not pythia.init():
        raise RuntimeError("Pythia8 did not start: see its messages above")
    return pythia


def _jets_in(events, label: int, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """The leading jets of these events that match a hard parton of the right kind."""
    particles = events.prt
    partons = particles[particles.status == -23]  # outgoing from the hardest process
    stable = particles[(particles.status > 0) & ~_is_neutrino(particles.id)]
    jet = leading_jets(stable.p)
    wanted = np.isin(ak.to_numpy(abs(partons.id)), PARTONS[label])
    d_eta = ak.to_numpy(_eta(partons.p)) - jet["eta"][:, None]
    d_phi = ak.to_numpy(_phi(partons.p)) - jet["phi"][:, None]
    d_phi = (d_phi + np.pi) % (2 * np.pi) - np.pi
    matched = (wanted & (np.hypot(d_eta, d_phi) < MATCH_RADIUS)).any(axis=1)
    keep = matched & (jet["pt"] > 0)
    jet = {key: values[keep] for key, values in jet.items()}
    images, in_reach = jet_images(_flat(stable[keep]), jet["eta"], jet["phi"], Detector(), rng)
    values = {
        "X_jets": images,
        "pt": jet["pt"],
        "m0": jet["mass"],
        "y": np.full(len(images), label),
    }
    return {key: array[in_reach] for key, array in values.items()}


def leading_jets(momenta) -> dict[str, np.ndarray]:
    """The hardest central anti-kT jet (R = 0.5) of each event; zeros where there is none.

    Args:
        momenta: Awkward array of events of four-momenta `px, py, pz, e` in GeV.

    Returns:
        `pt` and `mass` in GeV, `eta` and `phi`, each with shape `(events,)`.
    """
    # FastJet greets on standard output, which belongs to the results
    fastjet._swig.ClusterSequence.set_fastjet_banner_stream(None)
    definition = fastjet.JetDefinition(fastjet.antikt_algorithm, JET_RADIUS)
    fields = {"px": momenta.px, "py": momenta.py, "pz": momenta.pz, "E": momenta.e}
    momenta = ak.zip(fields, with_name="Momentum4D")
    jets = fastjet.ClusterSequence(momenta, definition).inclusive_jets(min_pt=JET_PT_MIN)
    pt2 = jets.px**2 + jets.py**2
    jets = jets[abs(jets.pz) < np.sinh(JET_ETA_MAX) * np.sqrt(pt2)]
    hardest = ak.argmax(jets.px**2 + jets.py**2, axis=1, keepdims=True)
    jet = ak.pad_none(jets[hardest], 1)[:, 0]
    px, py, pz, e = (ak.to_numpy(ak.fill_none(jet[k], 0)) for k in ("px", "py", "pz", "E"))
    pt = np.hypot(px, py)
    mass = np.sqrt(np.maximum(e**2 - pt**2 - pz**2, 0))
    eta = np.arcsinh(pz / np.maximum(pt, 1e-9))
    return {"pt": pt, "mass": mass, "eta": eta, "phi": np.arctan2(py, px)}


def _flat(particles) -> Particles:
    """An Awkward array of Pythia's particles as flat NumPy arrays."""
    counts = ak.to_numpy(ak.num(particles))
    particles = ak.flatten(particles)
    p = particles.p
    pdg = ak.to_numpy(particles.id)
    return Particles(
        event=np.repeat(np.arange(len(counts)), counts),
        pt=ak.to_numpy(np.hypot(p.px, p.py)),
        eta=ak.to_numpy(_eta(p)),
        phi=ak.to_numpy(_phi(p)),
        energy=ak.to_numpy(p.e),
        charge=_charge(pdg),
        pdg=pdg,
    )


def _charge(pdg: np.ndarray) -> np.ndarray:
    """Electric charges in units of e, looked up in Pythia's particle table."""
    kinds, index = np.unique(pdg, return_inverse=True)
    return np.array([_particle_table().charge(int(kind)) for kind in kinds])[index]


@cache
def _particle_table():
    return pythia8mc.Pythia("", False).particleData


def _is_neutrino(pdg):
    return (abs(pdg) == 12) | (abs(pdg) == 14) | (abs(pdg) == 16)


def _eta(p):
    return np.arcsinh(p.pz / np.hypot(p.px, p.py))


def _phi(p):
    return np.arctan2(p.py, p.px)
