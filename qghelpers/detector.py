"""Particles to jet images: a fast stand-in for the tracker, ECAL and HCAL of CMS.

Particles are bent by the solenoid, tracks keep their direction at the vertex, calorimeter
showers are spread over neighbouring cells, and each cell is smeared and thresholded. All
numbers stand in one table, `Detector`, with their sources.
"""

from dataclasses import dataclass

import numpy as np

from qghelpers.layout import GEV_PER_UNIT, IMAGE_SIZE, PIXEL_WIDTH, TOWER_SIZE

TOWERS = IMAGE_SIZE // TOWER_SIZE  # HCAL towers across an image
RING = 360 // TOWER_SIZE  # HCAL towers around the full circle in phi
ETA_TOWERS = 36  # HCAL towers kept on each side of eta = 0: up to |eta| = 3.13
TOWER_WIDTH = PIXEL_WIDTH * TOWER_SIZE  # in eta
PHI_PIXEL = 2 * np.pi / 360


@dataclass(frozen=True)
class Detector:
    """The detector's parameters: lengths in metres, energies in GeV, field in tesla.

    Sources: [D] Delphes 3 CMS card (arXiv:1307.6346), whose resolutions follow
    arXiv:1405.6569 (tracks) and arXiv:1306.2016 (ECAL); [C] CMS Collaboration, JINST 3 (2008)
    S08004; [G] Grindhammer and Peters, hep-ex/0001020.
    """

    field: float = 3.8  # [C]
    radius: float = 1.29  # inner radius of the ECAL barrel [D]
    half_length: float = 3.0  # distance of the endcaps [D]

    track_pt_min: float = 0.1  # [D]
    track_efficiency_low: float = 0.70  # below 1 GeV [D]
    track_efficiency: float = 0.95  # above [D]
    track_eta_max: float = 2.5  # [D]
    track_constant: float = 0.015  # relative pT resolution: constant, and per GeV of pT [D]
    track_slope: float = 2.5e-4

    ecal_stochastic: float = 0.028  # sigma/E = stochastic / sqrt(E) + noise / E + constant [C]
    ecal_noise: float = 0.04  # one crystal, test beam [C]
    ecal_constant: float = 0.003
    ecal_threshold: float = 0.08  # two sigma of noise
    ecal_radius: float = (
        0.0058  # median shower radius in eta-phi: a third of the Moliere radius [G]
    )

    hcal_stochastic: float = 1.50  # [D]
    hcal_constant: float = 0.05  # [D]
    hcal_threshold: float = 0.5  # the barrel's tower threshold in CMS reconstruction, rounded
    hcal_radius: float = 0.025  # median hadronic shower radius: about a quarter of a tower

    ecal_interactions: float = 1.1  # interaction lengths of ECAL crystal before HCAL [C]
    ecal_hadron_share_max: float = 0.6  # largest share an early shower leaves in ECAL; a choice
    spots: int = 6  # energy spots that stand for one shower; a choice
    seed_search: int = 3  # towers on each side of the jet axis searched for the image centre
    seed_tower_max: int = 16  # largest |ieta| of the image centre


@dataclass(frozen=True)
class Particles:
    """Stable particles of many events, flat; every array has shape `(particles,)`.

    `event` counts events from 0; `pt` and `energy` in GeV; `pdg` are PDG particle numbers.
    """

    event: np.ndarray
    pt: np.ndarray
    eta: np.ndarray
    phi: np.ndarray
    energy: np.ndarray
    charge: np.ndarray
    pdg: np.ndarray

    def __getitem__(self, which: np.ndarray) -> "Particles":
        return Particles(**{name: array[which] for name, array in vars(self).items()})


def propagate(particles: Particles, detector: Detector) -> tuple[np.ndarray, np.ndarray]:
    """Eta and phi, seen from the vertex, where each particle enters the calorimeters.

    A charged particle follows a helix of radius `pt / (0.3 B)` from the vertex to the barrel
    or, if it gets there first or curls up, to the endcap. Neutral ones fly straight.
    """
    rho = particles.pt / (0.3 * detector.field)
    sinh = np.abs(np.sinh(particles.eta))
    with np.errstate(divide="ignore"):
        to_endcap = detector.half_length / (rho * sinh)  # turning angles in radians
    to_barrel = np.where(
        2 * rho > detector.radius, 2 * np.arcsin(np.minimum(detector.radius / (2 * rho), 1)), np.inf
    )
    turn = np.minimum(to_barrel, to_endcap)
    chord = 2 * rho * np.sin(turn / 2)  # negative once past half a turn: points backwards
    bent_eta = np.arcsinh(rho * turn * np.sinh(particles.eta) / np.maximum(np.abs(chord), 1e-6))
    bent_phi = particles.phi - particles.charge * turn / 2 + np.where(chord < 0, np.pi, 0)
    charged = particles.charge != 0
    return np.where(charged, bent_eta, particles.eta), np.where(charged, bent_phi, particles.phi)


