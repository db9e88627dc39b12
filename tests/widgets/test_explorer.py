"""The latent explorer shows what the network makes of the numbers at its sliders."""

import re
from base64 import b64decode
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image
from small import small_vae

import qghelpers as qg
from qghelpers import latent, pictures


@pytest.fixture(scope="module")
def some(jets):
    return jets[:20]


@pytest.fixture(scope="module")
def model(some):
    model = small_vae()
    model.scaling.fit(some)
    return model.eval()


@pytest.fixture
def explorer(model, some):
    return qg.explore(model, some, sliders=2)


def images_of(explorer) -> list[np.ndarray]:
    """The colours of the six pictures, uint8 with shape `(69, 69, 3)`, first row on top."""
    found = re.findall(r"base64,([^\"]*)", explorer.children[-1].value)
    return [np.asarray(Image.open(BytesIO(b64decode(one))).convert("RGB")) for one in found]


def decoded(model, code) -> np.ndarray:
    with torch.no_grad():
        scaled = model.decode(torch.tensor(code, dtype=torch.float32)[None])
        return 100 * model.scaling.inverse(scaled)[0].numpy()


def test_it_starts_from_the_jet_that_is_named(explorer, model, some):
    means = latent.encode(model, some)
    for jet in (0, 7):
        explorer.jet.value = jet
        np.testing.assert_allclose(explorer.code, means[jet], rtol=1e-4, atol=1e-5)
        for which, slider in explorer.rows:
            assert slider.value == pytest.approx(means[jet][which.value], abs=1e-4)
        np.testing.assert_allclose(explorer.energies, decoded(model, explorer.code), atol=1e-4)
        assert f"jet {jet} · " in explorer.children[-1].value
        assert f"pT {some.pt[jet]:.4g} GeV" in explorer.children[-1].value
        assert all((picture == 255).all() for picture in images_of(explorer)[3:])  # no difference


def test_a_slider_moves_one_number_and_the_colours_stay(explorer, model):
    which, slider = next(row for row in explorer.rows if row[0].value != 0)
    scales = explorer._scales
    before, energies = explorer.code.copy(), explorer.energies
    slider.value = 2.5
    changed = np.flatnonzero(explorer.code != before)
    assert changed.tolist() == [which.value]
    assert explorer.code[which.value] == 2.5
    now = decoded(model, explorer.code)
    np.testing.assert_allclose(explorer.energies, now, atol=1e-4)
    assert explorer._scales is scales
    for c, picture in enumerate(images_of(explorer)[:3]):
        levels = scales[c].levels(explorer.energies[c, 28:97, 28:97])
        np.testing.assert_array_equal(picture, pictures.ENERGY[levels.T[::-1]])
    for c, picture in enumerate(images_of(explorer)[3:]):
        levels = scales[c].signed_levels((explorer.energies - energies)[c, 28:97, 28:97])
        np.testing.assert_array_equal(picture, pictures.DIFFERENCE[levels.T[::-1]])
    explorer.reset.click()
    np.testing.assert_allclose(explorer.code, before)


def test_the_numbers_that_carry_most_come_first(explorer, model, some):
    nats = latent.kl_per_dimension(*latent.posterior(model, some))
    numbers = [number for _, number in explorer.rows[0][0].options]
    assert numbers == np.argsort(-nats).tolist()
    assert [which.value for which, _ in explorer.rows] == numbers[:2]
    assert f"({nats[numbers[0]]:.2f} nats)" in explorer.rows[0][0].options[0][0]


def test_two_sliders_of_one_number_agree_and_long_ones_reach_it(explorer):
    (first, one), (second, other) = explorer.rows
    second.value = first.value
    one.value = -1.5
    assert other.value == -1.5
    assert (one.min, one.max) == (-3, 3)
    explorer._take(np.full(3, 4.5))
    assert (one.value, one.min, one.max) == (4.5, -4.5, 4.5)
    one.value = 0.5
    assert one.max == 4.5  # it does not change under the mouse
    explorer.random.click()
    assert len(set(explorer.code)) == 3


def test_a_picture_with_words_is_stored(explorer):
    data, metadata = explorer._repr_mimebundle_()
    assert data["text/plain"] == "explorer of 3 latent numbers"
    assert b64decode(data["image/png"]).startswith(b"\x89PNG")
    assert "difference to the start of jet 0" in metadata["image/png"]["alt"]
    assert explorer.children[-1].value.count('alt="') == 6


@pytest.mark.parametrize(
    ("ask", "line"),
    [
        (lambda model, jets: qg.explore(model, jets[:0]), "no jets to show"),
        (lambda _, jets: qg.explore(qg.build("unet", "fast"), jets), "give a generative network"),
    ],
)
def test_what_cannot_be_explored_is_a_line(model, some, ask, line):
    data, _ = ask(model, some)._repr_mimebundle_()
    assert line in data["text/plain"]
