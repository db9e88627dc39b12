"""A network of one's own, in forty lines and in no list: trained, killed, resumed, judged."""

import signal

import pytest
import torch
from small import FLOAT32, same, weights
from torch import nn

import qghelpers as qg
from qghelpers import anomaly, baselines, latent, metrics
from qghelpers.__main__ import main
from qghelpers.evaluation.table import evaluate
from qghelpers.networks import base
from qghelpers.training import recipes

RECIPE = qg.Recipe(epochs=2, batch_size=16, lr=1e-3)


class Transformer(qg.JetAutoencoder):
    """Each tower is a token; one more token carries all that passes the bottleneck."""

    def __init__(self, width: int = 16, code: int = 6) -> None:
        super().__init__(scaling="log")
        self.code = code
        self.patch = nn.PixelUnshuffle(5)  # (n, 75, 25, 25)
        self.embed = nn.Linear(75, width)
        self.place = nn.Parameter(0.02 * torch.randn(626, width))
        self.encoder, self.decoder = self._layer(width), self._layer(width)
        self.to_code, self.from_code = nn.Linear(width, code), nn.Linear(code, width)
        self.back = nn.Linear(width, 75)

    @staticmethod
    def _layer(width):
        return nn.TransformerEncoderLayer(width, 2, 2 * width, dropout=0.1, batch_first=True)

    def encode(self, images):
        tokens = self.embed(self.patch(self.scaling(images)).flatten(2).transpose(1, 2))
        tokens = torch.cat([tokens.new_zeros(len(images), 1, tokens.shape[2]), tokens], dim=1)
        return self.to_code(self.encoder(tokens + self.place)[:, 0])

    def decode(self, code):
        tokens = self.from_code(code)[:, None] + self.place[1:]
        pixels = self.back(self.decoder(tokens)).transpose(1, 2).unflatten(2, (25, 25))
        return nn.functional.pixel_shuffle(pixels, 5)

    def reconstruct(self, images):
        return self.decode(self.encode(images))

    def loss(self, images, noise=None):
        return {"loss": self.error(self.scaling(images), self.reconstruct(images))}


@pytest.fixture(scope="module")
def parts(jets):
    return jets[:80].split(seed=0)


def fresh() -> Transformer:
    torch.manual_seed(0)
    return Transformer(code=5)


@pytest.fixture(scope="module")
def run(parts, tmp_path_factory):
    """A run folder and the trained network; one of another training that was interrupted."""
    out = tmp_path_factory.mktemp("transformer")
    model = fresh()
    qg.fit(model, *parts[:2], RECIPE, out=out, engine=FLOAT32, recipe_name="mine")
    return out, model


def test_it_is_not_registered():
    assert Transformer.name == ""
    assert Transformer not in base.NETWORKS.values()


def test_it_is_trained_without_a_recipe(parts):
    """For an epoch of ten: then it is stopped."""
    model = fresh()
    before = weights(model)
    stop = [lambda history: signal.raise_signal(signal.SIGTERM)]
    (row,) = qg.fit(model, parts[0], parts[1], engine=FLOAT32, watch=stop)
    assert row["train_loss"] > 0
    assert not same(before, weights(model))


def test_it_is_resumed_after_a_kill_to_the_same_weights(parts, run, tmp_path):
    def kill(*args):
        if model.training:
            signal.raise_signal(signal.SIGTERM)
        return type(model).loss(model, *args)

    options = {"out": tmp_path, "engine": FLOAT32, "recipe_name": "mine"}
    model = fresh()
    model.loss = kill
    assert len(qg.fit(model, *parts[:2], RECIPE, **options)) < 2
    again = fresh()
    assert len(qg.fit(again, *parts[:2], RECIPE, resume=True, **options)) == 2
    assert same(weights(again), weights(run[1]))


def test_it_is_loaded_with_its_arguments(parts, run):
    out, model = run
    loaded = qg.load_run(out)
    assert type(loaded) is Transformer
    assert loaded.code == 5
    images = parts[2].images()
    assert torch.equal(loaded.reconstruct(images), model.reconstruct(images))


def test_it_is_evaluated_beside_baselines(jets, run, capfd):
    table = evaluate(run[0], jets[:80])
    assert list(table) == [
        "all-zero image",
        "mean image",
        "PCA, 5 numbers",
        "PCA in z-score, 5 numbers",
        "PCA in GeV, 5 numbers",
        "Transformer (mine)",
        "other true jets",
    ]
    assert table["Transformer (mine)"]["MSE"][0] > 0
    assert capfd.readouterr().err == ""


def test_all_questions_can_be_asked_of_it(parts, run):
    test, model = parts[2], run[1]
    assert latent.encode(model, test).shape == (len(test), 5)
    assert latent.code_size(model) == 5
    scores = anomaly.anomaly_scores(model, test.images())
    assert {"squared error", "loss", "calorimeter energy", "lit pixels"} == set(scores)
    energy = qg.reconstruct(model, test.images())
    assert energy.shape == (len(test), 3, 125, 125)
    table = metrics.compare({"own": model}, model.scaling, test)
    errors = metrics.errors(model, model.scaling, test)["MSE"].sum(axis=1)
    loss = baselines.zero_loss(model, test)
    assert errors.mean() / loss == pytest.approx(table["own"]["MSE"][0], rel=1e-4)


def test_a_name_puts_it_into_build_recipes_and_command_line(sample_file, tmp_path, capfd):
    class Named(Transformer, name="transformer"):
        pass

    try:
        assert isinstance(qg.build("transformer"), Named)
        assert qg.get_recipe("transformer") == qg.Recipe()
        assert "transformer" in recipes.networks()
        options = ["--data", str(sample_file), "--out", str(tmp_path / "run"), "--limit", "80"]
        options += ["--epochs", "1", "--batch-size", "32", "--precision", "32-true"]
        assert main(["train", "transformer", *options]) == 0
        assert main(["evaluate", str(tmp_path / "run"), "--data", str(sample_file)]) == 0
        assert "transformer (fast)" in capfd.readouterr().out
    finally:
        del base.NETWORKS["transformer"]
