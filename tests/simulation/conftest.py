"""What makes simulations of a few jets short."""

import pytest
from small import without_multiparton_interactions

from qghelpers.data import layout
from qghelpers.simulation import simulate


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(simulate, "BLOCK", layout.CHUNK)


@pytest.fixture
def quick(sample_file):
    """Collisions that are four times faster, for what does not depend on their physics.

    The sample of all tests is made before.
    """
    with without_multiparton_interactions():
        yield
