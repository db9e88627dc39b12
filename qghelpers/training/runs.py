"""Run folders: what a training leaves behind, written so that a crash spoils nothing.

| file | holds |
|---|---|
| `config.json` | what was trained how, and on which jets |
| `history.csv` | how it went, a row for each epoch |
| `model.safetensors` | the weights after the last epoch, and whose they are |
| `best.safetensors` | those of the epoch with the lowest validation loss |
| `last.ckpt` | all that a resume needs, from an epoch's end or its middle |
| `previous.ckpt` | the one before, in case the last is damaged |
"""

import csv
import hashlib
import io
import json
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from safetensors.torch import save as as_safetensors
from tqdm import tqdm

from qghelpers.data.hdf5 import DataError, reason, rename, replacing
from qghelpers.networks.base import JetAutoencoder, rebuild
from qghelpers.training import owners

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from qghelpers.training.loop import Training

History = list[dict[str, float]]  # a row for each epoch
PARTS = ("model", "optimizer", "scheduler")  # of a training, that have a state of their own
PROGRESS = ("history", "batch", "sums", "seconds", "random")  # what else changes in it
MARK = b"\nsha256:"  # follows what torch.save wrote, which torch.load does not check
RESULTS = (
    "history.csv",
    "model.safetensors",
    "best.safetensors",
    "last.ckpt",
    "previous.ckpt",
    "metrics.json",
)


def on_first_process(fabric: "Fabric", action: Callable[..., None], *args: Any) -> None:
    """Let the first process write, while the others wait; if it fails, all fail alike."""
    error = None
    if fabric.global_rank == 0:
        try:
            action(*args)
        except (DataError, FloatingPointError) as caught:
            error = caught
    if fabric.world_size > 1:
        error = fabric.broadcast(error)
    if error is not None:
        raise error


def _replace(path: Path, write: Callable[[Path], Any]) -> None:
    with replacing(path) as temporary:
        write(temporary)


def start(folder: Path, config: dict[str, Any], overwrite: bool = True) -> None:
    """Remove an earlier training's results, if allowed to, and write `config.json`."""
    if not overwrite:
        refuse_to_overwrite(folder)
    for name in RESULTS:  # before the new configuration, with which they could be taken up
        (folder / name).unlink(missing_ok=True)
    write_json(folder / "config.json", config)


def refuse_to_overwrite(folder: Path) -> None:
    """Raise `qghelpers.DataError` if the folder holds a training."""
    if any((folder / name).exists() for name in ("last.ckpt", "previous.ckpt")):
        raise DataError(
            f"{folder} holds a training already: --resume goes on with it, --overwrite replaces it"
        )


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Write `content` to `path`, whole or not at all."""
    _replace(path, lambda p: p.write_text(json.dumps(content, indent=2) + "\n", "utf-8"))


def weights_of(model: JetAutoencoder, identity: dict[str, str] | None = None) -> bytes:
    """All that the network has learnt, its scaling included, as a safetensors file holds it.

    The identity is one line of JSON: of several entries, safetensors keeps no order.
    """
    tensors = {name: tensor.contiguous().cpu() for name, tensor in model.state_dict().items()}
    about = None if identity is None else {"training": json.dumps(identity, sort_keys=True)}
    return as_safetensors(tensors, about)


def save_epoch(
    folder: Path, model: JetAutoencoder, history: History, config: dict[str, Any] | None = None
) -> None:
    """Save an epoch's end: the history, the weights, and the best ones if these are."""
    losses = [row["validation_loss"] for row in history]
    content = weights_of(model, None if config is None else owners.identity(config, history))
    # The history first: weights are checked with it
    _replace(folder / "history.csv", lambda p: _write_csv(p, history))
    _replace(folder / "model.safetensors", lambda p: p.write_bytes(content))
    if losses[-1] == min(losses):
        _replace(folder / "best.safetensors", lambda p: p.write_bytes(content))


def _write_csv(path: Path, history: History) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, history[0])
        writer.writeheader()
        writer.writerows(history)


def read_config(folder: str | Path) -> dict[str, Any]:
    """The `config.json` of a run.

    Raises:
        qghelpers.DataError: there is none, or it is damaged.
    """
    path = Path(folder) / "config.json"
    try:
        return json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise DataError(
            f"{folder} is no run folder ({path.name}: {error.strerror}): "
            "give the folder named to `train --out`"
        ) from error
    except ValueError as error:
        raise DataError(f"{path} is damaged ({error}): train again") from error


def read_history(folder: str | Path) -> History:
    """The `history.csv` of a run, a dictionary for each epoch; empty if there is none yet.

    Raises:
        qghelpers.DataError: it is damaged.
    """
    path = Path(folder) / "history.csv"
    if not path.is_file():
        return []
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return [{key: float(row[key]) for key in row} for row in csv.DictReader(file)]
    except (ValueError, TypeError) as error:
        raise DataError(f"{path} is damaged ({error}): train again") from error


