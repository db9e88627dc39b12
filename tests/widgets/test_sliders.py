"""Sliders show the jet that they name."""

from base64 import b64decode
from io import BytesIO

import numpy as np
import pytest
from matplotlib.image import imread

from qghelpers import plots, widgets


def test_a_figure_is_rendered_as_a_png_of_80_dots_an_inch():
    picture = imread(BytesIO(widgets.render(plots.bars(np.arange(3), "x", "y"))), "png")
    assert picture.shape[:2] == (3 * 80, 7 * 80)


@pytest.mark.parametrize("name", ["jet", "event"])
def test_the_slider_shows_the_jet_that_it_points_at(name):
    drawn = []

    def draw(index):
        drawn.append(index)
        return plots.bars(np.arange(index + 1), "x", "y")

    slider, picture = widgets.browse(draw, 5, name).children
    first = picture.value
    assert first == widgets.render(draw(0))
    assert (slider.value, slider.min, slider.max) == (0, 0, 4)
    assert slider.description == name
    assert slider.continuous_update is False  # a picture for each place where it rests
    drawn.clear()
    for index in (3, 1):
        slider.value = index
        assert picture.value == widgets.render(plots.bars(np.arange(index + 1), "x", "y"))
    assert drawn == [3, 1]
    assert picture.format == "png"


def test_it_is_a_slider_over_jets_unless_named():
    slider, _ = widgets.browse(lambda _: plots.bars(np.arange(2), "x", "y"), 2).children
    assert slider.description == "jet"


def test_a_picture_with_words_is_stored_in_its_place():
    def draw(index):
        return plots.bars(np.arange(index + 1), "x", "y")

    shown = widgets.browse(draw, 5, "event")
    shown.children[0].value = 3
    data, metadata = shown._repr_mimebundle_()
    assert b64decode(data["image/png"]) == widgets.render(draw(3))
    assert metadata["image/png"]["alt"].startswith("event 3, of 0 to 4")
    assert "application/vnd.jupyter.widget-view+json" in data
