"""The detector by its properties: how often, how well and where it sees what reaches it."""

import numpy as np
import pytest
from small import HERE, TOWER, particles

from qghelpers.data.layout import GEV_PER_UNIT, PIXEL_WIDTH
from qghelpers.simulation import images
from qghelpers.simulation.detector import (
    Detector,
    convert,
    deposits,
    propagate,
    released,
    spread,
)
from qghelpers.simulation.images import jet_images, read_out
from qghelpers.simulation.particles import Particles

# showers without any width, so that each deposit is in one cell
SHARP = {"ecal_radius": 1e-9, "ecal_hadron_radius": 1e-9, "hcal_radius": 1e-9, "spots": 1}
SHARP |= {"conversions": 0}
NO_NOISE = {"ecal_noise": 0, "ecal_stochastic": 0, "ecal_constant": 0, "hcal_stochastic": 0}
NO_NOISE |= {"hcal_constant": 0, "track_constant": 0, "track_slope": 0}
NO_NOISE |= {"hadron_fluctuation": 0}
NO_NOISE |= {"track_efficiency": 1, "track_efficiency_low": 1, "electron_efficiency": 1}
MIDDLE = 62  # row and column of the pixel in the centre of an image


def anchored(some: Particles, eta: float = HERE) -> Particles:
    """Also a hard hadron in the first event, whose tower becomes the image's centre."""
    return Particles.join([some, particles([500.0], eta=eta, pdg=130)])


def images_of(some: Particles, detector: Detector, eta=HERE, phi=HERE, seed=0) -> np.ndarray:
    """In GeV, `(events, 3, rows, columns)`."""
    n = some.event.max() + 1
    axis = np.full(n, eta), np.full(n, phi)
    made, _ = jet_images(some, *axis, detector, np.random.default_rng(seed))
    return GEV_PER_UNIT * made.astype(float).transpose(0, 3, 1, 2)


def places(image: np.ndarray) -> list[tuple[int, int]]:
    """Rows and columns of the lit pixels, from the centre."""
    return [(int(row) - MIDDLE, int(column) - MIDDLE) for row, column in np.argwhere(image)]


# --- tracks


def spread_out(pt: float, step: int = 1, around: float = HERE, **columns) -> Particles:
    """A particle in each pixel of an image, or in each tower (a `step` of 5)."""
    phi_pixel = 2 * np.pi / 360
    places = np.arange(-60, 61, step)
    rows, columns_ = (grid.ravel() for grid in np.meshgrid(places, places))
    eta, phi = around + rows * PIXEL_WIDTH, HERE + columns_ * phi_pixel
    return particles(np.full(len(rows), pt), eta=eta, phi=phi, **columns)


@pytest.mark.parametrize("side", [-1, 1])
@pytest.mark.parametrize(
    ("pt", "barrel", "endcap"),
    [(0.5, 0.70, 0.60), (0.99, 0.70, 0.60), (1.01, 0.95, 0.85), (50, 0.95, 0.85), (0.09, 0, 0)],
)
def test_tracks_are_found_as_often_as_the_card_says(pt, barrel, endcap, side):
    """Up to 1.5 in |eta|, and beyond."""
    axis = side * 14.5 * TOWER  # 1.26: an image up to 2.35
    some = spread_out(pt, around=axis, charge=-1, pdg=13)  # muons, which shift no image
    tracks = images_of(anchored(some, axis), Detector(), eta=axis)[0, 0]
    rows = axis + (np.arange(125) - MIDDLE) * PIXEL_WIDTH
    for inside, expected in ((np.abs(rows) < 1.49, barrel), (np.abs(rows) > 1.51, endcap)):
        n = inside[2:-2].sum() * 121
        error = np.sqrt(max(expected * (1 - expected), 1e-9) / n)
        assert (tracks[inside] > 0).sum() / n == pytest.approx(expected, abs=4 * error)


