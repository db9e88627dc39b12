"""Networks are judged as they are used: in evaluation mode, in the units and rows as named."""

import math

import numpy as np
import pytest
import torch
from small import small_vae
from torch import nn

import qghelpers as qg
from qghelpers.analysis import anomaly, baselines, latent, metrics, observables
from qghelpers.analysis.baselines import Baseline
from qghelpers.networks.distributions import Prior
from qghelpers.training.recipes import RECIPES


def normalising(seed: int = 0) -> qg.JetAutoencoder:
    """A network in training mode, whose batch normalisation then gives another answer."""
    model = small_vae(seed).train()
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.running_mean)
            nn.init.constant_(layer.running_var, 3.0)
    return model


@pytest.fixture
def few(jets):
    return jets[:12]


# --- units and modes


@pytest.mark.parametrize(("network", "recipe"), RECIPES)
def test_reconstructions_in_the_files_units_are_the_scaled_ones_undone(few, network, recipe):
    torch.manual_seed(0)
    model, images = qg.build(network, recipe).train(), few.images(slice(3))
    model.scaling.fit(few)
    before = images.clone()
    found = qg.reconstruct(model, images)
    assert not model.training
    assert not found.requires_grad
    assert found.shape == images.shape
    assert torch.equal(images, before)
    with torch.no_grad():
        scaled = model.reconstruct(images)
        sharp = model.sharp(images)
        if recipe == "sparse":  # its mean energy is above the energy of the mean scaled image
            expected = model.reconstruct_energy(images)
        elif isinstance(model.scaling, qg.ZScore):
            pixels = few.images()
            mean, std = (f(pixels.double(), dim=(0, 2, 3)) for f in (torch.mean, torch.std))
            mean, std = (x.float().view(3, 1, 1) for x in (mean, std))
            expected = scaled * std + mean
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-6)
    torch.testing.assert_close(qg.reconstruct(model, images, sharp=True), sharp)


def test_all_that_evaluates_does_so_in_evaluation_mode(few):
    """Each function is given a network in training mode, and the same one as it should be used."""
    images, calm = few.images(), normalising().eval()
    calls = {
        "reconstruct": lambda model: qg.reconstruct(model, images).numpy(),
        "errors": lambda model: metrics.errors(model, model.scaling, few)["MSE"],
        "scores": lambda model: anomaly.anomaly_scores(model, images)["squared error"],
        "encode": lambda model: latent.encode(model, few),
        "posterior": lambda model: latent.posterior(model, few)[1],
        "traverse": lambda model: latent.traverse(model, np.zeros(3), 1, np.arange(4.0)).numpy(),
        "prior": lambda model: latent.fit_prior(model, few, components=1).means.numpy(),
    }
    for name, call in calls.items():
        excited = normalising()
        np.testing.assert_allclose(call(excited), call(calm), rtol=1e-4, atol=1e-5, err_msg=name)
        assert not excited.training, name
        assert excited.encoder[1][1].running_mean.max() <= 1  # nothing was learnt
    assert latent.code_size(normalising()) == 3
    excited = normalising()
    latent.code_size(excited)
    assert not excited.training


# --- errors and tables


def alone(scaling, index: int) -> Baseline:
    """Perfect in one channel, blank in the others."""

    def change(scaled):
        result = scaling(torch.zeros_like(scaled))
        result[:, index] = scaled[:, index]
        return result

    return Baseline(scaling, change, lambda scaled: scaled, fitted=index)


@pytest.mark.parametrize("index", [0, 1, 2])
def test_each_column_is_of_its_own_channel(few, index):
    scaling = qg.LogScale()
    row = metrics.compare({"x": alone(scaling, index)}, scaling, few)["x"]
    for kind in ("MSE", "L1", "MSE GeV", "L1 GeV"):
        for i, channel in enumerate(("Tracks", "ECAL", "HCAL")):
            assert row[f"{kind} {channel}"][0] == pytest.approx(float(i != index), abs=1e-5)
    scaled, gev = scaling(few.images()).double(), 100 * few.images().double()
    for kind, size in {
        "MSE": scaled.square(),
        "L1": scaled.abs(),
        "MSE GeV": gev.square(),
        "L1 GeV": gev,
    }.items():
        left = 1 - size[:, index].sum() / size.sum()
        assert row[kind][0] == pytest.approx(left.item(), rel=1e-4)
        assert row[kind][1] > 0
    assert row["parameters"] == (index, 0)
    for i, channel in enumerate(("Tracks", "ECAL", "HCAL")):
        for what in ("energy", "lit"):
            distance = row[f"W1 {what} {channel}"][0]
            assert (distance < 1e-3) is (i == index)


