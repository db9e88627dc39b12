"""Which jets are kept: the leading one of an event, matched to a parton, of a wanted momentum."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from qghelpers.data import hdf5
from qghelpers.data.hdf5 import DataError
from qghelpers.simulation import pythia
from qghelpers.simulation.particles import Particles
from qghelpers.simulation.processes import Kind, Process

try:
    import awkward as ak
    import fastjet
except ImportError:  # reported by pythia.require(), as a missing Pythia8 is
    pass

__all__ = ["JET_ETA_MAX", "Wanted", "assign", "flat", "leading_jets", "like", "matched"]

JET_ETA_MAX = 1.39  # 16 towers of 0.087: the image is centred in the barrel
MATCH_RADIUS = 0.4
PT_TOLERANCE = 0.02  # by which a jet's pT may differ from the wanted one, relative
ETA_TOLERANCE = 0.2  # by which |eta| may


def matched(events, kind: Kind, process: Process) -> tuple[Particles, dict[str, np.ndarray]]:
    """Particles and leading jets of those events whose leading jet matches a parton of the kind."""
    stable = pythia.visible(events)
    partons = pythia.outgoing(events, kind.partons)
    jet = leading_jets(stable.p, process.jet_radius, process.jet_pt_min)
    d_eta = pythia.eta(partons.p) - jet["eta"]
    d_phi = (pythia.phi(partons.p) - jet["phi"] + np.pi) % (2 * np.pi) - np.pi
    close = ak.to_numpy(ak.any(np.hypot(d_eta, d_phi) < MATCH_RADIUS, axis=1))
    keep = close & (jet["pt"] > 0)
    return pythia.flat(stable[keep]), {key: values[keep] for key, values in jet.items()}


def leading_jets(momenta, radius: float = 0.5, pt_min: float = 70.0) -> dict[str, np.ndarray]:
    """The anti-kT jet with the largest pT in each event; zeros if it is not central.

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
    hardest = ak.argmax(jets.px**2 + jets.py**2, axis=1, keepdims=True)
    jet = jets[hardest]
    central = abs(jet.pz) < np.sinh(JET_ETA_MAX) * np.hypot(jet.px, jet.py)
    jet = ak.pad_none(jet[central], 1)[:, 0]
    px, py, pz, e = (ak.to_numpy(ak.fill_none(jet[k], 0)) for k in ("px", "py", "pz", "E"))
    pt = np.hypot(px, py)
    mass = np.sqrt(np.maximum(e**2 - pt**2 - pz**2, 0))
    eta = np.arcsinh(pz / np.maximum(pt, 1e-9))
    return {"pt": pt, "mass": mass, "eta": eta, "phi": np.arctan2(py, px)}


@dataclass(frozen=True)
class Wanted:
    """Momenta that jets should have, one for each jet of a file: `pt` in GeV, and |`eta`|.

    `eta` is NaN where it does not matter. Jets get them in turns if they are more than these.
    """

    pt: np.ndarray
    eta: np.ndarray

    def __getitem__(self, jets: np.ndarray) -> "Wanted":
        """Those of the jets with these numbers in the file."""
        jets = jets % len(self.pt)
        return Wanted(self.pt[jets], self.eta[jets])

    def __len__(self) -> int:
        return len(self.pt)


def flat(low: float, high: float, count: int, seed: int) -> Wanted:
    """Transverse momenta spread evenly between two, in random order; any eta."""
    pt = low + (high - low) * (np.arange(count) + 0.5) / count
    rng = np.random.default_rng((seed, count))
    return Wanted(rng.permutation(pt), np.full(count, np.nan))


def like(path: str | Path, seed: int) -> tuple[Wanted, dict[str, float]]:
    """The momenta of the jets in a file, in random order, and how these were made.

    Returns:
        The momenta, with eta where the file has it, and of the file's attributes `jet_radius`
        and `pileup` those that it has.

    Raises:
        qghelpers.DataError: the file cannot be used, or holds jets of several processes.
    """
    with hdf5.open_file(path) as file:
        _, pt, _, process, _ = hdf5.columns(file)
        if len(set(process)) > 1:
            kinds = ", ".join(sorted(set(process)))
            raise DataError(f"{path} holds jets of several processes ({kinds}): match one of them")
        if not np.isfinite(pt).all():
            raise DataError(f"{path} has no pT to compare with: it needs a dataset pt")
        eta = file["eta"][:] if "eta" in file else np.full(len(pt), np.nan)
        made = {
            key: file.attrs[key].item() for key in ("jet_radius", "pileup") if key in file.attrs
        }
    order = np.random.default_rng((seed, len(pt))).permutation(len(pt))
    return Wanted(pt[order].astype(float), np.abs(eta[order]).astype(float)), made


def assign(
    jet: dict[str, np.ndarray], wanted: Wanted, slack: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Give jets to the momenta that they have, each the nearest one that is still free.

    Args:
        jet: `pt` in GeV and `eta` of some jets, with shape `(n,)`.
        wanted: momenta, m of them.
        slack: factor on the tolerances, 2 % in pT and 0.2 in |eta|.

    Returns:
        Indices of jets, and of the wanted momenta that they were given to, of the same length.
    """
    free = np.ones(len(wanted), bool)
    pairs = []
    for i, (pt, eta) in enumerate(zip(jet["pt"], np.abs(jet["eta"]), strict=True)):
        off = np.abs(pt / wanted.pt - 1) / PT_TOLERANCE
        off_eta = np.nan_to_num(np.abs(eta - wanted.eta) / ETA_TOLERANCE)
        distance = np.where(free, np.maximum(off, off_eta), np.inf)
        nearest = int(distance.argmin())
        if distance[nearest] <= slack:
            free[nearest] = False
            pairs.append((i, nearest))
    jets, places = np.array(pairs, int).reshape(-1, 2).T
    return jets, places