def test_tracks_end_where_the_tracker_does():
    """At +-2.5 in eta; a jet at 1.35 has an image up to 2.43."""
    for side in (-1, 1):
        eta = side * np.array([1.3, 2.3, 2.42, -2.4])
        some = particles([30.0] * 4, eta=eta, charge=1, pdg=211)
        axis = side * 15.5 * TOWER
        for end, found in ((2.5, 3), (2.35, 2), (1.2, 0)):
            detector = Detector(**NO_NOISE | SHARP, track_eta_max=end)
            tracks = images_of(anchored(some, axis), detector, eta=axis)[0, 0]
            assert (tracks > 0).sum() == found
    assert Detector().track_eta_max == 2.5


def _rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.parametrize("pt", [1.5, 10.0, 100.0, 1000.0])
@pytest.mark.parametrize(
    ("tower", "constant", "slope"), [(0.5, 0.015, 2.5e-4), (14.5, 0.025, 5.5e-4)]
)
def test_track_momenta_are_smeared_as_the_card_says(pt, tower, constant, slope):
    """In the barrel, and beyond |eta| = 1.5."""
    axis = tower * TOWER
    some = spread_out(pt, around=axis, charge=-1, pdg=13)
    card = {name: getattr(Detector(), name) for name in ("track_constant", "track_slope")}
    found = images_of(anchored(some, axis), Detector(**NO_NOISE | card), eta=axis)[0, 0]
    rows = axis + (np.arange(125) - MIDDLE) * PIXEL_WIDTH
    found = found[np.abs(rows) > 1.51] if tower > 1 else found
    found = found[found > 0]
    sigma = pt * np.hypot(constant, slope * pt)
    assert found.std() == pytest.approx(sigma, rel=0.05)
    assert found.mean() == pytest.approx(pt, abs=4 * sigma / np.sqrt(len(found)))


def test_neutral_particles_leave_no_track():
    some = particles([20.0, 20.0], charge=0, pdg=np.array([22, 130]))
    assert not images_of(some, Detector())[0, 0].any()


# --- calorimeters


@pytest.mark.parametrize(
    ("stochastic", "noise", "constant"), [(0.028, 0.04, 0.003), (1.5, 0, 0.05), (0, 0.3, 0)]
)
def test_cells_are_smeared_by_three_terms_in_quadrature(stochastic, noise, constant):
    for energy in (20.0, 300.0):
        cells = np.full((200, 100), energy)
        measured = read_out(cells, stochastic, noise, constant, 0.0, _rng())
        sigma = np.sqrt(stochastic**2 * energy + noise**2 + (constant * energy) ** 2)
        assert measured.std() == pytest.approx(sigma, rel=0.02)
        assert measured.mean() == pytest.approx(energy, abs=4 * sigma / np.sqrt(cells.size))


def test_what_is_measured_and_not_what_was_there_has_to_pass_the_threshold():
    cells = np.full((100, 100), 1.0)
    measured = read_out(cells, 0.5, 0, 0, 1.0, _rng())
    assert (measured > 0).mean() == pytest.approx(0.5, abs=0.03)
    assert measured[measured > 0].min() > 1.0
    assert not read_out(np.zeros((50, 50)), 0.5, 0, 0, 0.1, _rng()).any()


@pytest.mark.parametrize(
    ("channel", "pdg", "step", "sigma"),
    [
        (1, 22, 1, lambda e: np.sqrt(0.028**2 * e + 0.04**2 + (0.003 * e) ** 2)),
        (2, 130, 5, lambda e: np.sqrt(1.153**2 * e + (0.055 * e) ** 2)),
    ],
)
def test_each_calorimeter_has_its_own_resolution(channel, pdg, step, sigma):
    """Cells of 200 GeV; an image may be centred on any of the towers, so some are outside."""
    some = spread_out(1.0, step, pdg=pdg)
    some = Particles(**vars(some) | {"energy": np.full(len(some), 200.0)})
    detector = Detector(**SHARP, ecal_interactions=0, hcal_hadron_response=1)
    found = []
    for seed in range(1 if step == 1 else 8):
        image = images_of(some, detector, seed=seed)[0, channel]
        cells = np.unique(image) * step**2
        found.extend(cells[cells > 20])  # the others show noise
    assert np.mean(found) == pytest.approx(200, rel=0.01)
    assert np.std(found) == pytest.approx(sigma(200), rel=0.06)


