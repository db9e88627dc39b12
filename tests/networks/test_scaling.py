"""Scalings are invertible and know training jets only."""

import numpy as np
import pytest
import torch
from small import small_vae

from qghelpers import LogScale, ZScore, fit, get_recipe


@pytest.mark.parametrize("kind", [ZScore, LogScale])
def test_inverse_undoes_forward(jets, kind):
    images = jets.images(slice(0, 20))
    images[0, 0, 0, 0] = 756.6  # the public file's largest pixel
    images[0, 1, 0, 0] = -0.217  # and the smallest of its Parquet twin
    scaling = kind().fit(jets)
    torch.testing.assert_close(scaling.inverse(scaling(images)), images, rtol=1e-4, atol=1e-7)


def test_zscore_is_that_of_all_pixels_of_the_given_jets(jets):
    some = jets[:100]
    scaled = ZScore().fit(some)(some.images()).double()
    np.testing.assert_allclose(scaled.mean(dim=(0, 2, 3)), 0, atol=1e-5)
    np.testing.assert_allclose(scaled.std(dim=(0, 2, 3)), 1, atol=1e-4)


def test_logscale_keeps_zero_and_tames_outliers():
    images = torch.zeros(1, 3, 2, 2)
    images[..., 0, 0] = 756.6
    scaled = LogScale()(images)
    assert (scaled[..., 1, 1] == 0).all()
    assert scaled.max() < 5


def test_fit_scales_by_the_training_jets_alone(jets):
    train, validation, _ = jets.split()
    model = small_vae()
    fit(model, train, validation, get_recipe("vae", "reference", epochs=1))
    own, all_jets = ZScore().fit(train), ZScore().fit(jets)
    torch.testing.assert_close(model.scaling.std, own.std, rtol=0, atol=0)
    torch.testing.assert_close(model.scaling.mean, own.mean, rtol=0, atol=0)
    assert not torch.equal(model.scaling.std, all_jets.std)
