"""The command line works end to end, and a user's mistake costs one clear line."""

import dataclasses
import json
import shutil
import subprocess
import sys

import h5py
import numpy as np
import pytest

import qghelpers as qg
from qghelpers import DataError, load_jets
from qghelpers.__main__ import main
from qghelpers.data.layout import PUBLIC_LARGEST
from qghelpers.files import inspection
from qghelpers.training import runs

simulation = pytest.mark.simulation


def changed(sample_file, path, key, change):
    """A copy of the sample with one dataset changed."""
    path.write_bytes(sample_file.read_bytes())
    with h5py.File(path, "r+") as file:
        file[key][:] = change(file[key][:])
    return str(path)


def test_inspect_says_what_is_there(sample_file, capfd):
    assert main(["inspect", str(sample_file)]) == 0
    report = capfd.readouterr().out
    assert "400 jets" in report
    assert "chunks (16, 125, 125, 3), filter gzip" in report
    assert "this is the expected order" in report
    assert "this agrees with y = 0 gluon, y = 1 quark" in report
    assert "pixels: 0 negative, 0 not finite, 0 outliers" in report
    assert "the first 40 jets are like the rest" in report
    assert "WARNING" not in report


@pytest.mark.parametrize("at_once", [4096, 150])
def test_inspect_reports_shares_and_means_beside_the_public_ones(
    sample_file, jets, capfd, monkeypatch, at_once
):
    monkeypatch.setattr(inspection, "AT_ONCE", at_once)
    main(["inspect", str(sample_file)])
    lines = [line.split() for line in capfd.readouterr().out.splitlines()]
    images, labels = jets.images().numpy(), jets.labels
    for name, label in (("gluon", 0), ("quark", 1)):
        for i, channel in enumerate(jets.channels):
            (row,) = [line for line in lines if line[:2] == [name, channel]]
            pixels = images[labels == label, i]
            assert row[2:5] == ["200", f"{(pixels != 0).mean():.2%}", row[4]]
            assert float(row[5]) == pytest.approx(pixels.mean(), rel=0.01)
            assert float(row[7]) == pytest.approx(pixels.max(), rel=0.01)
            assert float(row[8]) == pytest.approx(PUBLIC_LARGEST[label][i], rel=1e-3)


def spoilt(images):
    images[0, 60, 60, 0], images[1, 60, 60, 1], images[2, 60, 60, 1] = 756.6, -0.2, np.nan
    return images


@pytest.mark.parametrize(
    ("key", "change", "message"),
    [
        ("y", lambda y: 1 - y, "WARNING: y = 1 lights more pixels, so the labels look swapped"),
        ("y", lambda y: 0 * y, "WARNING: no jet has y = 1 (quark)"),
        ("X_jets", lambda x: x[..., ::-1], "WARNING: expected Tracks, ECAL, HCAL; found HCAL"),
        ("X_jets", spoilt, "pixels: 1 negative, 1 not finite, 1 outliers"),
        ("X_jets", spoilt, "WARNING: pixels that are no numbers; load_jets refuses"),
        ("X_jets", spoilt, "WARNING: energy is never negative"),
        ("pt", np.sort, "WARNING: the first 40 jets differ from the rest (of pt, m0, y, lit"),
    ],
)
def test_inspect_warns(sample_file, tmp_path, capfd, key, change, message):
    assert main(["inspect", changed(sample_file, tmp_path / "odd.hdf5", key, change)]) == 0
    assert message in capfd.readouterr().out


