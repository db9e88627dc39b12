"""The loss curve that grows is the one of the history so far."""

import pytest

from qghelpers import LossCurve, plots, widgets
from qghelpers.widgets import live


@pytest.mark.parametrize("zero", [None, 7.0])
def test_the_curve_shows_the_history_beside_the_blank_image(zero):
    curve = LossCurve(zero)
    assert curve.picture.format == "png"
    assert curve.picture.value == b""
    history = [{"epoch": i, "train_loss": 9 / i, "validation_loss": 8 / i} for i in (1, 2, 3)]
    for seen in (history[:1], history):
        curve(seen)
        assert curve.picture.value == widgets.render(plots.loss_curves(seen, zero))


def test_showing_displays_the_picture_and_gives_the_curve_to_fit(monkeypatch):
    shown = []
    monkeypatch.setattr(live, "display", shown.append)
    curve = LossCurve()
    assert curve.show() is curve
    assert shown == [curve.picture]
