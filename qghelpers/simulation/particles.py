"""`Particles`: the particles of many events, as flat arrays; and some to begin with."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

__all__ = ["Particles", "packaged_crossing"]

PACKAGED = Path(__file__).with_name("crossing.npz")


@dataclass(frozen=True)
class Particles:
    """Stable particles of many events; every array has shape `(particles,)`.

    `event` is the index of the event, from 0; `pt` and `energy` are in GeV, `charge` in units of
    e; `pdg` has PDG particle numbers; `z` is where their collision took place along the beam, in
    metres from the middle of the detector.
    """

    event: np.ndarray
    pt: np.ndarray
    eta: np.ndarray
    phi: np.ndarray
    energy: np.ndarray
    charge: np.ndarray
    pdg: np.ndarray
    z: np.ndarray

    def __getitem__(self, which: np.ndarray) -> "Particles":
        return Particles(**{name: array[which] for name, array in vars(self).items()})

    def __len__(self) -> int:
        return len(self.event)

    def of_events(self, events: np.ndarray) -> "Particles":
        """Those of these events, which are numbered anew, in this order."""
        number = np.full(max(self.event.max(initial=-1), events.max(initial=-1)) + 1, -1)
        number[events] = np.arange(len(events))
        some = self[number[self.event] >= 0]
        return replace(some, event=number[some.event])

    @staticmethod
    def join(parts: Sequence["Particles"]) -> "Particles":
        """The particles of all parts, in this order."""
        columns = zip(*(vars(part).values() for part in parts), strict=True)
        return Particles(*map(np.concatenate, columns))


def packaged_crossing() -> tuple[Particles, float, float]:
    """A simulated crossing of two bunches of protons, for where Pythia8 cannot be installed.

    Returns:
        The visible particles: of event 0, a collision that gave two gluon jets, and of events 1 to
        200, pile-up, of which only the particles within 2 in eta of the jet are kept; and eta and
        phi of the leading jet's axis.
    """
    with np.load(PACKAGED) as file:
        stored = dict(file)
    eta, phi = stored.pop("jet")
    wide = {np.dtype("f4"): float, np.dtype("i1"): float}  # as Pythia's particles have them
    arrays = {name: array.astype(wide.get(array.dtype, int)) for name, array in stored.items()}
    return Particles(**arrays), float(eta), float(phi)
