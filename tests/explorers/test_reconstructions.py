"""Any jet, what a network makes of it, and the order of the errors."""

import re
from base64 import b64decode
from io import BytesIO

import numpy as np
import pytest
import torch
from PIL import Image
from small import small_vae

import qghelpers as qg
from qghelpers import baselines, pictures
from qghelpers.data.jets import random_rows


@pytest.fixture(scope="module")
def some(jets):
    return jets[:30]


@pytest.fixture(scope="module")
def models(some):
    vae = small_vae(scaling="log")
    vae.scaling.fit(some)
    return {"small VAE": vae.eval(), "blank": baselines.zero(vae.scaling)}


@pytest.fixture
def explorer(models, some):
    return qg.explore_reconstructions(models, some, sample=12)


def shares(model, jets) -> np.ndarray:
    images = jets.images()
    wrong = (qg.reconstruct(model, images) - images).abs().sum(dim=(1, 2, 3))
    return (wrong / images.sum(dim=(1, 2, 3))).numpy()


def colours(explorer) -> list[np.ndarray]:
    found = re.findall(r"base64,([^\"]*)", explorer.panels.value)
    return [np.asarray(Image.open(BytesIO(b64decode(one))).convert("RGB")) for one in found]


def test_original_reconstruction_and_difference_have_one_fixed_scale(explorer, models, some):
    scales = explorer.panels.scales
    for jet, name in ((29, "small VAE"), (29, "blank"), (4, "blank")):
        explorer.which.value, explorer.jet.value = name, jet
        image = some.images([jet])
        original, made = (
            100 * image[0].numpy(),
            100 * qg.reconstruct(models[name], image)[0].numpy(),
        )
        np.testing.assert_allclose(explorer.original, original)
        np.testing.assert_allclose(explorer.reconstruction, made, atol=1e-4)
        shown = slice(62 - 31, 63 + 31)
        for c, scale in enumerate(scales):
            levels = scale.levels(original[c, shown, shown])
            np.testing.assert_array_equal(colours(explorer)[c], pictures.ENERGY[levels.T[::-1]])
            levels = scale.signed_levels((made - original)[c, shown, shown])
            palette = pictures.DIFFERENCE[levels.T[::-1]]
            np.testing.assert_array_equal(colours(explorer)[6 + c], palette)
        assert f"jet {jet} · " in explorer.panels.value
        assert f"wrong {shares(models[name], some[[jet]])[0]:.3f} of its energy" in (
            explorer.panels.value
        )
    assert explorer.panels.scales is scales


def test_the_sample_comes_in_the_order_of_its_errors(explorer, models, some):
    drawn = random_rows(30, 12, 0)
    by_error = drawn[np.argsort(shares(models["small VAE"], some[drawn]))]
    assert explorer.jet.value == drawn[0]
    explorer.place.value = 5
    assert explorer.jet.value == drawn[5]
    explorer.order.value = "worst first"
    assert (explorer.place.value, explorer.jet.value) == (0, by_error[-1])
    assert "1 of a sample of 12 of 30 jets, worst first" in explorer.panels.value
    explorer.place.value = 11
    assert explorer.jet.value == by_error[0]
    explorer.order.value = "best first"
    assert (explorer.place.value, explorer.jet.value) == (0, by_error[0])
    other = next(jet for jet in range(30) if jet not in drawn)
    explorer.jet.value = other
    assert "not among a sample of 12 of 30 jets" in explorer.panels.value
    explorer.order.value = "as given"
    assert explorer.jet.value == other


def test_another_network_is_put_in_order_by_its_own_errors(explorer, models, some):
    drawn = random_rows(30, 12, 0)
    explorer.order.value = "worst first"
    explorer.which.value = "blank"
    np.testing.assert_array_equal(explorer.sample, drawn)  # all are wrong by all of their energy
    np.testing.assert_allclose(explorer.reconstruction, 0, atol=1e-6)
    explorer.which.value = "small VAE"
    assert explorer.jet.value == drawn[shares(models["small VAE"], some[drawn]).argmax()]


def test_a_second_network_first_asked_in_the_order_of_another_has_its_own_errors(some):
    scaling, kept = qg.LogScale(), torch.tensor([0.0, 1.0, 1.0]).view(3, 1, 1)
    without_tracks = baselines.Baseline(
        scaling,
        lambda code: kept * code.view(-1, 3, 125, 125),
        lambda scaled: scaled.flatten(1),
    )
    models = {"small VAE": small_vae(scaling="log").eval(), "without tracks": without_tracks}
    explorer = qg.explore_reconstructions(models, some, sample=12)
    drawn = random_rows(30, 12, 0)
    by_error = [drawn[np.argsort(shares(model, some[drawn]))] for model in models.values()]
    assert not np.array_equal(*by_error)
    explorer.order.value = "best first"
    for (name, model), expected in zip(models.items(), by_error, strict=True):
        explorer.which.value = name
        np.testing.assert_allclose(explorer.errors(), shares(model, some[drawn]), rtol=1e-4)
        np.testing.assert_array_equal(explorer.sample, expected)


def test_only_what_is_shown_is_made_dense(models, some, monkeypatch):
    asked = []
    images = qg.JetImages.images
    monkeypatch.setattr(
        qg.JetImages, "images", lambda jets, which: (asked.append(which), images(jets, which))[1]
    )
    many = some[np.tile(np.arange(30), 4644)]  # as many as in the public file
    explorer = qg.explore_reconstructions(models, many, sample=12)
    assert explorer.jet.max == 139_319
    explorer.order.value = "worst first"
    explorer.jet.value = 139_319
    sizes = [which.stop if isinstance(which, slice) else len(which) for which in asked]
    assert max(sizes) == 12
    assert "among a sample of 12 of 139,320 jets" in explorer.panels.value


def test_a_picture_with_words_is_stored(explorer):
    data, metadata = explorer._repr_mimebundle_()
    assert data["text/plain"] == "explorer of the reconstructions of small VAE, blank"
    assert b64decode(data["image/png"]).startswith(b"\x89PNG")
    alt = metadata["image/png"]["alt"]
    assert alt.startswith(
        "original and reconstruction and difference, in Tracks, ECAL, HCAL, of jet"
    )
    assert "by small VAE" in alt


def test_one_network_needs_no_name(models, some):
    explorer = qg.explore_reconstructions(models["small VAE"], some)
    assert explorer.which.options == ("SmallVAE",)
    assert "1 of all 30 jets" in explorer.panels.value


@pytest.mark.parametrize(
    ("ask", "line"),
    [
        (lambda models, jets: (models, jets[:0]), "no jets to show"),
        (lambda _, jets: ({}, jets), "nothing to show: give a network"),
        (lambda models, jets: (models, jets, 0), "nothing to show: give a network"),
        (lambda _, jets: ({"mine": "weights"}, jets), "str is no qghelpers.JetAutoencoder"),
    ],
)
def test_what_cannot_be_shown_is_a_line(models, some, ask, line):
    data, _ = qg.explore_reconstructions(*ask(models, some))._repr_mimebundle_()
    assert line in data["text/plain"]
    assert "\n" not in data["text/plain"]
