"""The weights that come with the package (`tests/benchmarks/ship.py` makes them from a run).

Each network is three files in `weights/`: its weights, a card that says what they were trained on,
how, and how good they are, and the numbers of the jets that it has seen.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from qghelpers.data.hdf5 import DataError
from qghelpers.data.jets import JetImages
from qghelpers.networks.base import JetAutoencoder
from qghelpers.training import recipes, runs

WEIGHTS = Path(__file__).parent / "weights"


def pretrained_card(name: str) -> dict[str, Any]:
    """What is known of a shipped network, such as "vae": see `load_pretrained`.

    Returns:
        `network`, `class` and `arguments`; the `recipe`, `seed` and `epochs` of its training; the
        `data`, with the numbers of training and validation jets; the `commands` that made all
        of it; `results`, the table of `evaluate` on `test_jets` other jets; `notes` on what else
        was measured, or tried in vain.

    Raises:
        ValueError: there is no such network.
    """
    path = WEIGHTS / f"{_file_name(name)}.json"
    if not path.is_file():
        known = ", ".join(sorted(path.stem for path in WEIGHTS.glob("*.json")))
        raise ValueError(f"no weights are shipped for {name!r}: there are {known or 'none'}")
    return json.loads(path.read_text("utf-8"))


def _file_name(name: str) -> str:
    """The name of a shipped network's files, also of "VAE" or "unet_masked"."""
    return name.lower().replace("_", "-").replace("u-net", "unet")


def load_pretrained(name: str, device: str | torch.device = "cpu") -> JetAutoencoder:
    """The shipped "vae", "unet", "unet-masked" or "unet-reference", ready to evaluate.

    They were trained on simulated jets. `unet-masked` was shown parts of jets, of which up to nine
    tenths were hidden; `unet-reference` is the plain recipe, which returns little of one pixel in
    four: a lesson.

    Raises:
        ValueError: there is no such network.
        qghelpers.DataError: the installed file is damaged.
    """
    card = pretrained_card(name)
    return runs.load_weights(card, WEIGHTS / f"{_file_name(name)}.safetensors").to(device)


class _Missing(nn.Module):
    """In the place of a decoder that is not shipped."""

    def forward(self, z: Tensor) -> Tensor:
        raise ValueError("of the reference VAE the encoder alone is shipped: train it for images")


def load_reference_encoder() -> JetAutoencoder:
    """The encoder of the reference recipe's VAE, trained in full on the jets of the shipped "vae".

    A control beside that: 30 epochs, a code of 32 numbers. Its weights are kept in half precision
    (`tests/benchmarks/ship.py --encoder-only` makes the file from a run). It cannot decode.

    Raises:
        qghelpers.DataError: the installed file is damaged.
    """
    model = recipes.build("vae", "reference")
    model.from_latent = model.decoder = _Missing()
    path = WEIGHTS / "vae-reference-encoder.safetensors"
    try:
        model.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError) as error:
        why = str(error).splitlines()[0]
        raise DataError(f"{path} is damaged ({why}): install the package again") from error
    return model.eval()


def numbers(jets: JetImages) -> np.ndarray:
    """A number for each jet, uint64 with shape `(n,)`: the bits of its pT and of its mass."""
    columns = np.stack([jets.pt, jets.mass], axis=1).astype("<f4")
    return columns.view("<u8")[:, 0]


def require_unseen(name: str, jets: JetImages) -> None:
    """Stop where a shipped network is to be judged on jets that it has learnt from.

    Raises:
        ValueError: there is no such network.
        qghelpers.DataError: some of the jets were trained on, or chose the best epoch.
    """
    pretrained_card(name)
    seen = int(np.isin(numbers(jets), np.load(WEIGHTS / f"{_file_name(name)}.seen.npy")).sum())
    if seen:
        raise DataError(
            f"{name} was trained on {seen:,} of these {len(jets):,} jets, and cannot be judged by "
            "them: simulate jets of another seed"
        )
