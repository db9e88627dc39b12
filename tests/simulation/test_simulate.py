"""Simulated files have the public file's layout and the physics of quarks and gluons."""

import subprocess
import sys

import awkward as ak
import h5py
import joblib
import numpy as np
import pytest
from small import momentum

from qghelpers import DataError, load_jets
from qghelpers.__main__ import main
from qghelpers.data import hdf5, layout
from qghelpers.data.layout import GLUON, NEITHER, QUARK
from qghelpers.simulation import pileup, pythia, selection
from qghelpers.simulation import simulate as simulation
from qghelpers.simulation.processes import PROCESSES


@pytest.fixture(scope="module")
def content(sample_file):
    with h5py.File(sample_file) as file:
        return {key: data[:] for key, data in file.items()}


def test_layout(content):
    n = len(content["y"])
    assert set(content) == {"X_jets", "y", "pt", "m0", "eta", "phi"}
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
    assert content["pt"].min() > 70
    assert (content["m0"] > 0).all()
    assert (content["m0"] < content["pt"]).all()


def test_shares_and_means_are_near_the_public_ones(content):
    """Coarsely, on few jets; `python -m qghelpers benchmark fidelity` is the real comparison."""
    for label in (GLUON, QUARK):
        images = content["X_jets"][content["y"] == label]
        shares = layout.lit_share(images) / layout.PUBLIC_LIT_SHARE[label]
        means = images.mean(axis=(0, 1, 2), dtype=float) / layout.PUBLIC_MEAN[label]
        np.testing.assert_allclose(shares, 1, atol=0.2)
        np.testing.assert_allclose(means, 1, atol=0.3)


def read(path) -> dict[str, np.ndarray]:
    with h5py.File(path) as file:
        return {key: data[:] for key, data in file.items()}


@pytest.mark.parametrize("mean", [0, 20])
def test_the_same_seed_gives_the_same_file_with_any_number_of_workers(
    tmp_path, small_blocks, quick, mean
):
    """More workers than its three blocks, too."""
    one, other, *more = (tmp_path / name for name in ("one", "other", "two", "four"))
    simulation.simulate(one, 39, seed=1, workers=1, pileup=mean)
    simulation.simulate(other, 39, seed=2, workers=1, pileup=mean)
    for path, workers in zip(more, (2, 4), strict=True):
        simulation.simulate(path, 39, seed=1, workers=workers, pileup=mean)
        assert one.read_bytes() == path.read_bytes()
    one, other = read(one), read(other)
    assert not np.array_equal(one["X_jets"], other["X_jets"])
    assert list(np.bincount(one["y"].astype(int))) == [20, 19]
    assert len({image.tobytes() for image in one["X_jets"]}) == 39


def test_the_work_spreads_over_a_dask_cluster(tmp_path, small_blocks, quick):
    distributed = pytest.importorskip("distributed")
    simulation.simulate(tmp_path / "here", 32, seed=1, workers=1)
    cluster = distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None)
    with cluster, distributed.Client(cluster), joblib.parallel_config(backend="dask"):
        simulation.simulate(tmp_path / "there", 32, seed=1)
    assert (tmp_path / "here").read_bytes() == (tmp_path / "there").read_bytes()


def test_threads_take_turns(tmp_path, small_blocks, quick):
    simulation.simulate(tmp_path / "here", 32, seed=1, workers=1, pileup=0)
    with joblib.parallel_config(backend="threading"):
        simulation.simulate(tmp_path / "threads", 32, seed=1, workers=2, pileup=0)
    assert (tmp_path / "here").read_bytes() == (tmp_path / "threads").read_bytes()


@pytest.mark.parametrize("jets", [5, 16, 37])
def test_blocks_are_written_where_they_belong(tmp_path, jets):
    rng = np.random.default_rng(0)
    images = rng.random((jets, 125, 125, 3), dtype=np.float32)
    images[images < 0.9] = 0
    label = np.arange(jets, dtype=np.float32)
    with hdf5.create_file(tmp_path / "jets.hdf5", jets) as file:
        chunk = file["X_jets"].chunks[0]
        for start in range(0, jets, 2 * chunk):
            end = start + 2 * chunk
            chunks = hdf5.compressed(images[start:end], chunk)
            hdf5.write_block(file, start, {"y": label[start:end]}, chunks)
    content = read(tmp_path / "jets.hdf5")
    np.testing.assert_array_equal(content["X_jets"], images)
    np.testing.assert_array_equal(content["y"], label)


def test_the_number_of_other_collisions_is_poisson_distributed(tmp_path, monkeypatch, quick):
    counts = []
    draw = pileup.Pool.draw

    def remember(self, others, *rest):
        counts.extend(others)
        return draw(self, others, *rest)

    monkeypatch.setattr(pileup.Pool, "draw", remember)
    simulation.simulate(tmp_path / "jets.hdf5", 400, seed=4, workers=1)
    assert len(counts) >= 400
    assert np.mean(counts) == pytest.approx(20, rel=0.05)
    assert np.var(counts) == pytest.approx(20, rel=0.25)


