"""Training changes what it should, records it, and can be taken up again."""

import json

import numpy as np
import pytest
import torch

import qghelpers as qg
from qghelpers import runs
from qghelpers.recipes import get_recipe
from qghelpers.training import validate


@pytest.fixture(scope="module")
def parts(jets):
    return jets[:96].split((0.8, 0.2))


def small_vae(seed: int = 0, **arguments) -> qg.VAE:
    torch.manual_seed(seed)
    return qg.VAE(latent_dim=3, widths=(4, 4, 4, 4), **arguments)


def weights(model) -> dict[str, torch.Tensor]:
    return {name: tensor.clone() for name, tensor in model.state_dict().items()}


def same(a, b) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


def test_a_run_folder_is_filled_and_can_be_loaded(parts, tmp_path):
    model = small_vae()
    history = qg.fit(model, *parts, get_recipe("vae", "fast", 2), out=tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "config.json",
        "history.csv",
        "model.safetensors",
        "last.ckpt",
    }
    assert qg.read_history(tmp_path) == history
    loaded = qg.load_run(tmp_path)
    assert same(weights(model), weights(loaded))
    assert not loaded.training
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["network"] == "vae"
    assert config["train"] == {"jets": len(parts[0]), "fingerprint": parts[0].fingerprint()}


def test_the_loss_falls_and_the_parts_add_up(parts):
    model = small_vae(beta=0.5)
    history = qg.fit(model, *parts, get_recipe("vae", "reference", 4))
    assert history[-1]["train_loss"] < history[0]["train_loss"]
    row = history[-1]
    assert row["train_kl"] > 0
    assert row["train_loss"] == pytest.approx(
        row["train_reconstruction"] + 0.5 * row["train_kl"], rel=1e-3
    )


def test_training_is_reproducible_and_leaves_the_random_state_alone(parts):
    results = []
    for seed in (1, 1, 2):
        model = small_vae()
        before = torch.get_rng_state()
        qg.fit(model, *parts, get_recipe("vae", "fast", 1), seed=seed)
        assert torch.equal(before, torch.get_rng_state())
        results.append(weights(model))
    assert same(results[0], results[1])
    assert not same(results[0], results[2])


def test_validation_changes_nothing_and_is_a_mean_over_jets(parts):
    model = qg.UNetAutoencoder()
    before = weights(model)
    losses = validate(model, parts[1], batch_size=7)
    assert same(before, weights(model))
    with torch.no_grad():
        expected = model.loss(parts[1].images())["loss"].mean().item()
    assert losses["loss"] == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("network", "recipe"), [("vae", "fast"), ("vae", "reference"), ("unet", "reference")]
)
def test_a_resumed_training_ends_at_the_same_weights(parts, tmp_path, monkeypatch, network, recipe):
    recipe = get_recipe(network, recipe, 3)

    def fresh():
        torch.manual_seed(0)
        return small_vae() if network == "vae" else qg.UNetAutoencoder()

    whole = fresh()
    expected = qg.fit(whole, *parts, recipe)

    saved = runs.save

    def save_and_die(folder, model, state, history):
        saved(folder, model, state, history)
        if len(history) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(runs, "save", save_and_die)
    with pytest.raises(KeyboardInterrupt):
        qg.fit(fresh(), *parts, recipe, out=tmp_path)
    monkeypatch.setattr(runs, "save", saved)
    resumed = fresh()
    history = qg.fit(resumed, *parts, recipe, out=tmp_path, resume=True)
    assert same(weights(whole), weights(resumed))
    assert [row["validation_loss"] for row in history] == [
        row["validation_loss"] for row in expected
    ]


def test_the_schedules_do_what_the_recipes_say(parts):
    def rates(name, epochs):
        history = qg.fit(small_vae(), *parts, get_recipe(*name, epochs))
        return [row["lr"] for row in history]

    cosine = rates(("unet", "reference"), 3)
    np.testing.assert_allclose(
        cosine, [5e-6 + (1e-4 - 5e-6) * (1 + np.cos(np.pi * i / 3)) / 2 for i in range(3)]
    )
    assert rates(("vae", "reference"), 2) == [1e-3, 1e-3]
    one_cycle = rates(("vae", "fast"), 4)
    assert max(one_cycle) > 10 * one_cycle[-1]


def test_the_reference_recipes_are_the_documents():
    unet = get_recipe("unet", "reference")
    assert (unet.optimizer, unet.lr, unet.weight_decay) == ("AdamW", 1e-4, 1e-4)
    assert (unet.schedule, unet.lr_min, unet.epochs, unet.batch_size) == ("cosine", 5e-6, 30, 128)
    vae = get_recipe("vae", "reference")
    assert (vae.optimizer, vae.schedule) == ("Adam", "plateau")


def test_resuming_something_else_is_refused(parts, tmp_path):
    recipe = get_recipe("vae", "fast", 1)
    qg.fit(small_vae(), *parts, recipe, out=tmp_path)
    with pytest.raises(qg.DataError, match="another network, recipe, seed or set of jets"):
        qg.fit(small_vae(), *parts[::-1], recipe, out=tmp_path, resume=True)


def take_up(name, parts, recipe, folder):
    if name == "last.ckpt":
        qg.fit(small_vae(), *parts, recipe, out=folder, resume=True)
    else:
        qg.load_run(folder)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "last.ckpt"])
def test_a_damaged_run_is_one_clear_line(parts, tmp_path, name):
    recipe = get_recipe("vae", "fast", 1)
    qg.fit(small_vae(), *parts, recipe, out=tmp_path)
    (tmp_path / name).write_bytes(b"\x80\x04damaged")
    with pytest.raises(qg.DataError, match=name) as error:
        take_up(name, parts, recipe, tmp_path)
    assert "\n" not in str(error.value)


def test_a_loss_that_is_not_a_number_stops_the_training(parts, tmp_path):
    model = small_vae()
    torch.nn.init.constant_(model.to_posterior.bias, float("nan"))
    with pytest.raises(FloatingPointError, match="epoch 1"):
        qg.fit(model, *parts, get_recipe("vae", "fast", 1), out=tmp_path)
    assert not (tmp_path / "model.safetensors").exists()


def test_load_or_fit_trains_once(parts, tmp_path, capfd):
    recipe = get_recipe("vae", "fast", 1)
    first = qg.load_or_fit(small_vae(0), *parts, recipe, out=tmp_path)
    assert "made now" in capfd.readouterr().out
    second = qg.load_or_fit(small_vae(1), *parts, recipe, out=tmp_path)
    assert "loaded" in capfd.readouterr().out
    assert same(weights(first), weights(second))
    other = get_recipe("vae", "fast", 2)
    qg.load_or_fit(small_vae(), *parts, other, out=tmp_path)
    assert "made now" in capfd.readouterr().out
    assert len(qg.read_history(tmp_path)) == 2
