"""Gaussians around a mean image against torch.distributions, and the prior of codes."""

import math

import pytest
import torch
from torch.distributions import Normal

from qghelpers.networks.distributions import Gaussian, Prior

CONSTANT = 0.5 * math.log(2 * math.pi)  # of a Gaussian, which the costs leave out
WEIGHT = torch.tensor([1, 1, 1 / 25]).view(3, 1, 1)  # of a tower's 25 equal pixels, one counts


@pytest.fixture
def images():
    torch.manual_seed(0)
    return (torch.rand(4, 3, 25, 25) < 0.1) * torch.rand(4, 3, 25, 25)


def test_the_gaussian_is_that_of_torch_distributions(images):
    cost, mean = Gaussian(), torch.rand_like(images)
    cost.log_sigma.data = torch.tensor([0.3, -1.0, 0.7]).view(3, 1, 1)
    nats = -Normal(mean, cost.log_sigma.exp()).log_prob(images) - CONSTANT
    torch.testing.assert_close(cost(mean, images), (WEIGHT * nats).sum(dim=(1, 2, 3)))


def test_a_tower_counts_what_it_is_asked_to(images):
    mean = torch.zeros_like(images)
    for tower in (1.0, 5.0, 25.0):
        own = Gaussian(2.0, tower)(mean, images) - Gaussian(2.0, 0.0)(mean, images)
        nats = -(Normal(0, 2).log_prob(images[:, 2]) + CONSTANT).sum(dim=(1, 2))
        torch.testing.assert_close(own, tower / 25 * nats, rtol=1e-3, atol=1e-3)


def test_the_calibrated_deviation_is_that_of_the_errors(images):
    cost = Gaussian()
    rms = images.square().mean(dim=(0, 2, 3)).sqrt().view(3, 1, 1)
    cost.log_sigma.data = rms.log()
    cost(torch.zeros_like(images), images).sum().backward()
    assert cost.log_sigma.grad.abs().max() < 1e-2 * images[:, 0].numel()


def test_deviations_start_as_they_are_asked_to():
    assert Gaussian().log_sigma.exp().flatten().tolist() == pytest.approx([0.05] * 3)
    assert Gaussian(sigma=2).log_sigma.exp().flatten().tolist() == pytest.approx([2] * 3)


def test_a_fitted_prior_draws_what_it_was_fitted_to():
    torch.manual_seed(0)
    mixing = torch.randn(3, 3)
    prior = Prior(components=2, latent_dim=3)
    points = torch.randn(5000, 3) @ mixing + 5
    prior.fit(points.numpy())
    drawn = prior.sample(5000)
    torch.testing.assert_close(drawn.mean(dim=0), points.mean(dim=0), atol=0.15, rtol=0)
    torch.testing.assert_close(drawn.T.cov(), points.T.cov(), atol=0.3, rtol=0.1)
