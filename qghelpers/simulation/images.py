"""From particles to jet images: cells of the detector, read out and cut out around jets.

Tracks keep their direction at the vertex. The energies of calorimeter cells are smeared and must
pass a threshold; the image is centred on the tower of HCAL with the largest energy near the jet.
"""

import numpy as np
from scipy.ndimage import maximum_filter

from qghelpers.data.layout import GEV_PER_UNIT, IMAGE_SIZE, PIXEL_WIDTH, TOWER_SIZE, TOWERS_PER_SIDE
from qghelpers.simulation.detector import (
    ELECTRON_PHOTON,
    Detector,
    convert,
    deposits,
    propagate,
    spread,
)
from qghelpers.simulation.particles import Particles

__all__ = ["ETA_MAX", "jet_images", "read_out"]

TOWERS_AROUND = 360 // TOWER_SIZE  # HCAL towers around the full circle in phi
ETA_TOWERS = 36  # HCAL towers kept on each side of eta = 0: up to |eta| = 3.13
TOWER_WIDTH = PIXEL_WIDTH * TOWER_SIZE  # in eta
PHI_PIXEL = 2 * np.pi / 360
ETA_MAX = 4.0  # largest |eta|, at the vertex, of particles that can reach an image
IMAGE_REACH = 1.5  # distance in eta and phi from the jet axis that covers an image and its showers
ENDCAP = 1.479  # |eta| where the ECAL barrel ends


def read_out(cells, stochastic: float, noise: float, constant: float, threshold, rng):
    """Smear the energies of cells, in GeV, and set those below their threshold to zero.

    Empty cells are included if their threshold is below five standard deviations of the noise.
    """
    threshold = np.broadcast_to(threshold, cells.shape)
    active = np.flatnonzero((cells > 0) | (threshold < 5 * noise))
    energy, threshold = cells.reshape(-1)[active], threshold.reshape(-1)[active]
    sigma = np.sqrt(stochastic**2 * energy + noise**2 + (constant * energy) ** 2)
    measured = energy + sigma * rng.standard_normal(len(active), np.float32)
    result = np.zeros(cells.shape, np.float32)
    result.reshape(-1)[active] = np.where(measured > threshold, measured, 0)
    return result


