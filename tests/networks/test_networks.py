"""The networks keep their word, and their losses are what the formulas say."""

import pytest
import torch
from torch import nn

from qghelpers import UNetAutoencoder, build
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
def test_what_is_made_at_once_is_what_each_method_makes(jets, network, recipe):
    model, images = build(network, recipe).eval(), jets.images(slice(2))
    model.scaling.fit(jets[:4])
    own, energy, sharp = model.reconstructions(images)
    assert torch.equal(own, model.reconstruct(images))
    assert torch.equal(energy, model.reconstruct_energy(images))
    assert torch.equal(sharp, model.sharp(images))


def test_a_network_with_one_image_is_asked_once_and_one_with_its_own_methods_by_them(jets):
    images, passes = jets.images(slice(2)), []
    model = build("unet").eval()
    model.register_forward_hook(lambda *_: passes.append(1))
    model.reconstructions(images)
    assert len(passes) == 1

    class Brighter(UNetAutoencoder):
        def reconstruct_energy(self, images):
            return 2 * images

        def sharp(self, images):
            return 3 * images

    _, energy, sharp = Brighter().eval().reconstructions(images)
    assert torch.equal(energy, 2 * images)
    assert torch.equal(sharp, 3 * images)


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
