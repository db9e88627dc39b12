"""Likelihoods against torch.distributions, and the images made of them against their promise."""

import math

import pytest
import torch
from scipy.stats import spearmanr, wasserstein_distance
from torch.distributions import Bernoulli, Gamma, Normal

from qghelpers import LogScale
from qghelpers.data.layout import TOWER_SIZE
from qghelpers.networks.distributions import Gaussian, Hurdle, Prior, _pixels, _tilted, _towers

SIDE = 25  # five towers, for speed
CONSTANT = 0.5 * math.log(2 * math.pi)  # of a Gaussian, which the likelihoods leave out


@pytest.fixture
def scaled():
    torch.manual_seed(0)
    lit = torch.rand(4, 3, SIDE, SIDE) < 0.1
    return lit * torch.rand(4, 3, SIDE, SIDE)


@pytest.fixture
def maps():
    """Of a hurdle, with lit pixels rare and HCAL the same all over a tower."""
    torch.manual_seed(1)
    parts = [
        torch.randn(4, 3, SIDE, SIDE) - 2,
        torch.rand(4, 3, SIDE, SIDE),
        torch.rand(4, 3, SIDE, SIDE),
    ]
    for part in parts:
        part[:, 2:] = _pixels(_towers(part[:, 2:])[..., :1].expand(-1, -1, -1, TOWER_SIZE**2))
    return torch.cat(parts, dim=1)


def test_the_gaussian_is_that_of_torch_distributions(scaled):
    likelihood, mean = Gaussian(), torch.rand_like(scaled)
    sigma = likelihood.log_sigma.exp()
    expected = -(Normal(mean, sigma).log_prob(scaled) + CONSTANT).sum(dim=(1, 2, 3))
    torch.testing.assert_close(likelihood(mean, scaled), expected)


def test_the_calibrated_deviation_is_that_of_the_errors(scaled):
    likelihood = Gaussian()
    mean = torch.zeros_like(scaled)
    rms = scaled.square().mean(dim=(0, 2, 3)).sqrt().view(3, 1, 1)
    likelihood.log_sigma.data = rms.log()
    likelihood(mean, scaled).sum().backward()
    assert likelihood.log_sigma.grad.abs().max() < 1e-2 * scaled[:, 0].numel()


def test_the_hurdle_is_that_of_torch_distributions(scaled, maps):
    likelihood = Hurdle(weight_of_totals=0)
    likelihood.log_shape.data = torch.tensor([0.5, -0.5, 0.0]).view(3, 1, 1)
    odds, log_energy, mean = maps.chunk(3, dim=1)
    lit = scaled > 0
    cost = -Bernoulli(logits=odds).log_prob(lit.float())
    shape, unit = likelihood.log_shape.exp(), LogScale.unit  # energies in units of the noise
    energy = torch.expm1(unit * torch.where(lit, scaled, 0.5))
    cost -= lit * Gamma(shape, shape / (unit * log_energy).exp()).log_prob(energy)
    cost[:, 2] /= TOWER_SIZE**2
    expected = cost.sum(dim=(1, 2, 3)) + likelihood.around_mean(mean, scaled)
    torch.testing.assert_close(likelihood(maps, scaled), expected)


def test_a_negative_pixel_is_not_lit(scaled, maps):
    """There are a few in a copy of the public jets."""
    likelihood, negative = Hurdle(), scaled.clone()
    negative[:, :, 0, 0] = 0
    blank = negative.clone()
    negative[:, :, 0, 0] = -0.2
    mean = maps.chunk(3, dim=1)[2]
    gaussian = likelihood.around_mean(mean, negative) - likelihood.around_mean(mean, blank)
    difference = likelihood(maps, negative) - likelihood(maps, blank)
    assert torch.isfinite(difference).all()
    likelihood.weight_of_totals = 0
    difference = likelihood(maps, negative) - likelihood(maps, blank)
    torch.testing.assert_close(difference, gaussian, atol=1e-2, rtol=1e-3)


