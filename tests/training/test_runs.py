"""A run folder holds what it says, and a wrong one is told in one line."""

import csv
import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from small import FLOAT32, same, small_vae, weights

import qghelpers as qg
from qghelpers.data import hdf5
from qghelpers.training import runs


@pytest.fixture
def parts(jets):
    return jets[:60].split((0.8, 0.2), seed=1)


def trained(parts, folder, model=None, **options):
    options = {"engine": FLOAT32, "progress": False, "seed": 4} | options
    recipe = options.pop("recipe", qg.Recipe(epochs=2, batch_size=16, lr=1e-3))
    return qg.fit(model or small_vae(), *parts, recipe, out=folder, **options)


def test_the_configuration_says_what_decides_the_outcome(parts, tmp_path):
    train, validation = parts
    recipe = qg.Recipe("Adam", 3e-4, "cosine", 1, 16, 0.5, 1e-5)
    model = small_vae(latent_dim=2, beta=0.25)
    trained(parts, tmp_path, model, recipe=recipe, colour="blue", limit=None)
    assert json.loads((tmp_path / "config.json").read_text()) == {
        "network": "vae",
        "class": "small.SmallVAE",
        "arguments": {"latent_dim": 2, "beta": 0.25, "scaling": "zscore"},
        "recipe": {
            "optimizer": "Adam",
            "lr": 3e-4,
            "schedule": "cosine",
            "epochs": 1,
            "batch_size": 16,
            "weight_decay": 0.5,
            "lr_min": 1e-5,
        },
        "seed": 4,
        "source": train.source,
        "train": {"jets": 48, "fingerprint": train.fingerprint()},
        "validation": {"jets": 12, "fingerprint": validation.fingerprint()},
        "colour": "blue",
        "limit": None,
    }


def test_without_a_recipe_it_is_the_default_of_the_network(jets, tmp_path):
    parts = jets[:90].split((0.8, 0.2))
    watch = [lambda history: (_ for _ in ()).throw(KeyboardInterrupt)]
    for model, batch in ((qg.UNetAutoencoder(), 32), (small_vae(), 64)):
        with pytest.raises(KeyboardInterrupt):
            qg.fit(model, *parts, out=tmp_path, watch=watch, engine=FLOAT32, progress=False)
        assert runs.read_config(tmp_path)["recipe"]["batch_size"] == batch


def test_the_scaling_is_fitted_on_the_training_jets(parts, tmp_path):
    model = small_vae()
    trained(parts, tmp_path, model)
    expected = qg.ZScore().fit(parts[0])
    assert same(expected.state_dict(), model.scaling.state_dict())
    assert same(expected.state_dict(), qg.load_run(tmp_path).scaling.state_dict())
    assert not same(expected.state_dict(), qg.ZScore().fit(parts[1]).state_dict())


