"""The VAE's loss is what the formulas say, and what is trained."""

import pytest
import torch
from small import SmallPCAVAE, SmallVAE, small_vae
from torch import nn
from torch.distributions import Normal
from torch.distributions import kl_divergence as divergence_of

from qghelpers import VAE, vae_loss
from qghelpers.networks import vae as vae_module
from qghelpers.networks.pca import PCAVAE
from qghelpers.networks.unet import l1_loss
from qghelpers.networks.vae import kl_divergence


def test_kl_is_that_of_torch_distributions():
    mu, log_variance = torch.randn(5, 7), torch.randn(5, 7)
    images = torch.zeros(5, 3, 4, 4)
    posterior = Normal(mu, (0.5 * log_variance).exp())
    expected = divergence_of(posterior, Normal(0.0, 1.0)).sum(dim=1)
    loss = vae_loss(images, images, mu, log_variance, beta=3)
    torch.testing.assert_close(loss["kl"], expected)
    torch.testing.assert_close(loss["loss"], 3 * expected)
    assert (loss["kl"] > 0).all()
    assert (vae_loss(images, images, 0 * mu, 0 * log_variance)["kl"] == 0).all()


def test_reconstruction_losses_are_sums_and_means_over_the_pixels_of_a_jet():
    a, b = torch.randn(4, 3, 5, 5), torch.randn(4, 3, 5, 5)
    nothing = torch.zeros(4, 2)
    squared = vae_loss(a, b, nothing, nothing)["reconstruction"]
    torch.testing.assert_close(squared.mean(), nn.MSELoss(reduction="sum")(a, b) / 4)
    torch.testing.assert_close(l1_loss(a, b)["loss"].mean(), nn.L1Loss()(a, b))


def test_the_posterior_is_sampled_in_training_and_not_in_reconstruction(jets):
    model = VAE(latent_dim=4).eval()
    scaled = model.scaling(jets.images([0]))
    assert not torch.equal(model(scaled)[0], model(scaled)[0])
    assert torch.equal(model.reconstruct(jets.images([0])), model.reconstruct(jets.images([0])))


def test_a_mismeasured_track_makes_the_divergence_explode_unless_it_is_bounded(jets):
    """The public file has a Tracks pixel of 756 (GeV/100), thousands of times what is usual."""
    torch.manual_seed(0)
    model = PCAVAE().eval()
    model.to_posterior.reset_parameters()  # it starts with heads of zero
    model.scaling.fit(jets)
    images = jets.images(range(8))
    images[:, 0, 62, 62] = 756
    scaled = model.scaling(images)
    bounded, unbounded = model.heads(scaled), VAE.heads(model, scaled)
    assert kl_divergence(*unbounded).min() > 1e6 * kl_divergence(*bounded).max()
    assert bounded[1].max() <= 0


@pytest.mark.parametrize("kind", [SmallVAE, SmallPCAVAE])
def test_vae_loss_is_the_loss_that_is_trained(jets, monkeypatch, kind):
    torch.manual_seed(0)
    model, images = kind(latent_dim=3, beta=3).eval(), jets.images([0, 1, 2])
    model.to_posterior.reset_parameters()
    noise = model.draw_noise(3)
    decoded, mu, log_variance = model(model.scaling(images), noise)
    expected = vae_loss(model.scaling(images), decoded, mu, log_variance, 3)
    found = model.loss(images, noise)
    assert all(torch.equal(found[part], expected[part]) for part in expected)
    monkeypatch.setattr(vae_module, "vae_loss", lambda *args: {"loss": torch.full((3,), 7.0)})
    assert model.loss(images, noise)["loss"].tolist() == [7, 7, 7]


def test_the_error_is_the_reconstruction_part_of_the_loss(jets):
    """`zero_loss` and the dashed line of loss curves rest on the one, training on the other."""
    model, images = small_vae().eval(), jets.images([0, 1, 2])
    noise, scaled = model.draw_noise(3), model.scaling(images)
    decoded, _, _ = model(scaled, noise)
    assert torch.equal(model.error(scaled, decoded), model.loss(images, noise)["reconstruction"])


def test_images_are_drawn_from_the_standard_normal_in_the_files_units(jets):
    model = small_vae().eval()
    model.scaling.fit(jets)
    torch.manual_seed(3)
    drawn = model.draw(4)
    torch.manual_seed(3)
    expected = model.scaling.inverse(model.decode(torch.randn(4, 3)))
    assert torch.equal(drawn, expected)
