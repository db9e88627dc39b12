"""The weights that come with the package (`tests/benchmarks/ship.py` makes them from a run).

Each network is two files in `weights/`: its weights, and a card that says what they were trained
on, how, and how good they are.
"""

import json
from pathlib import Path
from typing import Any

import torch

from qghelpers.networks.base import JetAutoencoder
from qghelpers.training import runs

WEIGHTS = Path(__file__).parent / "weights"


def pretrained_card(name: str) -> dict[str, Any]:
    """What is known of the shipped network "vae", "unet" or "unet-masked".

    Returns:
        `network`, `class` and `arguments`; the `recipe`, `seed` and `epochs` of its training; the
        `data`, with the numbers of training and validation jets; the `commands` that made all
        of it; `results`, the table of `qghelpers.metrics.compare` on `test_jets` other jets.

    Raises:
        ValueError: there is no such network.
    """
    path = WEIGHTS / f"{name}.json"
    if not path.is_file():
        known = ", ".join(sorted(path.stem for path in WEIGHTS.glob("*.json")))
        raise ValueError(f"no weights are shipped for {name!r}: there are {known or 'none'}")
    return json.loads(path.read_text("utf-8"))


def load_pretrained(name: str, device: str | torch.device = "cpu") -> JetAutoencoder:
    """The shipped "vae", "unet" or "unet-masked", trained on simulated jets, ready to evaluate.

    The last has learnt to complete jets of which nine tenths are hidden (recipe "masked").

    Raises:
        ValueError: there is no such network.
        qghelpers.DataError: the installed file is damaged.
    """
    card = pretrained_card(name)
    return runs.load_weights(card, WEIGHTS / f"{name}.safetensors").to(device)
