"""Jets that can be compared fairly, and the same jet seen twice."""

import json

import h5py
import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.model_selection import cross_val_predict
from small import without_multiparton_interactions

from qghelpers import DataError, load_jets
from qghelpers.analysis import metrics
from qghelpers.data import layout
from qghelpers.simulation import selection
from qghelpers.simulation import simulate as simulation
from qghelpers.simulation.detector import Detector
from qghelpers.simulation.selection import Wanted


def made(path, **options) -> dict[str, np.ndarray]:
    simulation.simulate(path, **{"workers": 1, "pileup": 0} | options)
    with h5py.File(path) as file:
        return {key: data[:] for key, data in file.items()} | {"attributes": dict(file.attrs)}


@pytest.fixture(scope="module")
def boosted(sample_file, tmp_path_factory):
    path = tmp_path_factory.mktemp("w") / "w.hdf5"
    with without_multiparton_interactions():
        simulation.simulate(path, 200, seed=1, workers=1, process="w", pileup=7)
    return path


@pytest.fixture(scope="module")
def alike(boosted, tmp_path_factory):
    path = tmp_path_factory.mktemp("qcd") / "like_w.hdf5"
    with without_multiparton_interactions():
        simulation.simulate(path, 200, seed=2, workers=1, like=boosted)
    return path


def column(path, key) -> np.ndarray:
    with h5py.File(path) as file:
        return file[key][:]


def test_matched_jets_have_the_momenta_radius_and_pileup_of_the_others(boosted, alike):
    for key, scale in (("pt", 0.02), ("eta", 0.05)):
        ours, theirs = (np.sort(np.abs(column(path, key))) for path in (alike, boosted))
        off = ours / theirs - 1 if key == "pt" else ours - theirs
        assert np.abs(off).mean() < scale
    with h5py.File(alike) as file:
        assert (file.attrs["jet_radius"], file.attrs["pileup"]) == (0.8, 7)
        assert file.attrs["like"] == "w.hdf5"
        assert file["y"][:].mean() == 0.5
    for label in (layout.GLUON, layout.QUARK):  # both kinds alike, not one soft and one hard
        pt = column(alike, "pt")[column(alike, "y") == label]
        assert np.median(pt) == pytest.approx(np.median(column(boosted, "pt")), rel=0.06)


def test_momentum_and_eta_do_not_tell_matched_jets_apart(boosted, alike):
    """The control: of jets that are not matched they tell a lot."""
    features = [np.stack([column(p, "pt"), column(p, "eta")], axis=1) for p in (boosted, alike)]
    labels = np.repeat([0, 1], [len(part) for part in features])
    model = HistGradientBoostingClassifier(max_iter=50, random_state=0)
    options = {"cv": 5, "method": "decision_function"}
    score = cross_val_predict(model, np.concatenate(features), labels, **options)
    value, error = metrics.auc(score[labels == 0], score[labels == 1])
    assert value < 0.53 + 2 * error


def test_wanted_momenta_are_pairs_of_the_same_jet(sample_file):
    wanted, _ = selection.like(sample_file, seed=3)
    pairs = zip(wanted.pt, wanted.eta, strict=True)
    theirs = zip(column(sample_file, "pt"), np.abs(column(sample_file, "eta")), strict=True)
    assert sorted(pairs) == sorted((float(pt), float(eta)) for pt, eta in theirs)
    assert wanted.pt.tolist() != column(sample_file, "pt").tolist()


def test_a_window_of_jet_momenta_is_filled_evenly(tmp_path, quick):
    content = made(tmp_path / "jets", jets=120, seed=3, jet_pt=(150, 250))
    pt = content["pt"]
    assert 145 < pt.min() < pt.max() < 256
    np.testing.assert_allclose(np.histogram(pt, 4, (150, 250))[0], 30, atol=8)
    assert content["attributes"]["jet_pt"].tolist() == [150, 250]
    assert abs(np.corrcoef(pt, np.arange(120))[0, 1]) < 0.3


