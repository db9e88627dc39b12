"""Whose a run folder is: one training at a time, and files that are of the same training."""

import hashlib
import json
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from qghelpers.data.hdf5 import DataError, reason
from qghelpers.locks import locked

TIMES = ("seconds", "images_per_second")  # in the history: the same training takes another time


def hold(folder: Path, stack: ExitStack) -> None:
    """Make the folder, and keep other trainings out of it until the stack is closed.

    Raises:
        qghelpers.DataError: another training is at work there, or it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        stack.enter_context(locked(folder / "training", wait=False))
    except BlockingIOError:
        raise DataError(
            f"another training is at work in {folder}: wait for its end, or choose another folder"
        ) from None
    except OSError as error:
        raise DataError(f"{folder} cannot be made ({reason(error)}): choose another") from error


def identity(config: dict[str, Any], history: list[dict[str, float]]) -> dict[str, str]:
    """What ties weights to their configuration and to the epochs that made them, as text."""
    rows = [{name: float(row[name]) for name in row if name not in TIMES} for row in history]
    return {"config": digest(config), "history": digest(rows), "epochs": str(len(rows))}


def digest(content: Any) -> str:
    """A short hash of plain values."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def check(weights: Path, config: dict[str, Any], history: list[dict[str, float]]) -> None:
    """Compare weights with the configuration and the history beside them.

    The history may have later epochs, or be missing. Weights of earlier versions do not tell whose
    they are; those that cannot be read are left to whoever loads them.

    Raises:
        qghelpers.DataError: they are not of the same training.
    """
    told = {}
    with suppress(OSError, SafetensorError), safe_open(weights, "pt") as file:
        told = json.loads((file.metadata() or {}).get("training", "{}"))
    found = identity(config, history[: int(told.get("epochs", 0))])
    for part, name in (("config", "config.json"), ("history", "history.csv")):
        if part in told and told[part] != found[part] and (history or part == "config"):
            raise DataError(
                f"{weights} and {name} are not of the same training: two wrote into this folder, "
                "or one of the files was changed: train again, into a folder of its own"
            )
