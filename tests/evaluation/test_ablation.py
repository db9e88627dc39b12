"""The rungs of the ablation differ in what their names say; a killed benchmark loses no row."""

import runpy
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from qghelpers.analysis import metrics
from qghelpers.evaluation import samples, tagger
from qghelpers.networks.sparse_vae import SparseVAE
from qghelpers.networks.unet import BalancedUNet, l1_loss

FILE = Path(__file__).parents[1] / "benchmarks" / "ablation.py"
ablation = SimpleNamespace(**runpy.run_path(str(FILE)))
SMALL = {"latent_dim": 3, "widths": (4, 4), "components": 2}
TINY = ablation.Settings(train=16, batch=8, validation=2, test=30, judged=4, drawn=4, others=16)


class SmallSparse(SparseVAE):
    """As quick to draw as to train."""


class SmallUNet(BalancedUNet):
    """Narrow."""

    widths = (4, 4, 4, 4, 4)


def paired(kind, *others):
    """Networks of several kinds with the same weights, in training."""
    torch.manual_seed(0)
    first = kind().train()
    same = [other().train() for other in others]
    for model in same:
        model.load_state_dict(first.state_dict())
    return first, *same


def test_the_loss_of_each_u_net_counts_what_it_says(jets):
    images = jets.images(slice(4))
    balanced, even, lost = paired(BalancedUNet, ablation.EvenUNet, ablation.LostCountUNet)
    plain = l1_loss(balanced.scaling(images), balanced.reconstruct(images))["loss"]
    assert torch.equal(even.loss(images)["loss"], plain)
    with_lost = lost.loss(images)["loss"]
    assert (with_lost > plain).all()
    assert (balanced.loss(images)["loss"] > with_lost).all()
    balanced.false_weight = 1.0
    torch.testing.assert_close(balanced.loss(images)["loss"], with_lost)


def test_the_code_without_ring_sums_does_not_know_them(jets):
    images = jets.images(slice(4))
    given, without = paired(*(partial(k, **SMALL) for k in (SparseVAE, ablation.NoSumsVAE)))
    for model in (given.eval(), without.eval()):
        before = model.encode(images)
        with torch.no_grad():
            model.to_posterior.weight[:, -model.sums :] += 1
        assert torch.equal(before, model.encode(images)) == (model is without)


@pytest.fixture
def small_rungs(monkeypatch):
    """Quick ones; so are their judges, which have tests of their own."""
    monkeypatch.setattr(metrics, "RESAMPLES", 2)  # bootstrap errors are not used
    areas = iter(np.linspace(0.5, 1))
    monkeypatch.setattr(samples, "auc_of_trees", lambda *_: (next(areas), 0.0))
    monkeypatch.setattr(tagger, "train", lambda *_: tagger.network())
    monkeypatch.setitem(ablation.RUNGS, "vae", {"small": partial(SmallSparse, **SMALL)})
    monkeypatch.setitem(ablation.RUNGS, "unet", {"small": SmallUNet})


def test_a_killed_benchmark_goes_on_with_the_next_row(jets, tmp_path, small_rungs, monkeypatch):
    def run(seeds=(0, 1)):
        return list(ablation.benchmark(jets, tmp_path, TINY, seeds))

    run(seeds=(0,))
    file = tmp_path / "rows.jsonl"
    first = file.read_text()
    tables = run()
    assert file.read_text().startswith(first)
    rows = ablation.Rows(file, TINY).all()
    assert {key for key in rows if key[1] == "small"} == {
        (ladder, "small", seed) for ladder in ("vae", "unet") for seed in (0, 1)
    }
    for ladder, text in zip(("vae", "unet"), tables, strict=True):
        _, _, *controls, line = text.splitlines()
        assert len(controls) == {"vae": 7, "unet": 1}[ladder]
        cells = line.strip("|").split("|")
        assert cells[0].strip() == "small"
        assert all("±" in entry for entry in cells[1:])  # of every column, over both seeds
    assert rows["vae", "small", 0]["MSE log"] != rows["vae", "small", 1]["MSE log"]
    with monkeypatch.context() as patched:
        patched.setattr("qghelpers.fit", None)  # nothing is trained again
        assert run() == tables
        patched.setattr("qghelpers.fit", lambda *_, **__: [])  # stopped before its first epoch
        with pytest.raises(KeyboardInterrupt):
            run(seeds=(2,))
        assert run() == tables  # no row is made of it
        patched.setattr("qghelpers.fit", None)
        with pytest.raises(TypeError, match="not callable"):
            run(seeds=(2,))
    other = ablation.Settings(**{**vars(TINY), "batch": 12})
    assert not ablation.Rows(file, other).all()


def test_a_cell_has_the_mean_and_the_standard_error_of_the_seeds():
    assert ablation.cell([]) == ""
    assert ablation.cell([0.25]) == "0.250"
    assert ablation.cell([1.0, 2.0, 3.0]) == "2.000 ± 0.577"
    assert ablation.cell([100.0, 200.0, 300.0]) == "200.0 ± 57.7"
