"""Anomalies are what they are called, and scores separate as they say."""

import numpy as np
import pytest
import torch
from small import small_vae

from qghelpers.analysis import anomaly
from qghelpers.data import layout


def test_scores_are_the_losses_and_plain_sums(jets):
    model = small_vae().eval()
    images = jets.images(slice(0, 6))
    scores = anomaly.anomaly_scores(model, images, batch_size=4)
    with torch.no_grad():
        error = model.reconstruct(images) - model.scaling(images)
        kl = model.loss(images)["kl"]
    expected = error.square().sum(dim=(1, 2, 3))
    np.testing.assert_allclose(scores["squared error"], expected, rtol=1e-4)
    np.testing.assert_allclose(scores["kl"], kl, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(scores["total energy"], 100 * images.sum(dim=(1, 2, 3)), rtol=1e-4)
    np.testing.assert_array_equal(scores["lit pixels"], jets[:6].pixel_counts().sum(axis=1))


def test_two_prong_jets_have_two_cores_the_same_energy_and_whole_towers(jets):
    images = jets.images(slice(0, 20))
    doubled = anomaly.two_prong(images)
    assert doubled.sum() == pytest.approx(images.sum().item(), rel=1e-4)
    constant = layout.constant_tower_share(doubled.permute(0, 2, 3, 1).numpy())
    assert constant[2] == 1
    images = torch.where(images > 0.02, images, 0)  # without the pile-up, which has no core
    doubled = anomaly.two_prong(images)
    rows = torch.arange(125.0).view(1, 1, -1, 1)

    def width(x):
        energy = x.sum(dim=(1, 2, 3))
        mean = (x * rows).sum(dim=(1, 2, 3)) / energy
        return ((x * (rows - mean.view(-1, 1, 1, 1)).square()).sum(dim=(1, 2, 3)) / energy).mean()

    assert width(doubled) > 1.5 * width(images)


def test_a_dead_tracker_loses_tracks_alone(jets):
    images = jets.images(slice(0, 3))
    before = images.clone()
    dead = anomaly.dead_tracker(images)
    assert (dead[:, 0] == 0).all()
    assert torch.equal(dead[:, 1:], images[:, 1:])
    assert torch.equal(images, before)
