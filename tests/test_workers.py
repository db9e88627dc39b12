"""Work in several processes, which do not outlive the one that started them."""

import subprocess
import sys
import time

import psutil
import pytest

ENDLESS = """
import os, sys, time
from pathlib import Path
from joblib import delayed
from qghelpers.workers import in_order

def work(folder):
    (Path(folder) / str(os.getpid())).touch()
    time.sleep(300)

list(in_order([delayed(work)(sys.argv[1]) for _ in range(2)], workers=2))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="there, processes do not know their parent")
def test_workers_end_when_their_parent_is_killed(tmp_path):
    with subprocess.Popen([sys.executable, "-c", ENDLESS, tmp_path]) as parent:
        while len(list(tmp_path.iterdir())) < 2:
            assert parent.poll() is None
            time.sleep(0.05)
        workers = [psutil.Process(int(path.name)) for path in tmp_path.iterdir()]
        assert all(worker.is_running() for worker in workers)
        parent.kill()
    _, alive = psutil.wait_procs(workers, timeout=20)
    for worker in alive:
        worker.kill()
    assert not alive
