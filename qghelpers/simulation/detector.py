"""The parameters of a simplified CMS, with their sources, and what it does to particles.

The solenoid bends charged particles; photons convert; hadrons share their energy between ECAL and
HCAL, which measure a part of it; showers have a width. `images` makes pixels of all that.
"""

from dataclasses import dataclass, replace

import numpy as np

from qghelpers.simulation.particles import Particles

__all__ = [
    "ELECTRON_PHOTON",
    "Detector",
    "convert",
    "deposits",
    "helix",
    "propagate",
    "released",
    "spread",
]

NUCLEON_MASS = 0.94  # GeV
ELECTRON_PHOTON = 11, 22  # PDG numbers of what showers in ECAL alone


@dataclass(frozen=True)
class Detector:
    """Parameters of the detector: lengths in metres, energies in GeV, field in tesla.

    Sources: [D] Delphes 3 CMS card (arXiv:1307.6346), whose resolutions follow
    arXiv:1405.6569 (tracks) and arXiv:1306.2016 (ECAL); [C] CMS Collaboration, JINST 3 (2008)
    S08004; [P] CMS particle flow, arXiv:1706.04965; [T] test beams of ECAL and HCAL, Eur. Phys. J.
    C 60 (2009) 359; [G] Grindhammer and Peters, hep-ex/0001020; [W] Groom, NIM A 572 (2007) 633;
    [V] the vertex smearing "Realistic8TeVCollision" of CMSSW.

    [F] marks parameters that were fitted, on jets of the seed `Seed.DETECTOR`, to all that is
    published of the public file's pixels: shares of lit pixels, means, tails, and the profiles of
    the mean images (`benchmark fidelity`). They also account for what is not modelled, such as
    dead material, cracks and the data reduction of 2012. Pairs of values hold in the barrel and
    beyond `track_barrel`.
    """

    field: float = 3.8  # [C]
    radius: float = 1.29  # inner radius of the ECAL barrel [D]
    half_length: float = 3.0  # distance of the endcaps [D]
    # Radius and distance of the endcaps where hadrons shower in HCAL, which begins at 1.77 and
    # 3.9 [C]: two interaction lengths further in
    hcal_surface: tuple[float, float] = (2.2, 4.3)
    vertex_spread: float = 0.0616  # standard deviation of the collisions along the beam [V]

    track_pt_min: float = 0.1  # [D]
    track_eta_max: float = 2.5  # [D]
    track_barrel: float = 1.5  # largest |eta| of the barrel [D]
    track_efficiency_low: tuple[float, float] = (0.70, 0.60)  # below 1 GeV [D]
    track_efficiency: tuple[float, float] = (0.95, 0.85)  # above [D]
    track_constant: tuple[float, float] = (0.015, 0.025)  # relative pT resolution [D], in
    track_slope: tuple[float, float] = (2.5e-4, 5.5e-4)  # quadrature with this per GeV of pT [D]
    # Share of tracks so straight by mistake that their momentum is 1 to 100 TeV, with a density
    # of 1/pT^2, as where a curvature is measured as nearly zero. About 5e-7 in the public file,
    # whose largest pixels are some tens of TeV; none unless asked for
    track_mismeasured: float = 0.0
    # Share of photons that convert into electrons in the tracker: 0.8 radiation lengths, of 0.4
    # to 1.8 [C]; and efficiency for these, many of which begin too far out to be found [F]
    conversions: float = 0.45
    electron_efficiency: float = 0.20

    # sigma/E is the sum in quadrature of stochastic / sqrt(E), noise / E and constant [C]
    ecal_stochastic: float = 0.028
    ecal_noise: float = 0.04  # of one crystal in a test beam [C]
    ecal_constant: float = 0.003
    ecal_radius: float = 0.0045  # median radius of an electron's shower in eta-phi [F]
    ecal_hadron_radius: float = 0.03  # of a hadron's [F]
    # Selective readout [C] of the barrel: a low threshold for crystals in and around 5x5 towers
    # with a large transverse energy, and a high threshold for all others
    readout_et: float = 1.3  # smallest transverse energy of such a tower [F]
    ecal_threshold: float = 0.045  # the low threshold [F]
    ecal_suppression: float = 0.19  # the high threshold [F]
    endcap_threshold: float = 0.3  # for all crystals in the endcaps [P]

    hcal_stochastic: float = 1.153  # [T]
    hcal_constant: float = 0.055  # [T]
    hcal_threshold: float = 0.78  # [F]; particle flow uses 0.8 [P]
    hcal_radius: float = 0.0135  # median radius of a hadron's shower in eta-phi [F]

    # Interaction lengths before HCAL: 1.1 of crystal, more with the material in front [C]
    ecal_interactions: float = 1.2  # [F]
    ecal_share_power: float = 0.6  # p of the share u^p that an early shower has in ECAL [F]
    # Measured share of a hadron's energy: f + (1 - f) h/e, with the electromagnetic part
    # f = 1 - E^(k - 1) [W], which fluctuates. In test beams, h/e is about 0.7 in HCAL and 0.4 in
    # ECAL [T]; the fitted values also account for soft particles that do not get there
    hadron_k: float = 0.80  # between 0.80 and 0.87 [W]
    hadron_fluctuation: float = 0.5  # standard deviation of f, relative [F]
    ecal_hadron_response: float = 0.11  # h/e [F]
    hcal_hadron_response: float = 0.35  # h/e [F]
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


