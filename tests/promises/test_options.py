"""Every option of the command line reaches what it is for, and no other."""

from pathlib import Path

import numpy as np
import pytest
import torch

import qghelpers as qg
from qghelpers import __main__ as command_line
from qghelpers.__main__ import main
from qghelpers.evaluation import table as evaluation
from qghelpers.networks.sparse_vae import SparseVAE
from qghelpers.simulation.detector import Detector
from qghelpers.training import runs

SIMULATE = "qghelpers.simulation.simulate.simulate"
ENGINE = {
    "accelerator": "cpu",
    "devices": 3,
    "nodes": 2,
    "precision": "bf16-mixed",
    "channels_last": False,
    "fused": False,
    "compile": True,
    "keep_memory": False,
}
RECIPE = {
    "optimizer": "Adam",
    "lr": 0.5,
    "schedule": "plateau",
    "epochs": 2,
    "batch_size": 7,
    "weight_decay": 0.0,
    "lr_min": 0.25,
}


def options(values: dict) -> list[str]:
    """As they are typed, such as `--no-fused` for a false one."""
    typed = []
    for name, value in values.items():
        option = name.replace("_", "-")
        if isinstance(value, bool):
            typed.append(f"--{option}" if value else f"--no-{option}")
        else:
            typed += [f"--{option}", str(value)]
    return typed


@pytest.fixture
def fitted(monkeypatch):
    """What `fit` is asked for; it answers with two epochs."""
    asked = []

    def fit(model, train, validation, recipe, **named):
        asked.append({"model": model, "train": train, "validation": validation, **named})
        asked[-1]["recipe"] = recipe
        return [{"validation_loss": 7.0}, {"validation_loss": 6.54321}]

    monkeypatch.setattr(qg, "fit", fit)
    return asked


def test_train_hands_everything_to_fit(sample_file, tmp_path, fitted, capsys):
    out = tmp_path / "run"
    arguments = ["train", "vae", "--recipe", "sparse", "--data", str(sample_file), "--limit", "90"]
    arguments += ["--out", str(out), "--seed", "4", "--save-every", "9", *options(RECIPE)]
    assert main([*arguments, *options(ENGINE), "--resume", "--tensorboard"]) == 0
    (asked,) = fitted
    jets = qg.load_jets(sample_file, 90, 4)
    train, validation, _ = (part.fingerprint() for part in jets.split(seed=4))
    assert asked["train"].fingerprint() == train
    assert asked["validation"].fingerprint() == validation
    torch.manual_seed(4)
    expected = SparseVAE().state_dict()
    assert type(asked["model"]) is SparseVAE
    assert all(torch.equal(expected[k], v) for k, v in asked["model"].state_dict().items())
    assert asked["recipe"] == qg.Recipe(**RECIPE)
    assert asked["engine"] == qg.Engine(**ENGINE)
    assert (asked["seed"], asked["out"], asked["resume"], asked["save_every"]) == (4, out, True, 9)
    assert (asked["recipe_name"], asked["limit"]) == ("sparse", 90)
    (board,) = asked["watch"]
    assert isinstance(board, qg.TensorBoard)
    assert capsys.readouterr().out == f"{out}: 2 epochs, validation loss 6.54321\n"


def test_what_is_not_asked_for_is_left_to_recipe_and_engine(sample_file, tmp_path, fitted):
    arguments = ["train", "unet", "--data", str(sample_file), "--out", str(tmp_path / "run")]
    assert main([*arguments, "--epochs", "2"]) == 0
    (asked,) = fitted
    assert asked["recipe"] == qg.get_recipe("unet", "fast", 2)
    assert asked["engine"] == qg.Engine()
    assert (asked["seed"], asked["resume"], asked["save_every"]) == (0, False, 60)
    assert (asked["recipe_name"], asked["limit"]) == ("fast", None)
    assert list(asked["watch"]) == []


def test_a_training_that_was_stopped_exits_like_one(sample_file, tmp_path, fitted, capsys):
    arguments = ["train", "unet", "--data", str(sample_file), "--out", str(tmp_path / "run")]
    assert main([*arguments, "--epochs", "3"]) == 130  # `fit` answers with two
    assert capsys.readouterr().out == ""