def test_inspect_takes_several_files(sample_file, capfd):
    assert main(["inspect", str(sample_file), str(sample_file)]) == 0
    assert capfd.readouterr().out.count(": 400 jets") == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param(
            ["simulate", "{}/none/jets.hdf5", "--jets", "5"], "cannot be written", marks=simulation
        ),
        pytest.param(["simulate", "{}", "--jets", "5"], "cannot be written", marks=simulation),
        pytest.param(
            ["simulate", "/proc/jets.hdf5", "--jets", "5"], "cannot be written", marks=simulation
        ),
        pytest.param(["simulate", "{}/jets.hdf5", "--jets", "0"], "start at 1", marks=simulation),
        pytest.param(
            ["simulate", "{}/jets.hdf5", "--jets", "5", "--seed", "-1"],
            "seed at 0",
            marks=simulation,
        ),
        pytest.param(
            ["simulate", "{}/jets.hdf5", "--jets", "5", "--pileup", "-1"],
            "pile-up is -1",
            marks=simulation,
        ),
        pytest.param(
            ["simulate", "{}/a", "--jets", "5", "--pt-hat", "20", "30"],
            "window between 70 and",
            marks=simulation,
        ),
        (["train", "vae", "--data", "{sample}", "--out", "{sample}"], "cannot be made"),
        (["train", "vae", "--data", "{sample}", "--out", "{}/r", "--limit", "2"], "too few"),
        (["train", "vae", "--data", "{sample}", "--out", "{}/r", "--epochs", "0"], "epochs is 0"),
        pytest.param(
            ["train", "vae", "--data", "{sample}", "--out", "/proc/r"],
            "cannot be made",
            marks=pytest.mark.posix,
        ),
        (
            ["train", "unet", "--data", "{sample}", "--out", "{}/r", "--recipe", "sparse"],
            "no recipe sparse of unet: there are reference, fast, masked",
        ),
        (["train", "vae", "--data", "{sample}", "--out", "{}/r", "--lr", "0"], "lr is 0"),
        (
            ["train", "vae", "--data", "{sample}", "--out", "{}/r", "--schedule", "step"],
            "no schedule step: there are cosine, plateau, one-cycle",
        ),
        (
            ["train", "vae", "--data", "{sample}", "--out", "{}/r", "--optimizer", "Optimiser"],
            "no optimizer Optimiser in torch.optim: try",
        ),
        (
            ["train", "vae", "--data", "{sample}", "--out", "{}/r", "--batch-size", "400"],
            "400 is m",
        ),
        (["train", "vae", "--data", "{sample}", "--out", "{}/r", "--devices", "0"], "devices is 0"),
        (["train", "vae", "--data", "{sample}", "--out", "{}/r", "--accelerator", "x"], "'x'"),
        (
            ["train", "vae", "--data", "{sample}", "--out", "{}/r", "--resume", "--overwrite"],
            "give one of them",
        ),
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


@simulation
def test_train_evaluate_resume(sample_file, tmp_path, capfd):
    out = tmp_path / "run"
    options = ["--data", str(sample_file), "--out", str(out), "--epochs", "1", "--limit", "100"]
    options += ["--precision", "32-true"]
    assert main(["train", "vae", *options]) == 0
    assert "validation loss" in capfd.readouterr().out
    assert main(["train", "vae", *options]) == 2
    assert "holds a training already: --resume goes on" in capfd.readouterr().err
    assert main(["train", "vae", *options, "--resume"]) == 0  # nothing left to do
    assert main(["train", "unet", *options, "--resume"]) == 2
    assert "holds another training (of a pca-vae, not a balanced-unet)" in capfd.readouterr().err
    other = changed(sample_file, tmp_path / "other.hdf5", "pt", lambda pt: pt + 1)
    assert main(["train", "vae", *options, "--data", other, "--resume"]) == 2
    assert "holds another training (of other jets)" in capfd.readouterr().err
    assert main(["train", "vae", *options, "--resume", "--lr", "1"]) == 2
    assert "holds another training (recipe lr 0.002, not 1.0)" in capfd.readouterr().err
    before = (out / "model.safetensors").read_bytes()
    assert main(["train", "vae", *options, "--overwrite", "--tensorboard"]) == 0
    assert (out / "model.safetensors").read_bytes() == before
    assert list((out / "tensorboard").iterdir())
    assert main(["evaluate", str(out), "--data", str(sample_file)]) == 0
    printed, said = capfd.readouterr()
    assert "train vae --recipe reference --out DIR, then evaluate --beside DIR" in said
    assert all(
        name in printed for name in ("all-zero image", "mean image", "PCA, 32", "vae (fast)")
    )
    stored = json.loads((out / "metrics.json").read_text())
    assert stored["test_jets"] == 10
    assert stored["table"]["all-zero image"]["MSE"] == [1.0, 0.0]
    assert stored["table"]["vae (fast)"]["seconds to train"][0] > 0
    assert set(stored["table"]["other true jets"]) == set(stored["table"]["from fitted prior"])

    fresh = tmp_path / "fresh.hdf5"
    assert main(["simulate", str(fresh), "--jets", "20", "--workers", "1"]) == 0
    assert main(["evaluate", str(out), "--data", str(fresh)]) == 0
    assert json.loads((out / "metrics.json").read_text())["test_jets"] == 10  # half of the file
    untrained = tmp_path / "untrained"
    shutil.copytree(out, untrained)
    (untrained / "model.safetensors").write_bytes(runs.weights_of(qg.build("vae")))
    options = ["--data", str(fresh), "--fit-on", str(sample_file), "--beside", str(untrained)]
    assert main(["evaluate", str(out), *options]) == 0
    stored = json.loads((out / "metrics.json").read_text())
    assert stored["test_jets"] == 20
    worse, own = (stored["table"][name] for name in ("vae (fast)", f"vae (fast), {out}"))
    assert own["MSE"][0] < worse["MSE"][0]


