"""The command line works end to end, and a user's mistake costs one clear line."""

import json
import subprocess
import sys

import h5py
import numpy as np
import pytest

from qghelpers import DataError, load_jets
from qghelpers.__main__ import main


def write(path, images=(4, 125, 125, 3), columns=4, drop=(), dtype="f4"):
    with h5py.File(path, "w") as file:
        data = {"X_jets": np.zeros(images, dtype)}
        data |= {key: np.zeros(columns, dtype) for key in ("y", "pt", "m0")}
        for key in data.keys() - set(drop):
            file[key] = data[key]
    return path


def damaged(path):
    """A file whose pixels cannot be decompressed."""
    with h5py.File(path, "w") as file:
        data = np.random.default_rng(0).random((4, 125, 125, 3)).astype("f4")
        images = file.create_dataset("X_jets", data=data, chunks=data.shape, compression="gzip")
        for key in ("y", "pt", "m0"):
            file[key] = np.zeros(4, "f4")
        chunk = images.id.get_chunk_info(0)
    with path.open("r+b") as file:
        file.seek(chunk.byte_offset + chunk.size // 2)
        file.write(bytes(1000))
    return path


def swapped(path):
    write(path)
    with h5py.File(path, "r+") as file:
        image = np.zeros((4, 125, 125, 3), "f4")
        image[..., 0] = np.kron(np.random.default_rng(0).random((25, 25)), np.ones((5, 5)))
        image[..., 2] = np.random.default_rng(0).random((125, 125))
        file["X_jets"][:] = image
    return path


BAD_FILES = {
    "missing": (lambda path: path, "does not exist"),
    "folder": (lambda path: (path.mkdir(), path)[1], "is a folder"),
    "text": (lambda path: (path.write_text("not HDF5"), path)[1], "cannot be read as HDF5"),
    "empty": (lambda path: (path.write_bytes(b""), path)[1], "cannot be read as HDF5"),
    "no images": (lambda path: write(path, drop=["X_jets"]), "no dataset X_jets"),
    "no labels": (lambda path: write(path, drop=["y"]), "no dataset y"),
    "channels first": (lambda path: write(path, (4, 3, 125, 125)), "channels last"),
    "one channel": (lambda path: write(path, (4, 125, 125, 1)), "has shape"),
    "flat": (lambda path: write(path, (4,)), "has shape"),
    "no jets": (lambda path: write(path, (0, 125, 125, 3), 0), "holds no jets"),
    "labels missing": (lambda path: write(path, columns=3), "one entry a jet"),
    "damaged": (damaged, "cannot be read as HDF5"),
    "text pixels": (lambda path: write(path, dtype="S3"), "not numbers"),
}


@pytest.mark.parametrize("kind", BAD_FILES)
@pytest.mark.parametrize("command", ["inspect", "train", "load_jets"])
def test_a_bad_file_costs_one_clear_line(tmp_path, capfd, kind, command):
    make, message = BAD_FILES[kind]
    path = make(tmp_path / "jets é.hdf5")
    if command == "load_jets":
        with pytest.raises(DataError) as error:
            load_jets(path)
        line = str(error.value)
    else:
        options = ["vae", "--out", str(tmp_path / "run"), "--data"] if command == "train" else []
        assert main([command, *options, str(path)]) == 2
        line = capfd.readouterr().err.removesuffix("\n")
    assert message in line
    assert str(path) in line
    assert "\n" not in line
    assert "errno" not in line
    assert not (tmp_path / "run").exists()


def test_swapped_channels_are_refused_and_reported(tmp_path, capfd):
    path = swapped(tmp_path / "swapped.hdf5")
    with pytest.raises(DataError, match="reorder the channels"):
        load_jets(path)
    assert main(["inspect", str(path)]) == 0
    assert "WARNING: expected Tracks, ECAL, HCAL; found HCAL" in capfd.readouterr().out


def test_inspect_says_what_is_there_and_warns_of_swapped_labels(sample_file, tmp_path, capfd):
    assert main(["inspect", str(sample_file)]) == 0
    report = capfd.readouterr().out
    assert "400 jets" in report
    assert "this is the expected order" in report
    assert "this agrees with y = 0 gluon, y = 1 quark" in report
    assert "WARNING" not in report
    wrong = tmp_path / "wrong.hdf5"
    wrong.write_bytes(sample_file.read_bytes())
    with h5py.File(wrong, "r+") as file:
        file["y"][:] = 1 - file["y"][:]
    main(["inspect", str(wrong)])
    assert "labels look swapped" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["simulate", "{}/none/jets.hdf5", "--jets", "5"], "cannot be written"),
        (["simulate", "{}", "--jets", "5"], "cannot be written"),
        (["simulate", "/proc/jets.hdf5", "--jets", "5"], "cannot be written"),
        (["simulate", "{}/jets.hdf5", "--jets", "0"], "start at 1"),
        (["simulate", "{}/jets.hdf5", "--jets", "5", "--seed", "-1"], "seed at 0"),
        (["train", "vae", "--data", "{sample}", "--out", "{sample}"], "cannot be made"),
        (["train", "vae", "--data", "{sample}", "--out", "{}/r", "--limit", "2"], "too few"),
        (["train", "vae", "--data", "{sample}", "--out", "{}/r", "--epochs", "0"], "epochs is 0"),
        (["train", "vae", "--data", "{sample}", "--out", "{}/r", "--resume"], "no run folder"),
        (["train", "vae", "--data", "{sample}", "--out", "{}/r", "--precision", "7"], "precision"),
        (["evaluate", "{}", "--data", "{sample}"], "no run folder"),
        (["benchmark", "nonsense"], "no benchmark nonsense"),
    ],
)
def test_a_bad_argument_costs_one_clear_line(tmp_path, sample_file, capfd, arguments, message):
    assert main([part.format(tmp_path, sample=sample_file) for part in arguments]) == 2
    error = capfd.readouterr().err.splitlines()
    assert message in error[-1]
    assert len(error) == 1
    assert list(tmp_path.iterdir()) == []


