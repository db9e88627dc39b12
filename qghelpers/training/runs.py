"""Run folders: what a training leaves behind, written so that a crash spoils nothing.

| file | holds |
|---|---|
| `config.json` | what was trained how, and on which jets |
| `history.csv` | how it went, a row for each epoch |
| `model.safetensors` | the weights of the last epoch's end and nothing else |
| `best.safetensors` | those of the epoch with the lowest validation loss |
| `last.ckpt` | all that a resume needs, from an epoch's end or its middle |
| `previous.ckpt` | the one before, in case the last is damaged |
"""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as as_safetensors
from torch import nn

from qghelpers.data.files import DataError, replacing
from qghelpers.training import checkpoints
from qghelpers.training.recipes import NETWORKS

History = list[dict[str, float]]
RESULTS = (
    "history.csv",
    "model.safetensors",
    "best.safetensors",
    "last.ckpt",
    "previous.ckpt",
    "metrics.json",
)


def _replace(path: Path, write: Callable[[Path], Any]) -> None:
    with replacing(path) as temporary:
        write(temporary)


def start(folder: Path, config: dict[str, Any]) -> None:
    """Make the folder, without an earlier training's results, and write its `config.json`."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{folder} cannot be made ({error.strerror}): choose another") from error
    sweep(folder)
    for name in RESULTS:  # before the new configuration, with which they could be taken up
        (folder / name).unlink(missing_ok=True)
    write_json(folder / "config.json", config)


def sweep(folder: Path) -> None:
    """Remove what a killed process has left half written."""
    for path in folder.glob(".*.part"):
        path.unlink(missing_ok=True)


def refuse_to_overwrite(folder: Path) -> None:
    """Raise `DataError` if the folder holds a training."""
    if any((folder / name).exists() for name in ("last.ckpt", "previous.ckpt")):
        raise DataError(
            f"{folder} holds a training already: --resume goes on with it, --overwrite replaces it"
        )


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write `content` to `path`, whole or not at all."""
    _replace(path, lambda p: p.write_text(json.dumps(content, indent=2) + "\n"))


def weights_of(model: nn.Module) -> bytes:
    """All that the network has learnt, its scaling included, as a safetensors file holds it."""
    tensors = {name: tensor.contiguous().cpu() for name, tensor in model.state_dict().items()}
    return as_safetensors(tensors)


def save_epoch(folder: Path, model: nn.Module, history: History) -> None:
    """Save an epoch's end: the weights, the best ones if these are, and the history."""
    losses = [row["validation_loss"] for row in history]
    names = ["model.safetensors"] + ["best.safetensors"] * (losses[-1] == min(losses))
    content = weights_of(model)
    for name in names:
        _replace(folder / name, lambda p: p.write_bytes(content))
    _replace(folder / "history.csv", lambda p: _write_csv(p, history))


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


def load_run(folder: str | Path, which: str = "last") -> nn.Module:
    """The trained network of a run, with its scaling, on the CPU, ready to evaluate.

    Args:
        folder: of the run.
        which: "last" for the weights of the last epoch, "best" for those of the epoch with the
            lowest validation loss.

    Raises:
        DataError: this is no run folder, or its files are damaged.
    """
    files = {"last": "model.safetensors", "best": "best.safetensors"}
    return load_weights(read_config(folder), Path(folder) / files[which])


def load_weights(config: dict[str, Any], path: Path) -> nn.Module:
    """The network that `config` describes, with the weights in `path`, on the CPU.

    Raises:
        DataError: they are damaged, or another network's.
    """
    try:
        model = NETWORKS[config["network"]](**config["arguments"])
        model.load_state_dict(load_file(path))
    except (OSError, SafetensorError, RuntimeError, KeyError, TypeError) as error:
        why = str(error).splitlines()[0]
        raise DataError(f"{path} does not hold this network ({why}): train again") from error
    return model.eval()


def resumed(folder: str | Path | None, config: dict[str, Any]) -> dict[str, Any] | None:
    """The state that a training of this configuration was left in; None if none was saved.

    Raises:
        ValueError: no folder is given.
        DataError: the folder holds another training, or nothing that can be read.
    """
    if folder is None:
        raise ValueError("resume needs the run folder: pass out=")
    folder = Path(folder)
    if not (folder / "config.json").exists():
        return None
    found = read_config(folder)
    if found != config:
        raise DataError(
            f"{folder} holds another training ({'; '.join(_differences(found, config))}): "
            "give the folder, network, data and options that go together"
        )
    return checkpoints.load(folder)


def _differences(found: dict[str, Any], wanted: dict[str, Any]) -> list[str]:
    """Which entries differ, the most telling one first and in few words."""
    if found.get("network") != wanted["network"]:
        return [f"of a {found.get('network')}, not a {wanted['network']}"]
    if found.get("source") != wanted["source"]:
        return ["of other jets"]
    names = [name for name in wanted if found.get(name) != wanted[name]]
    different = []
    for name in names:
        old, new = found.get(name), wanted[name]
        if isinstance(old, dict) and isinstance(new, dict):
            parts = [key for key in new if old.get(key) != new[key]]
            different += [f"{name} {key} {old.get(key)}, not {new[key]}" for key in parts]
        else:
            different.append(f"{name} {old}, not {new}")
    return different or [f"{name} {found[name]}" for name in found if name not in wanted]
