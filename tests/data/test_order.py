"""Which jets are handed out, in which order: chance as the seed says, and nothing misplaced."""

import numpy as np
import pytest
import torch

from qghelpers.data import layout
from qghelpers.data.jets import JetImages, digest, joined, random_rows
from qghelpers.data.packing import AT_ONCE, Packer
from qghelpers.data.sparse import PIXELS, JoinedImages, SparseImages


def made(count: int, order=slice(None), labels=None) -> JetImages:
    """Jets whose image, columns and place say which one they are: numbers 1, 2, 3 ..."""
    packer = Packer()
    for start in range(0, count, AT_ONCE):
        images = np.zeros((min(AT_ONCE, count - start), 125, 125, 3), np.float32)
        for i, image in enumerate(images):
            number = start + i + 1
            image[number % 125, 0, 0], image[0, number % 125, 1] = number, -2 * number
            image[5:10, 5:10, 2] = 3 * number
        packer.add(images.reshape(len(images), PIXELS))
    numbers = np.arange(1, count + 1)
    labels = numbers % 2 if labels is None else labels
    process = np.where(labels == layout.NEITHER, "w", "qcd")
    columns = labels, numbers * 10.0, numbers * 100.0, process, numbers
    return JetImages(packer.packed(), np.arange(count), *columns, "source", order)


def check(jets: JetImages) -> list[int]:
    """The numbers of the jets, the same wherever they stand."""
    images = jets.images().double()
    numbers = images[:, 0].sum(dim=(1, 2)).int().tolist()
    sums = jets.sums()
    np.testing.assert_array_equal(sums[:, 0], numbers)
    np.testing.assert_array_equal(sums[:, 1], -2 * np.array(numbers))
    np.testing.assert_array_equal(sums[:, 2], 25 * 3 * np.array(numbers))
    np.testing.assert_array_equal(images.sum(dim=(2, 3)), sums)
    np.testing.assert_array_equal(jets.pt, 10 * np.array(numbers))
    np.testing.assert_array_equal(jets.mass, 100 * np.array(numbers))
    np.testing.assert_array_equal(jets.pixel_counts(), [[1, 1, 25]] * len(numbers))
    assert jets.source == "source"
    return numbers


def test_everything_that_selects_keeps_images_and_columns_together():
    jets = made(60)
    assert check(jets) == list(range(1, 61))
    assert check(jets[[7, 3, 3]]) == [8, 4, 4]
    assert check(jets[::-20]) == [60, 40, 20]
    assert check(jets[jets.pt > 570]) == [58, 59, 60]
    assert check(jets.quarks) == list(range(1, 61, 2))
    assert check(jets.gluons) == list(range(2, 61, 2))
    assert check(jets.to("cpu")[[5, 2]].to("cpu")) == [6, 3]
    for part in jets.split((0.5, 0.5), seed=1):
        check(part.sample(10, seed=2))
        check(part[3:9].to("cpu"))


@pytest.mark.parametrize("order", [[2, 0, 1], [1, 2, 0], [2, 1, 0]])
def test_channels_in_another_order_stay_so_on_a_device(order):
    """Sums and images are in the same order, of subsets and copies too."""
    usual = made(9).images()[:, order]
    jets = made(9, order)
    for some in (jets, jets[[4, 1]], jets.to("cpu"), jets.split((0.5, 0.5))[0].to("cpu")[1:]):
        numbers = (some.pt / 10).astype(int) - 1
        assert torch.equal(some.images(), usual[numbers])
        np.testing.assert_array_equal(some.sums(), usual[numbers].sum(dim=(2, 3)).double())