def test_the_radius_can_be_chosen(tmp_path, quick):
    narrow, wide = (
        made(tmp_path / str(radius), jets=60, seed=4, jet_radius=radius) for radius in (0.2, 1.0)
    )
    assert (narrow["attributes"]["jet_radius"], wide["attributes"]["jet_radius"]) == (0.2, 1.0)
    assert wide["m0"].mean() > 1.5 * narrow["m0"].mean()


def test_any_number_of_workers_gives_the_same_matched_jets(tmp_path, small_blocks, quick):
    options = {"jets": 32, "seed": 5, "jet_pt": (150, 190), "pileup": 0}
    for workers in (1, 2):
        simulation.simulate(tmp_path / str(workers), workers=workers, **options)
    assert (tmp_path / "1").read_bytes() == (tmp_path / "2").read_bytes()


def test_twins_are_the_same_jet_with_other_pileup_and_other_chance(tmp_path, small_blocks, quick):
    content = made(tmp_path / "one", jets=96, seed=6, twins=3, pileup=20)
    made(tmp_path / "two", jets=96, seed=6, twins=3, pileup=20, workers=2)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    numbers, counts = np.unique(content["twin"], return_counts=True)
    assert numbers.tolist() == list(range(32))
    assert (counts == 3).all()
    ecal = content["X_jets"][..., 1] > 0
    around = ecal.sum(axis=(1, 2)) - ecal[:, 35:90, 35:90].sum(axis=(1, 2))  # beside the jet
    assert np.quantile(around, 0.1) > 15  # as each image has pile-up of its own: else, 3
    hard, soft = [], []
    for number in numbers:
        same = content["twin"] == number
        for key in ("pt", "m0", "eta", "phi", "y"):
            assert len(set(content[key][same])) == 1
        tracks = content["X_jets"][same][..., 0]
        assert len({image.tobytes() for image in tracks}) == 3
        first, second = tracks[:2] * layout.GEV_PER_UNIT
        for lit, bright in ((hard, first > 5), (soft, (first > 0) & (first < 0.5))):  # GeV
            lit += (second[bright] > 0).tolist()
    assert np.mean(hard) > 0.8  # each track is found with 95 %, and few are of the pile-up
    assert np.mean(soft) < 0.2
    jets = load_jets(tmp_path / "one")
    np.testing.assert_array_equal(jets.twin, content["twin"])
    assert content["attributes"]["twins"] == 3


def test_twins_stay_together_and_have_numbers_of_their_own_file(tmp_path, jets, quick):
    path = tmp_path / "twins.hdf5"
    made(path, jets=40, seed=7, twins=2)
    twins = load_jets(path)
    parts = twins.split((0.6, 0.4), seed=1)
    assert [len(part) for part in parts] == [24, 16]
    assert not set(parts[0].twin) & set(parts[1].twin)
    assert all(np.unique(part.twin, return_counts=True)[1].min() == 2 for part in parts)
    made(tmp_path / "more.hdf5", jets=40, seed=9, twins=2)
    both = load_jets([path, tmp_path / "more.hdf5"])
    assert len(set(both.twin)) == 40
    assert (np.unique(both.twin, return_counts=True)[1] == 2).all()
    assert len(set(jets.twin)) == len(jets)  # in a file without twins
    np.testing.assert_array_equal(twins[[3, 1]].twin, twins.twin[[3, 1]])


def test_mismeasured_tracks_are_as_rare_as_asked_and_tens_of_tev(tmp_path, quick):
    plain = made(tmp_path / "plain", jets=240, seed=8)
    wild = made(tmp_path / "wild", jets=240, seed=8, detector=Detector(track_mismeasured=0.01))
    tracks = wild["X_jets"][..., 0]
    count = (tracks > 9).sum()  # above 900 GeV
    expected = 0.01 * (plain["X_jets"][..., 0] > 0).sum()
    assert count == pytest.approx(expected, abs=4 * np.sqrt(expected) + 1)
    assert tracks.max() < 1010
    large = tracks[tracks > 9]
    assert np.median(large) == pytest.approx(20, rel=0.5)  # half above twice the smallest
    assert plain["X_jets"][..., 0].max() < 9
    assert json.loads(wild["attributes"]["detector"])["track_mismeasured"] == 0.01
    assert json.loads(plain["attributes"]["detector"])["track_mismeasured"] == 0


