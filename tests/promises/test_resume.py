"""A training that is killed, for real and at the worst moments, ends as if nothing had happened."""

import os
import queue
import re
import signal
import subprocess
import sys
import time
from contextlib import suppress

import pytest
import torch
from forked import Command
from safetensors.torch import load_file

import qghelpers as qg

if sys.platform == "win32":
    pytest.skip("signals and limits are POSIX", allow_module_level=True)
OPTIONS = ["--limit", "100", "--epochs", "2", "--batch-size", "10"]
OPTIONS += ["--precision", "32-true", "--no-compile"]


def start(sample_file, out, *options, **limits) -> Command:
    command = ["train", "vae", "--data", str(sample_file), "--out", str(out)]
    return Command([*command, *OPTIONS, *options], out.with_suffix(".said"), **limits)


def finish(command: Command) -> None:
    assert command.ended() == 0, command.said.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def whole(sample_file, tmp_path_factory):
    out = tmp_path_factory.mktemp("whole")
    finish(start(sample_file, out))
    return out


def assert_same(a, b):
    for name in ("model.safetensors", "best.safetensors"):
        ours, theirs = load_file(a / name), load_file(b / name)
        assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
    for row, other in zip(qg.read_history(a), qg.read_history(b), strict=True):
        for column in set(row) - {"seconds", "images_per_second"}:
            assert row[column] == other[column]


def is_saving(out):
    return any(path.name.startswith(".last.ckpt.") for path in out.glob(".*.part"))


def files(out):
    return {path.name for path in out.iterdir()}


# what the folder looks like when the process is killed
MOMENTS = {
    "before anything is saved": lambda out: "config.json" in files(out),
    "while the first checkpoint is written": is_saving,
    "within the first epoch": lambda out: "previous.ckpt" in files(out),
    "while a checkpoint is written": lambda out: "previous.ckpt" in files(out) and is_saving(out),
    "within the last epoch": lambda out: "history.csv" in files(out),
}


def test_killed_again_and_again(sample_file, tmp_path, whole):
    out = tmp_path / "run"
    out.mkdir()
    for moment in MOMENTS.values():
        process = start(sample_file, out, "--resume", "--save-every", "0")
        while not moment(out):
            assert not process.has_ended(), process.said.read_text(encoding="utf-8")
            time.sleep(0.0005)
        assert process.send(signal.SIGKILL) == -signal.SIGKILL
    assert len(qg.read_history(out)) < 2
    finish(start(sample_file, out, "--resume"))
    assert_same(out, whole)
    assert files(out) == files(whole)  # nothing half written is left


def test_asked_to_stop_by_a_batch_system(sample_file, tmp_path, whole):
    out = tmp_path / "run"
    process = start(sample_file, out, "--save-every", "1e9")
    while "images/s, loss" not in process.said.read_text(encoding="utf-8"):  # it is training
        assert not process.has_ended()
        time.sleep(0.01)
    assert process.send(signal.SIGTERM) == 130
    *_, last = process.said.read_text(encoding="utf-8").splitlines()
    assert "stopped in epoch" in last
    assert "--resume" in last
    finish(start(sample_file, out, "--resume"))
    assert_same(out, whole)


KERNEL = """
import torch, qghelpers as qg
jets = qg.load_jets({sample!r}, limit=100, seed=0)
train, validation, _ = jets.split(seed=0)
recipe = qg.get_recipe("vae", "fast", 2, batch_size=10)
engine = qg.Engine(precision="32-true", compile=False)

def train_on(resume):
    torch.manual_seed(0)
    model = qg.build("vae")
    options = dict(out={out!r}, resume=resume, engine=engine, recipe_name="fast", limit=100)
    return qg.fit(model, train, validation, recipe, **options)
"""


def test_interrupting_a_notebook_stops_it_and_running_the_cell_again_goes_on(
    sample_file, tmp_path, whole
):
    """The cell that trains, and the next one, are sent together, as by Run All."""
    from jupyter_client.manager import start_new_kernel

    manager, client = start_new_kernel(kernel_name="python3", stderr=subprocess.DEVNULL)
    interrupting, shown, said = True, [], []

    def look(message):
        nonlocal interrupting
        content = message["content"]
        shown.append(content.get("data", {}).get("text/plain", ""))
        said.append("".join(content.get("traceback", content.get("text", ""))))
        if interrupting and "images/s, loss" in shown[-1]:
            interrupting = False
            manager.interrupt_kernel()

    def run(code, **options) -> dict:
        return client.execute_interactive(code, timeout=300, output_hook=look, **options)["content"]

    try:
        assert run(KERNEL.format(sample=str(sample_file), out=str(tmp_path)))["status"] == "ok"
        cell = 'history = train_on(resume="auto"); print("epochs:", len(history))'
        first = client.execute(cell, stop_on_error=True)
        second = client.execute("print('this needs the history')", stop_on_error=True)
        replies = {}
        while {first, second} - set(replies):
            with suppress(queue.Empty):
                look(client.get_iopub_msg(timeout=0.1))
            with suppress(queue.Empty):
                reply = client.get_shell_msg(timeout=0.1)
                replies[reply["parent_header"]["msg_id"]] = reply["content"]
        assert replies[first]["ename"] == "Stopped"
        assert replies[second]["status"] == "aborted"
        (line,) = replies[first]["traceback"]
        assert re.fullmatch(
            r"stopped in epoch \d of 2, after \d+ of 8 batches: run this cell again to go on", line
        )
        assert "epochs: 2" not in "".join(said)
        said.clear()
        assert run(cell)["status"] == "ok"
        assert "".join(said) == "epochs: 2\n"  # and nothing on the red of an error
        (*_, last) = filter(None, shown)
        assert re.fullmatch(rf"{tmp_path.name}: 2 epochs, \d+ s, validation \S+", last)
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    assert_same(tmp_path, whole)


def test_a_full_disk_costs_one_line_and_not_what_was_saved(sample_file, tmp_path, whole):
    out = tmp_path / "run"
    out.mkdir()
    first = start(sample_file, out, "--save-every", "0")
    while "previous.ckpt" not in files(out):
        assert not first.has_ended()
        time.sleep(0.001)
    first.send(signal.SIGKILL)
    largest = os.path.getsize(out / "previous.ckpt") // 2
    second = start(sample_file, out, "--resume", "--save-every", "0", largest_file=largest)
    assert second.ended() == 2
    *_, last = second.said.read_text(encoding="utf-8").splitlines()
    assert "last.ckpt cannot be written (File too large)" in last
    finish(start(sample_file, out, "--resume"))
    assert not list(out.glob(".*"))
    assert_same(out, whole)
