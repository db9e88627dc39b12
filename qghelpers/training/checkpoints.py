"""Checkpoints: all that a training needs in order to go on, and the one before, checked."""

import hashlib
import io
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from qghelpers.data.files import DataError, reason, replacing

MARK = b"\nsha256:"  # follows what torch.save wrote, which torch.load does not check


def save(folder: Path, state: dict[str, Any]) -> None:
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
            last.replace(folder / "previous.ckpt")


def load(folder: Path) -> dict[str, Any] | None:
    """What `last.ckpt` holds, or if it is damaged `previous.ckpt`; None if there is neither.

    Tensors and plain values only, so no code can hide in it. A damaged `last.ckpt` is removed if
    the other can be read.

    Raises:
        DataError: there are checkpoints, but all are damaged.
    """
    damage = []
    for name in ("last.ckpt", "previous.ckpt"):
        path = folder / name
        if not path.is_file():
            continue
        try:
            state = _read(path)
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


def _read(path: Path) -> dict[str, Any]:
    content, mark, digest = path.read_bytes().rpartition(MARK)
    if not mark or hashlib.sha256(content).hexdigest().encode() != digest:
        raise ValueError("it is not what was written")
    return torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
