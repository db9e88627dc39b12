"""Several processes learn what one learns, at the same batch over all of them."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import qghelpers as qg
from qghelpers.training import runs

TRAIN = ["-m", "qghelpers", "train"]
OPTIONS = ["--limit", "90", "--epochs", "2", "--batch-size", "24", "--lr", "1e-3", "--seed", "3"]
OPTIONS += ["--precision", "32-true"]


def free_port() -> int:
    with socket.socket() as s:
        s.bind(("localhost", 0))
        return s.getsockname()[1]


def run(commands: list[list[str]], environments: list[dict[str, str]] | None = None) -> None:
    """Run commands side by side, such as those that several computers would run."""
    environments = environments or [{} for _ in commands]
    processes = [
        subprocess.Popen(
            [sys.executable, *command],
            env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for command, environment in zip(commands, environments, strict=True)
    ]
    for process in processes:
        _, said = process.communicate(timeout=300)
        assert process.returncode == 0, said


def one_command(arguments, port):
    return [TRAIN + arguments + ["--devices", "2"]], None


def two_nodes_by_torchrun(arguments, port):
    launcher = ["-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1"]
    launcher += [f"--rdzv-endpoint=localhost:{port}", "--rdzv-backend=c10d", "--rdzv-id=1"]
    return [launcher + TRAIN + arguments for _ in range(2)], None


def slurm(arguments, port):
    common = {"SLURM_NTASKS": "2", "SLURM_NTASKS_PER_NODE": "2", "SLURM_NNODES": "1"}
    common |= {"SLURM_JOB_ID": "1", "SLURM_JOB_NAME": "test", "SLURM_NODELIST": "localhost"}
    common |= {"SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_NUM_NODES": "1"}
    common |= {"SLURM_NODEID": "0", "MASTER_PORT": str(port), "MASTER_ADDR": "localhost"}
    own = [common | {"SLURM_PROCID": str(i), "SLURM_LOCALID": str(i)} for i in range(2)]
    return [TRAIN + arguments for _ in range(2)], own


def fabric_run(arguments, port):
    launcher = ["-m", "lightning_fabric.cli", "--devices=2", "--accelerator=cpu"]
    script = str(Path(qg.__file__).with_name("__main__.py"))
    return [[*launcher, f"--main-port={port}", script, "train", *arguments]], None


@pytest.fixture(scope="module")
def alone(sample_file, tmp_path_factory):
    """The run folder of a network trained by one process."""
    folders = {}

    def train(network: str) -> Path:
        if network not in folders:
            folders[network] = out = tmp_path_factory.mktemp(network)
            run([[*TRAIN, network, "--data", str(sample_file), "--out", str(out), *OPTIONS]])
        return folders[network]

    return train


def gradients(folder: Path) -> float:
    """How large the gradients were, which Adam remembers though no weight shows it."""
    state = runs.load_checkpoint(folder)["optimizer"]["state"]
    return sum(weight["exp_avg_sq"].sum().item() for weight in state.values()) ** 0.5


@pytest.mark.parametrize(
    ("network", "launch"),
    [
        ("unet", one_command),
        ("vae", two_nodes_by_torchrun),
        ("vae", slurm),
        ("vae", fabric_run),
    ],
)
def test_two_processes_learn_what_one_learns(sample_file, tmp_path, alone, network, launch):
    arguments = [network, "--data", str(sample_file), "--out", str(tmp_path), *OPTIONS]
    run(*launch(arguments, free_port()))
    assert gradients(tmp_path) == pytest.approx(gradients(alone(network)), rel=1e-2)
    one, two = (qg.read_history(folder) for folder in (alone(network), tmp_path))
    assert len(one) == len(two) == 2
    for row, other in zip(one, two, strict=True):
        assert row["train_loss"] == pytest.approx(other["train_loss"], rel=1e-3)
        assert row["validation_loss"] == pytest.approx(other["validation_loss"], rel=1e-3)
