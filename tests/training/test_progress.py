"""Progress is one updated line in a notebook, and a stop stops the notebook."""

import os
import signal
import sys
import types

import pytest
from small import FLOAT32, same, small_vae, weights

import qghelpers as qg
from qghelpers.training import progress
from qghelpers.training.recipes import get_recipe


@pytest.fixture(scope="module")
def parts(jets):
    return jets[:96].split((0.8, 0.2))


@pytest.fixture
def lines(monkeypatch):
    """A notebook: the lines that it has shown, a list for each output."""
    shown = []

    class Place:
        def update(self, data, raw):
            assert raw
            shown[-1].append(data["text/plain"])

    def display(data, raw, display_id):
        assert (raw, display_id) == (True, True)
        shown.append([data["text/plain"]])
        return Place()

    shell = types.SimpleNamespace(kernel=object())
    monkeypatch.setattr(progress, "notebook", lambda: shell)
    monkeypatch.setattr("qghelpers.training.fit.notebook", lambda: shell)
    monkeypatch.setattr("IPython.display.display", display)
    monkeypatch.setattr(progress, "EVERY", 0)
    return shown


def fit(parts, model, epochs=2, **options):
    recipe = get_recipe("vae", "fast", epochs, batch_size=16)
    return qg.fit(model, *parts, recipe, engine=FLOAT32, **options)


def interrupted(model, batch):
    """The network, which asks for a stop in this batch of its training."""
    calls = []

    def loss(*args):
        calls.extend([1] * model.training)
        if len(calls) == batch:
            os.kill(os.getpid(), signal.SIGINT)
        return type(model).loss(model, *args)

    model.loss = loss
    return model


def test_a_training_leaves_one_line_that_names_it(parts, lines, capfd):
    history = fit(parts, small_vae(), name="log scaling")
    (line,) = lines
    seconds = sum(row["seconds"] for row in history)
    loss = history[-1]["validation_loss"]
    assert line[-1] == f"log scaling: 2 epochs, {seconds:.0f} s, validation {loss:.4g}"
    running = [text for text in line if "images/s" in text]
    assert len(running) == 2 * 5 + 2  # batches, and ends of epochs
    assert running[0].startswith("log scaling: epoch 1 of 2 ██░░")  # 16 of 154 images
    assert "epoch 2 of 2" in running[-1]
    assert f"validation {loss:.4g}" in running[-1]
    assert "█" * progress.BLOCKS in running[-1]
    assert capfd.readouterr() == ("", "")


def test_speed_and_time_left_are_those_of_this_session(lines, monkeypatch):
    """Of a resumed training: 150 of 200 images were done before, 10 in these two seconds."""
    clock = [100.0]
    monkeypatch.setattr(progress, "time", types.SimpleNamespace(monotonic=lambda: clock[0]))
    line = progress.Line("vae", epochs=2, jets=100, done=150)
    clock[0] += 2
    line.update(10, loss=0.5)
    assert "epoch 2 of 2 " in lines[0][-1]
    assert lines[0][-1].endswith(" 8 s left, 5 images/s, loss 0.5")


def test_the_line_is_not_updated_more_often_than_one_can_see(parts, lines, monkeypatch):
    monkeypatch.setattr(progress, "EVERY", 1e6)
    fit(parts, small_vae())
    assert len(lines[0]) == 1 + 2 + 1  # start, two epochs, end


def test_a_training_that_fails_does_not_end_as_if_it_were_finished(parts, lines):
    model, calls = small_vae(), []

    def loss(*args):
        calls.extend([1] * model.training)
        losses = type(model).loss(model, *args)
        return losses if len(calls) < 7 else {name: float("nan") * x for name, x in losses.items()}

    model.loss = loss
    with pytest.raises(FloatingPointError):
        fit(parts, model)
    assert lines[0][-1] == "vae: ended early, after 1 of 2 epochs"


def test_it_can_be_turned_off_in_a_notebook_too(parts, lines, capfd):
    fit(parts, small_vae(), 1, progress=False)
    assert lines == []
    assert capfd.readouterr() == ("", "")


def test_a_training_is_called_by_its_folder_or_its_network(parts, lines, tmp_path):
    fit(parts, small_vae(), 1, out=tmp_path / "my-run")
    fit(parts, small_vae(), 1)
    assert [line[-1].partition(":")[0] for line in lines] == ["my-run", "vae"]


def test_a_stop_stops_the_cell_with_one_line_and_running_it_again_goes_on(parts, lines, tmp_path):
    whole = small_vae()
    fit(parts, whole)
    options = {"out": tmp_path, "resume": "auto"}
    with pytest.raises(progress.Stopped) as stop:
        fit(parts, interrupted(small_vae(), 7), **options)
    line = "stopped in epoch 2 of 2, after 2 of 5 batches: run this cell again to go on"
    assert stop.value._render_traceback_() == [line]
    assert lines[1][-1] == f"{tmp_path.name}: stopped in epoch 2 of 2, after 2 of 5 batches"
    again = small_vae(seed=1)
    assert len(fit(parts, again, **options)) == 2
    assert same(weights(again), weights(whole))
    assert "epoch 2 of 2 ██████████████" in lines[2][1]


@pytest.mark.parametrize(
    ("options", "how"),
    [({"out": "run"}, 'to go on, run this cell again with resume="auto"'), ({}, "give out= to be")],
)
def test_the_line_says_how_to_go_on(parts, lines, tmp_path, options, how):
    options = {name: tmp_path / value for name, value in options.items()}
    with pytest.raises(progress.Stopped, match=how):
        fit(parts, interrupted(small_vae(), 2), **options)


def test_resuming_of_itself_starts_where_there_is_nothing_to_go_on_with(parts, tmp_path, capfd):
    fresh, options = small_vae(), {"out": tmp_path, "resume": "auto", "progress": False}
    fit(parts, fresh, 1, **options)
    finished = small_vae(seed=1)
    assert len(fit(parts, finished, 1, **options)) == 1  # trained anew, not loaded
    assert not same(weights(finished), weights(fresh))
    longer = fit(parts, small_vae(), 2, **options)  # another recipe: another training
    assert [row["epoch"] for row in longer] == [1, 2]
    assert capfd.readouterr() == ("", "")
    without_a_folder = small_vae()
    fit(parts, without_a_folder, 1, resume="auto", progress=False)
    assert same(weights(without_a_folder), weights(fresh))


def test_there_is_no_notebook_in_a_plain_process():
    assert progress.notebook() is None
    before = sys.modules.pop("IPython", None)
    try:
        assert progress.notebook() is None
    finally:
        if before:
            sys.modules["IPython"] = before