@pytest.mark.parametrize(
    ("pdg", "charge", "where"),
    [
        *[(22, 0, "ecal"), (11, -1, "ecal"), (-11, 1, "ecal"), (2112, 0, "hcal"), (211, 1, "hcal")],
        *[(-211, -1, "hcal"), (13, -1, ""), (-13, 1, ""), (12, 0, ""), (-14, 0, ""), (16, 0, "")],
    ],
)
def test_each_kind_deposits_where_it_should(pdg, charge, where):
    in_ecal, in_hcal = deposits(
        particles(10.0, charge=charge, pdg=pdg), Detector(ecal_interactions=0), _rng()
    )
    assert (in_ecal[0] > 0) is np.bool_(where == "ecal")
    assert (in_hcal[0] > 0) is np.bool_(where == "hcal")


def test_hadrons_shower_early_as_often_as_the_material_says():
    n = 20_000
    pions = particles(np.full(n, 50.0), charge=1, pdg=211)
    alike = {"hadron_fluctuation": 0, "ecal_hadron_response": 0.3, "hcal_hadron_response": 0.3}
    in_ecal, in_hcal = deposits(pions, Detector(**alike), _rng())
    early = in_ecal > 0
    assert early.mean() == pytest.approx(1 - np.exp(-1.2), abs=0.015)
    total = in_ecal + in_hcal
    np.testing.assert_allclose(total, total[0])
    share = in_ecal[early] / total[early]  # u^0.6, with u uniform
    levels = np.array([0.1, 0.5, 0.9])
    np.testing.assert_allclose(np.quantile(share, levels), levels**0.6, atol=0.02)


def test_the_electromagnetic_part_fluctuates_around_that_of_groom():
    n, energy = 20_000, 50.0
    pions = particles(np.full(n, energy / np.cosh(HERE)), charge=1, pdg=211)
    nothing = {"ecal_interactions": 0, "hcal_hadron_response": 0}  # f alone is measured
    _, found = deposits(pions, Detector(**nothing, hadron_fluctuation=0.2), _rng())
    expected = 1 - energy ** (0.80 - 1)
    assert found.mean() / energy == pytest.approx(expected, rel=0.01)
    assert found.std() / found.mean() == pytest.approx(0.2, rel=0.03)
    _, found = deposits(pions, Detector(**nothing, hadron_fluctuation=2), _rng())
    assert found.min() == 0
    assert found.max() == pytest.approx(energy)


def test_each_calorimeter_has_its_own_response_to_hadrons():
    pions = particles(np.full(2000, 0.5), charge=1, pdg=211)  # without an electromagnetic part
    in_ecal, in_hcal = deposits(pions, Detector(), _rng())
    np.testing.assert_allclose(in_ecal / 0.11 + in_hcal / 0.35, pions.energy)


def test_showers_have_the_average_profile_of_grindhammer_and_peters():
    """A share r^2 / (r^2 + R^2) of the energy lies within r, the same in all directions."""
    n, radius = 40_000, 0.02
    eta, phi, energy = spread(np.zeros(n), np.zeros(n), np.ones(n), radius, 4, _rng())
    assert energy.shape == (4 * n,)
    distance = np.hypot(eta, phi)
    for r in (radius / 3, radius, 3 * radius, 10 * radius):
        within = energy[distance < r].sum() / energy.sum()
        assert within == pytest.approx(r**2 / (r**2 + radius**2), abs=0.01)
    eighths = np.histogram(np.arctan2(phi, eta), 8, (-np.pi, np.pi))[0] / (4 * n)
    np.testing.assert_allclose(eighths, 1 / 8, atol=0.01)


def test_showers_keep_place_and_energy_together():
    eta, phi, energy = spread(
        np.array([0.1, 5.0, 9.0]),
        np.array([1.0, 2.0, 3.0]),
        np.array([3.0, 7.0, 20.0]),
        1e-9,
        5,
        _rng(),
    )
    for where, angle, deposit in ((0.1, 1.0, 3.0), (5.0, 2.0, 7.0), (9.0, 3.0, 20.0)):
        here = np.isclose(eta, where) & np.isclose(phi, angle)
        assert here.sum() == 5
        np.testing.assert_allclose(energy[here], deposit / 5)