def load_run(folder: str | Path, which: str = "last") -> JetAutoencoder:
    """The trained network of a run, with its scaling, on the CPU, ready to evaluate.

    Args:
        folder: of the run.
        which: "last" for the weights of the last epoch, "best" for those of the epoch with the
            lowest validation loss.

    Raises:
        qghelpers.DataError: this is no run folder, or its files are damaged, or of two trainings.
    """
    files = {"last": "model.safetensors", "best": "best.safetensors"}
    config, path = read_config(folder), Path(folder) / files[which]
    owners.check(path, config, read_history(folder))
    return load_weights(config, path)


def load_weights(config: dict[str, Any], path: Path) -> JetAutoencoder:
    """The network that `config` describes, with the weights in `path`, on the CPU.

    Raises:
        qghelpers.DataError: they are damaged, or another network's.
    """
    try:
        model = rebuild(config)
        model.load_state_dict(load_file(path))
    except FileNotFoundError as error:
        raise DataError(f"{path} does not exist: no epoch of that training has ended") from error
    except (OSError, SafetensorError, RuntimeError, LookupError, TypeError) as error:
        why = str(error).splitlines()[0]
        raise DataError(f"{path} does not hold this network ({why}): train again") from error
    return model.eval()


def refuse_if_taken(folder: Path, config: dict[str, Any] | None) -> None:
    """Raise a DataError if another training has begun there, which is possible without locks."""
    if config is not None and owners.digest(read_config(folder)) != owners.digest(config):
        raise DataError(f"another training has taken {folder}: choose another folder for this one")


def state_of(training: "Training", config: dict[str, Any] | None = None) -> dict[str, Any]:
    """All that is needed to go on from here, as tensors and plain values."""
    parts = {name: getattr(training, name).state_dict() for name in PARTS}
    progress = {name: getattr(training, name) for name in PROGRESS}
    whose = {} if config is None else {"config": owners.digest(config)}
    return parts | progress | whose | {"engine": training.engine.measured_choices()}


def load_state(training: "Training", state: dict[str, Any]) -> None:
    """Restore a saved state, that of PyTorch's random numbers included."""
    for name in PARTS:
        getattr(training, name).load_state_dict(state[name])
    for name in PROGRESS:
        setattr(training, name, state[name])
    torch.set_rng_state(training.random)


def save_checkpoint(folder: Path, state: dict[str, Any]) -> None:
    """Save all that a resume needs, and keep the one before."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getbuffer()
    last = folder / "last.ckpt"
    with replacing(last) as temporary:
        with temporary.open("wb") as file:
            file.write(content)
            file.write(MARK + hashlib.sha256(content).hexdigest().encode())
        if last.is_file():
            rename(last, folder / "previous.ckpt")


def load_checkpoint(folder: Path) -> dict[str, Any] | None:
    """What `last.ckpt` holds, or if it is damaged `previous.ckpt`; None if there is neither.

    Tensors and plain values only, so that loading cannot run code. A damaged `last.ckpt` is
    removed if the other can be read.

    Raises:
        qghelpers.DataError: there are checkpoints, but all are damaged.
    """
    damage = []
    for name in ("last.ckpt", "previous.ckpt"):
        path = folder / name
        if not path.is_file():
            continue
        try:
            state = _read_checkpoint(path)
        except Exception as error:
            damage.append(f"{path} cannot be resumed ({reason(error)})")
        else:
            if damage:
                tqdm.write(f"{damage[0]}: going on from {name}, the one before", file=sys.stderr)
                with suppress(OSError):  # else the next save would put it in this one's place
                    (folder / "last.ckpt").unlink()
            return state
    if damage:
        raise DataError(f"{'; '.join(damage)}: train without --resume")
    return None


def _read_checkpoint(path: Path) -> dict[str, Any]:
    content, mark, digest = path.read_bytes().rpartition(MARK)
    if not mark or hashlib.sha256(content).hexdigest().encode() != digest:
        raise ValueError("it is not what was written")
    return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)


def load_resume_state(folder: str | Path | None, config: dict[str, Any]) -> dict[str, Any] | None:
    """The state that a training of this configuration was left in; None if none was saved.

    Raises:
        ValueError: no folder is given.
        qghelpers.DataError: the folder holds another training, or nothing that can be read.
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
    state = load_checkpoint(folder)
    if state is not None and state.get("config") not in (None, owners.digest(found)):
        raise DataError(f"{folder} has another training's checkpoint: train with --overwrite")
    return state


def is_unfinished(folder: str | Path | None, config: dict[str, Any]) -> bool:
    """Whether the folder holds a training of this very configuration that has epochs to go."""
    begun = folder is not None and (Path(folder) / "config.json").exists()
    epochs = config["recipe"]["epochs"]
    return begun and read_config(folder) == config and len(read_history(folder)) < epochs


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
