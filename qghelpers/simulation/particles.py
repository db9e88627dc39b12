"""Particles of many events, as flat arrays."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Particles:
    """Stable particles of many events, flat; every array has shape `(particles,)`.

    `event` counts events from 0; `pt` and `energy` in GeV; `charge` in units of e; `pdg` are
    PDG particle numbers.
    """

    event: np.ndarray
    pt: np.ndarray
    eta: np.ndarray
    phi: np.ndarray
    energy: np.ndarray
    charge: np.ndarray
    pdg: np.ndarray

    def __getitem__(self, which: np.ndarray) -> "Particles":
        return Particles(**{name: array[which] for name, array in vars(self).items()})

    def __len__(self) -> int:
        return len(self.event)

    @staticmethod
    def join(parts: Sequence["Particles"]) -> "Particles":
        """The particles of all parts."""
        columns = zip(*(vars(part).values() for part in parts), strict=True)
        return Particles(*map(np.concatenate, columns))