@pytest.mark.parametrize("share", [0.0, 0.4, 1.0])
def test_photons_convert_as_often_as_asked_into_pairs_that_divide_their_energy(share):
    n = 20_000
    photons = particles(np.full(n, 10.0), event=np.arange(n))
    others = particles([5.0] * 3, charge=1, pdg=np.array([211, -11, 2212]), event=7)
    after = convert(Particles.join([photons, others]), share, _rng())
    electrons = after[(np.abs(after.pdg) == 11) & (after.pt != 5)]
    assert len(electrons) / 2 / n == pytest.approx(share, abs=0.015)
    assert (electrons.charge == -np.sign(electrons.pdg)).all()
    assert electrons.charge.sum() == 0
    np.testing.assert_allclose(np.bincount(after.event, after.energy, n)[8:], photons.energy[8:])
    np.testing.assert_allclose(electrons.energy, electrons.pt * np.cosh(HERE))
    if share:
        quantiles = np.quantile(electrons.pt, [0.1, 0.5, 0.9])
        np.testing.assert_allclose(quantiles, [1, 5, 9], atol=0.2)
    kept = after[after.pt == 5]
    assert sorted(kept.pdg) == [-11, 211, 2212]


def test_electrons_of_conversions_are_seldom_found_as_tracks():
    some = spread_out(5.0, charge=1, pdg=-11)
    tracks = images_of(anchored(some), Detector(conversions=0))[0, 0]
    assert (tracks > 0).sum() / len(some) == pytest.approx(0.20, abs=0.015)


@pytest.mark.parametrize(("pdg", "kept"), [(2112, 0.94), (-2212, -0.94), (3122, 0.94), (211, 0)])
def test_baryons_keep_their_mass_and_antibaryons_give_it_twice(pdg, kept):
    (energy,) = released(particles([3.0], pdg=pdg))
    assert energy == pytest.approx(3 * np.cosh(HERE) - kept)
    assert released(particles([0.5], pdg=2212)) == 0


# --- where


@pytest.mark.parametrize("row", [-30, -1, 0, 7, 44])
@pytest.mark.parametrize("column", [-44, 0, 3])
def test_everything_lands_where_it_flies(row, column):
    """A hadron marks the centre; track and photon are so many pixels from it."""
    phi_pixel = 2 * np.pi / 360
    eta, phi = HERE + row * PIXEL_WIDTH, HERE + column * phi_pixel
    some = particles(
        [5000.0, 300.0, 200.0, 50.0],
        eta=np.array([HERE, eta, eta, eta]),
        phi=np.array([HERE, phi, phi, phi]),
        charge=np.array([0, 1, 0, 0]),
        pdg=np.array([130, 13, 22, 130]),
    )
    detector = Detector(**NO_NOISE | SHARP, ecal_interactions=0, hcal_hadron_response=1)
    tracks, ecal, hcal = images_of(some, detector)[0]
    assert places(tracks) == [(row, column)]
    assert places(ecal) == [(row, column)]
    tower = row + 2 - (row + 2) % 5, column + 2 - (column + 2) % 5  # of its first pixel, plus two
    expected = {(tower[0] - 2 + i, tower[1] - 2 + k) for i in range(5) for k in range(5)}
    expected |= {(i - 2, k - 2) for i in range(5) for k in range(5)}
    assert set(places(hcal)) == expected
    assert tracks.sum() == pytest.approx(300)
    assert ecal.sum() == pytest.approx(200 * np.cosh(eta))
    inside = 5050 if tower == (0, 0) else 5000
    assert 25 * hcal[MIDDLE, MIDDLE] == pytest.approx(inside * np.cosh(HERE), rel=0.01)


