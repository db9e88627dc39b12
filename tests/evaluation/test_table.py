"""A run is judged on jets that nobody has seen, beside baselines fitted on those that it has."""

import json

import numpy as np
import pytest
import torch
from small import FLOAT32, SmallVAE, small_vae

import qghelpers as qg
from qghelpers.analysis import baselines, latent, metrics, observables, pixels
from qghelpers.evaluation import probes, samples
from qghelpers.evaluation import table as evaluation
from qghelpers.training import runs

LIMIT, SEED = 150, 3


def trained(jets, folder, model, **notes):
    train, validation, _ = jets.sample(LIMIT, SEED).split(seed=SEED)
    recipe = qg.Recipe(epochs=3, batch_size=60, lr=1e-3)
    notes = {"limit": LIMIT, "recipe_name": "fast"} | notes
    options = {"seed": SEED, "out": folder, "engine": FLOAT32, "progress": False}
    return qg.fit(model, train, validation, recipe, **options, **notes)


@pytest.fixture(scope="module")
def run(jets, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    trained(jets, folder, small_vae())
    return folder


@pytest.fixture(autouse=True)
def few_resamples(monkeypatch):
    """For speed: what bootstrap and trees do is tested elsewhere."""
    monkeypatch.setattr(metrics, "RESAMPLES", 5)
    monkeypatch.setattr(evaluation, "SETS", 4)
    monkeypatch.setattr(samples, "auc_of_trees", lambda truth, other: (truth.mean(), other.mean()))


@pytest.fixture
def parts(jets):
    return jets.sample(LIMIT, SEED).split(seed=SEED)


@pytest.fixture
def other(jets):
    """Jets of another file, as far as anybody can tell."""
    some = jets[np.flatnonzero(~np.isin(jets._rows, jets.sample(LIMIT, SEED)._rows))[:30]]
    return qg.JetImages(
        some._images,
        some._rows,
        some.labels,
        some.pt,
        some.mass,
        some.process,
        some.twin,
        source="other",
    )


@pytest.fixture
def asked(monkeypatch):
    """Fingerprints of the jets that reach each fit, and each comparison."""
    seen = {}

    def note(module, name, position):
        function = getattr(module, name)

        def noting(*args, **options):
            seen.setdefault(name, []).append(args[position].fingerprint())
            return function(*args, **options)

        monkeypatch.setattr(module, name, noting)

    note(baselines, "pca", 1)
    note(baselines, "mean", 1)
    note(latent, "fit_prior", 1)
    note(metrics, "compare", 2)
    return seen


def test_baselines_are_fitted_on_the_training_jets_and_all_are_judged_on_the_test_jets(
    jets, run, parts, asked
):
    train, validation, test = (part.fingerprint() for part in parts)
    assert len({train, validation, test}) == 3
    evaluation.evaluate(run, jets)
    assert asked == {"pca": 3 * [train], "mean": [train], "fit_prior": [train], "compare": [test]}


def test_on_another_file_one_half_is_fitted_and_the_other_judged(run, other, asked):
    fitted, judged = (part.fingerprint() for part in other.split((0.5, 0.5), SEED))
    evaluation.evaluate(run, other)
    assert asked == {
        "pca": 3 * [fitted],
        "mean": [fitted],
        "fit_prior": [fitted],
        "compare": [judged],
    }


def test_another_file_is_judged_whole_beside_the_runs_own(jets, run, parts, other, asked):
    train, all_others = parts[0].fingerprint(), other.fingerprint()
    evaluation.evaluate(run, other, fit_on=jets)
    assert asked == {
        "pca": 3 * [train],
        "mean": [train],
        "fit_prior": [train],
        "compare": [all_others],
    }


def test_of_another_file_it_is_said_that_its_jets_are_taken_for_unseen(run, other, jets, capfd):
    line = "this file is not the file of the run, so all of its jets are taken for unseen"
    for given, own, said in ((other, None, True), (jets, None, False), (other, jets, False)):
        evaluation.evaluate(run, given, fit_on=own)
        assert (line in capfd.readouterr().err) is said


def test_another_file_with_jets_that_were_trained_on_is_refused(jets, run, parts, other, tmp_path):
    merged = parts[0][:7].to("cpu"), parts[2].to("cpu")
    for some, refused in zip(merged, (True, False), strict=True):
        some.source, some.origin = "merged", "merged.hdf5"
        if refused:
            with pytest.raises(qg.DataError, match=r"trained on 7 of the 7 jets of merged\.hdf5"):
                evaluation.evaluate(run, some, fit_on=jets)
        else:
            evaluation.evaluate(run, some, fit_on=jets)


def test_the_rows_are_those_of_the_networks_that_they_name(jets, run, parts, tmp_path, capfd):
    """Two runs of different weights, neither of them the reference."""
    worse = small_vae(seed=1)
    trained(jets, tmp_path / "worse", worse, recipe_name="slow")
    again = small_vae(seed=2)
    trained(jets, tmp_path / "again", again)
    table = evaluation.evaluate(run, jets, beside=[tmp_path / "worse", tmp_path / "again"])
    train, _, test = parts
    own = qg.load_run(run)
    models = {
        "all-zero image": baselines.zero(own.scaling),
        "mean image": baselines.mean(own.scaling, train),
        "PCA, 3 numbers": baselines.pca(own.scaling, train, 3),
        "PCA in log, 3 numbers": baselines.pca(qg.LogScale(), train, 3),
        "PCA in GeV, 3 numbers": baselines.pca(qg.ZScore(), train, 3),
        "vae (slow)": worse,
        "vae (fast)": again,
        f"vae (fast), {run}": own,
    }
    spaces = {"log": qg.LogScale(), "z-score": qg.ZScore().fit(train)}
    expected = metrics.compare(models, own.scaling, test, spaces)
    assert list(table)[:8] == list(models)
    for name, row in expected.items():
        for column, (value, error) in row.items():
            assert table[name][column] == pytest.approx((value, error), rel=1e-4, abs=1e-6)
    assert len({row["MSE"] for row in table.values() if "MSE" in row}) == 8
    stored = json.loads((run / "metrics.json").read_text())
    assert stored["test_jets"] == len(test)
    assert stored["table"] == json.loads(json.dumps(table))
    assert not (tmp_path / "worse" / "metrics.json").exists()


def test_the_seconds_of_a_training_are_those_of_its_median_epoch(jets, run, tmp_path):
    history = [{**row, "seconds": s} for row, s in zip(qg.read_history(run), (5, 900, 7), strict=1)]
    (tmp_path / "run").mkdir()
    for name in ("config.json", "model.safetensors"):
        (tmp_path / "run" / name).write_bytes((run / name).read_bytes())
    runs.save_epoch(tmp_path / "run", qg.load_run(run), history)
    table = evaluation.evaluate(tmp_path / "run", jets)
    assert table["vae (fast)"]["seconds to train"] == (21, 0)
    assert table["PCA, 3 numbers"]["seconds to train"][0] > 0
    assert "seconds to train" not in table["mean image"]


def test_true_jets_and_draws_are_compared_with_the_test_jets(jets, run, parts, monkeypatch):
    """Drawn from the standard normal, images are blank here; from a fitted prior, perfect."""
    train, _, test = parts
    sizes, chances = [], []

    def draw(self, n, prior=None):
        sizes.append(n)
        chances.append(torch.rand(1).item())
        images = test.images(slice(len(test) - n, None))
        return images if prior.means.any() else torch.zeros_like(images)

    monkeypatch.setattr(SmallVAE, "draw", draw)
    monkeypatch.setattr(metrics, "BATCH", 10)
    torch.manual_seed(5)
    table = evaluation.evaluate(run, jets)
    assert sizes == [10, len(test) - 10] * 2
    torch.manual_seed(0)  # a draw is the same each time, whatever came before
    assert chances == torch.rand(4).tolist()
    truth = samples.Sample.of_jets(test)
    order = np.random.default_rng(0).permutation(len(train))[: 4 * len(test)]
    sets = [train[np.sort(some)] for some in order.reshape(4, -1)]
    rows = [samples.compare(truth, samples.Sample.of_jets(one)) for one in sets]
    assert list(table["other true jets"]) == list(rows[0])
    for name, found in table["other true jets"].items():
        values = [row[name][0] for row in rows]
        assert found == pytest.approx((np.mean(values), np.std(values, ddof=1)))
    for name in observables.NAMES:
        values = truth.observables[name]
        blank = metrics.wasserstein(values, 0 * values, paired=False)
        assert table["from standard normal"][f"W1 {name}"] == blank
        assert table["from fitted prior"][f"W1 {name}"] != blank
    assert table["from standard normal"]["neighbours ECAL"][0] == 0
    drawn = [pixels.clusters(test.images(slice(len(test) - n, None))) for n in sizes[:2]]
    own = {name: sum(part[name][:, 1].sum() for part in drawn) for name in ("neighbours", "lit")}
    expected = (own["neighbours"] / own["lit"]).item()
    assert table["from fitted prior"]["neighbours ECAL"][0] == pytest.approx(expected)


def test_one_set_of_other_jets_has_the_uncertainties_of_its_own_comparison(jets):
    """On half of a file there is no second set; taken again and again, it would never differ."""
    truth, others = (samples.Sample.of_jets(some) for some in (jets[:12], jets[12:24]))
    assert evaluation._floor(truth, jets[12:24], False) == samples.compare(truth, others)
    found = evaluation._floor(truth, jets[12:47], False)  # one jet is missing for three sets
    assert all(error > 0 for name, (_, error) in found.items() if name.startswith("W1 "))


@pytest.mark.parametrize("few", ["train", "test"])
def test_too_few_jets_are_told(jets, few):
    parts = {"train": jets[:20], "test": jets[20:40]}
    evaluation._require_enough(*parts.values(), thorough=False)
    parts[few] = jets[:4]
    with pytest.raises(qg.DataError, match=r"too few to judge a network by, or .* take 5 of each"):
        evaluation._require_enough(*parts.values(), thorough=False)


def test_few_jets_are_judged_without_what_needs_more(jets):
    """FPD and KPD are not defined for fewer jets than observables."""
    truth, other = samples.Sample.of_jets(jets[:8]), samples.Sample.of_jets(jets[8:16])
    assert not {"FPD", "KPD"} & set(samples.compare(truth, other))


@pytest.mark.parametrize("label", [0, 1])
def test_supervised_judges_need_quark_and_gluon_jets(jets, label, monkeypatch):
    monkeypatch.setattr(probes, "NEIGHBOURS", 20)
    alike = jets[jets.labels == label]
    with pytest.raises(qg.DataError, match=r"gluon jets: take 20 of each .* --thorough"):
        evaluation._require_enough(jets, alike, thorough=True)
    evaluation._require_enough(jets, alike, thorough=False)


def test_a_thorough_table_asks_the_supervised_judges(jets, run, parts, monkeypatch):
    """The network's test once for each kind of draw and once for the floor; codes alone probed."""
    train, _, test = parts
    tested, probed = [], []

    def auc_of_network(truth, other):
        tested.append((len(truth), len(other)))
        return 0.25, 0.01

    def rows(models, fitted, judged):
        probed.append((list(models), fitted.fingerprint(), judged.fingerprint()))
        return {name: {"AUC linear": (0.75, 0.02)} for name in [*models, "tagger"]}

    monkeypatch.setattr(probes, "NEIGHBOURS", 2)
    monkeypatch.setattr(samples, "auc_of_network", auc_of_network)
    monkeypatch.setattr(probes, "rows", rows)
    table = evaluation.evaluate(run, jets, thorough=True)
    assert tested == [(len(test), len(test))] * 3
    for name in ("from standard normal", "from fitted prior"):
        assert table[name]["AUC images"] == (0.25, 0.01)
    assert table["other true jets"]["AUC images"] == (0.25, 0.01)
    coded = [f"PCA{space}, 3 numbers" for space in ("", " in log", " in GeV")]
    asked = ([*coded, "vae (fast)"], train.fingerprint(), test.fingerprint())
    assert probed == [asked]
    assert table["vae (fast)"]["AUC linear"] == table["tagger"]["AUC linear"] == (0.75, 0.02)
    assert "MSE" in table["vae (fast)"]
    assert "AUC images" not in evaluation.evaluate(run, jets)["other true jets"]


def test_draws_leave_the_callers_chance_alone(run, parts):
    model, before = qg.load_run(run), torch.get_rng_state()
    evaluation._drawn(model, parts[0], 2)
    assert torch.equal(before, torch.get_rng_state())


class Blank(qg.JetAutoencoder):
    """Draws nothing, and learns a single number."""

    def __init__(self) -> None:
        super().__init__(scaling="log")
        self.level = torch.nn.Parameter(torch.zeros(()))

    def encode(self, images):
        return images.sum(dim=(2, 3))

    def reconstruct(self, images):
        return self.level.expand(images.shape)

    def loss(self, images, noise=None):
        return {"loss": self.error(self.scaling(images), self.reconstruct(images))}


def test_a_network_that_draws_nothing_has_no_such_rows(jets, tmp_path, capfd):
    trained(jets, tmp_path / "run", Blank(), recipe_name="own")
    table = evaluation.evaluate(tmp_path / "run", jets)
    spaces = [f"PCA{space}, 3 numbers" for space in ("", " in z-score", " in GeV")]
    assert list(table)[2:] == [*spaces, "Blank (own)", "other true jets"]
    assert "reference" not in capfd.readouterr().err  # there is none of such a network


@pytest.mark.parametrize(
    ("network", "recipe", "beside", "missing"),
    [
        ("unet", "fast", [], "unet"),
        ("masked-unet", "masked", ["vae (reference)"], "unet"),
        ("pca-vae", "fast", [], "vae"),
        ("unet", "fast", ["unet (reference)"], None),
        ("vae", "reference", [], None),
        ("mine", "fast", [], None),
    ],
)
def test_a_missing_reference_is_told(capfd, network, recipe, beside, missing):
    config = {"network": network, "recipe_name": recipe}
    own = evaluation.recipes.command_name(config)
    evaluation._advise_reference(config, [*beside, f"{own} ({recipe})"])
    line = f"train {missing} --recipe reference --out DIR, then evaluate --beside DIR"
    assert (line in capfd.readouterr().err) is (missing is not None)


def test_jets_of_the_run_that_were_split_in_another_way_are_refused(jets, run, tmp_path):
    config = runs.read_config(run)
    (tmp_path / "run").mkdir()
    for seed, refused in ((SEED, False), (SEED + 1, True)):
        runs.write_json(tmp_path / "run" / "config.json", config | {"seed": seed})
        if refused:
            with pytest.raises(qg.DataError, match=r"run was trained on these jets, but split in"):
                evaluation.held_out(tmp_path / "run", jets)
        else:
            train, test = evaluation.held_out(tmp_path / "run", jets)
            assert (len(train), len(test)) == (120, 16)
            assert not set(train._rows) & set(test._rows)


def test_a_run_is_called_by_what_trained_it(run, tmp_path):
    assert evaluation.name_of(run) == "vae (fast)"
    (tmp_path / "run").mkdir()
    config = runs.read_config(run)
    for network, recipe, name in (
        ("pca-vae", "fast", "vae (fast)"),
        ("masked-unet", "masked", "unet (masked)"),
        ("pca-vae", "mine", "pca-vae (mine)"),
        ("unet", None, "unet (own recipe)"),
    ):
        changed = config | {"network": network, "recipe_name": recipe}
        changed = {key: value for key, value in changed.items() if value is not None}
        runs.write_json(tmp_path / "run" / "config.json", changed)
        assert evaluation.name_of(tmp_path / "run") == name
