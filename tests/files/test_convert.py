"""Files with other names, labels, units or formats become files with the public layout."""

import tracemalloc

import h5py
import numpy as np
import pytest

from qghelpers import DataError, load_jets
from qghelpers.__main__ import main
from qghelpers.files import convert as converting
from qghelpers.files.convert import convert


@pytest.fixture(scope="module")
def good(sample_file):
    with h5py.File(sample_file) as file:
        return {key: file[key][:30] for key in ("X_jets", "y", "pt", "m0")}


def hdf5(path, columns):
    with h5py.File(path, "w") as file:
        for key, values in columns.items():
            file[key] = values
    return path


def parquet(path, columns, rows_per_group=7):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    nested = {k: pa.array(values.tolist()) for k, values in columns.items()}
    pq.write_table(pa.table(nested), path, row_group_size=rows_per_group)
    return path


def same(path, good, keys=("pt", "m0")) -> bool:
    """Whether a file holds the good jets, bit for bit, and opens without a word."""
    jets = load_jets(path)
    with h5py.File(path) as file:
        columns = all(np.array_equal(file[key], good[key]) for key in ("y", *keys))
    return columns and np.array_equal(jets.images(), good["X_jets"].transpose(0, 3, 1, 2))


def one_hot(y):
    return np.eye(2)[y.astype(int)]


CHANGED = {
    "nothing": ({}, []),
    "names": (
        {"images": "X_jets", "deep/label": "y"},
        ["--names", "X_jets=images", "y=deep/label"],
    ),
    "channels first": ({"X_jets": lambda x: x.transpose(0, 3, 1, 2)}, []),
    "HCAL first": (
        {"X_jets": lambda x: x[..., [2, 0, 1]]},
        ["--channels", "HCAL", "Tracks", "ECAL"],
    ),
    "times 128": ({"X_jets": lambda x: x * 128}, ["--divide", "128"]),
    "doubles": ({"X_jets": lambda x: x.astype("f8")}, []),
    "labels -1 and 1": ({"y": lambda y: 2 * y - 1}, ["--labels", "gluon=-1", "quark=1"]),
    "labels swapped": ({"y": lambda y: 1 - y}, ["--labels", "gluon=1", "quark=0"]),
    "labels as words": ({"y": lambda y: np.where(y == 1, b"Quark", b"gluon ")}, []),
    "labels as letters": (
        {"y": lambda y: np.where(y == 1, b"q", b"g")},
        ["--labels", "gluon=g", "quark=q"],
    ),
    "labels whose capitals differ": (
        {"y": lambda y: np.where(y == 1, b"Up", b"g")},
        ["--labels", "gluon=G", "quark=UP"],
    ),
    "labels in a column": ({"y": lambda y: y[:, None]}, []),
    "labels in two columns": ({"y": one_hot}, ["--labels", "gluon=0", "quark=1"]),
    "two columns, quark first": (
        {"y": lambda y: one_hot(y)[:, ::-1]},
        ["--labels", "gluon=1", "quark=0"],
    ),
}


@pytest.mark.parametrize("kind", CHANGED)
def test_the_jets_stay_the_same(tmp_path, good, capfd, kind):
    changes, options = CHANGED[kind]
    columns = dict(good)
    for key, change in changes.items():
        if callable(change):
            columns[key] = change(columns[key])
        else:
            columns[key] = columns.pop(change)
    path, out = hdf5(tmp_path / "theirs.h5", columns), tmp_path / "ours.hdf5"
    assert main(["convert", str(path), str(out), *options]) == 0
    said = capfd.readouterr()
    assert said.out == f"{out}: 30 jets\n"
    assert "WARNING" not in said.err
    assert same(out, good)


def test_the_parquet_twin(tmp_path, good, monkeypatch):
    """Channels first, a few small negative values, jets in several groups."""
    monkeypatch.setattr(converting, "BLOCK", 16)
    images = good["X_jets"].copy()
    images[3, 5, 5, 1], images[4, 100:105, 100:105, 2] = -0.217, -0.001
    twin = good | {"X_jets": images}
    path = parquet(tmp_path / "twin.parquet", twin | {"X_jets": images.transpose(0, 3, 1, 2)})
    assert convert(path, tmp_path / "twin.hdf5") == 30
    assert same(tmp_path / "twin.hdf5", twin)
    words = np.where(good["y"] == 1, "quark", "gluon")
    path = parquet(tmp_path / "words.parquet", {"image": images, "kind": words})
    convert(path, tmp_path / "words.hdf5", {"X_jets": "image", "y": "kind"})
    assert same(tmp_path / "words.hdf5", twin, keys=())


