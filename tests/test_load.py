"""`load_jets()` takes the file that it says, and leaves nothing where it should not."""

import importlib
import os
import random
import shutil
import time
from pathlib import Path

import h5py
import numpy as np
import pytest
from forked import start_method

import qghelpers as qg
from qghelpers import load as loading
from qghelpers.data import hdf5
from qghelpers.data.layout import NEITHER, PUBLIC_FILE
from qghelpers.seeds import Seed
from qghelpers.simulation.processes import PROCESSES

ROOT = Path(__file__).parents[1]


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("QGHELPERS_HOME", str(tmp_path))
    (tmp_path / "data").mkdir()
    return tmp_path


def few(sample_file: Path, path: Path, count: int) -> None:
    with h5py.File(sample_file) as file, h5py.File(path, "w") as copy:
        for key, data in file.items():
            copy[key] = data[:count]


def test_the_public_file_is_preferred_to_the_sample(sample_file, home):
    few(sample_file, home / "data" / loading.SAMPLE_FILE, 20)
    assert len(qg.load_jets()) == 20
    few(sample_file, home / "data" / PUBLIC_FILE, 30)
    assert len(qg.load_jets()) == 30
    assert len(qg.load_jets(home / "data" / loading.SAMPLE_FILE)) == 20


def test_the_sample_is_2000_jets_of_a_seed_of_its_own(home, monkeypatch, capfd):
    asked = []

    def simulate(path, jets, seed):
        asked.append((path, jets, seed))
        raise KeyboardInterrupt

    monkeypatch.setattr("qghelpers.simulation.simulate.simulate", simulate)
    with pytest.raises(KeyboardInterrupt):
        qg.load_jets()
    assert asked == [(home / "data" / "simulated_jets.hdf5", 2000, Seed.SAMPLE)]
    said = capfd.readouterr().out
    assert f"{PUBLIC_FILE} is not in data/, so 2000 jets are simulated there into sim" in said


def test_without_pythia_the_sample_of_the_package_is_opened(home, monkeypatch, capfd):
    monkeypatch.setattr("qghelpers.simulation.pythia.pythia8mc", None)
    jets = qg.load_jets()
    assert (len(jets.quarks), len(jets.gluons)) == (250, 250)
    assert "Pythia8 is not installed, so the small sample" in capfd.readouterr().out
    few(loading.PACKAGED / "qcd.hdf5", home / "data" / loading.SAMPLE_FILE, 20)
    assert len(qg.load_jets()) == 20


def test_the_package_has_a_few_jets_of_each_process_and_ordinary_ones_like_them():
    files = {path.stem: path for path in loading.PACKAGED.glob("*.hdf5")}
    others = [name for name in PROCESSES if name != "qcd"]
    like = [f"qcd_like_{name}" for name in others]
    assert set(files) == {"qcd", *others, *like, "qcd_hard", "black_box"}
    assert sum(path.stat().st_size for path in files.values()) < 8.3e6
    for path in files.values():
        assert (ROOT / h5py.File(path).attrs["command"].removeprefix("python ")).is_file()
    for name in others:
        jets, like = qg.load_sample(name), qg.load_sample(f"qcd_like_{name}")
        assert set(jets.process) == {name}
        assert set(like.process) == {"qcd"}
        np.testing.assert_allclose(np.sort(like.pt), np.sort(jets.pt), rtol=0.04)
    hard, tops = qg.load_sample("qcd_hard"), qg.load_sample("top")
    assert set(hard.process) == {"qcd"}
    np.testing.assert_allclose(
        *(np.quantile(sample.pt, [0.1, 0.5, 0.9]) for sample in (hard, tops)), rtol=0.03
    )


def test_the_samples_of_the_package_have_no_jet_in_common():
    names = sorted(path.stem for path in loading.PACKAGED.glob("*.hdf5"))
    masses = np.concatenate([qg.load_sample(name).mass for name in names])
    assert len(np.unique(masses)) > 0.999 * len(masses)


def test_the_black_box_tells_nothing_but_what_was_measured():
    box = qg.load_sample("black_box")
    assert set(box.process) == {"unknown"}
    assert set(box.labels) == {NEITHER}
    with h5py.File(loading.PACKAGED / "black_box.hdf5") as file:
        assert set(file.attrs) == {"command", "detector"}


def test_no_cache_is_kept_of_the_samples_of_the_package(monkeypatch, tmp_path):
    """The package may be installed where nobody can write."""
    monkeypatch.setenv("QGHELPERS_CACHE", str(tmp_path / "cache"))
    before = set(loading.PACKAGED.iterdir())
    jets = qg.load_sample("dark")
    np.testing.assert_array_equal(
        jets.images([3])[0].permute(1, 2, 0),
        h5py.File(loading.PACKAGED / "dark.hdf5")["X_jets"][3],
    )
    assert len(qg.load_jets(loading.PACKAGED / "dark.hdf5", limit=5)) == 5
    assert set(loading.PACKAGED.iterdir()) == before
    assert not (tmp_path / "cache").exists()