def test_the_totals_cost_what_a_gaussian_around_their_logarithms_does(scaled, maps):
    weighted, plain = Hurdle(weight_of_totals=3), Hurdle(weight_of_totals=0)
    weighted.log_sigma_of_totals.data.fill_(-0.5)
    promised = Hurdle().mean_energy(maps, LogScale()).sum(dim=(2, 3))
    true = LogScale().inverse(scaled).sum(dim=(2, 3))
    noise = LogScale().noise.flatten()
    lit = (torch.sigmoid(maps[:, :3]).sum(dim=(2, 3)), (scaled > 0).sum(dim=(2, 3)))
    expected = torch.zeros(4)
    for ours, theirs in ((promised / noise, true / noise), lit):
        normal = Normal(torch.log1p(ours), math.exp(-0.5))
        expected -= (normal.log_prob(torch.log1p(theirs)) + CONSTANT).sum(dim=1)
    cost = weighted(maps, scaled) - plain(maps, scaled)
    torch.testing.assert_close(cost, 3 * expected, atol=1e-2, rtol=1e-4)


def test_drawn_pixels_are_lit_as_often_as_is_promised(maps):
    torch.manual_seed(2)
    drawn = torch.stack([Hurdle().sample(maps, LogScale()) > 0 for _ in range(400)])
    promised = torch.sigmoid(maps[:, :3])
    error = (promised * (1 - promised) / 400).sqrt()
    assert ((drawn.float().mean(dim=0) - promised).abs() < 6 * error).all()
    assert len({tuple(image.flatten().tolist()) for image in drawn[:5]}) == 5


@pytest.mark.parametrize("how", ["sharp", "sample"])
def test_sharp_images_light_as_many_pixels_as_expected_and_whole_towers(maps, how):
    likelihood, scaling = Hurdle(), LogScale()
    torch.manual_seed(3)
    image = getattr(likelihood, how)(maps, scaling)
    lit, expected = (image > 0).sum(dim=(2, 3)), torch.sigmoid(maps[:, :3]).sum(dim=(2, 3))
    towers = _towers(image[:, 2:])
    assert (towers == towers[..., :1]).all()
    grain = torch.tensor([1, 1, TOWER_SIZE**2])  # of the expected number
    off = 0.5 if how == "sharp" else 1.0
    assert ((lit - expected).abs() <= off * grain + 1e-3).all()
    promised = likelihood.mean_energy(maps, scaling).sum(dim=(2, 3))
    torch.testing.assert_close(image.sum(dim=(2, 3)), promised)
    assert (image >= 0).all()
    if how == "sharp":
        assert torch.equal(image, likelihood.sharp(maps, scaling))


def test_drawn_images_have_the_totals_that_are_asked_for(maps):
    likelihood, scaling = Hurdle(), LogScale()
    torch.manual_seed(4)
    number, energy = torch.tensor([40.0, 15, 125]), torch.tensor([0.5, 0.2, 0.3])
    totals = torch.log1p(torch.stack([number, energy / scaling.noise.flatten()]))
    image = likelihood.sample(maps, scaling, totals.flatten().expand(4, -1))
    torch.testing.assert_close(image.sum(dim=(2, 3)), energy.expand(4, 3))
    grain = torch.tensor([1, 1, TOWER_SIZE**2])
    assert (((image > 0).sum(dim=(2, 3)) - number).abs() <= 1.02 * grain).all()
    counted = likelihood.totals(scaling(image)).view(4, 2, 3)
    torch.testing.assert_close(counted[:, 1], totals[1].expand(4, 3), atol=1e-4, rtol=0)
    assert torch.equal(counted[:, 0].expm1().round(), (image > 0).sum(dim=(2, 3)).float())


def test_a_channel_that_should_be_blank_is_drawn_blank(scaled, maps):
    likelihood = Hurdle()
    scaled[:, 1] = 0
    drawn = likelihood.sample(maps, LogScale(), likelihood.totals(scaled))
    assert torch.isfinite(drawn).all()
    assert (drawn[:, [0, 2]] > 0).flatten(2).any(dim=2).all()
    assert drawn[:, 1].abs().max() < 1e-6