def test_lit_pixels_of_a_moved_image_are_counted(few):
    """Against numbers counted here; a quarter of the image is lost, and as much lit anew."""
    scaling = qg.LogScale()
    moved = Baseline(scaling, lambda scaled: scaled.roll(5, dims=-2), lambda scaled: scaled)
    row = metrics.compare({"x": moved}, scaling, few)["x"]
    lit = observables.lit(few.images()).numpy()
    other = np.roll(lit, 5, axis=-2)
    assert row["IoU"][0] == pytest.approx((lit & other).sum() / (lit | other).sum())
    assert row["false lit"][0] == pytest.approx((other & ~lit).sum() / (~lit).sum())


def test_a_network_is_judged_in_the_space_that_is_asked_for(few):
    """In that of a z-score with other numbers than its own."""
    own, asked = qg.ZScore().fit(few), qg.ZScore().fit(few[:4])
    blurred = Baseline(own, lambda scaled: 0.5 * scaled, lambda scaled: scaled)
    found = metrics.errors(blurred, asked, few)
    images = few.images()
    answer = own.inverse(0.5 * own(images))
    expected = (asked(answer) - asked(images)).square().sum(dim=(2, 3))
    np.testing.assert_allclose(found["MSE"], expected, rtol=1e-3)
    direct = metrics.errors(blurred, own, few)
    np.testing.assert_allclose(
        direct["MSE"], (0.5 * own(images)).square().sum(dim=(2, 3)), rtol=1e-3
    )
    assert not np.allclose(found["MSE"], direct["MSE"], rtol=1e-2)


def test_uncertainties_are_those_of_theory():
    rng = np.random.default_rng(1)
    a = rng.normal(3, 2, 400)
    b = a + rng.normal(0, 0.1, 400)
    mean, error = metrics.with_error(np.mean, a)
    assert mean == a.mean()
    assert error == pytest.approx(a.std() / 20, rel=0.15)
    apart = np.hypot(a.std(), b.std()) / 20
    together = np.std(b - a) / 20

    def difference(x, y):
        return y.mean() - x.mean()

    assert metrics.with_error(difference, a, b, paired=False)[1] == pytest.approx(apart, rel=0.15)
    assert metrics.with_error(difference, a, b)[1] == pytest.approx(together, rel=0.15)
    assert metrics.with_error(np.mean, a) == (mean, error)  # the same each time


def test_a_ratio_is_one_of_sums():
    a, b = np.array([1.0, 2, 9]), np.array([2.0, 2, 20])
    assert metrics.ratio(a, b)[0] == pytest.approx(12 / 24)
    assert metrics.ratio(a, 0 * b)[0] > 1e9


def test_distances_are_in_deviations_of_the_truth_and_of_as_many_jets():
    rng = np.random.default_rng(2)
    truth, wide = rng.normal(0, 2, 500), rng.normal(3, 8, 400)
    value, _ = metrics.wasserstein(truth, truth + 3)
    assert value == pytest.approx(3 / truth.std())
    value, _ = metrics.wasserstein(truth, 3 * truth)  # each value is moved by twice itself
    assert value == pytest.approx(2 * np.abs(truth).mean() / truth.std())
    value, _ = metrics.wasserstein(np.full(9, 2.0), np.full(9, 5.0))
    assert value == 3  # where the truth does not vary
    samples = [dict.fromkeys(observables.NAMES, values) for values in (truth, wide)]
    found = metrics.distances(*samples, paired=False)
    assert list(found) == [f"W1 {name}" for name in observables.NAMES]
    assert found["W1 mass"] == metrics.wasserstein(truth[:400], wide, paired=False)
    assert metrics.distances(samples[0], samples[0])["W1 girth"][0] == 0


def test_each_distance_is_of_its_own_observable():
    truth = {name: np.arange(50.0) for name in observables.NAMES}
    other = {name: values + i for i, (name, values) in enumerate(truth.items())}
    found = metrics.distances(truth, other)
    scale = np.arange(50.0).std()
    for i, name in enumerate(observables.NAMES):
        assert found[f"W1 {name}"][0] == pytest.approx(i / scale)


