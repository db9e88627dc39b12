"""Simulated files have the public file's layout and the physics of quarks and gluons."""

import awkward as ak
import h5py
import numpy as np
import pytest

from qghelpers import DataError, layout
from qghelpers import simulate as simulation
from qghelpers.layout import GLUON, QUARK


@pytest.fixture(scope="module")
def content(sample_file):
    with h5py.File(sample_file) as file:
        return {key: data[:] for key, data in file.items()}


def test_layout(content):
    n = len(content["y"])
    assert set(content) == {"X_jets", "y", "pt", "m0"}
    assert content["X_jets"].shape == (n, 125, 125, 3)
    assert all(data.dtype == np.float32 for data in content.values())
    assert all(data.shape == (n,) for key, data in content.items() if key != "X_jets")


def test_both_labels_are_equally_frequent_and_mixed(content):
    assert content["y"].mean() == 0.5
    assert 0.3 < content["y"][:100].mean() < 0.7


def test_channels_are_tracks_ecal_hcal(content):
    constant = layout.constant_tower_share(content["X_jets"])
    lit = layout.lit_share(content["X_jets"])
    assert constant[2] == 1
    assert constant[:2].max() < 0.1
    assert lit[0] < lit[1]


def test_gluon_jets_light_more_pixels_in_every_channel(content):
    gluon, quark = (layout.lit_share(content["X_jets"][content["y"] == y]) for y in (GLUON, QUARK))
    assert (gluon > quark).all()


def test_pixels_are_energies(content):
    images = content["X_jets"]
    assert np.isfinite(images).all()
    assert (images >= 0).all()
    energy = layout.GEV_PER_UNIT * images.sum(axis=(1, 2))
    ratio = energy[:, 0] / content["pt"]  # tracks carry about 60 % of a jet
    assert 0.4 < np.median(ratio) < 0.9
    assert content["pt"].min() > simulation.JET_PT_MIN
    assert (content["m0"] > 0).all()
    assert (content["m0"] < content["pt"]).all()


def test_the_same_seed_gives_the_same_file_with_any_number_of_workers(tmp_path, monkeypatch):
    monkeypatch.setattr(simulation, "BLOCK", 8)
    paths = [tmp_path / name for name in ("one", "two", "other")]
    simulation.simulate(paths[0], 15, seed=1, workers=1)
    simulation.simulate(paths[1], 15, seed=1, workers=2)
    simulation.simulate(paths[2], 15, seed=2, workers=1)
    one, two, other = ({key: data[:] for key, data in h5py.File(path).items()} for path in paths)
    assert all(np.array_equal(one[key], two[key]) for key in one)
    assert not np.array_equal(one["X_jets"], other["X_jets"])
    assert list(np.bincount(one["y"].astype(int))) == [8, 7]


def test_an_interrupted_simulation_leaves_nothing(tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(simulation, "_block", interrupted)
    with pytest.raises(KeyboardInterrupt):
        simulation.simulate(tmp_path / "jets.hdf5", 10, workers=1)
    assert list(tmp_path.iterdir()) == []


def test_missing_pythia_is_one_clear_line(tmp_path, monkeypatch):
    monkeypatch.setattr(simulation, "pythia8mc", None)
    with pytest.raises(ImportError, match="pythia8mc"):
        simulation.simulate(tmp_path / "jets.hdf5", 10)
    assert list(tmp_path.iterdir()) == []


def test_leading_jet_of_two_collinear_particles_back_to_back_with_a_third():
    def momentum(pt, eta, phi):
        px, py, pz = pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)
        return {"px": px, "py": py, "pz": pz, "e": pt * np.cosh(eta)}

    event = [momentum(100, 0.0, 0.1), momentum(50, 0.2, 0.2), momentum(140, 0.5, 3.0)]
    forward = [momentum(100, 2.5, 0.0), momentum(100, -2.5, 3.0)]
    jet = simulation.leading_jets(ak.Array([event, forward]))
    total = {k: event[0][k] + event[1][k] for k in event[0]}
    mass2 = total["e"] ** 2 - total["px"] ** 2 - total["py"] ** 2 - total["pz"] ** 2
    assert jet["pt"][0] == pytest.approx(np.hypot(total["px"], total["py"]))
    assert jet["mass"][0] == pytest.approx(np.sqrt(mass2))
    assert jet["pt"][1] == 0  # no central jet


def test_charges_come_from_the_particle_table():
    np.testing.assert_array_equal(
        simulation._charge(np.array([211, -211, 22, 11, 2212, 130])), [1, -1, 0, -1, 1, 0]
    )


def test_a_full_disk_costs_one_clear_line(tmp_path, monkeypatch):
    close = h5py.File.close

    def full(file):
        close(file)
        raise RuntimeError("Can't (errno = 28, error message = 'No space left on device', buf)")

    monkeypatch.setattr(h5py.File, "close", full)  # where HDF5 notices it
    with pytest.raises(DataError) as error:
        simulation.simulate(tmp_path / "jets.hdf5", 2, workers=1)
    assert "jets.hdf5 cannot be written (No space left on device)" in str(error.value)
    assert list(tmp_path.iterdir()) == []
