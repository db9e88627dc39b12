"""The weights that come with the package, their cards, and that the cards keep their word."""

import numpy as np
import pytest
import torch

import qghelpers as qg
from qghelpers.analysis import baselines, latent, metrics, observables, pretrained
from qghelpers.training import recipes

SHIPPED = sorted(path.stem for path in pretrained.WEIGHTS.glob("*.json"))
SEEN = sorted(pretrained.WEIGHTS.glob("*.seen.npy"))
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


@pytest.mark.skipif(not SEEN, reason="weights from before the numbers of their jets were kept")
@pytest.mark.parametrize("name", SHIPPED)
def test_the_jets_that_a_network_has_seen_are_as_many_as_its_card_says(name):
    seen, data = np.load(pretrained.WEIGHTS / f"{name}.seen.npy"), qg.pretrained_card(name)["data"]
    assert (seen.dtype, seen.shape) == (np.uint64, (data["train"] + data["validation"],))
    assert (np.diff(seen) > 0).all()  # no jet twice


@pytest.mark.parametrize("name", SHIPPED)
def test_the_card_holds_for_jets_that_nobody_has_seen(name, jets, monkeypatch):
    """Within four times the uncertainty that so few jets have."""
    monkeypatch.setattr(metrics, "RESAMPLES", 50)
    model, card = qg.load_pretrained(name), qg.pretrained_card(name)
    own_name = f"{recipes.command_name(card)} ({card['recipe_name']})"
    models = {"all-zero image": baselines.zero(model.scaling), own_name: model}
    for name, here in metrics.compare(models, model.scaling, jets).items():
        row = card["results"][name]
        assert here["parameters"] == tuple(row["parameters"])
        for column, (value, error) in here.items():
            if not column.startswith(("W1 ", "parameters")):
                assert abs(value - row[column][0]) <= 4 * error + row[column][1] + 1e-6, column


def test_the_vae_beats_pca_and_uses_its_latent_space(jets):
    card, model = qg.pretrained_card("vae"), qg.load_pretrained("vae")
    results = card["results"]
    own, pca = results["vae (sparse)"], results[f"PCA, {model.latent_dim} numbers"]
    assert own["MSE"][0] + 3 * own["MSE"][1] < pca["MSE"][0]
    asked = [name for name in own if name.startswith("W1 ")]
    closer = [own[name][0] < pca[name][0] for name in asked]
    assert sum(closer) >= 6
    assert latent.active_dimensions(latent.encode(model, jets)).mean() >= 0.9
    here = {"pca": baselines.pca(model.scaling, jets[:200], 32), "vae": model}
    table = metrics.compare(here, model.scaling, jets[200:])
    assert table["vae"]["MSE"][0] < table["pca"]["MSE"][0]


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


@pytest.mark.parametrize("name", SHIPPED)
def test_the_network_is_the_one_of_its_card_ready_to_evaluate_where_asked(name):
    card, model = qg.pretrained_card(name), qg.load_pretrained(name)
    assert model.name == card["network"]
    assert recipes.command_name(card) == name.split("-")[0]
    assert model.arguments == card["arguments"]
    assert not model.training
    assert next(model.parameters()).device.type == "cpu"
    assert next(qg.load_pretrained(name, "meta").parameters()).device.type == "meta"


def test_an_unknown_name_and_damaged_weights_cost_one_line(tmp_path, monkeypatch):
    with pytest.raises(
        ValueError, match="no weights are shipped for 'gan': there are unet, unet-masked, vae"
    ):
        qg.load_pretrained("gan")
    card = (pretrained.WEIGHTS / "vae.json").read_bytes()
    weights = (pretrained.WEIGHTS / "vae.safetensors").read_bytes()
    (tmp_path / "vae.json").write_bytes(card)
    (tmp_path / "vae.safetensors").write_bytes(weights[: len(weights) // 2])
    monkeypatch.setattr(pretrained, "WEIGHTS", tmp_path)
    with pytest.raises(qg.DataError, match="does not hold this network"):
        qg.load_pretrained("vae")
