"""The crossing that comes with the package, for where Pythia8 cannot be installed."""

import numpy as np
import pytest

from qghelpers.data.layout import GLUON
from qghelpers.simulation.detector import Detector
from qghelpers.simulation.images import jet_images
from qghelpers.simulation.particles import Particles, packaged_crossing


@pytest.fixture(scope="module")
def crossing():
    return packaged_crossing()


def test_it_has_a_collision_with_a_jet_and_200_others_around_it(crossing):
    particles, eta, phi = crossing
    assert set(particles.event) <= set(range(201))
    assert len(set(particles.event)) > 150  # some have no particle near the jet
    assert all(np.isfinite(array).all() for array in vars(particles).values())
    hard, others = particles[particles.event == 0], particles[particles.event > 0]
    d_phi = (hard.phi - phi + np.pi) % (2 * np.pi) - np.pi
    jet = hard[np.hypot(hard.eta - eta, d_phi) < 0.5]
    assert jet.pt.sum() > 70
    assert others.pt.mean() < 1
    assert np.abs(others.eta - eta).max() < 2
    assert others.z.std() == pytest.approx(Detector().vertex_spread, rel=0.2)


def test_it_makes_an_image_centred_on_the_jet(crossing):
    particles, eta, phi = crossing
    hard = particles[particles.event == 0]
    rng = np.random.default_rng(0)
    images, has_centre = jet_images(hard, np.array([eta]), np.array([phi]), Detector(), rng)
    assert has_centre.all()
    middle = images[0, 42:83, 42:83].sum(axis=(0, 1))
    assert (middle > 0.5 * images[0].sum(axis=(0, 1))).all()


@pytest.mark.simulation
def test_its_collision_is_what_pythia_gives(crossing):
    """If not, make it again: `python tests/benchmarks/samples.py crossing`."""
    from qghelpers.simulation.simulate import one_event

    particles, eta, phi = crossing
    made, made_eta, made_phi = one_event(GLUON, seed=8)
    hard = particles[particles.event == 0]
    assert (eta, phi) == pytest.approx((made_eta, made_phi))
    for name, array in vars(made).items():
        np.testing.assert_allclose(getattr(hard, name), array, rtol=1e-5, atol=1e-6, err_msg=name)


def test_it_has_the_types_that_pythia_gives(crossing):
    particles, _, _ = crossing
    floats = {"pt", "eta", "phi", "energy", "charge", "z"}
    kinds = {name: array.dtype.kind for name, array in vars(particles).items()}
    assert kinds == {name: "f" if name in floats else "i" for name in Particles.__annotations__}
