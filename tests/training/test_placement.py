"""How many processes a training expects: those that somebody has started, and no others."""

import os
import sys

import pytest
from small import FLOAT32, small_vae

import qghelpers as qg
from qghelpers.training import engine as engines
from qghelpers.training.distributed import placement

JOB = {
    "SLURM_JOB_ID": "77",
    "SLURM_JOB_NAME": "train",
    "SLURM_NTASKS": "4",
    "SLURM_NNODES": "2",
    "SLURM_NODELIST": "localhost",
    "SLURM_PROCID": "0",
    "SLURM_LOCALID": "0",
    "SLURM_NODEID": "0",
}
PER_NODE = {"SLURM_NTASKS_PER_NODE": "2"}
STEP = {"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "4", "SLURM_STEP_NUM_NODES": "2"}


@pytest.fixture
def environment(monkeypatch):
    for name in [name for name in os.environ if name.startswith(("SLURM_", "TORCHELASTIC_"))]:
        monkeypatch.delenv(name)

    def give(*parts):
        for part in parts:
            for name, value in part.items():
                monkeypatch.setenv(name, value)

    return give


@pytest.fixture
def notebook(monkeypatch):
    monkeypatch.setattr(sys, "ps1", "In : ", raising=False)


@pytest.mark.parametrize("per_node", [PER_NODE, {}])
def test_a_batch_script_without_srun_trains_on_one_device(environment, per_node):
    environment(JOB, per_node)
    placed, several = placement("cpu", None, None)
    assert (placed["devices"], placed["num_nodes"], several) == (1, 1, False)
    assert engines._fabric(**placed).world_size == 1


def test_what_srun_has_started_trains_together(environment):
    environment(JOB, PER_NODE, STEP)
    expected = {"accelerator": "cpu", "devices": 2, "num_nodes": 2}
    assert placement("cpu", None, None) == (expected, True)


def test_a_step_of_one_task_trains_alone(environment):
    environment(JOB, PER_NODE, STEP | {"SLURM_STEP_NUM_TASKS": "1", "SLURM_STEP_NUM_NODES": "1"})
    placed, several = placement("cpu", None, None)
    assert not several
    assert engines._fabric(**placed).world_size == 1


@pytest.mark.parametrize("step", [{}, STEP])
def test_a_notebook_in_a_job_trains_on_one_device(environment, notebook, step):
    environment(JOB, PER_NODE, step)
    placed, several = placement("cpu", None, None)
    assert not several
    assert engines._fabric(**placed).world_size == 1


def test_devices_that_are_asked_for_are_started_in_a_job_too(environment):
    environment(JOB)
    placed, several = placement("cpu", 2, None)
    assert several
    assert not placed["plugins"].creates_processes_externally


def test_a_training_in_a_job_of_several_tasks_does_not_wait(environment, jets):
    environment(JOB, PER_NODE)
    train, validation = jets[:60].split((0.8, 0.2), seed=1)
    recipe = qg.Recipe(epochs=1, batch_size=24)
    assert len(qg.fit(small_vae(), train, validation, recipe, engine=FLOAT32, progress=False)) == 1


class CompilerError(RuntimeError):
    """As PyTorch's own, which wraps the error that tells something."""

    __module__ = "torch._inductor.exc"

    def __init__(self) -> None:
        super().__init__("backend='inductor' raised:\nsomething")
        self.inner_exception = RuntimeError("No working C++ compiler found\nin a long story")


@pytest.mark.parametrize(
    ("compiled", "kind", "message"),
    [
        (True, ValueError, r"here \(No working C\+\+ compiler found\): leave out --compile"),
        (False, CompilerError, "backend"),
    ],
)
def test_a_network_that_cannot_be_compiled_is_one_line(jets, monkeypatch, compiled, kind, message):
    """As on a computer without a C++ compiler."""

    def fail(images, *noise):
        raise CompilerError

    def prepare(model, engine):
        loss = engines.LossModule(model)
        loss.forward = fail
        return loss

    monkeypatch.setattr("qghelpers.training.loop.prepare", prepare)
    train, validation = jets[:60].split((0.8, 0.2), seed=1)
    recipe, engine = qg.Recipe(epochs=1, batch_size=24), qg.Engine("cpu", precision="32-true")
    engine = engines.replace(engine, compile=compiled)
    with pytest.raises(kind, match=message) as caught:
        qg.fit(small_vae(), train, validation, recipe, engine=engine, progress=False)
    assert "long story" not in str(caught.value)
