"""`benchmark hard_jets` trains with the notebook's own functions, and judges by other jets."""

import runpy
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

import qghelpers as qg
from qghelpers import metrics, observables

FILE = Path(__file__).parents[1] / "benchmarks" / "hard_jets.py"


def prepared(function: str, **constants) -> tuple[Callable, dict, list]:
    """A function of the benchmark, the notebook's functions, and what it trains on and with."""
    found, trained = runpy.run_path(str(FILE))[function], []
    space = found.__globals__
    own = space["page"]()

    def noted(images, seed):
        trained.append((images, seed))
        return own["train_network"](images, seed, steps=3)

    space |= constants | {"page": partial(dict, own, train_network=noted)}
    return found, own, trained


def test_scores_are_of_jets_that_were_not_trained_on():
    table, own, trained = prepared("table", COMPONENTS=(4, 64), NETWORKS=2)
    ordinary, tops = qg.load_sample("qcd_like_top"), qg.load_sample("top")
    rows = table(ordinary, tops)
    many, judged, _ = ordinary.split((0.8, 0.15, 0.05), seed=0)
    assert rows.columns() == ["no training", "400 jets", "128 jets"]
    widths = [observables.of_jets(jets)["girth"] for jets in (judged, tops)]
    assert rows["girth"]["no training"] == metrics.auc(*widths)
    assert [len(images) for images, _ in trained] == [400, 400, 128, 128]
    np.testing.assert_array_equal(trained[2][0], own["shares"](many))
    assert not set(many.mass) & set(judged.mass)
    assert set(rows["network"]) == {"400 jets", "128 jets"}
    for name in ("PCA, 4 components", "PCA, 64 components"):
        assert all(0.6 < rows[name][column][0] < 1 for column in ("400 jets", "128 jets")), name


def test_both_directions_are_judged_by_jets_that_were_not_trained_on():
    fewer = {"PART": 30, "STEPS": 2, "STOP": 1, "CHAIN": 1, "NETWORKS": 2}
    directions, own, trained = prepared("both_directions", **fewer)
    ordinary, tops = qg.load_sample("qcd_like_top"), qg.load_sample("top")
    rows = directions(ordinary, tops)
    pairs = {"ordinary jets among tops": (tops, ordinary)}
    pairs["tops among ordinary jets"] = ordinary, tops
    assert list(rows) == list(pairs)
    for k, (name, (known, strange)) in enumerate(pairs.items()):
        girth = [np.log(observables.of_jets(jets)["girth"]) for jets in (known, strange)]
        assert rows[name]["girth"] == metrics.auc(girth[0][:30], girth[1][:30])
        far = [abs(some[:30] - np.median(girth[0][30:60])) for some in girth]
        assert rows[name]["girth, two-sided"] == metrics.auc(*far)
        for i, (images, seed) in enumerate(trained[2 * k : 2 * k + 2]):
            assert seed == i
            np.testing.assert_array_equal(images, own["shares"](known[60:]))
        kinds = ["squared error", "squared error, two-sided"]
        kinds += ["normalised, 1 steps", "normalised, 2 steps"]
        assert set(rows[name]) == {"girth", "girth, two-sided", *kinds}
        assert all(0 < rows[name][kind][0] < 1 and rows[name][kind][1] > 0 for kind in kinds)


def test_easy_images_are_found_and_unlearnt():
    """They are images of shares, easier than jets; after training on both, jets are easier."""
    space = runpy.run_path(str(FILE))
    normalised, easy, own = space["normalised"], space["easy"], space["page"]()
    images, squared = own["shares"](qg.load_sample("qcd_like_top")), own["squared_error"]
    network, found = own["train_network"](images, 0, steps=400), {}

    @torch.no_grad()
    def error(some):
        return squared(network, some).mean().item()

    for steps in (0, 8):
        easy.__globals__["CHAIN"] = steps
        torch.manual_seed(0)
        found[steps] = easy(network, squared, images)
        assert found[steps].min() >= 0
        sums = found[steps].square().sum(dim=(1, 2, 3))
        torch.testing.assert_close(sums, torch.ones(len(images)))
    assert not torch.equal(found[0], found[8])
    assert error(found[8]) < 4 * error(found[0]) < error(images)  # noise alone would spoil them
    easy.__globals__.update(STEPS=20, STOP=10, CHAIN=2)
    stops = list(normalised(network, squared, images, seed=0))
    assert stops == ["normalised, 10 steps", "normalised, 20 steps"]
    assert not network.training
    assert error(found[8]) > error(images)