def hadron_ecal_share(particles: Particles, detector: Detector, rng) -> np.ndarray:
    """Share of each particle's energy that is left in ECAL rather than HCAL.

    All of it for electrons and photons; for hadrons none unless the shower starts in ECAL,
    which it does with probability `1 - exp(-interaction lengths)`.
    """
    count = len(particles.pt)
    starts = rng.random(count) < 1 - np.exp(-detector.ecal_interactions)
    share = np.where(starts, rng.random(count) * detector.ecal_hadron_share_max, 0)
    return np.where(np.isin(np.abs(particles.pdg), (11, 22)), 1, share)


def spread(eta, phi, energy, radius: float, spots: int, rng):
    """Replace each deposit by equal spots around it; arrays grow to `(spots * deposits,)`.

    Distances follow the average radial profile `2 r R^2 / (r^2 + R^2)^2`
    (Grindhammer and Peters, hep-ex/0001020), whose median is `R`.
    """
    u = rng.random((spots, len(eta)))
    distance = radius * np.sqrt(u / (1 - u))
    angle = 2 * np.pi * rng.random((spots, len(eta)))
    return (
        (eta + distance * np.cos(angle)).ravel(),
        (phi + distance * np.sin(angle)).ravel(),
        np.tile(energy / spots, spots),
    )


def read_out(cells, stochastic: float, noise: float, constant: float, threshold: float, rng):
    """Smear the energies of the lit cells and drop those below the threshold, in GeV."""
    lit = np.flatnonzero(cells)
    energy = cells.flat[lit]
    sigma = np.sqrt(stochastic**2 * energy + noise**2 + (constant * energy) ** 2)
    measured = energy + sigma * rng.standard_normal(len(lit))
    result = np.zeros_like(cells)
    result.flat[lit] = np.where(measured > threshold, measured, 0)
    return result


