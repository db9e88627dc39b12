"""Sliders show the jet that they name."""

import numpy as np

from qghelpers import plots, widgets


def test_the_slider_shows_the_jet_that_it_points_at():
    drawn = []

    def draw(index):
        drawn.append(index)
        return plots.bars(np.arange(index + 1), "x", "y")

    slider, picture = widgets.browse(draw, 5).children
    first = picture.value
    slider.value = 3
    assert drawn == [0, 3]
    assert picture.value != first
    assert picture.value == widgets.render(draw(3))
    assert (slider.min, slider.max) == (0, 4)
