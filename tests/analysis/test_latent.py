"""Looking at latent spaces: the right numbers, and limits that outliers cannot spoil."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import QuantileTransformer
from small import small_vae
from torch.distributions import Normal, kl_divergence

from qghelpers import UNetAutoencoder
from qghelpers.analysis import latent


def test_encode_gives_every_jet_its_posterior(jets):
    model = small_vae(latent_dim=5).eval()
    mu, log_variance = latent.posterior(model, jets[:10], batch_size=4)
    with torch.no_grad():
        expected = model.posterior(jets.images(slice(0, 10)))
    np.testing.assert_allclose(mu, expected[0], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(log_variance, expected[1], rtol=1e-4, atol=1e-6)


def test_the_principal_plane_is_that_of_largest_variance():
    rng = np.random.default_rng(0)
    cloud = rng.normal(0, [5, 0.1, 3, 0.1], (500, 4)) + 10
    points, shares = latent.principal_plane(cloud)
    assert abs(np.corrcoef(points[:, 0], cloud[:, 0])[0, 1]) > 0.99
    assert abs(np.corrcoef(points[:, 1], cloud[:, 2])[0, 1]) > 0.99
    assert shares.sum() == pytest.approx(1)


def test_kl_per_dimension_and_active_dimensions():
    rng = np.random.default_rng(0)
    mu = rng.normal(size=(100, 3)) * [1, 0, 0.5]
    log_variance = np.full((100, 3), -1.0)
    expected = kl_divergence(
        Normal(torch.tensor(mu), torch.tensor(np.exp(log_variance / 2))), Normal(0.0, 1.0)
    )
    np.testing.assert_allclose(latent.kl_per_dimension(mu, log_variance), expected.mean(dim=0))
    np.testing.assert_array_equal(latent.active_dimensions(mu), [True, False, True])


def test_a_walk_changes_one_number():
    model = small_vae(latent_dim=2).eval()
    walk = latent.traverse(model, np.array([0.5, -1.0]), 1, np.array([-1.0, 2.0]))
    assert walk.shape == (2, 3, 125, 125)
    with torch.no_grad():
        torch.testing.assert_close(walk, model.decode(torch.tensor([[0.5, -1.0], [0.5, 2.0]])))


def test_a_linear_probe_finds_a_linear_difference():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 100)
    features = rng.normal(size=(200, 3)) + 5 * labels[:, None]
    scores = latent.linear_probe(features[::2], labels[::2], features[1::2])
    assert ((scores > 0) == labels[1::2]).all()


def test_a_cross_probe_finds_what_is_there_and_nothing_else():
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1], 100)
    noise = rng.normal(size=(200, 30))
    score = latent.cross_probe(noise, labels)
    assert abs(np.mean(score[labels == 1][:, None] > score[labels == 0]) - 0.5) < 0.15
    score = latent.cross_probe(noise + labels[:, None], labels)
    assert np.mean(score[labels == 1][:, None] > score[labels == 0]) > 0.95


def test_the_bottleneck_is_what_the_smallest_layer_holds(jets):
    unet, vae = UNetAutoencoder().eval(), small_vae(latent_dim=5).eval()
    features = latent.encode(unet, jets[:10], batch_size=4)
    with torch.no_grad():
        x = unet.scaling(jets.images(slice(0, 10)))
        for down in unet.down:
            x = down(x)
    np.testing.assert_allclose(features, x.flatten(1), rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(
        latent.encode(vae, jets[:10]), latent.posterior(vae, jets[:10])[0]
    )
    assert (latent.code_size(unet), latent.code_size(vae)) == (64, 5)


def test_what_needs_a_generative_network_says_so(jets):
    unet = UNetAutoencoder()
    with pytest.raises(TypeError, match="UNetAutoencoder has no posterior: give a generative"):
        latent.posterior(unet, jets[:2])
    with pytest.raises(TypeError, match="UNetAutoencoder cannot decode a code alone"):
        latent.traverse(unet, np.zeros(64), 0, np.zeros(2))


def test_explained_is_the_share_of_variance_that_a_line_predicts():
    rng = np.random.default_rng(0)
    features, noise = rng.normal(size=(2000, 4)), rng.normal(size=2000)
    values = 3 * features[:, 2] + 1
    assert latent.explained(features, values) > 0.99  # 1, but for the jets beyond the fitted range
    assert latent.explained(features, values + 3 * noise) == pytest.approx(0.5, abs=0.05)
    assert -0.05 < latent.explained(features, noise) < 0.05


def test_explained_is_asked_of_jets_that_the_line_was_not_fitted_to():
    """Many features of few jets, which follow what they are fitted to, noise too."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(80, 60))
    values = features[:, 0] + rng.normal(0, 0.5, 80)
    quantiles = QuantileTransformer(n_quantiles=40, output_distribution="normal")
    ridge = make_pipeline(quantiles, RidgeCV(np.logspace(-2, 4, 13)))
    seen = ridge.fit(features, values).score(features, values)
    assert latent.explained(features, values) < seen - 0.2
    assert latent.explained(features, rng.normal(size=80)) < 0.05


