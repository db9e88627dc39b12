"""What a code knows: fitted on training jets alone, judged on others, beside ceiling and floor."""

import numpy as np
import pytest
import torch
from small import SmallVAE, small_vae

import qghelpers as qg
from qghelpers.analysis import metrics, observables
from qghelpers.evaluation import probes, tagger


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """For speed: what the bootstrap does is tested elsewhere."""
    monkeypatch.setattr(metrics, "RESAMPLES", 10)
    monkeypatch.setattr(probes, "NEIGHBOURS", 15)


def test_each_probe_finds_what_it_can():
    rng = np.random.default_rng(0)
    features, labels = rng.standard_normal((1200, 2)), rng.integers(0, 2, 1200)
    shifted = features + 1.5 * labels[:, None] * [1, 0]
    ring = features * np.where(labels, 3, 1)[:, None]
    for given, linear_sees in ((shifted, True), (ring, False)):
        row = probes.probed(given[:800], labels[:800], given[800:], labels[800:])
        assert list(row) == ["AUC linear", "AUC neighbours", "AUC trees"]
        assert (row["AUC linear"][0] > 0.75) is linear_sees
        assert row["AUC neighbours"][0] > 0.75
        assert row["AUC trees"][0] > 0.75
        assert 0 < row["AUC trees"][1] < 0.05


def test_a_probe_is_judged_on_jets_that_it_was_not_fitted_on():
    rng = np.random.default_rng(0)
    features, labels = rng.standard_normal((600, 30)), rng.integers(0, 2, 600)
    row = probes.probed(features[:300], labels[:300], features[300:], labels[300:])
    assert all(abs(area - 0.5) < 0.12 for area, _ in row.values())


class Knows(SmallVAE):
    """Its code holds the label, written into a corner of the image; trained or not, as told."""

    told = False

    def encode(self, images):
        code = super().encode(images)
        return code + 100 * images[:, 0, :1, 0] if self.told else 0 * code


def test_rows_have_their_floor_ceiling_and_judge(jets, monkeypatch):
    """The judge says who is quark by the corner; the reconstruction of one network keeps it."""
    seen = []

    def train(images, labels, seed):
        seen.append(len(labels))
        return "judge"

    def scores(judge, images, count):
        assert judge == "judge"
        return images(np.arange(count))[:, 0, 0, 0].numpy()

    monkeypatch.setattr(tagger, "train", train)
    monkeypatch.setattr(tagger, "scores", scores)
    monkeypatch.setattr(
        qg.JetImages, "images", _with_label_in_a_corner(qg.JetImages.images), raising=True
    )
    model = Knows()
    model.told = True
    model.sharp = lambda images: images
    blind = small_vae()
    blind.sharp = torch.zeros_like
    train_jets, test, prepared = jets[:300], jets[300:], []
    monkeypatch.setattr(Knows, "prepare", lambda self, train: prepared.append(len(train)))
    table = probes.rows({"blind": blind, "knows": model}, train_jets, test)
    assert prepared == [300]
    of_all, of_jet = "observables", "observables of the jet"
    assert list(table) == ["blind", "knows", "untrained", of_all, of_jet, "tagger"]
    assert table["knows"]["AUC linear"][0] > 0.99
    assert table["untrained"]["AUC linear"][0] == pytest.approx(0.5, abs=0.01)
    assert "AUC tagger" not in table["untrained"]
    assert table["knows"]["AUC tagger"][0] == table["tagger"]["AUC tagger"][0] == 1
    assert table["blind"]["AUC tagger"][0] == 0.5
    for name, radius in ((of_all, 2), (of_jet, 0.5)):  # no pixel is 2 away from the centre
        values = [observables.of_jets(part, radius).values() for part in (train_jets, test)]
        fitted, judged = (np.stack(list(columns), axis=1) for columns in values)
        own = probes.probed(fitted, train_jets.labels, judged, test.labels)
        assert table[name] == own
    assert table[of_all] != table[of_jet]
    assert seen == [300]


def _with_label_in_a_corner(images):
    def marked(self, which=slice(None)):
        made = images(self, which)
        made[:, 0, 0, 0] = torch.from_numpy(self[which].labels).float()
        return made

    return marked


def test_only_labelled_jets_and_at_most_so_many_are_asked(jets, monkeypatch):
    asked = {}
    monkeypatch.setattr(
        tagger, "train", lambda images, labels, seed: asked.setdefault("train", labels)
    )
    monkeypatch.setattr(
        tagger, "scores", lambda judge, images, count: np.arange(count, dtype=float)
    )
    monkeypatch.setattr(probes, "JETS", 100)
    labels = jets.labels.copy()
    labels[::3] = -1
    some = qg.JetImages(
        jets._images, jets._rows, labels, jets.pt, jets.mass, jets.process, jets.twin
    )
    probes.rows({"small": small_vae()}, some[:300], some[300:])
    assert len(asked["train"]) == 100
    assert set(asked["train"]) == {0, 1}


def test_an_untrained_network_has_the_scaling_and_no_weight_of_the_trained_one(jets, monkeypatch):
    prepared = []
    monkeypatch.setattr(
        qg.VAE, "prepare", lambda self, train: prepared.append(train), raising=False
    )
    model = qg.VAE(latent_dim=3)
    model.scaling.fit(jets[:50])
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    fresh, other = probes.untrained(model), probes.untrained(model, seed=1)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.equal(fresh.scaling.mean, model.scaling.mean)
    weights = [network.to_posterior.weight for network in (model, fresh, other)]
    assert not any(
        torch.equal(a, b) for a, b in zip(weights, weights[1:] + weights[:1], strict=True)
    )
    assert not fresh.training
    assert prepared == []
    probes.untrained(model, train=jets[:7])
    assert [len(train) for train in prepared] == [7]
