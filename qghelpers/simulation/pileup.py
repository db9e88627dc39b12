"""Pile-up: the other proton collisions of a bunch crossing, drawn from a pool that is made once.

Each drawn collision is rotated by a random angle in phi, and mirrored in eta half of the time, so
that some thousands suffice for any number of jets. Out-of-time pile-up is not simulated.
"""

import sys
import zlib
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path

import numpy as np
from joblib import delayed
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from scipy.special import ndtri
from tqdm import tqdm

from qghelpers import data  # its cache, which takes seconds to import, only when it is needed
from qghelpers.data.checks import DataError, reason
from qghelpers.data.hdf5 import replacing
from qghelpers.locks import locked
from qghelpers.simulation import pythia
from qghelpers.simulation.images import ETA_MAX
from qghelpers.simulation.particles import Particles

__all__ = ["BLOCK", "INTERACTIONS", "Pool", "load_pool"]

INTERACTIONS = 5000  # collisions in the pool
BLOCK = 2500  # collisions per random stream; for each stream, Pythia takes 10 s to start
SEED = 8


_COLUMNS = Particles.__dataclass_fields__


@dataclass(frozen=True)
class Pool:
    """Minimum-bias collisions; collision `i` has the particles `starts[i]:starts[i + 1]`."""

    particles: Particles
    starts: np.ndarray

    def __len__(self) -> int:
        return len(self.starts) - 1

    def draw(self, counts: np.ndarray, rng: np.random.Generator, spread: float = 0) -> Particles:
        """The particles of `counts[i]` random collisions for each event `i`.

        They are spread along the beam with a standard deviation of `spread`, in metres. With the
        same `rng`, a larger count for one event only adds collisions.
        """
        event = np.repeat(np.arange(len(counts)), counts)
        pick, turn, mirror, along = rng.random((len(event), 4)).T
        pick = (pick * len(self)).astype(int)
        sizes = self.starts[pick + 1] - self.starts[pick]
        ends = np.cumsum(sizes)
        which = np.repeat(self.starts[pick] - ends + sizes, sizes) + np.arange(sizes.sum())
        drawn = self.particles[which]
        return replace(
            drawn,
            event=np.repeat(event, sizes),
            eta=drawn.eta * np.repeat(np.where(mirror < 0.5, -1, 1), sizes),
            phi=drawn.phi + np.repeat(2 * np.pi * turn, sizes),
            z=np.repeat(spread * ndtri(along), sizes),
        )


def load_pool(run: Callable[[Iterable], Iterable] | None = None) -> Pool:
    """The pool from the user's cache folder or `$QGHELPERS_CACHE`; if missing, it is made first.

    Args:
        run: runs joblib tasks and gives their results in order; by default one after the other.

    Raises:
        ImportError: Pythia8 is not installed.
    """
    pythia.require()
    content = f"{pythia.version()} {INTERACTIONS} {BLOCK} {SEED} {ETA_MAX} {[*_COLUMNS]}"
    name = f"pileup-{blake2b(content.encode(), digest_size=8).hexdigest()}.safetensors"
    if (folder := data.cache.folder_of_user()) is None:
        particles = _make(run)
        _say_not_kept(data.cache.NO_HOME)
    else:
        particles = _kept(folder / name, run)
    return Pool(particles, np.searchsorted(particles.event, np.arange(INTERACTIONS + 1)))


def _kept(path: Path, run: Callable[[Iterable], Iterable] | None) -> Particles:
    """The collisions in the file, which one process makes if it is missing or damaged."""
    if (particles := _read(path)) is not None:
        return particles
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path):
        particles = _read(path)  # made by another process meanwhile
        if particles is None:
            particles = _make(run)
            _write(path, particles)
    return particles


def _make(run: Callable[[Iterable], Iterable] | None) -> Particles:
    """All collisions of the pool, newly simulated; see `load_pool`."""
    what = f"making {INTERACTIONS} minimum-bias collisions for the pile-up"
    tqdm.write(f"{what}, once; it takes half a minute", file=sys.stderr)
    starts = range(0, INTERACTIONS, BLOCK)
    blocks = run(map(delayed(_block), starts)) if run else map(_block, starts)
    return Particles.join(list(blocks))


def _block(start: int) -> Particles:
    """Collisions `start` to `start + BLOCK` of the pool, in single precision."""
    particles = pythia.minimum_bias(BLOCK, SEED + 1 + start)
    particles = particles[np.abs(particles.eta) < ETA_MAX]
    particles = replace(particles, event=particles.event + start)
    dtypes = {"event": np.int32, "pdg": np.int32}
    arrays = vars(particles).items()
    return Particles(**{name: a.astype(dtypes.get(name, np.float32)) for name, a in arrays})


def _read(path: Path) -> Particles | None:
    """The pool in the file; None if it is missing or damaged."""
    try:
        with safe_open(path, "np") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            if file.metadata() == {"checksum": _checksum(arrays)}:
                return Particles(**arrays)
    except (OSError, SafetensorError, TypeError):
        pass
    return None


def _write(path: Path, particles: Particles) -> None:
    """Store the pool; if that cannot be done, say so: it will be made again the next time."""
    arrays = vars(particles)
    try:
        with replacing(path) as temporary:
            save_file(arrays, temporary, {"checksum": _checksum(arrays)})
    except (OSError, DataError, SafetensorError) as error:
        _say_not_kept(f"{path.parent}: {reason(error.__cause__ or error)}")


def _say_not_kept(why: str) -> None:
    tqdm.write(
        f"the collisions cannot be kept ({why}): they are made anew every time; to keep them, set "
        "QGHELPERS_CACHE to a folder that you can write to",
        file=sys.stderr,
    )


def _checksum(arrays: dict[str, np.ndarray]) -> str:
    """The CRC-32 of all arrays, in the order of their names."""
    checksum = 0
    for name in sorted(arrays):
        checksum = zlib.crc32(np.ascontiguousarray(arrays[name]), checksum)
    return str(checksum)