@pytest.mark.parametrize("z", [-0.1, 0.06])
@pytest.mark.parametrize("eta", [HERE, -0.8, 1.9])
def test_showers_are_where_a_collision_off_the_middle_sends_them(z, eta):
    """Seen from the middle of the detector; tracks keep their direction."""
    photon = particles([50.0], eta=eta, z=z)
    (seen,), (phi,) = propagate(photon, Detector())
    at_barrel = z + 1.29 * np.sinh(eta)
    if abs(at_barrel) < 3.0:
        expected = np.arcsinh(at_barrel / 1.29)
    else:
        expected = np.arcsinh(3.0 * np.sinh(eta) / (3.0 - z)) if eta > 0 else np.nan
    assert seen == pytest.approx(expected)
    assert phi == pytest.approx(HERE)
    (deep,), _ = propagate(photon, Detector(), Detector().hcal_surface)
    assert abs(deep - eta) < abs(seen - eta)  # the further out, the less it matters


def test_tracks_do_not_follow_the_vertex():
    some = particles([300.0, 200.0], charge=np.array([0, 1]), pdg=np.array([22, 13]), z=0.1)
    detector = Detector(**NO_NOISE | SHARP, ecal_interactions=0)
    tracks, ecal, _ = images_of(anchored(some), detector)[0]
    assert places(tracks) == [(0, 0)]
    assert places(ecal)[0][0] == pytest.approx(0.1 / 1.29 / PIXEL_WIDTH, abs=1)


def test_hadrons_are_bent_further_on_their_way_to_hcal():
    """Until they would turn back: the outermost point is where they are."""
    for pt in (1.0, 2.0, 10.0):
        pion, radius = particles([pt], charge=1, pdg=211), pt / (0.3 * 3.8)
        for surface in ((1.29, 3.0), (1.95, 4.1)):
            _, (phi,) = propagate(pion, Detector(), surface)
            reached = min(surface[0], 2 * radius)
            assert phi - HERE == pytest.approx(-np.arcsin(reached / 2 / radius))


@pytest.mark.parametrize("charge", [-1, 1])
def test_the_tower_of_a_charged_hadron_is_where_its_path_ends(charge):
    """The image is centred there, and its track is where it set out: 14 pixels away, not 8."""
    pion = particles([5.0], charge=charge, pdg=211 * charge)
    detector = Detector(**NO_NOISE | SHARP, ecal_interactions=0, hcal_hadron_response=1)
    tracks, _, hcal = images_of(pion, detector)[0]
    bend = np.arcsin(2.2 / 2 / (5.0 / (0.3 * 3.8)))
    ((row, column),) = places(tracks)
    assert hcal[MIDDLE, MIDDLE] > 0
    assert abs(row) <= 2
    assert charge * column == pytest.approx(bend / (2 * np.pi / 360), abs=3)


def test_hadrons_shower_wider_in_ecal_than_electrons_and_photons(monkeypatch):
    asked = []

    def noting(eta, phi, energy, radius, *rest):
        asked.append(np.broadcast_to(radius, len(energy)).tolist())
        return spread(eta, phi, energy, radius, *rest)

    monkeypatch.setattr(images, "spread", noting)
    some = particles([20.0, 20.0, 20.0], pdg=np.array([22, 11, 130]))
    images_of(some, Detector(conversions=0, ecal_interactions=50))
    in_hcal, in_ecal = asked
    assert in_hcal == [0.0135]
    assert in_ecal == [0.0045, 0.0045, 0.03]


def test_without_a_lit_tower_there_is_no_centre():
    some = Particles.join([particles([50.0]), particles([50.0], pdg=130, event=1)])
    axis = np.full(2, HERE)
    _, has_centre = jet_images(some, axis, axis, Detector(ecal_interactions=0), _rng())
    assert has_centre.tolist() == [False, True]


@pytest.mark.parametrize("charge", [-1, 1])
def test_tracks_keep_their_direction_while_showers_are_bent(charge):
    """Positive charges turn clockwise, towards smaller phi."""
    electron = particles([2.0], charge=charge, pdg=-11 * charge)
    detector = Detector(**NO_NOISE | SHARP, ecal_interactions=0)
    tracks, ecal, _ = images_of(anchored(electron), detector)[0]
    eta, phi = propagate(electron, detector)
    assert places(tracks) == [(0, 0)]
    row, column = places(ecal)[0]
    assert column == pytest.approx((phi[0] - HERE) / (2 * np.pi / 360), abs=1)
    assert row == pytest.approx((eta[0] - HERE) / PIXEL_WIDTH, abs=1)
    assert np.sign(column) == -charge
    assert abs(column) > 10


