"""Metrics say 1 for blank images and 0 for perfect ones, and are uncertain as they should be."""

import numpy as np
import pytest
import torch
from sklearn.metrics import roc_auc_score

from qghelpers import LogScale, ZScore, build
from qghelpers.analysis import baselines, metrics, observables, pixels
from qghelpers.analysis.baselines import Baseline


@pytest.fixture(scope="module")
def parts(jets):
    return jets.split((0.7, 0.3))


def formula(scaling, change):
    """A reconstruction that changes the scaled image; its code is the image itself."""
    return Baseline(scaling, change, lambda scaled: scaled)


def perfect(scaling):
    return formula(scaling, lambda scaled: scaled)


@pytest.mark.parametrize("scaling", [ZScore(), LogScale()])
def test_blank_images_score_one_and_perfect_ones_zero(parts, scaling):
    train, test = parts
    scaling.fit(train)
    models = {"blank": baselines.zero(scaling), "perfect": perfect(scaling)}
    table = metrics.compare(models, scaling, test)
    errors = {
        f"{kind}{channel}"
        for kind in ("MSE", "L1", "MSE GeV", "L1 GeV")
        for channel in ("", " Tracks", " ECAL", " HCAL")
    }
    assert all(table["blank"][name] == (1.0, 0.0) for name in errors)
    in_scaled_space = {name for name in errors if "GeV" not in name}
    assert all(table["perfect"][name] == (0.0, 0.0) for name in in_scaled_space)
    assert all(table["perfect"][name][0] == pytest.approx(0, abs=1e-4) for name in errors)
    assert (table["blank"]["IoU"], table["blank"]["false lit"]) == ((0, 0), (0, 0))
    assert table["perfect"]["IoU"] == (1, 0)
    for name in observables.NAMES:
        assert table["perfect"][f"W1 {name}"][0] < 1e-3 < 0.1 < table["blank"][f"W1 {name}"][0]
    shapes = {f"W1 {name}" for name in observables.NAMES}
    losses = {name for name in table["blank"] if name.startswith("lost ")}
    assert losses == {name for name in table["perfect"] if name.startswith("lost ")}
    assert all(table["perfect"][name] == (0, 0) for name in losses)
    returns = {name for name in table["blank"] if name.startswith("returned ")}
    assert all(table["blank"][name] == (0, 0) for name in returns)
    assert all(table["perfect"][name][0] == pytest.approx(1, abs=1e-4) for name in returns)
    counted = test.map(lambda images: pixels.lost_by_energy(images, images)[0]).sum(axis=0)
    for index, channel in enumerate(test.channels):
        classes = ("0.5 to 1 GeV", "1 to 3 GeV", "3 to 10 GeV", "above 10 GeV")
        for energy, number in zip(classes, counted[index], strict=True):
            expected = (1, 0) if number else None  # there is no share of no pixels
            assert table["blank"].get(f"lost {channel}, {energy}") == expected
    assert set(table["blank"]) == (
        errors | shapes | losses | returns | {"IoU", "false lit", "parameters"}
    )


def test_errors_are_sums_over_pixels(parts):
    scaling = LogScale()
    test = parts[1][:5]
    got = metrics.errors(baselines.zero(scaling), scaling, test)
    scaled, gev = scaling(test.images()).numpy(), 100 * test.images().numpy()
    np.testing.assert_allclose(got["MSE"], (scaled**2).sum(axis=(2, 3)), rtol=1e-4)
    np.testing.assert_allclose(got["L1"], np.abs(scaled).sum(axis=(2, 3)), rtol=1e-4)
    np.testing.assert_allclose(got["MSE GeV"], (gev**2).sum(axis=(2, 3)), rtol=1e-4)
    np.testing.assert_allclose(got["L1 GeV"], gev.sum(axis=(2, 3)), rtol=1e-4)


def test_lit_pixels_are_counted_as_written(parts):
    """A reconstruction that is the image moved by one pixel, and without Tracks."""
    scaling, test = LogScale(), parts[1][:5]
    kept = torch.tensor([0.0, 1.0, 1.0]).view(3, 1, 1)
    moved = formula(scaling, lambda scaled: kept * scaled.roll(1, dims=-1))
    got = metrics.errors(moved, scaling, test)
    lit = observables.lit(test.images()).numpy()
    other = np.roll(lit, 1, axis=-1) & (kept.numpy() > 0)
    assert lit.sum() > other.sum()
    for name, expected in {
        "both": lit & other,
        "either": lit | other,
        "false": other & ~lit,
        "unlit": ~lit,
    }.items():
        np.testing.assert_array_equal(got[name], expected.sum(axis=(1, 2, 3)))


