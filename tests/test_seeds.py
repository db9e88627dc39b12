"""Jets of different purposes are of different seeds, and the shipped networks obey."""

import re

import h5py
import pytest

import qghelpers as qg
from qghelpers.analysis.pretrained import WEIGHTS
from qghelpers.load import PACKAGED
from qghelpers.seeds import Seed

SHIPPED = sorted(path.stem for path in WEIGHTS.glob("*.json"))


def test_no_two_purposes_share_a_seed():
    assert len(set(Seed)) == len(Seed.__members__)  # an alias would not count
    assert min(Seed) > 3  # what people type for themselves


@pytest.mark.parametrize("name", SHIPPED)
def test_shipped_networks_were_trained_and_judged_on_jets_of_their_own(name):
    commands = qg.pretrained_card(name)["commands"]
    seeds = {
        re.search(r"simulate (\S+)", command)[1]: int(re.search(r"--seed (\d+)", command)[1])
        for command in commands
        if " simulate " in command
    }
    trained = {re.search(r"--data (\S+)", c)[1] for c in commands if " train " in c}
    judged = {re.search(r"--data (\S+)", c)[1] for c in commands if " evaluate " in c}
    assert {seeds[path] for path in trained} == {Seed.SHIPPED}
    assert {seeds[path] for path in judged} == {Seed.CARDS}


def test_a_seed_that_was_published_stays():
    """Of the default sample are the figures in the notebooks' text; others stand in files."""
    assert Seed.SAMPLE == 271828  # the digits of e
    made = {path.stem: path for path in PACKAGED.glob("*.hdf5") if path.stem != "black_box"}
    purposes = {"qcd_hard": Seed.HARD_MATCHED}
    purposes |= {f"qcd_like_{process}": Seed.MATCHED for process in ("w", "top", "dark")}
    purposes |= dict.fromkeys(("qcd", "w", "top", "dark"), Seed.PACKAGED)
    assert set(purposes) == set(made)
    for name, path in made.items():
        with h5py.File(path) as file:
            assert file.attrs["seed"] == purposes[name], name