def test_more_pixels_are_lit_where_they_are_probable(maps):
    """Tilting keeps the order of the pixels, and so the shape of the jet."""
    odds = maps[:, :3]
    number = torch.tensor([100.0, 2.0, 50.0]).view(1, 3, 1, 1).expand(4, -1, -1, -1)
    tilted = _tilted(odds, number)
    expected = torch.sigmoid(tilted).sum(dim=(2, 3))
    torch.testing.assert_close(expected, number[..., 0, 0], rtol=1e-2, atol=0)
    moved = (tilted - odds).flatten(2)
    torch.testing.assert_close(moved, moved[..., :1].expand_as(moved), atol=1e-4, rtol=0)


@pytest.mark.parametrize("level", [4, 1000])  # times the noise: twenty times the least or more
@pytest.mark.parametrize("log_shape", [0.0, 1.0])
def test_drawn_pixels_are_as_bright_as_is_promised_and_scatter_as_a_gamma_distribution(
    log_shape, level
):
    """Left of the middle ten times as bright as to the right, all of them lit."""
    likelihood, scaling = Hurdle(), LogScale()
    likelihood.log_shape.data.fill_(log_shape)
    log_energy = torch.full((50, 3, SIDE, SIDE), math.log(level))
    log_energy[..., :10] += math.log(10)
    log_energy /= scaling.unit
    maps = torch.cat([torch.full_like(log_energy, 20.0), log_energy, log_energy], dim=1)
    torch.manual_seed(0)
    tracks = likelihood.sample(maps, scaling)[:, 0]
    bright, dim = tracks[..., :10], tracks[..., 10:]
    assert (bright.mean() / dim.mean()).item() == pytest.approx(10, rel=0.05)
    for part in (bright, dim):
        relative = (part.std() / part.mean()).item()
        assert relative == pytest.approx(math.exp(-log_shape / 2), rel=0.1)


def test_towers_and_pixels_are_each_others_inverse():
    images = torch.rand(2, 3, SIDE, SIDE)
    towers = _towers(images)
    assert torch.equal(_pixels(towers), images)
    assert torch.equal(towers[1, 2, 6], images[1, 2, 5:10, 5:10].flatten())


def test_a_fitted_prior_draws_what_it_was_fitted_to():
    torch.manual_seed(0)
    mixing = torch.randn(3, 3)
    prior = Prior(components=2, latent_dim=3)
    points = torch.randn(5000, 3) @ mixing + 5
    prior.fit(points.numpy())
    drawn, totals = prior.sample(5000)
    torch.testing.assert_close(drawn.mean(dim=0), points.mean(dim=0), atol=0.15, rtol=0)
    torch.testing.assert_close(drawn.T.cov(), points.T.cov(), atol=0.3, rtol=0.1)
    assert totals is None


def test_a_prior_draws_totals_of_any_distribution_together_with_what_they_go_with():
    torch.manual_seed(0)
    z = torch.randn(4000, 2)
    totals = torch.stack([z[:, 0].exp(), torch.rand(4000).round()], dim=1)  # skewed, two values
    prior = Prior(components=3, latent_dim=2, totals=2)
    assert prior.sample(5)[1] is None  # not known as yet
    drawn, own = prior.fit(z.numpy(), totals.numpy()).sample(4000)
    for index in range(2):
        scale = totals[:, index].std()
        assert wasserstein_distance(own[:, index], totals[:, index]) < 0.1 * scale
    assert spearmanr(drawn[:, 0], own[:, 0]).statistic > 0.97
    again = Prior(components=3, latent_dim=2, totals=2)
    again.load_state_dict(prior.state_dict())
    for one in (prior, again):
        torch.manual_seed(1)
        drawn, own = one.sample(50)
        assert own[:, 0].min() > 0
        assert set(own[:, 1].tolist()) <= {0, 1}
        assert own.std(dim=0).min() > 0.1
