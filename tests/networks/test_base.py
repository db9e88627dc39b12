"""The contract is checked before any training, and a network is rebuilt as it was built."""

import copy

import pytest
import torch
from small import small_vae
from torch import nn

import qghelpers as qg
from qghelpers.networks import base
from qghelpers.training.runs import load_weights


class Complete(qg.JetAutoencoder):
    def __init__(self, width, /, sizes=(1, 2), *, name="x", scaling="log"):
        super().__init__(scaling)
        self.layer = nn.Linear(1, width)

    def loss(self, images, noise=None):
        return {"loss": self.error(self.scaling(images), self.reconstruct(images))}

    def encode(self, images):
        return images.sum(dim=(2, 3))

    def reconstruct(self, images):
        return self.scaling(images)


def test_a_network_that_lacks_a_part_cannot_be_made():
    class Half(qg.JetAutoencoder):
        def loss(self, images, noise=None):
            return {"loss": images.sum(dim=(1, 2, 3))}

    with pytest.raises(TypeError, match=r"abstract.*encode.*reconstruct") as error:
        Half()
    assert "\n" not in str(error.value)


def test_a_module_that_is_no_such_network_is_told_what_it_lacks(jets):
    class Plain(nn.Module):
        def loss(self, images):
            return {"loss": images.sum(dim=(1, 2, 3))}

    train, validation, _ = jets.split()
    message = r"Plain is no qghelpers.JetAutoencoder.*lacks scaling, encode, reconstruct"
    with pytest.raises(TypeError, match=message):
        qg.fit(Plain(), train, validation)


@pytest.mark.parametrize(
    ("method", "value", "message"),
    [
        ("loss", {"error": torch.zeros(2)}, r'loss must return a part "loss" of shape \(2,\)'),
        ("loss", {"loss": torch.zeros(())}, r'loss must return a part "loss" of shape \(2,\)'),
        ("loss", {"loss": torch.zeros(2), "kl": torch.zeros(2, 3)}, r"loss must return parts of"),
        ("encode", torch.zeros(2, 3, 4), r"encode must return shape \(2, k\), not \(2, 3, 4\)"),
        ("encode", torch.zeros(1, 4), r"encode must return shape \(2, k\)"),
        ("reconstruct", torch.zeros(2, 3, 128, 128), "reconstruct must return the shape of its"),
    ],
)
def test_what_a_method_returns_is_checked_before_any_training(
    jets, tmp_path, method, value, message
):
    model = Complete(3)
    model.loss = lambda images: {"loss": torch.zeros(2)}
    setattr(model, method, lambda *args: value)
    train, validation, _ = jets.split()
    before = torch.get_rng_state()
    with pytest.raises(TypeError, match=f"Complete.{message}") as error:
        qg.fit(model, train, validation, out=tmp_path / "run")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()
    assert torch.equal(before, torch.get_rng_state())


def test_the_check_of_a_network_that_draws_leaves_chance_alone(jets):
    model, before = small_vae(), torch.get_rng_state()
    model.loss(jets.images(slice(2)))
    assert not torch.equal(before, torch.get_rng_state())  # it does draw
    torch.set_rng_state(before)
    base.check_contract(model, jets.images(slice(2)))
    assert torch.equal(before, torch.get_rng_state())


def test_a_network_remembers_its_arguments_and_is_rebuilt_from_them():
    model = Complete(4, (5, 6), name="y")
    assert model.arguments == {"width": 4, "sizes": [5, 6], "name": "y", "scaling": "log"}
    again = base.rebuild(base.description(qg.VAE(latent_dim=5, beta=0.5)))
    assert type(again) is qg.VAE
    assert (again.latent_dim, again.beta) == (5, 0.5)
    assert copy.deepcopy(model).arguments == model.arguments


def test_a_class_that_is_not_defined_here_costs_one_line(tmp_path):
    config = base.description(qg.VAE()) | {"class": "somewhere.Else"}
    with pytest.raises(qg.DataError, match=r"somewhere.Else is not known here: define or import"):
        load_weights(config, tmp_path / "model.safetensors")


def test_unknown_names_cost_one_line():
    with pytest.raises(ValueError, match="no network gan: there are unet, vae"):
        qg.build("gan")
    with pytest.raises(ValueError, match="no recipe slow of vae: there are reference, fast, spars"):
        qg.get_recipe("vae", "slow")
    with pytest.raises(ValueError, match="no scaling linear: there are zscore, log"):
        qg.VAE(scaling="linear")


def test_defaults_are_those_of_a_network_without_noise_and_without_a_sharper_image(jets):
    model, images = Complete(2), jets.images([0, 1])
    assert model.draw_noise(3) is None
    assert model.prepare(jets) is None
    assert not model.generative
    torch.testing.assert_close(model.reconstruct_energy(images), images)
    assert torch.equal(model.sharp(images), model.reconstruct_energy(images))
    assert model.parameter_count() == 4
    ones, zeros = torch.ones(2, 3, 4, 5), torch.zeros(2, 3, 4, 5)
    assert model.error(zeros, 2 * ones).tolist() == [240, 240]
