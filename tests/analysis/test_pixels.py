"""Which pixels are lost, and how lit ones lie together: on images made by hand."""

import numpy as np
import pytest
import torch

from qghelpers.analysis import metrics, pixels
from qghelpers.analysis.observables import LIT
from qghelpers.data.layout import GEV_PER_UNIT


def image(*lit, size=6):
    """An image in GeV/100 with these pixels: channel, row, column, GeV."""
    made = torch.zeros(1, 3, size, size)
    for channel, row, column, gev in lit:
        made[0, channel, row, column] = gev / GEV_PER_UNIT
    return made


def test_lost_pixels_are_counted_where_they_are():
    original = image((0, 0, 0, 5), (0, 2, 4, 5), (0, 0, 1, 5), (1, 1, 2, 5), (2, 3, 3, 0.4))
    found = image((0, 2, 4, 1), (1, 1, 2, 1.01 * LIT[1]), (2, 5, 5, 9))
    bright, lost = pixels.lost_by_place(original, found)
    assert bright.shape == lost.shape == (1, 3, 2, 2)
    assert bright[0, 0].tolist() == [[2, 1], [0, 0]]
    assert lost[0, 0].tolist() == [[1, 1], [0, 0]]
    assert bright[0, 1].tolist() == [[0, 0], [1, 0]]  # odd row, even column
    assert lost[0, 1:].sum() == 0  # dim is not lost; 0.4 GeV is not worth missing
    assert bright[0, 2].sum() == 0
    two = torch.cat([original, image((1, 3, 3, 5))]), torch.cat([found, image()])
    bright, lost = pixels.lost_by_place(*two)
    assert bright[:, :, 1, 1].tolist() == lost[:, :, 1, 1].tolist() == [[0, 0, 0], [0, 1, 0]]
    assert lost[0, 0].tolist() == [[1, 1], [0, 0]]


def test_the_energy_that_returns_is_that_of_lit_pixels_where_they_are():
    original = image((0, 0, 0, 30), (0, 2, 4, 10), (1, 1, 2, 5), (2, 3, 3, 0.4))
    found = image((0, 0, 0, 3), (0, 2, 4, 1), (0, 0, 1, 9), (1, 1, 2, 6), (2, 3, 3, 0.1))
    true, returned = (
        GEV_PER_UNIT * energy[0] for energy in pixels.returned_by_place(original, found)
    )
    assert true[0].flatten().tolist() == pytest.approx([40, 0, 0, 0])
    assert returned[0].flatten().tolist() == pytest.approx([4, 0, 0, 0])  # false energy does not
    assert returned[1].flatten().tolist() == pytest.approx([0, 0, 6, 0])  # odd row, even column
    assert returned[2].flatten().tolist() == pytest.approx([0, 0, 0, 0.1])
    assert pixels.lost_by_place(original, found)[1].sum() == 0  # which sees nothing of it
    both = torch.stack([true, returned], dim=-1).expand(2, -1, -1, -1, -1).numpy()  # two jets
    row = metrics.returned({"returned_by_place": both})
    shares = {"Tracks, even even": 0.1, "ECAL, odd even": 1.2, "HCAL, odd odd": 0.25}
    assert set(row) == {f"returned {name}" for name in shares}
    for name, share in shares.items():
        assert row[f"returned {name}"][0] == pytest.approx(share)


def test_places_are_those_of_any_stride():
    bright, _ = pixels.lost_by_place(image((0, 4, 5, 1)), image(), stride=3)
    assert bright.shape == (1, 3, 3, 3)
    assert bright[0, 0].nonzero().tolist() == [[1, 2]]


def test_lost_pixels_are_counted_by_their_energy():
    original = image(*((0, 0, k, gev) for k, gev in enumerate((0.45, 0.6, 2, 2.9, 5, 500))))
    found = image((0, 0, 2, 2))
    bright, lost = pixels.lost_by_energy(original, found)
    assert bright[0, 0].tolist() == [1, 2, 1, 1]
    assert lost[0, 0].tolist() == [1, 1, 1, 1]
    assert bright[0, 1:].sum() == lost[0, 1:].sum() == 0


def test_the_shares_are_named_by_place_and_energy():
    shape = (2, 3, 2, 2, 2)  # jets, channels, row, column; bright and lost
    places, energies = np.zeros(shape), np.zeros((2, 3, len(pixels.ENERGIES), 2))
    places[..., 0] = energies[..., 0] = 10
    places[:, 1, 1, 0, 1] = 4
    energies[:, 2, 1, 1] = 7
    row = metrics.lost({"lost_by_place": places, "lost_by_energy": energies})
    assert len(row) == 3 * (4 + len(pixels.ENERGIES))
    others = set(row) - {"lost ECAL, odd even", "lost HCAL, 1 to 3 GeV"}
    assert row["lost ECAL, odd even"][0] == pytest.approx(0.4)
    assert row["lost HCAL, 1 to 3 GeV"][0] == pytest.approx(0.7)
    assert not any(row[name][0] for name in others)
    places[:, 0, 0, 0], energies[:, 1, 3] = 0, 0
    fewer = metrics.lost({"lost_by_place": places, "lost_by_energy": energies})
    assert set(row) - set(fewer) == {"lost Tracks, even even", "lost ECAL, above 10 GeV"}


def test_clusters_are_counted_among_eight_neighbours():
    pair, alone, corner = [(1, 2, 2, 1), (1, 3, 3, 1)], [(1, 0, 5, 1)], [(0, 0, 0, 1), (0, 0, 1, 1)]
    beside = [(2, 2, 3, 1)]  # the pair, but in another channel
    found = pixels.clusters(image(*pair, *alone, *corner, *beside))
    assert {name: values.tolist() for name, values in found.items()} == {
        "lit": [[2, 3, 1]],
        "neighbours": [[2, 2, 0]],
        "isolated": [[0, 1, 1]],
    }


def test_a_full_square_has_the_neighbours_that_it_has():
    full = torch.ones(1, 3, 3, 3)
    assert pixels.clusters(full)["neighbours"].tolist() == [[8 + 4 * 3 + 4 * 5] * 3]
