"""The recipes of each network: how it is built and how it is trained.

`reference` is the baseline: what the documents that this project grew out of describe.
`fast` is this project's own, found by trying on simulated jets: it minimises the same loss, and
reaches what `reference` ends with in fewer epochs (`benchmark training`); the VAE starts from the
principal components of the jets, the best linear autoencoder. Change it here.
`sparse`, of the VAE alone, minimises another loss, made for images of which most pixels are zero.
`hidden`, of the U-Net alone, shows it a tenth of each jet and asks for all of it.
"""

from dataclasses import dataclass, replace
from typing import Any

from torch import nn

from qghelpers.networks.unet import UNetAutoencoder
from qghelpers.networks.vae import VAE

NETWORKS: dict[str, type[nn.Module]] = {"vae": VAE, "unet": UNetAutoencoder}


@dataclass(frozen=True)
class Recipe:
    """How to train: an optimiser of `torch.optim`, a schedule of its learning rate, sizes.

    `schedule` is "cosine" (down to `lr_min`), "plateau" (a tenth when the validation loss
    stalls for 10 epochs) or "one-cycle" (up to `lr` and down again, step by step).
    """

    optimizer: str
    lr: float
    schedule: str
    epochs: int
    batch_size: int
    weight_decay: float = 0.0
    lr_min: float = 0.0


@dataclass(frozen=True)
class _Entry:
    network: dict[str, Any]
    training: Recipe


_TABLE = {
    ("unet", "reference"): _Entry(
        network={"scaling": "zscore"},
        training=Recipe("AdamW", 1e-4, "cosine", 30, 128, weight_decay=1e-4, lr_min=5e-6),
    ),
    ("unet", "fast"): _Entry(
        network={"scaling": "zscore"},
        training=Recipe("AdamW", 5e-3, "one-cycle", 5, 32, weight_decay=1e-4),
    ),
    ("unet", "hidden"): _Entry(
        network={"scaling": "zscore", "hidden": 0.9},
        training=Recipe("AdamW", 5e-3, "one-cycle", 5, 32, weight_decay=1e-4),
    ),
    ("vae", "reference"): _Entry(
        network={"scaling": "zscore", "resize": "bilinear", "beta": 1.0, "bounded": False},
        training=Recipe("Adam", 1e-3, "plateau", 30, 128),
    ),
    ("vae", "fast"): _Entry(
        network={"scaling": "zscore", "resize": "pad", "zero_init": True, "principal": True},
        training=Recipe("AdamW", 2e-3, "one-cycle", 10, 64, weight_decay=1e-4),
    ),
    ("vae", "sparse"): _Entry(
        network={
            "scaling": "log",
            "body": "towers",
            "widths": (64, 192),
            "likelihood": "hurdle",
            "zero_init": True,
            "components": 10,
        },
        training=Recipe("AdamW", 2e-3, "one-cycle", 10, 64, weight_decay=1e-4),
    ),
}


def build(network: str, recipe: str = "fast") -> nn.Module:
    """A fresh network ("vae" or "unet") as this recipe, such as "reference", has it."""
    return NETWORKS[network](**_entry(network, recipe).network)


def get_recipe(
    network: str, recipe: str = "fast", epochs: int | None = None, **changes: Any
) -> Recipe:
    """How to train this network.

    Args:
        network: "vae" or "unet".
        recipe: "fast", "reference", of the VAE "sparse", or of the U-Net "hidden".
        epochs: instead of the recipe's.
        changes: other fields of `Recipe`, such as `batch_size`; None leaves the recipe's.

    Raises:
        ValueError: there is no such recipe, or `epochs`, `batch_size` or `lr` is not positive.
    """
    entry = _entry(network, recipe)
    changes |= {"epochs": epochs}
    for name in ("epochs", "batch_size", "lr"):
        if changes.get(name) is not None and not changes[name] > 0:
            raise ValueError(f"{name} is {changes[name]}: it must be above 0")
    given = {name: value for name, value in changes.items() if value is not None}
    return replace(entry.training, **given)


def _entry(network: str, recipe: str) -> _Entry:
    if (network, recipe) not in _TABLE:
        known = ", ".join(" ".join(names) for names in _TABLE)
        raise ValueError(f"no recipe {network} {recipe}: there are {known}")
    return _TABLE[network, recipe]


def name_of(model: nn.Module) -> str:
    """The name by which the table knows this network."""
    return next(name for name, network in NETWORKS.items() if isinstance(model, network))
