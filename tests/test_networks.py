"""The networks keep their word, and their losses are what the formulas say."""

import pytest
import torch
from torch import nn
from torch.distributions import Normal, kl_divergence

from qghelpers import VAE, ZScore, build, vae_loss
from qghelpers.analysis import baselines, metrics
from qghelpers.networks import vae
from qghelpers.networks.layers import LastDouble, Merge, refine
from qghelpers.networks.pca import PrincipalComponents
from qghelpers.networks.unet import l1_loss

NETWORKS = [("vae", "reference"), ("vae", "fast"), ("unet", "reference"), ("unet", "fast")]


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize(("network", "recipe"), NETWORKS)
def test_images_come_back_at_their_size_and_inputs_are_not_touched(jets, network, recipe, batch):
    model = build(network, recipe).eval()
    images = jets.images(slice(0, batch))
    before = images.clone()
    reconstruction = model.reconstruct(images)
    losses = model.loss(images)
    assert reconstruction.shape == images.shape
    assert all(part.shape == (batch,) for part in losses.values())
    assert torch.equal(images, before)


@pytest.mark.parametrize(("network", "recipe"), NETWORKS)
def test_an_untrained_network_does_not_return_its_input(jets, network, recipe):
    torch.manual_seed(0)
    model = build(network, recipe).eval()
    images = jets.images(slice(0, 8))
    scaled = model.scaling(images)
    error = (model.reconstruct(images) - scaled).abs().sum()
    assert error > 0.2 * scaled.abs().sum()


@pytest.mark.parametrize(("network", "recipe"), NETWORKS)
def test_one_batch_can_be_overfitted(jets, network, recipe):
    torch.manual_seed(0)
    model = build(network, recipe)
    model.scaling.fit(jets[:4])
    images = jets.images(slice(0, 4))
    optimizer = torch.optim.Adam(model.parameters(), 1e-3)
    losses = []
    for _ in range(100):
        loss = model.loss(images)["loss"].mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert min(losses[-5:]) < 0.6 * losses[0]


@pytest.mark.parametrize("network", ["vae", "unet"])
def test_the_loss_of_a_jet_does_not_depend_on_its_batch_and_is_reproducible(jets, network):
    model = build(network).eval()
    images = jets.images(slice(0, 6))

    def losses(batch):
        torch.manual_seed(1)
        return model.loss(batch)

    parts = ("reconstruction", "kl") if network == "vae" else ("loss",)
    assert torch.equal(losses(images)["loss"], losses(images)["loss"])
    if network == "vae":
        nn.init.constant_(model.to_posterior.bias[model.latent_dim :], -60)  # no noise
    for part in parts:
        torch.testing.assert_close(losses(images)[part][:2], losses(images[:2])[part])


def test_kl_is_that_of_torch_distributions():
    mu, log_variance = torch.randn(5, 7), torch.randn(5, 7)
    images = torch.zeros(5, 3, 4, 4)
    posterior = Normal(mu, (0.5 * log_variance).exp())
    expected = kl_divergence(posterior, Normal(0.0, 1.0)).sum(dim=1)
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
    model = VAE().eval()
    model.scaling.fit(jets)
    images = jets.images(range(8))
    images[:, 0, 62, 62] = 756
    divergence = {}
    for model.bounded in (False, True):
        divergence[model.bounded] = model.loss(images)["kl"]
    assert divergence[False].min() > 1e6 * divergence[True].max()
    assert model.encode(model.scaling(images))[1].max() <= 0


def test_zero_init_starts_from_zero(jets):
    model = VAE(zero_init=True).eval()
    assert (model.reconstruct(jets.images([0, 1])) == 0).all()


def test_merging_is_a_convolution_of_all_maps_where_a_closed_skip_is_zero():
    torch.manual_seed(0)
    merge, plain = Merge(8), refine(16, 8)
    plain.load_state_dict(merge.state_dict())
    first, second = torch.randn(2, 4, 8, 9, 9)
    for given, seen in {second: second, None: torch.zeros_like(second)}.items():
        found, wanted = merge(first, given), plain(torch.cat([first, seen], dim=1))
        torch.testing.assert_close(found, wanted)


def test_the_last_doubling_is_a_transposed_convolution_with_its_bias():
    torch.manual_seed(0)
    last, plain = LastDouble(8, 3), nn.ConvTranspose2d(8, 3, 4, stride=2, padding=1)
    plain.load_state_dict(last.state_dict())
    x = torch.randn(2, 8, 5, 5)
    torch.testing.assert_close(last(x), plain(x))


@pytest.mark.parametrize("bounded", [True, False])
def test_beside_principal_components_a_vae_starts_as_the_best_linear_one(jets, bounded):
    torch.manual_seed(0)
    model = VAE(latent_dim=8, zero_init=True, principal=True, bounded=bounded).eval()
    model.scaling.fit(jets)
    model.start_from(jets)
    linear = baselines.pca(model.scaling, jets, 8)
    images = jets.images(range(16))
    torch.testing.assert_close(model.reconstruct(images), linear.reconstruct(images))

    mu, log_variance = model.encode(model.scaling(jets.images()))
    torch.testing.assert_close(mu.mean(dim=0), torch.zeros(8), atol=1e-3, rtol=0)
    torch.testing.assert_close(mu.std(dim=0), torch.ones(8))
    log_variance = log_variance[0].requires_grad_()
    blur = model.principal.decode(torch.diag(torch.exp(0.5 * log_variance)))
    error = (blur - model.principal.centre.view(3, 125, 125)).square().sum()
    (slope,) = torch.autograd.grad(error + vae.kl_divergence(mu[:1], log_variance), log_variance)
    torch.testing.assert_close(slope, torch.zeros(8), atol=1e-3, rtol=0)


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


def test_principal_components_count_as_parameters_and_know_one_map_alone(jets):
    with_them, without = (
        metrics.compare({"": VAE(principal=given)}, ZScore(), jets[:2])[""]["parameters"][0]
        for given in (True, False)
    )
    assert with_them - without == 33 * 46_875 + 32
    with pytest.raises(ValueError, match="nothing of the maps of 'hurdle'"):
        VAE(scaling="log", likelihood="hurdle", principal=True)
