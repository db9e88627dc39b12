"""The loss curve that grows is the one of the training that runs, and stays when it is over."""

from base64 import b64decode
from io import BytesIO

import pytest
from PIL import Image

from qghelpers import LossCurve, plots, widgets
from qghelpers.widgets import live


class Place:
    """What `display` answers: a place in a notebook, and all that was shown there."""

    def __init__(self, first, metadata=None):
        self.shown, self.metadata = [first], [metadata]

    def update(self, data, raw, metadata):
        assert raw
        self.shown.append(data)
        self.metadata.append(metadata)


@pytest.fixture
def places(monkeypatch):
    """The places of a notebook, in their order."""
    made = []

    def display(data, raw, display_id, metadata=None):
        assert raw
        assert display_id is True
        made.append(Place(data, metadata))
        return made[-1]

    monkeypatch.setattr(live, "display", display)
    monkeypatch.setattr(live, "get_ipython", object)
    return made


def history(epochs, first=9):
    numbers = range(1, epochs + 1)
    return [{"epoch": i, "train_loss": first / i, "validation_loss": 8 / i} for i in numbers]


@pytest.mark.parametrize("zero", [None, 7.0])
def test_the_curve_shows_the_history_beside_the_blank_image(places, zero):
    curve = LossCurve(zero)
    assert curve.picture == b""
    rows = []
    for row in history(3):
        rows.append(row)
        curve(rows)
        assert curve.picture == widgets.render(plots.loss_curves(rows, zero), 160)
    (place,) = places  # one picture that is updated
    assert b64decode(place.shown[-1]["image/png"]) == curve.picture
    assert len(place.shown) == 3


def test_its_picture_is_sharp_on_dense_screens_and_has_words(places):
    curve = LossCurve()
    curve(history(2))
    size = Image.open(BytesIO(curve.picture)).size
    about = places[0].metadata[0]["image/png"]
    assert size == (2 * about["width"], 2 * about["height"])
    assert about["alt"] == "Loss curve, 2 epochs: training 4.5, validation 4"


def test_another_training_begins_a_new_picture_and_leaves_the_first(places):
    curve = LossCurve()
    first, second = history(1), history(1, first=99)
    curve(first)
    kept = curve.picture
    curve(second)
    second.append(history(2)[1])
    curve(second)
    assert [len(place.shown) for place in places] == [1, 2]
    assert b64decode(places[0].shown[-1]["image/png"]) == kept
    assert b64decode(places[1].shown[-1]["image/png"]) == curve.picture != kept


def test_it_can_appear_where_it_is_asked_for(places):
    curve = LossCurve()
    assert curve.show() is curve
    assert places[0].shown == [{"text/plain": "The loss curve appears here after the first epoch."}]
    curve(history(1))
    (place,) = places
    assert b64decode(place.shown[-1]["image/png"]) == curve.picture
    assert place.metadata[-1]["image/png"]["alt"]


def test_outside_a_notebook_it_only_draws(capsys):
    curve = LossCurve().show()
    curve(history(1))
    assert curve.picture.startswith(b"\x89PNG")
    assert capsys.readouterr() == ("", "")
