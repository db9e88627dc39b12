"""The recipes are a table: what each name builds, and how it is trained."""

import pytest
import torch

import qghelpers as qg
from qghelpers.networks import base
from qghelpers.networks.pca import PCAVAE
from qghelpers.networks.sparse_vae import SparseVAE
from qghelpers.networks.unet import BalancedUNet, MaskedUNet
from qghelpers.training import recipes

FAST_UNET = qg.Recipe("AdamW", 5e-3, "one-cycle", 5, 32, weight_decay=1e-4, lr_min=0)
FAST_VAE = qg.Recipe("AdamW", 2e-3, "one-cycle", 10, 64, weight_decay=1e-4, lr_min=0)
TABLE = {
    ("unet", "reference"): (
        qg.UNetAutoencoder,
        qg.Recipe("AdamW", 1e-4, "cosine", 30, 128, 1e-4, 5e-6),
    ),
    ("unet", "fast"): (BalancedUNet, FAST_UNET),
    ("unet", "masked"): (MaskedUNet, FAST_UNET),
    ("vae", "reference"): (qg.VAE, qg.Recipe("Adam", 1e-3, "plateau", 30, 128, 0.0, 0.0)),
    ("vae", "fast"): (PCAVAE, FAST_VAE),
    ("vae", "sparse"): (SparseVAE, FAST_VAE),
}


@pytest.mark.parametrize(("network", "recipe"), TABLE)
def test_each_name_builds_and_trains_what_the_table_says(network, recipe):
    cls, training = TABLE[network, recipe]
    assert type(qg.build(network, recipe)) is cls
    assert qg.get_recipe(network, recipe) == training


def test_the_arguments_of_a_row_reach_the_network():
    assert qg.build("unet", "masked").mask_ratio == 0.9
    assert (qg.build("vae", "reference").latent_dim, qg.build("vae", "reference").beta) == (32, 1)
    assert isinstance(qg.build("vae", "reference").scaling, qg.ZScore)
    assert isinstance(qg.build("vae", "sparse").scaling, qg.LogScale)


def test_the_recipe_is_fast_unless_named():
    assert type(qg.build("vae")) is PCAVAE
    assert qg.get_recipe("vae") == FAST_VAE
    assert qg.get_recipe("unet", epochs=2) == qg.Recipe("AdamW", 5e-3, "one-cycle", 2, 32)


def test_names_are_listed_in_the_order_of_the_table():
    shown = recipes.networks()
    assert shown[:2] == ("unet", "vae")
    assert not {"pca-vae", "sparse-vae", "masked-unet"} & set(shown)
    assert recipes.recipe_names("unet") == ("reference", "fast", "masked")
    assert recipes.recipe_names("vae") == ("reference", "fast", "sparse")
    for call in (recipes.recipe_names, qg.build, qg.get_recipe):
        with pytest.raises(ValueError, match="no network gan: there are unet, vae"):
            call("gan")
    for call in (qg.build, qg.get_recipe):
        with pytest.raises(ValueError, match="no recipe masked of vae: there are reference, fast"):
            call("vae", "masked")


def test_a_registered_network_without_a_row_has_the_recipe_fast(monkeypatch):
    monkeypatch.setitem(base.NETWORKS, "mine", qg.UNetAutoencoder)
    assert recipes.networks()[-1] == "mine"
    assert recipes.recipe_names("mine") == ("fast",)
    assert qg.get_recipe("mine") == qg.Recipe() == FAST_VAE
    assert type(qg.build("mine")) is qg.UNetAutoencoder


@pytest.mark.parametrize("name", ["lr", "weight_decay", "batch_size", "epochs", "lr_min"])
def test_a_change_changes_one_field_and_none_leaves_it(name):
    before = vars(qg.get_recipe("unet", "reference"))
    after = vars(qg.get_recipe("unet", "reference", **{name: 3}))
    assert after == before | {name: 3}
    assert vars(qg.get_recipe("unet", "reference", **{name: None})) == before
    if name in ("weight_decay", "lr_min"):
        assert vars(qg.get_recipe("unet", "reference", **{name: 0.0}))[name] == 0


@pytest.mark.parametrize("name", ["epochs", "batch_size", "lr"])
@pytest.mark.parametrize("value", [0, -1, float("nan")])
def test_what_has_to_be_positive_is(name, value):
    with pytest.raises(ValueError, match=f"{name} is {value}: it must be above 0"):
        qg.Recipe(**{name: value})


def test_optimizers_and_schedules_are_those_that_exist():
    for schedule in ("cosine", "plateau", "one-cycle"):
        assert qg.Recipe(schedule=schedule).schedule == schedule
    with pytest.raises(ValueError, match="no schedule step: there are cosine, plateau, one-cycle"):
        qg.Recipe(schedule="step")
    for wrong in ("Adams", "lr_scheduler", "Tensor"):
        with pytest.raises(ValueError, match=f"no optimizer {wrong} in torch.optim"):
            qg.Recipe(optimizer=wrong)
    assert issubclass(getattr(torch.optim, qg.Recipe(optimizer="SGD").optimizer), torch.optim.SGD)


@pytest.mark.parametrize(
    ("network", "recipe", "name"),
    [
        ("pca-vae", "fast", "vae"),
        ("sparse-vae", "sparse", "vae"),
        ("masked-unet", "masked", "unet"),
        ("vae", "reference", "vae"),
        ("pca-vae", None, "pca-vae"),
        ("sparse-vae", "fast", "sparse-vae"),
        ("mine", "fast", "mine"),
    ],
)
def test_a_run_is_called_by_what_the_command_line_was_given(network, recipe, name):
    config = {"network": network} | ({"recipe_name": recipe} if recipe else {})
    assert recipes.command_name(config) == name


@pytest.mark.parametrize(
    ("network", "expected"),
    [
        ("unet", FAST_UNET),
        ("masked-unet", FAST_UNET),
        ("pca-vae", FAST_VAE),
        ("sparse-vae", FAST_VAE),
        ("vae", FAST_VAE),
        ("mine", None),
    ],
)
def test_fit_without_a_recipe_takes_the_networks_fast_one(network, expected):
    assert recipes.DEFAULT_RECIPES.get(network) == expected
