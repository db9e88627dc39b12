"""The training loop against the same training written out in plain PyTorch."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from small import FLOAT32, small_vae, weights
from torch import nn
from torch.optim import lr_scheduler

import qghelpers as qg
from qghelpers.training import loop
from qghelpers.training.loop import validate

PLAIN = replace(FLOAT32, channels_last=False, fused=False)
SEED = 5


class Level(qg.JetAutoencoder):
    """Answers every jet with one level for each channel; remembers what it was given."""

    def __init__(self) -> None:
        super().__init__(scaling="log")
        self.level = nn.Parameter(torch.tensor([0.3, 0.2, 0.1]).view(3, 1, 1))
        self.given = []

    def draw_noise(self, n):
        return torch.rand(n, 3, 1, 1)

    def loss(self, images, noise=None):
        if noise is not None:
            self.given.append((self.training, torch.is_grad_enabled(), images.clone(), noise))
        blurred = self.level.expand(images.shape) + (0 if noise is None else 0.1 * noise)
        squared = (blurred - self.scaling(images)).square().mean(dim=(1, 2, 3))
        return {"loss": 2 * squared, "squared": squared}

    def encode(self, images):
        return images.sum(dim=(2, 3))

    def reconstruct(self, images):
        return self.level.expand(images.shape)


@pytest.fixture
def parts(jets):
    return jets[:60].split((0.7, 0.3))  # 42 and 18


def recipe(**changes) -> qg.Recipe:
    plain = {"optimizer": "SGD", "lr": 0.5, "schedule": "cosine", "epochs": 3, "batch_size": 10}
    return qg.Recipe(**plain | {"weight_decay": 0.01, "lr_min": 0.1} | changes)


def trained(parts, model=None, seed=SEED, **changes):
    model = model or Level()
    options = {"seed": seed, "engine": PLAIN, "progress": False}
    return model, qg.fit(model, *parts, recipe(**changes), **options)


def handed_out(model: Level, training: bool = True) -> list[torch.Tensor]:
    return [images for mode, _, images, _ in model.given if mode is training]


def total(images: torch.Tensor) -> list[float]:
    return images.double().sum(dim=(1, 2, 3)).tolist()


def test_an_epoch_is_that_of_plain_pytorch(parts):
    train, validation = parts
    model, history = trained(parts)
    plain = Level()
    optimizer = torch.optim.SGD(plain.parameters(), lr=0.5, weight_decay=0.01)
    given = iter(model.given)
    for epoch in range(3):
        for group in optimizer.param_groups:  # cosine, from 0.5 to 0.1
            group["lr"] = 0.1 + 0.2 * (1 + np.cos(np.pi * epoch / 3))
        row = history[epoch]
        assert row["epoch"] == epoch + 1
        assert row["lr"] == pytest.approx(optimizer.param_groups[0]["lr"])
        for part, jets, batches in (("train", train, 5), ("validation", validation, 2)):
            sums = {"loss": 0.0, "squared": 0.0}
            for _ in range(batches):
                training, grad, images, noise = next(given)
                assert training is grad is (part == "train")
                losses = plain.loss(images, noise)
                if training:
                    optimizer.zero_grad()
                    losses["loss"].mean().backward()
                    optimizer.step()
                for name in sums:
                    sums[name] += losses[name].sum().item()
            for name, value in sums.items():
                assert row[f"{part}_{name}"] == pytest.approx(value / len(jets), rel=1e-5)
        assert row["images_per_second"] >= len(train) / row["seconds"]
    assert next(given, None) is None
    torch.testing.assert_close(model.level, plain.level)


def test_images_per_second_are_those_of_the_training_alone(parts, monkeypatch):
    """By a clock that goes on a second with each batch, and 100 with the validation."""
    clock = [0.0]

    class Slow(Level):
        def loss(self, images, noise=None):
            clock[0] += self.training
            return super().loss(images, noise)

    def slow(*_):
        clock[0] += 100
        return {"loss": 1.0}

    monkeypatch.setattr(loop, "validate", slow)
    monkeypatch.setattr(loop, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    _, history = trained(parts, Slow(), epochs=2)
    assert [row["seconds"] for row in history] == [105, 105]
    assert [row["images_per_second"] for row in history] == [42 / 5, 42 / 5]


def test_every_jet_is_handed_out_once_an_epoch_each_time_in_another_order(parts):
    train, validation = parts
    model, _ = trained(parts)
    batches = handed_out(model)
    assert [len(batch) for batch in batches] == [10, 10, 10, 10, 2] * 3
    orders = [total(torch.cat(batches[start : start + 5])) for start in (0, 5, 10)]
    expected = total(train.images())
    for order in orders:
        assert sorted(order) == pytest.approx(sorted(expected))
        assert order != expected
    assert len({tuple(order) for order in orders}) == 3
    for start in (0, 2, 4):
        seen = torch.cat(handed_out(model, training=False)[start : start + 2])
        assert torch.equal(seen, validation.images())


def test_the_seed_alone_decides_order_and_noise(parts):
    def given(seed, chance):
        torch.manual_seed(chance)
        np.random.seed(chance)  # noqa: NPY002 (it must not matter)
        model, _ = trained(parts, seed=seed, epochs=1)
        return [total(batch) for batch in handed_out(model)], [n for _, _, _, n in model.given]

    (order, noise), (again, same_noise) = given(1, chance=1), given(1, chance=2)
    assert order == again
    assert all(torch.equal(a, b) for a, b in zip(noise, same_noise, strict=True))
    other, other_noise = given(2, chance=1)
    assert order != other
    assert not any(torch.equal(a, b) for a, b in zip(noise, other_noise, strict=True))
    assert len({batch.flatten()[0].item() for batch in noise}) == len(noise)  # new each time


SCHEDULES = {
    "plateau": lambda optimizer: lr_scheduler.ReduceLROnPlateau(optimizer),
    "cosine": lambda optimizer: lr_scheduler.CosineAnnealingLR(optimizer, 30, eta_min=0.1),
    "one-cycle": lambda optimizer: lr_scheduler.OneCycleLR(optimizer, 0.5, total_steps=30 * 5),
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_the_rates_are_those_of_torchs_own_schedule(parts, monkeypatch, name):
    """On a scripted validation loss that stalls twice, and beside one that never does."""
    script = [5.0, 4.0, 3.0, *[3.0 + 0.01 * i for i in range(14)], 2.0, *[2.5] * 12]
    monkeypatch.setattr(loop, "validate", lambda *_: {"loss": next(losses)})
    losses = iter(script)
    _, history = trained(parts, schedule=name, epochs=30)
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.5)
    schedule, expected = SCHEDULES[name](optimizer), []
    for loss in script:
        for _ in range(5):
            optimizer.step()
            if name == "one-cycle":
                schedule.step()
        expected.append(optimizer.param_groups[0]["lr"])
        if name == "plateau":
            schedule.step(loss)
        if name == "cosine":
            schedule.step()
    assert [row["lr"] for row in history] == pytest.approx(expected)
    assert len(set(expected)) > 2
    assert [row["validation_loss"] for row in history] == script


def test_validation_puts_the_network_into_evaluation_mode(parts):
    """Handed over in training mode, in which batch normalisation would change it."""
    model = small_vae().train()
    before, images = weights(model), parts[1].images()
    torch.manual_seed(3)
    losses = validate(model, parts[1], batch_size=7)
    assert not model.training
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    torch.manual_seed(3)
    noise = torch.cat([model.draw_noise(n) for n in (7, 7, 4)])
    with torch.no_grad():
        expected = {name: part.mean().item() for name, part in model.loss(images, noise).items()}
    assert losses == pytest.approx(expected, rel=1e-5)


def test_callbacks_hear_of_every_batch_with_its_loss(parts):
    heard = []

    class Listening(loop.Callbacks):
        def check_loss(self, loss, what):
            heard.append((what, loss))

        def after_batch(self, jets, loss):
            heard.append((jets, loss))

        def after_validation_batch(self):
            heard.append("validated")

    class Fabric:
        device, global_rank, world_size = torch.device("cpu"), 0, 1

        def setup(self, *parts):
            return parts

        def backward(self, loss):
            loss.backward()

    model = Level()
    training = loop.Training(Fabric(), PLAIN, model, recipe(), *parts, seed=SEED)
    row = training.epoch(Listening())
    batches, rest = heard[:10], heard[10:]
    assert [what for what, _ in batches[::2]] == ["loss"] * 5
    assert [jets for jets, _ in batches[1::2]] == [10, 10, 10, 10, 2]
    assert [loss for _, loss in batches[::2]] == [loss for _, loss in batches[1::2]]
    mean = sum(jets * loss for jets, loss in batches[1::2]) / 42
    assert mean == pytest.approx(row["train_loss"])
    assert rest == ["validated", "validated", ("validation loss", row["validation_loss"])]


def test_processes_share_the_validation_jets(parts, monkeypatch):
    """What two would add up is what one finds; the noise is that of one, too."""

    class Fabric:
        device, world_size = torch.device("cpu"), 2

    monkeypatch.setattr(loop.distributed, "summed", lambda fabric, values: list(values))
    found = {}
    for rank in (None, 0, 1):
        model, fabric = Level(), Fabric() if rank is not None else None
        Fabric.global_rank = rank
        torch.manual_seed(2)
        losses = validate(model, parts[1], 7, fabric)
        found[rank] = losses["loss"], torch.cat([images for _, _, images, _ in model.given])
    assert found[0][0] + found[1][0] == pytest.approx(found[None][0], rel=1e-5)
    assert [len(found[rank][1]) for rank in (0, 1)] == [10, 8]  # of 7 + 7 + 4
    seen = total(torch.cat([found[0][1], found[1][1]]))
    assert sorted(seen) == sorted(total(found[None][1]))
