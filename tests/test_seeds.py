"""Jets of different purposes are of different seeds, and the shipped networks obey."""

import re

import pytest

import qghelpers as qg
from qghelpers.analysis.pretrained import WEIGHTS
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