def test_an_unknown_sample_is_one_line_that_names_those_there_are():
    with pytest.raises(ValueError, match=r"'higgs' does not come .*'black_box', 'dark', 'qcd', "):
        qg.load_sample("w", "higgs")
    with pytest.raises(ValueError, match="no file was given"):
        qg.load_sample()


@pytest.mark.parametrize(("more", "warns"), [(60, True), (15, False)])
def test_swapped_labels_are_told_where_the_means_clearly_differ(
    jets, monkeypatch, capfd, more, warns
):
    """Quark jets have so many more lit pixels, of 100 to 500 a jet: it is the mean that counts."""
    some = jets[np.concatenate([np.flatnonzero(jets.labels == label)[:100] for label in (0, 1)])]
    spread = np.linspace(100, 500, 100).astype(int)

    def counts(part):
        return np.stack([spread, spread + more * part.labels, spread], axis=1)

    monkeypatch.setattr(qg.JetImages, "pixel_counts", counts)
    loading._warn_of_labels(some)
    assert ("labels look swapped" in capfd.readouterr().err) is warns


def test_several_samples_follow_one_another():
    both = qg.load_sample("w", "qcd_like_w")
    assert both.process.tolist() == ["w"] * 160 + ["qcd"] * 160
    np.testing.assert_array_equal(both.images([161])[0], qg.load_sample("qcd_like_w")[1].image)


