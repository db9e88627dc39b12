"""Black boxes for a class hold what their key says, and tell nothing else."""

import csv

import h5py
import numpy as np
import pytest

import qghelpers as qg
from qghelpers import boxes
from qghelpers.__main__ import main
from qghelpers.data.layout import NEITHER
from qghelpers.load import PACKAGED
from qghelpers.seeds import Seed

JETS, BOXES, SEED = 150, 3, 4  # such that the boxes are of all three kinds
PROCESSES = ("qcd", "w", "top")


@pytest.fixture(scope="module")
def simulated():
    """Instead of a simulation, files of the package are copied; with what was asked for."""
    asked = []

    def copy(path, jets, seed, workers, process="qcd", **others):
        source = "qcd_hard" if path.stem == "ordinary" else process
        path.write_bytes((PACKAGED / f"{source}.hdf5").read_bytes())
        asked.append((path.stem, jets, seed, process, others))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("qghelpers.simulation.simulate.simulate", copy)
        yield asked


@pytest.fixture(scope="module")
def made(simulated, tmp_path_factory):
    folder = tmp_path_factory.mktemp("class")
    return folder, boxes.make_boxes(folder, BOXES, SEED, JETS)


def paths(folder):
    return sorted((folder / "students").glob("box_*.hdf5"))


def test_each_box_holds_what_its_key_says(made):
    folder, key = made
    assert [path.stem for path in paths(folder)] == [told["box"] for told in key]
    pool = {name: qg.load_jets(folder / "pool" / f"{name}.hdf5") for name in PROCESSES}
    sums = {name: {*map(float, jets.sums().sum(axis=1))} for name, jets in pool.items()}
    for path, told in zip(paths(folder), key, strict=True):
        box = qg.load_jets(path)
        assert len(box) == JETS
        hidden = np.isin(np.arange(JETS), np.array(told["rows"].split(), int))
        assert hidden.sum() == told["number"]
        for i, total in enumerate(map(float, box.sums().sum(axis=1))):
            assert total in sums[told["hidden"] if hidden[i] else "qcd"]
    assert {told["hidden"] for told in key} == {"w", "top", "nothing"}
    numbers = [told["number"] for told in key if told["number"]]
    assert boxes.FEWEST <= min(numbers) < max(numbers) <= boxes.MOST


def test_the_key_is_written_beside_the_files_of_the_students(made):
    folder, key = made
    with (folder / "key.csv").open(newline="") as file:
        written = list(csv.DictReader(file))
    assert written == [{name: str(value) for name, value in told.items()} for told in key]
    assert not list((folder / "students").glob("*.csv"))


def test_a_box_tells_neither_mass_nor_process_nor_where_its_jets_are_from(made):
    folder, key = made
    for path in paths(folder):
        with h5py.File(path) as file:
            assert sorted(file) == ["X_jets", "eta", "phi", "process", "pt", "y"]
            assert dict(file.attrs) == {}
        box = qg.load_jets(path)
        assert {*box.process} == {"unknown"}
        assert {*box.labels} == {NEITHER}
        assert np.isnan(box.mass).all()
        assert box.pt.min() > 0
    rows = [np.array(told["rows"].split(), float) for told in key]
    middles = [some.mean() / JETS for some in rows if len(some)]
    assert np.mean(middles) == pytest.approx(0.5, abs=0.08)  # neither first nor last
    assert all(np.diff(some).max() > 1 for some in rows if len(some))


def test_jets_of_one_pool_are_drawn_anew_for_each_box(made):
    folder, _ = made
    first, second = ({*qg.load_jets(path).pt} for path in paths(folder)[:2])
    assert 0 < len(first & second) < JETS


def test_all_jets_of_a_class_are_simulated_alike_with_seeds_of_their_own(simulated, made):
    assert [name for name, *_ in simulated] == [
        *PROCESSES,
        "ordinary",
        "known_w",
        "known_top",
    ]
    assert all(others == boxes.FAIR for *_, others in simulated)
    assert [process for *_, process, _ in simulated] == [*PROCESSES, *PROCESSES]
    seeds = [seed for _, _, seed, _, _ in simulated]
    assert len({*seeds[:3], SEED, Seed.BOXES}) == 5
    assert {*seeds[3:]} == {Seed.BOXES}
    assert simulated[0][1] == 2 * JETS


def test_the_seed_decides_and_what_is_simulated_is_kept(simulated, made, tmp_path):
    _, key = made
    assert boxes.make_boxes(tmp_path, 1, SEED, JETS) == key[:1]
    before = len(simulated)
    assert boxes.make_boxes(tmp_path, 1, SEED + 1, JETS) != key[:1]
    assert len(simulated) == before


def test_a_pool_that_is_too_small_is_named(made):
    folder, _ = made
    with pytest.raises(ValueError, match=r"w\.hdf5 has 160 jets, 170 are wanted"):
        boxes.write_box(
            folder / "box.hdf5", {folder / "pool" / "w.hdf5": 170}, np.random.default_rng(0)
        )
    assert not (folder / "box.hdf5").exists()


def test_the_command_makes_them_and_refuses_what_it_cannot(simulated, tmp_path, capsys):
    arguments = ["boxes", str(tmp_path), "--boxes", "2", "--jets", "160", "--seed", "5"]
    assert main(arguments) == 0
    assert capsys.readouterr().out == f"{tmp_path}: 2 boxes; key.csv says what they hold\n"
    assert len(paths(tmp_path)) == 2
    assert main([*arguments[:-1], "-1"]) == 2
    assert "a seed of 0 or more" in capsys.readouterr().err