def test_auc_is_above_a_half_where_anomalies_score_higher():
    rng = np.random.default_rng(3)
    normal, anomalous = rng.normal(0, 1, 600), rng.normal(1, 1, 200)
    value, error = metrics.auc(normal, anomalous)
    assert value == pytest.approx(0.76, abs=4 * error)  # Phi(1 / sqrt(2))
    assert 0.01 < error < 0.03
    assert metrics.auc(anomalous, normal)[0] == pytest.approx(1 - value)
    false, true = metrics.roc(normal, anomalous)
    assert (false[0], true[0], false[-1], true[-1]) == (0, 0, 1, 1)
    place = np.searchsorted(false, 0.1)
    cut = np.quantile(normal, 0.9)
    assert true[place] == pytest.approx((anomalous > cut).mean(), abs=0.02)


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (46_875.0, 0.0, "46,875"),
        (1.0, 0.0, "1.000 ± 0.000"),
        (2.0, 0.1, "2.000 ± 0.100"),
        (0.0999, 0.00123, "0.0999 ± 0.0012"),
        (-0.05, 0.01, "-0.0500 ± 0.0100"),
        (0.1, 0.02, "0.100 ± 0.020"),
        (0.0, 0.0, "0.000 ± 0.000"),
        (np.nan, np.nan, "nan ± nan"),  # of a network that diverged
        (np.inf, 0.0, "inf ± 0.000"),
    ],
)
def test_cells_show_value_and_error(value, error, text):
    shown = metrics.format_table({"model": {"quantity": (value, error)}})
    assert shown.splitlines()[1].split(maxsplit=1) == ["quantity", text]


def test_a_table_has_every_quantity_once_and_shows_those_asked_for():
    table = metrics.Table({"a": {"x": (1.5, 0.1), "y": (2.5, 0.2)}, "b": {"z": (3.5, 0.3)}})
    assert list(table.columns()) == ["x", "y", "z"]
    assert table.only(["z", "x"]) == {"a": {"x": (1.5, 0.1)}, "b": {"z": (3.5, 0.3)}}
    assert list(table.only(["y", "x"])["a"]) == ["y", "x"]  # in the order that is asked for
    shown = metrics.format_table(dict(table), ["y", "z"])
    assert [line.split()[0] for line in shown.splitlines()] == ["a", "y", "z"]
    assert shown.splitlines()[2].split() == ["z", "3.500", "±", "0.300"]


# --- baselines


def test_all_baselines_are_what_they_are_called(few):
    scaling = qg.ZScore().fit(few)
    models = baselines.all_baselines(scaling, few, 4)
    assert list(models) == ["all-zero image", "mean image", "PCA, 4 numbers"]
    zero, mean, pca = models.values()
    images = few.images(slice(2))
    assert torch.equal(zero.reconstruct_energy(images).round(decimals=5), torch.zeros_like(images))
    expected = torch.from_numpy(few.mean_image()).expand_as(images)
    torch.testing.assert_close(mean.reconstruct_energy(images), expected, rtol=1e-3, atol=1e-6)
    assert [model.encode(images).shape[1] for model in models.values()] == [0, 0, 4]
    scaled = scaling(images)
    loss = (pca.reconstruct(images) - scaled).square().sum(dim=(1, 2, 3))
    torch.testing.assert_close(pca.loss(images)["loss"], loss)
    code = pca.encode(images)
    torch.testing.assert_close(pca._encode(pca.reconstruct(images)), code, rtol=1e-2, atol=1e-2)


def test_components_are_at_most_one_less_than_jets(few):
    scaling = qg.LogScale()
    assert baselines.pca(scaling, few, 50).encode(few.images()).shape == (12, 11)
    assert baselines.pca(scaling, few, 50).parameter_count() == 12 * 46_875


def test_the_loss_of_a_blank_image_is_a_mean_over_jets(jets):
    """Of batches of unequal size; the jets differ a thousandfold."""
    model = qg.VAE(latent_dim=2)
    order = np.argsort(jets.sums(np.square).sum(axis=1))
    some = jets[order[-baselines.BATCH - 7 :]]
    error = (some.images().double() ** 2).sum(dim=(1, 2, 3)).mean().item()
    assert baselines.zero_loss(model, some) == pytest.approx(error, rel=1e-4)


# --- latent space and draws


