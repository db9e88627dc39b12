"""Anomalies are what they are called, and scores separate as they say."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch
from small import small_vae

import qghelpers as qg
from qghelpers.analysis import anomaly, metrics
from qghelpers.data import layout


def test_scores_are_the_losses_and_plain_sums(jets):
    model = small_vae().eval()
    images = jets.images(slice(0, 6))
    scores = anomaly.anomaly_scores(model, images, batch_size=4)
    with torch.no_grad():
        error = model.reconstruct(images) - model.scaling(images)
        kl = model.loss(images)["kl"]
    expected = error.square().sum(dim=(1, 2, 3))
    np.testing.assert_allclose(scores["squared error"], expected, rtol=1e-4)
    np.testing.assert_allclose(scores["kl"], kl, rtol=1e-4, atol=1e-5)
    calorimeters = 100 * images[:, 1:].sum(dim=(1, 2, 3))
    np.testing.assert_allclose(scores["calorimeter energy"], calorimeters, rtol=1e-4)
    np.testing.assert_array_equal(scores["lit pixels"], jets[:6].pixel_counts().sum(axis=1))


def test_two_prong_jets_have_two_cores_the_same_energy_and_whole_towers(jets):
    images = jets.images(slice(0, 20))
    doubled = anomaly.two_prong(images)
    assert doubled.sum() == pytest.approx(images.sum().item(), rel=1e-4)
    constant = layout.constant_tower_share(doubled.permute(0, 2, 3, 1).numpy())
    assert constant[2] == 1
    images = torch.where(images > 0.02, images, 0)  # without the pile-up, which has no core
    doubled = anomaly.two_prong(images)
    rows = torch.arange(125.0).view(1, 1, -1, 1)

    def width(x):
        energy = x.sum(dim=(1, 2, 3))
        mean = (x * rows).sum(dim=(1, 2, 3)) / energy
        return ((x * (rows - mean.view(-1, 1, 1, 1)).square()).sum(dim=(1, 2, 3)) / energy).mean()

    assert width(doubled) > 1.5 * width(images)


def test_a_dead_tracker_loses_tracks_alone(jets):
    images = jets.images(slice(0, 3))
    before = images.clone()
    dead = anomaly.dead_tracker(images)
    assert (dead[:, 0] == 0).all()
    assert torch.equal(dead[:, 1:], images[:, 1:])
    assert torch.equal(images, before)


def test_towers_are_the_energies_of_five_by_five_pixels_without_tracks(jets):
    images = jets.images(slice(0, 4))
    found = anomaly.towers(images)
    assert found.shape == (4, 2, 25, 25)
    expected = 100 * images[2, 2, 60:65, 55:60].sum()
    assert found[2, 1, 12, 11] == pytest.approx(expected.item(), rel=1e-4)
    energy = anomaly.anomaly_scores(small_vae(), images)["calorimeter energy"]
    np.testing.assert_allclose(found.sum(dim=(1, 2, 3)), energy, rtol=1e-4)


def test_a_hot_tower_adds_its_energy_to_one_whole_tower(jets):
    images = jets.images(slice(0, 5))
    before = images.clone()
    added = anomaly.hot_tower(images, energy=30) - images
    assert torch.equal(images, before)
    assert torch.equal(added[:, :2], torch.zeros_like(added[:, :2]))
    grid = anomaly.towers(added)[:, 1].flatten(1)
    np.testing.assert_allclose(grid.max(dim=1).values, 30, rtol=1e-3)
    np.testing.assert_allclose(grid.sum(dim=1), 30, rtol=1e-3)
    assert len(set(grid.argmax(dim=1).tolist())) > 1
    assert ((added[:, 2] > 1e-3).sum(dim=(1, 2)) == 25).all()


def test_the_two_sided_score_is_the_distance_from_the_training_median():
    training = np.array([1.0, 2.0, 9.0])
    np.testing.assert_allclose(anomaly.two_sided(np.array([0.0, 2.0, 5.0]), training), [2, 0, 3])
    np.testing.assert_allclose(anomaly.two_sided(np.array([4.0, 6.0]), training), [2, 4])


def test_working_points_of_scores_that_can_be_counted():
    ordinary, anomalous = np.arange(100.0), np.arange(100) + 89.5  # above 90 to 99 ordinary ones
    points = anomaly.working_points(ordinary, anomalous)
    assert points["rejection at 30 % found"] == 100  # none is kept: at most all of them
    assert points["found at 1 % false alarms"] == pytest.approx(0.91)
    ordinary = np.arange(100.0)
    anomalous = np.array([79.5, 89.5, 97.5, 98.5])
    points = anomaly.working_points(ordinary, anomalous)
    assert points["AUC"] == pytest.approx((0.8 + 0.9 + 0.98 + 0.99) / 4)
    assert points["rejection at 30 % found"] == pytest.approx(100 / 2)
    assert points["rejection at 50 % found"] == pytest.approx(100 / 2)
    assert points["significance improvement"] == pytest.approx(0.5 / 0.02**0.5)
    assert points["found at 1 % false alarms"] == pytest.approx(0.25)


def test_equal_scores_are_kept_or_not_at_their_own_threshold():
    """Counts, such as lit pixels: at each of them a third of both kinds is added."""
    counts = np.repeat([1.0, 2.0, 3.0], 10)
    points = anomaly.working_points(counts, counts)
    assert points["rejection at 30 % found"] == pytest.approx(3)
    assert points["rejection at 50 % found"] == pytest.approx(3 / 2)
    assert points["significance improvement"] == pytest.approx(0.5 / (2 / 3) ** 0.5)
    assert points["found at 1 % false alarms"] == 0


def test_scores_of_the_same_jets_are_compared_on_the_same_draws():
    rng = np.random.default_rng(1)
    ordinary, anomalous = rng.normal(0, 1, 300), rng.normal(1, 1, 200)
    scores = [
        {
            "plain": values,
            "as good": values + 1e-9 * values**2,
            "guess": rng.normal(0, 1, len(values)),
        }
        for values in (ordinary, anomalous)
    ]
    table = anomaly.judge(*scores, reference="plain")
    value, error = table["plain"]["AUC"]
    expected = metrics.auc(ordinary, anomalous)
    assert value == pytest.approx(expected[0])
    assert error == pytest.approx(expected[1], rel=0.25)
    assert table["as good"]["AUC minus plain"] == pytest.approx((0, 0), abs=1e-3)
    assert "AUC minus plain" not in table["plain"]
    value, error = table["guess"]["AUC minus plain"]
    assert value < -5 * error < 0
    assert "AUC minus plain" not in anomaly.judge(*scores)["guess"]


def test_the_black_box_knows_its_answer_and_no_other(capsys):
    for word in (" W\n", "", "top", "dark", "higgs"):
        qg.check("5.1", word)
    told = capsys.readouterr().out.splitlines()
    assert ["5.1 is right" in line for line in told] == [True, False, False, False, False]


def test_no_score_takes_the_name_of_a_part_of_the_loss(jets):
    class Part(qg.VAE):
        def loss(self, images, noise=None):
            return super().loss(images, noise) | {"energy": torch.full((len(images),), 7.0)}

    scores = anomaly.anomaly_scores(Part(latent_dim=2), jets.images(slice(0, 2)))
    assert scores["energy"].tolist() == [7, 7]


# --- what notebook 5 fits

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "05_anomaly_detection.ipynb"
TO_TEST = {"test", "ordinary", "spare", "box"}  # as they are loaded


def page() -> ast.Module:
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    return ast.parse("\n".join(cell.source for cell in cells if cell.cell_type == "code"))


def names(tree: ast.AST) -> set[str]:
    return {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}


def assignments(statements: list[ast.stmt]) -> Iterator[tuple[ast.AST, ast.AST]]:
    """What is given to what; `a, b = x, y` are two of them."""
    for node in (n for part in statements for n in ast.walk(part)):
        if isinstance(node, ast.For | ast.comprehension):
            yield node.target, node.iter
        elif isinstance(node, ast.AugAssign):
            yield node.target, node.value
        elif isinstance(node, ast.Assign):
            pair = node.targets[0], node.value
            if all(isinstance(side, ast.Tuple) for side in pair):
                yield from zip(pair[0].elts, pair[1].elts, strict=True)
            else:
                yield pair


def made_of(statements: list[ast.stmt], start: set[str]) -> set[str]:
    """These names, and all that are given a value in which one of them takes part."""
    found = set(start)
    for name, value in assignments(statements):
        if names(value) & found:
            found |= names(name)
    return found


def test_in_notebook_5_test_jets_reach_no_fit():
    """What is written outside functions: a call that fits is given no name that holds test jets."""
    statements = [node for node in page().body if not isinstance(node, ast.FunctionDef)]
    calls = [n for part in statements for n in ast.walk(part) if isinstance(n, ast.Call)]
    fits = [
        call
        for call in calls
        if re.fullmatch(r".*\.fit|.*polyfit|train_network", ast.unparse(call.func))
    ]
    assert len(fits) == 5
    to_test = made_of(statements, TO_TEST)
    assert {"scores", "normal", "many", "tops", "sides"} <= to_test
    for call in fits:
        given = set().union(*(names(part) for part in [*call.args, *call.keywords]))
        assert not given & to_test, (ast.unparse(call), given & to_test)


def test_in_notebook_5_no_jet_is_scored_by_a_detector_that_has_seen_it():
    (crossed,) = (n for n in page().body if getattr(n, "name", "") == "crossed")
    space = {"np": np, "anomaly": anomaly}
    exec(ast.unparse(crossed), space)  # the function alone
    known, strange, seen = np.arange(40.0), 100 + np.arange(40.0), []

    def detector(part):
        seen.append(set(part))
        return lambda jets: {"new": np.array([float(jet not in seen[-1]) for jet in jets])}

    own, theirs = space["crossed"](detector, known, strange)
    assert len(seen) == 5
    assert all(len(part) == 24 and part <= set(known) for part in seen)
    np.testing.assert_array_equal(own["new"], 1)
    np.testing.assert_array_equal(theirs["new"], 1)
    np.testing.assert_array_equal(own["new, two-sided"], 0)  # nor has it seen its reference
