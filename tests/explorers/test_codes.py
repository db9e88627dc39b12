"""The latent explorer shows what the network makes of the numbers at its sliders; walks, too."""

import json
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
from qghelpers.networks.sparse_vae import SparseVAE


@pytest.fixture(scope="module")
def some(jets):
    return jets[:20]


@pytest.fixture(scope="module")
def model(some):
    """Untrained, but with codes that differ, and of which the images depend."""
    model = small_vae()
    model.scaling.fit(some)
    with torch.no_grad():
        model.to_posterior.weight.mul_(30)
        for weight in model.decoder.parameters():
            weight.mul_(3)
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
    scales = explorer.panels.scales
    before, energies = explorer.code.copy(), explorer.energies
    slider.value = 2.5
    changed = np.flatnonzero(explorer.code != before)
    assert changed.tolist() == [which.value]
    assert explorer.code[which.value] == 2.5
    now = decoded(model, explorer.code)
    np.testing.assert_allclose(explorer.energies, now, atol=1e-4)
    assert explorer.panels.scales is scales
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


def test_observables_stand_beside_those_of_the_start(explorer):
    def told():
        text = explorer.children[-1].value
        pairs = re.search(r"mass \[GeV\] (\S+) \((\S+)\) · girth (\S+) \((\S+)\)", text)
        return [float(number) for number in pairs.groups()]

    def expected():
        images = torch.from_numpy(explorer.energies)[None] / 100
        values = qg.observables.observables(images)
        return [values["mass"][0], values["girth"][0]]

    mass, girth = expected()
    np.testing.assert_allclose(told(), [mass, mass, girth, girth], rtol=0.01)
    explorer.rows[0][1].value = 3.0
    other_mass, other_girth = expected()
    assert other_mass != mass
    np.testing.assert_allclose(told(), [other_mass, mass, other_girth, girth], rtol=0.01)


def test_an_image_is_drawn_when_asked_for_until_the_code_moves(jets, explorer):
    assert explorer.draw not in explorer.children[0].children  # this one has one image a code
    torch.manual_seed(0)
    vae = SparseVAE(latent_dim=3, widths=(8, 16), components=2)
    vae.prepare(jets)
    for layer in vae.passes.heads:
        torch.nn.init.normal_(layer.weight, std=0.1)
    drawing = qg.explore(vae, jets[:5], sliders=1)
    assert drawing.draw in drawing.children[0].children
    titles = ["decoded", "difference to the start"]
    assert [row.title for row in drawing.panels.rows] == titles
    drawing.draw.click()
    assert [row.title for row in drawing.panels.rows] == [titles[0], "one that is drawn", titles[1]]
    first = drawing.panels.rows[1].energies
    assert first.shape == (3, 125, 125)
    assert (first > 0).any()
    assert (first == 0).any()
    drawing.draw.click()
    assert not np.array_equal(first, drawing.panels.rows[1].energies)
    drawing.rows[0][1].value = 2.0
    assert [row.title for row in drawing.panels.rows] == titles


def test_a_picture_with_words_is_stored(explorer):
    """Without a row for the difference to the start, as long as there is none."""
    data, metadata = explorer._repr_mimebundle_()
    assert data["text/plain"] == "explorer of 3 latent numbers"
    before = Image.open(BytesIO(b64decode(data["image/png"])))
    assert metadata["image/png"]["alt"].startswith("decoded, in Tracks, ECAL, HCAL, from jet 0 · ")
    assert explorer.children[-1].value.count('alt="') == 6
    explorer.rows[0][1].value = 3.0
    data, metadata = explorer._repr_mimebundle_()
    after = Image.open(BytesIO(b64decode(data["image/png"])))
    assert after.height - before.height == before.height - 34  # a row more, above the same labels
    assert metadata["image/png"]["alt"].startswith("decoded and difference to the start, in ")


def test_a_walk_leads_from_one_code_to_the_other(model, some):
    browser = qg.interpolate(model, some, 3, 7, steps=5)
    data = json.loads(re.search(r"json\">(.*?)</script>", browser.html, re.S)[1])
    columns = {column["name"]: column["values"] for column in data["columns"]}
    assert columns["share of the way"] == [0, 0.25, 0.5, 0.75, 1]
    codes = latent.encode(model, some[[3, 7]])
    for step, share in ((0, 0), (1, 0.25), (4, 1)):
        image = decoded(model, (1 - share) * codes[0] + share * codes[1])[None]
        values = qg.observables.observables(torch.from_numpy(image) / 100)
        for name in ("mass", "girth", "pTD"):
            assert columns[name][step] == pytest.approx(values[name][0], rel=1e-3)
        assert data["lit"][step][0][0] == values["lit Tracks"][0]
    assert str(browser) == "browser of 5 steps"


@pytest.mark.parametrize(
    ("ask", "line"),
    [
        (lambda model, jets: qg.explore(model, jets[:0]), "no jets to show"),
        (lambda _, jets: qg.explore(qg.build("unet", "fast"), jets), "give a generative network"),
        (lambda model, jets: qg.interpolate(model, jets, 0, 20), "there is no jet 20: 0 to 19"),
        (lambda model, jets: qg.interpolate(model, jets, 0, 1, 1), "steps is 1: a walk has"),
        (lambda _, jets: qg.interpolate(qg.UNetAutoencoder(), jets, 0, 1), "give a generative"),
    ],
)
def test_what_cannot_be_explored_is_a_line(model, some, ask, line):
    data, _ = ask(model, some)._repr_mimebundle_()
    assert line in data["text/plain"]