def jet_images(
    particles: Particles, jet_eta: np.ndarray, jet_phi: np.ndarray, detector: Detector, rng
) -> tuple[np.ndarray, np.ndarray]:
    """The image of one jet in each event.

    Args:
        particles: the stable particles of `n` events.
        jet_eta, jet_phi: the axis of the jet in each event, with shape `(n,)`.
        rng: a `numpy.random.Generator`.

    Returns:
        Images in GeV/100 with shape `(n, 125, 125, 3)`, channels Tracks, ECAL, HCAL, rows
        eta, columns phi, and a mask with shape `(n,)` of the jets whose centre lies in reach.
    """
    visible = ~np.isin(np.abs(particles.pdg), (12, 14, 16)) & (np.abs(particles.eta) < 4)
    particles = particles[visible]
    n = len(jet_eta)
    eta, phi = propagate(particles, detector)
    share = hadron_ecal_share(particles, detector, rng)
    showers = np.abs(particles.pdg) != 13  # muons pass through
    deposits = np.where(showers, particles.energy, 0)

    towers = _hcal_towers(n, particles.event, eta, phi, deposits * (1 - share), detector, rng)
    centre_eta, centre_phi = _hottest_tower(towers, jet_eta, jet_phi, detector)
    corner = (centre_eta - TOWERS // 2) * TOWER_SIZE, (centre_phi - TOWERS // 2) * TOWER_SIZE
    in_reach = np.abs(centre_eta - ETA_TOWERS + 0.5) < detector.seed_tower_max

    images = np.zeros((n, IMAGE_SIZE, IMAGE_SIZE, 3), np.float32)
    images[..., 0] = _tracks(n, particles, corner, detector, rng)
    images[..., 1] = _ecal(n, particles.event, eta, phi, deposits * share, corner, detector, rng)
    images[..., 2] = _hcal_window(towers, centre_eta, centre_phi)
    return images / np.float32(GEV_PER_UNIT), in_reach


def _hcal_towers(n, event, eta, phi, energy, detector, rng) -> np.ndarray:
    lit = energy > 0
    hits = spread(eta[lit], phi[lit], energy[lit], detector.hcal_radius, detector.spots, rng)
    row = np.floor(hits[0] / TOWER_WIDTH).astype(int) + ETA_TOWERS
    column = np.floor(hits[1] / (PHI_PIXEL * TOWER_SIZE)).astype(int) % RING
    inside = (row >= 0) & (row < 2 * ETA_TOWERS)
    shape = (n, 2 * ETA_TOWERS, RING)
    flat = np.ravel_multi_index(
        (np.tile(event[lit], detector.spots)[inside], row[inside], column[inside]), shape
    )
    cells = np.bincount(flat, hits[2][inside], np.prod(shape)).reshape(shape)
    return read_out(
        cells, detector.hcal_stochastic, 0, detector.hcal_constant, detector.hcal_threshold, rng
    )


def _hottest_tower(towers, jet_eta, jet_phi, detector) -> tuple[np.ndarray, np.ndarray]:
    steps = np.arange(-detector.seed_search, detector.seed_search + 1)
    row = np.floor(jet_eta / TOWER_WIDTH).astype(int)[:, None] + ETA_TOWERS + steps
    row = np.clip(row, 0, 2 * ETA_TOWERS - 1)
    column = np.floor(jet_phi / (PHI_PIXEL * TOWER_SIZE)).astype(int)[:, None] + steps
    column = column % RING
    events = np.arange(len(towers))
    near = towers[events[:, None, None], row[:, :, None], column[:, None, :]]
    best_row, best_column = np.divmod(near.reshape(len(near), -1).argmax(axis=1), len(steps))
    return row[events, best_row], column[events, best_column]


def _hcal_window(towers, centre_eta, centre_phi) -> np.ndarray:
    steps = np.arange(TOWERS) - TOWERS // 2
    row = np.clip(centre_eta[:, None] + steps, 0, 2 * ETA_TOWERS - 1)
    column = (centre_phi[:, None] + steps) % RING
    window = towers[np.arange(len(towers))[:, None, None], row[:, :, None], column[:, None, :]]
    return window.repeat(TOWER_SIZE, axis=1).repeat(TOWER_SIZE, axis=2) / TOWER_SIZE**2


def _fill_crystals(n, event, eta, phi, weight, corner) -> np.ndarray:
    row = np.floor(eta / PIXEL_WIDTH).astype(int) + ETA_TOWERS * TOWER_SIZE - corner[0][event]
    column = (np.floor(phi / PHI_PIXEL).astype(int) - corner[1][event]) % 360
    inside = (row >= 0) & (row < IMAGE_SIZE) & (column < IMAGE_SIZE)
    shape = (n, IMAGE_SIZE, IMAGE_SIZE)
    flat = np.ravel_multi_index((event[inside], row[inside], column[inside]), shape)
    return np.bincount(flat, weight[inside], np.prod(shape)).reshape(shape)


def _tracks(n, particles, corner, detector, rng) -> np.ndarray:
    efficiency = np.where(
        particles.pt > 1, detector.track_efficiency, detector.track_efficiency_low
    )
    found = (
        (particles.charge != 0)
        & (particles.pt > detector.track_pt_min)
        & (np.abs(particles.eta) < detector.track_eta_max)
        & (rng.random(len(particles.pt)) < efficiency)
    )
    tracks = particles[found]
    sigma = np.hypot(detector.track_constant, detector.track_slope * tracks.pt)
    pt = tracks.pt * np.maximum(1 + sigma * rng.standard_normal(len(tracks.pt)), 0.01)
    return _fill_crystals(n, tracks.event, tracks.eta, tracks.phi, pt, corner)


def _ecal(n, event, eta, phi, energy, corner, detector, rng) -> np.ndarray:
    lit = energy > 0
    hits = spread(eta[lit], phi[lit], energy[lit], detector.ecal_radius, detector.spots, rng)
    cells = _fill_crystals(n, np.tile(event[lit], detector.spots), *hits, corner)
    return read_out(
        cells,
        detector.ecal_stochastic,
        detector.ecal_noise,
        detector.ecal_constant,
        detector.ecal_threshold,
        rng,
    )
