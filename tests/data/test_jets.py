"""`JetImages` hands out exactly what the file holds, and splits it fairly."""

import h5py
import numpy as np
import pytest
import torch

from qghelpers import load as loading
from qghelpers import load_jets
from qghelpers.data.layout import PUBLIC_FILE


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


def test_parts_are_as_large_as_asked_whatever_floats_add_up_to(jets):
    """0.7 + 0.1 is 0.7999..., and of 10 jets that is 8; of 7 jets, 0.8 are nearly 6."""
    some = jets[np.concatenate([np.flatnonzero(jets.labels == label)[:10] for label in (0, 1)])]
    assert [len(part) for part in some.split((0.7, 0.1, 0.2))] == [14, 2, 4]
    assert [len(part) for part in some.quarks[:7].split((0.8, 0.2))] == [6, 1]


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


def test_processes_share_every_batch(jets):
    alone = list(jets.batches(60, shuffle=3))
    shards = [list(jets.batches(60, shuffle=3, shard=(i, 4))) for i in range(4)]
    for batch, *parts in zip(alone, *shards, strict=True):
        assert max(map(len, parts)) - min(map(len, parts)) <= 1
        together = torch.cat(parts).flatten(1).sum(dim=1).sort()[0]
        torch.testing.assert_close(together, batch.flatten(1).sum(dim=1).sort()[0])


def test_the_last_batch_may_be_smaller(jets):
    assert [len(batch) for batch in jets.batches(150)] == [150, 150, 100]


def test_batches_can_begin_later(jets):
    later = list(jets.batches(150, shuffle=2, first=1))
    for batch, other in zip(later, list(jets.batches(150, shuffle=2))[1:], strict=True):
        assert torch.equal(batch, other)


def test_jets_on_a_device_are_the_same(jets):
    some = jets[::-7]
    there = some.to("cpu")
    assert torch.equal(there.images(), some.images())
    assert torch.equal(there[5:1:-2].images(), some[5:1:-2].images())
    assert torch.equal(next(there.batches(9, shuffle=1)), next(some.batches(9, shuffle=1)))
    np.testing.assert_array_equal(there.pixel_counts(), some.pixel_counts())
    assert there.fingerprint() == some.fingerprint()
    assert len(there._images) == len(some)


def test_sums_are_energies(jets):
    np.testing.assert_allclose(jets.sums(), jets.images().double().sum(dim=(2, 3)), rtol=1e-12)


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


def test_a_limit_is_the_same_with_and_without_a_cache(sample_file, tmp_path):
    fresh = tmp_path / "fresh.hdf5"
    fresh.write_bytes(sample_file.read_bytes())
    uncached = load_jets(fresh, limit=25, seed=4)
    assert len(list(tmp_path.iterdir())) == 1
    cached = load_jets(sample_file, limit=25, seed=4)
    assert torch.equal(uncached.images(), cached.images())
    assert uncached.fingerprint() == cached.fingerprint()


@pytest.mark.parametrize("limit", [None, 90, 12])
def test_several_files_open_as_one(sample_file, tmp_path, content, limit):
    paths = [tmp_path / name for name in ("a.hdf5", "b.hdf5", "c.hdf5")]
    pieces = (slice(0, 100), slice(100, 101), slice(101, 400))
    for path, piece in zip(paths, pieces, strict=True):
        with h5py.File(path, "w") as file:
            for key, data in content.items():
                file[key] = data[piece]
    joined = load_jets(paths, limit=limit, seed=1)
    whole = load_jets(sample_file, limit=limit, seed=1)
    assert torch.equal(joined.images(), whole.images())
    assert joined.fingerprint() == whole.fingerprint()
    assert joined.source == whole.source
    train, _ = joined.split((0.5, 0.5))
    expected, _ = whole.split((0.5, 0.5))
    assert torch.equal(train.images(), expected.images())
    np.testing.assert_array_equal(train.pixel_counts(), expected.pixel_counts())
    assert torch.equal(train.to("cpu").images(), expected.images())