def test_a_model_of_another_scaling_is_judged_by_its_image_in_gev(parts):
    train, test = parts
    zscore = ZScore().fit(train)
    found = metrics.errors(perfect(zscore), LogScale(), test[:5])
    assert found["MSE"].max() < 1e-6
    assert metrics.same_scaling(zscore, ZScore().fit(train))
    assert not metrics.same_scaling(zscore, ZScore().fit(train[:10]))
    assert not metrics.same_scaling(zscore, LogScale())


def test_what_is_lit_is_asked_of_the_sharp_image(parts):
    scaling, test = LogScale(), parts[1][:5]
    model = baselines.zero(scaling)
    model.sharp = lambda images: images
    got = metrics.errors(model, scaling, test)
    np.testing.assert_array_equal(got["both"], got["either"])
    assert got["energy ECAL"].min() > 0


def test_the_mean_image_is_the_best_constant(parts):
    scaling, train = LogScale(), parts[0]
    model = baselines.mean(scaling, train)
    assert metrics.compare({"mean": model}, scaling, train)["mean"]["MSE"][0] < 1
    expected = scaling(train.images()).mean(dim=0, keepdim=True)
    torch.testing.assert_close(model.reconstruct(train.images([0])), expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("scaling", [ZScore(), LogScale()])
def test_pca_improves_with_its_components_and_is_perfect_with_all(parts, scaling):
    few = parts[0][:20]
    scaling.fit(few)
    found = [
        metrics.errors(baselines.pca(scaling, few, k), scaling, few)["MSE"].sum()
        for k in (1, 8, 20)
    ]
    zero = metrics.errors(baselines.zero(scaling), scaling, few)["MSE"].sum()
    assert found[0] > found[1] > found[2]
    assert found[2] / zero == pytest.approx(0, abs=1e-4)


def test_parameters_are_counted(parts):
    scaling, train = LogScale(), parts[0][:30]
    models = baselines.all_baselines(scaling, train, 4) | {"network": build("unet")}
    table = metrics.compare(models, scaling, train[:3])
    counts = [row["parameters"][0] for row in table.values()]
    weights = sum(p.numel() for p in models["network"].parameters())
    assert counts == [0, 46_875, 5 * 46_875, weights]


def test_the_uncertainty_is_that_of_theory():
    rng = np.random.default_rng(0)
    numerator = rng.exponential(1, 2000)
    value, error = metrics.ratio(numerator, np.ones(2000))
    assert value == pytest.approx(numerator.mean())
    assert error == pytest.approx(numerator.std() / np.sqrt(2000), rel=0.1)


def test_the_distance_of_moved_values_is_how_far_they_were_moved():
    values = np.random.default_rng(0).normal(5, 2, 1000)
    distance, error = metrics.wasserstein(values, values + 1)
    assert distance == pytest.approx(1 / values.std())
    assert 0 <= error < 0.05


def test_format_table_shows_every_row_and_column():
    text = metrics.format_table({"a": {"MSE": (1.0, 0.1)}, "longer": {"L1": (0.5, 0.2)}})
    assert text.splitlines()[0].split() == ["a", "longer"]
    assert text.splitlines()[1].split() == ["MSE", "1.000", "±", "0.100"]
    assert text.splitlines()[2].split() == ["L1", "0.500", "±", "0.200"]


def test_auc_of_separated_and_of_equal_scores():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=300), rng.normal(size=300)
    assert metrics.auc(a, a + 100) == pytest.approx((1, 0))
    value, error = metrics.auc(a, b)
    assert value == pytest.approx(0.5, abs=3 * error)
    assert error == pytest.approx(np.sqrt(601 / (12 * 300 * 300)), rel=0.3)
    false, true = metrics.roc(a, b)
    assert np.trapezoid(true, false) == pytest.approx(value)


