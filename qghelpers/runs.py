"""Run folders: what a training leaves behind, written so that a crash spoils nothing.

`config.json` says what was trained how and on which jets, `history.csv` how it went,
`model.safetensors` holds the weights and nothing else, `last.ckpt` all that a resume needs.
"""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from qghelpers.files import DataError, replacing
from qghelpers.recipes import NETWORKS

History = list[dict[str, float]]


def _replace(path: Path, write: Callable[[Path], None]) -> None:
    with replacing(path) as temporary:
        write(temporary)


def start(folder: Path, config: dict[str, Any]) -> None:
    """Make the folder, without an earlier training's results, and write its `config.json`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{folder} cannot be made ({error.strerror}): choose another") from error
    for name in ("history.csv", "model.safetensors", "last.ckpt", "metrics.json"):
        (folder / name).unlink(missing_ok=True)
    write_json(folder / "config.json", config)


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write `content` to `path`, whole or not at all."""
    _replace(path, lambda p: p.write_text(json.dumps(content, indent=2) + "\n"))


def save(folder: Path, model: nn.Module, state: dict[str, Any], history: History) -> None:
    """Save an epoch's end: the checkpoint last, so that what it says is already on disk."""
    weights = {name: tensor.contiguous().cpu() for name, tensor in model.state_dict().items()}
    _replace(folder / "model.safetensors", lambda p: save_file(weights, p))
    _replace(folder / "history.csv", lambda p: _write_csv(p, history))
    _replace(folder / "last.ckpt", lambda p: torch.save(state, p))


def _write_csv(path: Path, history: History) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, history[0])
        writer.writeheader()
        writer.writerows(history)


def read_config(folder: str | Path) -> dict[str, Any]:
    """The `config.json` of a run.

    Raises:
        DataError: there is none, or it is damaged.
    """
    path = Path(folder) / "config.json"
    try:
        return json.loads(path.read_text())
    except OSError as error:
        raise DataError(
            f"{folder} is no run folder ({path.name}: {error.strerror}): "
            "give the folder named to `train --out`"
        ) from error
    except ValueError as error:
        raise DataError(f"{path} is damaged ({error}): train again") from error


def read_history(folder: str | Path) -> History:
    """The `history.csv` of a run, a dictionary for each epoch; empty if there is none yet."""
    path = Path(folder) / "history.csv"
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


def is_finished(folder: str | Path, config: dict[str, Any]) -> bool:
    """Whether the folder holds a completed training of exactly this configuration."""
    folder = Path(folder)
    return (
        (folder / "config.json").is_file()
        and (folder / "model.safetensors").is_file()
        and read_config(folder) == config
        and len(read_history(folder)) == config["recipe"]["epochs"]
    )


def load_run(folder: str | Path) -> nn.Module:
    """The trained network of a run, with its scaling, on the CPU, ready to evaluate.

    Raises:
        DataError: this is no run folder, or its files are damaged.
    """
    config = read_config(folder)
    path = Path(folder) / "model.safetensors"
    try:
        model = NETWORKS[config["network"]](**config["arguments"])
        model.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError, KeyError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise DataError(f"{path} does not hold this network ({reason}): train again") from error
    return model.eval()


def load_checkpoint(folder: Path) -> dict[str, Any]:
    """What `last.ckpt` holds; tensors and plain values only, so no code can hide in it."""
    path = folder / "last.ckpt"
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        reason = (str(error) or type(error).__name__).splitlines()[0]
        raise DataError(f"{path} cannot be resumed ({reason}): train without --resume") from error
