"""Weights are shipped by one command, from a run that is judged."""

import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

import qghelpers as qg
from qghelpers.analysis import pretrained
from qghelpers.networks.sparse_vae import SparseVAE
from qghelpers.training import runs

FILE = Path(__file__).parents[1] / "benchmarks" / "ship.py"
shipping = SimpleNamespace(**runpy.run_path(str(FILE)))


def test_a_run_can_be_shipped_once_it_is_judged(jets, tmp_path, monkeypatch):
    train, validation, test = jets.split()
    model = SparseVAE(latent_dim=3, widths=(4, 4), components=2)
    recipe = qg.get_recipe("vae", "sparse", epochs=1)
    qg.fit(model, train, validation, recipe, out=tmp_path / "run", recipe_name="mine")
    with pytest.raises(qg.DataError, match="is not evaluated: run"):
        shipping.ship(tmp_path / "run", train, validation, [], "small")
    table = {"all-zero image": {"MSE": (1.0, 0.0), "seconds to train": (3.0, 0.0)}}
    runs.write_json(tmp_path / "run" / "metrics.json", {"test_jets": 40, "table": table})
    for parts in ((train, test), (test, validation)):
        with pytest.raises(qg.DataError, match="run was trained on other jets"):
            shipping.ship(tmp_path / "run", *parts, [], "small", tmp_path / "none")
    assert not (tmp_path / "none").exists()
    folder = tmp_path / "weights"
    shipping.ship(
        tmp_path / "run", train, validation, ["a command"], "small", folder, ["also tried"]
    )
    monkeypatch.setattr(pretrained, "WEIGHTS", tmp_path / "weights")
    card = qg.pretrained_card("small")
    assert card["data"] == {"train": 320, "validation": 40}
    assert (card["epochs"], card["commands"], card["test_jets"]) == (1, ["a command"], 40)
    assert card["results"] == {"all-zero image": {"MSE": [1.0, 0.0]}}
    assert card["notes"] == ["also tried"]
    back = qg.load_pretrained("small")
    images = test.images(slice(0, 2))
    model.to(memory_format=torch.contiguous_format)  # as loaded: the layout decides the rounding
    assert torch.equal(back.reconstruct(images), model.reconstruct(images))
    assert back.prior.means.abs().max() > 0
    qg.require_unseen("small", test)
    for seen, number in ((train[:3], 3), (validation[:1], 1), (jets, 360)):
        with pytest.raises(qg.DataError, match=f"small was trained on {number} of these"):
            qg.require_unseen("small", seen)


def test_of_a_vae_the_encoder_alone_can_be_shipped(jets, tmp_path):
    model = qg.VAE(latent_dim=3)
    qg.fit(model, jets[:40], jets[40:60], qg.Recipe(epochs=1, batch_size=20), out=tmp_path / "run")
    path = shipping.ship_encoder(tmp_path / "run", "small", tmp_path)
    kept = load_file(path)
    assert {name.split(".")[0] for name in kept} == {"scaling", "encoder", "to_posterior"}
    assert kept["to_posterior.weight"].dtype == torch.float16
    state = model.state_dict()
    for name, tensor in kept.items():
        torch.testing.assert_close(tensor.to(state[name]), state[name], rtol=1e-3, atol=1e-5)
    assert kept["scaling.mean"].dtype == torch.float32
