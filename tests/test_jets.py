"""`JetImages` hands out exactly what the file holds, and splits it fairly."""

import h5py
import numpy as np
import pytest
import torch

from qghelpers import jets as jets_module
from qghelpers import load_jets
from qghelpers.layout import PUBLIC_FILE


@pytest.fixture(scope="module")
def content(sample_file):
    with h5py.File(sample_file) as file:
        return {key: data[:] for key, data in file.items()}


def test_images_are_the_files_bit_by_bit_channels_first(jets, content):
    which = [5, 2, 9, 2]
    images = jets.images(which)
    assert images.dtype == torch.float32
    assert images.shape == (4, 3, 125, 125)
    np.testing.assert_array_equal(images, content["X_jets"][which].transpose(0, 3, 1, 2))
    np.testing.assert_array_equal(jets.images(), content["X_jets"].transpose(0, 3, 1, 2))


def test_labels_pt_and_mass_are_the_files(jets, content):
    assert jets.channels == ("Tracks", "ECAL", "HCAL")
    np.testing.assert_array_equal(jets.labels, content["y"])
    np.testing.assert_array_equal(jets.pt, content["pt"])
    np.testing.assert_array_equal(jets.mass, content["m0"])


@pytest.mark.parametrize("which", [[3, 1], np.array([], int), [], slice(2, 9, 3), "mask"])
def test_a_subset_keeps_images_and_columns_together(jets, which):
    which = jets.pt > np.median(jets.pt) if isinstance(which, str) else which
    subset = jets[which]
    chosen = np.arange(len(jets))[
        which
        if len(np.shape(which)) == 0
        else np.asarray(which, int)
        if np.asarray(which).dtype != bool
        else which
    ]
    assert len(subset) == len(chosen)
    np.testing.assert_array_equal(subset.images(), jets.images(chosen))
    np.testing.assert_array_equal(subset.labels, jets.labels[chosen])
    np.testing.assert_array_equal(subset.mass, jets.mass[chosen])


def test_a_split_is_disjoint_complete_stratified_and_reproducible(jets):
    parts = jets.split((0.8, 0.1, 0.1), seed=3)
    rows = [set(part._rows) for part in parts]
    assert set.union(*rows) == set(range(len(jets)))
    assert sum(map(len, rows)) == len(jets)
    assert [len(part) for part in parts] == [320, 40, 40]
    assert all(part.labels.mean() == 0.5 for part in parts)
    again, other = jets.split(seed=3), jets.split(seed=4)
    assert [part.fingerprint() for part in again] == [part.fingerprint() for part in parts]
    assert other[0].fingerprint() != parts[0].fingerprint()
    assert not np.array_equal(parts[0]._rows, np.sort(parts[0]._rows))


@pytest.mark.parametrize("fractions", [(0.5, 0.4), (1.2, -0.2), (0.9999, 0.0001)])
def test_an_impossible_split_is_refused(jets, fractions):
    with pytest.raises(ValueError, match=r"fractions|too few"):
        jets.split(fractions)


def test_batches_hold_every_jet_once(jets):
    in_order = torch.cat(list(jets.batches(64)))
    torch.testing.assert_close(in_order, jets.images(), rtol=0, atol=0)
    shuffled = list(jets.batches(64, shuffle=1))
    assert [len(batch) for batch in shuffled] == [64] * 6 + [16]
    sums = torch.cat(shuffled).sum(dim=(1, 2, 3))
    assert not torch.equal(sums, in_order.sum(dim=(1, 2, 3)))
    torch.testing.assert_close(sums.sort()[0], in_order.sum(dim=(1, 2, 3)).sort()[0])


def test_pixel_counts(jets):
    expected = (jets.images() != 0).sum(dim=(2, 3))
    np.testing.assert_array_equal(jets.pixel_counts(), expected)


def test_a_limit_takes_a_random_subset(sample_file, content):
    few = load_jets(sample_file, limit=30, seed=1)
    assert len(few) == 30
    rows = [int(np.flatnonzero(content["pt"] == pt)[0]) for pt in few.pt]
    assert max(rows) > 100  # not the first ones
    np.testing.assert_array_equal(few.images(), content["X_jets"][rows].transpose(0, 3, 1, 2))
    assert few.source == load_jets(sample_file).source


def test_without_a_path_the_public_file_is_preferred(sample_file, tmp_path, monkeypatch):
    monkeypatch.setenv("QGHELPERS_HOME", str(tmp_path))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / PUBLIC_FILE).symlink_to(sample_file)
    assert len(load_jets()) == 400


def test_without_any_file_a_sample_is_simulated_once(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("QGHELPERS_HOME", str(tmp_path))
    monkeypatch.setattr(jets_module, "SAMPLE_JETS", 4)
    first = load_jets()
    assert "simulated" in capfd.readouterr().out
    assert len(first) == 4
    again = load_jets()
    assert capfd.readouterr().out == ""
    assert again.source == first.source
    assert [path.name for path in (tmp_path / "data").iterdir()] == [jets_module.SAMPLE_FILE]
