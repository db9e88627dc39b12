"""Levels, scales and colours: equal energies are equal colours, and every colour can be read."""

from io import BytesIO

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from qghelpers import pictures, plots

SCALE = pictures.Scale(0.1, 100.0)


def luminance(colours: np.ndarray) -> np.ndarray:
    """Relative luminance of colours of 0 to 255, as the contrast rules of the web define it."""
    share = np.asarray(colours) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    return linear @ [0.2126, 0.7152, 0.0722]


def deuteranope(colours: np.ndarray) -> np.ndarray:
    """The colours without green-sensitive cones: Viénot, Brettel and Mollon (1999)."""
    share = np.asarray(colours) / 255
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    seen = linear @ np.array([[0.293, 0.707, 0], [0.293, 0.707, 0], [-0.022, 0.022, 1]]).T
    return seen.clip(0, 1)


def test_levels_are_logarithms_from_the_floor_to_the_top():
    energies = [-1, 0, 0.0999, 0.1, np.sqrt(10), 100, 1e6]
    assert SCALE.levels(np.array(energies)).tolist() == [0, 0, 0, 1, 128, 255, 255]
    assert SCALE.levels(np.zeros((2, 3))).shape == (2, 3)
    assert SCALE.levels(np.ones(2, np.float32)).dtype == np.uint8


@settings(deadline=None)  # the time that it takes is no matter
@given(st.lists(st.floats(0.1, 100), min_size=2, max_size=9))
def test_more_energy_has_never_a_lower_level(energies):
    levels = SCALE.levels(np.sort(energies))
    assert (np.diff(levels.astype(int)) >= 0).all()
    step = (100 / 0.1) ** (1 / 254)
    np.testing.assert_allclose(SCALE.energies(levels), np.sort(energies), rtol=step**0.51 - 1)


def test_what_is_not_lit_has_no_energy():
    assert SCALE.energies(np.array([0, 1, 255])) == pytest.approx([0, 0.1, 100])


def test_differences_keep_their_sign():
    levels = SCALE.signed_levels(np.array([0.05, 0.1, 100, 1e3, -0.05, -0.1, -100, -1e3]))
    assert levels.tolist() == [0, 1, 127, 127, 0, 129, 255, 255]


def test_a_scale_lies_over_the_whole_set():
    energies = np.zeros((10, 4, 4))
    energies[:, 1, 2] = np.arange(1, 11)
    energies[3, 0, 0] = 0.5
    assert pictures.common_scale(energies) == pictures.Scale(0.5, 10)
    assert pictures.common_scale(energies, 0.9).top == pytest.approx(np.quantile(range(1, 11), 0.9))
    blank = np.zeros((30, 4, 4))  # has no brightest pixel, and counts for no share
    assert pictures.common_scale(np.concatenate([energies, blank]), 0.9).top == pytest.approx(9.1)
    energies[3, 0, 0] = 1e-6  # it would take the colours from all others
    assert pictures.common_scale(energies) == pictures.Scale(0.01, 10)


@pytest.mark.parametrize("pixel", [0.0, 3.0])
def test_blank_and_uniform_images_have_a_scale_too(pixel):
    scale = pictures.common_scale(np.full((2, 3, 3), pixel))
    assert 0 < scale.floor < scale.top
    assert set(scale.levels(np.full(4, pixel))) == {255 if pixel else 0}


PALETTES = {
    "energy": pictures.ENERGY[1:],
    "too much": pictures.DIFFERENCE[1:128],
    "too little": pictures.DIFFERENCE[129:],
}


@pytest.mark.parametrize("name", PALETTES)
def test_every_colour_stands_out_from_white_and_more_energy_is_darker(name):
    """Also in grey, which is luminance, and for a reader without green-sensitive cones."""
    grey = luminance(PALETTES[name])
    assert (1.05 / (grey + 0.05) >= 3).all()
    assert (np.diff(grey) <= 1e-3).all()  # colours are rounded
    seen = deuteranope(PALETTES[name]) @ [0.2126, 0.7152, 0.0722]
    assert (np.diff(seen) <= 1e-3).all()
    assert grey[0] - grey[-1] > 0.15


def test_level_0_is_white_and_figures_have_the_same_colours():
    assert (pictures.ENERGY[0] == 255).all()
    assert len(np.unique(pictures.ENERGY, axis=0)) == 256
    assert (pictures.DIFFERENCE[[0, 128]] == 255).all()
    assert pictures.ENERGY.shape == pictures.DIFFERENCE.shape == (256, 3)
    image = np.zeros((3, 125, 125))
    image[0, 3, 4], image[0, 5, 6] = 1, 1e-3
    shown = plots.images({"a": image}).axes[0].get_images()[0]
    colours = shown.to_rgba(shown.get_array(), bytes=True)[..., :3]
    np.testing.assert_array_equal(colours[4, 3], pictures.ENERGY[255])
    np.testing.assert_array_equal(colours[6, 5], pictures.ENERGY[1])


def test_a_picture_has_eta_to_the_right_and_phi_upwards():
    levels = np.zeros((4, 3), np.uint8)
    levels[3, 0] = 200
    picture = np.asarray(Image.open(BytesIO(pictures.png(levels, factor=2))).convert("RGB"))
    assert picture.shape == (6, 8, 3)
    np.testing.assert_array_equal(picture[5, 7], pictures.ENERGY[200])
    assert (picture[:4] == 255).all()
    signed = pictures.png(levels, pictures.DIFFERENCE)
    colours = np.asarray(Image.open(BytesIO(signed)).convert("RGB"))
    np.testing.assert_array_equal(colours[2, 3], pictures.DIFFERENCE[200])
