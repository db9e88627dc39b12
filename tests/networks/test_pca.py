"""Principal components are found as they should be, and a VAE beside them starts as they are."""

import pytest
import torch

from qghelpers import VAE, ZScore
from qghelpers.analysis import baselines, metrics
from qghelpers.networks.pca import PCAVAE, PrincipalComponents
from qghelpers.networks.vae import kl_divergence


def test_beside_principal_components_a_vae_starts_as_the_best_linear_one(jets):
    torch.manual_seed(0)
    model = PCAVAE(latent_dim=8).eval()
    model.scaling.fit(jets)
    model.prepare(jets)
    linear = baselines.pca(model.scaling, jets, 8)
    images = jets.images(range(16))
    torch.testing.assert_close(model.reconstruct(images), linear.reconstruct(images))

    mu, log_variance = model.posterior(jets.images())
    torch.testing.assert_close(mu.mean(dim=0), torch.zeros(8), atol=1e-3, rtol=0)
    torch.testing.assert_close(mu.std(dim=0), torch.ones(8))
    log_variance = log_variance[0].requires_grad_()
    blur = model.principal.decode(torch.diag(torch.exp(0.5 * log_variance)))
    error = (blur - model.principal.centre.view(3, 125, 125)).square().sum()
    (slope,) = torch.autograd.grad(error + kl_divergence(mu[:1], log_variance), log_variance)
    torch.testing.assert_close(slope, torch.zeros(8), atol=1e-3, rtol=0)


def test_the_posterior_starts_with_the_variance_that_costs_least_along_weak_axes_too(jets):
    torch.manual_seed(0)
    model = PCAVAE(latent_dim=8).eval()
    model.scaling.fit(jets)
    model.scaling.std *= 200
    model.prepare(jets)
    spread = model.principal.spread
    assert 0.1 < spread.min() < spread.max() < 10
    _, log_variance = model.posterior(jets.images([0, 1]))
    torch.testing.assert_close(log_variance.exp(), (1 / (1 + 2 * spread**2)).expand(2, 8))


def test_principal_components_beyond_what_the_jets_have_stay_zero(jets):
    few = jets[[0, 1, 2, 2]]  # three different ones: two directions
    scaling = ZScore().fit(few)
    linear = PrincipalComponents(5).fit(scaling, few)
    assert (linear.encode(scaling(jets.images()))[:, 2:] == 0).all()
    scaled = scaling(few.images())
    error = (linear.decode(linear.encode(scaled)) - scaled).abs().max()
    assert error < 1e-4 * scaled.abs().max()
    with pytest.raises(ValueError, match="two jets or more"):
        linear.fit(scaling, jets[:1])


def test_principal_components_count_as_parameters(jets):
    with_them, without = (
        metrics.compare({"": kind()}, ZScore(), jets[:2])[""]["parameters"][0]
        for kind in (PCAVAE, VAE)
    )
    assert with_them - without == 33 * 46_875 + 32


def test_without_its_components_it_starts_from_zero(jets):
    model = PCAVAE().eval()
    assert (model.reconstruct(jets.images([0, 1])) == 0).all()
