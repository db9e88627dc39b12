"""Training changes what it should, records it, and can be taken up again."""

import json
import signal
import threading
from dataclasses import replace

import numpy as np
import pytest
import torch
from small import (
    FLOAT32,
    SmallPCAVAE,
    SmallVAE,
    same,
    small_pca_vae,
    small_vae,
    weights,
)

import qghelpers as qg
from qghelpers.networks.pca import PrincipalComponents
from qghelpers.training import engine as engines
from qghelpers.training import runs
from qghelpers.training.loop import validate
from qghelpers.training.recipes import get_recipe


@pytest.fixture(scope="module")
def parts(jets):
    return jets[:96].split((0.8, 0.2))


@pytest.fixture(autouse=True)
def no_timing(monkeypatch):
    """For speed: what the engine finds out by timing is tested in `test_engine`."""
    monkeypatch.setattr(engines, "_by_time", lambda *_: "32-true")


def small(network: str, recipe: str, epochs: int) -> qg.Recipe:
    return get_recipe(network, recipe, epochs, batch_size=16)


def test_a_run_folder_is_filled_and_can_be_loaded(parts, tmp_path):
    model = small_vae()
    history = qg.fit(model, *parts, get_recipe("vae", "fast", 2), out=tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        "config.json",
        "history.csv",
        "model.safetensors",
        "best.safetensors",
        "last.ckpt",
        "previous.ckpt",
    }
    assert qg.read_history(tmp_path) == history
    loaded = qg.load_run(tmp_path)
    assert same(weights(model), weights(loaded))
    assert not loaded.training
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["network"] == "vae"
    assert config["train"] == {"jets": len(parts[0]), "fingerprint": parts[0].fingerprint()}


def test_principal_components_are_found_once_and_stay_as_they_are(parts, tmp_path, monkeypatch):
    recipe = small("vae", "fast", 1)
    model = small_pca_vae()
    qg.fit(model, *parts, recipe, out=tmp_path)
    found = qg.ZScore().fit(parts[0])
    found = PrincipalComponents(3).fit(found, parts[0])
    assert same(found.state_dict(), model.principal.state_dict())
    monkeypatch.setattr(SmallPCAVAE, "prepare", None)
    again = small_pca_vae()
    qg.fit(again, *parts, recipe, out=tmp_path, resume=True)
    assert same(weights(again), weights(model))


def test_the_best_weights_are_those_of_the_lowest_validation_loss(parts, tmp_path):
    model, after = small_vae(), []

    def spoil(history):
        after.append(weights(model))
        if len(history) == 2:
            torch.nn.init.constant_(model.from_latent[0].bias, 100.0)

    history = qg.fit(model, *parts, small("vae", "fast", 3), out=tmp_path, watch=[spoil])
    losses = [row["validation_loss"] for row in history]
    best = int(np.argmin(losses))
    assert best < 2
    assert same(after[best], weights(qg.load_run(tmp_path, "best")))
    assert same(after[-1], weights(qg.load_run(tmp_path)))


def test_the_loss_falls_and_the_parts_add_up(parts):
    model = small_vae(beta=0.5)
    history = qg.fit(model, *parts, small("vae", "reference", 4))
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
        qg.fit(model, *parts, get_recipe("vae", "fast", 1), seed=seed, engine=FLOAT32)
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
    ("network", "recipe", "batches"),  # in the third epoch, and at the end of the first
    [("vae", "fast", 12), ("vae", "reference", 12), ("unet", "reference", 5)],
)
def test_a_stopped_training_goes_on_to_the_same_weights(
    parts, tmp_path, capfd, network, recipe, batches
):
    recipe = small(network, recipe, 3)  # of 77 jets: five batches, the last one smaller

    def fresh():
        torch.manual_seed(0)
        return small_vae() if network == "vae" else qg.UNetAutoencoder()

    whole = fresh()
    expected = qg.fit(whole, *parts, recipe, engine=FLOAT32)

    model, calls = fresh(), []

    def loss(*args):
        calls.extend([1] * model.training)
        if model.training and len(calls) >= batches and not resumed:
            signal.raise_signal(signal.SIGINT)
        return type(model).loss(model, *args)

    resumed = False
    model.loss = loss
    history = qg.fit(model, *parts, recipe, out=tmp_path, engine=FLOAT32)
    assert len(history) < 3
    said = capfd.readouterr().err.splitlines()[-1]
    assert said.startswith(f"stopped in epoch {len(history) + 1} of 3, after ")
    assert "resume=True" in said
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler

    resumed = True
    model = fresh()
    history = qg.fit(model, *parts, recipe, out=tmp_path, resume=True)
    assert same(weights(whole), weights(model))
    timed = ("seconds", "images_per_second")
    for row, other in zip(history, expected, strict=True):
        assert {k: v for k, v in row.items() if k not in timed} == {
            k: v for k, v in other.items() if k not in timed
        }


def test_a_second_interruption_does_not_wait(parts):
    model = small_vae()

    def loss(*args):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)
        return type(model).loss(model, *args)

    model.loss = loss
    with pytest.raises(KeyboardInterrupt):
        qg.fit(model, *parts, small("vae", "fast", 1), engine=FLOAT32)
    assert not model.training


