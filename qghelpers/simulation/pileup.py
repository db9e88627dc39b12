"""Pile-up: the other proton collisions of a bunch crossing, drawn from a pool made once.

Each drawn collision is turned by a random angle in phi, and mirrored in eta half of the time, so
that a pool of some thousands does for any number of jets. Out-of-time pile-up and the spread of
the vertices along the beam are left out.
"""

import os
import sys
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from hashlib import blake2b
from pathlib import Path

import numpy as np
from joblib import delayed
from platformdirs import user_cache_path
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from tqdm import tqdm

from qghelpers.data.hdf5 import DataError, replacing
from qghelpers.simulation import pythia
from qghelpers.simulation.detector import ETA_MAX
from qghelpers.simulation.particles import Particles

INTERACTIONS = 5000  # in the pool
BLOCK = 2500  # of them made from one random stream; Pythia takes 10 s to start with each
SEED = 8


@dataclass(frozen=True)
class Pool:
    """Minimum-bias collisions; those from `starts[i]` to `starts[i + 1]` are of collision i."""

    particles: Particles
    starts: np.ndarray

    def __len__(self) -> int:
        return len(self.starts) - 1

    def draw(self, counts: np.ndarray, rng: np.random.Generator) -> Particles:
        """The particles of `counts[i]` collisions for event `i`, each turned and mirrored.

        With the same `rng`, a larger count for one event adds to the collisions of a smaller.
        """
        event = np.repeat(np.arange(len(counts)), counts)
        pick, turn, mirror = rng.random((len(event), 3)).T
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
        )


def load_pool(run: Callable[[Iterable], Iterable] | None = None) -> Pool:
    """The pool of this machine: from the user's cache folder, else made, in half a minute.

    `$QGHELPERS_CACHE`, if set, is the folder to use instead.

    Args:
        run: runs joblib tasks and gives their results in order; one after the other unless given.

    Raises:
        ImportError: Pythia8 is not installed.
    """
    pythia.require()
    content = f"{pythia.version()} {INTERACTIONS} {BLOCK} {SEED} {ETA_MAX}"
    name = f"pileup-{blake2b(content.encode(), digest_size=8).hexdigest()}.safetensors"
    path = Path(os.environ.get("QGHELPERS_CACHE") or user_cache_path("qghelpers")) / name
    particles = _read(path)
    if particles is None:
        starts = range(0, INTERACTIONS, BLOCK)
        tqdm.write(
            f"making {INTERACTIONS} minimum-bias collisions for the pile-up, once; it takes half "
            "a minute",
            file=sys.stderr,
        )
        tasks = [delayed(_block)(start) for start in starts]
        run = run or (lambda tasks: (task(*args, **kwargs) for task, args, kwargs in tasks))
        particles = Particles.join(list(run(tasks)))
        _write(path, particles)
    return Pool(particles, np.searchsorted(particles.event, np.arange(INTERACTIONS + 1)))


def _block(start: int) -> Particles:
    """Collisions `start` to `start + BLOCK`, in single precision."""
    particles = pythia.minimum_bias(BLOCK, SEED + 1 + start)
    particles = particles[np.abs(particles.eta) < ETA_MAX]
    particles = replace(particles, event=particles.event + start)
    dtypes = {"event": np.int32, "pdg": np.int32}
    arrays = vars(particles).items()
    return Particles(**{name: a.astype(dtypes.get(name, np.float32)) for name, a in arrays})


def _read(path: Path) -> Particles | None:
    """What `_write` wrote; None if there is nothing, or something else."""
    try:
        with safe_open(path, "np") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            if file.metadata() == {"checksum": _checksum(arrays)}:
                return Particles(**arrays)
    except (OSError, SafetensorError, TypeError):
        pass
    return None


def _write(path: Path, particles: Particles) -> None:
    """Keep the pool for the next time; without a folder to write to it is made again then."""
    arrays = vars(particles)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            save_file(arrays, temporary, {"checksum": _checksum(arrays)})
    except (OSError, DataError, SafetensorError):
        pass


def _checksum(arrays: dict[str, np.ndarray]) -> str:
    checksum = 0
    for name in sorted(arrays):
        checksum = zlib.crc32(np.ascontiguousarray(arrays[name]), checksum)
    return str(checksum)