def test_home_is_where_it_is_asked_to_be_else_the_checkout_else_here(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("QGHELPERS_HOME", "/some/folder")
    assert qg.home() == Path("/some/folder")
    monkeypatch.setenv("QGHELPERS_HOME", "")
    checkout = tmp_path / "checkout"
    monkeypatch.setattr(loading, "__file__", str(checkout / "qghelpers" / "load.py"))
    assert qg.home() == tmp_path  # installed, not a checkout
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")  # where a kernel begins
    assert qg.home() == tmp_path
    monkeypatch.setenv("HOME", "/a/home")
    monkeypatch.setenv("USERPROFILE", "/a/home")
    monkeypatch.setenv("QGHELPERS_HOME", "~/jets")
    assert qg.home() == Path("/a/home/jets")
    monkeypatch.setenv("QGHELPERS_HOME", "")
    checkout.mkdir()
    (checkout / "pyproject.toml").touch()
    assert qg.home() == checkout


def test_images_labels_and_columns_belong_together(sample_file, tmp_path):
    """Each jet's columns are made from its image, so that any mixture shows."""
    paths = []
    with h5py.File(sample_file) as file:
        images = file["X_jets"][:]
    for name, part in (("a", images[:70]), ("b", images[70:])):
        paths.append(tmp_path / f"{name}.hdf5")
        with h5py.File(paths[-1], "w") as file:
            file["X_jets"] = part
            file["pt"], file["m0"] = part[..., 0].sum((1, 2)), part[..., 1].sum((1, 2))
            file["y"] = (part[..., 2].sum((1, 2)) > 0.5).astype(np.float32)

    def check(jets: qg.JetImages) -> None:
        sums = jets.images().numpy().sum((2, 3))
        np.testing.assert_allclose(jets.pt, sums[:, 0], rtol=1e-4)
        np.testing.assert_allclose(jets.mass, sums[:, 1], rtol=1e-4)
        np.testing.assert_array_equal(jets.labels, sums[:, 2] > 0.5)
        np.testing.assert_allclose(jets.sums(), sums, rtol=1e-4)

    for which in (paths[0], paths, paths[::-1]):
        for limit in (None, 25):  # the first time without a cache, then with one
            for jets in (qg.load_jets(which, 30, seed=2), qg.load_jets(which, limit, seed=1)):
                check(jets)
                for part in (jets.quarks, jets.gluons, jets.sample(9, 1), *jets.split(seed=3)):
                    check(part)
                check(jets[::-3].to("cpu"))


def test_a_limit_depends_on_its_seed_and_on_nothing_else(sample_file):
    def chosen(seed, chance):
        np.random.seed(chance)  # noqa: NPY002 (it must not matter)
        return qg.load_jets(sample_file, 30, seed).pt.tolist()

    assert chosen(1, 1) == chosen(1, 2)
    assert chosen(1, 1) != chosen(2, 1)
    assert chosen(0, 1) == qg.load_jets(sample_file, 30).pt.tolist()
    rng = np.random.default_rng(1)
    with h5py.File(sample_file) as file:
        every = file["pt"][:]
    assert set(chosen(1, 1)) == set(every[rng.permutation(400)[:30]].tolist())


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_below_one_is_refused(sample_file, limit):
    with pytest.raises(ValueError, match=f"limit is {limit}: ask for one jet at least"):
        qg.load_jets(sample_file, limit)


def test_channels_that_are_none_are_refused(sample_file):
    with pytest.raises(ValueError, match="channels are Tracks, ECAL, HCAL, not ECAL, HCAL"):
        qg.load_jets(sample_file, channels=("ECAL", "HCAL"))


def test_of_several_files_the_bad_one_is_named(sample_file, tmp_path):
    good, bad = tmp_path / "good.hdf5", tmp_path / "bad.hdf5"
    shutil.copy(sample_file, good)
    shutil.copy(sample_file, bad)
    with h5py.File(bad, "r+") as file:
        file["X_jets"][7, 3, 3, 0] = np.nan
    for paths in ([good, bad], [bad, good]):
        with pytest.raises(qg.DataError, match=r"bad.hdf5: 1 values are not finite"):
            qg.load_jets(paths)
    with h5py.File(bad, "r+") as file:
        file["X_jets"][7, 3, 3, 0] = 0
        file["X_jets"][:] = file["X_jets"][:][..., ::-1]
    with pytest.raises(hdf5.DataError, match=r"bad.hdf5: the channels should be Tracks, ECAL, H"):
        qg.load_jets([good, bad])


@pytest.mark.parametrize(("length", "process"), [(20, "w"), (19, "qcd"), (21, "qcd")])
def test_processes_count_if_there_is_one_for_each_jet(sample_file, tmp_path, length, process):
    path = tmp_path / "jets.hdf5"
    few(sample_file, path, 20)
    with h5py.File(path, "r+") as file:
        kind = h5py.enum_dtype({"qcd": 0, "w": 1}, basetype="u1")
        file.create_dataset("process", data=np.ones(length, "u1"), dtype=kind)
    assert set(qg.load_jets(path).process) == {process}


@pytest.mark.parametrize("label", [-1, 2, 0.5])
def test_a_label_that_is_neither_quark_nor_gluon_needs_a_process(sample_file, tmp_path, label):
    path = tmp_path / "jets.hdf5"
    few(sample_file, path, 20)
    with h5py.File(path, "r+") as file:
        file["y"][7] = label
    with pytest.raises(qg.DataError, match=r"jets.hdf5: y has values other than 0 .* and 1"):
        qg.load_jets(path)


@pytest.mark.parametrize("key", ["y", "pt", "m0"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_single_value_that_is_no_number_is_refused(sample_file, tmp_path, key, value):
    path = tmp_path / "jets.hdf5"
    few(sample_file, path, 20)
    with h5py.File(path, "r+") as file:
        file[key][7] = value
    with pytest.raises(qg.DataError, match=f"jets.hdf5: {key} has values that are no numbers"):
        qg.load_jets(path)


def first_starts(homes: list[Path], sample: Path, barrier, results) -> None:
    """Open the sample of each home, as a notebook does that is opened for the first time."""
    made = []

    def simulate(path, jets, seed):
        made.append(path)
        time.sleep(random.random() / 10)
        with hdf5.replacing(path) as temporary:
            shutil.copy(sample, temporary)

    importlib.import_module("qghelpers.simulation.simulate").simulate = simulate
    for home in homes:
        os.environ["QGHELPERS_HOME"] = str(home)
        barrier.wait()
        time.sleep(random.random() / 20)
        jets = qg.load_jets()
        results.put((home, len(made), jets.sums().sum()))
        made.clear()


def test_two_first_starts_twenty_times_with_random_delays(sample_file, tmp_path, jets):
    """One simulates the sample and one makes its cache; the other waits for it."""
    start = start_method()
    barrier, results = start.Barrier(2, timeout=200), start.Queue()
    homes = [tmp_path / str(i) for i in range(20)]
    both = [
        start.Process(target=first_starts, args=(homes, sample_file, barrier, results), daemon=True)
        for _ in range(2)
    ]
    for process in both:
        process.start()
    told = [results.get(timeout=300) for _ in range(2 * len(homes))]
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]
    for home in homes:
        assert sorted(made for place, made, _ in told if place == home) == [0, 1]
        names = sorted(path.name for path in (home / "data").iterdir())
        assert names == [loading.SAMPLE_FILE, f"{loading.SAMPLE_FILE}.sparse.safetensors"]
    np.testing.assert_allclose([total for *_, total in told], jets.sums().sum())