def test_explained_asks_for_the_order_of_a_feature_and_not_for_its_scale():
    rng = np.random.default_rng(0)
    features, noise = rng.normal(size=(2000, 4)), rng.normal(size=2000)
    values = 3 * features[:, 2] + 3 * noise
    expected = latent.explained(features, values)
    assert latent.explained(np.exp(5 * features), values) == pytest.approx(expected, abs=0.01)
    features[7] = 1e6  # one jet far out of all others
    assert latent.explained(features, values) == pytest.approx(expected, abs=0.01)


def test_several_quantities_are_predicted_as_each_alone():
    """Each with a strength of its own: what is noise for one tells all of another."""
    rng = np.random.default_rng(0)
    features = rng.normal(size=(200, 30))
    values = {
        "sharp": features[:, 3] + 2,
        "large": 1e3 * features[:, 5],
        "noise": rng.normal(size=200),
    }
    together, shares = latent.predicted(features, values), latent.explained(features, values)
    assert list(together) == list(shares) == list(values)
    for name, alone in values.items():
        np.testing.assert_allclose(together[name], latent.predicted(features, alone))
        assert shares[name] == pytest.approx(latent.explained(features, alone))
    assert shares["sharp"] > 0.95 > 0.05 > shares["noise"]


def test_what_is_predicted_of_a_jet_does_not_depend_on_what_it_has():
    rng = np.random.default_rng(0)
    features = rng.normal(size=(200, 3))
    values = features[:, 1] + 5
    predicted = latent.predicted(features, values)
    assert np.corrcoef(predicted, values)[0, 1] > 0.95
    changed = values.copy()
    changed[190] = 1000
    assert latent.predicted(features, changed)[190] == pytest.approx(predicted[190])
    share = 1 - ((predicted - values) ** 2).mean() / values.var()
    assert latent.explained(features, values) == pytest.approx(share)


def test_more_numbers_leave_less_error():
    """Of the networks that were trained beforehand, and of PCA: as the notebook shows it."""
    table = latent.by_size()
    sizes = len(table["sizes"])
    assert table["sizes"].tolist() == [2, 4, 8, 16, 32, 64]
    for kind in ("VAE", "PCA"):
        errors = table[f"errors {kind}"]
        assert errors.shape == (sizes, 4, 2)
        assert (np.diff(errors[:, 0, 0]) < 0).all()
        assert (errors[..., 0] < 1).all()
        assert (errors[..., 1] < 0.01).all()
        assert table[f"images {kind}"].shape == (sizes, 3, 69, 69)
    assert table["jet"].shape == (3, 69, 69)
    ratio = table["errors VAE"][:, 0, 0] / table["errors PCA"][:, 0, 0]
    np.testing.assert_allclose(table["VAE by PCA"][:, 0], ratio, rtol=1e-4)
    assert (table["active"] <= table["sizes"]).all()