def test_training_in_a_thread_leaves_signals_alone(parts):
    result = []
    thread = threading.Thread(
        target=lambda: result.extend(qg.fit(small_vae(), *parts, small("vae", "fast", 1)))
    )
    thread.start()
    thread.join()
    assert len(result) == 1


def test_resuming_where_nothing_was_saved_starts(parts, tmp_path):
    recipe = small("vae", "fast", 1)
    first, second = small_vae(), small_vae()
    qg.fit(first, *parts, recipe, engine=FLOAT32)
    qg.fit(second, *parts, recipe, out=tmp_path / "new", resume=True, engine=FLOAT32)
    assert same(weights(first), weights(second))


def test_an_old_checkpoint_never_lies_beside_a_new_configuration(parts, tmp_path, monkeypatch):
    recipe = small("vae", "fast", 1)
    qg.fit(small_vae(), *parts, recipe, out=tmp_path)

    def killed(path, content):
        raise KeyboardInterrupt

    monkeypatch.setattr(runs, "write_json", killed)
    with pytest.raises(KeyboardInterrupt):
        qg.fit(small_vae(), *parts, replace(recipe, lr=1e-3), out=tmp_path, engine=FLOAT32)
    assert not list(tmp_path.glob("*.ckpt"))


def test_what_was_found_out_by_timing_is_kept_on_resume(parts, tmp_path):
    recipe = small("vae", "fast", 1)
    engine = qg.Engine(precision="bf16-mixed", compile=False)
    qg.fit(small_vae(), *parts, recipe, out=tmp_path, engine=engine)
    state = runs.load_checkpoint(tmp_path)
    assert state["engine"] == {"precision": "bf16-mixed", "compile": False}
    assert qg.Engine().with_recorded_choices(state["engine"]).precision == "bf16-mixed"
    other = qg.Engine(precision="32-true").with_recorded_choices(state["engine"])
    assert (other.precision, other.compile) == ("32-true", False)


def test_it_saves_within_an_epoch_by_the_clock(parts, tmp_path, monkeypatch):
    saved = []
    monkeypatch.setattr(runs, "save_checkpoint", lambda folder, state: saved.append(state["batch"]))
    qg.fit(small_vae(), *parts, small("vae", "fast", 1), out=tmp_path, save_every=0)
    assert saved == [1, 2, 3, 4, 5, 0]
    saved.clear()
    qg.fit(small_vae(), *parts, small("vae", "fast", 1), out=tmp_path, save_every=1e6)
    assert saved == [0]


def test_the_schedules_do_what_the_recipes_say(parts):
    def rates(name, epochs):
        history = qg.fit(small_vae(), *parts, small(*name, epochs))
        return [row["lr"] for row in history]

    cosine = rates(("unet", "reference"), 3)
    np.testing.assert_allclose(
        cosine, [5e-6 + (1e-4 - 5e-6) * (1 + np.cos(np.pi * i / 3)) / 2 for i in range(3)]
    )
    assert rates(("vae", "reference"), 2) == [1e-3, 1e-3]
    one_cycle = rates(("vae", "fast"), 4)
    assert max(one_cycle) > 10 * one_cycle[-1]


def test_resuming_something_else_is_refused(parts, tmp_path):
    recipe = small("vae", "fast", 1)
    qg.fit(small_vae(), *parts, recipe, out=tmp_path)

    def resume(model, jets, recipe, **options):
        qg.fit(model, *jets, recipe, out=tmp_path, resume=True, **options)

    with pytest.raises(qg.DataError, match=r"another training .of a vae, not a unet"):
        resume(qg.UNetAutoencoder(), parts, recipe)
    with pytest.raises(qg.DataError, match=r"another training .train jets 77, not 19"):
        resume(small_vae(), parts[::-1], recipe)
    with pytest.raises(qg.DataError, match=r"another training .recipe lr 0.002, not 0.1"):
        resume(small_vae(), parts, replace(recipe, lr=0.1))
    with pytest.raises(qg.DataError, match=r"another training .arguments beta 1.0, not 2.0"):
        resume(small_vae(beta=2.0), parts, recipe)
    with pytest.raises(qg.DataError, match=r"another training .seed 0, not 1"):
        resume(small_vae(), parts, recipe, seed=1)


