"""`Particles`: the particles of many events, as flat arrays."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

__all__ = ["Particles"]


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