class Known(qg.JetAutoencoder):
    """A generative network whose posterior is known."""

    generative = True

    def __init__(self) -> None:
        super().__init__(scaling="log")
        self.weight = nn.Parameter(torch.zeros(1))

    def posterior(self, images):
        energy = images.sum(dim=(1, 2, 3)).log()
        return torch.stack([energy, 2 * energy], dim=1), torch.tensor([[math.log(4), -9]]).expand(
            len(images), 2
        )

    def encode(self, images):
        return self.posterior(images)[0]

    def reconstruct(self, images):
        return torch.zeros_like(images)

    def loss(self, images, noise=None):
        return {"loss": images.sum(dim=(1, 2, 3))}


def test_a_prior_is_fitted_to_points_of_the_posteriors(jets):
    model = Known()
    prior = latent.fit_prior(model, jets, components=1)
    mu = latent.encode(model, jets)
    expected = mu.var(axis=0) + np.array([4, np.exp(-9)])
    variance = (prior.factors[0] @ prior.factors[0].T).diagonal()[:2]
    np.testing.assert_allclose(variance, expected, rtol=0.15)
    np.testing.assert_allclose(prior.means[0, :2], mu.mean(axis=0), atol=0.15)
    assert len(latent.fit_prior(model, jets).weights) == 10
    assert len(prior.weights) == 1
    again = latent.fit_prior(model, jets, components=1)
    other = latent.fit_prior(model, jets, components=1, seed=1)
    assert torch.equal(again.factors, prior.factors)
    assert not torch.equal(other.factors, prior.factors)
    assert isinstance(prior, Prior)


def test_what_varies_more_than_the_threshold_is_active():
    mu = np.stack([np.tile([-s, s], 50) for s in np.sqrt([0.0099, 0.0101, 0.5])], axis=1)
    assert latent.active_dimensions(mu).tolist() == [False, True, True]
    assert latent.active_dimensions(mu, threshold=0.1).tolist() == [False, False, True]
    assert latent.active_dimensions(mu + 100).tolist() == [False, True, True]


def test_the_shares_of_variance_are_sorted_and_the_plane_is_theirs():
    cloud = np.random.default_rng(0).normal(7, [1, 4, 2], (600, 3))
    points, shares = latent.principal_plane(cloud)
    np.testing.assert_allclose(shares, np.array([16, 4, 1]) / 21, atol=0.03)
    np.testing.assert_allclose(points.var(axis=0), [16, 4], rtol=0.15)
    np.testing.assert_allclose(points.mean(axis=0), 0, atol=1e-9)


def test_a_probe_scores_label_one_higher_whatever_the_features_scale():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 400)
    features = rng.normal(size=(400, 2)) * [1e-4, 1e5] + np.outer(labels, [3e-4, 0])
    for scores, truth in (
        (latent.linear_probe(features[:200], labels[:200], features[200:]), labels[200:]),
        (latent.cross_probe(features, labels), labels),
    ):
        assert metrics.auc(scores[truth == 0], scores[truth == 1])[0] > 0.95


# --- anomalies


def test_the_networks_own_loss_and_its_parts_are_scores(few):
    model = small_vae(beta=2).eval()
    images = few.images()
    scores = anomaly.anomaly_scores(model, images, batch_size=5)
    with torch.no_grad():
        parts = model.loss(images, torch.zeros(12, 3))
    for name in ("loss", "reconstruction", "kl"):
        np.testing.assert_allclose(scores[name], parts[name], rtol=1e-4, atol=1e-4)
    assert set(scores) == {
        *("squared error", "loss", "reconstruction", "kl", "calorimeter energy", "lit pixels")
    }
    again = anomaly.anomaly_scores(model, images, batch_size=12)
    np.testing.assert_allclose(scores["loss"], again["loss"], rtol=1e-5)
    unet = anomaly.anomaly_scores(qg.UNetAutoencoder(), images)
    assert set(unet) == {"squared error", "loss", "calorimeter energy", "lit pixels"}


def test_the_two_prongs_are_two_jets_six_towers_apart():
    images = torch.zeros(3, 3, 125, 125)
    for i, energy in enumerate((1.0, 2.0, 4.0)):
        images[i, :, 62, 62 + i] = energy
    before = images.clone()
    made = anomaly.two_prong(images)
    assert torch.equal(images, before)
    for i in range(3):
        partner = (i - 1) % 3
        expected = torch.zeros(3, 125, 125)
        expected[:, 62 - 15, 62 + i] = images[i].max() / 2
        expected[:, 62 + 15, 62 + partner] = images[partner].max() / 2
        assert torch.equal(made[i], expected)
