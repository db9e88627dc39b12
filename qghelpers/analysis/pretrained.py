"""The weights that come with the package, and how they are made from a run.

Each network is two files in `qghelpers/weights/`: its weights, and a card that says what they
were trained on, how, and how good they are.
"""

import json
from pathlib import Path
from typing import Any

import torch
from torch import nn

from qghelpers.analysis import latent
from qghelpers.data.files import DataError, replacing
from qghelpers.data.jets import JetImages
from qghelpers.networks.vae import VAE
from qghelpers.training import runs

WEIGHTS = Path(__file__).parent / "weights"


def pretrained_card(name: str) -> dict[str, Any]:
    """What is known of the shipped network "vae", "unet" or "unet-hidden".

    Returns:
        `network` and its `arguments`; the `recipe`, `seed` and `epochs` of its training; the
        `data`, with the numbers of training and validation jets; the `commands` that made all
        of it; `results`, the table of `qghelpers.metrics.compare` on `test_jets` other jets.

    Raises:
        ValueError: there is no such network.
    """
    path = WEIGHTS / f"{name}.json"
    if not path.is_file():
        known = ", ".join(sorted(path.stem for path in WEIGHTS.glob("*.json")))
        raise ValueError(f"no weights are shipped for {name!r}: there are {known or 'none'}")
    return json.loads(path.read_text())


def load_pretrained(name: str, device: str | torch.device = "cpu") -> nn.Module:
    """The shipped "vae", "unet" or "unet-hidden", trained on simulated jets, ready to evaluate.

    The last has learnt to complete jets of which nine tenths are hidden (recipe "hidden").

    Raises:
        ValueError: there is no such network.
        files.DataError: the installed file is damaged.
    """
    card = pretrained_card(name)
    return runs.load_weights(card, WEIGHTS / f"{name}.safetensors").to(device)


def ship(
    run: str | Path, train: JetImages, commands: list[str], name: str, folder: Path = WEIGHTS
) -> Path:
    """Turn a finished and evaluated run into weights that come with the package.

    Args:
        run: folder of the run, with the `metrics.json` of `qghelpers.evaluation.evaluate`.
        train: the jets that it was trained on, to which the prior of a VAE is fitted.
        commands: that made data, run and metrics, in order; they go into the card.
        name: for `load_pretrained`.
        folder: where to put the two files.

    Returns:
        The card's path.

    Raises:
        files.DataError: the run is not evaluated.
    """
    run = Path(run)
    config = runs.read_config(run)
    try:
        metrics = json.loads((run / "metrics.json").read_text())
    except OSError as error:
        raise DataError(f"{run} is not evaluated: run `python -m qghelpers evaluate`") from error
    kept = ("network", "arguments", "recipe_name", "recipe", "seed")
    card = {key: config[key] for key in kept if key in config} | {
        "data": {part: config[part]["jets"] for part in ("train", "validation")},
        "epochs": len(runs.read_history(run)),
        "commands": commands,
        "test_jets": metrics["test_jets"],
        "results": metrics["table"],
    }
    folder.mkdir(exist_ok=True)
    model = runs.load_run(run)
    if isinstance(model, VAE):
        latent.fit_prior(model, train)
    with replacing(folder / f"{name}.safetensors") as temporary:
        temporary.write_bytes(runs.weights_of(model))
    path = folder / f"{name}.json"
    runs.write_json(path, card)
    return path