def test_pileup_lights_pixels_without_changing_the_jets(tmp_path):
    for mean in (0, 20):
        simulation.simulate(tmp_path / f"{mean}", 16, seed=3, workers=1, pileup=mean)
    quiet, busy = read(tmp_path / "0"), read(tmp_path / "20")
    more = layout.lit_share(busy["X_jets"]) / layout.lit_share(quiet["X_jets"])
    assert more[0] > 2
    assert (more > 1.1).all()
    first = np.sort(quiet["pt"])[-1]
    assert first in busy["pt"]


@pytest.mark.parametrize("process", ["w", "top", "dark"])
def test_other_processes_have_a_label_of_their_own(tmp_path, capsys, process):
    path = tmp_path / f"{process}.hdf5"
    arguments = ["simulate", str(path), "--jets", "17", "--process", process, "--workers", "1"]
    assert main(arguments) == 0
    jets = load_jets(path)
    assert (jets.labels == NEITHER).all()
    assert (jets.process == process).all()
    assert str(jets) == f"17 jets (17 {process}) of {process}.hdf5 (simulated)"
    assert set(jets[[1, 2]].process) == {process}
    assert jets.pt.min() > PROCESSES[process].jet_pt_min
    capsys.readouterr()
    assert main(["inspect", str(path)]) == 0
    report = capsys.readouterr().out
    assert f"processes: 17 {process}" in report
    assert "WARNING" not in report


def test_files_of_different_processes_open_as_one(tmp_path, sample_file):
    path = tmp_path / "w.hdf5"
    simulation.simulate(path, 5, workers=1, process="w", pileup=0)
    both = load_jets([sample_file, path])
    assert "200 quark, 200 gluon, 5 w)" in str(both)
    assert str(both).endswith(f" of {sample_file.name} (simulated), w.hdf5 (simulated)")
    assert list(both.process[[0, -1]]) == ["qcd", "w"]
    parts = both.split(seed=1)
    assert sum((part.process == "w").sum() for part in parts) == 5


def test_y_is_minus_one_only_beside_a_dataset_that_says_why(tmp_path, sample_file):
    path = tmp_path / "odd.hdf5"
    path.write_bytes(sample_file.read_bytes())
    with h5py.File(path, "r+") as file:
        file["y"][0] = NEITHER
    with pytest.raises(DataError, match="y has values other than 0"):
        load_jets(path)
    with h5py.File(path, "r+") as file:
        file["process"] = np.zeros(400, int)  # somebody else's dataset of that name
    with pytest.raises(DataError, match="y has values other than 0"):
        load_jets(path)
    with h5py.File(path, "r+") as file:
        del file["process"]
        kinds = h5py.enum_dtype({"qcd": 7, "w": 3}, basetype="u1")  # any numbers will do
        file.create_dataset("process", data=np.r_[3, np.full(399, 7)], dtype=kinds)
    jets = load_jets(path)
    assert list(jets.process[:2]) == ["w", "qcd"]
    assert jets.labels[0] == NEITHER


def test_w_jets_have_the_mass_of_the_w_boson(tmp_path):
    path = tmp_path / "w.hdf5"
    simulation.simulate(path, 300, seed=1, process="w", pileup=0)
    mass = load_jets(path).mass
    counts, edges = np.histogram(mass, np.arange(0, 200, 5))
    peak = edges[counts.argmax()] + 2.5
    assert abs(peak - 80.4) < 10


def track_width(path) -> np.ndarray:
    rows, columns = np.indices((125, 125)) - 62
    tracks = load_jets(path).images()[:, 0].numpy()
    return (tracks * np.hypot(rows, columns)).sum(axis=(1, 2)) / tracks.sum(axis=(1, 2))


def test_top_jets_are_wider_than_gluon_jets(tmp_path):
    for process in ("qcd", "top"):
        simulation.simulate(tmp_path / process, 200, seed=2, process=process, pileup=0)
    gluon = track_width(tmp_path / "qcd")[load_jets(tmp_path / "qcd").labels == GLUON]
    top = track_width(tmp_path / "top")
    error = np.hypot(gluon.std() / len(gluon) ** 0.5, top.std() / len(top) ** 0.5)
    assert top.mean() - gluon.mean() > 3 * error


def test_the_window_of_parton_momenta_can_be_chosen(tmp_path):
    path = tmp_path / "hard.hdf5"
    simulation.simulate(path, 20, workers=1, pileup=0, pt_hat=(300, 400))
    assert np.median(load_jets(path).pt) > 250


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"jets": 0}, "jets and workers start at 1"),
        ({"pileup": -1}, "pile-up is -1: choose a number from 0 to 200"),
        ({"pileup": float("nan")}, "pile-up is nan"),
        ({"process": "higgs"}, f"no process higgs: there are {', '.join(PROCESSES)}"),
        ({"pt_hat": (20, 30)}, "choose a window between 70 and 1500 GeV"),
        ({"pt_hat": (300, 200)}, "choose a window between 70 and 1500 GeV"),
        ({"pt_hat": (100, 200), "process": "dark"}, "dark jets come from a decay"),
    ],
)
def test_arguments_out_of_range_are_one_clear_line(tmp_path, arguments, message):
    with pytest.raises(ValueError, match=message):
        simulation.simulate(tmp_path / "jets.hdf5", **{"jets": 4, "workers": 1} | arguments)
    assert list(tmp_path.iterdir()) == []