def test_a_home_that_cannot_be_written_to(monkeypatch, capfd):
    monkeypatch.setenv("QGHELPERS_HOME", "/proc")
    with pytest.raises(DataError, match="QGHELPERS_HOME"):
        load_jets()


def test_unknown_options_cost_one_line(capfd):
    with pytest.raises(SystemExit) as exit_:
        main(["simulate", "--nonsense"])
    assert exit_.value.code == 2
    assert len(capfd.readouterr().err.splitlines()) == 1


def test_train_evaluate_resume(sample_file, tmp_path, capfd):
    out = tmp_path / "run"
    options = ["--data", str(sample_file), "--out", str(out), "--epochs", "1", "--limit", "100"]
    assert main(["train", "vae", *options]) == 0
    assert "validation loss" in capfd.readouterr().out
    assert main(["train", "vae", *options, "--resume"]) == 0  # nothing left to do
    assert main(["evaluate", str(out), "--data", str(sample_file)]) == 0
    printed = capfd.readouterr().out
    assert all(
        name in printed for name in ("all-zero image", "mean image", "PCA, 32", "vae (fast)")
    )
    stored = json.loads((out / "metrics.json").read_text())
    assert stored["test_jets"] == 10
    assert stored["relative_to_zero"]["all-zero image"]["MSE"] == [1.0, 0.0]

    fresh = tmp_path / "fresh.hdf5"
    assert main(["simulate", str(fresh), "--jets", "20", "--workers", "1"]) == 0
    assert main(["evaluate", str(out), "--data", str(fresh)]) == 0
    assert json.loads((out / "metrics.json").read_text())["test_jets"] == 10  # half of the file


def test_the_module_can_be_run_and_keeps_results_and_progress_apart(tmp_path):
    path = tmp_path / "jets.hdf5"
    command = [sys.executable, "-m", "qghelpers", "simulate", str(path), "--jets", "2"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"{path}: 2 jets, seed 0\n"
    assert "2/2" in done.stderr
