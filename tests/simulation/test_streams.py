"""Seeds: every block of every file has chances of its own, and what belongs together stays so."""

import json
import time

import h5py
import joblib
import numpy as np
import pytest
from small import particles

from qghelpers.data import layout
from qghelpers.simulation import pileup, pythia
from qghelpers.simulation import simulate as simulation
from qghelpers.simulation.detector import Detector
from qghelpers.workers import in_order


def made(path, **options) -> dict[str, np.ndarray]:
    simulation.simulate(path, **{"workers": 1, "pileup": 0} | options)
    with h5py.File(path) as file:
        return {key: data[:] for key, data in file.items()} | {"attributes": dict(file.attrs)}


def test_no_two_blocks_and_no_two_seeds_share_a_stream(tmp_path, small_blocks, quick, monkeypatch):
    seeds, collide = [], pythia.hard_collisions

    def noting(kind, pt_hat, seed):
        seeds.append(seed)
        return collide(kind, pt_hat, seed)

    monkeypatch.setattr(pythia, "hard_collisions", noting)
    files = [made(tmp_path / str(seed), jets=32, seed=seed) for seed in (0, 1, 2)]
    assert len(seeds) == 12  # three files of two blocks of two kinds
    assert len(set(seeds)) == 12
    assert len({pt for file in files for pt in file["pt"].tolist()}) == 3 * 32
    images = {image.tobytes() for file in files for image in file["X_jets"]}
    assert len(images) == 3 * 32


def test_a_file_is_the_beginning_of_a_larger_one_of_its_seed(tmp_path, small_blocks, quick):
    few, many = (made(tmp_path / str(n), jets=n, seed=5) for n in (32, 48))
    np.testing.assert_array_equal(few["X_jets"], many["X_jets"][:32])
    np.testing.assert_array_equal(few["pt"], many["pt"][:32])


def test_blocks_come_in_order_whichever_is_ready_first():
    def answer(number):
        time.sleep(0.3 if number == 0 else 0)
        return number

    with joblib.parallel_config(backend="threading"):
        found = list(in_order(map(joblib.delayed(answer), range(6)), workers=2))
    assert found == list(range(6))


def test_a_collision_has_one_vertex_and_another_has_another(monkeypatch):
    seen = []

    def noted(some, eta, phi, detector, rng, twins):
        seen.append(some)
        return np.zeros((len(eta), 125, 125, 3), np.float32), np.ones(len(eta), bool)

    monkeypatch.setattr(simulation, "jet_images", noted)
    events = np.repeat(np.arange(100), 4)
    sample = simulation.Sample(simulation.PROCESSES["qcd"], 0, Detector(), twins=2)
    jet = {"pt": np.full(100, 100.0), "eta": np.zeros(100), "phi": np.zeros(100)}
    some = particles(np.ones(400), event=events)
    simulation._images(sample, some, jet, np.random.default_rng(0))
    z = seen[0].z.reshape(2, 100, 4)  # twins, events, particles
    np.testing.assert_array_equal(z, np.broadcast_to(z[:1, :, :1], z.shape))
    assert z[0, :, 0].std() == pytest.approx(Detector().vertex_spread, rel=0.3)


def test_labels_are_in_random_order(sample_file):
    """Neither in blocks nor in turns."""
    with h5py.File(sample_file) as file:
        labels = file["y"][:]
    same = np.mean(labels[1:] == labels[:-1])
    assert same == pytest.approx(0.5, abs=4 * 0.5 / np.sqrt(len(labels)))
    assert labels[:200].mean() == pytest.approx(0.5, abs=0.15)


def test_columns_and_images_are_of_the_same_jets(tmp_path):
    """A jet's momentum shows in its image without pile-up, its mass in how wide that is."""
    content = made(tmp_path / "jets", jets=200, seed=11)
    rows = (np.arange(125) - 62) * layout.PIXEL_WIDTH
    near = np.hypot(rows[:, None], rows) < 0.5
    images = content["X_jets"].sum(axis=-1) * near
    energy = images.sum(axis=(1, 2))
    momentum_by_energy = np.corrcoef(energy, content["pt"])[0, 1]
    spread = (images * np.hypot(rows[:, None], rows)).sum(axis=(1, 2)) / energy
    assert momentum_by_energy > 0.6
    assert np.corrcoef(spread, content["m0"] / content["pt"])[0, 1] > 0.5
    for shift in (1, 7):  # the control: columns of another jet
        assert np.corrcoef(energy, np.roll(content["pt"], shift))[0, 1] < 0.3


