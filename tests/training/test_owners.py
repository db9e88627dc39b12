"""A run folder is one training's: no other one writes there, and its files belong together."""

import random
import shutil
import subprocess
import sys
import time
from contextlib import ExitStack, nullcontext
from pathlib import Path

import pytest
import torch
from forked import start_method
from small import FLOAT32, same, small_vae, weights

import qghelpers as qg
from qghelpers.evaluation.table import evaluate
from qghelpers.training import owners, runs


@pytest.fixture
def parts(jets):
    return jets[:60].split((0.8, 0.2), seed=1)


def trained(parts, folder, model=None, **options):
    options = {"engine": FLOAT32, "progress": False} | options
    recipe = qg.Recipe(epochs=options.pop("epochs", 1), batch_size=24)
    return qg.fit(model or small_vae(), *parts, recipe, out=folder, **options)


HOLD = """
import sys, time
from contextlib import ExitStack
from pathlib import Path
from qghelpers.training import owners
with ExitStack() as stack:
    owners.hold(Path(sys.argv[1]), stack)
    print("held", flush=True)
    time.sleep(30)
"""


def test_a_folder_in_use_is_refused(parts, tmp_path):
    command = [sys.executable, "-c", HOLD, str(tmp_path / "run")]
    other = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert other.stdout.readline() == "held\n"
    for resume in (False, True):
        with pytest.raises(qg.DataError, match=r"another training is at work in .*run: wait for"):
            trained(parts, tmp_path / "run", resume=resume)
    assert not (tmp_path / "run" / "config.json").exists()
    other.kill()
    other.communicate()
    trained(parts, tmp_path / "run")


def test_a_folder_is_free_again_whatever_ends_the_training(parts, tmp_path):
    def fail(history):
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        trained(parts, tmp_path, watch=[fail])
    with ExitStack() as stack:
        owners.hold(tmp_path, stack)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize("options", [{"overwrite": False}, {"resume": True}])
def test_a_training_that_ended_meanwhile_is_not_overwritten(parts, tmp_path, monkeypatch, options):
    """Between the first look at the folder and its lock."""
    hold = owners.hold

    def late(folder, stack):
        monkeypatch.setattr(owners, "hold", hold)
        trained(parts, tmp_path, seed=5)
        hold(folder, stack)

    monkeypatch.setattr(owners, "hold", late)
    with pytest.raises(qg.DataError, match="holds a training already: --resume goes on"):
        trained(parts, tmp_path, **options)
    assert runs.read_config(tmp_path)["seed"] == 5
    qg.load_run(tmp_path)


@pytest.mark.parametrize("name", ["config.json", "history.csv", "model.safetensors"])
def test_files_of_two_trainings_are_not_taken_for_one(parts, tmp_path, jets, name):
    """As they were left by two trainings at once, before there were locks."""
    one, two = tmp_path / "one", tmp_path / "two"
    trained(parts, one, seed=1)
    trained(parts, two, small_vae(seed=9), seed=2)
    qg.load_run(one)
    shutil.copy(two / name, one / name)
    other = "history.csv" if name == "history.csv" else "config.json"
    expected = rf"model.safetensors and {other} are not of the same training.* folder of its own"
    for ask in (lambda: qg.load_run(one), lambda: evaluate(one, jets)):
        with pytest.raises(qg.DataError, match=expected):
            ask()


def test_a_run_of_which_no_epoch_has_ended_is_told(parts, tmp_path):
    runs.start(tmp_path, {"network": "vae", "class": "small.SmallVAE", "arguments": {}})
    with pytest.raises(qg.DataError, match=r"model.safetensors does not exist: no epoch of that"):
        qg.load_run(tmp_path)


@pytest.mark.parametrize("content", ["epoch,lr\n1,x\n", "epoch,lr\n1\n", "epoch\n1,2\n", "\xff"])
def test_a_damaged_history_is_one_line(parts, tmp_path, content):
    trained(parts, tmp_path)
    (tmp_path / "history.csv").write_text(content, "latin-1")
    with pytest.raises(qg.DataError, match=r"history.csv (is damaged|are not of the same)"):
        qg.load_run(tmp_path)


def test_the_same_weights_of_the_same_training_are_the_same_file():
    mark = {"config": "a", "history": "b", "epochs": "3"}
    assert len({runs.weights_of(small_vae(), mark) for _ in range(20)}) == 1