def convert(particles: Particles, share: float, rng: np.random.Generator) -> Particles:
    """Replace a share of the photons by pairs of electrons, which divide their energy at random.

    They begin at the vertex here, so that their paths are bent a little too far.
    """
    converts = (particles.pdg == 22) & (rng.random(len(particles)) < share)
    photons = particles[converts]
    first = rng.random(len(photons))
    pairs = [
        replace(
            photons,
            pt=part * photons.pt,
            energy=part * photons.energy,
            charge=np.full(len(photons), charge),
            pdg=np.full(len(photons), -11 * charge),
        )
        for part, charge in ((first, 1), (1 - first, -1))
    ]
    return Particles.join([particles[~converts], *pairs])


def released(particles: Particles) -> np.ndarray:
    """Energy in GeV that a shower can release: a baryon keeps its mass, an antibaryon gives two."""
    kind = np.abs(particles.pdg)
    baryon = (kind > 1000) & (kind < 10_000)
    kept = np.where(baryon, np.sign(particles.pdg) * NUCLEON_MASS, 0)
    return np.maximum(particles.energy - kept, 0)


def deposits(
    particles: Particles, detector: Detector, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Energies of each particle that ECAL and HCAL measure, in GeV.

    Electrons and photons deposit all their energy in ECAL. A hadron's shower starts in ECAL with
    probability `1 - exp(-interaction lengths)`; then it has a random share `u^p` there, with `u`
    uniform. Of a hadron's energy, each calorimeter measures `f + (1 - f) h/e`, with its own h/e
    (Groom, NIM A 572 (2007) 633); `f` fluctuates from shower to shower. Muons and neutrinos
    deposit nothing.
    """
    energy, kind, n = released(particles), np.abs(particles.pdg), len(particles)
    starts = rng.random(n) < 1 - np.exp(-detector.ecal_interactions)
    share = np.where(starts, rng.random(n) ** detector.ecal_share_power, 0)
    electromagnetic = 1 - np.maximum(energy, 1) ** (detector.hadron_k - 1)
    fluctuation = 1 + detector.hadron_fluctuation * rng.standard_normal(n)
    electromagnetic = np.clip(electromagnetic * fluctuation, 0, 1)
    in_ecal, in_hcal = (
        energy * part * (electromagnetic + (1 - electromagnetic) * response)
        for part, response in (
            (share, detector.ecal_hadron_response),
            (1 - share, detector.hcal_hadron_response),
        )
    )
    light = np.isin(kind, ELECTRON_PHOTON)
    hadron = ~light & ~np.isin(kind, (12, 13, 14, 16))
    return np.where(light, energy, hadron * in_ecal), hadron * in_hcal


def spread(eta, phi, energy, radius, spots: int, rng):
    """Replace each deposit by equal spots around it; results have shape `(spots * deposits,)`.

    Distances follow the average radial profile `2 r R^2 / (r^2 + R^2)^2` (Grindhammer and Peters,
    hep-ex/0001020), whose median is `R`.
    """
    u = rng.random((spots, len(eta)))
    distance = radius * np.sqrt(u / (1 - u))
    angle = 2 * np.pi * rng.random((spots, len(eta)))
    eta, phi = eta + distance * np.cos(angle), phi + distance * np.sin(angle)
    return eta.ravel(), phi.ravel(), np.tile(energy / spots, spots)