def test_a_jet_without_a_centre_shifts_no_column(monkeypatch):
    """What follows it keeps its own momentum and image, in the place that it would have had."""
    jet = {"pt": np.array([70.0, 80, 90])}
    images = np.array([[7.0, 8, 9]])  # twins, jets
    monkeypatch.setattr(simulation.selection, "matched", lambda *_: (None, jet))
    monkeypatch.setattr(simulation, "_images", lambda *_: (images, np.array([False, True, True])))
    sample = simulation.Sample(simulation.PROCESSES["qcd"], 0, Detector())
    places = np.array([[5], [3]])
    found = simulation._jets(sample, None, lambda count: None, places, np.array([0, 1]), None)
    told = [(place.item(), n, own["pt"], made.item()) for place, n, own, made in found]
    assert told == [(5, 0, 80, 8), (3, 1, 90, 9)]


def test_gluon_and_quark_jets_bear_their_own_labels(tmp_path):
    """Without pile-up a gluon jet lights half as many pixels again (C_A / C_F = 9/4 at most)."""
    content = made(tmp_path / "jets", jets=200, seed=12)
    tracks = (content["X_jets"][..., 0] > 0).sum(axis=(1, 2))
    ratio = (
        tracks[content["y"] == layout.GLUON].mean() / tracks[content["y"] == layout.QUARK].mean()
    )
    assert 1.2 < ratio < 2


@pytest.mark.parametrize("mean", [3.0, 25.0])
def test_pileup_is_as_asked_for_and_drawn_by_the_streams_generator(
    tmp_path, monkeypatch, quick, mean
):
    counts, draw = [], pileup.Pool.draw

    def noting(self, others, *rest):
        counts.extend(others)
        return draw(self, others, *rest)

    monkeypatch.setattr(pileup.Pool, "draw", noting)
    files = []
    for chance in (1, 2):
        np.random.seed(chance)  # noqa: NPY002 (it must not matter)
        files.append(made(tmp_path / str(chance), jets=100, seed=3, pileup=mean))
    np.testing.assert_array_equal(files[0]["X_jets"], files[1]["X_jets"])
    assert np.mean(counts) == pytest.approx(mean, abs=5 * np.sqrt(mean / 100))
    assert np.var(counts) == pytest.approx(mean, rel=0.5)
    assert files[0]["attributes"]["pileup"] == mean


def test_attributes_say_how_a_file_was_made(tmp_path, quick):
    kept = {
        key: value.tolist() if isinstance(value, np.ndarray) else value
        for key, value in made(tmp_path / "a", jets=2, seed=9)["attributes"].items()
    }
    assert json.loads(kept.pop("detector")) == json.loads(json.dumps(vars(Detector())))
    chosen = {"process": "qcd", "seed": 9, "pileup": 0, "pt_hat": [90, 170], "jet_radius": 0.5}
    assert kept == chosen | {"jet_pt": [], "like": "", "twins": 1}
    other = made(tmp_path / "b", jets=2, process="w", pt_hat=(250, 300))["attributes"]
    assert (other["process"], other["pt_hat"].tolist()) == ("w", [250, 300])
    assert made(tmp_path / "c", jets=2, process="dark")["attributes"]["pt_hat"].size == 0


@pytest.mark.parametrize("change", [{"seed": -1}, {"workers": 0}, {"pileup": 201}, {"jets": -2}])
def test_numbers_out_of_range_are_refused(tmp_path, change):
    with pytest.raises(ValueError, match="simulate:"):
        made(tmp_path / "jets", **{"jets": 2} | change)
    assert list(tmp_path.iterdir()) == []


