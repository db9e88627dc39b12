"""The detector obeys the physics that it stands for."""

import numpy as np
import pytest
from small import HERE, TOWER, particles

from qghelpers.data.layout import GEV_PER_UNIT, IMAGE_SIZE, constant_tower_share
from qghelpers.simulation.detector import (
    Detector,
    deposits,
    helix,
    propagate,
    spread,
)
from qghelpers.simulation.images import jet_images, read_out
from qghelpers.simulation.particles import Particles

PERFECT = Detector(
    conversions=0,
    track_efficiency=1,
    track_efficiency_low=1,
    track_constant=0,
    track_slope=0,
    ecal_stochastic=0,
    ecal_noise=0,
    ecal_constant=0,
    ecal_threshold=0,
    ecal_suppression=0,
    endcap_threshold=0,
    hcal_stochastic=0,
    hcal_constant=0,
    hcal_threshold=0,
    hcal_hadron_response=1,
    ecal_hadron_response=1,
)


def image_of(some: Particles, detector: Detector = PERFECT, seed: int = 0) -> np.ndarray:
    images, _ = jet_images(
        some, np.array([HERE]), np.array([HERE]), detector, np.random.default_rng(seed)
    )
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
    np.testing.assert_allclose((eta[0], phi[0]), (0.4, 1.1))


@pytest.mark.parametrize("pt", [0.3, 1.0, 30.0])
def test_a_helix_begins_at_the_vertex_and_turns_on_a_circle(pt):
    some, share = particles(pt, 0.3, 0.7, 1, 211), np.linspace(0, 1, 50)
    path = np.stack([helix(some, Detector(), s)[:, 0] for s in share])
    radius = pt / (0.3 * 3.8)
    centre = radius * np.array([np.sin(0.7), -np.cos(0.7)])  # positive charges turn clockwise
    assert np.abs(path[0]).max() < 1e-12
    np.testing.assert_allclose(np.hypot(*(path[:, :2] - centre).T), radius, rtol=1e-9)
    np.testing.assert_allclose(np.diff(path[:, 2]), path[1, 2], rtol=1e-9)
    reached = np.hypot(*path[-1, :2]), abs(path[-1, 2])
    assert np.isclose(reached[0], 1.29) or np.isclose(reached[1], 3.0)


def test_spread_keeps_the_energy_and_half_of_it_within_the_median_radius():
    rng = np.random.default_rng(0)
    eta, phi, energy = spread(np.zeros(1000), np.zeros(1000), np.ones(1000), 0.02, 50, rng)
    assert energy.sum() == pytest.approx(1000)
    assert np.mean(np.hypot(eta, phi) < 0.02) == pytest.approx(0.5, abs=0.01)


def test_photons_reach_ecal_alone_with_all_their_energy():
    tracks, ecal, hcal = image_of(particles(50.0)).sum(axis=(0, 1))
    assert tracks == 0
    assert hcal == 0
    assert ecal == pytest.approx(50 * np.cosh(HERE), rel=0.1)  # the tail leaves the image


def test_charged_hadrons_leave_tracks_at_their_own_direction():
    image = image_of(particles(20.0, charge=1, pdg=211))[..., 0]
    assert image.sum() == pytest.approx(20)
    assert (image > 0).sum() == 1


def test_hadron_energy_is_shared_between_the_calorimeters():
    pions = particles(np.full(200, 1.0), charge=0, pdg=130)
    _, ecal, hcal = image_of(pions).sum(axis=(0, 1))
    assert ecal > 0
    assert hcal > ecal
    assert ecal + hcal == pytest.approx(200 * np.cosh(HERE), rel=0.1)