def test_other_columns_of_hdf5_are_kept(tmp_path, good):
    kind = h5py.enum_dtype({"qcd": 0, "w": 1}, basetype="u1")
    path = hdf5(tmp_path / "w.h5", good | {"y": -np.ones(30), "twin": np.arange(30) // 2})
    with h5py.File(path, "r+") as file:
        file.create_dataset("process", data=np.ones(30, "u1"), dtype=kind)
        file.attrs["pileup"] = 20.0
        file["eta"] = np.linspace(-1, 1, 30)
    convert(path, tmp_path / "out.hdf5")
    jets = load_jets(tmp_path / "out.hdf5")
    assert set(jets.process) == {"w"}
    assert jets.twin.tolist() == [i // 2 for i in range(30)]
    assert jets.origin == "out.hdf5 (simulated)"
    with h5py.File(tmp_path / "out.hdf5") as file:
        assert file["eta"][0] == -1
        assert "phi" not in file


def test_bad_jets_are_left_out_if_that_is_asked_for(tmp_path, good, monkeypatch, capfd):
    monkeypatch.setattr(converting, "BLOCK", 16)
    bad = {key: values.copy() for key, values in good.items()}
    bad["pt"][3], bad["y"][20], bad["X_jets"][29, 0, 0, 0] = np.nan, np.nan, np.inf
    path, out = hdf5(tmp_path / "bad.h5", bad), tmp_path / "good.hdf5"
    assert main(["convert", str(path), str(out)]) == 2
    (line,) = capfd.readouterr().err.splitlines()
    assert "bad.h5 has values that are no numbers: --skip-bad" in line
    assert not out.exists()
    assert main(["convert", str(path), str(out), "--skip-bad"]) == 0
    assert "27 jets" in capfd.readouterr().out
    kept = np.delete(np.arange(30), [3, 20, 29])
    assert same(out, {key: values[kept] for key, values in good.items()})


@pytest.mark.parametrize("kind", ["HDF5", "Parquet"])
def test_memory_is_bounded(tmp_path, good, kind, monkeypatch):
    monkeypatch.setattr(converting, "BLOCK", 16)
    monkeypatch.setattr(converting, "JETS_TO_CHECK", 16)
    many = {key: np.concatenate([values] * 10) for key, values in good.items()}
    make = hdf5 if kind == "HDF5" else parquet
    path = make(tmp_path / "many", many)
    dense = many["X_jets"].nbytes
    del many
    tracemalloc.start()
    assert convert(path, tmp_path / "out.hdf5") == 300
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 7 * 16 * 187_500 < dense / 2  # some copies of a block


IMPOSSIBLE = {
    "no labels": ({"y": None}, [], "has no y (found: X_jets, m0, pt)"),
    "names that are not there": ({}, ["--names", "pt=momentum"], "has no momentum"),
    "names of nothing": ({}, ["--names", "x=y"], "names are of X_jets, y, pt, m0"),
    "no pair": ({}, ["--names", "X_jets"], "not of the form NAME=VALUE"),
    "one label": ({}, ["--labels", "gluon=1", "gluon=2"], "labels of both gluon and quark"),
    "a word for a number": ({}, ["--labels", "gluon=g", "quark=q"], "'g' is none"),
    "channels": ({}, ["--channels", "ECAL", "ECAL", "HCAL"], "channels are Tracks, ECAL, HCAL"),
    "divided by zero": ({}, ["--divide", "0"], "cannot be divided by 0"),
    "of 128 pixels": (
        {"X_jets": lambda x: np.pad(x, ((0, 0), (1, 2), (1, 2), (0, 0)))},
        [],
        "(128",
    ),
    "labels 1 and 2": ({"y": lambda y: y + 1}, [], "neither gluon nor quark (2.0): say"),
    "other words": ({"y": lambda y: y.astype("S")}, [], "neither gluon nor quark (0.0, 1.0): say"),
    "two columns": ({"y": one_hot}, [], "--labels gluon=COLUMN quark=COLUMN"),
    "two columns of shares": (
        {"y": lambda y: np.full((len(y), 2), 0.5)},
        ["--labels", "gluon=0", "quark=1"],
        "not one 1 and one 0 for each jet",
    ),
    "one value for both": ({}, ["--labels", "gluon=1", "quark=1"], "gluon and quark are both 1"),
    "pt of another length": ({"pt": lambda pt: pt[:9]}, [], "pt must be one number per jet"),
}


@pytest.mark.parametrize("kind", IMPOSSIBLE)
def test_what_is_impossible_costs_one_line(tmp_path, good, capfd, kind):
    changes, options, message = IMPOSSIBLE[kind]
    changed = {key: changes.get(key, np.asarray) for key in good}
    columns = {key: change(good[key]) for key, change in changed.items() if change is not None}
    path, out = hdf5(tmp_path / "theirs.h5", columns), tmp_path / "ours.hdf5"
    try:
        assert main(["convert", str(path), str(out), *options]) == 2
    except SystemExit as exit_:
        assert exit_.code == 2  # noqa: PT017
    (line,) = capfd.readouterr().err.splitlines()
    assert message in line
    assert [p.name for p in tmp_path.iterdir()] == ["theirs.h5"]


def test_files_that_cannot_be_read_cost_one_line(tmp_path, good, capfd, monkeypatch):
    out = str(tmp_path / "out.hdf5")
    path = parquet(tmp_path / "twin.parquet", good)
    path.write_bytes(path.read_bytes()[:5000])
    nested = parquet(tmp_path / "ragged.parquet", {"X_jets": np.zeros(3), "y": np.zeros(3)})
    for source, message in (
        (path, "cannot be read as Parquet"),
        (nested, "images have shape ()"),
        (tmp_path / "none", "does not exist"),
        (tmp_path, "is a folder"),
    ):
        assert main(["convert", str(source), out]) == 2
        assert message in capfd.readouterr().err
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    assert main(["convert", str(path), out]) == 2
    assert "pip install pyarrow" in capfd.readouterr().err
    with pytest.raises(ValueError, match="is the file to convert: write to another one"):
        convert(path, path)


def test_what_was_made_is_looked_at(tmp_path, good, capfd):
    path = hdf5(tmp_path / "gev.h5", good | {"X_jets": good["X_jets"] * 100})
    assert main(["convert", str(path), str(tmp_path / "out.hdf5")]) == 0
    assert "WARNING" in (said := capfd.readouterr().err)
    assert "--divide 100" in said
    path = hdf5(tmp_path / "order.h5", good | {"X_jets": good["X_jets"][..., [1, 0, 2]]})
    assert main(["convert", str(path), str(tmp_path / "out.hdf5")]) == 0
    assert "the channels look like ECAL, Tracks, HCAL" in capfd.readouterr().err
    with pytest.raises(DataError, match="channels"):
        load_jets(tmp_path / "out.hdf5")