def test_collisions_out_of_reach_are_replaced():
    kind = PROCESSES["qcd"].kinds[QUARK]
    events = pythia.hard_collisions(kind, (90, 170), seed=1)(60)
    assert len(events) == 60
    first = events.status == -23  # before the recoil against radiation moves them
    eta = np.abs(ak.to_numpy(pythia.eta(events[first].p))).min(axis=1)
    assert np.mean(eta < pythia.PARTON_ETA_MAX) > 0.95  # a third would be beyond


def test_one_event_to_look_at():
    particles, eta, phi = simulation.one_event(GLUON, seed=3)
    again, *_ = simulation.one_event(GLUON, seed=3)
    np.testing.assert_array_equal(particles.pt, again.pt)
    assert set(particles.event) == {0}
    near = np.hypot(particles.eta - eta, (particles.phi - phi + np.pi) % (2 * np.pi) - np.pi) < 0.5
    assert particles.pt[near].sum() > 70


def test_an_interrupted_simulation_leaves_nothing(tmp_path, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(simulation, "_block", interrupted)
    with pytest.raises(KeyboardInterrupt):
        simulation.simulate(tmp_path / "jets.hdf5", 10, workers=1)
    assert list(tmp_path.iterdir()) == []


def test_missing_pythia_is_one_clear_line(tmp_path, monkeypatch):
    monkeypatch.setattr(pythia, "pythia8mc", None)
    with pytest.raises(ImportError, match="pythia8mc"):
        simulation.simulate(tmp_path / "jets.hdf5", 10)
    assert list(tmp_path.iterdir()) == []


def test_without_pythia_everything_but_the_simulation_works(tmp_path, sample_file):
    program = (
        "import sys; sys.modules.update(dict.fromkeys(('pythia8mc', 'fastjet', 'awkward')));"
        "from qghelpers.__main__ import main; sys.exit(main(sys.argv[1:]))"
    )

    def run(*arguments):
        command = [sys.executable, "-c", program, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    assert run("inspect", str(sample_file)).returncode == 0
    failed = run("simulate", str(tmp_path / "jets.hdf5"), "--jets", "3")
    assert failed.returncode == 2
    assert failed.stderr.count("\n") == 1
    assert "simulate there, copy the file" in failed.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("parton", "eta", "matches"),
    [(21, 0.3, True), (21, -0.35, True), (21, 0.6, False), (2, 0.3, False)],
)
def test_the_leading_jet_has_to_match_a_parton_of_the_right_kind(parton, eta, matches):
    jet, neutrino = momentum(100, 0.0, 0.2), momentum(300, 0.0, 0.3)
    event = [
        {"id": parton, "status": -23, "p": momentum(100, eta, 0.2)},
        {"id": 21, "status": -21, "p": jet},  # incoming: does not count
        {"id": 211, "status": 83, "p": jet},
        {"id": 14, "status": 91, "p": neutrino},  # unseen: not in the jet
    ]
    gluons = PROCESSES["qcd"].kinds[GLUON]
    particles, found = selection.matched(ak.Array([event]), gluons, PROCESSES["qcd"])
    assert len(found["pt"]) == matches
    assert list(particles.pdg) == [211] * matches
    np.testing.assert_allclose(found["pt"], [100] * matches)


def test_leading_jet_of_two_collinear_particles_back_to_back_with_a_third():
    event = [momentum(100, 0.0, 0.1), momentum(50, 0.2, 0.2), momentum(140, 0.5, 3.0)]
    forward = [momentum(100, 2.5, 0.0), momentum(95, 0.3, 3.0)]  # the central one is the second
    jet = selection.leading_jets(ak.Array([event, forward]))
    total = {k: event[0][k] + event[1][k] for k in event[0]}
    mass2 = total["e"] ** 2 - total["px"] ** 2 - total["py"] ** 2 - total["pz"] ** 2
    assert jet["pt"][0] == pytest.approx(np.hypot(total["px"], total["py"]))
    assert jet["mass"][0] == pytest.approx(np.sqrt(mass2))
    assert jet["pt"][1] == 0


def test_charges_and_visibility_come_from_the_particle_table():
    kinds = np.array([211, -211, 22, 11, 2212, 130, 14, 51])
    np.testing.assert_array_equal(pythia._by_kind(kinds, "charge"), [1, -1, 0, -1, 1, 0, 0, 0])
    np.testing.assert_array_equal(pythia._by_kind(kinds, "isVisible"), [1, 1, 1, 1, 1, 1, 0, 0])


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