def test_the_response_to_hadrons_is_that_of_groom():
    given = {"hadron_k": 0.85, "hcal_hadron_response": 0.25, "hadron_fluctuation": 0}
    detector = Detector(**given, ecal_interactions=0)  # everything reaches HCAL
    energy = np.array([0.5, 1.0, 10.0, 100.0])
    pions = particles(energy / np.cosh(HERE), charge=1, pdg=211)
    in_ecal, in_hcal = deposits(pions, detector, np.random.default_rng(0))
    electromagnetic = np.array([0, 0, 1 - 10 ** (0.85 - 1), 1 - 100 ** (0.85 - 1)])
    assert not in_ecal.any()
    np.testing.assert_allclose(
        in_hcal / energy, electromagnetic + 0.25 * (1 - electromagnetic), rtol=1e-6
    )


def test_soft_crystals_are_kept_around_busy_towers_alone():
    detector = Detector(
        ecal_radius=1e-6, ecal_noise=0, ecal_stochastic=0, ecal_constant=0, spots=1, conversions=0
    )
    width = 5 * 0.0174
    hard, near, far = 0.5 * width, 1.5 * width, 3.5 * width
    image = image_of(particles([20.0, 0.1, 0.1], eta=np.array([hard, near, far])), detector)
    assert (image[..., 1] > 0).sum() == 2
    assert image[..., 1].sum() == pytest.approx(20 * np.cosh(hard) + 0.1 * np.cosh(near), rel=1e-3)


def test_what_wakes_a_tower_is_its_transverse_energy():
    """At |eta| = 1.09, 1.2 GeV across the beam are 2 GeV: below the 1.3 GeV of a busy tower."""
    detector = Detector(
        ecal_radius=1e-6, ecal_noise=0, ecal_stochastic=0, ecal_constant=0, spots=1, conversions=0
    )
    axis, width = 12.5 * TOWER, TOWER
    for pt, lit in ((1.2, 1), (1.4, 2)):
        some = particles([pt, 0.08], eta=axis + np.array([0, width]))
        made, _ = jet_images(
            some, np.array([axis]), np.array([HERE]), detector, np.random.default_rng(0)
        )
        assert (made[0, ..., 1] > 0).sum() == lit


def test_empty_cells_show_noise_only_where_it_can_pass_the_threshold():
    threshold = np.array([0.05, 0.21])[:, None]
    cells = read_out(np.zeros((2, 20_000)), 0.03, 0.04, 0, threshold, np.random.default_rng(0))
    assert (cells[0] > 0).mean() == pytest.approx(0.1056, abs=0.01)  # above 1.25 sigma
    assert not cells[1].any()


def test_endcap_crystals_have_their_own_threshold():
    some = particles([20.0, 0.1], eta=np.array([1.3, 1.55]))  # 0.24 GeV, in the endcap
    for threshold, lit in ((0.3, 1), (0.0, 2)):
        detector = Detector(
            ecal_radius=1e-6,
            ecal_noise=0,
            ecal_stochastic=0,
            endcap_threshold=threshold,
            spots=1,
            conversions=0,
        )
        rng = np.random.default_rng(0)
        images, _ = jet_images(some, np.array([1.3]), np.array([HERE]), detector, rng)
        assert (images[0, ..., 1] > 0).sum() == lit


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
        some, np.array([HERE]), np.array([phi]), PERFECT, np.random.default_rng(0)
    )
    assert GEV_PER_UNIT * images[0, ..., 0].sum() == pytest.approx(200, rel=1e-5)


def test_hcal_alone_is_made_of_constant_towers():
    rng = np.random.default_rng(1)
    charge = rng.choice([-1, 0, 1], 300)
    some = particles(
        rng.exponential(2, 300) + 0.5,
        eta=HERE + rng.normal(0, 0.3, 300),
        phi=HERE + rng.normal(0, 0.3, 300),
        charge=charge,
        pdg=np.where(charge == 0, rng.choice([22, 130], 300), 211 * charge),
    )
    image = image_of(some, Detector())
    assert np.isfinite(image).all()
    assert (image >= 0).all()
    share = constant_tower_share(image[None])
    assert share[2] == 1
    assert share[:2].max() < 0.1
