"""`benchmark hard_jets` trains with the notebook's own functions, and judges by other jets."""

import runpy
from functools import partial
from pathlib import Path

import numpy as np

import qghelpers as qg
from qghelpers import metrics, observables

FILE = Path(__file__).parents[1] / "benchmarks" / "hard_jets.py"


def test_scores_are_of_jets_that_were_not_trained_on():
    table = runpy.run_path(str(FILE))["table"]
    space, trained = table.__globals__, []
    own = space["page"]()
    train = own["train_network"]

    def noted(images, seed):
        trained.append(images)
        return train(images, seed, steps=3)

    space |= {"COMPONENTS": (4, 64), "NETWORKS": 2, "page": partial(dict, own, train_network=noted)}
    ordinary, tops = qg.load_sample("qcd_like_top"), qg.load_sample("top")
    rows = table(ordinary, tops)
    many, judged, _ = ordinary.split((0.8, 0.15, 0.05), seed=0)
    assert rows.columns() == ["no training", "400 jets", "128 jets"]
    widths = [observables.of_jets(jets)["girth"] for jets in (judged, tops)]
    assert rows["girth"]["no training"] == metrics.auc(*widths)
    assert [len(images) for images in trained] == [400, 400, 128, 128]
    np.testing.assert_array_equal(trained[2], own["shares"](many))
    assert not set(many.mass) & set(judged.mass)
    assert set(rows["network"]) == {"400 jets", "128 jets"}
    for name in ("PCA, 4 components", "PCA, 64 components"):
        assert all(0.6 < rows[name][column][0] < 1 for column in ("400 jets", "128 jets")), name
