"""Codes of all jets in a file, whole and in order, however many blocks they are written in."""

import argparse
import sys

import h5py
import numpy as np
import pytest
from small import small_vae

import qghelpers as qg
from qghelpers import latent
from qghelpers.__main__ import main
from qghelpers.evaluation import commands, features


@pytest.fixture
def some(jets):
    return jets[[5, 3, 200, 7, 9, 11, 100]]


@pytest.fixture
def blocks_of_three(monkeypatch):
    monkeypatch.setattr(features, "BLOCK", 3)


def columns_of(path) -> dict[str, np.ndarray]:
    if path.suffix.lower() == ".hdf5":
        with h5py.File(path) as file:
            return {name: file[name][:] for name in file}
    table = pytest.importorskip("pyarrow.parquet").read_table(path).to_pydict()
    columns = {name: np.array(table.pop(name)) for name in ("y", "pt", "m0")}
    assert list(table) == ["code_0", "code_1", "code_2"]
    return columns | {"code": np.stack(list(table.values()), axis=1).astype(np.float32)}


@pytest.mark.parametrize("ending", ["hdf5", "parquet", "PARQUET", "HDF5"])
def test_every_jet_has_its_code_label_momentum_and_mass(some, tmp_path, blocks_of_three, ending):
    model = small_vae()
    path = qg.features(model, some, tmp_path / f"codes.{ending}")
    columns = columns_of(path)
    assert set(columns) == {"code", "y", "pt", "m0"}
    np.testing.assert_allclose(columns["code"], latent.encode(model, some), rtol=1e-3, atol=1e-5)
    for name, expected in (("y", some.labels), ("pt", some.pt), ("m0", some.mass)):
        np.testing.assert_array_equal(columns[name], expected)
    assert columns["code"].dtype == np.float32


def test_only_a_block_of_jets_is_encoded_at_a_time(some, tmp_path, blocks_of_three, monkeypatch):
    asked = []
    encode = latent.encode
    monkeypatch.setattr(
        latent, "encode", lambda model, jets: asked.append(len(jets)) or encode(model, jets)
    )
    qg.features(small_vae(), some, tmp_path / "codes.hdf5")
    assert asked == [3, 3, 1]


def test_what_fails_leaves_no_file(some, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match=r"codes.csv ends neither in .hdf5 nor in .parquet"):
        qg.features(small_vae(), some, tmp_path / "codes.csv")
    with pytest.raises(ValueError, match="there are no jets"):
        qg.features(small_vae(), some[:0], tmp_path / "codes.hdf5")
    with pytest.raises(qg.DataError, match="cannot be written"):
        qg.features(small_vae(), some, tmp_path / "missing" / "codes.hdf5")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ImportError, match="pip install pyarrow"):
        qg.features(small_vae(), some, tmp_path / "codes.parquet")
    assert list(tmp_path.iterdir()) == []


def test_the_command_takes_a_shipped_network_or_a_run(sample_file, tmp_path, capsys, jets):
    out = tmp_path / "codes.hdf5"
    given = ["--data", str(sample_file), "--limit", "8", "--out", str(out)]
    assert main(["features", "vae", *given]) == 0
    assert capsys.readouterr().out == f"{out}: 8 jets\n"
    some = qg.load_jets(sample_file, limit=8)
    columns = columns_of(out)
    np.testing.assert_array_equal(columns["pt"], some.pt)
    assert columns["code"].shape == (8, 64)
    recipe = qg.Recipe(epochs=1, batch_size=4)
    qg.fit(qg.VAE(latent_dim=5), jets[:8], jets[8:12], recipe, out=tmp_path / "run", progress=False)
    assert main(["features", str(tmp_path / "run"), *given]) == 0
    assert columns_of(out)["code"].shape == (8, 5)


def test_the_limit_of_the_command_may_be_written_as_a_float():
    parser = argparse.ArgumentParser()
    commands.features_options(parser)
    given = ["vae", "--data", "jets.hdf5", "--out", "codes.hdf5", "--limit", "1e4"]
    assert parser.parse_args(given).limit == 10_000


def test_the_command_says_in_a_line_what_is_wrong(sample_file, tmp_path, capsys):
    given = ["--data", str(sample_file), "--out", str(tmp_path / "codes.hdf5")]
    assert main(["features", "nonsense", *given]) == 2
    told = capsys.readouterr().err.strip()
    assert "no run folder nonsense, and no weights are shipped for 'nonsense'" in told
    assert "\n" not in told
    assert main(["features", "vae", *given[:-1], str(tmp_path / "codes.txt")]) == 2
    assert "ends neither in .hdf5 nor in .parquet" in capsys.readouterr().err


def test_a_network_that_has_learnt_from_the_jets_says_so(some, capsys, monkeypatch):
    features.warn_of_seen("vae", some)
    features.warn_of_seen("runs/mine", some)
    assert capsys.readouterr().err == ""

    def refuse(name, jets):
        raise qg.DataError("vae was trained on 7 of these 7 jets")

    monkeypatch.setattr(features.pretrained, "require_unseen", refuse)
    features.warn_of_seen("vae", some)
    assert "trained on 7 of these 7 jets; their features are written" in capsys.readouterr().err
