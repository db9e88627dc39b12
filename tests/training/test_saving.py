"""What `fit` owes its caller: chance, signals and mode as they should be, and an honest bar."""

import signal

import pytest
import torch
from small import FLOAT32, SmallVAE, same, small_vae, weights

import qghelpers as qg
from qghelpers.training import fit as fitting
from qghelpers.training import runs


@pytest.fixture
def parts(jets):
    return jets[:60].split((0.8, 0.2), seed=1)  # 48 and 12


RECIPE = qg.Recipe(epochs=2, batch_size=16, lr=1e-3)


def trained(parts, model, **options):
    return qg.fit(model, *parts, RECIPE, **{"engine": FLOAT32, "progress": False} | options)


class Interrupted(SmallVAE):
    """Sends a signal when its loss has been asked for so many times, in training or validation."""

    def watch_for(self, calls: int, training: bool, number: int = signal.SIGINT) -> None:
        self.calls, self.in_training, self.number = calls, training, number

    def loss(self, images, noise=None):
        if noise is not None and self.training is self.in_training:
            self.calls -= 1
            if self.calls == 0:
                signal.raise_signal(self.number)
        return super().loss(images, noise)


def interrupted(calls: int, training: bool, number: int = signal.SIGINT) -> Interrupted:
    torch.manual_seed(0)
    model = Interrupted(latent_dim=3)
    model.watch_for(calls, training, number)
    return model


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    ("calls", "training", "epochs", "batch"), [(2, True, 0, 2), (1, False, 0, 3), (5, True, 1, 2)]
)
def test_a_stop_is_heard_in_training_and_in_validation(
    parts, tmp_path, capfd, calls, training, epochs, batch, number
):
    whole = interrupted(0, True)
    expected = trained(parts, whole)
    handlers = {n: lambda *_: None for n in (signal.SIGINT, signal.SIGTERM)}
    before = {n: signal.signal(n, handler) for n, handler in handlers.items()}
    try:
        model = interrupted(calls, training, number)
        history = trained(parts, model, out=tmp_path)
        assert {n: signal.getsignal(n) for n in handlers} == handlers
    finally:
        for n, handler in before.items():
            signal.signal(n, handler)
    assert len(history) == epochs
    assert runs.load_checkpoint(tmp_path)["batch"] == batch
    assert not model.training
    said = capfd.readouterr().err
    assert f"stopped in epoch {epochs + 1} of 2, after {batch} of 3 batches: resume=True" in said
    again = interrupted(0, True)
    resumed = trained(parts, again, out=tmp_path, resume=True)
    assert same(weights(again), weights(whole))
    for row, other in zip(resumed, expected, strict=True):
        assert row["train_loss"] == other["train_loss"]
        assert row["validation_loss"] == other["validation_loss"]


def test_without_a_folder_a_stop_says_what_to_do(parts, capfd):
    trained(parts, interrupted(1, True))
    assert "give out= to be able to resume" in capfd.readouterr().err


def test_chance_is_left_alone_and_does_not_matter(parts):
    results = []
    for chance in (1, 2):
        model = small_vae()
        torch.manual_seed(chance)
        before = torch.get_rng_state()
        trained(parts, model)
        assert torch.equal(torch.get_rng_state(), before)
        results.append(weights(model))
    assert same(*results)


@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_after_an_error_the_network_can_be_used(parts, error):
    model, handler = small_vae(), signal.getsignal(signal.SIGINT)

    def fail(history):
        model.train()
        raise error

    with pytest.raises(error):
        trained(parts, model, watch=[fail])
    assert not model.training
    assert signal.getsignal(signal.SIGINT) is handler