def test_the_best_weights_belong_to_an_earlier_part_of_the_history(parts, tmp_path):
    trained(parts, tmp_path, epochs=3)
    history = qg.read_history(tmp_path)
    config = runs.read_config(tmp_path)
    for epochs in (1, 2, 3):
        mark = owners.identity(config, history[:epochs])
        (tmp_path / "best.safetensors").write_bytes(runs.weights_of(small_vae(), mark))
        qg.load_run(tmp_path, "best")
    history[1]["validation_loss"] += 1
    (tmp_path / "best.safetensors").write_bytes(
        runs.weights_of(small_vae(), owners.identity(config, history))
    )
    with pytest.raises(qg.DataError, match=r"best.safetensors and history.csv are not"):
        qg.load_run(tmp_path, "best")


def test_weights_and_configuration_alone_can_be_handed_on(parts, tmp_path):
    trained(parts, tmp_path / "run")
    (tmp_path / "sent").mkdir()
    for name in ("config.json", "model.safetensors"):
        shutil.copy(tmp_path / "run" / name, tmp_path / "sent")
    assert same(weights(qg.load_run(tmp_path / "run")), weights(qg.load_run(tmp_path / "sent")))


def test_killed_between_history_and_weights_the_run_can_be_loaded(parts, tmp_path, monkeypatch):
    replace, written = runs._replace, []

    def killed(path, write):
        written.append(path.name)
        if len(written) > 3 and path.name == "model.safetensors":
            raise KeyboardInterrupt
        replace(path, write)

    monkeypatch.setattr(runs, "_replace", killed)
    with pytest.raises(KeyboardInterrupt):
        trained(parts, tmp_path, epochs=2)
    assert len(qg.read_history(tmp_path)) == 2
    qg.load_run(tmp_path)
    qg.load_run(tmp_path, "best")


def test_a_checkpoint_of_another_training_is_not_resumed(parts, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    trained(parts, one, seed=1)
    trained(parts, two, seed=2)
    shutil.copy(two / "last.ckpt", one / "last.ckpt")
    with pytest.raises(qg.DataError, match=r"one has another training's checkpoint: train with --"):
        trained(parts, one, seed=1, resume=True)


def test_without_locks_the_first_training_stops_when_another_one_takes_its_folder(
    parts, tmp_path, monkeypatch
):
    monkeypatch.setattr(owners, "locked", lambda path, wait: nullcontext())

    def begin_another(history):
        if len(history) == 1:
            trained(parts, tmp_path, seed=5)

    with pytest.raises(qg.DataError, match=r"another training has taken .*: choose another folder"):
        trained(parts, tmp_path, epochs=2, watch=[begin_another])
    assert runs.read_config(tmp_path)["seed"] == 5
    assert len(qg.read_history(tmp_path)) == 1
    qg.load_run(tmp_path)


def test_plain_values_of_any_kind_can_be_noted(parts, tmp_path):
    """They come back from the file as other ones: tuples as lists, numbers as text."""
    trained(parts, tmp_path, range=(1, 2.5), names={1: "a"}, missing=float("nan"), epochs=2)
    qg.load_run(tmp_path)


def compete(folders: list[Path], sample: Path, seed: int, barrier, results) -> None:
    torch.set_num_threads(1)
    parts = qg.load_jets(sample)[:60].split((0.8, 0.2), seed=1)
    random.seed(seed)
    for folder in folders:
        barrier.wait()
        time.sleep(random.random() / 2)
        try:
            trained(parts, folder, small_vae(), seed=seed, epochs=seed, overwrite=False)
            results.put((folder, seed))
        except qg.DataError:
            pass


def test_two_trainings_twenty_times_with_random_delays(sample_file, tmp_path):
    start = start_method()
    barrier, results = start.Barrier(2, timeout=200), start.Queue()
    folders = [tmp_path / str(i) for i in range(20)]
    both = [
        start.Process(
            target=compete, args=(folders, sample_file, seed, barrier, results), daemon=True
        )
        for seed in (1, 2)
    ]
    for process in both:
        process.start()
    winners = dict(results.get(timeout=300) for _ in folders)
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]
    assert results.empty()
    for folder in folders:
        assert runs.read_config(folder)["seed"] == winners[folder]
        assert len(qg.read_history(folder)) == winners[folder]
        qg.load_run(folder)
