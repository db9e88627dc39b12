"""One small sample for all tests, in a home of its own, so that a test run leaves no trace.

Unit tests and notebooks find it where `load_jets()` looks. Nothing else differs from a reader's
run. The user's cache folder is out of sight: the pile-up is made anew by every run.
`tests/mistakes`, which runs tests hundreds of times, hands both over in `$QGHELPERS_TESTS_FROM`.

pytest-xdist's workers share the home of the process that started them. Each has a processor to
itself, so PyTorch gets one thread.
"""

import os
import shutil
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import matplotlib
import pytest
from filelock import FileLock

JETS = 400
WORKER = "PYTEST_XDIST_WORKER" in os.environ
if not WORKER:
    home = Path(tempfile.gettempdir()) / f"qghelpers-tests-{os.getpid()}"
    os.environ["QGHELPERS_HOME"] = str(home)
else:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
HOME = Path(os.environ["QGHELPERS_HOME"])
# kernels and other processes test this checkout, too, whatever is installed
PATHS = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
os.environ["PYTHONPATH"] = os.pathsep.join(PATHS)
os.environ.setdefault("MPLCONFIGDIR", matplotlib.get_cachedir())  # its list of fonts may stay
os.environ["XDG_CACHE_HOME"] = str(HOME / "cache")
os.environ.pop("QGHELPERS_CACHE", None)


def make_sample() -> Path:
    """The sample, simulated the first time."""
    from qghelpers.load import SAMPLE_FILE
    from qghelpers.seeds import Seed
    from qghelpers.simulation.simulate import simulate

    path = HOME / "data" / SAMPLE_FILE
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(HOME / "sample.lock"):
        if not path.exists():
            simulate(path, JETS, Seed.TESTS, workers=2)
    return path


def pytest_configure() -> None:
    ready = os.environ.get("QGHELPERS_TESTS_FROM")
    if ready and not WORKER:
        shutil.copytree(ready, HOME)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out what this system lacks."""
    without = pytest.mark.skip(reason="this system lacks what it needs")
    for item in items:
        simulates = item.get_closest_marker("simulation") or "simulation" in item.path.parts
        lacks_pythia = simulates and find_spec("pythia8mc") is None
        if lacks_pythia or (item.get_closest_marker("posix") and sys.platform == "win32"):
            item.add_marker(without)


def pytest_collection_finish(session: pytest.Session) -> None:
    notebooks = any(item.path.suffix == ".ipynb" for item in session.items)
    if notebooks and not session.config.option.collectonly:
        make_sample()


def pytest_unconfigure() -> None:
    if not WORKER:
        shutil.rmtree(HOME, ignore_errors=True)


@pytest.fixture(autouse=True)
def no_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    """An IPython that another test has made leaves `sys.ps1` behind, the mark of a notebook."""
    monkeypatch.delattr(sys, "ps1", raising=False)


@pytest.fixture(scope="session")
def sample_file() -> Path:
    return make_sample()


@pytest.fixture(scope="session")
def jets(sample_file):
    from qghelpers import load_jets

    return load_jets(sample_file)