def test_few_draws_of_many_jets_are_held_at_once(monkeypatch):
    monkeypatch.setattr(metrics, "AT_ONCE", 300)
    rng, sizes = np.random.default_rng(0), []

    def mean(a, b, axis=-1):
        sizes.append(a.size)
        return a.mean(axis=axis) - b.mean(axis=axis)

    _, error = metrics.with_error(mean, rng.normal(size=100), rng.normal(size=50), paired=False)
    assert max(sizes) == 300
    assert sum(sizes) == 100 * (metrics.RESAMPLES + 1)  # the draws, and the samples themselves
    assert error == pytest.approx((1 / 100 + 1 / 50) ** 0.5, rel=0.3)


def test_auc_counts_a_tie_as_half_a_pair():
    rng = np.random.default_rng(0)
    few, many = rng.integers(0, 5, 30), rng.integers(1, 6, 70)
    expected = roc_auc_score(np.repeat([0, 1], [30, 70]), np.concatenate([few, many]))
    assert metrics.auc(few, many)[0] == pytest.approx(expected, abs=1e-12)
    with pytest.raises(ValueError, match="nan"):
        metrics.auc(few, np.append(many, np.nan))


def test_a_table_prints_as_text_and_shows_as_html():
    table = metrics.Table({"a<b": {"MSE": (1.0, 0.1), "L1": (2.0, 0.0)}, "c": {"MSE": (0.5, 0.2)}})
    assert str(table) == repr(table) == metrics.format_table(dict(table))
    assert list(table.only(["L1"])["a<b"]) == ["L1"]
    assert "L1" not in table.only(["MSE"]).columns()
    html = table._repr_html_()
    assert "<th>a&lt;b</th><th>c</th>" in html
    assert "<tr><th>MSE</th><td>1.000 ± 0.100</td><td>0.500 ± 0.200</td></tr>" in html
    assert "<tr><th>L1</th><td>2</td><td></td></tr>" in html


def test_the_distance_of_unrelated_samples_is_not_resampled_in_pairs():
    """Values that go together move together, so their distance is known better."""
    rng = np.random.default_rng(0)
    truth = rng.normal(size=400)
    paired = metrics.wasserstein(truth, truth + 1, paired=True)
    apart = metrics.wasserstein(truth, truth + 1, paired=False)
    assert paired[0] == apart[0]
    assert apart[1] > 5 * paired[1]
    other = dict.fromkeys(observables.NAMES, truth + 1)
    same = dict.fromkeys(observables.NAMES, truth)
    name = f"W1 {observables.NAMES[0]}"
    assert metrics.distances(same, other, paired=False)[name] == apart
    assert metrics.distances(same, other)[name] == paired


@pytest.mark.parametrize("network", ["vae", "unet"])
def test_the_loss_of_a_blank_image_is_in_the_networks_own_terms(parts, network):
    train, test = parts
    model = build(network, "reference")
    model.scaling.fit(train)
    scaled, zero = model.scaling(test.images()), model.scaling(torch.zeros(1, 3, 125, 125))
    off = scaled - zero
    expected = {"vae": off.square().sum(dim=(1, 2, 3)), "unet": off.abs().mean(dim=(1, 2, 3))}
    found = baselines.zero_loss(model, test)
    assert found == pytest.approx(expected[network].mean().item(), rel=1e-4)


def test_squared_errors_are_taken_in_every_space_that_is_asked_for(parts):
    """In a network's own space of its image there; in any other, of its energy, scaled."""
    train, test = parts
    log, zscore = LogScale(), ZScore().fit(train)
    models = {"log": baselines.mean(log, train), "z": baselines.mean(zscore, train)}
    table = metrics.compare(models, log, test, {"log": log, "z-score": zscore})
    blank = metrics.errors(baselines.zero(zscore), zscore, test)["MSE"].sum()
    for name, model in models.items():
        assert table[name]["MSE"] == table[name]["MSE log"]
        energy = model.reconstruct_energy(test.images(slice(2)))[0]
        off = test.map(
            lambda images, e=energy: (zscore(images) - zscore(e)).square().sum((1, 2, 3))
        )
        assert table[name]["MSE z-score"][0] == pytest.approx(off.sum() / blank, rel=1e-4)
    assert table["log"]["MSE log"][0] < table["z"]["MSE log"][0]
    assert table["log"]["MSE z-score"][0] > table["z"]["MSE z-score"][0]
    assert "MSE z-score Tracks" in table["z"]
