"""The weights that come with the package, their cards, and that the cards keep their word."""

import pytest
import torch
from scipy.stats import spearmanr, wasserstein_distance

import qghelpers as qg
from qghelpers.analysis import baselines, latent, metrics, observables, pretrained
from qghelpers.networks.prior import Prior
from qghelpers.training import runs

SHIPPED = sorted(path.stem for path in pretrained.WEIGHTS.glob("*.json"))
LARGEST = 6e6  # bytes


@pytest.mark.parametrize("name", SHIPPED)
def test_weights_are_small_and_come_with_a_card(name):
    path = pretrained.WEIGHTS / f"{name}.safetensors"
    assert path.stat().st_size <= LARGEST
    card = qg.pretrained_card(name)
    assert card["data"]["train"] >= 20_000
    assert card["test_jets"] == 5000
    assert {"network", "arguments", "recipe", "seed", "epochs", "commands"} <= set(card)
    assert card["results"]["all-zero image"]["MSE"] == [1, 0]


@pytest.mark.parametrize("name", SHIPPED)
def test_the_card_holds_for_jets_that_nobody_has_seen(name, jets):
    """Within four times the uncertainty that so few jets have."""
    model, card = qg.load_pretrained(name), qg.pretrained_card(name)
    row = card["results"][f"{card['network']} ({card['recipe_name']})"]
    own = metrics.compare({name: model}, model.scaling, jets)[name]
    for kind in ("MSE", "L1"):
        assert abs(own[kind][0] - row[kind][0]) < 4 * own[kind][1] + row[kind][1]


def test_the_vae_beats_pca_and_uses_its_latent_space(jets):
    card, model = qg.pretrained_card("vae"), qg.load_pretrained("vae")
    results = card["results"]
    own, pca = results["vae (sparse)"], results[f"PCA, {model.latent_dim} numbers"]
    assert own["MSE"][0] + 3 * own["MSE"][1] < pca["MSE"][0]
    closer = [own[f"W1 {name}"][0] < pca[f"W1 {name}"][0] for name in observables.NAMES]
    assert sum(closer) >= 6
    assert latent.active_dimensions(latent.encode(model, jets)[0]).mean() >= 0.9
    here = {"pca": baselines.pca(model.scaling, jets[:200], 32), "vae": model}
    table = metrics.compare(here, model.scaling, jets[200:])
    assert table["vae"]["MSE"][0] < table["pca"]["MSE"][0]


def test_a_fitted_prior_draws_what_it_was_fitted_to():
    torch.manual_seed(0)
    mixing = torch.randn(3, 3)
    prior = Prior(components=2, latent_dim=3)
    points = torch.randn(5000, 3) @ mixing + 5
    prior.fit(points.numpy())
    drawn, totals = prior.sample(5000)
    torch.testing.assert_close(drawn.mean(dim=0), points.mean(dim=0), atol=0.15, rtol=0)
    torch.testing.assert_close(drawn.T.cov(), points.T.cov(), atol=0.3, rtol=0.1)
    assert totals is None


def test_a_prior_draws_totals_of_any_distribution_together_with_what_they_go_with():
    torch.manual_seed(0)
    z = torch.randn(4000, 2)
    totals = torch.stack([z[:, 0].exp(), torch.rand(4000).round()], dim=1)  # skewed, two values
    prior = Prior(components=3, latent_dim=2, totals=2)
    assert prior.sample(5)[1] is None  # not known as yet
    drawn, own = prior.fit(z.numpy(), totals.numpy()).sample(4000)
    for index in range(2):
        scale = totals[:, index].std()
        assert wasserstein_distance(own[:, index], totals[:, index]) < 0.1 * scale
    assert spearmanr(drawn[:, 0], own[:, 0]).statistic > 0.97
    again = Prior(components=3, latent_dim=2, totals=2)
    again.load_state_dict(prior.state_dict())
    assert again.sample(5)[1].shape == (5, 2)


def test_what_the_vae_draws_has_the_totals_of_jets(jets):
    """Beside what two halves of the same few jets differ by."""
    model, truth = qg.load_pretrained("vae"), observables.of_jets(jets)
    torch.manual_seed(0)
    drawn = observables.observables(model.draw(len(jets)))
    for name in observables.NAMES[:6]:
        distance, error = metrics.wasserstein(truth[name], drawn[name])
        assert distance < 0.1 + 3 * error


def test_the_unet_reaches_what_was_asked_of_it_and_owes_it_to_one_skip(jets):
    card, model = qg.pretrained_card("unet"), qg.load_pretrained("unet")
    own = card["results"]["unet (fast)"]
    assert own["L1"][0] + 3 * own["L1"][1] < 0.35
    assert all(own[f"L1 {channel}"][0] < 0.6 for channel in jets.channels)
    part = jets[:100]
    zero = baselines.zero(model.scaling)
    error = {}
    for name, skips in {"all": (1, 1, 1, 1), "without 63": (1, 1, 1, 0)}.items():
        model.skips = skips
        rows = metrics.compare({"zero": zero, "unet": model}, model.scaling, part)
        error[name] = rows["unet"]["L1"][0]
    assert error["all"] < 0.35
    assert error["without 63"] > 1


@pytest.mark.parametrize("name", ["vae", "unet"])
def test_the_card_sets_it_beside_the_reference_recipe(name):
    results = qg.pretrained_card(name)["results"]
    (own,) = (
        row for key, row in results.items() if key.startswith(f"{name} (") and "ref" not in key
    )
    assert own["MSE"][0] < results[f"{name} (reference)"]["MSE"][0]


def test_a_run_can_be_shipped_once_it_is_judged(jets, tmp_path, monkeypatch):
    train, validation, test = jets.split()
    model = qg.VAE(latent_dim=3, widths=(4, 4, 4, 4), components=2)
    recipe = qg.get_recipe("vae", "fast", epochs=1)
    qg.fit(model, train, validation, recipe, out=tmp_path / "run", recipe_name="mine")
    with pytest.raises(qg.DataError, match="is not evaluated: run"):
        pretrained.ship(tmp_path / "run", train, [], "small")
    table = {"all-zero image": {"MSE": (1.0, 0.0)}}
    runs.write_json(tmp_path / "run" / "metrics.json", {"test_jets": 40, "table": table})
    pretrained.ship(tmp_path / "run", train, ["a command"], "small", tmp_path / "weights")
    monkeypatch.setattr(pretrained, "WEIGHTS", tmp_path / "weights")
    card = qg.pretrained_card("small")
    assert card["data"] == {"train": 320, "validation": 40}
    assert (card["epochs"], card["commands"], card["test_jets"]) == (1, ["a command"], 40)
    assert card["results"] == {"all-zero image": {"MSE": [1.0, 0.0]}}
    back = qg.load_pretrained("small")
    images = test.images(slice(0, 2))
    assert torch.equal(back.reconstruct(images), model.reconstruct(images))
    assert back.prior.means.abs().max() > 0


def test_an_unknown_name_and_damaged_weights_cost_one_line(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"no weights are shipped for 'gan': there are .*vae"):
        qg.load_pretrained("gan")
    card = (pretrained.WEIGHTS / "vae.json").read_bytes()
    weights = (pretrained.WEIGHTS / "vae.safetensors").read_bytes()
    (tmp_path / "vae.json").write_bytes(card)
    (tmp_path / "vae.safetensors").write_bytes(weights[: len(weights) // 2])
    monkeypatch.setattr(pretrained, "WEIGHTS", tmp_path)
    with pytest.raises(qg.DataError, match="does not hold this network"):
        qg.load_pretrained("vae")