def test_jets_of_one_kind_are_trained_on_with_a_warning(sample_file, tmp_path, capfd):
    path = changed(sample_file, tmp_path / "gluons.hdf5", "y", lambda y: 0 * y)
    options = ["--out", str(tmp_path / "run"), "--epochs", "1", "--limit", "50"]
    assert main(["train", "vae", "--data", path, *options, "--batch-size", "32"]) == 0
    first = capfd.readouterr().err.splitlines()[0]
    assert first.startswith(
        f"{path}: all jets are of one kind (50 jets (50 gluon) of gluons.hdf5 (simulated)): "
    )


@simulation
def test_the_module_can_be_run_and_keeps_results_and_progress_apart(tmp_path):
    path = tmp_path / "jets.hdf5"
    command = [sys.executable, "-m", "qghelpers", "simulate", str(path), "--jets", "2"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == f"{path}: 2 qcd jets, seed 0\n"
    assert "2/2" in done.stderr


def test_nothing_is_imported_before_it_is_needed():
    heavy = {"matplotlib", "sklearn", "lightning_fabric", "pythia8mc", "awkward"}
    for module, others in ("__main__", {"torch", "scipy"}), ("networks.base", set()):
        program = f"import sys, qghelpers.{module}; print({heavy | others} & set(sys.modules))"
        command = [sys.executable, "-c", program]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        assert done.stdout == "set()\n"


def test_all_that_the_package_offers_is_there():
    assert {"VAE", "fit", "load_jets", "plots"} <= set(qg.__all__)
    assert all(getattr(qg, name) for name in qg.__all__)


@simulation
@pytest.mark.parametrize("variable", ["RANK", "SLURM_PROCID", "LOCAL_RANK"])
@pytest.mark.parametrize(("rank", "lines"), [("0", 1), ("1", 0)])
def test_of_several_processes_the_first_alone_speaks(capfd, monkeypatch, variable, rank, lines):
    for name in ("RANK", "SLURM_PROCID", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, rank)
    assert main(["simulate", "/none/jets.hdf5", "--jets", "5"]) == 2
    assert len(capfd.readouterr().err.splitlines()) == lines


def test_the_options_of_train_are_the_fields_of_recipe_and_engine(capfd):
    with pytest.raises(SystemExit) as exit_:
        main(["train", "--help"])
    assert exit_.value.code == 0
    shown = " ".join(capfd.readouterr().out.split())
    for kind in (qg.Recipe, qg.Engine):
        for field in dataclasses.fields(kind):
            option = f"--{field.name.replace('_', '-')}"
            assert f" {option} " in shown or f" {option}, " in shown
    assert "unet, vae" in shown
    assert "of the optimiser" in shown  # the help is that of the docstring


def test_options_reach_the_training(sample_file, tmp_path):
    out = tmp_path / "run"
    options = ["--limit", "100", "--epochs", "1", "--batch-size", "40", "--lr", "0.001"]
    options += ["--weight-decay", "0.5", "--schedule", "cosine", "--lr-min", "1e-5"]
    options += ["--optimizer", "Adam", "--no-fused", "--no-channels-last", "--precision", "32-true"]
    assert main(["train", "unet", "--data", str(sample_file), "--out", str(out), *options]) == 0
    recipe = json.loads((out / "config.json").read_text())["recipe"]
    assert recipe == {
        "optimizer": "Adam",
        "lr": 0.001,
        "schedule": "cosine",
        "epochs": 1,
        "batch_size": 40,
        "weight_decay": 0.5,
        "lr_min": 1e-5,
    }