def test_simulate_hands_everything_over(monkeypatch, tmp_path, capsys):
    asked = []
    monkeypatch.setattr(SIMULATE, lambda *args, **named: asked.append((args, named)))
    out = tmp_path / "jets.hdf5"
    every = {"jets": 5, "seed": 3, "workers": 2, "pileup": 4.5, "process": "top"}
    fair = {"jet_radius": 0.7, "like": "w.hdf5", "twins": 5, "mismeasured_tracks": 0.25}
    windows = ["--pt-hat", "300", "400", "--jet-pt", "310", "390"]
    assert main(["simulate", str(out), *options(every | fair), *windows]) == 0
    assert capsys.readouterr().out == f"{out}: 5 top jets, seed 3\n"
    assert main(["simulate", str(out), "--jets", "6"]) == 0
    (given, named), (plain, usual) = asked
    assert given == (out, 5, 3, 2, 4.5, "top", [300, 400])
    assert named == {
        "jet_radius": 0.7,
        "jet_pt": [310, 390],
        "like": Path("w.hdf5"),
        "twins": 5,
        "detector": Detector(track_mismeasured=0.25),
    }
    assert plain == (out, 6, 0, None, None, "qcd", None)
    nothing = {"jet_radius": None, "jet_pt": None, "like": None, "twins": 1}
    assert usual == nothing | {"detector": Detector()}
    assert main(["simulate", str(out), "--jets", "6", "--mismeasured-tracks", "2"]) == 2
    assert "a share of 2 of the tracks: 0 to 1 is possible" in capsys.readouterr().err


def test_evaluate_hands_everything_over(sample_file, tmp_path, monkeypatch, capsys):
    asked = []

    def evaluate(run, jets, fit_on, beside, thorough):
        asked.append((run, len(jets), fit_on and len(fit_on), list(beside), thorough))
        return "the table"

    monkeypatch.setattr(evaluation, "evaluate", evaluate)
    run, other = tmp_path / "run", tmp_path / "other"
    for folder in (run, other):
        folder.mkdir()
        runs.write_json(folder / "config.json", {})
    data = ["--data", str(sample_file), str(sample_file)]
    assert main(["evaluate", str(run), *data]) == 0
    more = ["--fit-on", str(sample_file), "--beside", str(other), "--thorough"]
    assert main(["evaluate", str(run), *data, *more]) == 0
    assert asked == [(run, 800, None, [], False), (run, 800, 400, [other], True)]
    assert capsys.readouterr().out == "the table\nthe table\n"
    (other / "config.json").unlink()
    assert main(["evaluate", str(run), "--data", "/none", "--beside", str(other)]) == 2
    assert f"{other} is no run folder" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "said"),
    [
        (ValueError("two\n  lines"), 2, "qghelpers simulate: two lines\n"),
        (qg.DataError("a file"), 2, "qghelpers simulate: a file\n"),
        (ImportError("no Pythia8"), 2, "qghelpers simulate: no Pythia8\n"),
        (FloatingPointError("nan"), 2, "qghelpers simulate: nan\n"),
        (KeyboardInterrupt(), 130, "qghelpers simulate: interrupted\n"),
    ],
)
def test_what_goes_wrong_is_one_line_and_a_code(monkeypatch, capsys, error, code, said):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(SIMULATE, fail)
    assert main(["simulate", "jets.hdf5", "--jets", "5"]) == code
    assert capsys.readouterr() == ("", said)


def test_a_mistake_of_ours_is_not_hidden(monkeypatch):
    def fail(*_, **__):
        raise ZeroDivisionError

    monkeypatch.setattr(SIMULATE, fail)
    with pytest.raises(ZeroDivisionError):
        main(["simulate", "jets.hdf5", "--jets", "5"])


def test_the_benchmarks_are_run_by_name(monkeypatch, capsys):
    asked = []
    monkeypatch.setattr(command_line.runpy, "run_path", lambda path: {"main": asked.append})
    assert main(["benchmark", "store", "training"]) == 0
    assert asked == [["store", "training"]]
    monkeypatch.setattr(command_line, "BENCHMARKS", Path("/none"))
    assert main(["benchmark"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "/none is not there: benchmarks come with the repository" in line
    assert "run this in a clone of it" in line


def test_training_data_of_one_kind_are_told(capsys, jets):
    command_line._warn_of_one_label(jets, [Path("jets.hdf5")])
    assert capsys.readouterr().err == ""
    command_line._warn_of_one_label(jets.quarks[:5], [Path("a"), Path("b")])
    said = capsys.readouterr().err
    assert said.startswith(
        "a b: all jets are of one kind (5 jets (5 quark) of simulated_jets.hdf5 ("
    )
    assert np.unique(jets.labels).tolist() == [0, 1]


@pytest.mark.parametrize(
    ("ranks", "speaks"),
    [
        ({}, True),
        ({"RANK": "1", "LOCAL_RANK": "0"}, False),  # the first one of the second computer
        ({"RANK": "0", "LOCAL_RANK": "0", "SLURM_PROCID": "3"}, True),
        ({"SLURM_PROCID": "2", "LOCAL_RANK": "0"}, False),
        ({"LOCAL_RANK": "1"}, False),
        ({"SLURM_PROCID": "0", "LOCAL_RANK": "1"}, False),  # two devices in a batch script
    ],
)
def test_the_first_of_all_processes_speaks(monkeypatch, ranks, speaks):
    for name in ("RANK", "SLURM_PROCID", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    for name, value in ranks.items():
        monkeypatch.setenv(name, value)
    assert command_line.is_first_process() is speaks