def test_history_is_a_table_with_a_row_for_each_epoch(parts, tmp_path):
    history = trained(parts, tmp_path)
    with (tmp_path / "history.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [float(row["epoch"]) for row in rows] == [1, 2]
    assert list(rows[0]) == list(history[0])
    assert qg.read_history(tmp_path) == history
    assert qg.read_history(tmp_path / "nothing") == []


def test_a_new_epoch_keeps_the_best_weights_and_replaces_the_last(tmp_path):
    losses = [5.0, 3.0, 4.0, 3.5, 2.0, 2.0]
    kept = []
    for epoch in range(len(losses)):
        model = small_vae(seed=epoch)
        kept.append(weights(model))
        history = [{"epoch": i + 1, "validation_loss": losses[i]} for i in range(epoch + 1)]
        runs.save_epoch(tmp_path, model, history)
        best = int(np.argmin(losses[: epoch + 1]))
        best = epoch if losses[epoch] == min(losses[: epoch + 1]) else best
        assert same(kept[epoch], load_file(tmp_path / "model.safetensors"))
        assert same(kept[best], load_file(tmp_path / "best.safetensors"))


def test_a_checkpoint_and_the_one_before_are_kept(tmp_path):
    for number in range(4):
        runs.save_checkpoint(tmp_path, {"number": number})
        assert runs._read_checkpoint(tmp_path / "last.ckpt") == {"number": number}
        if number:
            assert runs._read_checkpoint(tmp_path / "previous.ckpt") == {"number": number - 1}
    (tmp_path / "last.ckpt").unlink()
    assert runs.load_checkpoint(tmp_path) == {"number": 2}
    assert runs.load_checkpoint(tmp_path / "nothing") is None


@pytest.mark.parametrize("place", [0, 40, -70, -1])
def test_any_changed_byte_of_a_checkpoint_is_noticed(tmp_path, place):
    runs.save_checkpoint(tmp_path, {"tensor": torch.zeros(100)})
    content = bytearray((tmp_path / "last.ckpt").read_bytes())
    content[place] ^= 1
    (tmp_path / "last.ckpt").write_bytes(content)
    with pytest.raises(qg.DataError, match=r"last.ckpt cannot be resumed .*train without --resume"):
        runs.load_checkpoint(tmp_path)


def test_a_state_is_restored_whole(parts, tmp_path):
    """Optimiser, schedule, counters and chance: each is part of what comes next."""
    trained(parts, tmp_path, recipe=qg.Recipe(epochs=2, batch_size=16, lr=1e-3))
    state = runs.load_checkpoint(tmp_path)
    assert set(state) == {
        *("model", "optimizer", "scheduler", "history", "batch", "sums", "seconds", "random"),
        "engine",
        "config",
    }

    class Part:
        def load_state_dict(self, state):
            self.state = state

    class Restored:
        model, optimizer, scheduler = Part(), Part(), Part()

    torch.manual_seed(99)
    training = Restored()
    runs.load_state(training, state)
    for name in ("model", "optimizer", "scheduler"):
        assert getattr(training, name).state is state[name]
    for name in ("history", "batch", "sums", "seconds", "random"):
        assert getattr(training, name) is state[name]
    assert torch.equal(torch.get_rng_state(), state["random"])
    assert state["scheduler"]["last_epoch"] == 6  # batches of the one-cycle schedule


def test_a_new_run_leaves_nothing_of_an_old_one(parts, tmp_path):
    trained(parts, tmp_path)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    half = [f".{name}.{hdf5._host()}-{dead.pid}-{1:08x}.part" for name in ("half", "last.ckpt")]
    for name in ("metrics.json", *half):
        (tmp_path / name).touch()
    (tmp_path / "notes.txt").write_text("mine")
    runs.start(tmp_path, {"new": 1})
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config.json", "notes.txt"]
    assert runs.read_config(tmp_path) == {"new": 1}


@pytest.mark.parametrize("name", ["last.ckpt", "previous.ckpt"])
def test_a_folder_with_a_training_is_not_overwritten(tmp_path, name):
    runs.refuse_to_overwrite(tmp_path)
    (tmp_path / name).touch()
    with pytest.raises(qg.DataError, match=r"holds a training already: --resume goes on"):
        runs.refuse_to_overwrite(tmp_path)


def test_last_and_best_weights_are_loaded_by_name_ready_to_evaluate(parts, tmp_path):
    trained(parts, tmp_path)
    last, best = small_vae(seed=1), small_vae(seed=2)
    (tmp_path / "model.safetensors").write_bytes(runs.weights_of(last))
    (tmp_path / "best.safetensors").write_bytes(runs.weights_of(best))
    for which, model in ((None, last), ("last", last), ("best", best)):
        loaded = qg.load_run(tmp_path) if which is None else qg.load_run(tmp_path, which)
        assert same(weights(model), weights(loaded))
        assert not loaded.training


def test_what_is_no_run_folder_is_told(tmp_path):
    with pytest.raises(qg.DataError, match=r"no run folder .config.json: No such file"):
        qg.load_run(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(qg.DataError, match=r"config.json is damaged .*: train again"):
        runs.read_config(tmp_path)


def test_weights_of_another_network_are_told(parts, tmp_path):
    trained(parts, tmp_path)
    (tmp_path / "model.safetensors").write_bytes(runs.weights_of(qg.UNetAutoencoder()))
    with pytest.raises(qg.DataError, match=r"model.safetensors does not hold this network"):
        qg.load_run(tmp_path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"network": "unet"}, "of a unet, not a vae"),
        ({"source": "elsewhere"}, "of other jets"),
        ({"seed": 7}, "seed 7, not 4"),
        ({"train": {"jets": 48, "fingerprint": "x"}}, "train fingerprint x, not"),
        ({"recipe": {"lr": 0.5}}, "recipe optimizer None, not AdamW; recipe lr 0.5, not 0.001"),
        ({"limit": 9}, "limit 9"),
    ],
)
def test_what_differs_from_a_run_is_told(parts, tmp_path, change, message):
    trained(parts, tmp_path)
    config = runs.read_config(tmp_path)
    assert runs.load_resume_state(tmp_path, config) is not None
    runs.write_json(tmp_path / "config.json", config | change)
    with pytest.raises(qg.DataError, match=f"holds another training .{message}"):
        runs.load_resume_state(tmp_path, config)
    with pytest.raises(ValueError, match="resume needs the run folder: pass out="):
        runs.load_resume_state(None, config)


def test_errors_of_the_first_process_are_raised(tmp_path):
    class Fabric:
        global_rank, world_size = 0, 1

    def fail(error):
        raise error

    for error in (qg.DataError("x"), FloatingPointError("y"), ZeroDivisionError()):
        with pytest.raises(type(error)):
            runs.on_first_process(Fabric, fail, error)
    done = []
    runs.on_first_process(Fabric, done.append, 3)
    Fabric.global_rank = 1
    runs.on_first_process(Fabric, done.append, 4)
    assert done == [3]