def test_particles_count_if_their_track_or_their_shower_is_near():
    detector = Detector(**NO_NOISE | SHARP, ecal_interactions=0)
    curler = particles([0.4], charge=1, pdg=211)  # its shower is in the endcap
    assert abs(propagate(curler, detector)[0][0]) > 2
    assert places(images_of(anchored(curler), detector)[0, 0]) == [(0, 0)]
    turn = HERE - propagate(particles([1.0], charge=1, pdg=-11), detector)[1][0]
    bent_in = particles([1.0], phi=HERE + 0.9 + turn, charge=1, pdg=-11)
    assert 0.9 + turn > 1.5
    tracks, ecal, _ = images_of(anchored(bent_in), detector)[0]
    assert not tracks.any()  # it sets out that far from the jet
    assert len(places(ecal)) == 1


@pytest.mark.parametrize("phi", [HERE, np.pi - HERE, -np.pi + HERE, 3.0])
def test_an_image_does_not_depend_on_where_in_phi_the_jet_is(phi):
    """Turned by whole towers, also across the seam."""
    turn = np.round((phi - HERE) / (np.pi / 36)) * np.pi / 36
    rng = np.random.default_rng(4)
    n = 60
    columns = {
        "pt": rng.exponential(20, n) + 2,
        "eta": HERE + rng.normal(0, 0.4, n),
        "charge": rng.choice([-1, 0, 1], n),
    }
    angles = HERE + rng.normal(0, 0.4, n)
    columns["pdg"] = np.where(columns["charge"] == 0, rng.choice([22, 130], n), 211)
    detector = Detector(**NO_NOISE | SHARP)

    def image(turn):
        moved = (angles + turn + np.pi) % (2 * np.pi) - np.pi
        axis = (HERE + turn + np.pi) % (2 * np.pi) - np.pi
        return images_of(particles(phi=moved, **columns), detector, phi=axis)[0]

    np.testing.assert_allclose(image(turn), image(0), atol=1e-4)
    assert (image(0) > 0).sum(axis=(1, 2)).min() > 10


def test_mirrored_particles_give_the_mirrored_image():
    """In eta; also the charges are mirrored in phi, as a mirror does to a magnetic field."""
    rng = np.random.default_rng(5)
    n = 80
    pt, charge = rng.exponential(20, n) + 2, rng.choice([-1, 0, 1], n)
    eta, phi = 1.2 + rng.normal(0, 0.3, n), HERE + rng.normal(0, 0.3, n)
    pdg = np.where(charge == 0, rng.choice([22, 130], n), 211)
    detector = Detector(**NO_NOISE | SHARP)
    axis = (np.floor(1.2 / TOWER) + 0.5) * TOWER
    plus = images_of(particles(pt, eta, phi, charge, pdg), detector, eta=axis)[0]
    minus = images_of(particles(pt, -eta, phi, charge, pdg), detector, eta=-axis)[0]
    np.testing.assert_allclose(minus, plus[:, ::-1], atol=1e-4)
    other = images_of(particles(pt, eta, 2 * HERE - phi, -charge, pdg), detector, eta=axis)[0]
    assert other[0].sum() == pytest.approx(plus[0].sum(), rel=1e-6)


@pytest.mark.parametrize("side", [-1, 1])
@pytest.mark.parametrize(("tower", "reached"), [(0, True), (15, True), (16, False)])
def test_images_are_centred_in_the_barrel_on_both_sides(side, tower, reached):
    """Towers are numbered from 1, the last one of the barrel being 16."""
    eta = side * (tower + 0.5) * TOWER
    hadron = particles([300.0], eta=eta, pdg=130)
    _, in_reach = jet_images(
        hadron, np.array([eta]), np.array([HERE]), Detector(ecal_interactions=0), _rng()
    )
    assert in_reach.tolist() == [reached]


