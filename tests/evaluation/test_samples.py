"""Tests of two samples: silent where there is nothing to find, right where the answer is known."""

import itertools

import numpy as np
import pytest
import torch

from qghelpers.analysis import metrics, observables, pixels
from qghelpers.evaluation import samples, tagger
from qghelpers.evaluation.samples import Sample


def gaussian(seed, n=2000, shift=0.0, k=4):
    return np.random.default_rng(seed).standard_normal((n, k)) + shift * np.eye(k)[0]


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    """For speed: what the bootstrap does is tested elsewhere."""
    monkeypatch.setattr(metrics, "RESAMPLES", 10)


def test_trees_find_what_is_there_and_nothing_else():
    same, error = samples.auc_of_trees(gaussian(0), gaussian(1))
    assert same == pytest.approx(0.5, abs=0.03)
    assert 0 < error < 0.02
    far = samples.auc_of_trees(gaussian(0), gaussian(1, shift=1.0))[0]
    assert far == pytest.approx(0.76, abs=0.03)  # the normal distribution at 1 / sqrt(2)


def test_trees_find_what_no_single_column_shows():
    """The same marginal distributions, with a correlation."""
    first, second = gaussian(0, k=2), gaussian(1, k=2)
    second[:, 1] = second[:, 0]
    assert samples.auc_of_trees(first, second)[0] > 0.9


def test_the_frechet_distance_of_gaussians_is_its_formula():
    a, b = gaussian(0, 200_000, k=2), gaussian(1, 200_000, k=2)
    b = b @ np.diag([2.0, 1.0]) + [3, 0]
    expected = 3**2 + (2 - 1) ** 2  # for diagonal covariances: of the standard deviations
    assert samples._frechet(a, b) == pytest.approx(expected, rel=0.01)
    turned = np.array([[0.6, 0.8], [-0.8, 0.6]])  # both alike: nothing changes
    assert samples._frechet(a @ turned, b @ turned) == pytest.approx(expected, rel=0.01)
    assert samples._frechet(a, a @ turned * [1, 2]) == pytest.approx(1, rel=0.02)
    assert samples._frechet(0 * a, 0 * a) == 0


def test_fpd_is_extrapolated_to_many_jets():
    """Between few jets of one distribution the distance is not zero; extrapolated it is."""
    a, b = gaussian(0), gaussian(1)
    biased = samples._frechet(*samples._normalised(a[:500], b[:500]))
    value, error = samples.fpd(a, b)
    assert abs(value) < biased / 4
    assert abs(value) < 5 * error + 1e-3
    assert samples.fpd(a, gaussian(1, shift=0.5))[0] > 10 * abs(value)


def test_kpd_agrees_with_a_sum_over_pairs():
    a, b = gaussian(0, 30, k=3), gaussian(1, 20, shift=1, k=3)

    def kernel(x, y):
        return (np.dot(x, y) / 3 + 1) ** 4

    def mean(xs, ys, same):
        pairs = itertools.product(enumerate(xs), enumerate(ys))
        return np.mean([kernel(x, y) for (i, x), (j, y) in pairs if i != j or not same])

    expected = mean(a, a, True) + mean(b, b, True) - 2 * mean(a, b, False)
    assert samples._discrepancy(a, b) == pytest.approx(expected)


def test_kpd_is_zero_within_its_error_for_one_distribution():
    value, error = samples.kpd(gaussian(0), gaussian(1))
    other = samples.kpd(gaussian(0), gaussian(1, shift=0.5))
    assert abs(value) < 4 * error
    assert other[0] > 10 * abs(value)
    assert other[1] > 0


def test_features_are_divided_by_the_largest_true_one():
    truth, other = np.array([[-4.0, 0], [2, 0]]), np.array([[8.0, 3], [1, 0]])
    first, second = samples._normalised(truth, other)
    assert first.tolist() == [[-1, 0], [0.5, 0]]
    assert second.tolist() == [[2, 3], [0.25, 0]]


def test_a_sample_of_batches_is_that_of_the_same_jets(jets):
    """Kept sparse, its images come back bit for bit, of any number of batches."""
    few = jets[:20]
    made, true = Sample.of_batches(few.batches(9)), Sample.of_jets(few)
    assert len(made) == len(true) == 20
    rows = np.array([3, 0, 19])
    assert torch.equal(made.images(rows), few.images(rows))
    for found, wanted in ((made.observables, true.observables), (made.clusters, true.clusters)):
        assert list(found) == list(wanted)
        for name in found:
            np.testing.assert_array_equal(found[name], wanted[name])
    np.testing.assert_array_equal(made.observables["mass"], observables.of_jets(few)["mass"])


def test_the_row_says_how_the_other_sample_looks(jets):
    truth = Sample.of_jets(jets[:200])
    spread = torch.zeros(40, 3, 125, 125)
    spread[:, :, ::10, ::10] = 0.01  # lit, each pixel alone
    row = samples.compare(truth, Sample.of_batches([spread]))
    assert row["isolated ECAL"] == (1, 0)
    assert row["neighbours ECAL"] == (0, 0)
    assert row["AUC observables"][0] > 0.95
    assert "AUC images" not in row
    own = samples.compare(truth, Sample.of_jets(jets[200:400]))
    counts = jets[200:400].map(pixels.clusters)
    ecal = {name: values[:, 1].sum() for name, values in counts.items()}
    assert own["neighbours ECAL"][0] == pytest.approx(ecal["neighbours"] / ecal["lit"])
    assert own["isolated ECAL"][0] == pytest.approx(ecal["isolated"] / ecal["lit"])
    assert own["AUC observables"][0] < 0.65
    assert row["FPD"][0] > own["FPD"][0]
    assert row["KPD"][0] > own["KPD"][0]
    assert set(own) == set(row)
    of_truth, of_own = truth.observables["mass"], observables.of_jets(jets[200:400])["mass"]
    assert own["W1 mass"] == metrics.wasserstein(of_truth, of_own, paired=False)
    assert own["W1 mass"] != metrics.wasserstein(of_truth, of_own)


def test_the_networks_test_is_trained_on_one_half_and_tested_on_the_other(jets, monkeypatch):
    truth, other = Sample.of_jets(jets[:40]), Sample.of_jets(jets[40:90])
    seen = {}

    def train(images, labels, seed):
        seen["trained"], seen["labels"] = images(np.arange(len(labels))), labels

    def scores(model, images, count):
        seen["tested"] = images(np.arange(count))
        return np.arange(count) % 2 + np.linspace(0, 1e-3, count)

    monkeypatch.setattr(tagger, "train", train)
    monkeypatch.setattr(tagger, "scores", scores)
    assert samples.auc_of_network(truth, other)[0] == 1  # 40 each: 20 to train, 20 to test
    for part, start in (("trained", 0), ("tested", 20)):
        rows = np.arange(start, start + 20)
        assert torch.equal(seen[part][0::2], jets.images(rows))
        assert torch.equal(seen[part][1::2], jets.images(40 + rows))
    assert seen["labels"].tolist() == [0, 1] * 20
