"""The VAEs of our own start blank, make images of every kind, and know towers."""

import pytest
import torch

from qghelpers.networks.distributions import _towers
from qghelpers.networks.sparse_vae import LIKELIHOODS, SparseVAE


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_every_vae_starts_blank_and_gives_images_of_every_kind(jets, likelihood):
    torch.manual_seed(0)
    vae = SparseVAE(likelihood=likelihood).eval()
    images = jets.images([0, 1])
    before = images.clone()
    assert (vae.reconstruct(images) == 0).all()
    made = [vae.reconstruct_energy(images), vae.sharp(images), vae.draw(2)]
    assert all(image.shape == images.shape for image in made)
    assert all(part.shape == (2,) for part in vae.loss(images).values())
    assert torch.equal(images, before)


def test_an_unknown_likelihood_costs_one_line():
    with pytest.raises(ValueError, match="no likelihood poisson: there are gaussian, hurdle"):
        SparseVAE(likelihood="poisson")


def test_hcal_comes_out_in_towers(jets):
    torch.manual_seed(0)
    vae = SparseVAE().eval()
    torch.nn.init.normal_(vae.decoder[2].weight)
    towers = _towers(vae.reconstruct(jets.images([0, 1])))
    assert torch.allclose(towers[:, 2], towers[:, 2, :, :1], atol=1e-6)
    assert not torch.allclose(towers[:, 1], towers[:, 1, :, :1])


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_the_likelihood_is_what_is_trained(jets, likelihood):
    torch.manual_seed(0)
    vae, images = SparseVAE(beta=3, likelihood=likelihood).eval(), jets.images([0, 1])
    torch.nn.init.normal_(vae.decoder[2].weight, std=0.1)  # at the start, no code matters
    noise, scaled = vae.draw_noise(2), vae.scaling(images)
    mu, log_variance = vae.heads(scaled)
    maps = vae.maps(mu + (0.5 * log_variance).exp() * noise)
    loss = vae.loss(images, noise)
    torch.testing.assert_close(loss["reconstruction"], vae.likelihood(maps, scaled))
    torch.testing.assert_close(loss["loss"], loss["reconstruction"] + 3 * loss["kl"])


@pytest.mark.parametrize("likelihood", LIKELIHOODS)
def test_the_mean_image_in_gev_is_that_of_what_may_be_drawn(jets, likelihood):
    """The mean of an exponential is above the exponential of a mean."""
    torch.manual_seed(0)
    vae, images = SparseVAE(likelihood=likelihood).eval(), jets.images([0, 1])
    torch.nn.init.normal_(vae.decoder[2].weight, std=0.1)
    maps = vae.maps(vae.encode(images))
    mean = vae.reconstruct_energy(images)
    assert torch.equal(mean, vae.likelihood.mean_energy(maps, vae.scaling))
    if likelihood == "hurdle":
        drawn = torch.stack([vae.likelihood.sample(maps, vae.scaling, None) for _ in range(5)])
        assert drawn.mean().item() == pytest.approx(mean.mean().item(), rel=0.1)