@pytest.mark.parametrize("harm", ["flip", "cut", "empty"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(parts, tmp_path, capfd, harm):
    recipe = small("vae", "fast", 3)
    whole, resumed = small_vae(), small_vae()
    qg.fit(whole, *parts, recipe, out=tmp_path)
    path = tmp_path / "last.ckpt"
    content = bytearray(path.read_bytes())
    if harm == "flip":
        content[len(content) // 2] ^= 1
    path.write_bytes({"flip": content, "cut": content[:-100], "empty": b""}[harm])
    history = qg.fit(resumed, *parts, recipe, out=tmp_path, resume=True, progress=False)
    (said,) = capfd.readouterr().err.splitlines()[-1:]
    assert "last.ckpt cannot be resumed (it is not what was written): going on from prev" in said
    assert len(history) == 3
    assert same(weights(whole), weights(resumed))


def test_a_damaged_checkpoint_never_takes_the_place_of_the_good_one(tmp_path):
    last = tmp_path / "last.ckpt"
    for number in (1, 2):
        runs.save_checkpoint(tmp_path, {"number": number})
    last.write_bytes(b"nonsense")
    assert runs.load_checkpoint(tmp_path) == {"number": 1}
    runs.save_checkpoint(tmp_path, {"number": 3})
    last.write_bytes(b"nonsense")
    assert runs.load_checkpoint(tmp_path) == {"number": 1}


def test_two_damaged_checkpoints_are_one_clear_line(parts, tmp_path):
    recipe = small("vae", "fast", 2)
    qg.fit(small_vae(), *parts, recipe, out=tmp_path)
    for name in ("last.ckpt", "previous.ckpt"):
        (tmp_path / name).write_bytes(b"nonsense")
    with pytest.raises(qg.DataError, match=r"last.ckpt .*previous.ckpt .*without --resume"):
        qg.fit(small_vae(), *parts, recipe, out=tmp_path, resume=True)


def test_a_checkpoint_holds_tensors_and_plain_values_alone(parts, tmp_path):
    qg.fit(small_vae(), *parts, small("vae", "fast", 1), out=tmp_path)
    state = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert {"model", "optimizer", "scheduler", "random", "history", "batch"} < set(state)


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_a_damaged_run_is_one_clear_line(parts, tmp_path, name):
    recipe = get_recipe("vae", "fast", 1)
    qg.fit(small_vae(), *parts, recipe, out=tmp_path)
    (tmp_path / name).write_bytes(b"\x80\x04damaged")
    with pytest.raises(qg.DataError, match=name) as error:
        qg.load_run(tmp_path)
    assert "\n" not in str(error.value)


def test_a_loss_that_is_not_a_number_stops_and_keeps_the_last_good_weights(parts, tmp_path):
    model, good = small_vae(), []

    def spoil(history):
        good.append(weights(model))
        if len(history) == 2:
            torch.nn.init.constant_(model.from_latent[0].bias, float("nan"))

    recipe = small("vae", "fast", 4)
    with pytest.raises(FloatingPointError, match="loss is nan in epoch 3, batch 1 of 5") as error:
        qg.fit(model, *parts, recipe, out=tmp_path, watch=[spoil])
    assert "lower the learning rate" in str(error.value)
    assert same(good[1], weights(model))
    assert same(good[1], weights(qg.load_run(tmp_path)))
    assert same(good[1], runs.load_checkpoint(tmp_path)["model"])


def test_weights_that_are_not_numbers_are_not_saved(parts, tmp_path):
    class Broken(SmallVAE):  # its loss is a number, its gradient is not
        def loss(self, images, noise=None):
            parts = super().loss(images, noise)
            return parts | {"loss": parts["loss"] + (parts["loss"] - parts["loss"]).sqrt()}

    torch.manual_seed(0)
    model = Broken(latent_dim=3)
    with pytest.raises(FloatingPointError, match=r"no number|is nan"):
        qg.fit(model, *parts, small("vae", "fast", 1), out=tmp_path, save_every=0)
    assert not (tmp_path / "last.ckpt").exists()
    assert all(weight.isfinite().all() for weight in model.state_dict().values())


def test_a_batch_larger_than_the_data_is_refused(parts):
    with pytest.raises(ValueError, match="a batch of 128 is more than the 77 jets"):
        qg.fit(small_vae(), *parts, get_recipe("vae", "reference", 1))


def test_watchers_see_the_history_grow_and_the_bar_can_be_turned_off(parts, capfd):
    seen = []
    curve = qg.LossCurve(zero=100)
    watch = [lambda history: seen.append(len(history)), curve]
    qg.fit(small_vae(), *parts, small("vae", "fast", 3), watch=watch, progress=False)
    assert seen == [1, 2, 3]
    assert curve.picture.startswith(b"\x89PNG")
    assert capfd.readouterr() == ("", "")


def test_the_bar_tells_loss_speed_and_time_left(parts, capfd):
    qg.fit(small_vae(), *parts, small("vae", "fast", 2))
    last = capfd.readouterr().err.split("\r")[-1]
    assert "epoch 2/2" in last
    assert "154/154" in last  # of 77 jets, twice
    assert "images/s, loss " in last
    assert ", validation " in last
    assert "<00:00" in last


def test_tensorboard_is_written_to(parts, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    history = qg.fit(small_vae(), *parts, small("vae", "fast", 2), watch=[qg.TensorBoard(tmp_path)])
    events = EventAccumulator(str(tmp_path)).Reload()
    for tag, column in (("loss/train", "train_loss"), ("kl/validation", "validation_kl")):
        scalars = events.Scalars(tag)
        assert [scalar.step for scalar in scalars] == [1, 2]
        np.testing.assert_allclose([s.value for s in scalars], [row[column] for row in history])