def test_the_bar_of_a_resumed_run_begins_where_it_stopped(parts, tmp_path, capfd):
    def stop(history):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        trained(parts, small_vae(), out=tmp_path, watch=[stop], progress=True)
    first = capfd.readouterr().err.split("\r")
    assert "epoch 1/2" in first[0] or "epoch 1/2" in first[1]
    trained(parts, small_vae(), out=tmp_path, resume=True, progress=True)
    bars = [line for line in capfd.readouterr().err.split("\r") if "images" in line]
    assert "epoch 2/2" in bars[0]
    assert "48/96" in bars[0]
    assert "96/96" in bars[-1]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_single_broken_weight_is_never_saved(parts, tmp_path, value):
    model = small_vae()
    trained(parts, model, out=tmp_path)
    kept = (tmp_path / "last.ckpt").read_bytes()
    training = type("Training", (), {"fabric": None, "history": [{}], "batch": 2})
    training.model, training.engine = model, FLOAT32
    training.optimizer = training.scheduler = torch.optim.SGD(model.parameters(), lr=1)
    training.sums, training.seconds, training.random = {}, 0.0, torch.get_rng_state()
    saver = fitting.Saver(training, tmp_path, every=0)
    model.from_latent[0].bias.data[1] = value
    with pytest.raises(FloatingPointError, match=r"from_latent.0.bias has entries that are no num"):
        saver._save(epoch_done=False)
    assert (tmp_path / "last.ckpt").read_bytes() == kept


def test_it_is_time_to_save_when_so_many_seconds_have_passed(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(fitting.time, "monotonic", lambda: now[0])
    saver = fitting.Saver(None, tmp_path, every=60)
    nowhere = fitting.Saver(None, None, every=0)
    for seconds, due in ((0, False), (59, False), (60, True), (1000, True)):
        now[0] = 100.0 + seconds
        assert saver.is_due() is due
        assert not nowhere.is_due()


def test_watchers_are_called_after_the_epoch_is_saved(parts, tmp_path):
    seen = []

    def look(history):
        seen.append((len(history), len(qg.read_history(tmp_path))))

    trained(parts, small_vae(), out=tmp_path, watch=[look, look])
    assert seen == [(1, 1), (1, 1), (2, 2), (2, 2)]


def test_what_is_prepared_is_prepared_once_on_the_training_jets(parts, tmp_path):
    given = []

    class Preparing(SmallVAE):
        def prepare(self, train):
            given.append((train.fingerprint(), self.scaling.std.clone()))

    torch.manual_seed(0)
    trained(parts, Preparing(latent_dim=3), out=tmp_path)
    trained(parts, Preparing(latent_dim=3), out=tmp_path, resume=True)
    ((fingerprint, std),) = given
    assert fingerprint == parts[0].fingerprint()
    assert torch.equal(std, qg.ZScore().fit(parts[0]).std)  # the scaling comes first


def test_the_settled_engine_computes_in_the_precision_that_is_asked_for(parts):
    kinds = []

    class Noting(SmallVAE):
        def loss(self, images, noise=None):
            if self.training:
                kinds.append(self.encoder(self.scaling(images)).dtype)
            return super().loss(images, noise)

    for precision, kind in (("32-true", torch.float32), ("bf16-mixed", torch.bfloat16)):
        kinds.clear()
        engine = qg.Engine(precision=precision, compile=False)
        trained(parts, Noting(latent_dim=3), engine=engine)
        assert set(kinds) == {kind}


def test_losses_of_one_name_lie_in_one_chart_with_a_point_for_each_epoch():
    written = []

    class Writer:
        def add_scalar(self, tag, value, step):
            written.append((tag, value, step))

        def flush(self):
            written.append("flushed")

    board = qg.TensorBoard("folder")
    board._make = lambda folder: written.append(folder) or Writer()
    row = {"epoch": 1, "lr": 0.5, "train_loss": 3.0, "validation_loss": 4.0, "train_kl": 5.0}
    board([row])
    board([row, row | {"epoch": 2, "lr": 0.25}])
    assert written[0] == "folder"
    expected = [("run/epoch", 1, 1), ("run/lr", 0.5, 1), ("loss/train", 3.0, 1)]
    expected += [("loss/validation", 4.0, 1), ("kl/train", 5.0, 1), "flushed"]
    assert written[1:7] == expected
    assert written[8] == ("run/lr", 0.25, 2)
    assert len(written) == 13
