"""The networks keep their word, and their losses are what the formulas say."""

import pytest
import torch
from torch import nn

from qghelpers import build
from qghelpers.networks.base import NETWORKS as CLASSES
from qghelpers.training import recipes

# those of the package, also without a row in the table of recipes
NETWORKS = [
    (network, recipe)
    for network in recipes.networks()
    if network not in CLASSES or CLASSES[network].__module__.startswith("qghelpers.")
    for recipe in recipes.recipe_names(network)
]


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
    for _ in range(30):
        loss = model.loss(images)["loss"].mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert max(losses[-5:]) < 0.6 * losses[0]


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