def test_one_event_is_of_its_label_and_its_seed():
    for label in (layout.GLUON, layout.QUARK):
        (first, eta, phi), (other, *_) = (simulation.one_event(label, seed) for seed in (1, 2))
        assert len(first) != len(other) or not np.array_equal(first.pt, other.pt)
        distance = np.hypot(first.eta - eta, (first.phi - phi + np.pi) % (2 * np.pi) - np.pi)
        assert first.pt[distance < 0.5].sum() > 70
        assert abs(eta) < 1.39
    gluon, quark = (len(simulation.one_event(label, 1)[0]) for label in (0, 1))
    assert gluon != quark


def test_minimum_bias_collisions_are_numbered_from_zero_and_all_there(monkeypatch):
    monkeypatch.setattr(pythia, "BATCH", 4)
    found = pythia.minimum_bias(10, seed=3)
    assert (np.diff(found.event) >= 0).all()
    assert set(found.event) == set(range(10))
    assert not np.isin(np.abs(found.pdg), (12, 14, 16)).any()


def test_joining_keeps_the_order():
    first, second = (pythia.Particles(*np.arange(8)[:, None] + [k, k + 1]) for k in (0, 50))
    joined = pythia.Particles.join([first, second])
    assert joined.event.tolist() == [0, 1, 50, 51]
    assert joined.pdg.tolist() == [6, 7, 56, 57]
    assert joined[np.array([3, 0])].eta.tolist() == [53, 2]


def test_the_blocks_of_the_pool_are_different_collisions():
    pool = pileup.load_pool()
    sizes = np.diff(pool.starts)
    assert not np.array_equal(sizes[: pileup.BLOCK], sizes[pileup.BLOCK :])


def test_the_pool_is_another_one_for_other_settings(tmp_path, monkeypatch):
    """Of its own size, seed, and version of Pythia; its blocks are of different seeds."""
    monkeypatch.setenv("QGHELPERS_CACHE", str(tmp_path))
    asked = []

    def few(count, seed):
        asked.append((count, seed))
        rng = np.random.default_rng(seed)
        columns = rng.random((5, 2 * count))
        kinds = np.full(2 * count, 22), np.zeros(2 * count)
        return pythia.Particles(np.repeat(np.arange(count), 2), *columns, *kinds)

    monkeypatch.setattr(pythia, "minimum_bias", few)
    pool = pileup.load_pool()
    assert asked == [(2500, 9), (2500, 2509)]
    assert [path.suffix for path in tmp_path.iterdir()] == [".safetensors"]
    assert (np.diff(pool.starts) == 2).all()
    assert pool.starts[0] == 0
    assert pool.starts[-1] == len(pool.particles)
    np.testing.assert_array_equal(pool.particles.event, np.repeat(np.arange(5000), 2))
    for module, name, value in (
        (pileup, "SEED", 80),
        (pileup, "INTERACTIONS", 2500),
        (pythia, "MINIMUM_BIAS", ("SoftQCD:nonDiffractive = on",)),
        (pythia, "BEAMS", ("Beams:eCM = 13000",)),
        (pythia.metadata, "version", lambda name: "9"),
    ):
        asked.clear()
        with monkeypatch.context() as other:
            other.setattr(module, name, value)
            pileup.load_pool()
        assert asked, f"{name} changed, and the old pool was used"
    asked.clear()
    pileup.load_pool()
    assert not asked


def test_events_do_not_share_their_pileup():
    """A larger count for one event leaves the collisions of the events before as they were."""
    pool = pileup.load_pool()
    first = pool.draw(np.array([4, 3]), np.random.default_rng(2))
    other = pool.draw(np.array([4, 9]), np.random.default_rng(2))
    for event in (0, 1):
        ours, theirs = first[first.event == event], other[other.event == event]
        np.testing.assert_array_equal(ours.phi, theirs.phi[: len(ours)])
        np.testing.assert_array_equal(ours.eta, theirs.eta[: len(ours)])
    assert len(other) > len(first)
    again = pool.draw(np.array([4, 3]), np.random.default_rng(3))
    assert len(again) != len(first) or not np.array_equal(again.phi, first.phi)
