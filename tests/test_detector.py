"""The detector obeys the physics that it stands for."""

import numpy as np
import pytest

from qghelpers.detector import Detector, Particles, jet_images, propagate, spread
from qghelpers.layout import GEV_PER_UNIT, IMAGE_SIZE, constant_tower_share

PERFECT = Detector(
    track_efficiency=1,
    track_efficiency_low=1,
    track_constant=0,
    track_slope=0,
    ecal_stochastic=0,
    ecal_noise=0,
    ecal_constant=0,
    ecal_threshold=0,
    hcal_stochastic=0,
    hcal_constant=0,
    hcal_threshold=0,
)


def particles(pt, eta=0.05, phi=0.05, charge=0, pdg=22, event=0) -> Particles:
    columns = np.broadcast_arrays(np.atleast_1d(event), pt, eta, phi, charge, pdg)
    event, pt, eta, phi, charge, pdg = (np.array(column) for column in columns)
    return Particles(event, pt * 1.0, eta * 1.0, phi * 1.0, pt * np.cosh(eta), charge, pdg)


def image_of(some: Particles, detector: Detector = PERFECT, seed: int = 0) -> np.ndarray:
    images, in_reach = jet_images(
        some, np.array([0.05]), np.array([0.05]), detector, np.random.default_rng(seed)
    )
    assert in_reach.all()
    return GEV_PER_UNIT * images[0].astype(float)


def integrate(pt, eta, phi, charge, field=3.8, radius=1.29, half_length=3.0, step=1e-4):
    """Oracle: follow a particle through the field in small steps; momentum in GeV, metres."""
    position, momentum = np.zeros(3), pt * np.array([np.cos(phi), np.sin(phi), np.sinh(eta)])
    while np.hypot(*position[:2]) < radius and abs(position[2]) < half_length:
        middle = momentum + step / 2 * 0.3 * charge * np.cross(momentum, [0, 0, field]) / pt
        momentum = momentum + step * 0.3 * charge * np.cross(middle, [0, 0, field]) / pt
        position = position + step * middle / pt
    return np.arcsinh(position[2] / np.hypot(*position[:2])), np.arctan2(position[1], position[0])


@pytest.mark.parametrize("charge", [-1, 1])
@pytest.mark.parametrize(("pt", "eta"), [(1.0, 0.3), (5.0, -1.0), (50.0, 0.0), (2.0, 2.0)])
def test_charged_particles_follow_the_lorentz_force(pt, eta, charge):
    got = propagate(particles(pt, eta, 0.7, charge, 211), Detector())
    np.testing.assert_allclose(np.ravel(got), integrate(pt, eta, 0.7, charge), atol=2e-3)


def test_neutral_particles_fly_straight():
    eta, phi = propagate(particles(3.0, 0.4, 1.1), Detector())
    assert (eta, phi) == (0.4, 1.1)


def test_spread_keeps_the_energy_and_half_of_it_within_the_median_radius():
    rng = np.random.default_rng(0)
    eta, phi, energy = spread(np.zeros(1000), np.zeros(1000), np.ones(1000), 0.02, 50, rng)
    assert energy.sum() == pytest.approx(1000)
    assert np.mean(np.hypot(eta, phi) < 0.02) == pytest.approx(0.5, abs=0.01)


def test_photons_reach_ecal_alone_with_all_their_energy():
    tracks, ecal, hcal = image_of(particles(50.0)).sum(axis=(0, 1))
    assert tracks == 0
    assert hcal == 0
    assert ecal == pytest.approx(50 * np.cosh(0.05), rel=0.1)  # the tail leaves the image


def test_charged_hadrons_leave_tracks_at_their_own_direction():
    image = image_of(particles(20.0, eta=0.05, phi=0.05, charge=1, pdg=211))[..., 0]
    assert image.sum() == pytest.approx(20)
    assert (image > 0).sum() == 1


def test_hadron_energy_is_shared_between_the_calorimeters():
    pions = particles(np.full(200, 1.0), charge=0, pdg=130)
    _, ecal, hcal = image_of(pions).sum(axis=(0, 1))
    assert ecal > 0
    assert hcal > ecal
    assert ecal + hcal == pytest.approx(200 * np.cosh(0.05), rel=0.1)


def test_neutrinos_and_muons_leave_no_showers():
    some = particles([30.0, 30.0], charge=np.array([0, -1]), pdg=np.array([14, 13]))
    tracks, ecal, hcal = image_of(some).sum(axis=(0, 1))
    assert tracks == pytest.approx(30)
    assert ecal == hcal == 0


def test_the_image_is_centred_on_the_hottest_tower():
    hadron = particles(100.0, eta=0.2, phi=-0.2, pdg=130)
    image = image_of(hadron, Detector(ecal_interactions=0))[..., 2]
    row, column = np.unravel_index(image.argmax(), image.shape)
    assert row // 5 == column // 5 == IMAGE_SIZE // 5 // 2


def test_images_across_the_seam_in_phi_are_whole():
    phi = np.pi - 0.01
    some = particles(np.ones(200), phi=np.linspace(phi - 0.3, phi + 0.3, 200), charge=1, pdg=211)
    images, _ = jet_images(
        some, np.array([0.05]), np.array([phi]), PERFECT, np.random.default_rng(0)
    )
    assert GEV_PER_UNIT * images[0, ..., 0].sum() == pytest.approx(200, rel=1e-5)


def test_hcal_alone_is_made_of_constant_towers():
    rng = np.random.default_rng(1)
    charge = rng.choice([-1, 0, 1], 300)
    some = particles(
        rng.exponential(2, 300) + 0.5,
        eta=0.05 + rng.normal(0, 0.3, 300),
        phi=0.05 + rng.normal(0, 0.3, 300),
        charge=charge,
        pdg=np.where(charge == 0, rng.choice([22, 130], 300), 211 * charge),
    )
    image = image_of(some, Detector())
    assert np.isfinite(image).all()
    assert (image >= 0).all()
    share = constant_tower_share(image[None])
    assert share[2] == 1
    assert share[:2].max() < 0.1
