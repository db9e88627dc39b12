"""The recipes: how each network is built and how it is trained.

`reference` is the baseline: the two descriptions that this project started from.
`fast` is this project's own, found by trying on simulated jets: it is judged by the same loss, and
reaches what `reference` ends with in fewer epochs (`benchmark training`); the VAE starts from the
principal components of the jets, the best linear autoencoder, and the U-Net reaches all pixels
alike. Edit `RECIPES` to change it.
`sparse`, of the VAE alone, minimises another loss, made for images of which most pixels are zero.
`masked`, of the U-Net alone, shows it a part of each jet and asks for all of it.
"""

from dataclasses import dataclass, field, replace
from typing import Any

import torch

from qghelpers.networks import base

SCHEDULES = ("cosine", "plateau", "one-cycle")


@dataclass(frozen=True)
class Recipe:
    """How to train.

    Attributes:
        optimizer: a class of `torch.optim`, such as "AdamW".
        lr: learning rate; the largest one of the schedule.
        schedule: "cosine" (down to `lr_min`), "plateau" (a tenth when the validation loss stalls
            for 10 epochs) or "one-cycle" (up to `lr` and down again, step by step).
        epochs: passes over the training jets.
        batch_size: jets in a batch, over all devices together.
        weight_decay: of the optimiser.
        lr_min: learning rate at which "cosine" ends.

    Raises:
        ValueError: there is no such optimiser or schedule, or a number is not positive.
    """

    optimizer: str = "AdamW"
    lr: float = 2e-3
    schedule: str = "one-cycle"
    epochs: int = 10
    batch_size: int = 64
    weight_decay: float = 1e-4
    lr_min: float = 0.0

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "lr"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} is {getattr(self, name)}: it must be above 0")
        if self.schedule not in SCHEDULES:
            raise ValueError(f"no schedule {self.schedule}: there are {', '.join(SCHEDULES)}")
        kind = getattr(torch.optim, self.optimizer, None)
        if not (isinstance(kind, type) and issubclass(kind, torch.optim.Optimizer)):
            raise ValueError(f"no optimizer {self.optimizer} in torch.optim: try AdamW or Adam")


@dataclass(frozen=True)
class Entry:
    """A row of the table: the network, by its name in the registry, and its training."""

    network: str
    training: Recipe
    arguments: dict[str, Any] = field(default_factory=dict)


# (name on the command line, recipe); a registered network without a row has the recipe `fast`
RECIPES = {
    ("unet", "reference"): Entry(
        "unet", Recipe("AdamW", 1e-4, "cosine", 30, 128, weight_decay=1e-4, lr_min=5e-6)
    ),
    ("unet", "fast"): Entry("balanced-unet", Recipe("AdamW", 5e-3, "one-cycle", 5, 32)),
    ("unet", "masked"): Entry(
        "masked-unet",
        Recipe("AdamW", 5e-3, "one-cycle", 5, 32),
        {"mask_ratio": 0.9},
    ),
    ("vae", "reference"): Entry("vae", Recipe("Adam", 1e-3, "plateau", 30, 128, weight_decay=0.0)),
    ("vae", "fast"): Entry("pca-vae", Recipe("AdamW", 2e-3, "one-cycle", 10, 64)),
    ("vae", "sparse"): Entry("sparse-vae", Recipe("AdamW", 2e-3, "one-cycle", 10, 64)),
}


# of each network in the table, for `fit` without a recipe: its own, or instead of `reference` the
# `fast` one of that name; `Recipe()` for all others
DEFAULT_RECIPES = {
    entry.network: RECIPES[name, "fast" if recipe == "reference" else recipe].training
    for (name, recipe), entry in RECIPES.items()
}


def command_name(config: dict[str, Any]) -> str:
    """The network that `train` was given for a run, such as "vae" for a "pca-vae" of `fast`."""
    given = {(entry.network, recipe): name for (name, recipe), entry in RECIPES.items()}
    return given.get((config["network"], config.get("recipe_name")), config["network"])


def networks() -> tuple[str, ...]:
    """Names of all networks that `build` and the command line know."""
    in_table = {entry.network for entry in RECIPES.values()}
    others = (name for name in base.NETWORKS if name not in in_table)
    return tuple(dict.fromkeys([*(network for network, _ in RECIPES), *others]))


def recipe_names(network: str) -> tuple[str, ...]:
    """Names of a network's recipes.

    Raises:
        ValueError: there is no such network.
    """
    network = _name(network)
    if network not in networks():
        raise ValueError(f"no network {network}: there are {', '.join(networks())}")
    return tuple(recipe for name, recipe in RECIPES if name == network) or ("fast",)


def _name(network: str) -> str:
    """A network's name in the registry, however it is written: "U-Net" is "unet"."""
    if network in networks():
        return network
    return {_letters(name): name for name in networks()}.get(_letters(network), network)


def _letters(name: str) -> str:
    """The letters and digits of a name, in lower case, without the word "autoencoder"."""
    return "".join(filter(str.isalnum, name.lower())).removesuffix("autoencoder")


def _entry(network: str, recipe: str) -> Entry:
    network = _name(network)
    if recipe not in recipe_names(network):
        known = ", ".join(recipe_names(network))
        raise ValueError(f"no recipe {recipe} of {network}: there are {known}")
    return RECIPES.get((network, recipe)) or Entry(network, Recipe())


def build(network: str, recipe: str = "fast") -> base.JetAutoencoder:
    """A new, untrained network for this recipe.

    Args:
        network: "vae", "unet" or another registered network.
        recipe: one of its recipes, such as "reference".

    Raises:
        ValueError: there is no such network or recipe.
    """
    entry = _entry(network, recipe)
    return base.NETWORKS[entry.network](**entry.arguments)


def get_recipe(
    network: str, recipe: str = "fast", epochs: int | None = None, **changes: Any
) -> Recipe:
    """How to train this network.

    Args:
        network: "vae", "unet" or another registered network.
        recipe: "fast", "reference", of the VAE "sparse", or of the U-Net "masked".
        epochs: instead of the recipe's.
        changes: other fields of `Recipe`, such as `batch_size`; None leaves the recipe's.

    Raises:
        ValueError: there is no such network or recipe, or a change is not possible.
    """
    entry = _entry(network, recipe)
    changes |= {"epochs": epochs}
    given = {name: value for name, value in changes.items() if value is not None}
    return replace(entry.training, **given)
