"""From particles to jet images: a fast, simplified model of the tracker, ECAL and HCAL of CMS.

The solenoid bends charged particles; tracks keep their direction at the vertex; showers are
spread over neighbouring calorimeter cells, whose energies are smeared and must pass a threshold.
All parameters are attributes of `Detector`, with their sources.
"""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import maximum_filter

from qghelpers.data.layout import GEV_PER_UNIT, IMAGE_SIZE, PIXEL_WIDTH, TOWER_SIZE, TOWERS_PER_SIDE
from qghelpers.simulation.particles import Particles

__all__ = ["ETA_MAX", "Detector", "deposits", "helix", "jet_images", "propagate"]

TOWERS_AROUND = 360 // TOWER_SIZE  # HCAL towers around the full circle in phi
ETA_TOWERS = 36  # HCAL towers kept on each side of eta = 0: up to |eta| = 3.13
TOWER_WIDTH = PIXEL_WIDTH * TOWER_SIZE  # in eta
PHI_PIXEL = 2 * np.pi / 360
ETA_MAX = 4.0  # largest |eta|, at the vertex, of particles that can reach an image
IMAGE_REACH = 1.5  # distance in eta and phi from the jet axis that covers an image and its showers
ENDCAP = 1.479  # |eta| where the ECAL barrel ends


@dataclass(frozen=True)
class Detector:
    """Parameters of the detector: lengths in metres, energies in GeV, field in tesla.

    Sources: [D] Delphes 3 CMS card (arXiv:1307.6346), whose resolutions follow
    arXiv:1405.6569 (tracks) and arXiv:1306.2016 (ECAL); [C] CMS Collaboration, JINST 3 (2008)
    S08004; [P] CMS particle flow, arXiv:1706.04965; [G] Grindhammer and Peters,
    hep-ex/0001020; [W] Groom, NIM A 572 (2007) 633; [V] the vertex smearing
    "Realistic8TeVCollision" of CMSSW.

    [F] marks parameters that were fitted to the public file's shares of lit pixels and mean pixels
    (`layout.PUBLIC_LIT_SHARE`, `PUBLIC_MEAN`), on jets of another seed than the benchmark's. They
    also account for all that is not modelled, such as the data reduction of 2012.
    """

    field: float = 3.8  # [C]
    radius: float = 1.29  # inner radius of the ECAL barrel [D]
    half_length: float = 3.0  # distance of the endcaps [D]
    # radius and distance of the endcaps where showers are in HCAL: it begins at 1.77 and 3.9 [C]
    hcal_surface: tuple[float, float] = (1.95, 4.1)
    vertex_spread: float = 0.0616  # standard deviation of the collisions along the beam [V]

    track_pt_min: float = 0.1  # [D]
    track_eta_max: float = 2.5  # [D]
    track_barrel: float = 1.5  # largest |eta| of the first values below; the others hold beyond [D]
    track_efficiency_low: tuple[float, float] = (0.70, 0.60)  # below 1 GeV [D]
    track_efficiency: tuple[float, float] = (0.95, 0.85)  # above [D]
    track_constant: tuple[float, float] = (0.015, 0.025)  # of the relative pT resolution, to which
    track_slope: tuple[float, float] = (2.5e-4, 5.5e-4)  # this is added per GeV of pT [D]
    # Share of tracks so straight by mistake that their momentum is 1 to 100 TeV, with a density
    # of 1/pT^2, as where a curvature is measured as nearly zero. About 5e-7 in the public file,
    # whose largest pixels are some tens of TeV; none unless asked for
    track_mismeasured: float = 0.0

    # sigma/E is the sum in quadrature of stochastic / sqrt(E), noise / E and constant [C]
    ecal_stochastic: float = 0.028
    ecal_noise: float = 0.04  # of one crystal in a test beam [C]
    ecal_constant: float = 0.003
    ecal_radius: float = 0.014  # median shower radius in eta-phi, after the material in front [F]
    # Selective readout [C] of the barrel: a low threshold for crystals in and around 5x5 towers
    # with a large transverse energy, and a high threshold for all others
    readout_et: float = 1.0  # smallest transverse energy of such a tower [F]
    ecal_threshold: float = 0.05  # the low threshold [F]
    ecal_suppression: float = 0.21  # the high threshold [F]
    endcap_threshold: float = 0.3  # for all crystals in the endcaps [P]

    hcal_stochastic: float = 1.50  # [D]
    hcal_constant: float = 0.05  # [D]
    hcal_threshold: float = 1.05  # [F]; particle flow uses 0.8 [P]
    hcal_radius: float = 0.048  # median hadronic shower radius, half a tower [F]

    ecal_interactions: float = 1.1  # interaction lengths of ECAL crystal before HCAL [C]
    ecal_share_power: float = 1.0
    ecal_hadron_radius: float = 0.014
    ecal_hadron_response: float = 0.25
    # Measured share of a hadron's energy: f + (1 - f) h/e, with the electromagnetic part
    # f = 1 - E^(k - 1) [W]. In test beams, h/e is about 0.7 in HCAL; the fitted value also
    # accounts for losses in the tracker, in cables and by zero suppression
    hadron_k: float = 0.85  # between the 0.80 and 0.87 of [W]
    hadron_response: float = 0.25  # h/e [F]
    spots: int = 8  # spots of equal energy per shower; a choice
    seed_search: int = 3  # towers on each side of the jet axis in the search for the image centre
    seed_tower_max: int = 16  # largest |ieta| of the image centre


