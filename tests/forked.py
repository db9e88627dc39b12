"""Processes of their own that start at once: what they need is imported once, for all of them."""

import multiprocessing
import os
import sys
from pathlib import Path

from qghelpers.__main__ import main

NEEDED = ["forked", "qghelpers.training.fit", "lightning_fabric", "sklearn.decomposition"]


def start_method() -> multiprocessing.context.BaseContext:
    """`forkserver`, whose server has imported all that; where there is none, `spawn`."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(NEEDED)
    return context


class Command:
    """`python -m qghelpers` with these arguments, running; `said` is the file of its stderr."""

    def __init__(self, arguments: list[str], said: Path, largest_file: int | None = None) -> None:
        self.said = said
        said.touch()
        self.process = start_method().Process(
            target=_run, args=(arguments, said, largest_file), daemon=True
        )
        self.process.start()

    def has_ended(self) -> bool:
        return self.process.exitcode is not None

    def send(self, signal: int) -> int:
        """Send a signal, and wait for the end: the exit code."""
        os.kill(self.process.pid, signal)
        return self.ended()

    def ended(self) -> int:
        self.process.join(300)
        return self.process.exitcode


def _run(arguments: list[str], said: Path, largest_file: int | None) -> None:
    if largest_file is not None:
        import resource  # POSIX alone has it

        resource.setrlimit(resource.RLIMIT_FSIZE, (largest_file, resource.RLIM_INFINITY))
    for path, descriptor in (Path(os.devnull), 1), (said, 2):
        with path.open("w", encoding="utf-8") as file:
            os.dup2(file.fileno(), descriptor)
    sys.exit(main(arguments))