def test_each_jet_is_given_to_the_nearest_free_momentum():
    wanted = Wanted(np.array([100.0, 101, 200]), np.array([np.nan, np.nan, 1.0]))
    jet = {"pt": np.array([100.4, 100.4, 100.4, 201, 201]), "eta": np.array([0, 1, 0, 0.7, -1.1])}
    jets, places = selection.assign(jet, wanted)
    assert jets.tolist() == [0, 1, 4]
    assert places.tolist() == [0, 1, 2]
    jets, places = selection.assign({"pt": np.array([110.0]), "eta": np.zeros(1)}, wanted)
    assert len(jets) == len(places) == 0
    jets, places = selection.assign({"pt": np.array([105.0]), "eta": np.zeros(1)}, wanted, 4.0)
    assert places.tolist() == [1]


def test_momenta_are_wanted_in_turns():
    wanted = selection.flat(100, 200, 10, seed=1)
    assert sorted(wanted.pt.tolist()) == [105.0 + 10 * i for i in range(10)]
    assert wanted.pt.tolist() != sorted(wanted.pt.tolist())
    assert wanted.pt.tolist() != selection.flat(100, 200, 10, seed=2).pt.tolist()
    assert wanted[np.array([0, 10, 13])].pt.tolist() == wanted.pt[[0, 0, 3]].tolist()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"twins": 0}, "4 images cannot be 0 of each jet"),
        ({"twins": 3}, "4 images cannot be 3 of each jet: take a multiple"),
        ({"jet_radius": 0.01}, "jet radius is 0.01: choose one from 0.1 to 1.5"),
        ({"jet_pt": (300, 200)}, "jet pT from 300 to 200: choose a window between 20 and 1500"),
        ({"jet_pt": (200, 300), "like": "w"}, "either that of a file or a window: give one"),
        ({"process": "dark", "jet_pt": (900, 950)}, "no such jets with pT from 9.. to 9.. GeV"),
    ],
)
def test_what_cannot_be_is_one_clear_line(tmp_path, monkeypatch, quick, options, message):
    monkeypatch.setattr(simulation, "PATIENCE", 250)
    with pytest.raises(ValueError, match=message) as error:
        made(tmp_path / "jets", **{"jets": 4} | options)
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_cannot_be_matched_is_one_clear_line(tmp_path, sample_file, boosted):
    with pytest.raises(DataError, match=r"none.hdf5 does not exist"):
        made(tmp_path / "jets", jets=4, like=tmp_path / "none.hdf5")
    mixed = tmp_path / "mixed.hdf5"
    with h5py.File(sample_file) as file, h5py.File(mixed, "w") as copy:
        for key in ("X_jets", "y", "pt", "m0"):
            copy[key] = file[key][:10]
        kinds = h5py.enum_dtype({"qcd": 0, "w": 1}, basetype="u1")
        copy.create_dataset("process", data=np.r_[[0] * 5, [1] * 5], dtype=kinds)
    with pytest.raises(DataError, match=r"mixed.hdf5 holds jets of several processes \(qcd, w\)"):
        made(tmp_path / "jets", jets=4, like=mixed)
    assert not (tmp_path / "jets").exists()


def test_a_file_without_eta_is_matched_in_momentum_alone(tmp_path, boosted):
    public = tmp_path / "public.hdf5"
    with h5py.File(boosted) as file, h5py.File(public, "w") as copy:
        for key in ("X_jets", "y", "pt", "m0", "process"):
            file.copy(key, copy)
    wanted, attributes = selection.like(public, seed=1)
    assert np.isnan(wanted.eta).all()
    assert attributes == {}
    assert sorted(wanted.pt) == pytest.approx(sorted(column(boosted, "pt")))
