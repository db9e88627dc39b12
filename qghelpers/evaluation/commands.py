"""The options of the commands `evaluate` and `features`."""

import argparse
from pathlib import Path

from qghelpers.files.commands import whole

__all__ = ["evaluate_options", "features_options"]


def evaluate_options(command: argparse.ArgumentParser) -> None:
    """Add the options of `evaluate`."""
    command.add_argument("run", type=Path, metavar="DIR")
    command.add_argument("--data", type=Path, nargs="+", required=True, metavar="FILE.hdf5")
    command.add_argument(
        "--fit-on",
        type=Path,
        nargs="+",
        metavar="FILE.hdf5",
        help="the run's own file: fit the baselines on its training jets, test on all of --data",
    )
    command.add_argument(
        "--beside", type=Path, nargs="+", default=(), metavar="DIR", help="other runs to judge"
    )
    command.add_argument(
        "--thorough", action="store_true", help="train supervised networks as judges: ten minutes"
    )


def features_options(command: argparse.ArgumentParser) -> None:
    """Add the options of `features`."""
    command.add_argument("network", metavar="RUN", help="a run folder, or a shipped network: vae")
    command.add_argument("--data", type=Path, nargs="+", required=True, metavar="FILE.hdf5")
    command.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help=".hdf5 or .parquet"
    )
    command.add_argument("--limit", type=whole, help="of a random subset of this many jets")