@pytest.mark.parametrize("steps", [(3, 3), (-3, 3), (3, -3), (-3, -3), (0, 3), (-2, 1)])
def test_the_centre_is_searched_three_towers_around_the_axis(steps):
    detector = Detector(**NO_NOISE | SHARP, ecal_interactions=0)
    for reach, found in ((1, True), (4 / 3, False)):
        row, column = (round(step * reach) for step in steps)
        if not found and max(abs(row), abs(column)) < 4:
            continue
        some = particles(
            [500.0, 50.0],
            eta=HERE + np.array([row, 0]) * TOWER,
            phi=HERE + np.array([column, 0]) * np.pi / 36,
            pdg=130,
        )
        hcal = images_of(some, detector)[0, 2]
        centre = 500 if found else 50
        assert 25 * hcal[MIDDLE, MIDDLE] > 0.3 * centre
        assert (hcal[MIDDLE, MIDDLE] == hcal.max()) is np.bool_(found)


def test_events_do_not_mix():
    """Two events at different places in the detector, alone and together."""
    rng = np.random.default_rng(6)
    n = 50
    pt, near = rng.exponential(5, (2, n)) + 1, rng.normal(0, 0.3, (2, 2, n))
    charge = rng.choice([-1, 0, 1], (2, n))
    pdg = np.where(charge == 0, 22, 211)
    axes = np.array([[HERE, -0.7], [2.0, -3.1]])  # eta, then phi, of both
    detector = Detector(**NO_NOISE | SHARP, ecal_interactions=0)

    def event(i, number):
        eta, phi = axes[0, i] + near[i, 0], axes[1, i] + near[i, 1]
        return particles(pt[i], eta, phi, charge[i], pdg[i], event=number)

    both = Particles.join([event(0, 0), event(1, 1)])
    together, _ = jet_images(both, *axes, detector, _rng())
    for i in range(2):
        alone, _ = jet_images(event(i, 0), axes[0, i : i + 1], axes[1, i : i + 1], detector, _rng())
        np.testing.assert_allclose(together[i], alone[0], atol=1e-6)
        assert alone[0].any(axis=(0, 1)).all()


def test_a_busy_tower_wakes_its_neighbours_in_its_own_event_alone():
    """The soft photon of the second event lies where the first event is busy."""
    detector = Detector(**NO_NOISE | SHARP)
    some = particles([20.0, 0.1, 0.1], event=np.array([0, 0, 1]))
    some = Particles(**{**vars(some), "eta": np.array([HERE, HERE + TOWER, HERE + TOWER])})
    ecal = images_of(some, detector)[:, 1]
    assert [len(places(image)) for image in ecal] == [2, 0]


@pytest.mark.parametrize("side", [-1, 1])
@pytest.mark.parametrize(("eta", "lit"), [(1.45, True), (1.52, False)])
def test_barrel_and_endcap_have_their_thresholds_on_both_sides(side, eta, lit):
    """0.25 GeV: above the high threshold of the barrel, below that of the endcap."""
    some = particles([0.25 / np.cosh(eta)], eta=side * eta)
    detector = Detector(**NO_NOISE | SHARP)
    axis = np.array([side * 1.3]), np.array([HERE])
    made, _ = jet_images(some, *axis, detector, _rng())
    assert made[0, ..., 1].any() == lit


def test_the_table_of_the_detector_is_that_of_its_sources():
    """Every number that is cited: a changed one is a new model, and needs a new source."""
    table = vars(Detector())
    cited = {
        "field": 3.8,
        "radius": 1.29,
        "half_length": 3.0,
        "track_pt_min": 0.1,
        "vertex_spread": 0.0616,
        "track_barrel": 1.5,
        "track_efficiency_low": (0.70, 0.60),
        "track_efficiency": (0.95, 0.85),
        "track_eta_max": 2.5,
        "track_constant": (0.015, 0.025),
        "track_slope": (2.5e-4, 5.5e-4),
        "ecal_stochastic": 0.028,
        "ecal_noise": 0.04,
        "ecal_constant": 0.003,
        "endcap_threshold": 0.3,
        "hcal_stochastic": 1.153,
        "hcal_constant": 0.055,
        "hadron_k": 0.80,
        "conversions": 0.45,
    }
    assert {name: table[name] for name in cited} == cited