def helix(
    particles: Particles,
    detector: Detector,
    share: float = 1.0,
    surface: tuple[float, float] | None = None,
) -> np.ndarray:
    """Positions after a share of the path to the calorimeters, in metres, shape `(3, particles)`.

    A charged particle follows a helix of radius `pt / (0.3 B)` from its vertex to the barrel or, if
    it gets there first or never reaches that of ECAL, to the endcap. Others fly straight.

    Args:
        particles: any number of them.
        detector: its field and size.
        share: of the path.
        surface: radius of the barrel and distance of the endcaps; by default those of ECAL.
    """
    radius, half_length = surface or (detector.radius, detector.half_length)
    with np.errstate(divide="ignore", invalid="ignore"):
        diameter = particles.pt * 2 / (0.3 * detector.field * np.abs(particles.charge))
        along = half_length - np.sign(particles.eta) * particles.z
        to_endcap = along / np.abs(np.sinh(particles.eta))  # length in x-y
        to_barrel = np.arcsin(np.minimum(radius / diameter, 1)) * diameter
    to_barrel = np.where(np.isfinite(diameter), to_barrel, radius)
    to_barrel[diameter < detector.radius] = np.inf  # it curls up before the barrel
    length = share * np.minimum(to_barrel, to_endcap)
    half_turn = length / diameter
    chord = length * np.sinc(half_turn / np.pi)  # negative after a full turn
    angle = particles.phi - np.sign(particles.charge) * half_turn
    z = particles.z + length * np.sinh(particles.eta)
    return np.stack([chord * np.cos(angle), chord * np.sin(angle), z])


def propagate(
    particles: Particles, detector: Detector, surface: tuple[float, float] | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Eta and phi, from the middle of the detector, of the points where particles enter ECAL.

    Or where they get to another `surface`, given as radius of its barrel and distance of its
    endcaps in metres.
    """
    x, y, z = helix(particles, detector, surface=surface)
    return np.arcsinh(z / np.maximum(np.hypot(x, y), 1e-6)), np.arctan2(y, x)


def deposits(
    particles: Particles, detector: Detector, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Energies of each particle that ECAL and HCAL measure, in GeV.

    Electrons and photons deposit all their energy in ECAL. A hadron's shower starts in ECAL with
    probability `1 - exp(-interaction lengths)` and then deposits a random share there; of a
    hadron's energy, `f + (1 - f) h/e` is measured (Groom, NIM A 572 (2007) 633). Muons and
    neutrinos deposit nothing.
    """
    energy, kind = particles.energy, np.abs(particles.pdg)
    starts = rng.random(len(particles)) < 1 - np.exp(-detector.ecal_interactions)
    share = np.where(starts, rng.random(len(particles)) ** detector.ecal_share_power, 0)
    electromagnetic = 1 - np.maximum(energy, 1) ** (detector.hadron_k - 1)
    seen_e = electromagnetic + (1 - electromagnetic) * detector.ecal_hadron_response
    seen = electromagnetic + (1 - electromagnetic) * detector.hadron_response
    light = np.isin(kind, (11, 22))
    hadron = ~light & ~np.isin(kind, (12, 13, 14, 16))
    in_ecal = np.where(light, energy, np.where(hadron, energy * seen_e * share, 0))
    return in_ecal, np.where(hadron, energy * seen * (1 - share), 0)


def spread(eta, phi, energy, radius: float, spots: int, rng):
    """Replace each deposit by equal spots around it; results have shape `(spots * deposits,)`.

    Distances follow the average radial profile `2 r R^2 / (r^2 + R^2)^2` (Grindhammer and Peters,
    hep-ex/0001020), whose median is `R`.
    """
    u = rng.random((spots, len(eta)))
    distance = radius * np.sqrt(u / (1 - u))
    angle = 2 * np.pi * rng.random((spots, len(eta)))
    eta, phi = eta + distance * np.cos(angle), phi + distance * np.sin(angle)
    return eta.ravel(), phi.ravel(), np.tile(energy / spots, spots)


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
    n = len(jet_eta)
    eta, phi = propagate(particles, detector)
    axis = jet_eta[particles.event], jet_phi[particles.event]
    near = _near(eta, phi, *axis) | _near(particles.eta, particles.phi, *axis)
    particles, eta, phi = particles[near], eta[near], phi[near]
    deep = propagate(particles, detector, detector.hcal_surface)
    in_ecal, in_hcal = deposits(particles, detector, rng)

    towers = _hcal_towers(n, particles.event, *deep, in_hcal, detector, rng)
    centre = _hottest_tower(towers, jet_eta, jet_phi, detector)
    centre_eta, centre_phi = (np.tile(c[: n // twins], twins) for c in centre)
    corner = tuple((c - TOWERS_PER_SIDE // 2) * TOWER_SIZE for c in (centre_eta, centre_phi))
    lit = towers[np.arange(n), centre_eta, centre_phi] > 0
    has_centre = lit & (np.abs(centre_eta - ETA_TOWERS + 0.5) < detector.seed_tower_max)

    images = np.zeros((n, IMAGE_SIZE, IMAGE_SIZE, 3), np.float32)
    images[..., 0] = _tracks(n, particles, corner, detector, rng)
    light = np.isin(np.abs(particles.pdg), (11, 22))
    images[..., 1] = _ecal(n, particles.event, eta, phi, in_ecal, corner, detector, rng, light)
    images[..., 2] = _hcal_window(towers, centre_eta, centre_phi)
    return images / np.float32(GEV_PER_UNIT), has_centre


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


def _ecal(n, event, eta, phi, energy, corner, detector, rng, light) -> np.ndarray:
    lit = energy > 0
    radius = np.where(light[lit], detector.ecal_radius, detector.ecal_hadron_radius)
    hits = spread(eta[lit], phi[lit], energy[lit], radius, detector.spots, rng)
    cells = _fill_crystals(n, np.tile(event[lit], detector.spots), *hits, corner)
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