def jet_images(
    particles: Particles,
    jet_eta: np.ndarray,
    jet_phi: np.ndarray,
    detector: Detector,
    rng: np.random.Generator,
    twins: int = 1,
) -> tuple[np.ndarray, np.ndarray]:
    """The images of one jet per event.

    Args:
        particles: the stable particles of `n` events, including pile-up.
        jet_eta, jet_phi: the axis of the jet in each event, with shape `(n,)`.
        rng: for all chances of the detector.
        twins: the events are so many copies of the same jets, one after the other; all get the
            centre of the first copy, so that their pixels can be compared.

    Returns:
        Images in GeV/100 with shape `(n, 125, 125, 3)`: eta, phi, and Tracks, ECAL, HCAL; and a
        mask with shape `(n,)`, false if there is no centre: no tower near the axis is lit, or the
        hottest one is above `seed_tower_max`.
    """
    n, jets = len(jet_eta), len(jet_eta) // twins
    particles = convert(particles, detector.conversions, rng)
    eta, phi = propagate(particles, detector)
    axis = jet_eta[particles.event], jet_phi[particles.event]
    near = _near(eta, phi, *axis) | _near(particles.eta, particles.phi, *axis)
    particles, eta, phi = particles[near], eta[near], phi[near]
    deep = propagate(particles, detector, detector.hcal_surface)
    in_ecal, in_hcal = deposits(particles, detector, rng)

    towers = _hcal_towers(n, particles.event, *deep, in_hcal, detector, rng)
    centre = _hottest_tower(towers[:jets], jet_eta[:jets], jet_phi[:jets], detector)
    in_barrel = np.abs(centre[0] - ETA_TOWERS + 0.5) < detector.seed_tower_max
    has_centre = in_barrel & (towers[np.arange(jets), *centre] > 0)
    centre_eta, centre_phi = (np.tile(c, twins) for c in centre)
    corner = tuple((c - TOWERS_PER_SIDE // 2) * TOWER_SIZE for c in (centre_eta, centre_phi))

    images = np.zeros((n, IMAGE_SIZE, IMAGE_SIZE, 3), np.float32)
    images[..., 0] = _tracks(n, particles, corner, detector, rng)
    images[..., 1] = _ecal(n, particles, eta, phi, in_ecal, corner, detector, rng)
    images[..., 2] = _hcal_window(towers, centre_eta, centre_phi)
    return images / np.float32(GEV_PER_UNIT), np.tile(has_centre, twins)


def _near(eta, phi, jet_eta, jet_phi) -> np.ndarray:
    """Mask of the directions that can contribute to an image around the jet axis."""
    d_phi = (phi - jet_phi + np.pi) % (2 * np.pi) - np.pi
    return (np.abs(eta - jet_eta) < IMAGE_REACH) & (np.abs(d_phi) < IMAGE_REACH)


def _hcal_towers(n, event, eta, phi, energy, detector, rng) -> np.ndarray:
    lit = energy > 0
    hits = spread(eta[lit], phi[lit], energy[lit], detector.hcal_radius, detector.spots, rng)
    row = np.floor(hits[0] / TOWER_WIDTH).astype(int) + ETA_TOWERS
    column = np.floor(hits[1] / (PHI_PIXEL * TOWER_SIZE)).astype(int) % TOWERS_AROUND
    inside = (row >= 0) & (row < 2 * ETA_TOWERS)
    shape = (n, 2 * ETA_TOWERS, TOWERS_AROUND)
    event = np.tile(event[lit], detector.spots)
    flat = np.ravel_multi_index((event[inside], row[inside], column[inside]), shape)
    cells = np.bincount(flat, hits[2][inside], np.prod(shape)).reshape(shape)
    resolution = detector.hcal_stochastic, 0, detector.hcal_constant
    return read_out(cells, *resolution, detector.hcal_threshold, rng)


def _hottest_tower(towers, jet_eta, jet_phi, detector) -> tuple[np.ndarray, np.ndarray]:
    steps = np.arange(-detector.seed_search, detector.seed_search + 1)
    row = np.floor(jet_eta / TOWER_WIDTH).astype(int)[:, None] + ETA_TOWERS + steps
    row = np.clip(row, 0, 2 * ETA_TOWERS - 1)
    column = np.floor(jet_phi / (PHI_PIXEL * TOWER_SIZE)).astype(int)[:, None] + steps
    column = column % TOWERS_AROUND
    events = np.arange(len(towers))
    near = towers[events[:, None, None], row[:, :, None], column[:, None, :]]
    best_row, best_column = np.divmod(near.reshape(len(near), -1).argmax(axis=1), len(steps))
    return row[events, best_row], column[events, best_column]


def _hcal_window(towers, centre_eta, centre_phi) -> np.ndarray:
    steps = np.arange(TOWERS_PER_SIDE) - TOWERS_PER_SIDE // 2
    row = np.clip(centre_eta[:, None] + steps, 0, 2 * ETA_TOWERS - 1)
    column = (centre_phi[:, None] + steps) % TOWERS_AROUND
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
    part = (np.abs(particles.eta) > detector.track_barrel).astype(int)
    low, high, constant, slope = (
        np.broadcast_to(values, 2)[part]
        for values in (
            detector.track_efficiency_low,
            detector.track_efficiency,
            detector.track_constant,
            detector.track_slope,
        )
    )
    efficiency = np.where(particles.pt > 1, high, low)
    efficiency = np.where(np.abs(particles.pdg) == 11, detector.electron_efficiency, efficiency)
    found = (
        (particles.charge != 0)
        & (particles.pt > detector.track_pt_min)
        & (np.abs(particles.eta) < detector.track_eta_max)
        & (rng.random(len(particles.pt)) < efficiency)
    )
    tracks = particles[found]
    sigma = np.hypot(constant, slope * particles.pt)[found]
    pt = tracks.pt * np.maximum(1 + sigma * rng.standard_normal(len(tracks.pt)), 0.01)
    if detector.track_mismeasured:
        wrong = rng.random(len(pt)) < detector.track_mismeasured
        pt[wrong] = 1000 / rng.uniform(0.01, 1, wrong.sum())
    return _fill_crystals(n, tracks.event, tracks.eta, tracks.phi, pt, corner)


def _ecal(n, particles, eta, phi, energy, corner, detector, rng) -> np.ndarray:
    lit = energy > 0
    light = np.isin(np.abs(particles.pdg[lit]), ELECTRON_PHOTON)
    radius = np.where(light, detector.ecal_radius, detector.ecal_hadron_radius)
    hits = spread(eta[lit], phi[lit], energy[lit], radius, detector.spots, rng)
    cells = _fill_crystals(n, np.tile(particles.event[lit], detector.spots), *hits, corner)
    rows = corner[0][:, None] - ETA_TOWERS * TOWER_SIZE + np.arange(IMAGE_SIZE) + 0.5
    cell_eta = PIXEL_WIDTH * rows[:, :, None]
    resolution = detector.ecal_stochastic, detector.ecal_noise, detector.ecal_constant
    return read_out(cells, *resolution, _ecal_thresholds(cells, cell_eta, detector), rng)


def _ecal_thresholds(cells, cell_eta, detector) -> np.ndarray:
    """Threshold of each crystal, in GeV: see the comments in `Detector`."""
    side = TOWERS_PER_SIDE, TOWER_SIZE
    transverse = (cells / np.cosh(cell_eta)).reshape(-1, *side, *side)
    busy = maximum_filter(transverse.sum(axis=(2, 4)) > detector.readout_et, size=(1, 3, 3))
    busy = busy.repeat(TOWER_SIZE, axis=1).repeat(TOWER_SIZE, axis=2)
    barrel = np.where(busy, detector.ecal_threshold, detector.ecal_suppression)
    return np.where(np.abs(cell_eta) < ENDCAP, barrel, detector.endcap_threshold)