def test_no_file_at_all():
    with pytest.raises(ValueError, match="no file was given"):
        load_jets([])


@pytest.mark.posix  # symbolic links
def test_without_a_path_the_public_file_is_preferred(sample_file, tmp_path, monkeypatch):
    monkeypatch.setenv("QGHELPERS_HOME", str(tmp_path))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / PUBLIC_FILE).symlink_to(sample_file)
    assert len(load_jets()) == 400


@pytest.mark.simulation
def test_without_any_file_a_sample_is_simulated_once(tmp_path, monkeypatch, capfd):
    monkeypatch.setenv("QGHELPERS_HOME", str(tmp_path))
    monkeypatch.setattr(loading, "SAMPLE_JETS", 4)
    first = load_jets()
    assert "simulated" in capfd.readouterr().out
    assert len(first) == 4
    again = load_jets()
    assert capfd.readouterr().out == f"opened data/{loading.SAMPLE_FILE} (simulated)\n"
    assert again.source == first.source
    files = sorted(path.name for path in (tmp_path / "data").iterdir())
    assert files == [loading.SAMPLE_FILE, f"{loading.SAMPLE_FILE}.sparse.safetensors"]


def test_quarks_and_gluons_are_picked_by_label(jets):
    assert (jets.quarks.labels == 1).all()
    assert (jets.gluons.labels == 0).all()
    assert len(jets.quarks) + len(jets.gluons) == len(jets)
    np.testing.assert_array_equal(jets.quarks.pt, jets.pt[jets.labels == 1])


def test_map_puts_the_results_of_all_batches_together(jets):
    some = jets[:10]
    dense = some.images()
    np.testing.assert_array_equal(
        some.map(lambda images: images.amax(dim=(2, 3)), 4), dense.amax((2, 3))
    )
    found = some.map(lambda images: {"a": images[:, 0], "b": images.sum((1, 2, 3)).numpy()}, 3)
    np.testing.assert_array_equal(found["a"], dense[:, 0])
    np.testing.assert_array_equal(found["b"], dense.sum((1, 2, 3)))
    first, second = some.map(lambda images: (images[:, 1, 0], len(images) * [7]), 4)
    np.testing.assert_array_equal(first, dense[:, 1, 0])
    assert second.tolist() == 10 * [7]
    assert jets[[]].map(lambda images: images.sum((2, 3))).shape == (0, 3)
    weight = torch.ones(1, requires_grad=True)
    assert isinstance(some.map(lambda images: weight * images.sum((2, 3))), np.ndarray)


def test_the_mean_image_is_that_of_all_batches(jets):
    np.testing.assert_allclose(jets.mean_image(), jets.images().mean(dim=0), rtol=1e-5, atol=1e-9)


def test_a_sample_is_what_a_limit_takes(jets, sample_file):
    for limit in (7, None, 10**6):
        sample, limited = jets.sample(limit, seed=3), load_jets(sample_file, limit, seed=3)
        assert sample.fingerprint() == limited.fingerprint()
        np.testing.assert_array_equal(sample.pt, limited.pt)


def test_a_map_keeps_no_small_arrays_among_large_ones(jets):
    """Each batch's results go into arrays for all jets, or memory is torn: 300 kB for each jet."""
    kept = []

    def remembered(images):
        result = {"sum": images.sum((2, 3)).numpy(), "pair": (images.amax((1, 2, 3)).numpy(),)}
        kept.append(result)
        return result

    found = jets[:10].map(remembered, 4)
    assert [len(part["sum"]) for part in kept] == [4, 4, 2]
    assert found["sum"].base is None
    assert found["pair"][0].base is None
    assert not any(np.shares_memory(found["sum"], part["sum"]) for part in kept)
    np.testing.assert_array_equal(found["sum"], np.concatenate([part["sum"] for part in kept]))
    np.testing.assert_array_equal(
        found["pair"][0], np.concatenate([part["pair"][0] for part in kept])
    )
