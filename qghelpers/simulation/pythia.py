"""Proton collisions with Pythia8, and their particles."""

from dataclasses import replace
from functools import cache
from importlib import metadata

import numpy as np

from qghelpers.simulation.particles import Particles
from qghelpers.simulation.processes import Kind

try:
    import awkward as ak
    import pythia8mc
except ImportError:  # no wheel on this platform: reported by require()
    pythia8mc = None

BATCH = 250  # events generated at once
# partons beyond this |eta| are vetoed: none of 2,600 such jets had its centre in the barrel
PARTON_ETA_MAX = 1.8
BEAMS = (
    "Print:quiet = on",
    "Beams:eCM = 8000",
    "ParticleDecays:limitTau0 = on",  # K0S and Lambda reach the detector, as in CMS
    "ParticleDecays:tau0Max = 10",  # mm
    "Random:setSeed = on",
)
FAST_SHOWER_SETTINGS = (  # for the hard collisions, which are simulated afresh for every jet
    "TimeShower:pTmin = 0.8",  # GeV; 0.5 is 1.6 times slower and changes no image visibly
    "TimeShower:QEDshowerByQ = off",  # photons off quarks: a tenth of the time, a per cent effect
    "TimeShower:QEDshowerByL = off",
    "SpaceShower:QEDshowerByQ = off",
)
MINIMUM_BIAS = ("SoftQCD:inelastic = on",)  # what else happens when two bunches cross


def require() -> None:
    """Raise an ImportError that says what to do where Pythia8 is not installed."""
    if pythia8mc is None:
        raise ImportError(
            "simulation needs pythia8mc, fastjet and awkward; Pythia8 has wheels for Python 3.11 "
            "to 3.13 on Linux (x86-64, WSL too) and macOS (arm64): simulate there, copy the file"
        )


def hard_collisions(kind: Kind, pt_hat: tuple[float, float] | None, seed: int):
    """A function of a number of events that gives them, as an Awkward array of particles.

    Collisions whose partons are out of reach are replaced before their costly showers. `pt_hat`
    is the window of the partons' transverse momentum in GeV.
    """

    class Reachable(pythia8mc.UserHooks):
        def canVetoProcessLevel(self) -> bool:
            return True

        def doVetoProcessLevel(self, process) -> bool:
            return not any(
                process[i].idAbs() in kind.partons and abs(process[i].eta()) < PARTON_ETA_MAX
                for i in range(5, process.size())
            )

    hooks = Reachable()
    window = zip(("Min", "Max"), pt_hat or (), strict=False)
    settings = [f"PhaseSpace:pTHat{end} = {value}" for end, value in window]
    pythia = _pythia((*FAST_SHOWER_SETTINGS, *kind.settings, *settings), seed, hooks)

    def collide(count: int, _kept=hooks):  # Pythia calls the hooks only while Python holds them
        return pythia.nextBatch(count).prt

    return collide


def minimum_bias(count: int, seed: int) -> Particles:
    """The visible particles of `count` inelastic collisions."""
    pythia = _pythia(MINIMUM_BIAS, seed)
    batches = []
    for start in range(0, count, BATCH):
        particles = flat(visible(pythia.nextBatch(min(BATCH, count - start)).prt))
        batches.append(replace(particles, event=particles.event + start))
    return Particles.join(batches)


def _pythia(settings: tuple[str, ...], seed: int, hooks=None):
    pythia = pythia8mc.Pythia("", False)
    if hooks is not None:
        pythia.setUserHooksPtr(hooks)
    for setting in (*BEAMS, *settings, f"Random:seed = {seed}"):
        pythia.readString(setting)
    if not pythia.init():
        raise RuntimeError("Pythia8 did not start: see its messages above")
    return pythia


def version() -> str:
    """What the minimum-bias collisions depend on."""
    return f"pythia8mc {metadata.version('pythia8mc')} {BEAMS} {MINIMUM_BIAS}"


def visible(particles):
    """The stable, visible ones of Pythia's particles."""
    stable = particles[particles.status > 0]
    seen = _by_kind(ak.to_numpy(ak.flatten(stable.id)), "isVisible")
    return stable[ak.unflatten(seen.astype(bool), ak.num(stable))]


def outgoing(particles, ids: tuple[int, ...]):
    """What left the hardest collision, of these PDG numbers, antiparticles included."""
    hard = particles[(particles.status == -23) | (particles.status == -22)]
    wanted = np.isin(np.abs(ak.to_numpy(ak.flatten(hard.id))), ids)
    return hard[ak.unflatten(wanted, ak.num(hard))]


def flat(particles) -> Particles:
    """An Awkward array of Pythia's particles as flat NumPy arrays."""
    counts = ak.to_numpy(ak.num(particles))
    particles = ak.flatten(particles)
    p = particles.p
    pdg = ak.to_numpy(particles.id)
    return Particles(
        event=np.repeat(np.arange(len(counts)), counts),
        pt=ak.to_numpy(np.hypot(p.px, p.py)),
        eta=ak.to_numpy(eta(p)),
        phi=ak.to_numpy(phi(p)),
        energy=ak.to_numpy(p.e),
        charge=_by_kind(pdg, "charge"),
        pdg=pdg,
    )


def _by_kind(pdg: np.ndarray, what: str) -> np.ndarray:
    """A property of each particle, such as its charge in units of e, from Pythia's table."""
    kinds, index = np.unique(pdg, return_inverse=True)
    return np.array([getattr(_table(), what)(int(kind)) for kind in kinds], float)[index]


@cache
def _table():
    return pythia8mc.Pythia("", False).particleData


def eta(p):
    """Pseudorapidity of momenta."""
    return np.arcsinh(p.pz / np.hypot(p.px, p.py))


def phi(p):
    """Azimuth of momenta."""
    return np.arctan2(p.py, p.px)
