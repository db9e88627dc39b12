"""Observables of images whose answers are known, and against sums written out in full."""

import numpy as np
import pytest
import torch

from qghelpers.analysis import observables
from qghelpers.data.layout import IMAGE_SIZE, PIXEL_WIDTH

CENTRE = IMAGE_SIZE // 2
POWERS = {"girth": 0, "pTD": 0, "C1": 0, "mass": 1}  # of the energy scale: of every shape


def image(pixels: dict[tuple[int, int], float], channel: int = 1) -> torch.Tensor:
    """One image with these energies in GeV, by row and column from the centre."""
    result = torch.zeros(1, 3, IMAGE_SIZE, IMAGE_SIZE)
    for (row, column), energy in pixels.items():
        result[0, channel, CENTRE + row, CENTRE + column] = energy / 100
    return result


def of(pixels, channel=1) -> dict[str, float]:
    found = observables.observables(image(pixels, channel))
    return {name: values[0] for name, values in found.items()}


@pytest.fixture(scope="module")
def busy():
    rng = np.random.default_rng(0)
    places = rng.choice(IMAGE_SIZE**2, 40, replace=False)
    energies = rng.exponential(5, 40)
    return {
        (int(p // IMAGE_SIZE - CENTRE), int(p % IMAGE_SIZE - CENTRE)): float(e)
        for p, e in zip(places, energies, strict=True)
    }


def particles(pixels):
    rows, columns = np.array(list(pixels)).T
    return np.array(list(pixels.values())), rows * PIXEL_WIDTH, columns * PIXEL_WIDTH


def test_a_single_particle_has_no_width_and_no_mass():
    found = of({(3, -7): 20})
    assert found["energy ECAL"] == pytest.approx(20)
    assert (found["lit ECAL"], found["lit Tracks"], found["energy HCAL"]) == (1, 0, 0)
    assert found["pTD"] == pytest.approx(1)
    for name in ("girth", "C1", "mass"):
        assert found[name] == pytest.approx(0, abs=1e-4)


def test_two_equal_particles():
    steps, energy = 10, 8
    found = of({(0, 0): energy, (0, steps): energy})
    distance = steps * PIXEL_WIDTH
    assert found["girth"] == pytest.approx(distance / 2)
    assert found["pTD"] == pytest.approx(np.sqrt(1 / 2))
    assert found["C1"] == pytest.approx(distance**0.2 / 4, rel=1e-4)
    assert found["mass"] == pytest.approx(energy * np.sqrt(2 * (1 - np.cos(distance))))


def test_they_are_the_sums_over_particles_that_the_papers_write(busy):
    pt, eta, phi = particles(busy)
    found = of(busy)
    z = pt / pt.sum()
    eta_axis, phi_axis = z @ eta, z @ phi
    distance = np.hypot(eta[:, None] - eta, phi[:, None] - phi)
    four = pt * np.array([np.cosh(eta), np.cos(phi), np.sin(phi), np.sinh(eta)])
    energy, *momentum = four.sum(axis=1)
    written = {
        "girth": z @ np.hypot(eta - eta_axis, phi - phi_axis),
        "pTD": np.sqrt((z**2).sum()),
        "C1": (np.outer(z, z) * distance**0.2).sum() / 2,
        "mass": np.sqrt(energy**2 - np.square(momentum).sum()),
    }
    for name in observables.SHAPES:
        assert found[name] == pytest.approx(written[name], rel=1e-4 if name == "C1" else 1e-6)


def test_shapes_do_not_change_with_energy_and_mass_grows_with_it(busy):
    one, two = of(busy), of({place: 2 * energy for place, energy in busy.items()})
    for name in observables.SHAPES:
        assert two[name] == pytest.approx(one[name] * 2 ** POWERS[name]), name


def test_tracks_do_not_enter_the_shapes(busy):
    found = of(busy, channel=0)
    assert found["energy Tracks"] == pytest.approx(sum(busy.values()))
    assert all(found[name] == 0 for name in observables.SHAPES)


def test_negative_pixels_count_as_nothing_and_inputs_are_not_touched(busy):
    images = image(busy)
    with_negative = images.clone()
    with_negative[0, :, 0, 0] = -1
    before = with_negative.clone()
    one, two = (observables.observables(some) for some in (images, with_negative))
    assert all(one[name] == two[name] for name in one)
    assert torch.equal(with_negative, before)


def test_a_blank_image_and_one_of_many(busy):
    blank = observables.observables(torch.zeros(2, 3, IMAGE_SIZE, IMAGE_SIZE))
    assert set(blank) == set(observables.NAMES)
    assert all((values == 0).all() and values.shape == (2,) for values in blank.values())
    both = observables.observables(torch.cat([image({(0, 0): 1}), image(busy)]))
    assert all(both[name][1] == pytest.approx(value) for name, value in of(busy).items())


@pytest.mark.parametrize(("channel", "deposit"), [(0, 0.1), (1, 0.05), (2, 0.04)])
def test_a_pixel_is_lit_above_half_of_the_smallest_deposit(channel, deposit):
    """In GeV; a reconstruction may be a little off and still light it."""
    for share, lit in ((0.45, False), (0.55, True), (1.0, True)):
        made = image({(1, 2): share * deposit}, channel)
        assert observables.lit(made)[0].any(dim=(1, 2)).tolist() == [
            lit and i == channel for i in range(3)
        ]
    assert not observables.lit(image({(1, 2): -1.0}, channel)).any()


def test_every_lit_pixel_of_real_jets_counts(jets):
    found = observables.of_jets(jets[:50])
    lit = np.stack([found[f"lit {channel}"] for channel in jets.channels], axis=1)
    np.testing.assert_array_equal(lit, jets[:50].pixel_counts())
    energy = np.stack([found[f"energy {channel}"] for channel in jets.channels], axis=1)
    np.testing.assert_allclose(energy, 100 * jets[:50].sums(), rtol=1e-5)


def test_within_a_radius_are_the_pixels_near_the_centre_in_both_directions():
    near = image({(28, 0): 1, (0, -28): 2, (20, 20): 3})  # 28 pixels: 0.487
    far = image({(29, 0): 1, (0, -29): 2, (21, 20): 3})
    assert torch.equal(observables.within(near + far, 0.5), near)
