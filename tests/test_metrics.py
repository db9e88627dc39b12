"""Metrics say 1 for blank images and 0 for perfect ones, and are uncertain as they should be."""

import numpy as np
import pytest
import torch

from qghelpers import LogScale, ZScore, metrics


@pytest.fixture(scope="module")
def parts(jets):
    return jets.split((0.7, 0.3))


@pytest.mark.parametrize("scaling", [ZScore(), LogScale()])
def test_blank_images_score_one_and_perfect_ones_zero(parts, scaling):
    train, test = parts
    scaling.fit(train)
    table = metrics.compare(
        {"blank": metrics.zero_baseline(scaling), "perfect": scaling}, scaling, test
    )
    assert all(value == (1.0, 0.0) for value in table["blank"].values())
    assert all(value == (0.0, 0.0) for value in table["perfect"].values())
    assert set(table["blank"]) == {
        f"{kind}{channel}"
        for kind in ("MSE", "L1")
        for channel in ("", " Tracks", " ECAL", " HCAL")
    }


def test_errors_are_sums_over_pixels(parts):
    scaling = LogScale()
    test = parts[1][:5]
    got = metrics.errors(metrics.zero_baseline(scaling), scaling, test)
    scaled = scaling(test.images()).numpy()
    np.testing.assert_allclose(got["squared"], (scaled**2).sum(axis=(2, 3)), rtol=1e-4)
    np.testing.assert_allclose(got["absolute"], np.abs(scaled).sum(axis=(2, 3)), rtol=1e-4)


def test_the_mean_image_is_the_best_constant(parts):
    scaling, train = LogScale(), parts[0]
    table = metrics.compare(
        {"mean": metrics.mean_baseline(scaling, train), "blank": metrics.zero_baseline(scaling)},
        scaling,
        train,
    )
    assert table["mean"]["MSE"][0] < table["blank"]["MSE"][0]
    image = metrics.mean_baseline(scaling, train)(train.images([0]))
    expected = scaling(train.images()).mean(dim=0, keepdim=True)
    torch.testing.assert_close(image, expected, rtol=1e-4, atol=1e-6)


def test_pca_improves_with_its_components_and_is_perfect_with_all(parts):
    scaling, few = LogScale(), parts[0][:20]
    found = [
        metrics.compare({"pca": metrics.pca_baseline(scaling, few, k)}, scaling, few)["pca"]["MSE"]
        for k in (1, 8, 20)
    ]
    assert found[0][0] > found[1][0] > found[2][0]
    assert found[2][0] == pytest.approx(0, abs=1e-4)


def test_the_uncertainty_is_that_of_theory():
    rng = np.random.default_rng(0)
    numerator = rng.exponential(1, 2000)
    value, error = metrics.ratio(numerator, np.ones(2000))
    assert value == pytest.approx(numerator.mean())
    assert error == pytest.approx(numerator.std() / np.sqrt(2000), rel=0.1)


def test_format_table_shows_every_row_and_column():
    text = metrics.format_table({"a": {"MSE": (1.0, 0.1)}, "longer": {"MSE": (0.5, 0.2)}})
    assert text.splitlines()[0].split() == ["MSE"]
    assert text.splitlines()[2].split() == ["longer", "0.500", "±", "0.200"]
