"""One small sample for all tests, in a home of its own, so that a test run leaves no trace.

Unit tests and notebooks find it where `load_jets()` looks; the settings cell of every notebook
reads the number of epochs from the environment. Nothing else differs from a reader's run.
"""

import os
import shutil
import tempfile
from pathlib import Path

import pytest

JETS = 400
SEED = 7
HOME = Path(tempfile.gettempdir()) / f"qghelpers-tests-{os.getpid()}"

os.environ["QGHELPERS_HOME"] = str(HOME)
os.environ["QGHELPERS_EPOCHS"] = "6"


def pytest_collection_finish(session: pytest.Session) -> None:
    if session.items and not session.config.option.collectonly:
        from qghelpers.load import SAMPLE_FILE
        from qghelpers.simulation.simulate import simulate

        (HOME / "data").mkdir(parents=True)
        simulate(HOME / "data" / SAMPLE_FILE, JETS, SEED, workers=1)


def pytest_unconfigure() -> None:
    shutil.rmtree(HOME, ignore_errors=True)


@pytest.fixture(scope="session")
def sample_file() -> Path:
    from qghelpers.load import SAMPLE_FILE

    return HOME / "data" / SAMPLE_FILE


@pytest.fixture(scope="session")
def jets(sample_file):
    from qghelpers import load_jets

    return load_jets(sample_file)
