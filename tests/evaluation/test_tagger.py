"""The supervised judge learns what there is to learn, and nothing from nothing."""

import numpy as np
import pytest
import torch

from qghelpers.analysis import metrics
from qghelpers.evaluation import tagger


def test_it_finds_a_difference_and_leaves_the_callers_chance_alone(jets):
    """Every second image has lost its ECAL."""

    def images(rows):
        made = jets.images(rows)
        made[np.flatnonzero(rows % 2), 1] = 0
        return made

    labels, before = np.arange(192) % 2, torch.get_rng_state()
    model = tagger.train(images, labels[:128], epochs=8)
    assert torch.equal(before, torch.get_rng_state())
    assert not model.training
    score = tagger.scores(model, lambda rows: images(rows + 128), 64, size=50)
    assert score.shape == (64,)
    truth = labels[128:]
    assert metrics.auc(score[truth == 0], score[truth == 1])[0] > 0.95


def test_scores_are_in_the_order_of_the_jets_whatever_the_batch(jets):
    torch.manual_seed(0)
    model = tagger.network().eval()
    at_once = tagger.scores(model, jets.images, 30)
    np.testing.assert_allclose(tagger.scores(model, jets.images, 30, size=7), at_once, atol=1e-5)
    assert np.std(at_once) > 0


def test_each_jet_is_seen_once_an_epoch_in_a_new_order(jets):
    seen = []

    def images(rows):
        seen.append(rows)
        return jets.images(rows)

    labels = np.arange(70) % 2
    first = tagger.train(images, labels, epochs=2, seed=3)
    epochs = np.concatenate(seen).reshape(2, 70)
    assert not np.array_equal(*epochs)
    assert all(sorted(epoch) == list(range(70)) for epoch in epochs)
    again = tagger.train(jets.images, labels, epochs=2, seed=3)
    other = tagger.train(jets.images, labels, epochs=2, seed=4)
    for name, values in first.state_dict().items():
        assert torch.equal(values, again.state_dict()[name]), name
    assert not torch.equal(first[1].weight, other[1].weight)


@pytest.mark.parametrize(("has", "kind"), [(True, torch.bfloat16), (False, torch.float32)])
def test_bf16_is_used_where_the_processor_has_it(jets, monkeypatch, has, kind):
    seen, network = [], tagger.network

    def watched():
        model = network()
        model[1].register_forward_hook(lambda layer, given, answer: seen.append(answer.dtype))
        return model

    monkeypatch.setattr(tagger, "network", watched)
    monkeypatch.setattr(tagger, "processor_has_bf16", lambda: has)
    tagger.train(jets.images, np.arange(4) % 2, epochs=1)
    assert seen == [kind]