def test_sums_of_many_jets_are_those_of_each():
    """More than go through at once."""
    count = 4096 + 150
    one = made(150)._images
    many = SparseImages.join([one] * (count // 150 + 1))
    rows = np.arange(count)
    numbers = rows % 150 + 1
    np.testing.assert_array_equal(many.sums(rows, np.asarray)[:, 0], numbers)
    np.testing.assert_array_equal(many.sums(rows, np.square)[:, 1], 4 * numbers**2)
    np.testing.assert_array_equal(many.sums(rows, np.square)[:, 2], 25 * 9 * numbers**2)


def test_batches_come_in_order_or_in_that_of_their_seed():
    jets = made(37)

    def numbers(**options):
        return [(b[:, 0].sum(dim=(1, 2)) + 0.5).int().tolist() for b in jets.batches(10, **options)]

    assert sum(numbers(), []) == list(range(1, 38))  # noqa: RUF017
    assert [len(batch) for batch in numbers()] == [10, 10, 10, 7]
    for seed in (0, 1, 2):
        expected = np.random.default_rng(seed).permutation(37) + 1
        assert np.concatenate(numbers(shuffle=seed)).tolist() == expected.tolist()
        assert np.concatenate(numbers(shuffle=seed, first=2)).tolist() == expected[20:].tolist()
        shares = [numbers(shuffle=seed, shard=(i, 3)) for i in range(3)]
        for batch, *parts in zip(numbers(shuffle=seed), *shares, strict=True):
            assert [batch[i::3] for i in range(3)] == parts
    assert numbers(first=4) == []


def test_parts_are_random_and_their_labels_mixed():
    labels = np.repeat([layout.GLUON, layout.QUARK, layout.NEITHER], [200, 120, 80])
    jets = made(400, labels=labels)
    parts = jets.split((0.5, 0.3, 0.2), seed=7)
    for part, share in zip(parts, (0.5, 0.3, 0.2), strict=True):
        found = [int((part.labels == label).sum()) for label in (0, 1, -1)]
        assert found == [round(share * n) for n in (200, 120, 80)]
        same = np.mean(part.labels[1:] == part.labels[:-1])  # in blocks nearly all, by chance 0.38
        assert same == pytest.approx(0.5**2 + 0.3**2 + 0.2**2, abs=0.2)
    first = np.sort(check(parts[0]))
    gluons = first[first <= 200]
    assert gluons.max() > 180
    assert len(gluons) == 100
    assert set(np.diff(gluons)) > {1, 2}
    numbers = sum((check(part) for part in parts), [])  # noqa: RUF017
    assert sorted(numbers) == list(range(1, 401))
    other = jets.split((0.5, 0.3, 0.2), seed=8)
    assert check(other[0]) != check(parts[0])
    assert check(jets.split((0.5, 0.3, 0.2), seed=7)[2]) == check(parts[2])


def test_neither_quark_nor_gluon_is_neither():
    jets = made(9, labels=np.array([0, 1, -1] * 3))
    assert check(jets.gluons) == [1, 4, 7]
    assert check(jets.quarks) == [2, 5, 8]
    assert str(jets) == "9 jets (3 quark, 3 gluon, 3 w)"
    assert str(jets[:1]) == "1 jets (1 gluon)"


def test_random_rows_are_sorted_and_of_their_seed_alone():
    for seed in (0, 5):
        np.random.seed(seed + 1)  # noqa: NPY002 (it must not matter)
        rows = random_rows(50, 20, seed)
        assert rows.tolist() == sorted(set(rows.tolist()))
        assert len(rows) == 20
        assert set(rows) == set(np.random.default_rng(seed).permutation(50)[:20])
    assert random_rows(50, None, 0).tolist() == random_rows(50, 50, 1).tolist() == list(range(50))
    assert random_rows(50, 49, 0).tolist() != list(range(49))
    sample = made(30).sample(10, seed=4)
    assert check(sample) == (random_rows(30, 10, 4) + 1).tolist()


def test_fingerprints_are_of_the_jets_and_their_order():
    jets = made(8)
    same = jets[list(range(8))]
    assert jets.fingerprint() == same.fingerprint() == jets.to("cpu").fingerprint()
    others = [jets[::-1], jets[:7], jets[[0, 0, *range(2, 8)]]]
    assert len({j.fingerprint() for j in (jets, *others)}) == 4
    columns = [np.arange(3.0), np.arange(3.0) + 1, np.arange(3.0) + 2]
    assert digest(*columns) != digest(*columns[::-1])
    for changed in range(3):
        other = [c + (0.5 if i == changed else 0) for i, c in enumerate(columns)]
        assert digest(*other) != digest(*columns)
    assert len(digest(*columns)) == 16


def test_the_mean_image_is_a_mean_over_jets():
    jets = made(7)
    mean = jets.mean_image()
    assert mean.dtype == np.float32
    assert mean.shape == (3, 125, 125)
    assert mean[0, 1, 0] == pytest.approx(1 / 7)
    assert mean[1, 0, 7] == pytest.approx(-2)
    assert mean[2, 7, 8] == pytest.approx(3 * 4)


def test_results_are_joined_by_name_and_place():
    parts = [({"a": torch.ones(2), "b": np.zeros(2)}, torch.arange(2)) for _ in range(3)]
    found, numbers = joined(parts)
    assert found["a"].tolist() == [1] * 6
    assert found["b"].tolist() == [0] * 6
    assert numbers.tolist() == [0, 1] * 3
    assert all(isinstance(array, np.ndarray) for array in (*found.values(), numbers))
    kinds = torch.arange(2), torch.ones(2, dtype=torch.float64), np.ones(2, np.float32)
    assert [joined([part]).dtype for part in kinds] == [np.int64, np.float64, np.float32]


def test_files_of_different_length_are_one_after_the_other():
    whole = made(12)._images
    parts = [whole.take(np.arange(a, b)) for a, b in ((0, 2), (2, 3), (3, 12))]
    together = JoinedImages(tuple(parts))
    rows = np.array([11, 0, 2, 2, 5, 1])
    assert torch.equal(together.dense(rows), whole.dense(rows))
    assert torch.equal(together.take(rows).dense(np.arange(6)), whole.dense(rows))
    np.testing.assert_array_equal(together.sums(rows, np.square), whole.sums(rows, np.square))
    assert len(together) == 12
    empty = SparseImages.join([])
    assert len(empty) == 0
    assert len(SparseImages.join([empty, whole])) == 12


def test_blank_images_are_kept_wherever_they_stand():
    packer = Packer()
    images = np.zeros((4, PIXELS), np.float32)
    images[1, 100] = 1
    packer.add(images)
    sparse = packer.packed()
    assert len(sparse) == len(packer) == 4
    for rows in ([0, 1, 2, 3], [3, 2], [1, 3]):
        taken = sparse.take(np.array(rows))
        assert len(taken) == len(rows)
        assert torch.equal(taken.dense(np.arange(len(rows))), sparse.dense(np.array(rows)))
    blank = sparse.take(np.array([0, 2]))
    assert len(SparseImages.join([blank, sparse, blank])) == 8


def test_the_published_values_are_those_of_the_public_file():
    """Those of arXiv:1902.08276, where gluon jets light more pixels in every channel."""
    for label in (layout.GLUON, layout.QUARK):
        tracks, ecal, hcal = layout.PUBLIC_LIT_SHARE[label]
        assert tracks < ecal < hcal
    gluon, quark = (layout.PUBLIC_LIT_SHARE[label] for label in (layout.GLUON, layout.QUARK))
    assert all(g > q for g, q in zip(gluon, quark, strict=True))
    assert layout.PUBLIC_LARGEST[layout.GLUON][0] == 756.6
    assert layout.PUBLIC_MEAN[layout.QUARK] == (7.9e-5, 5.3e-5, 3.3e-5)
    assert (layout.GLUON, layout.QUARK, layout.NEITHER) == (0, 1, -1)
    assert layout.SMALLEST_DEPOSITS == (0.1, 0.05, 0.04)


def test_evidence_of_the_channels():
    images = np.zeros((3, 125, 125, 3), np.float32)
    images[0, 3, 3, 0] = 1
    images[0, 20:23, 3:9, 1], images[1, 50, 60, 1] = 2, -1
    images[:, 10:15, 20:25, 2], images[2, 15:20, 0:5, 2] = 1, -3
    np.testing.assert_allclose(
        layout.lit_share(images) * 125 * 125 * 3, [1, 19, 100], rtol=1e-6
    )  # negative pixels are lit, too
    assert layout.constant_tower_share(images).tolist() == [0, 0, 1]
    for order in ([0, 1, 2], [2, 0, 1], [1, 2, 0]):
        names = layout.channels_by_evidence(images[..., order])
        assert names == tuple(layout.CHANNELS[i] for i in order)
    two = images.copy()
    two[..., 1] = two[..., 2]
    assert layout.channels_by_evidence(two) == ("?",) * 3
    none = images.copy()
    none[0, 12, 21, 2] = 9
    assert layout.channels_by_evidence(none) == ("?",) * 3
