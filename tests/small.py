"""Small networks and particles, and what several tests ask of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch

import qghelpers as qg
from qghelpers.data.layout import PIXEL_WIDTH
from qghelpers.networks.pca import PCAVAE
from qghelpers.simulation.particles import Particles
from qghelpers.simulation.processes import PROCESSES

TOWER = 5 * PIXEL_WIDTH
HERE = TOWER / 2  # the middle of a tower, in eta and in phi
FLOAT32 = qg.Engine(precision="32-true", compile=False)


class SmallVAE(qg.VAE):
    """The VAE, narrow; not registered."""

    widths = (4, 4, 4, 4)


class SmallPCAVAE(PCAVAE):
    """The VAE beside principal components, narrow; not registered."""

    widths = (4, 4, 4, 4)


def small_vae(seed: int = 0, **arguments) -> SmallVAE:
    torch.manual_seed(seed)
    return SmallVAE(**{"latent_dim": 3, **arguments})


def small_pca_vae(seed: int = 0) -> SmallPCAVAE:
    torch.manual_seed(seed)
    return SmallPCAVAE(latent_dim=3)


def weights(model) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(a, b) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


def momentum(pt: float, eta: float, phi: float) -> dict[str, float]:
    """The four-momentum of a massless particle, in GeV."""
    px, py, pz = pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)
    return {"px": px, "py": py, "pz": pz, "e": pt * np.cosh(eta)}


def particles(pt, eta=HERE, phi=HERE, charge=0, pdg=22, event=0, z=0.0) -> Particles:
    """Massless particles; anything may be one value for all of them."""
    columns = np.broadcast_arrays(np.atleast_1d(event), pt, eta, phi, charge, pdg, z)
    event, pt, eta, phi, charge, pdg, z = (np.array(column) for column in columns)
    return Particles(event, pt * 1.0, eta * 1.0, phi * 1.0, pt * np.cosh(eta), charge, pdg, z)


@contextmanager
def without_multiparton_interactions() -> Iterator[None]:
    """Simulate collisions of one pair of partons each, in any process."""
    with pytest.MonkeyPatch.context() as patch:
        for name, process in list(PROCESSES.items()):
            kinds = (
                replace(kind, settings=(*kind.settings, "PartonLevel:MPI = off"))
                for kind in process.kinds
            )
            patch.setitem(PROCESSES, name, replace(process, kinds=tuple(kinds)))
        yield
